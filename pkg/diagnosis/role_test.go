package diagnosis

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
	"github.com/org/deploy-model-action/pkg/workload/workloadtest"
)

// TestRoles holds that one task of a custom resource which fails is a failure,
// whatever the pods of its other tasks do, and that one pod of several is none.
func TestRoles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, of, kind, labels, role string
		pods                         map[string]string // status, by the role and a letter
		fails                        string            // pod
	}{
		{name: "a transformer beside a predictor", of: "serving.kserve.io/v1beta1", kind: "InferenceService", labels: "serving.kserve.io/inferenceservice: model", role: "component", pods: map[string]string{"predictor-a": workloadtest.Ready, "transformer-a": workloadtest.Crash}, fails: "transformer-a"},
		{name: "one predictor of two", of: "serving.kserve.io/v1beta1", kind: "InferenceService", labels: "serving.kserve.io/inferenceservice: model", role: "component", pods: map[string]string{"predictor-a": workloadtest.Ready, "predictor-b": workloadtest.Crash}},
		{name: "every predictor", of: "serving.kserve.io/v1beta1", kind: "InferenceService", labels: "serving.kserve.io/inferenceservice: model", role: "component", pods: map[string]string{"predictor-a": workloadtest.Crash, "predictor-b": workloadtest.Crash}, fails: "predictor-a"},
		{name: "the head of a Ray cluster", of: "ray.io/v1", kind: "RayCluster", labels: "ray.io/cluster: model", role: "ray.io/group", pods: map[string]string{"headgroup-a": workloadtest.Crash, "gpu-a": workloadtest.Ready, "gpu-b": workloadtest.Ready}, fails: "headgroup-a"},
		{name: "one group of a set, which are updated in their order", of: "leaderworkerset.x-k8s.io/v1", kind: "LeaderWorkerSet", labels: "leaderworkerset.sigs.k8s.io/name: model", role: "leaderworkerset.sigs.k8s.io/worker-index", pods: map[string]string{"0-a": workloadtest.Ready, "0-b": workloadtest.Crash}, fails: "0-b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			now := objecttest.Start().Add(10 * time.Second)
			u := objecttest.FromYAML(t, objecttest.Text(tt.of, tt.kind, `{}`, `{}`))
			e := NewEvidence(kube.Change{After: u, Action: kube.Created}, now)
			var pods []unstructured.Unstructured
			for name, status := range tt.pods {
				labels := fmt.Sprintf("labels: {%s, %s: %q}", tt.labels, tt.role, name[:len(name)-2])
				pods = append(pods, *workloadtest.Pod{Name: name, Owner: "set", Extra: labels, Status: status}.Object(t))
			}
			e.Observe(Source{kube.Selection{Resource: kube.Pods}}, kube.ListUpdate{Listed: true, All: pods}, now)
			// Once more, as a crash counts when it has come back.
			r := Evaluate(e, now.Add(10*time.Minute), Options{})
			got := ""
			if r.Failure != nil {
				got = r.Failure.Pod
			}
			if got != tt.fails {
				t.Errorf("pod %q fails, want %q: %+v", got, tt.fails, r)
			}
		})
	}
}
