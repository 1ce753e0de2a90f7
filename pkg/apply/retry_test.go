package apply

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/org/deploy-model-action/pkg/kube"
)

// Every mistake of the first two writes must be survived, and the third attempt
// must carry the same bytes as the first: over HTTP/2 a transport that repeats a
// request on its own sends an empty body.
func TestWriteSurvives(t *testing.T) {
	t.Parallel()
	reply := func(s metav1.Status, headers ...string) func(w http.ResponseWriter) bool {
		return func(w http.ResponseWriter) bool {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			return respond(w, s)
		}
	}
	for _, tc := range []struct {
		name    string
		served  bool // the mistake happens after the write was carried out
		times   int
		mistake func(w http.ResponseWriter) bool
	}{
		{"429 with Retry-After", false, 2, reply(status(429, "TooManyRequests", "slow down", nil), "Retry-After", "1")},
		{"429 bare", false, 2, reply(status(429, "TooManyRequests", "slow down", nil))},
		{"503 with Retry-After", false, 2, reply(status(503, "ServiceUnavailable", "starting", nil), "Retry-After", "1")},
		{"503 bare", false, 2, reply(status(503, "ServiceUnavailable", "starting", nil))},
		{"504", false, 2, reply(status(504, "Timeout", "timeout", nil))},
		{"502 of a proxy", false, 2, func(w http.ResponseWriter) bool {
			http.Error(w, "<html>bad gateway</html>", http.StatusBadGateway)
			return true
		}},
		{"500 etcd leader", false, 2, reply(status(500, "", "etcdserver: leader changed", nil))},
		{"500 webhook", false, 2, reply(status(500, "InternalError", `Internal error occurred: failed calling webhook "v.example.com": connection refused`, nil))},
		{"409 quota", false, 2, reply(status(409, "Conflict", `Operation cannot be fulfilled on resourcequotas "q": the object has been modified`, nil))},
		{"401 once", false, 1, reply(status(401, "Unauthorized", "Unauthorized", nil))},
		{"connection aborted", false, 2, func(http.ResponseWriter) bool { panic(http.ErrAbortHandler) }},
		{"reply lost after commit", true, 2, func(http.ResponseWriter) bool { panic(http.ErrAbortHandler) }},
		{"reply cut mid-body", true, 2, func(w http.ResponseWriter) bool {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(`{"kind":"ConfigMap","meta`))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}},
	} {
		for protocol := 1; protocol <= 2; protocol++ {
			// The waits of all cases pass at the same time, not one after another.
			s := newServer(t, protocol == 2)
			s.mistake = func(r request, served bool, w http.ResponseWriter) bool {
				return isWrite(r) && served == tc.served && r.Nth < tc.times && tc.mistake(w)
			}
			type outcome struct {
				changes []kube.Change
				err     error
			}
			done := make(chan outcome, 1)
			go func() {
				changes, err := s.apply(t.Context(), configMap(t, "x"))
				done <- outcome{changes, err}
			}()
			t.Run(fmt.Sprintf("%s/HTTP%d", tc.name, protocol), func(t *testing.T) {
				t.Parallel()
				got := <-done
				if got.err != nil {
					t.Fatal(got.err)
				}
				if diff := cmp.Diff([]string{"configmap/x created"}, lines(got.changes)); diff != "" {
					t.Error(diff)
				}
				writes := s.seen(isWrite)
				if len(writes) != tc.times+1 {
					t.Errorf("%d attempts, want %d", len(writes), tc.times+1)
				}
				for i, w := range writes {
					if w.Body != writes[0].Body || !strings.Contains(w.Body, `"name":"x"`) {
						t.Errorf("attempt %d sent %q", i+1, w.Body)
					}
					if w.Proto != protocol {
						t.Errorf("attempt %d came over HTTP/%d", i+1, w.Proto)
					}
				}
			})
		}
	}
}

func TestNeverRetried(t *testing.T) {
	t.Parallel()
	conflict := []metav1.StatusCause{{Type: metav1.CauseTypeFieldManagerConflict, Message: `conflict with "argocd-controller" using v1`, Field: ".data.a"}}
	for _, s := range []metav1.Status{
		status(400, "BadRequest", "bad", nil),
		status(403, "Forbidden", `configmaps "x" is forbidden: User "u" cannot patch resource "configmaps" in API group "" in the namespace "default"`, nil),
		status(409, "Conflict", "Apply failed with 1 conflict", conflict),
		status(413, "RequestEntityTooLarge", "limit is 3145728", nil),
		status(422, "Invalid", "invalid", []metav1.StatusCause{{Message: "Required value", Field: "data"}}),
		status(500, "", `failed to create typed patch object (default/x; v1, Kind=ConfigMap): .data.a: expected string, got &value.valueUnstructured{Value:5}`, nil),
		status(307, "", "", nil),
		status(501, "", "this server knows no such method", nil),
	} {
		t.Run(fmt.Sprint(s.Code, s.Reason), func(t *testing.T) {
			t.Parallel()
			server := newServer(t, true)
			server.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			server.mistake = func(r request, served bool, w http.ResponseWriter) bool {
				return r.Method == http.MethodPatch && respond(w, s)
			}
			changes, err := server.apply(t.Context(), configMap(t, "x"))
			if len(objectErrors(t, err)) != 1 || len(changes) != 0 {
				t.Errorf("changes %v, error %v", changes, err)
			}
			if n := server.count(func(r request) bool { return r.Method == http.MethodPatch }); n != 1 {
				t.Errorf("%d attempts, want 1", n)
			}
		})
	}
}

func TestOutageEndsWithinBudget(t *testing.T) {
	t.Parallel()
	s := newServer(t, true)
	s.mistake = func(r request, _ bool, w http.ResponseWriter) bool {
		return respond(w, status(503, "ServiceUnavailable", "down", nil))
	}
	s.kube.Budget, s.kube.Concurrency = 900*time.Millisecond, 2
	var set []*unstructured.Unstructured
	for i := range 50 {
		set = append(set, configMap(t, fmt.Sprint("c", i)))
	}
	started := time.Now()
	_, err := s.apply(t.Context(), set...)
	if took := time.Since(started); took > 3*time.Second {
		t.Errorf("took %s", took)
	}
	var down *kube.UnavailableError
	if !errors.As(err, &down) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "does not work") {
		t.Errorf("want one *kube.UnavailableError, got %v", err)
	}
}

// What no request would survive is said once, and at once.
func TestUnavailableAtOnce(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil    func(s *apiServer)
		sentence string
	}{
		"refused credentials": {func(s *apiServer) {
			s.mistake = func(_ request, _ bool, w http.ResponseWriter) bool {
				return respond(w, status(401, "Unauthorized", "Unauthorized", nil))
			}
		}, "does not accept the credentials"},
		"wrong certificate": {func(s *apiServer) {
			config := &rest.Config{Host: s.URL, QPS: -1}
			s.dynamic = dynamic.NewForConfigOrDie(config)
		}, "cannot be reached: tls: failed to verify certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, true)
			tc.spoil(s)
			started := time.Now()
			_, err := s.apply(t.Context(), configMap(t, "a"), configMap(t, "b"), configMap(t, "c"))
			var down *kube.UnavailableError
			if !errors.As(err, &down) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), tc.sentence) {
				t.Error(err)
			}
			if took := time.Since(started); took > 2*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestCancelledWriteIsAnsweredFor(t *testing.T) {
	t.Parallel()
	s := newServer(t, true)
	ctx, cancel := context.WithCancel(t.Context())
	s.mistake = func(r request, served bool, _ http.ResponseWriter) bool {
		if isWrite(r) && served {
			cancel()
			time.Sleep(100 * time.Millisecond)
		}
		return false
	}
	s.kube.Concurrency = 1
	set := []*unstructured.Unstructured{configMap(t, "a"), configMap(t, "b"), configMap(t, "c")}
	started := time.Now()
	changes, err := s.apply(ctx, set...)
	if diff := cmp.Diff([]string{"configmap/a created"}, lines(changes)); diff != "" {
		t.Error(diff)
	}
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "1 of 3 objects were applied") {
		t.Errorf("error %v", err)
	}
	if n := s.count(isWrite); n != 1 {
		t.Errorf("%d writes, want 1", n)
	}
	if took := time.Since(started); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestCancelledWriteWithoutAnswer(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name           string
		landed, silent bool // the write is done; the server answers nothing more
		want           []string
	}{
		{"it was done, and the object says so", true, false, []string{"configmap/a created"}},
		{"it was not done yet", false, false, []string{"configmap/a uncertain"}},
		{"nobody says anything", true, true, []string{"configmap/a uncertain"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, true)
			ctx, cancel := context.WithCancel(t.Context())
			hang := make(chan struct{})
			t.Cleanup(func() { close(hang) })
			s.mistake = func(r request, served bool, _ http.ResponseWriter) bool {
				if isWrite(r) && served == tc.landed {
					cancel()
					<-hang
					return true
				}
				if tc.silent && isGet(r) && r.Nth > 0 {
					<-hang
				}
				return false
			}
			started := time.Now()
			changes, err := s.apply(ctx, configMap(t, "a"))
			if took := time.Since(started); took > 4*time.Second {
				t.Errorf("took %s", took)
			}
			if diff := cmp.Diff(tc.want, lines(changes)); diff != "" {
				t.Error(diff)
			}
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			open := strings.Contains(err.Error(), "ConfigMap default/a: was being written")
			if want := changes[0].Action == kube.Uncertain; open != want || open != errors.Is(err, kube.ErrUncertain) {
				t.Error(err)
			}
		})
	}
}

func TestCancelledBeforeTheFirstWrite(t *testing.T) {
	t.Parallel()
	s := newServer(t, false)
	ctx, cancel := context.WithCancel(t.Context())
	s.mistake = func(r request, served bool, _ http.ResponseWriter) bool {
		cancel()
		return false
	}
	changes, err := s.apply(ctx, configMap(t, "a"), configMap(t, "b"))
	if len(changes) != 0 || !errors.Is(err, context.Canceled) || s.count(isWrite) != 0 {
		t.Errorf("changes %v, error %v, writes %d", changes, err, s.count(isWrite))
	}
}

// TestDeadWebhook: what nobody repairs meanwhile is not waited for longer than was
// asked for.
func TestDeadWebhook(t *testing.T) {
	t.Parallel()
	s := newServer(t, false)
	s.kube.Webhook = time.Second
	s.mistake = func(r request, served bool, w http.ResponseWriter) bool {
		return !served && r.Dry && respond(w, status(500, "InternalError", `Internal error occurred: failed calling webhook "validate.example.com": failed to call webhook: Post "https://w.default.svc:443/?timeout=10s": dial tcp 10.0.0.1:443: connect: connection refused`, nil))
	}
	began := time.Now()
	_, err := s.apply(t.Context(), configMap(t, "a"))
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	if err == nil || !strings.Contains(err.Error(), `admission webhook "validate.example.com" does not answer`) || !strings.Contains(err.Error(), "gave up after") {
		t.Error(err)
	}
	if n := s.count(isDry); n < 2 {
		t.Errorf("%d tries", n)
	}
}
