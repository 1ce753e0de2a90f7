package apply

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestParseConflict(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]conflict{
		`conflict with "kubectl" with subresource "scale" using apps/v1`:     {manager: "kubectl", subresource: "scale", update: true},
		`conflict with "kubectl-client-side-apply" using apps/v1`:            {manager: "kubectl-client-side-apply", update: true},
		`conflict with "kubectl-edit" using apps/v1 at 2026-01-01T00:00:00Z`: {manager: "kubectl-edit", update: true},
		`conflict with "argocd"`:          {manager: "argocd"},
		`conflict with "a \"b\" using c"`: {manager: `a "b" using c`},
		`something else`:                  {manager: "another manager"},
		`conflict with "kube-controller-manager" with subresource "status" using v1`: {manager: "kube-controller-manager", subresource: "status", update: true},
	} {
		if got := parseConflict(message); got != want {
			t.Errorf("%s: %+v", message, got)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	const with = ` using apps/v1`
	for _, tc := range []struct {
		name             string
		path, message    string
		adopted          []string
		dropped, refused bool
	}{
		{"kubectl apply", ".spec.replicas", `conflict with "kubectl-client-side-apply"` + with, []string{"kubectl-client-side-apply"}, false, false},
		{"kubectl edit", ".spec.template", `conflict with "kubectl-edit"` + with, []string{"kubectl-edit"}, false, false},
		{"helm", ".spec.template", `conflict with "helm"` + with, []string{"helm"}, false, false},
		{"ourselves by update", ".spec.template", `conflict with "deploy-model-action"` + with, []string{"deploy-model-action"}, false, false},
		{"kubectl scale", ".spec.replicas", `conflict with "kubectl" with subresource "scale"` + with, nil, true, false},
		{"HPA", ".spec.replicas", `conflict with "kube-controller-manager" with subresource "scale"` + with, nil, true, false},
		{"autoscaler without scale", ".spec.replicas", `conflict with "vpa-autoscaler"` + with, nil, true, false},
		{"autoscaler, not replicas", ".spec.template", `conflict with "vpa-autoscaler"` + with, nil, false, true},
		{"kubectl apply --server-side", ".spec.replicas", `conflict with "kubectl"`, nil, false, true},
		{"controller", ".spec.replicas", `conflict with "argocd-controller"` + with, nil, false, true},
		{"kubectl through status", ".status.replicas", `conflict with "kubectl-edit" with subresource "status"` + with, nil, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			it := itemOf(t, deploymentJSON)
			given := it.object
			before, _ := json.Marshal(given)
			c := parseConflict(tc.message)
			c.path = tc.path
			r := newRun(Options{}, 0)
			err := r.resolve(it, []conflict{c})
			if (err != nil) != tc.refused {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(tc.adopted, it.csa); diff != "" {
				t.Error(diff)
			}
			if _, ok := mapAt(it.object.Object, "spec")["replicas"]; ok == tc.dropped {
				t.Errorf("replicas sent: %t", ok)
			}
			if after, _ := json.Marshal(given); string(after) != string(before) {
				unaltered(t, string(before), string(after))
			}
		})
	}
}

const managedJSON = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"classifier","resourceVersion":"7","managedFields":[
{"manager":"deploy-model-action","operation":"Apply","apiVersion":"apps/v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:replicas":{},"f:paused":{}}}},
{"manager":"kubectl-client-side-apply","operation":"Update","apiVersion":"apps/v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:annotations":{"f:kubectl.kubernetes.io/last-applied-configuration":{}}},"f:spec":{"f:minReadySeconds":{}}}},
{"manager":"argocd-controller","operation":"Update","apiVersion":"apps/v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:annotations":{"f:kubectl.kubernetes.io/last-applied-configuration":{}}}}},
{"manager":"kube-controller-manager","operation":"Update","apiVersion":"apps/v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","subresource":"status","fieldsV1":{"f:status":{"f:replicas":{}}}}]},
"spec":{"replicas":4}}`

func TestInherit(t *testing.T) {
	t.Parallel()
	it := itemOf(t, deploymentJSON)
	it.before = object(t, managedJSON)
	r := newRun(Options{}, 0)
	r.inherit(it)
	if diff := cmp.Diff([]string{kubectlApply}, it.csa); diff != "" || it.handover {
		t.Error(diff, it.handover)
	}
	// Replicas leave the manifest, and an autoscaler in the set takes them.
	unstructured.RemoveNestedField(it.object.Object, "spec", "replicas")
	r.inherit(it)
	if it.handover {
		t.Error("handed over to nobody")
	}
	scaler := itemOf(t, `{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":"h"},"spec":{"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"classifier"}}}`)
	r.scaled = scaled([]*item{scaler})
	r.inherit(it)
	if !it.handover {
		t.Error("not handed over")
	}
}

func TestOwnershipPatch(t *testing.T) {
	t.Parallel()
	it := itemOf(t, deploymentJSON)
	live := object(t, managedJSON)
	it.csa, it.handover = []string{kubectlApply}, true
	body, err := it.ownershipPatch(live)
	if err != nil {
		t.Fatal(err)
	}
	unaltered(t, object(t, managedJSON).Object, live.Object)
	var patch []struct {
		Op, Path string
		Value    json.RawMessage
	}
	if err := json.Unmarshal(body, &patch); err != nil {
		t.Fatal(err)
	}
	if patch[1].Op != "replace" || patch[1].Path != "/metadata/resourceVersion" || string(patch[1].Value) != `"7"` {
		t.Errorf("not bound to the version: %+v", patch[1])
	}
	var entries []metav1.ManagedFieldsEntry
	if err := json.Unmarshal(patch[0].Value, &entries); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		fields, _ := json.Marshal(e.FieldsV1)
		got = append(got, fmt.Sprintf("%s %s %s %s", e.Manager, e.Operation, e.Subresource, fields))
	}
	want := []string{
		`deploy-model-action Apply  {"f:metadata":{"f:annotations":{"f:kubectl.kubernetes.io/last-applied-configuration":{}}},"f:spec":{"f:minReadySeconds":{},"f:paused":{}}}`,
		`argocd-controller Update  {"f:metadata":{"f:annotations":{"f:kubectl.kubernetes.io/last-applied-configuration":{}}}}`,
		`kube-controller-manager Update status {"f:status":{"f:replicas":{}}}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	live.SetManagedFields(entries)
	if body, err := it.ownershipPatch(live); err != nil || body != nil {
		t.Errorf("a second time: %s, %v", body, err)
	}
}

// A set whose objects kubectl made is taken over, while somebody else writes to
// the object between our read and our patch.
func TestMigration(t *testing.T) {
	t.Parallel()
	s := newServer(t, true)
	path := "/apis/apps/v1/namespaces/default/deployments/classifier"
	s.put(path, managedJSON)
	var logged []string
	var mu sync.Mutex
	s.options.Log = func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		logged = append(logged, fmt.Sprintf(format, args...))
	}
	s.fault = func(r request, served bool, w http.ResponseWriter) bool {
		if strings.HasPrefix(r.Type, "application/json-patch") && !served && r.Nth == 0 {
			s.put(path, strings.Replace(managedJSON, `"resourceVersion":"7"`, `"resourceVersion":"8"`, 1))
			s.mu.Lock()
			s.version = 8
			s.mu.Unlock()
		}
		return r.Dry && r.Force != "true" && respond(w, status(409, "Conflict", "Apply failed with 2 conflicts", []metav1.StatusCause{
			{Type: metav1.CauseTypeFieldManagerConflict, Message: `conflict with "kubectl-client-side-apply" using apps/v1`, Field: ".spec.template"},
			{Type: metav1.CauseTypeFieldManagerConflict, Message: `conflict with "kube-controller-manager" with subresource "scale" using apps/v1`, Field: ".spec.replicas"},
		}))
	}
	changes, err := Objects(t.Context(), []*unstructured.Unstructured{object(t, deploymentJSON)}, s.options)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"deployment.apps/classifier configured"}, lines(changes)); diff != "" {
		t.Error(diff)
	}
	wantLog := []string{
		`Deployment default/classifier: spec.replicas is left to "kube-controller-manager", which scales it`,
		`Deployment default/classifier: fields that kubectl-client-side-apply set are now managed by deploy-model-action`,
	}
	if diff := cmp.Diff(wantLog, logged); diff != "" {
		t.Error(diff)
	}
	writes := s.seen(isWrite)
	if len(writes) != 3 || writes[0].Type != "application/json-patch+json" || writes[1].Type != writes[0].Type || strings.Contains(writes[2].Body, "replicas") || writes[2].Force != "false" {
		t.Errorf("writes %+v", writes)
	}
	if !strings.Contains(writes[0].Body, `"value":"7"`) || !strings.Contains(writes[1].Body, `"value":"8"`) {
		t.Errorf("versions of the patches: %s\n%s", writes[0].Body, writes[1].Body)
	}
}

func TestForceConflicts(t *testing.T) {
	t.Parallel()
	for _, force := range []bool{false, true} {
		s := newServer(t, false)
		s.options.ForceConflicts = force
		if _, err := Objects(t.Context(), []*unstructured.Unstructured{configMap(t, "x")}, s.options); err != nil {
			t.Fatal(err)
		}
		for _, r := range s.seen(func(r request) bool { return r.Method == http.MethodPatch }) {
			if r.Force != strconv.FormatBool(force) {
				t.Errorf("%s: force %s", r, r.Force)
			}
		}
	}
}

func TestSame(t *testing.T) {
	t.Parallel()
	const live = `{"metadata":{"name":"x","resourceVersion":"5","managedFields":[{"manager":"a","time":"1"}]},"spec":{"a":1},"status":{"b":2}}`
	for dry, want := range map[string]bool{
		live: true,
		strings.Replace(live, `"time":"1"`, `"time":"2"`, 1):                       true,
		strings.Replace(live, `"manager":"a"`, `"manager":"b"`, 1):                 false,
		strings.Replace(live, `"a":1`, `"a":2`, 1):                                 false,
		strings.Replace(live, `"a":1`, `"a":1,"c":null`, 1):                        false,
		strings.Replace(live, `"b":2`, `"b":3`, 1):                                 false,
		strings.Replace(live, `"resourceVersion":"5"`, `"resourceVersion":"6"`, 1): false,
		strings.Replace(live, `[{"manager":"a","time":"1"}]`, `[]`, 1):             false,
	} {
		if got := same(object(t, live).Object, object(t, dry).Object); got != want {
			t.Errorf("%s: %t", dry, got)
		}
	}
	bare := object(t, `{"metadata":{"name":"x"}}`).Object
	if !same(bare, object(t, `{"metadata":{"name":"x","managedFields":[{"manager":"before-first-apply","operation":"Update"}]}}`).Object) {
		t.Error("the entry that the server invents counts")
	}
	if same(bare, object(t, `{"metadata":{"name":"x","managedFields":[{"manager":"deploy-model-action","operation":"Apply"}]}}`).Object) {
		t.Error("becoming the owner does not count")
	}
}
