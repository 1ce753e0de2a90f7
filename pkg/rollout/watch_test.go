package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// stage is an API server that plays a script about some objects. Every request
// for a path that has a script takes its next scene, the last one again and
// again; everything else is empty, and its watches stay silent.
type stage struct {
	mu      sync.Mutex
	scripts map[string][]scene // by path
	asked   []string           // requests for what has a script
	all     []string
}

type scene func(w http.ResponseWriter, r *http.Request)

func (s *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	query := r.URL.Query()
	path, verb := r.URL.Path, "get"
	if query.Get("watch") != "" {
		verb = "watch"
		if _, name, ok := strings.Cut(query.Get("fieldSelector"), "metadata.name="); ok {
			path += "/" + name
		}
	}
	s.mu.Lock()
	s.all = append(s.all, r.Method+" "+r.URL.String())
	var play scene
	if script := s.scripts[path]; len(script) > 0 {
		play = script[0]
		if len(script) > 1 {
			s.scripts[path] = script[1:]
		}
		if verb == "watch" {
			verb += " " + query.Get("resourceVersion")
			if query.Get("allowWatchBookmarks") != "true" || query.Get("timeoutSeconds") == "" {
				verb += " without bookmarks or end"
			}
		}
		s.asked = append(s.asked, verb)
	}
	s.mu.Unlock()
	switch {
	case play != nil:
		play(w, r)
	case verb == "watch":
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	default:
		_, _ = w.Write([]byte(`{"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []}`))
	}
}

func (s *stage) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

func (s *stage) everything() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.all...)
}

// answer is a whole answer.
func answer(code int, body string) scene {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

// no is a refusal by the API server.
func no(code int, reason string) scene {
	return answer(code, fmt.Sprintf(`{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": %d, "reason": %q, "message": "the server said no"}`, code, reason))
}

// events is a watch that is cut after some events.
func events(lines ...string) scene {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, line := range lines {
			_, _ = fmt.Fprintln(w, line)
		}
		w.(http.Flusher).Flush()
	}
}

// open is a watch that stays open after some events.
func open(lines ...string) scene {
	return func(w http.ResponseWriter, r *http.Request) {
		events(lines...)(w, r)
		<-r.Context().Done()
	}
}

func event(kind string, o *unstructured.Unstructured) string {
	body, _ := json.Marshal(o)
	return fmt.Sprintf(`{"type": %q, "object": %s}`, kind, body)
}

const expired = `{"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old resource version: 100 (900)"}}`

// deployed is the Deployment at some version of its rollout, as the apply
// returned it (100) and later.
func deployed(t *testing.T, version, updated int) *unstructured.Unstructured {
	observed := 4
	if version == 100 {
		observed = 3
	}
	o := fromYAML(t, of("apps/v1", "Deployment",
		`{replicas: 2, selector: {matchLabels: {app: model}}, `+theImage+`}`,
		fmt.Sprintf(`{observedGeneration: %d, replicas: 2, updatedReplicas: %d, readyReplicas: %d, availableReplicas: %d}`, observed, updated, updated, updated)))
	o.SetResourceVersion(fmt.Sprint(version))
	return o
}

var deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

const modelPath = "/apis/apps/v1/namespaces/default/deployments/model"

// recorder takes progress lines.
type recorder struct {
	mu    sync.Mutex
	lines []string
}

func (r *recorder) line(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, text)
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

// playing starts the stage.
func playing(t *testing.T, s *stage, o Options) Options {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client, err := dynamic.NewForConfig(&rest.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	o.Dynamic = client
	return o
}

func TestWatch(t *testing.T) {
	t.Parallel()
	half, done := deployed(t, 150, 1), deployed(t, 200, 2)
	old := deployed(t, 160, 2)
	old.SetGeneration(3)
	body := func(o *unstructured.Unstructured) string {
		b, _ := json.Marshal(o)
		return string(b)
	}
	bookmark := `{"type": "BOOKMARK", "object": {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"resourceVersion": "180"}}}`
	replaced := deployed(t, 170, 2)
	replaced.SetUID("u2")
	taken := deployed(t, 170, 2)
	taken.SetAnnotations(map[string]string{"deploy-model-action/run": "8"})
	edited := deployed(t, 170, 2)
	if err := unstructured.SetNestedField(edited.Object, []any{map[string]any{"name": "model", "image": "host/model:2"}}, "spec", "template", "spec", "containers"); err != nil {
		t.Fatal(err)
	}
	ending := fromYAML(t, strings.Replace(of("apps/v1", "Deployment", `{`+theImage+`}`, `{}`), "uid: u1", `uid: u1, deletionTimestamp: "2026-11-22T10:00:00Z"`, 1))

	tests := []struct {
		name   string
		script []scene
		asked  string
		fails  string // Reason
		atMost time.Duration
	}{
		{"the rollout", []scene{open(event("MODIFIED", half), event("MODIFIED", done))}, "watch 100", "", time.Second},
		{"a cut watch goes on from where it was", []scene{events(event("MODIFIED", half)), open(event("MODIFIED", done))}, "watch 100, watch 150", "", time.Second},
		{"a watch that is cut at once", []scene{events(), events(), events(), open(event("MODIFIED", done))}, "watch 100, watch 100, watch 100, watch 100", "", 2 * time.Second},
		{"a bookmark moves the place", []scene{events(bookmark), open(event("MODIFIED", done))}, "watch 100, watch 180", "", time.Second},
		{"410 in the watch", []scene{open(expired), answer(200, body(half)), open(event("MODIFIED", done))}, "watch 100, get, watch 150", "", time.Second},
		{"410 and done in the meantime", []scene{no(410, "Expired"), answer(200, body(done))}, "watch 100, get", "", time.Second},
		{"410 and the read fails at first", []scene{no(410, "Gone"), no(500, "InternalError"), no(410, "Gone"), answer(200, body(done))}, "watch 100, get, watch 100, get", "", 2 * time.Second},
		{"401 while the token is renewed", []scene{no(401, "Unauthorized"), no(401, "Unauthorized"), open(event("MODIFIED", done))}, "watch 100, watch 100, watch 100", "", 2 * time.Second},
		{"503", []scene{no(503, "ServiceUnavailable"), open(event("MODIFIED", done))}, "watch 100, watch 100", "", 2 * time.Second},
		{"403 on the watch: polls", []scene{no(403, "Forbidden"), answer(200, body(half)), answer(200, body(done))}, "watch 100, get, get", "", 3 * time.Second},
		{"405 on the watch: polls", []scene{no(405, "MethodNotAllowed"), answer(200, body(done))}, "watch 100, get", "", time.Second},
		{"403 on the watch, and on a read for a while", []scene{no(403, "Forbidden"), no(403, "Forbidden"), answer(200, body(done))}, "watch 100, get, get", "", 3 * time.Second},
		{"an earlier generation does not count", []scene{open(event("MODIFIED", old), event("MODIFIED", half), event("MODIFIED", done))}, "watch 100", "", time.Second},
		{"garbage in the watch", []scene{events(`{"type": "MODIFIED", "object": {`), open(event("MODIFIED", done))}, "watch 100, watch 100", "", time.Second},

		{"deleted", []scene{open(event("MODIFIED", half), event("DELETED", half))}, "watch 100", "Deleted", time.Second},
		{"deleted while nobody looked", []scene{no(410, "Expired"), no(404, "NotFound")}, "watch 100, get", "Deleted", time.Second},
		{"being deleted", []scene{open(event("MODIFIED", ending))}, "watch 100", "Deleted", time.Second},
		{"replaced", []scene{no(410, "Expired"), answer(200, body(replaced)), open()}, "watch 100, get", "Replaced", time.Second},
		{"a newer run", []scene{open(event("MODIFIED", taken))}, "watch 100", ReasonSuperseded, time.Second},
		{"somebody edits the image", []scene{open(event("MODIFIED", edited))}, "watch 100", "Changed", time.Second},
		{"never readable", []scene{no(403, "Forbidden")}, "watch 100, get", "Forbidden", 4 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &stage{scripts: map[string][]scene{modelPath: tt.script}}
			o := playing(t, s, Options{FailFast: true, Persist: 2 * time.Second, Timeout: time.Minute})
			target := Target{Object: deployed(t, 100, 2), Before: deployed(t, 90, 2), Resource: deployments, Namespaced: true, Changed: true}
			started := time.Now()
			statuses, err := Wait(context.Background(), []Target{target}, o)
			if took := time.Since(started); took > tt.atMost+2*time.Second { // a busy machine
				t.Errorf("took %s, want at most %s", took, tt.atMost)
			}
			if asked := strings.Join(s.requests(), ", "); !strings.HasPrefix(asked, tt.asked) || tt.fails == "" && asked != tt.asked {
				t.Error("requests:", cmp.Diff(tt.asked, asked))
			}
			if tt.fails == "" {
				if err != nil || !statuses[0].Ready || statuses[0].Live.GetResourceVersion() != "200" {
					t.Errorf("error %v, status %v", err, statuses[0])
				}
				return
			}
			var failed *FailedError
			if !errors.As(err, &failed) || failed.Failures[0].Reason != tt.fails || statuses[0].Ready {
				t.Errorf("error %v, want reason %s", err, tt.fails)
			}
			if failed != nil && (failed.Failures[0].Cause == "" || failed.Failures[0].Fix == "") {
				t.Errorf("no cause or fix: %+v", failed.Failures[0])
			}
		})
	}
}
