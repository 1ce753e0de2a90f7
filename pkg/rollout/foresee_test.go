package rollout

import (
	"fmt"
	"strings"
	"testing"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

// TestForesee holds what is refused before anything is written, and what is not.
func TestForesee(t *testing.T) {
	t.Parallel()
	const template = `template: {metadata: {labels: {app: model}}, spec: {containers: [{name: model, image: "host/model:%d", ports: [{name: http, containerPort: 3000}]}]}}`
	deployment := func(image int, spec, annotations string) string {
		return `{apiVersion: apps/v1, kind: Deployment, metadata: {name: model, namespace: default, generation: 4, annotations: {` + annotations + `}}, spec: {` + spec + fmt.Sprintf(template, image) + `}, status: {observedGeneration: 4, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1}}`
	}
	argo := func(image int, spec string) string {
		return strings.NewReplacer("apps/v1", "argoproj.io/v1alpha1", "kind: Deployment", "kind: Rollout").Replace(deployment(image, spec, ""))
	}
	service := func(port string) string {
		return `{apiVersion: v1, kind: Service, metadata: {name: front, namespace: default}, spec: {type: ClusterIP, selector: {app: model}, ports: [{port: 80, targetPort: ` + port + `}]}}`
	}
	const paused = "paused: true, "
	tests := []struct {
		name          string
		before, after []string
		want          string
	}{
		{"a change", []string{deployment(1, "", "")}, []string{deployment(2, "", "")}, ""},
		{"a change of what is paused", []string{deployment(1, paused, "")}, []string{deployment(2, paused, "")}, "Deployment default/model: it is paused"},
		{"a change that resumes it", []string{deployment(1, paused, "")}, []string{deployment(2, "", "")}, ""},
		{"a change that pauses it", []string{deployment(1, "", "")}, []string{deployment(2, paused, "")}, "it is paused"},
		{"paused from the start", []string{""}, []string{deployment(2, paused, "")}, "it is paused"},
		{"paused, of no pods", []string{deployment(1, paused, "")}, []string{deployment(2, "replicas: 0, "+paused, "")}, ""},
		{"paused, and only scaled", []string{deployment(1, paused, "")}, []string{deployment(1, "replicas: 3, "+paused, "")}, ""},
		{"paused with old pods, and only scaled", []string{strings.Replace(deployment(1, paused, ""), "updatedReplicas: 1", "updatedReplicas: 0", 1)}, []string{deployment(1, "replicas: 3, "+paused, "")}, "it is paused"},
		{"paused, and not waited for", []string{deployment(1, "", "")}, []string{deployment(2, paused, `deploy-model-action/wait: "false"`)}, ""},
		{"paused, and unchanged", []string{deployment(1, paused, ""), service("http")}, []string{deployment(1, paused, ""), service("3000")}, ""},
		{"an Argo Rollout that is paused", []string{argo(1, paused)}, []string{argo(2, paused)}, "Rollout default/model: it is paused: its pods stay as they are; resume it"},
		{"an Argo Rollout that is resumed", []string{argo(1, paused)}, []string{argo(2, "")}, ""},
		{"a port that nobody has", []string{deployment(1, "", ""), service("http")}, []string{deployment(2, "", ""), service("web")}, `Service default/front: its port 80 leads to targetPort "web"`},
		{"both", []string{deployment(1, "", ""), service("http")}, []string{deployment(2, paused, ""), service("web")}, "it is paused, so that no pod gets what was deployed; resume it, and deploy again: kubectl rollout resume deployment/model --namespace=default\nService"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			changes := make([]kube.Change, len(tt.after))
			for i, after := range tt.after {
				changes[i] = changeOf(objecttest.FromYAML(t, after))
				if tt.before[i] != "" {
					changes[i].Before, changes[i].Action = objecttest.FromYAML(t, tt.before[i]), kube.Configured
				}
				if after == tt.before[i] {
					changes[i].Action = kube.Unchanged
				}
			}
			got := ""
			if err := Foresee(changes); err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
