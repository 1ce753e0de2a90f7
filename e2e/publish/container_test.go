package publish_test

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// noise are bytes that nothing compresses, and that no other test has.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, by its documentation
	return b
}

// dockerfile is an image with a file in each of its two layers.
func dockerfile(body string) string {
	return fmt.Sprintf("FROM scratch\nCOPY weights /weights\nCOPY model /model\nLABEL model.body=%q\nENTRYPOINT [\"/model\"]\n", body)
}

func layers() map[string][]byte {
	return map[string][]byte{"weights": noise(300_000), "model": noise(40_000)}
}

// TestContainer publishes in the runner's container: each form of archive from
// the workspace that it mounts. What `docker save` writes is what the engine of
// this machine does.
func TestContainer(t *testing.T) {
	t.Parallel()
	adapt := inContainer(t)
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			archive(p, byEngine(machine(t), f), adapt)
			bothByDocker(p)
		})
	}
}

// byEngine has `docker save` written by the engine.
func byEngine(e *engine, f form) form {
	if f.name != "docker save" {
		return f
	}
	f.write = func(p *place, sha string, image v1.Image) {
		file := filepath.Join(p.TempDir(), "image.tar")
		write(p.T, file, tarOf(p.T, saved(p.T, image, p.image("latest"), p.image(sha))))
		e.must(p.T, "load", "--input", file)
		p.Cleanup(func() { e.remove(p.image("latest"), p.image(sha)) })
		e.must(p.T, "save", "--output", filepath.Join(p.Workspace, f.path), p.image("latest"), p.image(sha))
	}
	return f
}

// byDocker has a Docker client pull by the tags, where there is one.
func byDocker(p *place, digest string, tags ...string) {
	p.Helper()
	p.T.Run("docker pull", func(t *testing.T) {
		own(t).pulls(&place{Test: p.Sub(t), host: p.host}, digest, tags...)
	})
}

// bothByDocker are the two commits of a place.
func bothByDocker(p *place) {
	p.Helper()
	byDocker(p, p.digest(p.SHA(0)), p.SHA(0))
	byDocker(p, p.digest(p.SHA(1)), tagsOf(p.SHA(1))...)
}

// TestContainerEngine publishes from the engine whose socket the runner mounts.
func TestContainerEngine(t *testing.T) {
	t.Parallel()
	adapt := inContainer(t)
	e := machine(t)
	p := newPlace(t)
	sha, body := p.SHA(0), "model of "+p.Namespace
	id := e.build(t, dockerfile(body), layers(), p.image(sha), p.image("latest"))
	p.twice("docker", sha, body, 2, adapt)
	if got := p.config(sha); got != id {
		t.Errorf("the published image is %s, and that of the engine %s", got, id)
	}

	// The next commit, with the same files: nothing of it is new but its labels.
	next, body := p.SHA(1), "another model of "+p.Namespace
	e.must(t, "tag", id, p.image("before"))
	t.Cleanup(func() { e.remove(p.image("before")) })
	e.build(t, "FROM "+p.image("before")+"\n"+fmt.Sprintf("LABEL model.body=%q\n", body), nil, p.image(next), p.image("latest"))
	s := p.step(next, "docker", nil)
	adapt(p, &s)
	r := p.Run(s)
	want(t, r, 0, "deployed")
	p.serves(r, next, body)
	if l := p.published(r, next); l.uploaded != 0 || l.there != 2 || l.size != "0 B" {
		t.Errorf("the log says of a new commit with the same layers: %+v", l)
	}
	bothByDocker(p)
}

// TestEngine publishes with the binary from an engine elsewhere, and under the
// other names that an image may have there.
func TestEngine(t *testing.T) {
	t.Parallel()
	e := own(t)
	for name, names := range map[string]func(p *place, sha string) []string{
		"host, name and commit": func(p *place, sha string) []string { return []string{p.image(sha)} },
		"name and commit":       func(p *place, sha string) []string { return []string{"celestial-bodies-classifier:" + sha} },
		"only latest":           func(p *place, _ string) []string { return []string{p.image("latest")} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			sha, body := p.SHA(0), "model of "+p.Namespace
			id := e.build(t, dockerfile(body), layers(), names(p, sha)...)
			digest := p.twice("docker", sha, body, 2, e.used)
			if got := p.config(sha); got != id {
				t.Errorf("the published image is %s, and that of the engine %s", got, id)
			}
			e.remove(names(p, sha)...)
			e.pulls(p, digest, tagsOf(sha)...)
		})
	}
}
