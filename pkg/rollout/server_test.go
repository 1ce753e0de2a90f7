package rollout

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// start is when virtual time begins, in synctest's bubbles, and when the deploys
// of these tests wrote their objects.
var start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds int) string {
	return start.Add(time.Duration(seconds) * time.Second).Format(time.RFC3339)
}

// serve lets h be the API server, and whatever else is asked, over real HTTP on
// a network in memory, as virtual time wants it.
func serve(t *testing.T, h http.Handler) (Options, *journal) {
	t.Helper()
	j := &journal{handler: h}
	network := &memory{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: j, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Hour}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(network)
	}()
	transport := &http.Transport{DialContext: network.dial}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		<-ended
	})

	client := &http.Client{Transport: transport}
	core := schema.GroupVersion{Version: "v1"}
	known := runtime.NewScheme()
	metav1.AddToGroupVersion(known, core) // Status
	config := &rest.Config{Host: "http://api.example", QPS: -1, BearerToken: "secret"}
	config.GroupVersion, config.NegotiatedSerializer = &core, serializer.NewCodecFactory(known).WithoutConversion()
	authorised := &http.Client{Transport: bearer{transport}}
	objects, err := dynamic.NewForConfigAndClient(config, authorised)
	if err != nil {
		t.Fatal(err)
	}
	api, err := rest.RESTClientForConfigAndClient(config, authorised)
	if err != nil {
		t.Fatal(err)
	}
	return Options{Dynamic: objects, REST: api, HTTP: client.Transport}, j
}

// bearer adds the credentials that only the API server may see.
type bearer struct{ http.RoundTripper }

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer secret")
	return b.RoundTripper.RoundTrip(r)
}

// memory is a network in memory.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case m.conns <- there:
		return here, nil
	case <-m.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// journal remembers what was asked.
type journal struct {
	handler http.Handler
	mu      sync.Mutex
	asked   []string // method and URL
}

func (j *journal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	j.mu.Lock()
	j.asked = append(j.asked, r.Method+" "+r.URL.RequestURI())
	j.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	j.handler.ServeHTTP(w, r)
}

func (j *journal) requests() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.asked...)
}

// stage is an API server that plays a script about some objects. Every request
// for a path that has a script takes its next scene, the last one again and
// again; everything else is empty, and its watches stay silent.
type stage struct {
	mu      sync.Mutex
	scripts map[string][]scene // by path, that of an object also for watches of it
	asked   map[string][]string
}

type scene func(w http.ResponseWriter, r *http.Request)

func (play scene) ServeHTTP(w http.ResponseWriter, r *http.Request) { play(w, r) }

func (s *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
	var play scene
	if script := s.scripts[path]; len(script) > 0 {
		play = script[0]
		if len(script) > 1 {
			s.scripts[path] = script[1:]
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
		open()(w, r)
	default:
		answer(200, listOf("Nothing"))(w, r)
	}
}

// requests are those for one path, such as "get, watch 100".
func (s *stage) requests(path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.asked[path], ", ")
}

// replier is an API server that is one function.
type replier func(r *http.Request) (code int, body string)

func (f replier) ServeHTTP(w http.ResponseWriter, r *http.Request) { answer(f(r))(w, r) }

// answer is a whole answer.
func answer(code int, body string) scene {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// no is a refusal by the API server.
func no(code int, reason string) scene { return answer(refuse(code, reason, "the server said no")) }

func refuse(code int, reason, message string) (int, string) {
	body, _ := json.Marshal(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})
	return code, string(body)
}

// hangUp cuts the connection; hang never answers.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

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

// slowly is a watch that shows an event after each pause.
func slowly(pause time.Duration, lines ...string) scene {
	return func(w http.ResponseWriter, r *http.Request) {
		events()(w, r)
		for _, line := range lines {
			pauseFor(r.Context(), pause)
			events(line)(w, r)
		}
		<-r.Context().Done()
	}
}

func event(kind string, o *unstructured.Unstructured) string {
	return fmt.Sprintf(`{"type": %q, "object": %s}`, kind, encoded(o))
}

const expired = `{"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old resource version: 100 (900)"}}`

func encoded(o *unstructured.Unstructured) string {
	body, _ := json.Marshal(o)
	return string(body)
}

func listOf(kind string, items ...string) string {
	return fmt.Sprintf(`{"kind": "%sList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": [%s]}`, kind, strings.Join(items, ","))
}

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
