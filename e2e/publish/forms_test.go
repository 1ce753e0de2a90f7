package publish_test

import (
	"testing"

	"github.com/org/deploy-model-action/e2e/runner"
)

// TestArchives publishes every form of archive with the binary.
func TestArchives(t *testing.T) {
	t.Parallel()
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			archive(newPlace(t), f, func(*place, *runner.Step) {})
		})
	}
}

// TestOldRunner publishes what has to be compressed where RUNNER_TEMP leads
// nowhere, as on runners before 2.331 and with GHES.
func TestOldRunner(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	sha, body := p.SHA(0), "model of "+p.Namespace
	forms[0].write(p, sha, model(t, body, sizes))
	p.twice(forms[0].path, sha, body, len(sizes), func(_ *place, s *runner.Step) { s.OldRunner = true })
}

// archive publishes a form, publishes it again, and then a second commit with
// the same layers. adapt says how each step is run.
func archive(p *place, f form, adapt func(*place, *runner.Step)) {
	p.Helper()
	sha, body := p.SHA(0), "model of "+p.Namespace
	image := model(p.T, body, sizes)
	f.write(p, sha, image)
	digest := p.twice(f.path, sha, body, len(sizes), adapt)
	if own := digestOf(p.T, image); f.asIs && digest != own {
		p.Errorf("published as %s, and it is %s in the archive", digest, own)
	}

	// Another commit, and no layer of it is new.
	p.reset()
	next, body := p.SHA(1), "another model of "+p.Namespace
	f.write(p, next, relabelled(p.T, image, body))
	s := p.step(next, f.path, nil)
	adapt(p, &s)
	before := len(p.Requests())
	r := p.Run(s)
	want(p.T, r, 0, "deployed")
	moved := p.serves(r, next, body)
	if l := p.published(r, next); l.uploaded != 0 || l.there != len(sizes) {
		p.Errorf("the log says of a new commit with the same layers: %+v", l)
	}
	if writes := p.since(before, "/blobs/"); len(writes) != 3 { // POST, PATCH and PUT of the configuration
		p.Errorf("put for a new commit with the same layers: %q", writes)
	}
	p.pulls(p.google(), digest, sha)
	p.pulls(p.google(), moved, tagsOf(next)...)
}

// twice publishes and deploys what has n layers, and does so again, which
// changes nothing. It returns the digest.
func (p *place) twice(push, sha, body string, n int, adapt func(*place, *runner.Step)) string {
	p.Helper()
	s := p.step(sha, push, nil)
	adapt(p, &s)
	r := p.Run(s)
	want(p.T, r, 0, "deployed")
	digest := p.serves(r, sha, body)
	if l := p.published(r, sha); l.tags != "latest" || l.uploaded != n || l.there != 0 || l.size == "0 B" {
		p.Errorf("the log says of the first run: %+v", l)
	}
	p.pulls(p.google(), digest, tagsOf(sha)...)

	before := len(p.Requests())
	r = p.Run(s)
	want(p.T, r, 0, "unchanged")
	if again := p.serves(r, sha, body); again != digest {
		p.Errorf("the second run deploys %s, the first %s", again, digest)
	}
	if l := p.published(r, sha); l.tags != "latest" || l.uploaded != 0 || l.there != n || l.size != "0 B" {
		p.Errorf("the log says of the second run: %+v", l)
	}
	if writes := p.since(before, ""); len(writes) > 0 {
		p.Errorf("the second run put into the registry: %q", writes)
	}
	return digest
}
