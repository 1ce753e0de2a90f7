package catalogue_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/registry"
	"github.com/org/deploy-model-action/e2e/runner"
)

// TestCatalogue plays every case twice, at the same time: with the rollback,
// which has to leave things as they were, and without, so that kubectl can be
// asked about what is broken.
func TestCatalogue(t *testing.T) {
	t.Parallel()
	var table table
	t.Cleanup(func() { t.Logf("\n%s", table.String()) })
	for _, s := range scenes() {
		// Not nested: a test that waits for its own would keep its place among
		// those that may run at the same time.
		t.Run(s.name+" restored", func(t *testing.T) {
			t.Parallel()
			s.restored(cloudtest.New(t), &table)
		})
		t.Run(s.name+" left", func(t *testing.T) {
			t.Parallel()
			s.remains(cloudtest.New(t))
		})
	}
}

// restored deploys a good version, the broken one and a good one again.
func (s scene) restored(x *cloudtest.Test, table *table) {
	first := s.deployGood(x, 1)
	before := s.specs(x, s.goodManifest())
	users := x.User(first.Outputs["url"], 50*time.Millisecond)
	broken := s.deployBroken(x, nil)
	want := or(s.outcome, "rolled-back")
	if broken.ExitCode != s.code(want) || broken.Outputs["outcome"] != want {
		x.Errorf("the broken version: exit code %d, outcome %q, want %d, %q", broken.ExitCode, broken.Outputs["outcome"], s.code(want), want)
	}
	golden(x.T, strings.ReplaceAll(s.name, " ", "-"), x.Verdict(broken.Result))
	table.add(s.name, broken)
	served := []string{first.Outputs["image"]}
	if want == "deployed" {
		served = append(served, broken.Outputs["image"])
	} else if diff := cmp.Diff(before, s.specs(x, s.goodManifest())); diff != "" {
		x.Errorf("what is there is not what was there (-before +after):\n%s", diff)
	}
	users.End()
	s.checkUsers(x, users, served)
	if want == "rolled-back" {
		for _, command := range s.kubectl {
			if !strings.Contains(command, "/migrate") { // it stays, for inspection
				kubectl(x, command, true)
			}
		}
	}
	broken.clear()
	s.deployGood(x, 3)
}

// checkUsers checks what users saw of the broken deploy.
func (s scene) checkUsers(x *cloudtest.Test, c *cloudtest.User, served []string) {
	x.Helper()
	x.Logf("users asked %d times, and %d times without success", c.Asked, len(c.Failures))
	if s.goodManifest() != web {
		return // a StatefulSet or DaemonSet takes one pod away before the next one comes
	}
	if len(c.Failures) > 0 {
		x.Errorf("%d of %d requests failed: %s", len(c.Failures), c.Asked, strings.Join(c.Failures, "; "))
	}
	for _, image := range c.Answers {
		if !slices.Contains(served, image) && !s.serves {
			x.Errorf("users were served by %s, want %s", image, served)
		}
	}
}

// remains leaves the broken version, and asks kubectl.
func (s scene) remains(x *cloudtest.Test) {
	s.deployGood(x, 1)
	broken := s.deployBroken(x, map[string]string{"rollback": "false"})
	want := or(s.left, "failed")
	if broken.ExitCode != s.code(want) || broken.Outputs["outcome"] != want {
		x.Errorf("the broken version: exit code %d, outcome %q, want %d, %q", broken.ExitCode, broken.Outputs["outcome"], s.code(want), want)
	}
	for _, command := range s.kubectl {
		kubectl(x, command, false)
	}
	for command, says := range s.agrees {
		if out := kubectl(x, command, true); !strings.Contains(out, says) {
			x.Errorf("kubectl %s says %q, want %q", command, out, says)
		}
	}
	broken.clear()
	if s.repair != nil {
		x.Write("kubernetes/model.yaml", s.goodManifest())
		x.Push(x.SHA(4), nil)
		blocked := x.Deploy(x.SHA(4), map[string]string{"timeout": "40s", "rollback": "false"})
		if said := x.Verdict(blocked); blocked.ExitCode != 1 || !strings.Contains(said, s.stuck) {
			x.Errorf("the next version: exit code %d, want 1 and the advice %q in\n%s", blocked.ExitCode, s.stuck, said)
		}
		s.repair(x)
	}
	s.deployGood(x, 3)
	for _, command := range s.kubectl {
		if !strings.Contains(command, "/migrate") {
			kubectl(x, command, true)
		}
	}
}

func (s scene) goodManifest() string { return or(s.good, web) }

func (s scene) code(outcome string) int {
	if outcome == "deployed" {
		return 0
	}
	return 1
}

// deployGood deploys a version that serves.
func (s scene) deployGood(x *cloudtest.Test, version int) *runner.Result {
	x.Helper()
	sha := x.SHA(version)
	x.Push(sha, nil)
	x.Write("kubernetes/model.yaml", s.goodManifest())
	result := x.Deploy(sha, map[string]string{"timeout": "2m"})
	if result.ExitCode != 0 || result.Outputs["outcome"] != "deployed" {
		x.Fatalf("version %d: exit code %d, outcome %q", version, result.ExitCode, result.Outputs["outcome"])
	}
	return result
}

// deployBroken deploys the broken version, which has number 2.
func (s scene) deployBroken(x *cloudtest.Test, with map[string]string) *deployed {
	x.Helper()
	sha, reference := x.SHA(2), localcloud.RegistryHost+"/"+cloudtest.Model
	labels := map[string]string{}
	for name, value := range s.words {
		labels["model."+name] = value
	}
	image, err := registry.Image(labels, map[bool]string{false: "amd64", true: "arm64"}[s.foreign])
	if err != nil {
		x.Fatal(err)
	}
	digest, err := x.Cloud.Registry.PushImage(x.Context(), reference+":"+sha, image)
	if err != nil {
		x.Fatal(err)
	}
	x.Write("kubernetes/model.yaml", manifest(or(s.bad, s.goodManifest())))
	clear := func() {}
	if s.obstacle != nil {
		clear = s.obstacle(x)
	}
	inputs := map[string]string{"timeout": "4m"}
	maps.Copy(inputs, s.with)
	maps.Copy(inputs, with)
	step := x.Step(sha, inputs)
	begun, knew := time.Now(), time.Duration(0)
	step.OnLine = func(line string) {
		if knew == 0 && (strings.HasPrefix(line, "Why ") || strings.HasPrefix(line, "::group::Rollback")) {
			knew = time.Since(begun)
		}
		if s.vanishes {
			if strings.HasPrefix(line, "Image ") {
				for _, name := range []string{reference + ":" + sha, reference + "@" + digest} {
					if err := x.Cloud.Registry.Delete(context.WithoutCancel(x.Context()), name); err != nil {
						x.Error(err)
					}
				}
			}
		}
	}
	broken := &deployed{Result: x.Run(step), clear: clear, knew: knew}
	if knew == 0 {
		broken.knew = broken.Duration
	}
	return broken
}

// deployed is what became of the broken version.
type deployed struct {
	*runner.Result
	clear func()        // takes the obstacle away
	knew  time.Duration // when the verdict was known, since the step began
}

// specs are the objects of a manifest as they are in the cluster, without what
// the cluster itself keeps.
func (s scene) specs(x *cloudtest.Test, text string) map[string]any {
	x.Helper()
	objects, specs := x.Objects(), map[string]any{}
	for _, name := range []string{"deployments model", "statefulsets model", "daemonsets model", "services model"} {
		object, ok := objects[name]
		if !ok {
			continue
		}
		labels, annotations := object.GetLabels(), object.GetAnnotations()
		maps.DeleteFunc(annotations, func(key, _ string) bool {
			return strings.Contains(key, "kubernetes.io/") || strings.HasPrefix(key, "deprecated.")
		})
		spec, _, _ := unstructured.NestedMap(object.Object, "spec")
		specs[name] = map[string]any{"labels": labels, "annotations": annotations, "spec": spec}
	}
	if len(specs) == 0 {
		x.Fatalf("nothing of the manifest is there:\n%s", text)
	}
	return specs
}

// kubectl runs a command and checks whether it succeeds, if kubectl is there.
func kubectl(x *cloudtest.Test, command string, succeeds bool) string {
	x.Helper()
	path, err := exec.LookPath("kubectl")
	if err != nil {
		x.Log("kubectl is not installed; it was not asked")
		return ""
	}
	args := append([]string{"--kubeconfig", x.Cloud.Kubeconfig, "--namespace", x.Namespace}, strings.Fields(command)...)
	out, err := exec.CommandContext(context.WithoutCancel(x.Context()), path, args...).CombinedOutput()
	if (err == nil) != succeeds {
		x.Errorf("kubectl %s: %v, which is another verdict\n%s", command, err, out)
	}
	return string(out)
}

// table is what is printed at the end.
type table struct {
	mu   sync.Mutex
	rows []string
}

func (t *table) add(name string, r *deployed) {
	t.mu.Lock()
	defer t.mu.Unlock()
	said := ""
	if len(r.Annotations) > 0 {
		said = strings.Join(strings.Fields(r.Annotations[0].Message), " ")
	}
	if len(said) > 140 {
		said = said[:140] + "…"
	}
	t.rows = append(t.rows, fmt.Sprintf("%s\t%d\t%s\t%s\t%s", name, r.ExitCode, r.Outputs["outcome"], r.knew.Round(100*time.Millisecond), said))
}

// String is the table, by name.
func (t *table) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.Sort(t.rows)
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "case\texit\toutcome\tafter\tfirst sentence")
	for _, row := range t.rows {
		fmt.Fprintln(w, row)
	}
	_ = w.Flush()
	return b.String()
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
