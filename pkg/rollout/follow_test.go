package rollout

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// watchAPI serves one Deployment's pods and ReplicaSets. Each request for pods
// takes the next answer; the last one is repeated.
type watchAPI struct {
	mu      sync.Mutex
	answers []func(w http.ResponseWriter, r *http.Request)
	asked   []string
	sets    string
	events  string
}

func (a *watchAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case strings.HasSuffix(r.URL.Path, "/replicasets") && r.URL.Query().Get("watch") == "":
		_, _ = w.Write([]byte(a.sets))
		return
	case strings.HasSuffix(r.URL.Path, "/replicasets"):
		<-r.Context().Done()
		return
	case strings.HasSuffix(r.URL.Path, "/events"):
		_, _ = w.Write([]byte(a.events))
		return
	}
	a.mu.Lock()
	verb := "list"
	if r.URL.Query().Get("watch") != "" {
		verb = "watch from " + r.URL.Query().Get("resourceVersion")
	}
	a.asked = append(a.asked, verb)
	answer := a.answers[0]
	if len(a.answers) > 1 {
		a.answers = a.answers[1:]
	}
	a.mu.Unlock()
	answer(w, r)
}

func TestFollow(t *testing.T) {
	t.Parallel()
	pod := func(version int, status string) string {
		o := onePod{name: "pod-a", owner: "new", status: status}.object(t)
		o.SetResourceVersion(fmt.Sprint(version))
		return jsonOf(t, o)
	}
	type answer = func(w http.ResponseWriter, r *http.Request)
	list := func(items ...string) answer {
		return func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(listOf("Pod", items...))) }
	}
	status := func(code int, reason string) answer {
		return func(w http.ResponseWriter, r *http.Request) {
			_, body := refuse(code, reason, "no")
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		}
	}
	events := func(hold bool, lines ...string) answer {
		return func(w http.ResponseWriter, r *http.Request) {
			for _, line := range lines {
				_, _ = w.Write([]byte(line + "\n"))
			}
			w.(http.Flusher).Flush()
			if hold {
				<-r.Context().Done()
			}
		}
	}
	event := func(kind, object string) string { return fmt.Sprintf(`{"type": %q, "object": %s}`, kind, object) }
	_, expired := refuse(410, "Expired", "too old resource version")
	crash := event("MODIFIED", pod(9, crashState))

	tests := []struct {
		name    string
		answers []answer
		asked   string // in this order, perhaps with more in between
		waiting string // instead of a failure
	}{
		{"a watch", []answer{list(pod(5, creatingState)), events(true, crash)}, "list, watch from 7", ""},
		{"a watch that is cut goes on from where it was", []answer{list(), events(false, event("ADDED", pod(8, creatingState))), events(true, crash)}, "list, watch from 7, watch from 8", ""},
		{"a bookmark moves the place", []answer{list(), events(false, event("BOOKMARK", `{"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": "20"}}`)), events(true, crash)}, "list, watch from 7, watch from 20", ""},
		{"an expired watch lists again", []answer{list(), events(true, event("ERROR", expired)), list(pod(9, crashState)), events(true)}, "list, watch from 7, list", ""},
		{"410 on the watch itself", []answer{list(), status(410, "Expired"), list(pod(9, crashState)), events(true)}, "list, watch from 7, list", ""},
		{"a server that stumbles", []answer{status(500, "InternalError"), status(503, "ServiceUnavailable"), list(pod(9, crashState)), events(true)}, "list, list, list", ""},
		{"no right to watch: polls", []answer{list(), status(403, "Forbidden"), list(pod(9, crashState)), status(403, "Forbidden")}, "list, watch from 7, list", ""},
		{"no right to list: says so", []answer{status(403, "Forbidden")}, "list", `the pods cannot be read: a Role in namespace "default" has to allow "list" and "watch" on pods`},
		{"a pod that is deleted", []answer{list(pod(5, creatingState)), events(true, event("DELETED", pod(8, creatingState)))}, "list, watch from 7", "no pod of the new revision yet"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			api := &watchAPI{answers: tt.answers, sets: listOf("ReplicaSet", jsonOf(t, replicaSet(t, "new", "2", theTemplate, `{}`))), events: listOf("Event")}
			server := httptest.NewServer(api)
			defer server.Close()
			client, err := dynamic.NewForConfig(&rest.Config{Host: server.URL, QPS: -1})
			if err != nil {
				t.Fatal(err)
			}
			live := workload(t, "Deployment", 1, `{observedGeneration: 2}`)
			d := newDiagnosis(Target{Object: live, Changed: true}, Options{Dynamic: client})
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			wake, ended := make(chan struct{}, 1), make(chan struct{})
			go func() {
				defer close(ended)
				d.follow(ctx, func() {
					select {
					case wake <- struct{}{}:
					default:
					}
				})
			}()
			for done := false; !done; {
				select {
				case <-wake:
				case <-ctx.Done():
					t.Fatalf("no verdict; asked %v", api.asked)
				}
				v := d.look(live, time.Now())
				done = v.Failure != nil && tt.waiting == "" || v.Failure == nil && tt.waiting != "" && v.Waiting == tt.waiting
				api.mu.Lock()
				done = done && len(api.asked) > strings.Count(tt.asked, ",")
				api.mu.Unlock()
			}
			cancel()
			select {
			case <-ended:
			case <-time.After(5 * time.Second):
				t.Fatal("follow goes on after its context ended")
			}
			api.mu.Lock()
			defer api.mu.Unlock()
			if got := strings.Join(api.asked, ", "); !strings.HasPrefix(got, tt.asked) {
				t.Errorf("asked %s, want %s", got, tt.asked)
			}
		})
	}
}
