package kubetest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/retry"
)

// Stage is an API server that plays a script about some objects. Every request
// for a path that has a script takes its next scene, the last one again and
// again; everything else is empty, and its watches stay silent.
type Stage struct {
	Scripts map[string][]Scene // by path, that of an object also for watches of it

	mu    sync.Mutex
	asked map[string][]string
}

// Scene answers one request.
type Scene func(w http.ResponseWriter, r *http.Request)

// ServeHTTP plays the scene.
func (play Scene) ServeHTTP(w http.ResponseWriter, r *http.Request) { play(w, r) }

// ServeHTTP plays the next scene of the path.
func (s *Stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	path, verb := r.URL.Path, strings.ToLower(r.Method)
	watching := query.Get("watch") != ""
	if watching {
		verb = "watch " + query.Get("resourceVersion")
		if query.Get("allowWatchBookmarks") != "true" || query.Get("timeoutSeconds") == "" {
			verb += " without bookmarks or end"
		}
		if _, name, ok := strings.Cut(query.Get("fieldSelector"), "metadata.name="); ok {
			path += "/" + name
		}
	}
	s.mu.Lock()
	var play Scene
	if script := s.Scripts[path]; len(script) > 0 {
		play = script[0]
		if len(script) > 1 {
			s.Scripts[path] = script[1:]
		}
	}
	if s.asked == nil {
		s.asked = map[string][]string{}
	}
	s.asked[path] = append(s.asked[path], verb)
	s.mu.Unlock()
	switch {
	case play != nil:
		play(w, r)
	case watching:
		Open()(w, r)
	default:
		Answer(http.StatusOK, ListOf("Nothing"))(w, r)
	}
}

// Requests are those for one path, such as "get, watch 100".
func (s *Stage) Requests(path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.asked[path], ", ")
}

// Replier is an API server that is one function.
type Replier func(r *http.Request) (code int, body string)

// ServeHTTP answers what the function returns.
func (f Replier) ServeHTTP(w http.ResponseWriter, r *http.Request) { Answer(f(r))(w, r) }

// Answer is a whole answer.
func Answer(code int, body string) Scene {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// No is a refusal by the API server.
func No(code int, reason string) Scene { return Answer(Refuse(code, reason, "the server said no")) }

// Refuse is code and body of a refusal by the API server.
func Refuse(code int, reason, message string) (int, string) {
	body, _ := json.Marshal(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})
	return code, string(body)
}

// HangUp cuts the connection.
func HangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// Hang never answers.
func Hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// Events is a watch that is cut after some events.
func Events(lines ...string) Scene {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, line := range lines {
			_, _ = fmt.Fprintln(w, line)
		}
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
	}
}

// Open is a watch that stays open after some events.
func Open(lines ...string) Scene {
	return func(w http.ResponseWriter, r *http.Request) {
		Events(lines...)(w, r)
		<-r.Context().Done()
	}
}

// Slowly is a watch that brings an event after each pause.
func Slowly(pause time.Duration, lines ...string) Scene {
	return func(w http.ResponseWriter, r *http.Request) {
		Events()(w, r)
		for _, line := range lines {
			_ = retry.Sleep(r.Context(), pause)
			Events(line)(w, r)
		}
		<-r.Context().Done()
	}
}

// Event is one line of a watch.
func Event(kind string, u *unstructured.Unstructured) string {
	return fmt.Sprintf(`{"type": %q, "object": %s}`, kind, Encoded(u))
}

// Expired is the line of a watch that says that its place is lost.
const Expired = `{"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old resource version: 100 (900)"}}`

// Encoded is an object as it is sent.
func Encoded(u *unstructured.Unstructured) string {
	body, _ := json.Marshal(u)
	return string(body)
}

// ListOf is a list of encoded objects, of version 7.
func ListOf(kind string, items ...string) string {
	return fmt.Sprintf(`{"kind": "%sList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": [%s]}`, kind, strings.Join(items, ","))
}

// Recorder takes progress lines.
type Recorder struct {
	mu    sync.Mutex
	lines []string
}

// Line takes one.
func (r *Recorder) Line(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, text)
}

// String are the lines.
func (r *Recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}
