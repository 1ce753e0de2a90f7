package publish_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/container"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/runner"
)

// engine is a Docker engine, as a client speaks to it.
type engine struct {
	// host is the value of DOCKER_HOST; "" for /var/run/docker.sock.
	host string
	// registry is what the engine reaches the cloud's Artifact Registry by.
	registry string
	env      []string // of the client: the engine, its login and nothing else

	keep any // is held as long as the process lives: what is collected is closed
}

// run returns what the client prints.
func (e *engine) run(ctx context.Context, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = e.env, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

func (e *engine) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := e.run(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// used has a step use the engine.
func (e *engine) used(_ *place, s *runner.Step) {
	if e.host != "" {
		s.Env["DOCKER_HOST"] = e.host
	}
}

// build has the engine build an image from nothing but files and labels, as no
// base image can be pulled, under the names. They are removed with the test.
func (e *engine) build(t *testing.T, dockerfile string, files map[string][]byte, names ...string) (id string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		write(t, filepath.Join(dir, name), content)
	}
	write(t, filepath.Join(dir, "Dockerfile"), []byte(dockerfile))
	args := []string{"build", "--quiet", "--platform", "linux/amd64"}
	for _, name := range names {
		args = append(args, "--tag", name)
	}
	t.Cleanup(func() { e.remove(names...) })
	return e.must(t, append(args, dir)...)
}

// remove takes names away, and the images that have no other.
func (e *engine) remove(names ...string) {
	_, _ = e.run(context.Background(), append([]string{"rmi", "--force"}, names...)...) // the test may not have come to making them
}

// pulls wants `docker pull` by the tags to give the digest and one image.
func (e *engine) pulls(p *place, digest string, tags ...string) {
	p.Helper()
	var ids []string
	for _, tag := range tags {
		name := strings.Replace(p.image(tag), localcloud.Registry, e.registry, 1)
		out, err := e.run(p.Context(), "pull", name)
		if err != nil {
			p.Error(err)
			continue
		}
		p.Cleanup(func() { e.remove(name) })
		got := regexp.MustCompile(`(?m)^Digest: (\S+)$`).FindStringSubmatch(out)
		if len(got) != 2 || got[1] != digest {
			p.Errorf("docker pull %s: want %s:\n%s", name, digest, out)
		}
		repository, _, _ := strings.Cut(name, ":"+tag)
		id := e.must(p.T, "image", "inspect", "--format", "{{.Id}} {{json .RepoDigests}}", name)
		if !strings.Contains(id, fmt.Sprintf("%q", repository+"@"+digest)) {
			p.Errorf("docker image inspect %s: %s, want %s", name, id, digest)
		}
		ids = append(ids, id)
	}
	for _, id := range ids {
		if diff := cmp.Diff(ids[0], id); diff != "" {
			p.Errorf("two tags, two images:\n%s", diff)
		}
	}
	p.Logf("docker pull from %s gives %s by each of %q", e.registry, digest, tags)
}

// machine is the engine whose socket the runner mounts. It knows nothing of the
// local cloud; but every engine takes plain HTTP from loopback, so there is a
// door to the registry.
func machine(t *testing.T) *engine {
	t.Helper()
	if err := container.Available(t.Context()); err != nil {
		t.Skipf("no Docker engine: %v", err)
	}
	c := cloudtest.Cloud(t)
	door := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := c.Google.Issue(c.ServiceAccount)
		r.Header.Set("Authorization", "Bearer "+token)
		c.Registry.ServeHTTP(w, r)
	}))
	t.Cleanup(door.Close)
	return &engine{
		host: os.Getenv("DOCKER_HOST"), registry: strings.TrimPrefix(door.URL, "http://"),
		env: append(os.Environ(), "DOCKER_BUILDKIT=0", "DOCKER_CONFIG="+t.TempDir()),
	}
}

var built struct {
	once  sync.Once
	image string
	err   error
}

// inContainer runs a step as the runner does, in the image that is built from
// the Dockerfile as it is, with the machine's engine at /var/run/docker.sock. The
// network is the host's, since the cloud's proxy listens on 127.0.0.1; the
// image's own files may not be written to.
func inContainer(t *testing.T) func(*place, *runner.Step) {
	t.Helper()
	machine(t)
	built.once.Do(func() {
		var log bytes.Buffer
		if built.image, built.err = container.Build(context.Background(), cloudtest.Root(), &log); built.err != nil {
			built.err = errors.Join(built.err, errors.New(log.String()))
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return func(p *place, s *runner.Step) {
		s.Image, s.Binary = built.image, ""
		s.DockerArgs = []string{"--network", "host", "--read-only", "--volume", p.Cloud.CAFile + ":" + p.Cloud.CAFile + ":ro"}
	}
}
