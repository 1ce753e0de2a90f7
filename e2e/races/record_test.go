package races_test

import (
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

// marks are the annotations that a run leaves on what it changed.
func marks(x *cloudtest.Test) map[string]map[string]string {
	x.Helper()
	all := map[string]map[string]string{}
	for name, o := range x.Objects() {
		if name == "configmaps settings" || name == "services model" || name == "deployments model" {
			a := o.GetAnnotations()
			all[name] = map[string]string{"run": a["deploy-model-action/run"], "commit": a["deploy-model-action/commit"], "cause": a["kubernetes.io/change-cause"]}
			template, _, _ := unstructured.NestedMap(o.Object, "spec", "template", "metadata")
			if text, _ := json.Marshal(template); strings.Contains(string(text), "deploy-model-action") {
				x.Errorf("the pod template is marked: %s", text)
			}
		}
	}
	return all
}

// TestSameCommitAgain deploys a commit by two runs. The second changes nothing,
// not even a mark, and the record says that it ran.
func TestSameCommitAgain(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	x.Push(x.SHA(0), nil)
	y := x.At("run", x.SHA(0))
	first := y.Step(x.SHA(0), nil)
	if outcome := ended(t, "first", y.Run(first)); outcome != "deployed" {
		t.Fatalf("the first run ended as %s", outcome)
	}
	before := marks(x)
	for name, m := range before {
		if m["run"] == "" || m["commit"] != x.SHA(0) || m["cause"] == "" {
			t.Errorf("%s is marked with %v", name, m)
		}
		if !strings.Contains(m["run"], first.RunID) {
			t.Errorf("%s: run %q does not name %s", name, m["run"], first.RunID)
		}
	}
	versions := settled(x)
	again := y.Step(x.SHA(0), nil)
	r := y.Run(again)
	if outcome := ended(t, "again", r); outcome != "unchanged" {
		t.Errorf("the second run ended as %s", outcome)
	}
	if n := strings.Count(r.Log, " unchanged\n"); n != 3 {
		t.Errorf("the log says unchanged of %d objects, want 3", n)
	}
	if diff := cmp.Diff(before, marks(x)); diff != "" {
		t.Errorf("marks (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(versions, settled(x)); diff != "" {
		t.Errorf("versions (-before +after):\n%s", diff)
	}
	x.NothingIsOpen()
	if record := x.Record(); record != nil {
		text, err := json.Marshal(record.Data)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{first.RunID, again.RunID} {
			if !strings.Contains(string(text), id) {
				t.Errorf("the record does not name run %s: %s", id, text)
			}
		}
	}
}

// settled are the versions of all objects but the record, after controllers have
// nothing left to write.
func settled(x *cloudtest.Test) map[string]string {
	x.Helper()
	versions := x.Settled()
	for name := range versions {
		if strings.Contains(name, " deploy-model-action.") {
			delete(versions, name)
		}
	}
	return versions
}

// TestRolloutHistory looks at three deploys as kubectl shows them, and at what a
// later step gets of the one before.
func TestRolloutHistory(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	images := []string{""}
	for n := range 3 {
		x.Push(x.SHA(n), nil)
		r := x.At("run", x.SHA(n)).Deploy(x.SHA(n), nil)
		if outcome := ended(t, "run", r); outcome != "deployed" {
			t.Fatalf("deploy %d ended as %s", n, outcome)
		}
		if got := r.Outputs["previous"]; got != images[n] {
			t.Errorf("deploy %d: output previous is %q, want %q", n, got, images[n])
		}
		images = append(images, r.Outputs["image"])
	}
	for _, n := range []int{3, 4, 5} { // two that fail and stay, and one that serves
		labels := cloudtest.Crashes
		if n == 5 {
			labels = nil
		}
		x.Push(x.SHA(n), labels)
		r := x.At("run", x.SHA(n)).Deploy(x.SHA(n), map[string]string{"rollback": "false"})
		if want := map[bool]string{true: "failed", false: "deployed"}[n < 5]; ended(t, "run", r) != want {
			t.Fatalf("deploy %d did not end as %s", n, want)
		}
		if got := r.Outputs["previous"]; got != images[3] {
			t.Errorf("deploy %d: output previous is %q, want what was verified last, %q", n, got, images[3])
		}
	}
	sets, err := x.Kube.AppsV1().ReplicaSets(x.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sets.Items {
		commit := s.Spec.Template.Spec.Containers[0].Env[0].Value
		if cause := s.Annotations["kubernetes.io/change-cause"]; !strings.Contains(cause, commit[:7]) {
			t.Errorf("revision %s of commit %s has the cause %q", s.Annotations["deployment.kubernetes.io/revision"], commit, cause)
		}
	}
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Logf("not asked: %v", err)
		return
	}
	out, err := exec.CommandContext(t.Context(), kubectl, "--kubeconfig", x.Cloud.Kubeconfig, "--namespace", x.Namespace, "rollout", "history", "deployment/model").CombinedOutput()
	t.Logf("%s", out)
	if err != nil || regexp.MustCompile(`(?m)^[0-9]+\s+<none>`).Match(out) {
		t.Errorf("kubectl rollout history: %v", err)
	}
}
