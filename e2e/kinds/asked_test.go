package kinds_test

import (
	"strings"
	"testing"
	"time"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

// made is what KServe makes of an InferenceService, as far as it is asked.
const made = `apiVersion: apps/v1
kind: Deployment
metadata: {name: model-predictor}
spec:
  minReadySeconds: 0
  selector: {matchLabels: {app: model}}
  template:
    metadata: {labels: {app: model}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: model, image: ` + image + `, ports: [{containerPort: 3000}]}]
---
apiVersion: v1
kind: Service
metadata: {name: model}
spec: {selector: {app: model}, ports: [{port: 80, targetPort: 3000}]}
`

// TestKServeIsAsked asks the model of an InferenceService: the URL of its status
// leads nowhere from here, so it is asked at the Service that KServe made.
func TestKServeIsAsked(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	c := newController(x, kinds[:1])
	x.Write("made/model.yaml", made)
	x.Write("kubernetes/model.yaml", kinds[0].manifest("1"))
	x.Write("smoke.yaml", `requests: [{path: /predict, json: {instances: [1]}, expect: {that: "{.predictions[0].prediction} == Earth"}}]`)
	x.Push(x.SHA(0), map[string]string{"model.framework": "json"})
	if r := x.Deploy(x.SHA(0), map[string]string{"manifests": "made", "release": "made"}); r.ExitCode != 0 {
		t.Fatal("what KServe makes is not there")
	}
	stop := c.play("1", step{time.Second, func(k kind) string {
		return strings.ReplaceAll(k.ready, "model.default.svc", "model."+x.Namespace+".svc")
	}})
	defer stop()
	r := x.Deploy(x.SHA(0), map[string]string{"health_path": "/v1/models/model", "smoke_test": "smoke.yaml", "health_timeout": "30s"})
	if r.ExitCode != 0 || r.Outputs["outcome"] != "deployed" || r.Outputs["url"] != "http://model-default.models.example.com" {
		t.Errorf("exit code %d, outputs %v", r.ExitCode, r.Outputs)
	}
	for _, line := range []string{
		"GET /api/v1/namespaces/" + x.Namespace + "/services/model:80/proxy/v1/models/model (through the API server): 200 OK",
		"POST /api/v1/namespaces/" + x.Namespace + "/services/model:80/proxy/predict (through the API server): as expected",
		"Address: http://model-default.models.example.com",
	} {
		if !strings.Contains(r.Log, line) {
			t.Errorf("the log does not say %q", line)
		}
	}
}
