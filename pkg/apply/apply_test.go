package apply

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
)

const (
	namespaceJSON  = `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"models"}}`
	serviceJSON    = `{"apiVersion":"v1","kind":"Service","metadata":{"name":"classifier"},"spec":{"ports":[{"port":80}]}}`
	deploymentJSON = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"classifier"},"spec":{"replicas":2,"template":{"spec":{"containers":[{"name":"c","image":"x"}]}}}}`
	webhookJSON    = `{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingWebhookConfiguration","metadata":{"name":"w"}}`
	crdJSON        = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"models.example.com"},"spec":{"group":"example.com","scope":"Namespaced","names":{"kind":"Model","plural":"models"},"versions":[{"name":"v1","served":true}]}}`
	customJSON     = `{"apiVersion":"example.com/v1","kind":"Model","metadata":{"name":"m"},"spec":{"size":3}}`
)

func TestObjects(t *testing.T) {
	t.Parallel()
	s := newServer(t, true)
	s.options.Namespace = "models"
	var reported []string
	s.options.Report = func(c kube.Change) { reported = append(reported, c.String()) }
	set := []*unstructured.Unstructured{
		decode(t, webhookJSON), decode(t, customJSON), decode(t, deploymentJSON), decode(t, serviceJSON), decode(t, crdJSON), decode(t, namespaceJSON),
	}
	given, _ := json.Marshal(set)

	changes, err := s.apply(t.Context(), set...)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"customresourcedefinition.apiextensions.k8s.io/models.example.com created",
		"namespace/models created",
		"service/classifier created",
		"model.example.com/m created",
		"deployment.apps/classifier created",
		"validatingwebhookconfiguration.admissionregistration.k8s.io/w created",
	}
	if diff := cmp.Diff(want, lines(changes)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, reported); diff != "" {
		t.Error("reported", diff)
	}
	for _, c := range changes {
		if c.Before != nil || c.After.GetResourceVersion() == "" || c.After.GetGeneration() != 1 || c.Started.IsZero() || c.Took <= 0 {
			t.Errorf("change %+v", c)
		}
		if c.Name != c.After.GetName() || c.Namespace != c.After.GetNamespace() {
			t.Errorf("%v is %s", c.ID(), c.After.GetName())
		}
		if c.Namespaced != (c.After.GetNamespace() == "models") {
			t.Errorf("%s: namespaced %t in %q", c, c.Namespaced, c.After.GetNamespace())
		}
	}
	if after, _ := json.Marshal(set); string(after) != string(given) {
		unaltered(t, string(given), string(after))
	}
	var stages []string
	for _, w := range s.seen(isWrite) {
		stages = append(stages, w.Path)
	}
	slices.Sort(stages[:2])
	slices.Sort(stages[3:5])
	wantPaths := []string{
		"/api/v1/namespaces/models",
		"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/models.example.com",
		"/api/v1/namespaces/models/services/classifier",
		"/apis/apps/v1/namespaces/models/deployments/classifier",
		"/apis/example.com/v1/namespaces/models/models/m",
		"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/w",
	}
	if diff := cmp.Diff(wantPaths, stages); diff != "" {
		t.Error(diff)
	}
	if n := len(s.seen(func(request) bool { return true })); n > 3*len(set)+1 {
		t.Errorf("%d requests for %d new objects", n, len(set))
	}

	// The definition is established by now, as its status says.
	crd := set[4].DeepCopy()
	s.mu.Lock()
	s.objects["/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"+crd.GetName()]["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Established", "status": "True"}}}
	s.requests = nil
	s.mu.Unlock()
	changes, err = s.apply(t.Context(), set...)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range changes {
		if c.Action != kube.Unchanged || c.Before == nil || c.After == nil {
			t.Errorf("change %d: %s", i, c)
		}
	}
	if n := len(s.seen(func(request) bool { return true })); n != 2*len(set) {
		t.Errorf("%d requests for %d unchanged objects: %v", n, len(set), s.requests)
	}
}

func TestConfigured(t *testing.T) {
	t.Parallel()
	s := newServer(t, false)
	if _, err := s.apply(t.Context(), decode(t, serviceJSON), decode(t, deploymentJSON)); err != nil {
		t.Fatal(err)
	}
	set := []*unstructured.Unstructured{decode(t, strings.Replace(deploymentJSON, `"x"`, `"y"`, 1)), decode(t, serviceJSON)}
	changes, err := s.apply(t.Context(), set...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"service/classifier unchanged", "deployment.apps/classifier configured"}, lines(changes)); diff != "" {
		t.Error(diff)
	}
	if c := changes[1]; c.Before.GetResourceVersion() == c.After.GetResourceVersion() {
		t.Errorf("change %+v", c)
	}
}

func TestOneWrongObjectStopsAll(t *testing.T) {
	t.Parallel()
	s := newServer(t, true)
	s.mistake = func(r request, served bool, w http.ResponseWriter) bool {
		switch {
		case r.Method == http.MethodPatch && strings.HasSuffix(r.Path, "/bad1"):
			return respond(w, status(422, "Invalid", "…", []metav1.StatusCause{{Message: "Required value", Field: "data.x"}, {Message: `Invalid value: {"a":"canary"}: wrong`, Field: "data.y"}}))
		case strings.HasSuffix(r.Path, "/bad2") && r.Method == http.MethodPatch:
			return respond(w, status(500, "", "failed to create typed patch object (default/bad2; v1, Kind=ConfigMap): .dataa: field not declared in schema", nil))
		case r.Method == http.MethodPost:
			return respond(w, status(400, "BadRequest", `ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "dataa", unknown field "metadata.lables"`, nil))
		}
		return false
	}
	set := []*unstructured.Unstructured{
		configMap(t, "bad2"), configMap(t, "good"), configMap(t, "bad1"), configMap(t, "good"),
		decode(t, `{"apiVersion":"apps/v1","kind":"Deploymnt","metadata":{"name":"x"}}`),
		decode(t, `{"apiVersion":"v1","kind":"Secret","metadata":{}}`),
	}
	changes, err := s.apply(t.Context(), set...)
	if n := s.count(isWrite); len(changes) != 0 || n != 0 {
		t.Errorf("changes %v, writes %d", changes, n)
	}
	type line struct{ Object, Field string }
	var got []line
	for _, e := range objectErrors(t, err) {
		got = append(got, line{e.ID.String(), e.Field})
		if strings.Contains(e.Error(), "canary") {
			t.Errorf("a body is in the error: %v", e)
		}
	}
	want := []line{
		{"ConfigMap default/bad2", "dataa"},
		{"ConfigMap default/bad2", "metadata.lables"},
		{"ConfigMap default/bad1", "data.x"},
		{"ConfigMap default/bad1", "data.y"},
		{"ConfigMap default/good", ""},
		{"Deploymnt x", ""},
		{"Secret ", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s\n%v", diff, err)
	}
}

// Whatever the order of the files, a set that brings its own namespace and
// definition is applied in one run.
func TestShuffled(t *testing.T) {
	t.Parallel()
	set := []*unstructured.Unstructured{decode(t, namespaceJSON), decode(t, crdJSON), decode(t, webhookJSON)}
	for i := range 100 {
		set = append(set,
			decode(t, fmt.Sprintf(`{"apiVersion":"example.com/v1","kind":"Model","metadata":{"name":"m%d","namespace":"models"}}`, i)),
			decode(t, fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c%d","namespace":"models"}}`, i)),
			decode(t, fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d%d"}}`, i)))
	}
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			shuffled := slices.Clone(set)
			rand.New(rand.NewPCG(seed, 0)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			s := newServer(t, true)
			var mu sync.Mutex
			inFlight, most := 0, 0
			s.mistake = func(r request, served bool, _ http.ResponseWriter) bool {
				mu.Lock()
				defer mu.Unlock()
				if !served {
					inFlight++
					most = max(most, inFlight)
				} else {
					inFlight--
				}
				return false
			}
			s.kube.Concurrency = 8
			changes, err := s.apply(t.Context(), shuffled...)
			if err != nil || len(changes) != len(set) {
				t.Fatalf("%d of %d: %v", len(changes), len(set), err)
			}
			if most > 8 {
				t.Errorf("%d requests in flight", most)
			}
			if n := s.count(func(request) bool { return true }); n > 3*len(set)+4 {
				t.Errorf("%d requests for %d objects", n, len(set))
			}
			dry := s.count(isDry)
			if dry != len(set) {
				t.Errorf("%d dry runs for %d objects", dry, len(set))
			}
		})
	}
}

func TestUnknownGroupIsAskedOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t, false)
	s.put("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/models.example.com", crdJSON)
	set := []*unstructured.Unstructured{decode(t, customJSON), decode(t, strings.Replace(customJSON, `"m"`, `"n"`, 1))}
	if _, err := s.apply(t.Context(), set...); err != nil {
		t.Fatal(err)
	}
	if n := s.count(func(r request) bool { return r.Path == "/apis/example.com/v1" }); n != 1 {
		t.Errorf("asked %d times", n)
	}
	_, err := s.apply(t.Context(), decode(t, strings.Replace(customJSON, "Model", "model", 1)))
	if err == nil || !strings.Contains(err.Error(), `example.com/v1 has no kind "model": write "Model"`) {
		t.Error(err)
	}
}

// A status that is written while we look at an object is not a change of ours.
func TestStatusWrittenMeanwhile(t *testing.T) {
	t.Parallel()
	const path = "/apis/apps/v1/namespaces/default/deployments/classifier"
	for _, tc := range []struct {
		name   string
		always bool
		writes int
	}{
		{"once, between snapshot and dry run", false, 0},
		{"before every request", true, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, false)
			set := []*unstructured.Unstructured{decode(t, deploymentJSON)}
			if _, err := s.apply(t.Context(), set...); err != nil {
				t.Fatal(err)
			}
			moved := func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.version++
				live := decode(t, string(must(json.Marshal(s.objects[path]))))
				live.SetResourceVersion(strconv.Itoa(s.version))
				live.Object["status"] = map[string]any{"observedGeneration": s.version}
				s.objects[path] = live.Object
			}
			s.mu.Lock()
			s.requests = nil
			s.mu.Unlock()
			read := make(chan struct{})
			s.mistake = func(r request, served bool, _ http.ResponseWriter) bool {
				switch {
				case tc.always && !served:
					moved()
				case tc.always:
				case isGet(r) && served && r.Nth == 0:
					moved()
					close(read)
				case r.Dry && !served:
					<-read
				}
				return false
			}
			changes, err := s.apply(t.Context(), set...)
			if err != nil || len(changes) != 1 || changes[0].Action != kube.Unchanged {
				t.Errorf("%v, %v", lines(changes), err)
			}
			if n := s.count(isWrite); n != tc.writes {
				t.Errorf("%d writes, want %d", n, tc.writes)
			}
		})
	}
}

// A class whose definition comes in the same set follows its definition, though
// classes usually come first.
func TestClassOfASetsOwnDefinition(t *testing.T) {
	t.Parallel()
	s := newServer(t, false)
	class := decode(t, `{"apiVersion":"gateway.networking.k8s.io/v1","kind":"GatewayClass","metadata":{"name":"c"}}`)
	crd := decode(t, `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"gatewayclasses.gateway.networking.k8s.io"},"spec":{"group":"gateway.networking.k8s.io","scope":"Cluster","names":{"kind":"GatewayClass","plural":"gatewayclasses"},"versions":[{"name":"v1","served":true}]}}`)
	changes, err := s.apply(t.Context(), class, crd)
	if err != nil || len(changes) != 2 || changes[0].Kind != "CustomResourceDefinition" {
		t.Errorf("%v, %v", lines(changes), err)
	}
}

func TestReportedAsSoonAsKnown(t *testing.T) {
	t.Parallel()
	s := newServer(t, false)
	var mu sync.Mutex
	var reported []string
	s.options.Report = func(c kube.Change) {
		mu.Lock()
		defer mu.Unlock()
		reported = append(reported, c.String())
	}
	s.mistake = func(r request, served bool, _ http.ResponseWriter) bool {
		mu.Lock()
		defer mu.Unlock()
		if isWrite(r) && strings.Contains(r.Path, "deployments") && len(reported) != 1 {
			t.Errorf("reported before the Deployment is written: %v", reported)
		}
		return false
	}
	if _, err := s.apply(t.Context(), decode(t, deploymentJSON), decode(t, serviceJSON)); err != nil {
		t.Fatal(err)
	}
}

func must(body []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return body
}

func TestFailedWriteStopsTheRest(t *testing.T) {
	t.Parallel()
	s := newServer(t, true)
	s.kube.Concurrency = 1
	s.mistake = func(r request, served bool, w http.ResponseWriter) bool {
		return isWrite(r) && strings.HasSuffix(r.Path, "/b") && respond(w, status(403, "Forbidden", `exceeded quota: compute, requested: pods=1, used: pods=10, limited: pods=10`, nil))
	}
	set := []*unstructured.Unstructured{configMap(t, "a"), configMap(t, "b"), configMap(t, "c"), decode(t, deploymentJSON)}
	changes, err := s.apply(t.Context(), set...)
	if diff := cmp.Diff([]string{"configmap/a created"}, lines(changes)); diff != "" {
		t.Error(diff)
	}
	var own *kube.ObjectError
	if !errors.As(err, &own) || own.ID.Name != "b" || !strings.Contains(own.Error(), `quota "compute"`) {
		t.Error(err)
	}
	if n := s.count(isWrite); n != 2 {
		t.Errorf("%d writes", n)
	}
}

func TestNamespaceBeingDeleted(t *testing.T) {
	t.Parallel()
	s := newServer(t, true)
	s.put("/api/v1/namespaces/models", `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"models","deletionTimestamp":"2026-01-01T00:00:00Z"}}`)
	_, err := s.apply(t.Context(), decode(t, namespaceJSON))
	if err == nil || !strings.Contains(err.Error(), "Namespace models: is being deleted") || s.count(isWrite) != 0 {
		t.Error(err)
	}
}

func TestDefinitionNeverServed(t *testing.T) {
	t.Parallel()
	s := newServer(t, true)
	s.mistake = func(r request, served bool, w http.ResponseWriter) bool {
		switch {
		case r.Path == "/apis/example.com/v1":
			return respond(w, status(404, "NotFound", "the server could not find the requested resource", nil))
		case served && isWrite(r) && strings.Contains(r.Path, "customresourcedefinitions"):
			s.put(r.Path, strings.Replace(crdJSON, `"spec"`, `"status":{"conditions":[{"type":"NamesAccepted","status":"False","message":"\"Model\" is already in use"}]},"spec"`, 1))
		}
		return false
	}
	started := time.Now()
	changes, err := s.apply(t.Context(), decode(t, customJSON), decode(t, crdJSON))
	if len(changes) != 1 || err == nil || !strings.Contains(err.Error(), `"Model" is already in use`) {
		t.Errorf("%v, %v", lines(changes), err)
	}
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestExcusedByTheSet(t *testing.T) {
	t.Parallel()
	s := newServer(t, true)
	s.mistake = func(r request, served bool, w http.ResponseWriter) bool {
		s.mu.Lock()
		account := s.objects["/api/v1/namespaces/default/serviceaccounts/loader"]
		s.mu.Unlock()
		// Another replica of the server learns of the account a little later.
		unknown := account == nil || isWrite(r) && r.Nth < 2
		return r.Method == http.MethodPatch && strings.Contains(r.Path, "/pods/") && unknown &&
			respond(w, status(403, "Forbidden", `pods "p" is forbidden: error looking up service account default/loader: serviceaccount "loader" not found`, nil))
	}
	pod := decode(t, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"}}`)
	account := decode(t, `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"loader"}}`)
	if _, err := s.apply(t.Context(), pod); err == nil {
		t.Error("a ServiceAccount that nobody brings was excused")
	}
	changes, err := s.apply(t.Context(), pod, account)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"serviceaccount/loader created", "pod/p created"}, lines(changes)); diff != "" {
		t.Error(diff)
	}
}
