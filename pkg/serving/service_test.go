package serving

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

// aService is a Service with a name, its spec and its ports.
func aService(name, spec, ports string) string {
	return `{apiVersion: v1, kind: Service, metadata: {name: ` + name + `, namespace: default}, spec: {` + spec + `, ports: [` + ports + `]}, status: {loadBalancer: {ingress: [{ip: 203.0.113.7}]}}}`
}

func aDeployment(name string) string {
	return `{apiVersion: apps/v1, kind: Deployment, metadata: {name: ` + name + `, namespace: default}, spec: {selector: {matchLabels: {app: ` + name + `}}, template: {metadata: {labels: {app: ` + name + `}}, spec: {containers: []}}}}`
}

// TestService holds which Service is asked, and at which port: the one that leads
// by HTTP to what was changed.
func TestService(t *testing.T) {
	t.Parallel()
	const (
		model, web = "selector: {app: model}", "selector: {app: web}"
		balancer   = "type: LoadBalancer, "
		headless   = "clusterIP: None, "
	)
	tests := []struct {
		name     string
		services []string
		want     string // SERVICE:PORT
	}{
		{"the only one", []string{aService("a", model, "{port: 3000}")}, "a:3000"},
		{"the order of the manifests", []string{aService("a", model, "{port: 80}"), aService("b", model, "{port: 80}")}, "a:80"},
		{"headless first", []string{aService("a", headless+model, "{port: 3000}"), aService("b", model, "{port: 80}")}, "b:80"},
		{"only headless", []string{aService("a", headless+model, "{port: 3000}")}, "a:3000"},
		{"metrics first, by name of the port", []string{aService("a", model, "{name: metrics, port: 8080}"), aService("b", model, "{port: 3000}")}, "b:3000"},
		{"metrics first, by number", []string{aService("a", model, "{port: 9090}"), aService("b", model, "{port: 3000}")}, "b:3000"},
		{"metrics first, by name", []string{aService("model-metrics", model, "{name: http, port: 80}"), aService("model", model, "{port: 3000}")}, "model:3000"},
		{"metrics beside HTTP in one", []string{aService("a", model, "{name: metrics, port: 9090}, {name: web, port: 3000}")}, "a:3000"},
		{"metrics, and headless with HTTP", []string{aService("a", model, "{name: metrics, port: 9090}"), aService("b", headless+model, "{port: 3000}")}, "b:3000"},
		{"gRPC first", []string{aService("a", model, "{name: grpc, port: 8001}"), aService("b", model, "{name: http, port: 8000}")}, "b:8000"},
		{"gRPC by appProtocol in one", []string{aService("a", model, "{port: 8001, appProtocol: grpc}, {port: 8000}")}, "a:8000"},
		{"UDP", []string{aService("a", model, "{port: 53, protocol: UDP}"), aService("b", model, "{port: 80}")}, "b:80"},
		{"ExternalName", []string{aService("a", "type: ExternalName, externalName: x.example.com", "{port: 80}"), aService("b", model, "{port: 80}")}, "b:80"},
		{"of what was not changed", []string{aService("a", balancer+web, "{port: 80}"), aService("b", model, "{port: 80}")}, "b:80"},
		{"of nobody", []string{aService("a", "selector: {app: nobody}", "{port: 80}"), aService("b", model, "{port: 80}")}, "b:80"},
		{"of what is not in the set", []string{aService("a", "selector: {app: nobody}", "{port: 80}"), aService("b", web, "{port: 80}")}, "b:80"},
		{"a balancer rather than none", []string{aService("a", model, "{port: 80}"), aService("b", balancer+model, "{port: 80}")}, "b:80"},
		{"the first port is not HTTP", []string{aService("a", model, "{name: debug, port: 5678}, {name: http, port: 3000}")}, "a:3000"},
		{"HTTP rather than HTTPS", []string{aService("a", model, "{name: https, port: 443}, {name: http, port: 80}")}, "a:80"},
		{"HTTPS alone", []string{aService("a", model, "{name: https, port: 443}")}, "a:443"},
		{"by appProtocol", []string{aService("a", model, "{name: x, port: 1234}, {name: y, port: 1235, appProtocol: http}")}, "a:1235"},
		{"by number", []string{aService("a", model, "{name: x, port: 1234}, {name: y, port: 8080}")}, "a:8080"},
		{"nothing", nil, ""},
		{"nothing with a port", []string{aService("a", model, "")}, ""},
	}
	for _, tt := range tests {
		o := Options{}
		add := func(text string, action kube.Action) {
			o.Changes = append(o.Changes, kube.Change{After: objecttest.FromYAML(t, text), Action: action})
		}
		var all []*unstructured.Unstructured
		for _, s := range tt.services {
			add(s, kube.Unchanged)
			all = append(all, o.Changes[len(o.Changes)-1].After)
		}
		add(aDeployment("web"), kube.Unchanged)
		add(aDeployment("model"), kube.Configured)
		o.Address = FindAddress(all)
		got := ""
		if s := o.service(); s != nil {
			p, _ := askPort(s)
			got = fmt.Sprintf("%s:%d", s.GetName(), p.number)
		}
		if got != tt.want {
			t.Errorf("%s: asks %q, want %q", tt.name, got, tt.want)
		}
		if Askable(all) != (tt.want != "") {
			t.Errorf("%s: askable: %v", tt.name, Askable(all))
		}
	}
}

func TestAskable(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		aDeployment("x"): false,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}`:                               false,
		`{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: x}}`:               false,
		`{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: x}}`:     false,
		`{apiVersion: serving.kserve.io/v1beta1, kind: InferenceService, metadata: {name: x}}`: true,
		`{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: x}}`:             true,
		`{apiVersion: ray.io/v1, kind: RayService, metadata: {name: x}}`:                       true,
	} {
		if got := Askable([]*unstructured.Unstructured{objecttest.FromYAML(t, text)}); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// TestAskKServe asks what KServe made: at the URL of its status, or else at the
// Service of the cluster that the status names.
func TestAskKServe(t *testing.T) {
	t.Parallel()
	const status = `url: "http://classifier-default.models.example.com", address: {url: "http://classifier.default.svc.cluster.local"}`
	unknown := failing{errors.New("dial tcp: lookup classifier-default.models.example.com: no such host")}
	tests := []struct {
		name, status string
		network      http.RoundTripper
		script       map[string][]kubetest.Scene
		want         string
	}{
		{"at its URL", status, nil, map[string][]kubetest.Scene{"/v1/models/classifier": {kubetest.Answer(200, "ok")}}, "GET http://classifier-default.models.example.com/v1/models/classifier: 200 OK: ok"},
		{"the name leads nowhere", status, unknown, map[string][]kubetest.Scene{"/api/v1/namespaces/default/services/classifier:80/proxy/v1/models/classifier": {kubetest.Answer(200, "ok")}}, "GET /api/v1/namespaces/default/services/classifier:80/proxy/v1/models/classifier (through the API server): 200 OK: ok"},
		{"the route is not there yet", status, nil, map[string][]kubetest.Scene{
			"/v1/models/classifier": {kubetest.Answer(404, "")}, "/api/v1/namespaces/default/services/classifier:80/proxy/v1/models/classifier": {kubetest.Answer(200, "ok")},
		}, "GET /api/v1/namespaces/default/services/classifier:80/proxy/v1/models/classifier (through the API server): 200 OK: ok"},
		{"only within the cluster", `url: "http://classifier.default.svc.cluster.local:8080"`, nil, map[string][]kubetest.Scene{"/api/v1/namespaces/default/services/classifier:8080/proxy/v1/models/classifier": {kubetest.Answer(200, "ok")}}, "GET /api/v1/namespaces/default/services/classifier:8080/proxy/v1/models/classifier (through the API server): 200 OK: ok"},
		{"an address of the runner's own network", `url: "http://169.254.169.254/computeMetadata/v1"`, nil, nil, "not asked"},
		{"another namespace", `url: "http://secrets.kube-system.svc.cluster.local"`, nil, nil, "not asked"},
		{"another scheme", `url: "file:///etc/passwd"`, nil, nil, "not asked"},
		{"no status", ``, nil, nil, "not asked"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client, o, _ := asking(t, &kubetest.Stage{Scripts: tt.script}, `{apiVersion: serving.kserve.io/v1beta1, kind: InferenceService, metadata: {name: classifier, namespace: default}, status: {`+tt.status+`}}`)
				o.Path = "/v1/models/classifier"
				if tt.network != nil {
					o.HTTP = tt.network
				}
				report, err := Check(t.Context(), client, o)
				got := fmt.Sprint(err)
				switch {
				case err == nil && report.Unasked != nil:
					got = "not asked"
				case report.Health != nil && err == nil:
					got = report.Health.String()
				}
				if got != tt.want {
					t.Error(cmp.Diff(tt.want, got))
				}
			})
		})
	}
}

// TestNobodyCouldAsk plays every way in which nobody reaches a healthy model, for
// each kind of Service, with a health path and with a smoke test. None is an
// error, for which the model would be put back; each is reported.
func TestNobodyCouldAsk(t *testing.T) {
	t.Parallel()
	status := func(code int, reason, message string) kubetest.Scene {
		return kubetest.Answer(kubetest.Refuse(code, reason, message))
	}
	const denied = `services "model:80" is forbidden: User "u" cannot get resource "services/proxy" in API group "" in the namespace "default"`
	networks := map[string]http.RoundTripper{
		"refused": failing{errors.New("dial tcp 203.0.113.7:80: connect: connection refused")}, "source ranges": dropping{},
		"no route": failing{errors.New("dial tcp 203.0.113.7:80: connect: no route to host")}, "DNS": failing{errors.New("dial tcp: lookup x: no such host")},
		"runner's proxy": failing{errors.New("proxyconnect tcp: dial tcp 192.0.2.1:3128: connect: connection refused")},
	}
	servers := map[string]kubetest.Scene{
		"no right":               status(403, "Forbidden", denied),
		"not signed in":          status(401, "Unauthorized", "Unauthorized"),
		"admission forbids":      status(403, "Forbidden", `services/proxy "model" is forbidden: denied by policy`),
		"gateway takes no proxy": status(405, "MethodNotAllowed", "the server does not allow this method on the requested resource"),
		"Service gone":           kubetest.Answer(404, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"services \"model\" not found","reason":"NotFound","details":{"name":"model","kind":"services"},"code":404}`),
		"private cluster":        status(503, "ServiceUnavailable", "error trying to reach service: dial tcp 10.4.0.7:3000: i/o timeout"),
		"no way to pods":         status(503, "ServiceUnavailable", "error trying to reach service: dial tcp 10.4.0.7:3000: connect: no route to host"),
		"no agent":               status(503, "ServiceUnavailable", "error trying to reach service: No agent available"),
		"agent cannot dial":      status(503, "ServiceUnavailable", "error trying to reach service: proxy error from 127.0.0.1:8132 while dialing 10.4.0.7:3000, code 503: 503 Service Unavailable"),
		"API server restarts":    status(503, "ServiceUnavailable", "apiserver is shutting down"),
		"API server overloaded":  status(429, "TooManyRequests", "too many requests, please try again later"),
		"etcd":                   status(500, "InternalError", "etcdserver: leader changed"),
		"connections cut":        kubetest.HangUp,
	}
	services := map[string]string{
		"balancer": balanced, "no balancer": within(`{port: 80}`),
		"internal balancer": strings.Replace(balanced, "203.0.113.7", "10.0.0.7", 1), "encrypted": strings.Replace(balanced, "port: 80", "port: 443", 1),
	}
	smokeTest, err := ParseSmokeTest(t.Context(), workspace(t, map[string]string{"smoke.yaml": "requests: [{path: /predict, json: {}, expect: {that: '{.prediction} == Earth'}}]"}), "smoke.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	cases, wrong := 0, 0
	for _, service := range slices.Sorted(maps.Keys(services)) {
		for _, network := range slices.Sorted(maps.Keys(networks)) {
			for _, server := range slices.Sorted(maps.Keys(servers)) {
				for _, question := range []string{"/readyz", ""} {
					synctest.Test(t, func(t *testing.T) {
						client, o, _ := asking(t, servers[server], services[service])
						o.HTTP, o.Path, o.Timeout = networks[network], question, 20*time.Second
						if question == "" {
							o.SmokeTest = smokeTest
						}
						cases++
						report, err := Check(t.Context(), client, o)
						var unasked *UnaskedError
						if err != nil || !errors.As(report.Unasked, &unasked) || unasked.Fix == "" || unasked.Cause == "" {
							wrong++
							t.Errorf("%s, %s, %s, %q: error %v, unasked %v", service, network, server, question, err, report.Unasked)
						}
					})
				}
			}
		}
	}
	t.Logf("a healthy model would be put back in %d of %d cases where nobody could ask it", wrong, cases)
}

// TestForwardProxy holds that the words of a proxy in the runner's network about
// an address that it cannot reach are not taken for the model's.
func TestForwardProxy(t *testing.T) {
	t.Parallel()
	const denied = `services "model:80" is forbidden: User "u" cannot get resource "services/proxy" in API group "" in the namespace "default"`
	for _, tt := range []struct {
		name   string
		proxy  bool
		direct []kubetest.Scene
		api    int
		want   string
	}{
		{"502, and no right", true, []kubetest.Scene{kubetest.Answer(502, "cannot connect")}, 403, "not asked"},
		{"503, and no right", true, []kubetest.Scene{kubetest.Answer(503, "cannot connect")}, 403, "not asked"},
		{"504, and no right", true, []kubetest.Scene{kubetest.Answer(504, "")}, 403, "not asked"},
		{"407, and no right", true, []kubetest.Scene{kubetest.Answer(407, "")}, 403, "not asked"},
		{"403 of a policy, and no right", true, []kubetest.Scene{kubetest.Answer(403, "blocked by policy")}, 403, "not asked"},
		{"403 of a policy, but well through the API server", true, []kubetest.Scene{kubetest.Answer(403, "blocked by policy")}, 200, "well"},
		{"403 of the model", false, []kubetest.Scene{kubetest.Answer(403, "")}, 403, "wrong"},
		{"502, but well through the API server", true, []kubetest.Scene{kubetest.Answer(502, "")}, 200, "well"},
		{"502, and wrong through the API server", true, []kubetest.Scene{kubetest.Answer(502, "")}, 500, "wrong"},
		{"500 of the model", true, []kubetest.Scene{kubetest.Answer(500, "")}, 403, "wrong"},
		{"500 of the model, then it cannot be reached", true, []kubetest.Scene{kubetest.Answer(500, ""), kubetest.Answer(502, "")}, 403, "wrong"},
		{"502 without a proxy", false, []kubetest.Scene{kubetest.Answer(502, "")}, 403, "wrong"},
		{"well", true, []kubetest.Scene{kubetest.Answer(200, "")}, 403, "well"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				through := kubetest.Answer(tt.api, "of the model")
				if tt.api == http.StatusForbidden {
					through = kubetest.Answer(kubetest.Refuse(tt.api, "Forbidden", denied))
				}
				client, o, _ := asking(t, &kubetest.Stage{Scripts: map[string][]kubetest.Scene{
					"/readyz": tt.direct, "/api/v1/namespaces/default/services/model:80/proxy/readyz": {through},
				}}, balanced)
				if tt.proxy {
					o.HTTP.(*http.Transport).Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.example:3128"})
				}
				got := "well"
				report, err := Check(t.Context(), client, o)
				switch {
				case err != nil:
					got = "wrong"
				case report.Unasked != nil:
					got = "not asked"
				}
				if got != tt.want {
					t.Errorf("%s, want %s: error %v, unasked %v", got, tt.want, err, report.Unasked)
				}
				if strings.HasSuffix(tt.name, "no right") && report.Reached != "" {
					t.Errorf("%s is said to answer", report.Reached)
				}
			})
		})
	}
}
