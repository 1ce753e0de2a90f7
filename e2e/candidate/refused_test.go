package candidate_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

// TestRefusedBefore holds that nothing is written and no candidate is tried where
// the rollout that would follow is certain to be refused.
func TestRefusedBefore(t *testing.T) {
	t.Parallel()
	pause := func(x *cloudtest.Test) {
		x.Helper()
		_, err := x.Kube.AppsV1().Deployments(x.Namespace).Patch(x.Context(), "model", types.MergePatchType, []byte(`{"spec": {"paused": true}}`), metav1.PatchOptions{FieldManager: "kubectl-rollout"})
		if err != nil {
			x.Fatal(err)
		}
	}
	for _, c := range []struct {
		name     string
		arrange  func(*cloudtest.Test)
		old, new string // of the manifests
		says     []string
	}{
		{"somebody paused it", pause, "", "", []string{"Deployment ", "it is paused", `"kubectl-rollout" set spec.paused`, "kubectl rollout resume deployment/model"}},
		{"the manifest pauses it", nil, "replicas: 2", "replicas: 2\n  paused: true", []string{"it is paused", "its manifest says so; take spec.paused out of the manifest"}},
		{"the Service leads to a port that nobody has", nil, "targetPort: http", "targetPort: web", []string{`its port 80 leads to targetPort "web"`, "correct targetPort"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x, _ := serving(t)
			if c.arrange != nil {
				c.arrange(x.Sub(t))
			}
			x.Push(x.SHA(1), nil)
			y := at(x, "second", x.SHA(1))
			if c.old != "" {
				y.Write("kubernetes/all.yaml", strings.Replace(text(x.SHA(1)), c.old, c.new, 1))
			}
			before := x.Settled()
			r := y.Deploy(x.SHA(1), inputs(nil))
			if r.ExitCode != 1 || r.Outputs["outcome"] != "failed" {
				t.Errorf("exit code %d, outcome %q", r.ExitCode, r.Outputs["outcome"])
			}
			for _, s := range append(c.says, "Nothing in the cluster was changed.") {
				if !strings.Contains(r.Log, s) {
					t.Errorf("the log does not say %q", s)
				}
			}
			if strings.Contains(r.Log, "▼ Candidate") {
				t.Error("a candidate was tried")
			}
			if diff := cmp.Diff(before, x.Settled()); diff != "" {
				t.Errorf("written (-before +after):\n%s", diff)
			}
		})
	}
	t.Run("what is paused and only scaled is not", func(t *testing.T) {
		t.Parallel()
		x, _ := serving(t)
		pause(x.Sub(t))
		y := at(x, "second", x.SHA(0))
		y.Write("kubernetes/all.yaml", strings.Replace(text(x.SHA(0)), "replicas: 2", "replicas: 3", 1))
		if r := y.Deploy(x.SHA(0), inputs(nil)); r.Outputs["outcome"] != "deployed" {
			t.Errorf("outcome %q", r.Outputs["outcome"])
		}
	})
}
