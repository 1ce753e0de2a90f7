package realnode_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/realnode/record"
	"github.com/org/deploy-model-action/e2e/runner"
)

var update = flag.Bool("update", false, "write testdata/recorded from the real node, and the verdicts")

// seen bounds the wait for what a node has to show; back-offs make it long.
const seen = 3 * time.Minute

// TestGenuine plays the catalogue on the real node. What the node says must be
// what was recorded, and the action's verdict the one that is written down.
func TestGenuine(t *testing.T) {
	t.Parallel()
	for _, s := range catalogue() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r := genuineTier(t)
			got := s.play(t, r)
			if *update {
				s.write(t, got)
			}
			s.compare(t, got)
		})
	}
}

// TestSimulated plays the same on simulated nodes: they must say what the real
// one was recorded to say, and the action must come to the same verdict.
func TestSimulated(t *testing.T) {
	t.Parallel()
	for _, s := range catalogue() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.compare(t, s.play(t, simulatedTier(t)))
		})
	}
}

// played is what became of a scenario.
type played struct {
	record  record.Record
	verdict string
}

// play deploys, and watches the node until it has shown all there is to see.
func (s scenario) play(t *testing.T, r *tier) played {
	t.Helper()
	x := r.test(t, s.name)
	host, sha := localcloud.RegistryHost, x.SHA(1)
	if s.private {
		host = private
	}
	reference := host + "/" + cloudtest.Model + ":" + sha
	digest := s.publish(x, reference)
	x.Write("kubernetes/model.yaml", strings.ReplaceAll(s.manifest, "IMAGE", host+"/"+cloudtest.Model+":latest"))
	recorder, err := record.Start(x.Context(), x.Kube, x.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	deploy := step(x, sha, map[string]string{"registry_host": host, "timeout": or(s.timeout, "3m")})
	if s.vanishes {
		deploy.OnLine = func(line string) {
			if strings.HasPrefix(line, "Image ") {
				for _, gone := range []string{reference, host + "/" + cloudtest.Model + "@" + digest} {
					if err := x.Cloud.Registry.Delete(context.WithoutCancel(x.Context()), gone); err != nil {
						t.Error(err)
					}
				}
			}
		}
	}
	result := x.Run(deploy)
	ctx, cancel := context.WithTimeout(x.Context(), seen)
	defer cancel()
	if err := recorder.Wait(ctx, s.enough); err != nil {
		t.Error(err)
	}
	if s.event != "" {
		if err := recorder.WaitEvent(ctx, s.event); err != nil {
			t.Error(err)
		}
	}
	time.Sleep(2 * time.Second) // events come after the status that they are about
	return played{recorder.Stop(context.WithoutCancel(x.Context())), verdict(x, result)}
}

// publish makes the image and returns its digest.
func (s scenario) publish(x *cloudtest.Test, reference string) string {
	x.Helper()
	// No two images are equal, or the second would be on the node already.
	s.model.Words = withWord(s.model.Words, "body", x.Namespace)
	image, err := s.model.Image(x.Context())
	if err != nil {
		x.Fatal(err)
	}
	if !s.index {
		digest, err := x.Cloud.Registry.PushImage(x.Context(), reference, image)
		if err != nil {
			x.Fatal(err)
		}
		return digest
	}
	file, err := image.ConfigFile()
	if err != nil {
		x.Fatal(err)
	}
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: file.Platform()}})
	ref, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		x.Fatal(err)
	}
	if err := remote.WriteIndex(ref, index, remote.WithContext(x.Context()), remote.WithTransport(x.Cloud.Registry.Transport())); err != nil {
		x.Fatal(err)
	}
	digest, err := index.Digest()
	if err != nil {
		x.Fatal(err)
	}
	return digest.String()
}

// verdict is what the user is told.
func verdict(x *cloudtest.Test, r *runner.Result) string {
	lines := []string{fmt.Sprintf("%s, exit code %d", r.Outputs["outcome"], r.ExitCode)}
	for _, a := range r.Annotations {
		if a.Level == "error" {
			lines = append(lines, a.Title+": "+a.Message)
		}
	}
	return record.Normal(strings.Join(lines, "\n"), x.Namespace, "NAMESPACE")
}

func (s scenario) recorded() string { return filepath.Join("testdata", "recorded", s.name+".json") }

func (s scenario) said() string { return filepath.Join("testdata", "verdicts", s.name+".txt") }

func (s scenario) write(t *testing.T, got played) {
	t.Helper()
	content, err := json.MarshalIndent(got.record, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{s.recorded(): append(content, '\n'), s.said(): []byte(got.verdict + "\n")} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// compare holds what was played to what was recorded.
func (s scenario) compare(t *testing.T, got played) {
	t.Helper()
	content, err := os.ReadFile(s.recorded())
	if err != nil {
		t.Fatal(err)
	}
	var want record.Record
	if err := json.Unmarshal(content, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Facts(), got.record.Facts()); diff != "" {
		t.Errorf("what the node says (-recorded +played):\n%s", diff)
	}
	said, err := os.ReadFile(s.said())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(strings.TrimSpace(string(said)), "\n"), strings.Split(got.verdict, "\n")); diff != "" {
		t.Errorf("the verdict (-written +played):\n%s", diff)
	}
}

func withWord(words map[string]string, name, value string) map[string]string {
	all := map[string]string{name: value}
	for k, v := range words {
		all[k] = v
	}
	return all
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

var _ = slices.Sorted[string]
