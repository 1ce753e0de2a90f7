package realnode_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/realnode"
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
	for _, s := range scenarios() {
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
	for _, s := range scenarios() {
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
	x := r.test(t, strings.ToLower(s.name))
	repository := or(s.repository, models) + "/" + cloudtest.Model
	digest := s.publish(x, repository+":"+x.SHA(1))
	recorder, err := record.Start(x.Context(), x.Kube, x.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	meanwhile := func(context.Context) {}
	if s.arrange != nil {
		meanwhile = s.arrange(x, recorder)
	}
	var result *runner.Result
	var deploying sync.WaitGroup
	defer deploying.Wait()
	if s.unchecked {
		s.create(x, repository+":"+x.SHA(1)+"@"+digest)
	} else {
		x.Write("kubernetes/model.yaml", strings.ReplaceAll(s.manifest, "IMAGE", repository+":latest"))
		deploy := s.step(x)
		if s.vanishes {
			deploy.OnLine = s.vanish(x, repository, digest)
		}
		deploying.Go(func() { result = x.Run(deploy) })
	}
	ctx, cancel := context.WithTimeout(x.Context(), seen)
	defer cancel()
	meanwhile(ctx)
	if err := recorder.Wait(ctx, s.enough); err != nil {
		t.Error(err)
	}
	for _, part := range s.events {
		if err := recorder.WaitEvent(ctx, part); err != nil {
			t.Error(err)
		}
	}
	// Other events, and what is printed, come after the status that they are about;
	// from a busy kubelet, which sends them one after the other, seconds after.
	if !*update {
		recorder.WaitFacts(ctx, s.wanted(t), s.passes) // what lacks is said by compare
	}
	recorder.Settle(ctx, 2*time.Second)
	recorder.Logs(x.Context()) // also when the time for what lacks is over
	p := played{record: recorder.Stop()}
	deploying.Wait()
	if result != nil {
		p.verdict = s.verdict(x, result)
		if s.unsaid != "" && strings.Contains(result.Log, s.unsaid) {
			t.Errorf("the log says %q", s.unsaid)
		}
		verdicts.add(s.name, r == &genuine, result.Duration, p.verdict)
	}
	return p
}

// step is the scenario's deploy.
func (s scenario) step(x *cloudtest.Test) runner.Step {
	x.Helper()
	with := map[string]string{"registry_host": or(s.repository, models), "timeout": "4m"}
	maps.Copy(with, s.with)
	return step(x, x.SHA(1), with)
}

// create makes the object as it is.
func (s scenario) create(x *cloudtest.Test, image string) {
	x.Helper()
	var d appsv1.Deployment
	if err := yaml.UnmarshalStrict([]byte(strings.ReplaceAll(s.manifest, "IMAGE", image)), &d); err != nil {
		x.Fatal(err)
	}
	if _, err := x.Kube.AppsV1().Deployments(x.Namespace).Create(x.Context(), &d, metav1.CreateOptions{}); err != nil {
		x.Fatal(err)
	}
}

// vanish removes the image when the action has found it, and before a node can.
func (s scenario) vanish(x *cloudtest.Test, repository, digest string) func(string) {
	return func(line string) {
		if !strings.HasPrefix(line, "Image ") {
			return
		}
		for _, gone := range []string{repository + ":" + x.SHA(1), repository + "@" + digest} {
			if err := x.Cloud.Registry.Delete(context.WithoutCancel(x.Context()), gone); err != nil {
				x.Error(err)
			}
		}
	}
}

// publish makes the image and returns its digest.
func (s scenario) publish(x *cloudtest.Test, reference string) string {
	x.Helper()
	// No two images are equal, or the second would be on the node already.
	model := realnode.Model{"body": x.Namespace}
	maps.Copy(model, s.model)
	image, err := model.Image(x.Context())
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
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}})
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

// Names of pods, and a count that depends on when somebody looked.
var (
	podName  = regexp.MustCompile(`\b(model|migrate)-(?:[0-9a-f]{6,10}-)?[a-z0-9]{5}(_|\b)`)
	restarts = regexp.MustCompile(`restarted \d+ times`)
)

// verdict is what the user is told, in the form of the catalogue's golden files.
func (s scenario) verdict(x *cloudtest.Test, r *runner.Result) string {
	var b strings.Builder
	for _, a := range r.Annotations {
		if a.Level == "error" {
			fmt.Fprintf(&b, "%s, %s: %s\n", a.Level, a.Title, a.Message)
		}
	}
	fmt.Fprintf(&b, "exit code %d, outcome %s\n", r.ExitCode, r.Outputs["outcome"])
	text := record.Normal(b.String(), x.Namespace, "NAMESPACE", or(s.repository, models)+"/", models+"/", " "+path.Base(or(s.repository, models))+" ", " models ")
	return restarts.ReplaceAllString(podName.ReplaceAllString(text, "$1-POD$2"), "restarted N times")
}

func (s scenario) recorded() string { return filepath.Join("testdata", "recorded", s.name+".json") }

func (s scenario) said() string { return filepath.Join("testdata", "verdicts", s.name+".txt") }

func (s scenario) write(t *testing.T, got played) {
	t.Helper()
	content, err := json.MarshalIndent(got.record, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{s.recorded(): append(content, '\n')}
	if !s.unchecked {
		files[s.said()] = []byte(got.verdict)
	}
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// wanted is what was recorded.
func (s scenario) wanted(t *testing.T) record.Record {
	t.Helper()
	content, err := os.ReadFile(s.recorded())
	if err != nil {
		t.Fatal(err)
	}
	var want record.Record
	if err := json.Unmarshal(content, &want); err != nil {
		t.Fatal(err)
	}
	return want
}

// compare holds what was played to what was recorded.
func (s scenario) compare(t *testing.T, got played) {
	t.Helper()
	lacks, besides := record.Differ(s.wanted(t), got.record, s.passes)
	for _, f := range lacks {
		t.Errorf("recorded and not played: %s", f)
	}
	for _, f := range besides {
		t.Errorf("played and not recorded: %s", f)
	}
	if s.unchecked {
		return
	}
	said, err := os.ReadFile(s.said())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(said), got.verdict); diff != "" {
		t.Errorf("the verdict (-written +played):\n%s", diff)
	}
}

// early are what a kubelet says that does not know a new pod's objects yet, or
// whom the API server does not know to have the pod.
var early = regexp.MustCompile(` not registered$|failed to sync (secret|configmap) cache|no relationship found between node`)

// passing are states of a pod that may be over before anybody sees them, when what
// it runs starts or ends at once.
var passing = regexp.MustCompile(`^pod (Running$|PodReadyToStartContainers=True|ContainersReady=|Ready=)`)

// passes lets a fact pass that is chance: a probe may come before the program
// listens, or when it ends, and find it ready before, or not; a kubelet may be early.
func (s scenario) passes(fact string) bool {
	if strings.HasPrefix(fact, "event Warning Unhealthy") && strings.Contains(fact, `Get "http`) {
		return !slices.Contains(s.events, refused)
	}
	if s.brief && passing.MatchString(fact) {
		return true
	}
	return early.MatchString(fact)
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
