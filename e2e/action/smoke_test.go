package action_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/runner"
)

// predictor is a model behind a Service of a type; it counts as steady at once.
const predictor = `apiVersion: apps/v1
kind: Deployment
metadata: {name: model}
spec:
  minReadySeconds: 0
  selector: {matchLabels: {app: model}}
  template:
    metadata: {labels: {app: model}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: model
          image: ` + image + `:latest
          ports: [{name: http, containerPort: 3000}, {name: metrics, containerPort: 9090}]
---
apiVersion: v1
kind: Service
metadata: {name: model-metrics}
spec:
  selector: {app: model}
  ports: [{name: metrics, port: 9090, targetPort: 9090}]
---
apiVersion: v1
kind: Service
metadata: {name: model}
spec:
  type: TYPE
  selector: {app: model}
  ports: [{name: http, port: 80, targetPort: http}]
`

const (
	bentoml = `requests:
  - name: a picture of Earth
    path: /predict
    form: {image: "@samples/earth.jpg"}
    expect:
      status: 200
      that: ["{.prediction} == Earth", "{.probabilities[2]} >= 0.9"]
      within: 20s
    repeat: 5
`
	fastapi = `requests:
  - path: /predict
    form: {file: "@samples/earth.jpg"}
    expect: {that: "{.prediction} == Earth"}
`
	asJSON = `requests:
  - path: /predict
    json: {instances: [{pixels: [0.1, 0.2]}]}
    expect: {that: ["{.predictions[0].prediction} == Earth"]}
  - path: /predict
    body: "@samples/instances.json"
    expect: {that: ["{.predictions[*].prediction} == Earth"]}
`
	hurried = `requests:
  - path: /predict
    json: {instances: [1]}
    expect: {that: "{.predictions[0].prediction} == Earth", within: 1500ms}
`
)

// times are figures of a log that differ from run to run.
var (
	times     = regexp.MustCompile(`\b\d+(?:\.\d+)? ?(?:µs|ms|s)\b`)
	tries     = regexp.MustCompile(`(\(the last of )\d+( tries)`)
	addresses = regexp.MustCompile(`203\.0\.113\.\d+`)
	suffixes  = regexp.MustCompile(`model-[a-z0-9]+-[a-z0-9]{5}\b`)
)

// TestSmoke asks models of three frameworks what they predict. What each outcome
// reads like is a golden file.
func TestSmoke(t *testing.T) { //nolint:tparallel // the golden file is written when all cases have ended
	t.Parallel()
	tests := []struct {
		name, smoke string
		labels      map[string]string
		kind        string // of the Service; LoadBalancer if empty
		before      bool   // a good model serves before
		outcome     string
		with        map[string]string
	}{
		{name: "BentoML", smoke: bentoml, labels: map[string]string{"model.framework": "bentoml"}, outcome: "deployed"},
		{name: "BentoML, no balancer", smoke: bentoml, labels: map[string]string{"model.framework": "bentoml"}, kind: "ClusterIP", outcome: "deployed"},
		{name: "BentoML, headless", smoke: bentoml, labels: map[string]string{"model.framework": "bentoml"}, kind: "ClusterIP\n  clusterIP: None", outcome: "deployed"},
		{name: "FastAPI", smoke: fastapi, labels: map[string]string{"model.framework": "fastapi"}, outcome: "deployed", with: map[string]string{"health_path": "/readyz"}},
		{name: "JSON", smoke: asJSON, labels: map[string]string{"model.framework": "json"}, outcome: "deployed"},
		{name: "wrong prediction at the first deploy", smoke: asJSON, labels: map[string]string{"model.framework": "json", "model.prediction": "Mars"}, outcome: "failed"},
		{name: "right only from the old revision", smoke: asJSON, labels: map[string]string{"model.framework": "json", "model.prediction": "Mars"}, before: true, outcome: "rolled-back"},
		{name: "wrong field", smoke: bentoml, labels: map[string]string{"model.framework": "fastapi"}, outcome: "failed"},
		{name: "slow", smoke: hurried, labels: map[string]string{"model.framework": "json", "model.predict-after": "4s"}, before: true, outcome: "rolled-back"},
		{name: "endless", smoke: fastapi, labels: map[string]string{"model.framework": "fastapi", "model.predict": "endless"}, before: true, outcome: "rolled-back"},
		{name: "byte by byte", smoke: hurried, labels: map[string]string{"model.framework": "json", "model.predict": "drip"}, before: true, outcome: "rolled-back"},
		{name: "404", smoke: fastapi, labels: map[string]string{"model.unhealthy-path": "/predict", "model.unhealthy-status": "404", "model.body": `{"detail":"Not Found"}`}, before: true, outcome: "rolled-back"},
		{name: "crash", smoke: fastapi, labels: map[string]string{"model.framework": "fastapi", "model.predict": "crash"}, before: true, outcome: "rolled-back"},
	}
	var (
		mu    sync.Mutex
		texts = map[string]string{}
	)
	t.Run("cases", func(t *testing.T) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				x := cloudtest.New(t)
				kind := tt.kind
				if kind == "" {
					kind = "LoadBalancer"
				}
				x.Write("kubernetes/model.yaml", strings.ReplaceAll(predictor, "TYPE", kind))
				x.Write("smoke.yaml", tt.smoke)
				x.Write("samples/instances.json", `{"instances": [[0.1]]}`)
				if err := os.WriteFile(filepath.Join(x.Workspace, "samples", "earth.jpg"), []byte("\xff\xd8\xff\xe0\x00\x10JFIF picture"), 0o600); err != nil {
					t.Fatal(err)
				}
				if tt.before {
					x.Push(x.SHA(0), map[string]string{"model.framework": "json"})
					want(t, x.Deploy(x.SHA(0), nil), 0, "deployed")
				}
				x.Push(x.SHA(1), tt.labels)
				with := map[string]string{"smoke_test": "smoke.yaml", "health_timeout": "60s"}
				for name, value := range tt.with {
					with[name] = value
				}
				r := x.Deploy(x.SHA(1), with)
				code := 1
				if tt.outcome == "deployed" {
					code = 0
				}
				want(t, r, code, tt.outcome)
				for _, place := range []string{r.Log, r.Summary, fmt.Sprint(r.Annotations), fmt.Sprint(r.Outputs)} {
					if strings.Contains(place, "sk-live-0123456789abcdef") {
						t.Errorf("a secret of the answer is shown: %s", place)
					}
				}
				mu.Lock()
				defer mu.Unlock()
				texts[tt.name] = smokeText(x, r)
			})
		}
	})
	var all strings.Builder
	for _, tt := range tests {
		fmt.Fprintf(&all, "== %s\n%s", tt.name, texts[tt.name])
	}
	golden(t, "smoke.golden", all.String())
}

// smokeText is what a user reads of a smoke test: in the log, in the summary and
// beside the commit.
func smokeText(x *cloudtest.Test, r *runner.Result) string {
	var lines []string
	for _, a := range r.Annotations {
		lines = append(lines, fmt.Sprintf("%s %s: %s", a.Level, a.Title, strings.ReplaceAll(a.Message, "\n", "\n  ")))
		if a.Title != "Smoke test failed" {
			return strings.ReplaceAll(strings.Join(lines, "\n"), x.Namespace, "NAMESPACE") + "\n" // how it answered as it ended depends on the moment
		}
	}
	for line := range strings.Lines(r.Log) {
		if strings.Contains(line, "smoke test") && !strings.Contains(line, "asking again") || strings.HasPrefix(line, "Serves at") || strings.HasPrefix(line, "Address") {
			lines = append(lines, "log: "+strings.TrimSpace(line))
		}
	}
	_, table, found := strings.Cut(r.Summary, "### Smoke test\n")
	table, _, _ = strings.Cut(table, "###")
	for line := range strings.Lines(table) {
		if found && strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "| request") && !strings.HasPrefix(line, "| :--") {
			lines = append(lines, "summary: "+strings.TrimSpace(line))
		}
	}
	replace := strings.NewReplacer(x.Namespace, "NAMESPACE", "&nbsp;", " ", x.SHA(0), "OLD", x.SHA(1), "NEW")
	for i, line := range lines {
		line = suffixes.ReplaceAllString(addresses.ReplaceAllString(replace.Replace(line), "ADDRESS"), "POD")
		lines[i] = tries.ReplaceAllString(times.ReplaceAllString(line, "TIME"), "${1}N${2}")
	}
	return strings.Join(slices.Compact(lines), "\n") + "\n"
}
