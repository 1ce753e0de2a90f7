package action_test

import (
	"strings"
	"testing"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

// The API server's warnings are shown, once each although each object is sent
// twice, where their object is; and tests of a chart are left out.
func TestWarningsOfTheAPIServer(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	x.Testdata()
	x.Write("kubernetes/batch.yaml", `apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: batch}
spec:
  replicas: 0
  selector: {matchLabels: {app: batch}}
  template:
    metadata: {labels: {app: batch}}
    spec:
      nodeSelector: {beta.kubernetes.io/arch: amd64}
      containers: [{name: batch, image: registry.k8s.io/pause:3.9}]
`)
	x.Write("kubernetes/test.yaml", `apiVersion: v1
kind: Pod
metadata: {name: connection, annotations: {helm.sh/hook: test}}
spec: {containers: [{name: wget, image: busybox, command: [wget, nobody]}]}
`)
	x.Push(x.SHA(0), nil)
	r := x.Deploy(x.SHA(0), nil)
	if r.Outputs["outcome"] != "deployed" {
		t.Errorf("outcome %s", r.Outputs["outcome"])
	}
	const warning = "[beta.kubernetes.io/arch]: deprecated since v1.14"
	if n := strings.Count(r.Log, "Warning of the API server about Deployment "); n != 1 || !strings.Contains(r.Log, warning) {
		t.Errorf("the warning is in the log %d times", n)
	}
	found := 0
	for _, a := range r.Annotations {
		if strings.Contains(a.Message, warning) {
			found++
			if a.Level != "warning" || a.File != "kubernetes/batch.yaml" || a.Line != 5 {
				t.Errorf("%+v", a)
			}
		}
	}
	if found != 1 {
		t.Errorf("%d annotations", found)
	}
	if !strings.Contains(r.Log, "kubernetes/test.yaml:1: Pod connection is left out") || strings.Contains(r.Log, "pod/connection") {
		t.Error("the test of the chart is not left out, or not said")
	}
}
