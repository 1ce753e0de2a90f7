package action_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/proxy"
)

// TestUnasked deploys a healthy model that nobody can ask, in each of the ways of
// findings that rolled one back. All are deployed, with a warning.
func TestUnasked(t *testing.T) {
	t.Parallel()
	status := func(code int, message string) string {
		body, err := json.Marshal(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "Forbidden", "message": message})
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	forbidden := proxy.Fault{Path: "/services/model:80/proxy", Status: 403, Body: status(403, `services "model:80" is forbidden: User "deployer" cannot get resource "services/proxy" in API group "" in the namespace "default"`)}
	unreviewed := proxy.Fault{Path: "/selfsubjectaccessreviews", Status: 201, Body: `{"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "status": {"allowed": false}}`}
	closed := proxy.Fault{Path: "/services/model:80/proxy", Status: 503, Body: status(503, "error trying to reach service: dial tcp 10.4.0.7:3000: i/o timeout")}
	keptOut := proxy.Fault{Host: "BALANCER", Status: 502, Body: "cannot connect"}
	tests := []struct {
		name, kind string
		faults     []proxy.Fault
		log        string // a line of it
		warns      bool
	}{
		{"no right on services/proxy", "ClusterIP", []proxy.Fault{forbidden}, `the model was not asked: .* allow "get" and "create" on services/proxy`, true},
		{"no right on services/proxy, which is known before", "ClusterIP", []proxy.Fault{forbidden, unreviewed}, `(?s)the model will not be asked: whoever deploys has no right to "[a-z]+" services/proxy in the namespace .* allow "get" and "create" on services/proxy .*/model configured`, true},
		{"private cluster with a closed proxy", "ClusterIP", []proxy.Fault{closed}, `the API server cannot reach the pod: .*i/o timeout; let the control plane reach the pods`, true},
		{"source ranges keep the runner out, and no right", "LoadBalancer", []proxy.Fault{keptOut, forbidden}, `let the runner reach the address \(loadBalancerSourceRanges`, true},
		{"source ranges keep the runner out", "LoadBalancer", []proxy.Fault{keptOut}, `asked through the API server, since the address cannot be reached from here`, false},
	}
	for _, tt := range tests {
		for _, question := range []map[string]string{{"health_path": "/readyz"}, {"smoke_test": "smoke.yaml"}} {
			t.Run(tt.name+fmt.Sprint(question), func(t *testing.T) {
				t.Parallel()
				x := cloudtest.New(t)
				x.Write("kubernetes/model.yaml", strings.ReplaceAll(predictor, "TYPE", tt.kind))
				x.Write("smoke.yaml", asJSON)
				x.Write("samples/instances.json", `{"instances": [1]}`)
				for i := range 2 {
					x.Push(x.SHA(i), map[string]string{"model.framework": "json"})
				}
				want(t, x.Deploy(x.SHA(0), nil), 0, "deployed")
				for _, f := range tt.faults {
					f.Client = x.Client
					if f.Host == "BALANCER" {
						s, err := x.Kube.CoreV1().Services(x.Namespace).Get(x.Context(), "model", metav1.GetOptions{})
						if err != nil || len(s.Status.LoadBalancer.Ingress) == 0 {
							t.Fatalf("no address: %v", err)
						}
						f.Host = s.Status.LoadBalancer.Ingress[0].IP
					}
					t.Cleanup(x.Cloud.Proxy.Faults.Add(f))
				}
				with := map[string]string{"health_timeout": "5s"}
				for name, value := range question {
					with[name] = value
				}
				r := x.Deploy(x.SHA(1), with)
				if r.ExitCode != 0 || r.Outputs["outcome"] != "deployed" {
					t.Errorf("exit code %d, outcome %q: a healthy model was put back", r.ExitCode, r.Outputs["outcome"])
				}
				if !regexp.MustCompile(tt.log).MatchString(r.Log) {
					t.Errorf("no line of the log is like %q", tt.log)
				}
				if warned := len(r.Annotations) == 1 && r.Annotations[0].Level == "warning"; warned != tt.warns {
					t.Errorf("annotations %+v", r.Annotations)
				}
				if serves := strings.Contains(r.Log, "Serves at"); serves {
					t.Error("an address that did not answer is said to serve")
				}
			})
		}
	}
}

// TestNothingToAsk holds that a set without a Service is a mistake before anything is contacted.
func TestNothingToAsk(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	deployment, _, _ := strings.Cut(predictor, "---\n")
	x.Write("kubernetes/model.yaml", deployment)
	x.Push(x.SHA(0), nil)
	r := x.Deploy(x.SHA(0), map[string]string{"health_path": "/readyz"})
	want(t, r, 2, "failed")
	if !strings.Contains(r.Log, `input health_path "/readyz": the manifests hold no Service with a TCP port, so nobody could be asked; add the Service in front of the model, or leave health_path empty`) {
		t.Error("the log does not say what to do")
	}
	if n := len(x.Requests()); n > 0 {
		t.Errorf("%d requests were made", n)
	}
}

// TestCrashWhileAsked plays a model that ends while its health is asked: what ends
// the deploy is the crash, with its log, and not the answers of a balancer that
// has nobody behind it.
func TestCrashWhileAsked(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	x.Write("kubernetes/model.yaml", strings.ReplaceAll(predictor, "TYPE", "LoadBalancer"))
	x.Push(x.SHA(0), nil)
	want(t, x.Deploy(x.SHA(0), nil), 0, "deployed")
	x.Push(x.SHA(1), map[string]string{
		"model.unhealthy-path": "/readyz", "model.unhealthy-status": "503", "model.exit-code": "1", "model.exit-after": "2s",
		"model.log": "loading weights\nModuleNotFoundError: No module named 'keras'",
	})
	r := x.Deploy(x.SHA(1), map[string]string{"health_path": "/readyz"})
	want(t, r, 1, "rolled-back")
	if !strings.Contains(r.Log, "crashed with exit code 1") || !strings.Contains(r.Log, "No module named 'keras'") || strings.Contains(fmt.Sprint(r.Annotations), "Health check failed") {
		t.Errorf("annotations: %+v", r.Annotations)
	}
	cloudtest.Figure(t, "a crash while the health was asked was told, and put back, after %s", r.Duration.Round(1e8))
}
