package outage_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/proxy"
)

const (
	endless     = 12 << 27 // 1.5 GiB
	memoryLimit = 300e6
	apiServer   = "192.0.2.10"
)

// The beginnings of answers that go on in a text without end.
const (
	endlessObject = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","resourceVersion":"1","annotations":{"a":"`
	endlessList   = `{"apiVersion":"v1","kind":"List","metadata":{"resourceVersion":"1"},"items":[{"metadata":{"annotations":{"a":"`
	endlessEvent  = `{"type":"MODIFIED","object":` + endlessObject
	endlessStatus = `{"apiVersion":"v1","kind":"Status","status":"Failure","code":403,"reason":"Forbidden","message":"`
)

// TestEndlessAnswers answers with 1.5 GiB wherever the API server, Google, a
// registry or a pod answers. No more memory than for a usual deploy is used, and
// whoever answered so is named, unless the deploy can do without that answer.
func TestEndlessAnswers(t *testing.T) { //nolint:tparallel // each is 1.5 GiB: one after the other
	t.Parallel()
	crash := map[string]string{"model.log": "before", "model.exit-code": "3"}
	server := `reach cluster "mlops-cluster" at https://192\.0\.2\.10 .*: the answer is longer than the \d+ MiB that %s may have`
	for _, tt := range []struct {
		name  string
		fault proxy.Fault
		label map[string]string // of the image
		with  map[string]string
		exit  int
		says  string // in the log
	}{
		{"discovery", proxy.Fault{Host: apiServer, Path: "/apis/stable.example.com", Body: endlessObject}, nil, nil, 1, fmt.Sprintf(server, "an object")},
		{"record", proxy.Fault{Host: apiServer, Path: "/configmaps/deploy-model-action", Body: endlessObject}, nil, nil, 1, fmt.Sprintf(server, "an object")},
		{"nodes", proxy.Fault{Host: apiServer, Path: "/nodes", Body: endlessList}, nil, nil, 0, ""},
		{"every object", proxy.Fault{Host: apiServer, Path: "/namespaces/", Body: endlessObject}, nil, nil, 1, fmt.Sprintf(server, "an object")},
		{"check", proxy.Fault{Host: apiServer, Path: "dryRun=All", Body: endlessObject}, nil, nil, 1, fmt.Sprintf(server, "an object")},
		{"refusal", proxy.Fault{Host: apiServer, Path: "dryRun=All", Status: 403, Body: endlessStatus}, nil, nil, 1, `the cluster`},
		{"server error", proxy.Fault{Host: apiServer, Path: "dryRun=All", Status: 500, Body: endlessStatus, Times: 3}, nil, nil, 0, ""},
		{"text for an error", proxy.Fault{Host: apiServer, Path: "dryRun=All", Status: 422, Body: "no"}, nil, nil, 1, `the cluster`},
		{"watches", proxy.Fault{Host: apiServer, Path: "watch=true", Body: endlessEvent}, nil, nil, 0, ""},
		{"watches that are none", proxy.Fault{Host: apiServer, Path: "watch=true", Body: "no"}, nil, nil, 0, ""},
		{"watches, and it crashes", proxy.Fault{Host: apiServer, Path: "watch=true", Body: endlessEvent}, crash, nil, 1, `exit code 3`},
		{"pods", proxy.Fault{Host: apiServer, Path: "/pods?", Body: endlessList}, crash, nil, 1, `the pods cannot be read: the answer is longer than the 32 MiB that a list may have`},
		{"events", proxy.Fault{Host: apiServer, Path: "/events?", Body: endlessList}, crash, nil, 1, `exit code 3`},
		{"log", proxy.Fault{Host: apiServer, Path: "/log?", Body: "line\n"}, crash, nil, 1, `exit code 3`},
		{"health through the load balancer", proxy.Fault{Path: "/healthz", Body: "sick"}, nil, map[string]string{"health_path": "/healthz"}, 0, ""},
		{"health that is refused", proxy.Fault{Path: "/healthz", Status: 500, Body: "sick", Times: 3}, nil, map[string]string{"health_path": "/healthz"}, 0, ""},
		{"token", proxy.Fault{Host: "oauth2.googleapis.com", Body: `{"access_token":"`}, nil, nil, 1, `oauth2\.googleapis\.com|Google`},
		{"refused token", proxy.Fault{Host: "oauth2.googleapis.com", Status: 400, Body: `{"error":"`}, nil, nil, 1, `oauth2\.googleapis\.com|Google`},
		{"cluster", proxy.Fault{Host: "container.googleapis.com", Body: `{"name":"`}, nil, nil, 1, `read cluster "mlops-cluster": .*Google`},
		{"refused cluster", proxy.Fault{Host: "container.googleapis.com", Status: 403, Body: `{"error":{"message":"`}, nil, nil, 1, `read cluster "mlops-cluster": `},
		{"manifest of the image", proxy.Fault{Host: localcloud.Registry, Path: "/manifests/", Body: `{"schemaVersion":2,"a":"`}, nil, nil, 1, localcloud.Registry},
		{"refused manifest", proxy.Fault{Host: localcloud.Registry, Path: "/manifests/", Status: 404, Body: `{"errors":[{"code":"`}, nil, nil, 1, localcloud.Registry},
		{"registry", proxy.Fault{Host: localcloud.Registry, Path: "/v2/", Body: "x"}, nil, nil, 1, localcloud.Registry},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := cloudtest.New(t)
			x.Testdata()
			if tt.name == "discovery" {
				x.Write("kubernetes/custom.yaml", "apiVersion: stable.example.com/v1\nkind: Model\nmetadata: {name: a}\n")
			}
			x.Push(x.SHA(0), tt.label)
			fault := tt.fault
			fault.Client, fault.Size = x.Client, endless
			if fault.Status == 0 {
				fault.Status = 200
			}
			t.Cleanup(x.Cloud.Proxy.Faults.Add(fault))
			with := map[string]string{"timeout": "40s"}
			for name, value := range tt.with {
				with[name] = value
			}
			r := x.Deploy(x.SHA(0), with)
			cloudtest.Figure(t, "peak memory, %s: %.0f MB", tt.name, float64(r.MaxRSS)/1e6)
			if r.MaxRSS > memoryLimit {
				t.Errorf("%d bytes of memory were used", r.MaxRSS)
			}
			if r.ExitCode != tt.exit {
				t.Errorf("exit code %d, want %d", r.ExitCode, tt.exit)
			}
			if !regexp.MustCompile(tt.says).MatchString(r.Log) {
				t.Errorf("the log does not say %s", tt.says)
			}
			if strings.Contains(r.Log, strings.Repeat("x", 5000)) {
				t.Error("the log has the answer in it")
			}
		})
	}
}
