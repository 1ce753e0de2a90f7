package rollout

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// toServer sends every request to one server, whatever its address says.
type toServer struct{ server *httptest.Server }

func (s toServer) RoundTrip(r *http.Request) (*http.Response, error) {
	to, _ := url.Parse(s.server.URL)
	r = r.Clone(r.Context())
	r.Host = r.URL.Host
	r.URL.Scheme, r.URL.Host = to.Scheme, to.Host
	return s.server.Client().Transport.RoundTrip(r)
}

// asking is a Service with a load balancer, or without one, and what asks it.
func asking(t *testing.T, h http.Handler, service string) (Check, Options, *recorder) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL, QPS: -1, BearerToken: "secret"}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	core := schema.GroupVersion{Version: "v1"}
	known := runtime.NewScheme()
	metav1.AddToGroupVersion(known, core) // Status
	config.GroupVersion, config.NegotiatedSerializer = &core, serializer.NewCodecFactory(known).WithoutConversion()
	api, err := rest.RESTClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	told := &recorder{}
	statuses := []Status{{Live: fromYAML(t, service)}}
	return Check{Path: "/readyz", Statuses: statuses, Address: FindAddress(statuses), Timeout: 30 * time.Second},
		Options{Dynamic: client, REST: api, HTTP: toServer{server}, Progress: told.line}, told
}

const balanced = `{apiVersion: v1, kind: Service, metadata: {name: model, namespace: default}, spec: {type: LoadBalancer, ports: [{port: 80}]}, status: {loadBalancer: {ingress: [{ip: 203.0.113.7}]}}}`

func within(ports string) string {
	return `{apiVersion: v1, kind: Service, metadata: {name: model, namespace: default}, spec: {type: ClusterIP, ports: [` + ports + `]}}`
}

// replies answers one after the other, and the last one again and again.
func replies(asked *atomic.Int32, all ...http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n := int(asked.Add(1))
		all[min(n, len(all))-1](w, r)
	}
}

func reply(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestHealthy(t *testing.T) {
	t.Parallel()
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
	}
	tests := []struct {
		name    string
		service string
		path    string
		replies []http.HandlerFunc
		url     string
		code    int
		tries   int
		body    string
		fails   string // the error ends with it
	}{
		{"at once", balanced, "/readyz", []http.HandlerFunc{reply(200, "ok\n")}, "http://203.0.113.7/readyz", 200, 1, "ok", ""},
		{"204", balanced, "/readyz", []http.HandlerFunc{reply(204, "")}, "http://203.0.113.7/readyz", 204, 1, "", ""},
		{"with a query", balanced, "/v1/models?name=a%20b", []http.HandlerFunc{reply(200, "")}, "http://203.0.113.7/v1/models?name=a%20b", 200, 1, "", ""},
		{"while the balancer warms up", balanced, "/readyz", []http.HandlerFunc{hangUp, reply(404, "default backend"), reply(502, ""), reply(200, "ok")}, "http://203.0.113.7/readyz", 200, 4, "ok", ""},
		{"a redirect on the same host", balanced, "/readyz", []http.HandlerFunc{redirect("/readyz/"), reply(200, "ok")}, "http://203.0.113.7/readyz", 200, 1, "ok", ""},
		{"a redirect to another host", balanced, "/readyz", []http.HandlerFunc{redirect("http://other.example.com/")}, "http://203.0.113.7/readyz", 302, patience, `<a href="http://other.example.com/">Found</a>.`, "redirects to other hosts are not followed"},
		{"wants credentials", balanced, "/readyz", []http.HandlerFunc{reply(401, `{"detail":"no"}`)}, "http://203.0.113.7/readyz", 401, patience, `{"detail":"no"}`, "health_path has to answer without credentials"},
		{"an endless body", balanced, "/readyz", []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := fmt.Fprint(w, strings.Repeat("x", 4096)); err != nil {
					return
				}
			}
		}}, "http://203.0.113.7/readyz", 200, 1, strings.Repeat("x", bodyLimit), ""},

		{"no load balancer", within(`{port: 3000}`), "/readyz", []http.HandlerFunc{reply(200, "ok")}, "/api/v1/namespaces/default/services/model:3000/proxy/readyz", 200, 1, "ok", ""},
		{"no load balancer, https", within(`{name: https, port: 8443}`), "/readyz/", []http.HandlerFunc{reply(200, "ok")}, "/api/v1/namespaces/default/services/https:model:8443/proxy/readyz/", 200, 1, "ok", ""},
		{"no load balancer, a query", within(`{port: 80}`), "/health?deep=1", []http.HandlerFunc{reply(200, "ok")}, "/api/v1/namespaces/default/services/model:80/proxy/health?deep=1", 200, 1, "ok", ""},
		{"a path that would leave the Service", within(`{port: 80}`), "/../../../../secrets", []http.HandlerFunc{reply(200, "ok")}, "/api/v1/namespaces/default/services/model:80/proxy/secrets", 200, 1, "ok", ""},
		{"an internal load balancer", strings.Replace(balanced, "203.0.113.7", "10.0.0.7", 1), "/readyz", []http.HandlerFunc{reply(200, "ok")}, "/api/v1/namespaces/default/services/model:80/proxy/readyz", 200, 1, "ok", ""},
		{"an encrypted load balancer", strings.Replace(balanced, "port: 80", "port: 443", 1), "/readyz", []http.HandlerFunc{reply(200, "ok")}, "/api/v1/namespaces/default/services/https:model:443/proxy/readyz", 200, 1, "ok", ""},
		{"through the proxy, no endpoints yet", within(`{port: 80}`), "/readyz", []http.HandlerFunc{
			reply(503, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no endpoints available for service \"model:80\"","reason":"ServiceUnavailable","code":503}`), reply(200, "ok"),
		}, "/api/v1/namespaces/default/services/model:80/proxy/readyz", 200, 2, "ok", ""},
		{"through the proxy, refused by the model", within(`{port: 80}`), "/readyz", []http.HandlerFunc{reply(403, `{"detail":"no"}`)}, "/api/v1/namespaces/default/services/model:80/proxy/readyz", 403, patience, `{"detail":"no"}`, "health_path has to answer without credentials"},
		{"through the proxy, not allowed", within(`{port: 80}`), "/readyz", []http.HandlerFunc{
			reply(403, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"services \"model:80\" is forbidden: User \"u\" cannot get resource \"services/proxy\" in API group \"\" in the namespace \"default\"","reason":"Forbidden","code":403}`),
		}, "/api/v1/namespaces/default/services/model:80/proxy/readyz", 403, 1, `services "model:80" is forbidden: User "u" cannot get resource "services/proxy" in API group "" in the namespace "default"`, `allow "get" on services/proxy in namespace "default" to whoever deploys, or give the Service a load balancer`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			var leaked, path atomic.Value
			play := replies(&asked, tt.replies...)
			check, o, _ := asking(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.HasPrefix(r.URL.Path, "/api/") && r.Header.Get("Authorization") != "" {
					leaked.Store(true)
				}
				path.CompareAndSwap(nil, r.URL.RequestURI())
				play(w, r)
			}), tt.service)
			check.Path = tt.path
			got, err := Healthy(context.Background(), check, o)
			want := Answer{URL: tt.url, Proxy: strings.HasPrefix(tt.url, "/"), Code: tt.code, Tries: tt.tries, Body: tt.body, Took: got.Took}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if asked := strings.TrimPrefix(tt.url, "http://203.0.113.7"); path.Load() != asked {
				t.Errorf("asked for %v, want %s", path.Load(), asked)
			}
			if leaked.Load() != nil {
				t.Error("the load balancer was sent credentials")
			}
			var unhealthy *UnhealthyError
			switch {
			case tt.fails == "" && err != nil:
				t.Error(err)
			case tt.fails != "" && (!errors.As(err, &unhealthy) || !strings.HasSuffix(err.Error(), tt.fails)):
				t.Errorf("error %v, want it to end with %q", err, tt.fails)
			}
		})
	}
}

func TestUnhealthy(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	check, o, told := asking(t, replies(&asked, reply(503, "loading"), reply(500, `{"error": "weights are missing"}`)), balanced)
	check.Timeout = 1500 * time.Millisecond
	got, err := Healthy(context.Background(), check, o)
	if got.Code != 500 || got.Tries < 3 || got.Took < check.Timeout || got.Took > check.Timeout+2*time.Second {
		t.Errorf("answer %+v", got)
	}
	want := fmt.Sprintf(`health check "/readyz": GET http://203.0.113.7/readyz: 500 Internal Server Error: {"error": "weights are missing"} (the last of %d tries); look at the model's log for the reason`, got.Tries)
	if fmt.Sprint(err) != want {
		t.Error(cmp.Diff(want, fmt.Sprint(err)))
	}
	wantTold := "GET http://203.0.113.7/readyz: 503 Service Unavailable: loading; asking again\n" +
		`GET http://203.0.113.7/readyz: 500 Internal Server Error: {"error": "weights are missing"}; asking again`
	if diff := cmp.Diff(wantTold, told.String()); diff != "" {
		t.Error(diff)
	}
	var unhealthy *UnhealthyError
	if !errors.As(err, &unhealthy) || unhealthy.Answer.Code != 500 {
		t.Errorf("%T", err)
	}
}

func TestHealthyNobodyToAsk(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, path, service, want string }{
		{"no Service", "/readyz", `{apiVersion: v1, kind: ConfigMap, metadata: {name: model}}`, `health check "/readyz": no Service was applied that could be asked; add a Service to the manifests, or leave health_path empty`},
		{"not a path", "readyz", balanced, `health check "readyz": not a path; begin it with /, e.g. /readyz`},
		{"another host", "//evil.example.com/", balanced, `health check "//evil.example.com/": not a path; begin it with /, e.g. /readyz`},
	}
	for _, tt := range tests {
		check, o, _ := asking(t, http.NotFoundHandler(), tt.service)
		check.Path = tt.path
		if _, err := Healthy(context.Background(), check, o); fmt.Sprint(err) != tt.want {
			t.Errorf("%s:\n%s", tt.name, cmp.Diff(tt.want, fmt.Sprint(err)))
		}
	}
}

func TestHealthyCancelled(t *testing.T) {
	t.Parallel()
	check, o, _ := asking(t, reply(500, ""), balanced)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	started := time.Now()
	if _, err := Healthy(ctx, check, o); !errors.Is(err, context.DeadlineExceeded) || time.Since(started) > 2*time.Second {
		t.Errorf("error %v after %s", err, time.Since(started))
	}
}
