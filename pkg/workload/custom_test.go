package workload

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

// TestCustomPods holds which pods are those of a custom resource, and which of them
// are of its live revision. Each pod's name says it.
func TestCustomPods(t *testing.T) {
	t.Parallel()
	const since = `[{manager: deploy-model-action, operation: Apply, time: "2000-01-01T00:00:10Z"}, {manager: controller, operation: Update, time: "2000-01-01T00:00:50Z"}]`
	for _, tt := range []struct {
		version, kind, spec, status string
		selector, role              string
		replicaSets                 bool
		label                       string // of the pods below; "": only their times tell them
		want                        []string
	}{
		{version: "argoproj.io/v1alpha1", kind: "Rollout", spec: `{replicas: 2, selector: {matchLabels: {app: model}}}`, status: `{currentPodHash: new}`, selector: "app=model", replicaSets: true, label: "rollouts-pod-template-hash", want: []string{"new, early", "new, late"}},
		{version: "argoproj.io/v1alpha1", kind: "Rollout", spec: `{selector: {matchLabels: {app: model}}}`, status: `{}`, selector: "app=model", replicaSets: true, label: "rollouts-pod-template-hash"},
		{version: "serving.kserve.io/v1beta1", kind: "InferenceService", spec: `{}`, status: `{}`, selector: "serving.kserve.io/inferenceservice=model", role: "component", replicaSets: true, want: []string{"new, late", "old, late"}},
		{version: "serving.kserve.io/v1alpha1", kind: "InferenceGraph", spec: `{}`, status: `{}`, selector: "serving.kserve.io/inferencegraph=model", replicaSets: true, want: []string{"new, late", "old, late"}},
		{version: "serving.kserve.io/v1alpha1", kind: "LLMInferenceService", spec: `{}`, status: `{}`, selector: "app.kubernetes.io/name=model,app.kubernetes.io/part-of=llminferenceservice", role: "app.kubernetes.io/component", replicaSets: true, want: []string{"new, late", "old, late"}},
		{version: "serving.knative.dev/v1", kind: "Service", spec: `{}`, status: `{latestCreatedRevisionName: new}`, selector: "serving.knative.dev/service=model", replicaSets: true, label: "serving.knative.dev/revision", want: []string{"new, early", "new, late"}},
		{version: "leaderworkerset.x-k8s.io/v1", kind: "LeaderWorkerSet", spec: `{}`, status: `{}`, selector: "leaderworkerset.sigs.k8s.io/name=model", role: "leaderworkerset.sigs.k8s.io/worker-index", want: []string{"new, late", "old, late"}},
		{version: "ray.io/v1", kind: "RayCluster", spec: `{}`, status: `{}`, selector: "ray.io/cluster=model", role: "ray.io/group", want: []string{"new, late", "old, late"}},
		{version: "ray.io/v1", kind: "RayService", spec: `{}`, status: `{activeServiceStatus: {rayClusterName: old}, pendingServiceStatus: {rayClusterName: new}}`, selector: "ray.io/is-ray-node=yes", role: "ray.io/group", label: "ray.io/cluster", want: []string{"new, early", "new, late"}},
		{version: "ray.io/v1", kind: "RayService", spec: `{}`, status: `{activeServiceStatus: {rayClusterName: old}}`, selector: "ray.io/is-ray-node=yes", role: "ray.io/group", label: "ray.io/cluster", want: []string{"old, early", "old, late"}},
		{version: "ray.io/v1", kind: "RayService", spec: `{}`, status: `{}`, selector: "ray.io/is-ray-node=yes", role: "ray.io/group", label: "ray.io/cluster"},
		{version: "ray.io/v1", kind: "RayJob", spec: `{}`, status: `{rayClusterName: new}`, selector: "ray.io/is-ray-node=yes", role: "ray.io/group", label: "ray.io/cluster", want: []string{"new, early", "new, late"}},
		{version: "jobset.x-k8s.io/v1alpha2", kind: "JobSet", spec: `{}`, status: `{}`, selector: "jobset.sigs.k8s.io/jobset-name=model", role: "jobset.sigs.k8s.io/replicatedjob-name", want: []string{"new, late", "old, late"}},
	} {
		t.Run(tt.kind+" "+tt.status, func(t *testing.T) {
			t.Parallel()
			u := objecttest.FromYAML(t, objecttest.Text(tt.version, tt.kind, tt.spec, tt.status))
			fields := objecttest.FromYAML(t, `{apiVersion: v1, kind: X, metadata: {name: x, managedFields: `+since+`}}`)
			u.SetManagedFields(fields.GetManagedFields())

			set := Pods(u)
			if set.Kind != tt.kind || set.Selector != tt.selector || set.Role != tt.role || !set.Custom || set.ReplicaSets != tt.replicaSets {
				t.Errorf("%+v", set)
			}
			if known := tt.kind == "Rollout"; (set.Wanted > 0) != known {
				t.Errorf("%d pods are wanted", set.Wanted)
			}
			var got []string
			var sets []*unstructured.Unstructured
			for _, revision := range []string{"new", "old"} {
				for when, at := range map[string]int{"early": 5, "late": 10} {
					created, _ := metav1.Now(), at
					_ = created.UnmarshalQueryParameter(objecttest.At(at))
					name := revision + ", " + when
					pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: created, Labels: map[string]string{tt.label: revision}}}
					if NewRevision(u, nil).Includes(pod) {
						got = append(got, name)
					}
					set := &unstructured.Unstructured{}
					set.SetName(name)
					set.SetLabels(pod.Labels)
					set.SetCreationTimestamp(created)
					sets = append(sets, set)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			newest := NewRevision(u, sets).ReplicaSet()
			switch {
			case newest == nil && tt.replicaSets && len(tt.want) > 0:
				t.Error("no ReplicaSet is the newest")
			case newest != nil && (!tt.replicaSets || !slices.Contains(tt.want, newest.GetName()) || newest.GetCreationTimestamp().UTC().Second() != 10):
				t.Errorf("ReplicaSet %q is the newest", newest.GetName())
			}
		})
	}
}
