package action_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/container"
	"github.com/org/deploy-model-action/e2e/runner"
)

var built struct {
	once  sync.Once
	image string
	err   error
	took  time.Duration
}

// engine skips the test where no Docker engine answers.
func engine(t *testing.T) {
	t.Helper()
	if err := container.Available(t.Context()); err != nil {
		t.Skipf("no Docker engine: %v", err)
	}
}

// built builds the image once, from the Dockerfile as it is.
func buildImage(t *testing.T) string {
	t.Helper()
	engine(t)
	built.once.Do(func() {
		var log strings.Builder
		start := time.Now()
		built.image, built.err = container.Build(context.Background(), cloudtest.Root(), &log)
		built.took = time.Since(start)
		if built.err != nil {
			t.Log(log.String())
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.image
}

// inContainer runs the step as the runner does. The network is the host's, since
// the cloud's proxy listens on 127.0.0.1, and the cloud's authority is mounted;
// the image's own files may not be written to.
func inContainer(image string) func(*cloudtest.Test, *runner.Step) {
	return func(x *cloudtest.Test, s *runner.Step) {
		s.Image, s.Binary = image, ""
		s.DockerArgs = []string{"--network", "host", "--read-only", "--volume", x.Cloud.CAFile + ":" + x.Cloud.CAFile + ":ro"}
	}
}

func TestContainer(t *testing.T) {
	t.Parallel()
	pipeline(t, inContainer(buildImage(t)))
}

func TestContainerCancel(t *testing.T) {
	t.Parallel()
	cancelled(t, inContainer(buildImage(t)))
}

// TestContainerAuthAction has the path of the file translated, as the runner does.
func TestContainerAuthAction(t *testing.T) {
	t.Parallel()
	image := buildImage(t)
	x := seed(t, 1, nil)
	_, env := left(x)
	s := x.Step(x.SHA(0), map[string]string{"credentials_json": "", "manifests": "."})
	for name, value := range env {
		s.Env[name] = value
	}
	inContainer(image)(x, &s)
	want(t, x.Run(s), 0, "deployed")
}

// TestContainerSize holds the image to its budget, and says what it is.
func TestContainerSize(t *testing.T) {
	t.Parallel()
	image := buildImage(t)
	out, err := exec.CommandContext(t.Context(), "docker", "image", "inspect", "--format", "{{.Size}} {{.Config.User}} {{json .Config.Entrypoint}}", image).Output()
	if err != nil {
		t.Fatal(err)
	}
	save := exec.CommandContext(t.Context(), "docker", "save", image)
	archive, err := save.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := save.Start(); err != nil {
		t.Fatal(err)
	}
	var size counter
	compressed := gzip.NewWriter(&size)
	if _, err := io.Copy(compressed, archive); err != nil {
		t.Fatal(err)
	}
	if err := save.Wait(); err != nil {
		t.Fatal(err)
	}
	_ = compressed.Close()
	report(t, "image: %.1f MB compressed; bytes, user, entrypoint: %s; built in %s", float64(size)/1e6, strings.TrimSpace(string(out)), built.took.Round(time.Second))
	if size > 13e6 {
		t.Errorf("%.1f MB compressed, want 13 MB at most", float64(size)/1e6)
	}
	if !strings.HasSuffix(strings.TrimSpace(string(out)), `  ["/deploy-model-action"]`) {
		t.Errorf("user and entrypoint: %s", out)
	}
}

type counter int64

// Write counts.
func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// report prints what is worth seeing of a test that passes.
func report(t *testing.T, format string, args ...any) {
	t.Helper()
	fmt.Fprintf(os.Stderr, t.Name()+": "+format+"\n", args...)
}
