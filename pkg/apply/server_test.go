package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

// apiServer is as much of an API server as an apply sees: objects by path with
// resourceVersions, namespaces and definitions that have to be there first, dry
// runs, and whatever goes wrong on the way.
type apiServer struct {
	*httptest.Server
	options Options // but for its Client
	kube    kube.Options
	dynamic dynamic.Interface
	rest    rest.Interface

	mu       sync.Mutex
	version  int
	objects  map[string]map[string]any
	requests []request
	// mistake is asked before (served=false) and after (served=true) each request
	// is carried out. It returns true if it has answered.
	mistake func(r request, served bool, w http.ResponseWriter) bool
}

type request struct {
	Method, Path string
	Dry          bool
	Body         string
	Type         string // Content-Type
	Force        string
	Proto        int
	Nth          int // of the same method, path and dryness, from 0
}

func (r request) String() string {
	if r.Dry {
		return r.Method + " dry " + r.Path
	}
	return r.Method + " " + r.Path
}

func newServer(t *testing.T, http2 bool) *apiServer {
	t.Helper()
	s := &apiServer{objects: map[string]map[string]any{"/api/v1/namespaces/default": {"metadata": map[string]any{"name": "default"}}}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.EnableHTTP2 = http2
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	client := s.Client()
	config := &rest.Config{Host: s.URL, QPS: -1}
	dynamicClient, err := dynamic.NewForConfigAndClient(config, client)
	if err != nil {
		t.Fatal(err)
	}
	restClient, err := rest.UnversionedRESTClientForConfigAndClient(dynamic.ConfigFor(config), client)
	if err != nil {
		t.Fatal(err)
	}
	s.dynamic, s.rest, s.kube.Log = dynamicClient, restClient, t.Logf
	return s
}

// with are the options, with a client that has spent nothing of its budget.
func (s *apiServer) with() Options {
	o := s.options
	o.Client = kube.NewClient(s.dynamic, s.rest, s.kube)
	return o
}

// apply plans and writes a set.
func (s *apiServer) apply(ctx context.Context, set ...*unstructured.Unstructured) ([]kube.Change, error) {
	plan, err := NewPlan(ctx, set, s.with())
	if err != nil {
		return nil, err
	}
	return plan.Write(ctx)
}

func (s *apiServer) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	s.mu.Lock()
	req := request{
		Method: r.Method, Path: r.URL.Path, Dry: r.URL.Query().Get("dryRun") != "", Body: string(body),
		Type: r.Header.Get("Content-Type"), Force: r.URL.Query().Get("force"), Proto: r.ProtoMajor,
	}
	for _, earlier := range s.requests {
		if earlier.String() == req.String() {
			req.Nth++
		}
	}
	s.requests = append(s.requests, req)
	mistake := s.mistake
	s.mu.Unlock()
	if mistake != nil && mistake(req, false, w) {
		return
	}
	code, answer := s.carryOut(req)
	if mistake != nil && mistake(req, true, w) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer)
}

func (s *apiServer) carryOut(r request) (int, any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if parts := strings.Split(r.Path, "/"); len(parts) == 4 && parts[1] == "apis" {
		return s.resources(parts[2], parts[3])
	}
	if _, after, ok := strings.Cut(r.Path, "/namespaces/"); ok && strings.Contains(after, "/") {
		namespace, _, _ := strings.Cut(after, "/")
		if s.objects["/api/v1/namespaces/"+namespace] == nil && r.Method != http.MethodGet {
			return http.StatusNotFound, status(404, "NotFound", fmt.Sprintf("namespaces %q not found", namespace), nil)
		}
	}
	live := s.objects[r.Path]
	name := r.Path[strings.LastIndex(r.Path, "/")+1:]
	switch {
	case r.Method == http.MethodGet && live == nil:
		return http.StatusNotFound, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": name + " not found", "details": map[string]any{"name": name}}
	case r.Method == http.MethodGet:
		return http.StatusOK, live
	case r.Type == "application/json-patch+json":
		var patch []struct {
			Path  string
			Value any
		}
		if err := json.Unmarshal([]byte(r.Body), &patch); err != nil {
			return http.StatusBadRequest, status(400, "BadRequest", err.Error(), nil)
		}
		metadata := live["metadata"].(map[string]any)
		for _, p := range patch {
			if p.Path == "/metadata/resourceVersion" && p.Value != metadata["resourceVersion"] {
				return http.StatusConflict, status(409, "Conflict", "the object has been modified", nil)
			}
		}
		live = maps.Clone(live)
		metadata = maps.Clone(metadata)
		metadata["managedFields"] = patch[0].Value
		live["metadata"] = metadata
		s.version++
		metadata["resourceVersion"] = strconv.Itoa(s.version)
		s.objects[r.Path] = live
		return http.StatusOK, live
	}
	var sent map[string]any
	if err := json.Unmarshal([]byte(r.Body), &sent); err != nil {
		return http.StatusBadRequest, status(400, "BadRequest", err.Error(), nil)
	}
	metadata := sent["metadata"].(map[string]any)
	if s := outdated(metadata, live); s != nil && !r.Dry {
		return http.StatusConflict, *s
	}
	metadata["uid"], metadata["resourceVersion"], metadata["generation"] = "u-"+name, "0", 1
	metadata["managedFields"] = []any{map[string]any{"manager": object.FieldManager, "operation": "Apply", "fieldsV1": map[string]any{"f:spec": map[string]any{}}}}
	code := http.StatusCreated
	if live != nil {
		code = http.StatusOK
		old := live["metadata"].(map[string]any)
		metadata["resourceVersion"], metadata["generation"] = old["resourceVersion"], old["generation"]
		if live["status"] != nil {
			sent["status"] = live["status"]
		}
		body, _ := json.Marshal(sent)
		var same map[string]any
		_ = json.Unmarshal(body, &same)
		if equal(live, same) {
			return code, live
		}
	}
	if r.Dry {
		return code, sent
	}
	s.version++
	metadata["resourceVersion"] = strconv.Itoa(s.version)
	body, _ := json.Marshal(sent)
	var stored map[string]any
	_ = json.Unmarshal(body, &stored)
	s.objects[r.Path] = stored
	return code, stored
}

// equal compares two objects but for the server's own part of their metadata.
func equal(a, b map[string]any) bool {
	strip := func(m map[string]any) map[string]any {
		m = maps.Clone(m)
		metadata := maps.Clone(object.Map(m, "metadata"))
		for _, key := range []string{"uid", "resourceVersion", "generation", "managedFields"} {
			delete(metadata, key)
		}
		m["metadata"] = metadata
		return m
	}
	return reflect.DeepEqual(strip(a), strip(b))
}

// outdated is the answer to a write that names another state than the object's.
func outdated(metadata, live map[string]any) *metav1.Status {
	version, _ := metadata["resourceVersion"].(string)
	uid, _ := metadata["uid"].(string)
	conflict := status(409, "Conflict", "the object has been modified; please apply your changes to the latest version and try again", nil)
	if live == nil {
		if version != "" && version != "1" || uid != "" {
			return &conflict
		}
		return nil
	}
	now := object.Map(live, "metadata")
	if version != "" && version != now["resourceVersion"] || uid != "" && uid != now["uid"] {
		return &conflict
	}
	return nil
}

// resources lists the custom resources of the definitions that are stored.
func (s *apiServer) resources(group, version string) (int, any) {
	var list []any
	for path, stored := range s.objects {
		if !strings.Contains(path, "/customresourcedefinitions/") {
			continue
		}
		spec := object.Map(stored, "spec")
		if spec["group"] != group {
			continue
		}
		names := object.Map(spec, "names")
		list = append(list, map[string]any{"name": names["plural"], "kind": names["kind"], "namespaced": spec["scope"] != "Cluster", "verbs": []string{"get", "patch"}})
	}
	if list == nil {
		return http.StatusNotFound, status(404, "NotFound", "the server could not find the requested resource", nil)
	}
	return http.StatusOK, map[string]any{"kind": "APIResourceList", "groupVersion": group + "/" + version, "resources": list}
}

// seen lists the requests in a short form, for those that match.
func (s *apiServer) seen(match func(request) bool) []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []request
	for _, r := range s.requests {
		if match(r) {
			out = append(out, r)
		}
	}
	return out
}

func (s *apiServer) count(match func(request) bool) int { return len(s.seen(match)) }

func (s *apiServer) put(path, body string) {
	var object map[string]any
	if err := json.Unmarshal([]byte(body), &object); err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[path] = object
}

func isWrite(r request) bool { return r.Method != http.MethodGet && !r.Dry }
func isDry(r request) bool   { return r.Dry }
func isGet(r request) bool   { return r.Method == http.MethodGet }

func status(code int32, reason metav1.StatusReason, message string, causes []metav1.StatusCause) metav1.Status {
	s := metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Code: code, Reason: reason, Message: message}
	if causes != nil {
		s.Details = &metav1.StatusDetails{Causes: causes}
	}
	return s
}

func respond(w http.ResponseWriter, s metav1.Status) bool {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(s.Code))
	_ = json.NewEncoder(w).Encode(s)
	return true
}

// decode decodes JSON into an object.
func decode(tb testing.TB, body string) *unstructured.Unstructured {
	tb.Helper()
	u := &unstructured.Unstructured{}
	if err := utiljson.Unmarshal([]byte(body), &u.Object); err != nil {
		tb.Fatalf("%v in %s", err, body)
	}
	return u
}

func configMap(tb testing.TB, name string) *unstructured.Unstructured {
	tb.Helper()
	return decode(tb, fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q},"data":{"a":"b"}}`, name))
}

// objectErrors are the errors at the top of a joined error, each of which must
// belong to an object.
func objectErrors(t *testing.T, err error) []*kube.ObjectError {
	t.Helper()
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	var out []*kube.ObjectError
	for _, e := range list {
		var own *kube.ObjectError
		if !errors.As(e, &own) {
			t.Fatalf("%T %v: want *kube.ObjectError", e, e)
		}
		out = append(out, own)
	}
	return out
}

func lines(changes []kube.Change) []string {
	var out []string
	for _, c := range changes {
		out = append(out, c.String())
	}
	return out
}

func unaltered(t *testing.T, before, after any) {
	t.Helper()
	if !reflect.DeepEqual(before, after) {
		t.Errorf("the caller's object was modified:\n%v\n%v", before, after)
	}
}

func set(objects ...*unstructured.Unstructured) []*unstructured.Unstructured { return objects }
