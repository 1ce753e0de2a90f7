package rollout_test

import (
	"testing"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

const around = `---
apiVersion: v1
kind: Service
metadata: {name: model, labels: {old: "yes"}}
spec: {type: ClusterIP, selector: {app: model}, ports: [{name: web, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, annotations: {level: "1"}}
data: {a: "1", b: "2"}
---
apiVersion: v1
kind: Secret
metadata: {name: key}
stringData: {a: "1", b: "2"}
`

// changed is the same with other types, ports, keys and labels.
const changed = `---
apiVersion: v1
kind: Service
metadata: {name: model, labels: {new: "yes"}}
spec: {type: NodePort, selector: {app: model}, ports: [{name: web, port: 8080, targetPort: http}, {name: more, port: 81}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, annotations: {level: "2"}, labels: {new: "yes"}}
data: {a: "9", c: "3"}
---
apiVersion: v1
kind: Secret
metadata: {name: key}
stringData: {a: "9", c: "3"}
`

// TestRestore deploys a version that crashes over objects with one history or
// another: they have to be what they were, to the last field, and the same
// manifest with a good image has to meet no conflict.
func TestRestore(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		history func(x *cloudtest.Test) // and its end: pods are ready
		before  string                  // manifest of what is compared
		broken  string
		with    map[string]string
		says    string
	}{
		{
			name: "kubectl apply",
			history: func(x *cloudtest.Test) {
				x.Push("latest", nil)
				kubectlApply(x, workload("Deployment", "replicas: 2", "serviceAccountName: default")+around)
				ready(x, 2)
			},
			before: workload("Deployment", "", "") + around,
			broken: workload("Deployment", "replicas: 3", "volumes: [{name: scratch, emptyDir: {}}]") + changed,
		},
		{
			name: "an earlier deploy",
			history: func(x *cloudtest.Test) {
				want(x, deploy(x, 1, workload("Deployment", "replicas: 2", "serviceAccountName: default")+around, nil, nil), "deployed")
			},
			before: workload("Deployment", "", "") + around,
			broken: workload("Deployment", "replicas: 1", "securityContext: {runAsUser: 1000}") + changed,
		},
		{
			name: "an earlier deploy and an autoscaler",
			history: func(x *cloudtest.Test) {
				want(x, deploy(x, 1, workload("Deployment", "replicas: 2", ""), nil, nil), "deployed")
				scale(x, "4")
				ready(x, 4)
			},
			before: workload("Deployment", "", ""),
			broken: workload("Deployment", "minReadySeconds: 1", ""),
		},
		{
			name: "what others hold is taken by force",
			history: func(x *cloudtest.Test) {
				want(x, deploy(x, 1, workload("Deployment", "replicas: 2", "")+around, nil, nil), "deployed")
				takeOver(x, "platform-team", `apiVersion: apps/v1
kind: Deployment
metadata: {name: model, labels: {owner: them}}
spec: {minReadySeconds: 1, selector: {matchLabels: {app: model}}, template: {spec: {containers: [{name: model, env: [{name: A, value: theirs}]}]}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {b: theirs, z: theirs}
`)
				ready(x, 2)
			},
			before: workload("Deployment", "", "") + around,
			broken: workload("Deployment", "replicas: 2\n  minReadySeconds: 0", "") + `          env: [{name: A, value: ours}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: "9", b: "9"}
`,
			with: map[string]string{"force_conflicts": "true"},
		},
		{
			name: "a StatefulSet that would wait for its broken pod",
			history: func(x *cloudtest.Test) {
				want(x, deploy(x, 1, workload("StatefulSet", "replicas: 3\n  serviceName: model", ""), nil, nil), "deployed")
			},
			before: workload("StatefulSet", "", ""),
			broken: workload("StatefulSet", "replicas: 3\n  serviceName: model", "priority: 0"),
			says:   `deleted pod "model-2" of the failed revision, for which it would have waited`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := cloudtest.New(t)
			tt.history(x)
			before := state(x, tt.before)
			want(x, deploy(x, 2, tt.broken, crashes, tt.with), "rolled-back", "crashed with exit code 3", tt.says)
			same(x, before, tt.before)
			want(x, deploy(x, 3, tt.broken, nil, tt.with), "deployed")
		})
	}
}

// TestRestoreNothing deploys for the first time what does not work: there is
// nothing to go back to, and what was made stays to be looked at.
func TestRestoreNothing(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	r := deploy(x, 1, workload("Deployment", "replicas: 1", "")+around, crashes, nil)
	want(x, r, "failed", "this deploy created it, so there is nothing to go back to; left for inspection")
	state(x, workload("Deployment", "", "")+around) // it is all there
	want(x, deploy(x, 2, workload("Deployment", "replicas: 1", "")+around, nil, nil), "deployed")
}
