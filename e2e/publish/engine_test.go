package publish_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/container"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/runner"
)

// engine is a Docker engine, as a client speaks to it.
type engine struct {
	env []string // in which the client finds it, its login and nothing else
	// host is the value of DOCKER_HOST; "" for the engine of this machine.
	host string
}

// run returns what the client prints.
func (e *engine) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "docker", args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = e.env, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

func (e *engine) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := e.run(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// machine is the engine whose socket the runner mounts.
func machine(t *testing.T) *engine {
	t.Helper()
	if err := container.Available(t.Context()); err != nil {
		t.Skipf("no Docker engine: %v", err)
	}
	return &engine{env: append(os.Environ(), "DOCKER_BUILDKIT=0", "DOCKER_CONFIG="+t.TempDir())}
}

// build has the engine build an image from nothing but files and labels, as no
// base image can be pulled, under the names. They are removed with the test.
func (e *engine) build(t *testing.T, dockerfile string, files map[string][]byte, names ...string) (id string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"build", "--quiet", "--platform", "linux/amd64"}
	for _, name := range names {
		args = append(args, "--tag", name)
	}
	t.Cleanup(func() { e.remove(names...) })
	return e.must(t, append(args, dir)...)
}

// remove takes names away, and the images that have no other. The test is over.
func (e *engine) remove(names ...string) {
	cmd := exec.CommandContext(context.Background(), "docker", append([]string{"rmi", "--force"}, names...)...)
	cmd.Env = e.env
	_ = cmd.Run() // it may not have come to building them
}

// pulls wants `docker pull` by the tags to give the digest and the same image.
func (e *engine) pulls(p *place, digest string, tags ...string) {
	p.Helper()
	var ids []string
	for _, tag := range tags {
		out, err := e.run(p.T, "pull", p.image(tag))
		if err != nil {
			p.Error(err)
			continue
		}
		p.Cleanup(func() { e.remove(p.image(tag)) })
		got := regexp.MustCompile(`(?m)^Digest: (\S+)$`).FindStringSubmatch(out)
		if len(got) != 2 || got[1] != digest {
			p.Errorf("docker pull %s: want %s:\n%s", p.image(tag), digest, out)
		}
		ids = append(ids, e.must(p.T, "image", "inspect", "--format", "{{.Id}} {{json .RepoDigests}}", p.image(tag)))
	}
	if len(ids) > 0 && !strings.HasSuffix(ids[0], fmt.Sprintf(" [%q]", p.host+"/"+cloudtest.Model+"@"+digest)) {
		p.Errorf("docker image inspect: %s", ids[0])
	}
	for _, id := range ids {
		if diff := cmp.Diff(ids[0], id); diff != "" {
			p.Errorf("two tags, two images:\n%s", diff)
		}
	}
	p.Logf("docker pull gives %s by each of %q", digest, tags)
}

var inside struct {
	once   sync.Once
	engine *engine
	err    error
}

// own is an engine of the tests' own: it is empty, and all that it reaches is the
// local cloud, where it has the seed's login. So it pulls by the real names.
func own(t *testing.T) *engine {
	t.Helper()
	c := cloudtest.Cloud(t)
	inside.once.Do(func() { inside.engine, inside.err = startEngine(c) })
	if inside.err != nil {
		t.Skipf("no Docker engine of our own: %v", inside.err)
	}
	return inside.engine
}

// engineScript ends with its input, which is that of a process that is gone: an
// engine that a test leaves behind would keep its network and its disk.
const engineScript = `dockerd --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" --host "unix://$1/docker.sock" --group "$2" \
	--bridge none --iptables=false --ip6tables=false >"$1/log" 2>&1 & pid=$!
cat >/dev/null
kill $pid; wait $pid; rm -rf "$1"`

func startEngine(c *localcloud.Cloud) (*engine, error) {
	for _, name := range []string{"docker", "dockerd", "containerd"} {
		if _, err := exec.LookPath(name); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp("", "engine") // short, for the socket
	if err != nil {
		return nil, err
	}
	var args []string
	if os.Getuid() != 0 {
		args = []string{"sudo", "--non-interactive", "--preserve-env"}
	}
	args = append(args, "sh", "-c", engineScript, "engine", dir, fmt.Sprint(os.Getgid()))
	cmd := exec.CommandContext(context.Background(), args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it ends by itself, and cleans up
	cmd.Env = os.Environ()
	for name, value := range c.Env("engine") {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if _, err := cmd.StdinPipe(); err != nil { // held until the process ends
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	e := &engine{host: "unix://" + filepath.Join(dir, "docker.sock")}
	e.env = append(os.Environ(), "DOCKER_HOST="+e.host, "DOCKER_BUILDKIT=0", "DOCKER_CONFIG="+filepath.Join(filepath.Dir(c.CAFile), "docker"))
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		version := exec.CommandContext(context.Background(), "docker", "version")
		version.Env = e.env
		if err = version.Run(); err == nil {
			break
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			return nil, fmt.Errorf("dockerd does not answer: %w: %s", err, log[max(0, len(log)-500):])
		}
	}
	key, err := os.Open(c.CredentialsFile)
	if err != nil {
		return nil, err
	}
	defer key.Close()
	login := exec.CommandContext(context.Background(), "docker", "login", "--username", "_json_key", "--password-stdin", localcloud.Registry)
	login.Env, login.Stdin = e.env, key
	if out, err := login.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("docker login: %w: %s", err, out)
	}
	return e, nil
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
