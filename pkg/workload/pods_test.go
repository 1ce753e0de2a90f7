package workload

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

func TestPods(t *testing.T) {
	t.Parallel()
	const (
		template = `template: {spec: {initContainers: [{name: a, image: "i:1"}], containers: [{name: b, image: "c:1"}, {name: c}]}}`
		labels   = `selector: {matchLabels: {app: model}, matchExpressions: [{key: tier, operator: In, values: [low, mid]}]}`
	)
	tests := []struct {
		name, version, kind, spec, status string
		want                              PodSet
	}{
		{"a Deployment", "apps/v1", "Deployment", `{` + labels + `, replicas: 3, ` + template + `}`, `{}`, PodSet{Kind: "Deployment", Selector: "app=model,tier in (low,mid)", Images: []string{"i:1", "c:1"}, Wanted: 3, ReplicaSets: true}},
		{"without a number", "apps/v1", "StatefulSet", `{` + labels + `}`, `{}`, PodSet{Kind: "StatefulSet", Selector: "app=model,tier in (low,mid)", Images: nil, Wanted: 1}},
		{"a DaemonSet, as its controller counts", "apps/v1", "DaemonSet", `{` + labels + `}`, `{desiredNumberScheduled: 7}`, PodSet{Kind: "DaemonSet", Selector: "app=model,tier in (low,mid)", Images: nil, Wanted: 7}},
		{"a Job", "batch/v1", "Job", `{` + labels + `, parallelism: 2, completions: 9}`, `{}`, PodSet{Kind: "Job", Selector: "app=model,tier in (low,mid)", Images: nil, Wanted: 2}},
		{"a bare pod", "v1", "Pod", `{containers: [{name: b, image: "c:1"}]}`, `{}`, PodSet{Kind: "Pod", Selector: "", Images: []string{"c:1"}, Wanted: 1}},
		{"a workload of others", "example.com/v1", "Rollout", `{replicas: 2, ` + template + `}`, `{}`, PodSet{Kind: "", Selector: "", Images: []string{"i:1", "c:1"}, Wanted: 2}},
		{"a Deployment of others", "example.com/v1", "Deployment", `{}`, `{}`, PodSet{Kind: "", Selector: "", Images: nil, Wanted: 1}},
		{"an operator that does not exist", "apps/v1", "Deployment", `{selector: {matchExpressions: [{key: a, operator: Near}]}}`, `{}`, PodSet{Kind: "Deployment", Selector: "", Images: nil, Wanted: 1, ReplicaSets: true}},
		{"other shapes", "apps/v1", "Deployment", `{selector: 7, replicas: many, template: [], containers: 3}`, `[]`, PodSet{Kind: "Deployment", Selector: "", Images: nil, Wanted: 1, ReplicaSets: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := Pods(objecttest.FromYAML(t, objecttest.Text(tt.version, tt.kind, tt.spec, tt.status)))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestBlocks holds which pods keep a StatefulSet from updating any, and that those
// that its controller replaces anyway are none.
func TestBlocks(t *testing.T) {
	t.Parallel()
	set := func(spec, status string) string { return objecttest.Text("apps/v1", "StatefulSet", spec, status) }
	pod := func(name, revision string, change func(p *corev1.Pod)) *corev1.Pod {
		yes := true
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: map[string]string{RevisionLabel: revision},
			OwnerReferences: []metav1.OwnerReference{{UID: "u1", Controller: &yes}},
		}}
		if change != nil {
			change(p)
		}
		return p
	}
	all := []*corev1.Pod{
		pod("new", "b", nil),
		pod("z-old", "a", nil),
		pod("old", "a", nil),
		pod("ready", "a", func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		}),
		pod("of others", "a", func(p *corev1.Pod) { p.OwnerReferences[0].UID = "u2" }),
		pod("ending", "a", func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} }),
		pod("ended", "a", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }),
	}
	for _, tt := range []struct {
		name, object string
		want         []string
	}{
		{"one after the other", set(`{}`, `{observedGeneration: 4, updateRevision: b}`), []string{"old", "z-old"}},
		{"its controller has not observed the revision", set(`{}`, `{observedGeneration: 3, updateRevision: b}`), nil},
		{"all at once", set(`{podManagementPolicy: Parallel}`, `{observedGeneration: 4, updateRevision: b}`), nil},
		{"by whoever deletes them", set(`{updateStrategy: {type: OnDelete}}`, `{observedGeneration: 4, updateRevision: b}`), nil},
		{"another kind", objecttest.Text("apps/v1", "DaemonSet", `{}`, `{observedGeneration: 4, updateRevision: b}`), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := NewRevision(objecttest.FromYAML(t, tt.object), nil)
			var got []string
			for _, p := range r.Select(all, r.Blocks) {
				got = append(got, p.Name)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if (Revision{}).Blocks(all[1]) || (Revision{}).Includes(all[0]) {
		t.Error("the zero value includes pods")
	}
}
