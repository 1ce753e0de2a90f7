package workload

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

func TestTemplate(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		object string
		labels map[string]string
		ports  []string
	}{
		"Deployment": {
			`{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, labels: {app: b}}, spec: {template: {metadata: {labels: {app: a}}, spec: {containers: [{name: m, ports: [{name: http, containerPort: 3000}]}]}}}}`,
			map[string]string{"app": "a"},
			[]string{"http"},
		},
		"another kind with a template": {
			`{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: a}, spec: {template: {metadata: {labels: {app: a}}, spec: {containers: [{name: m}]}}}}`,
			map[string]string{"app": "a"},
			nil,
		},
		"a bare pod with a sidecar": {
			`{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {app: a}}, spec: {initContainers: [{name: p, restartPolicy: Always, ports: [{name: proxy, containerPort: 1}]}, {name: i, ports: [{name: never, containerPort: 2}]}], containers: [{name: m, ports: [{name: http, containerPort: 3}]}]}}`,
			map[string]string{"app": "a"},
			[]string{"proxy", "http"},
		},
		"none":      {`{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}`, nil, nil},
		"malformed": {`{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {template: {spec: {containers: 1}}}}`, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := Template(objecttest.FromYAML(t, tt.object))
			if (got == nil) != (tt.labels == nil) {
				t.Fatalf("%+v", got)
			}
			if got == nil {
				return
			}
			var ports []string
			for _, p := range Ports(&got.Spec) {
				ports = append(ports, p.Name)
			}
			if diff := cmp.Diff(tt.labels, got.Labels) + cmp.Diff(tt.ports, ports); diff != "" {
				t.Error(diff)
			}
		})
	}
}
