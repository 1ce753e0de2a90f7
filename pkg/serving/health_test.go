package serving

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

const balanced = `{apiVersion: v1, kind: Service, metadata: {name: model, namespace: default}, spec: {type: LoadBalancer, ports: [{port: 80}]}, status: {loadBalancer: {ingress: [{ip: 203.0.113.7}]}}}`

func within(ports string) string {
	return `{apiVersion: v1, kind: Service, metadata: {name: model, namespace: default}, spec: {type: ClusterIP, ports: [` + ports + `]}}`
}

// asking is a check of a Service with a load balancer, or without one.
func asking(t *testing.T, h http.Handler, service string) (*kube.Client, Options, *kubetest.Recorder) {
	t.Helper()
	s := kubetest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/api") && r.Header.Get("Authorization") != "" {
			t.Errorf("%s was sent credentials", r.Host)
		}
		h.ServeHTTP(w, r)
	}))
	told := &kubetest.Recorder{}
	u := objecttest.FromYAML(t, service)
	return s.Client, Options{
		Path: "/readyz", Changes: []kube.Change{{After: u, Action: kube.Unchanged}},
		Address: FindAddress([]*unstructured.Unstructured{u}), HTTP: s.HTTP, Progress: told.Line,
	}, told
}

func TestCheck(t *testing.T) {
	t.Parallel()
	redirect := func(to string) kubetest.Scene {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
	}
	tests := []struct {
		name    string
		service string
		path    string
		script  []kubetest.Scene
		url     string
		code    int
		tries   int
		body    string
		fails   string // the error ends with it
	}{
		{"at once", balanced, "/readyz", []kubetest.Scene{kubetest.Answer(200, "ok\n")}, "http://203.0.113.7/readyz", 200, 1, "ok", ""},
		{"204", balanced, "/readyz", []kubetest.Scene{kubetest.Answer(204, "")}, "http://203.0.113.7/readyz", 204, 1, "", ""},
		{"with a query", balanced, "/v1/models?name=a%20b", []kubetest.Scene{kubetest.Answer(200, "")}, "http://203.0.113.7/v1/models?name=a%20b", 200, 1, "", ""},
		{"while the balancer warms up", balanced, "/readyz", []kubetest.Scene{kubetest.Answer(503, ""), kubetest.Answer(404, "default backend"), kubetest.Answer(502, ""), kubetest.Answer(200, "ok")}, "http://203.0.113.7/readyz", 200, 4, "ok", ""},
		{"a redirect on the same host", balanced, "/readyz", []kubetest.Scene{redirect("/readyz/"), kubetest.Answer(200, "ok")}, "http://203.0.113.7/readyz", 200, 1, "ok", ""},
		{"a redirect to another host", balanced, "/readyz", []kubetest.Scene{redirect("http://other.example.com/")}, "http://203.0.113.7/readyz", 302, finalAnswers, "", "redirects to other hosts are not followed"},
		{"wants credentials", balanced, "/readyz", []kubetest.Scene{kubetest.Answer(401, `{"detail":"no"}`)}, "http://203.0.113.7/readyz", 401, finalAnswers, `{"detail":"no"}`, "health_path has to answer without credentials"},
		{"an endless body", balanced, "/readyz", []kubetest.Scene{func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := fmt.Fprint(w, strings.Repeat("x", 4096)); err != nil {
					return
				}
			}
		}}, "http://203.0.113.7/readyz", 200, 1, strings.Repeat("x", bodyLimit), ""},

		{"no load balancer", within(`{port: 3000}`), "/readyz", []kubetest.Scene{kubetest.Answer(200, "ok")}, "/api/v1/namespaces/default/services/model:3000/proxy/readyz", 200, 1, "ok", ""},
		{"no load balancer, https", within(`{name: https, port: 8443}`), "/readyz/", []kubetest.Scene{kubetest.Answer(200, "ok")}, "/api/v1/namespaces/default/services/https:model:8443/proxy/readyz/", 200, 1, "ok", ""},
		{"no load balancer, a query", within(`{port: 80}`), "/health?deep=1", []kubetest.Scene{kubetest.Answer(200, "ok")}, "/api/v1/namespaces/default/services/model:80/proxy/health?deep=1", 200, 1, "ok", ""},
		{"an internal load balancer", strings.Replace(balanced, "203.0.113.7", "10.0.0.7", 1), "/readyz", []kubetest.Scene{kubetest.Answer(200, "ok")}, "/api/v1/namespaces/default/services/model:80/proxy/readyz", 200, 1, "ok", ""},
		{"an encrypted load balancer", strings.Replace(balanced, "port: 80", "port: 443", 1), "/readyz", []kubetest.Scene{kubetest.Answer(200, "ok")}, "/api/v1/namespaces/default/services/https:model:443/proxy/readyz", 200, 1, "ok", ""},
		{"through the proxy, no endpoints yet", within(`{port: 80}`), "/readyz", []kubetest.Scene{
			kubetest.Answer(503, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no endpoints available for service \"model:80\"","reason":"ServiceUnavailable","code":503}`), kubetest.Answer(200, "ok"),
		}, "/api/v1/namespaces/default/services/model:80/proxy/readyz", 200, 2, "ok", ""},
		{"through the proxy, refused by the model", within(`{port: 80}`), "/readyz", []kubetest.Scene{kubetest.Answer(403, `{"detail":"no"}`)}, "/api/v1/namespaces/default/services/model:80/proxy/readyz", 403, finalAnswers, `{"detail":"no"}`, "health_path has to answer without credentials"},
		{"through the proxy, not allowed", within(`{port: 80}`), "/readyz", []kubetest.Scene{
			kubetest.Answer(403, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"services \"model:80\" is forbidden: User \"u\" cannot get resource \"services/proxy\" in API group \"\" in the namespace \"default\"","reason":"Forbidden","code":403}`),
		}, "/api/v1/namespaces/default/services/model:80/proxy/readyz", 403, 1, `services "model:80" is forbidden: User "u" cannot get resource "services/proxy" in API group "" in the namespace "default"`, `allow "get" and "create" on services/proxy in its namespace to whoever deploys, or give the Service a load balancer`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				path, _, _ := strings.Cut(strings.TrimPrefix(tt.url, "http://203.0.113.7"), "?")
				s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{path: tt.script}}
				client, o, _ := asking(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/readyz/" { // where the redirect leads
						r.URL.Path = path
					}
					s.ServeHTTP(w, r)
				}), tt.service)
				o.Path = tt.path
				report, err := Check(t.Context(), client, o)
				got := *report.Health
				want := Answer{Method: "GET", URL: tt.url, Proxy: strings.HasPrefix(tt.url, "/"), Code: tt.code, Tries: tt.tries, Body: tt.body, Took: got.Took}
				if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Answer{})); diff != "" {
					t.Error(diff)
				}
				if err == nil && report.Unasked != nil {
					err = report.Unasked
				}
				switch {
				case tt.fails == "" && err != nil:
					t.Error(err)
				case tt.fails != "" && (err == nil || !strings.HasSuffix(err.Error(), tt.fails)):
					t.Errorf("error %v, want it to end with %q", err, tt.fails)
				}
			})
		})
	}
}

// failing is a network on which nothing arrives.
type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// dropping is a network that lets no connection come about.
type dropping struct{}

func (dropping) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// TestUnhealthySentences holds what a user reads when the model does not answer,
// and how long it is asked.
func TestUnhealthySentences(t *testing.T) {
	t.Parallel()
	to := &net.TCPAddr{IP: net.IPv4(203, 0, 113, 7), Port: 80}
	refused := failing{&net.OpError{Op: "dial", Net: "tcp", Addr: to, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}}
	forbidden := kubetest.Answer(403, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"services \"model:80\" is forbidden: User \"u\" cannot get resource \"services/proxy\" in API group \"\" in the namespace \"default\"","reason":"Forbidden","code":403}`)
	unreachable := failing{&net.OpError{Op: "dial", Net: "tcp", Addr: to, Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}}
	const kubelet = `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"error trying to reach service: dial tcp 10.4.0.7:3000: connect: connection refused","reason":"ServiceUnavailable","code":503}`
	fresh := balanced + " # that this deploy creates"
	tests := []struct {
		name    string
		service string
		network http.RoundTripper
		answer  kubetest.Scene
	}{
		{"connection refused, and not through the API server", balanced, refused, forbidden},
		{"a new address, connection refused, and not through the API server", fresh, refused, forbidden},
		{"an address that does not come, and not through the API server", strings.Replace(balanced, "{ip: 203.0.113.7}", "", 1), nil, forbidden},
		{"an encrypted balancer, and not through the API server", strings.Replace(balanced, "port: 80", "port: 443", 1), nil, forbidden},
		{"connection refused, through the API server as well", balanced, refused, kubetest.Answer(503, kubelet)},
		{"no way to the host, but through the API server", balanced, unreachable, kubetest.Answer(200, "ok")},
		{"packets are dropped, and the API server may not reach pods", balanced, dropping{}, kubetest.Answer(kubetest.Refuse(503, "ServiceUnavailable", "error trying to reach service: dial tcp 10.4.0.7:3000: i/o timeout"))},
		{"an internal balancer, the API server may not reach pods", strings.Replace(balanced, "203.0.113.7", "10.0.0.7", 1), nil, kubetest.Answer(kubetest.Refuse(503, "ServiceUnavailable", "error trying to reach service: dial tcp 10.4.0.7:3000: i/o timeout"))},
		{"no right", within(`{port: 80}`), nil, forbidden},
		{"the API server restarts", within(`{port: 80}`), nil, kubetest.Answer(kubetest.Refuse(503, "ServiceUnavailable", "apiserver is shutting down"))},
		{"the API server cuts", within(`{port: 80}`), nil, kubetest.HangUp},
		{"the Service is gone", within(`{port: 80}`), nil, kubetest.Answer(404, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"services \"model\" not found","reason":"NotFound","details":{"name":"model","kind":"services"},"code":404}`)},
		{"a 404 of the model through the API server", within(`{port: 80}`), nil, kubetest.Answer(404, `{"detail":"Not Found"}`)},
		{"no answer", balanced, nil, kubetest.Hang},
		{"cut", balanced, nil, kubetest.HangUp},
		{"500", balanced, nil, kubetest.Answer(500, `{"error": "weights are missing", "token": "c4n4ry-Value-1"}`)},
		{"502 of a balancer", balanced, nil, kubetest.Answer(502, "<html>\n<title>Bad Gateway</title>\n</html>")},
		{"404", balanced, nil, kubetest.Answer(404, `{"detail":"Not Found"}`)},
		{"400", balanced, nil, kubetest.Answer(400, "")},
		{"401", balanced, nil, kubetest.Answer(401, "")},
		{"a redirect away", balanced, nil, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://login.example.com/", http.StatusFound)
		}},
		{"through the API server, connection refused", within(`{port: 80}`), nil, kubetest.Answer(503, kubelet)},
		{"through the API server, no endpoints", within(`{port: 80}`), nil, kubetest.Answer(kubetest.Refuse(503, "ServiceUnavailable", `no endpoints available for service "model:80"`))},
		{"through the API server, 500", within(`{port: 80}`), nil, kubetest.Answer(500, "Internal Server Error")},
		{"through the API server, no answer", within(`{port: 80}`), nil, kubetest.Hang},
	}
	var said strings.Builder
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			client, o, _ := asking(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { tt.answer(w, r) }), tt.service)
			if tt.network != nil {
				o.HTTP = tt.network
			}
			if tt.service == fresh {
				o.Changes[0].Action = kube.Created
			}
			started := time.Now()
			report, err := Check(t.Context(), client, o)
			verdict := "failed"
			if err == nil {
				err, verdict = report.Unasked, "not asked"
			}
			if err == nil {
				err, verdict = errors.New(report.Health.String()+" "+strings.Join(report.Notes, " ")), "well"
			}
			fmt.Fprintf(&said, "%s: %s after %s:\n  %v\n", tt.name, verdict, time.Since(started).Round(time.Second), err)
		})
	}
	golden(t, "unhealthy.txt", said.String())
}

// TestUnhealthyTold holds that a change of the answer is told, and only that.
func TestUnhealthyTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{"/readyz": {kubetest.Answer(503, "loading"), kubetest.Answer(503, "loading"), kubetest.Answer(500, "no"), kubetest.Answer(200, "ok")}}}
		client, o, told := asking(t, s, balanced)
		if got, err := Check(t.Context(), client, o); err != nil || got.Health.String() != "GET http://203.0.113.7/readyz: 200 OK: ok" {
			t.Errorf("%s, %v", got, err)
		}
		want := "GET http://203.0.113.7/readyz: 503 Service Unavailable: loading; asking again\n" +
			"GET http://203.0.113.7/readyz: 500 Internal Server Error: no; asking again"
		if diff := cmp.Diff(want, told.String()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestCheckNobodyToAsk(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, path, service, want, fails string }{
		{"no Service", "/readyz", `{apiVersion: v1, kind: ConfigMap, metadata: {name: model}}`, `the model was not asked: nothing of what was applied can be asked: there is no Service with a TCP port, and no object whose status names a URL; add a Service to the manifests`, ""},
		{"no way to ask", "/readyz", within(`{port: 80}`), `the model was not asked: nothing of what was applied can be asked: there is no Service with a TCP port, and no object whose status names a URL; add a Service to the manifests`, ""},
		{"not a path", "readyz", balanced, "", `health check "readyz": not a path; begin it with /, e.g. /readyz`},
		{"another host", "//evil.example.com/", balanced, "", `health check "//evil.example.com/": names another host; begin the path with a single /`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, o, _ := asking(t, kubetest.Answer(404, ""), tt.service)
				o.Path = tt.path
				report, err := Check(t.Context(), kube.NewClient(nil, nil, kube.Options{}), o)
				if tt.fails != "" && fmt.Sprint(err) != tt.fails || tt.fails == "" && (err != nil || fmt.Sprint(report.Unasked) != tt.want) {
					t.Errorf("error %v, unasked %v", err, report.Unasked)
				}
			})
		})
	}
}

// TestCheckPod asks one pod, which no Service leads to.
func TestCheckPod(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		play kubetest.Scene
		want string
	}{
		{"well", kubetest.Answer(200, "ok"), "GET /api/v1/namespaces/default/pods/model-candidate:3000/proxy/readyz (through the API server): 200 OK: ok"},
		{
			"no right", kubetest.Answer(kubetest.Refuse(403, "Forbidden", `pods "model-candidate:3000" is forbidden: User "u" cannot get resource "pods/proxy"`)),
			`health check "/readyz": the model was not asked: GET /api/v1/namespaces/default/pods/model-candidate:3000/proxy/readyz (through the API server): pods "model-candidate:3000" is forbidden: User "u" cannot get resource "pods/proxy"; allow "get" and "create" on pods/proxy in its namespace to whoever deploys`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client, o, _ := asking(t, &kubetest.Stage{Scripts: map[string][]kubetest.Scene{"/api/v1/namespaces/default/pods/model-candidate:3000/proxy/readyz": {tt.play}}}, balanced)
				o.Pod = Pod{Namespace: "default", Name: "model-candidate", Port: 3000}
				report, err := Check(t.Context(), client, o)
				got := fmt.Sprint(err)
				switch {
				case report.Unasked != nil:
					got = report.Unasked.Error()
				case err == nil:
					got = report.Health.String()
				}
				if got != tt.want {
					t.Error(cmp.Diff(tt.want, got))
				}
			})
		})
	}
}

func TestCheckCancelled(t *testing.T) {
	t.Parallel()
	for name, play := range map[string]kubetest.Scene{"between two tries": kubetest.Answer(500, ""), "while it asks": kubetest.Hang} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client, o, _ := asking(t, play, balanced)
				ctx, cancel := context.WithCancelCause(context.Background())
				reason := errors.New("the runner cancels")
				time.AfterFunc(3100*time.Millisecond, func() { cancel(reason) })
				if _, err := Check(ctx, client, o); !errors.Is(err, reason) || time.Since(objecttest.Start()) != 3100*time.Millisecond {
					t.Errorf("error %v after %s", err, time.Since(objecttest.Start()))
				}
			})
		})
	}
}
