package release

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/org/deploy-model-action/pkg/kube"
)

const space = "models"

// apiServer is as much of an API server as a record needs, over real HTTP:
// objects with UIDs and resourceVersions, compared on every write.
type apiServer struct {
	*httptest.Server

	mu      sync.Mutex
	version int
	objects map[string]map[string]any // by path
	spaces  []string
	log     []string // "METHOD kind/name", in the order of arrival
	// fault answers instead of the server, before or after it carried the request
	// out; it returns whether it did.
	fault func(request string, served bool, w http.ResponseWriter) bool
	// stored is told of every object that is written.
	stored func(path string, u map[string]any)
}

func newServer(t *testing.T) *apiServer {
	t.Helper()
	s := &apiServer{objects: map[string]map[string]any{}, spaces: []string{space}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

// client returns a client of its own, as another process has one; over, if not
// nil, stands between it and the server.
func (s *apiServer) client(t *testing.T, over func(http.RoundTripper) http.RoundTripper) *kube.Client {
	t.Helper()
	transport := http.RoundTripper(&http.Transport{})
	if over != nil {
		transport = over(transport)
	}
	d, err := dynamic.NewForConfigAndClient(&rest.Config{Host: s.URL, QPS: -1}, &http.Client{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return kube.NewClient(d, nil, kube.Options{})
}

func describeRequest(r *http.Request) string {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/"), "/")
	return r.Method + " " + strings.Join(parts[1:], "/")
}

func (s *apiServer) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	request := describeRequest(r)
	s.mu.Lock()
	s.log = append(s.log, request)
	fault := s.fault
	s.mu.Unlock()
	if fault != nil && fault(request, false, w) {
		return
	}
	code, answer := s.carryOut(r, body)
	if fault != nil && fault(request, true, w) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer)
}

func (s *apiServer) carryOut(r *http.Request, body []byte) (int, any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/"), "/")
	namespace, resource := parts[0], parts[1]
	var given map[string]any
	if len(body) > 0 {
		if err := json.Unmarshal(body, &given); err != nil {
			return 400, failure(400, "BadRequest", err.Error(), "", "")
		}
	}
	if r.Method == http.MethodPost && !slices.Contains(s.spaces, namespace) {
		return 404, failure(404, "NotFound", fmt.Sprintf("namespaces %q not found", namespace), "namespaces", namespace)
	}
	if len(parts) == 2 && r.Method == http.MethodGet {
		list := []any{}
		for _, path := range slices.Sorted(maps.Keys(s.objects)) {
			if strings.HasPrefix(path, r.URL.Path+"/") {
				list = append(list, s.objects[path])
			}
		}
		return 200, map[string]any{"kind": "List", "apiVersion": "v1", "metadata": map[string]any{}, "items": list}
	}
	if len(parts) == 2 {
		parts = append(parts, field(given, "metadata", "name"))
	}
	name := parts[2]
	path := "/api/v1/namespaces/" + namespace + "/" + resource + "/" + name
	found := s.objects[path]
	if found == nil && r.Method != http.MethodPost {
		return 404, failure(404, "NotFound", fmt.Sprintf("%s %q not found", resource, name), resource, name)
	}
	conflict := func(version, uid string) bool {
		return version != "" && version != field(found, "metadata", "resourceVersion") || uid != "" && uid != field(found, "metadata", "uid")
	}
	switch r.Method {
	case http.MethodGet:
		return 200, found
	case http.MethodDelete:
		var options struct {
			Preconditions struct{ UID, ResourceVersion string }
		}
		_ = json.Unmarshal(body, &options)
		if conflict(options.Preconditions.ResourceVersion, options.Preconditions.UID) {
			return 409, failure(409, "Conflict", "the object has been modified", resource, name)
		}
		delete(s.objects, path)
		return 200, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Success"}
	case http.MethodPost:
		if found != nil {
			return 409, failure(409, "AlreadyExists", fmt.Sprintf("%s %q already exists", resource, name), resource, name)
		}
	case http.MethodPut:
		if conflict(field(given, "metadata", "resourceVersion"), field(given, "metadata", "uid")) {
			return 409, failure(409, "Conflict", "the object has been modified", resource, name)
		}
	}
	return 200, s.store(path, given)
}

// store writes an object, as whoever holds the lock.
func (s *apiServer) store(path string, u map[string]any) map[string]any {
	s.version++
	meta, _ := u["metadata"].(map[string]any)
	meta["resourceVersion"] = strconv.Itoa(s.version)
	meta["uid"] = "uid-" + strconv.Itoa(s.version)
	if old := s.objects[path]; old != nil {
		meta["uid"] = field(old, "metadata", "uid")
	}
	s.objects[path] = u
	if s.stored != nil {
		s.stored(path, u)
	}
	return u
}

func field(m map[string]any, path ...string) string {
	for _, key := range path[:len(path)-1] {
		m, _ = m[key].(map[string]any)
	}
	s, _ := m[path[len(path)-1]].(string)
	return s
}

func failure(code int, reason, message, kind, name string) map[string]any {
	return map[string]any{
		"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message,
		"details": map[string]any{"kind": kind, "name": name},
	}
}

// names are the names of the objects of a resource, in order.
func (s *apiServer) names(resource string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for path := range s.objects {
		if rest, ok := strings.CutPrefix(path, "/api/v1/namespaces/"+space+"/"+resource+"/"); ok {
			all = append(all, rest)
		}
	}
	slices.Sort(all)
	return all
}

// requests are those since the last call.
func (s *apiServer) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.log
	s.log = nil
	return all
}

// data is the data of a record.
func (s *apiServer) data(name string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, _ := s.objects["/api/v1/namespaces/"+space+"/configmaps/"+prefix+name]["data"].(map[string]any)
	return data
}

// edit changes the data of a record, as a person does.
func (s *apiServer) edit(name string, change func(data map[string]any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := "/api/v1/namespaces/" + space + "/configmaps/" + prefix + name
	u := s.objects[path]
	if u == nil {
		u = map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": prefix + name, "namespace": space}, "data": map[string]any{}}
	}
	change(u["data"].(map[string]any))
	s.store(path, u)
}

// errKilled is what a process meets that has been killed: nothing of what it
// still wants to do happens.
var errKilled = errors.New("killed")

// killer lets n requests through, and carries out none after them.
type killer struct {
	base http.RoundTripper
	mu   sync.Mutex
	n    int
}

func (k *killer) RoundTrip(r *http.Request) (*http.Response, error) {
	k.mu.Lock()
	dead := k.n == 0
	if !dead {
		k.n--
	}
	k.mu.Unlock()
	if dead {
		return nil, errKilled
	}
	response, err := k.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	// The request is over before the process dies, so that nothing of it is later.
	content, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	response.Body = io.NopCloser(strings.NewReader(string(content)))
	return response, err
}

func killedAfter(n int) func(http.RoundTripper) http.RoundTripper {
	return func(base http.RoundTripper) http.RoundTripper { return &killer{base: base, n: n} }
}
