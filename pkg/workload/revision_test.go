package workload

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/workload/workloadtest"
)

func TestRevisionOfDeployment(t *testing.T) {
	t.Parallel()
	deployment := workloadtest.Object(t, "Deployment", 1, `{observedGeneration: 2, conditions: [{type: Progressing, status: "True", reason: ReplicaSetUpdated, message: 'ReplicaSet "model-third" is progressing.'}]}`)
	stale := workloadtest.Object(t, "Deployment", 1, `{observedGeneration: 1}`)
	other := strings.Replace(workloadtest.Template, "v2", "v0", 1)
	defaulted := strings.Replace(workloadtest.Template, "image:", "imagePullPolicy: Always, image:", 1)
	tests := []struct {
		name string
		live *unstructured.Unstructured
		sets []unstructured.Unstructured
		want string
	}{
		{"by template", deployment, []unstructured.Unstructured{*workloadtest.ReplicaSet(t, "a", "2", other, `{}`), *workloadtest.ReplicaSet(t, "b", "1", workloadtest.Template, `{}`)}, "b"},
		{"by template before the controller saw it", stale, []unstructured.Unstructured{*workloadtest.ReplicaSet(t, "b", "1", workloadtest.Template, `{}`)}, "b"},
		{"by revision where a webhook changed the template", deployment, []unstructured.Unstructured{*workloadtest.ReplicaSet(t, "a", "1", other, `{}`), *workloadtest.ReplicaSet(t, "b", "2", defaulted, `{}`)}, "b"},
		{"an old revision's number says nothing", stale, []unstructured.Unstructured{*workloadtest.ReplicaSet(t, "a", "2", other, `{}`)}, ""},
		{"by the condition where ReplicaSets are secret", deployment, nil, "third"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var sets []*unstructured.Unstructured
			for i := range tt.sets {
				sets = append(sets, &tt.sets[i])
			}
			revision := NewRevision(tt.live, sets)
			for _, uid := range []string{"a", "b", "third"} {
				p := workloadtest.Pod{Name: "p-" + uid, Owner: uid, Status: `{}`}.Object(t)
				refs := p.Object["metadata"].(map[string]any)["ownerReferences"].([]any)
				refs[0].(map[string]any)["name"] = "model-" + uid
				for _, pod := range ToPods([]unstructured.Unstructured{*p}) {
					if got := revision.Includes(pod); got != (uid == tt.want) {
						t.Errorf("pod of %s: %v", uid, got)
					}
				}
			}
		})
	}
}
