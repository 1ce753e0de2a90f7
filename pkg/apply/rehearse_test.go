package apply

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const servicePath = "/api/v1/namespaces/default/services/classifier"

// leftService is a Service whose ports one manager owns.
func leftService(manager, operation string) string {
	return `{"apiVersion":"v1","kind":"Service","metadata":{"name":"classifier","resourceVersion":"7","managedFields":[
{"manager":"kubectl-label","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{".":{},"f:by":{}}}}},
{"manager":"` + manager + `","operation":"` + operation + `","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:ports":{".":{},"k:{\"port\":79,\"protocol\":\"TCP\"}":{".":{},"f:name":{},"f:port":{}}},"f:sessionAffinity":{}}}}]},
"spec":{"ports":[{"name":"http","port":79,"protocol":"TCP"}],"sessionAffinity":"ClientIP"}}`
}

// What client-side tools left is in the server's judgement until a write has
// migrated it: a refusal counts only if the object without it is refused too.
func TestReconsider(t *testing.T) {
	t.Parallel()
	const migrated = `{"apiVersion":"v1","kind":"Service","metadata":{"name":"classifier","namespace":"default"},"spec":{"ports":[{"port":80}],"sessionAffinity":null}}`
	duplicate := status(422, "Invalid", "…", []metav1.StatusCause{{Type: "FieldValueDuplicate", Field: "spec.ports[1].name", Message: `Duplicate value: "http"`}})
	webhook := status(403, "Forbidden", `admission webhook "ports.example.com" denied the request: 79 is not allowed`, nil)
	port := status(500, "InternalError", "Internal error occurred: duplicate nodePort: {TCP 30123}", nil)
	unknown := status(500, "", `failed to create typed patch object (default/classifier; v1, Kind=Service): .spec.port: field not declared in schema`, nil)
	rbac := status(403, "Forbidden", `services "classifier" is forbidden: User "ci" cannot patch resource "services" in API group "" in the namespace "default"`, nil)
	wrong := status(422, "Invalid", "…", []metav1.StatusCause{{Type: "FieldValueInvalid", Field: "spec.ports[0].port", Message: `Invalid value: 99999: must be between 1 and 65535, inclusive`}})
	for _, tc := range []struct {
		name     string
		live     string
		dry      metav1.Status
		migrated []metav1.Status // refusals, one by one
		asked    int             // for the migrated object
		refused  string          // "" if it is written
	}{
		{name: "kubectl apply", live: leftService(kubectlApply, "Update"), dry: duplicate, asked: 1},
		{name: "kubectl create", live: leftService("kubectl-create", "Update"), dry: duplicate, asked: 1},
		{name: "a webhook", live: leftService(kubectlApply, "Update"), dry: webhook, asked: 1},
		{name: "a node port", live: leftService(kubectlApply, "Update"), dry: port, asked: 1},
		{name: "the manifest is wrong", live: leftService(kubectlApply, "Update"), dry: duplicate, migrated: []metav1.Status{wrong}, asked: 1, refused: "spec.ports[0].port: 99999"},
		{name: "a controller", live: leftService("argocd-controller", "Update"), dry: duplicate, refused: "spec.ports[1].name"},
		{name: "kubectl apply --server-side", live: leftService("kubectl", "Apply"), dry: duplicate, refused: "spec.ports[1].name"},
		{name: "nobody", live: serviceJSON, dry: duplicate, refused: "spec.ports[1].name"},
		{name: "an unknown field", live: leftService(kubectlApply, "Update"), dry: unknown, refused: "spec.port: is not a field"},
		{name: "a user who may not", live: leftService(kubectlApply, "Update"), dry: rbac, refused: `"ci" cannot patch services`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, false)
			s.put(servicePath, tc.live)
			s.fault = func(r request, served bool, w http.ResponseWriter) bool {
				switch {
				case served || !r.Dry || r.Method != http.MethodPatch:
					return false
				case r.Type != "application/merge-patch+json":
					return respond(w, tc.dry)
				case r.Nth-1 < len(tc.migrated): // the dry run was the first
					return respond(w, tc.migrated[r.Nth-1])
				}
				return false
			}
			changes, err := Objects(t.Context(), []*unstructured.Unstructured{object(t, serviceJSON)}, s.options)
			merges := s.seen(func(r request) bool { return r.Type == "application/merge-patch+json" })
			if len(merges) != tc.asked {
				t.Errorf("asked %d times for the migrated object, want %d", len(merges), tc.asked)
			}
			for _, r := range merges {
				if diff := cmp.Diff(object(t, migrated).Object, object(t, r.Body).Object); diff != "" || !r.Dry {
					t.Errorf("dry %t: %s", r.Dry, diff)
				}
			}
			if n := s.count(func(r request) bool { return isDry(r) && strings.HasPrefix(r.Type, "application/apply-patch") }); n != 1 {
				t.Errorf("%d dry runs of the apply", n)
			}
			writes := s.seen(isWrite)
			if tc.refused != "" {
				if err == nil || !strings.Contains(err.Error(), tc.refused) || len(writes) > 0 {
					t.Errorf("%d writes, %v", len(writes), err)
				}
				return
			}
			if err != nil || len(changes) != 1 || changes[0].Action != Configured {
				t.Fatalf("%v, %v", lines(changes), err)
			}
			if len(writes) != 2 || writes[0].Type != "application/json-patch+json" || !strings.HasPrefix(writes[1].Type, "application/apply-patch") || writes[1].Force != "false" {
				t.Errorf("writes %+v", writes)
			}
			if label := `"manager":"kubectl-label"`; !strings.Contains(writes[0].Body, label) {
				t.Errorf("a label set by hand was taken over: %s", writes[0].Body)
			}
		})
	}
}

// A second look may take over from more tools than the first.
func TestReconsiderTwice(t *testing.T) {
	t.Parallel()
	s := newServer(t, false)
	s.put(servicePath, strings.Replace(leftService("kubectl-edit", "Update"), `"managedFields":[`, `"managedFields":[{"manager":"kubectl-client-side-apply","operation":"Update","fieldsV1":{"f:spec":{"f:type":{}}}},`, 1))
	s.fault = func(r request, served bool, w http.ResponseWriter) bool {
		return r.Dry && r.Nth < 2 && respond(w, status(422, "Invalid", "…", []metav1.StatusCause{{Field: "spec.ports[1].name", Message: `Duplicate value: "http"`}}))
	}
	if _, err := Objects(t.Context(), []*unstructured.Unstructured{object(t, serviceJSON)}, s.options); err != nil {
		t.Fatal(err)
	}
	writes := s.seen(isWrite)
	if len(writes) != 2 || strings.Contains(writes[0].Body, "kubectl-edit") || strings.Contains(writes[0].Body, kubectlApply) {
		t.Errorf("writes %+v", writes)
	}
}

func TestMigrated(t *testing.T) {
	t.Parallel()
	const live = `{"replicas":1,"paused":true,"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1}},"selector":{"matchLabels":{"app":"a","old":"b"}},"template":{"metadata":{"annotations":{"a":"1","b":"2"}},"spec":{"dnsPolicy":"Default","containers":[{"name":"old"}],"volumes":[{"name":"v"}]}}}`
	for _, tc := range []struct {
		name                string
		kubectl, we, others string // of the spec; "" owns nothing
		manifest, want      string // the spec
	}{
		{"nobody's fields stay", "", "", "", `{"replicas":2}`, `{"replicas":2}`},
		{"kubectl's go", `{"f:replicas":{},"f:paused":{}}`, "", "", `{"replicas":2}`, `{"replicas":2,"paused":null}`},
		{"so do ours", "", `{"f:paused":{}}`, "", `{}`, `{"paused":null}`},
		{"others' stay", `{"f:replicas":{},"f:paused":{}}`, "", `{"f:paused":{}}`, `{}`, `{"replicas":null}`},
		{"fields below", `{"f:strategy":{"f:rollingUpdate":{".":{},"f:maxSurge":{}},"f:type":{}}}`, "", "", `{"strategy":{"type":"Recreate"}}`, `{"strategy":{"type":"Recreate","rollingUpdate":null}}`},
		{"a struct that is left empty", `{"f:strategy":{"f:rollingUpdate":{".":{},"f:maxSurge":{}},"f:type":{}}}`, "", "", `{}`, `{"strategy":{"type":null,"rollingUpdate":null}}`},
		{"a map that is shared", `{"f:template":{"f:metadata":{"f:annotations":{".":{},"f:a":{}}}}}`, "", `{"f:template":{"f:metadata":{"f:annotations":{"f:b":{}}}}}`, `{}`, `{"template":{"metadata":{"annotations":{"a":null}}}}`},
		{"an atomic map", `{"f:selector":{}}`, "", "", `{"selector":{"matchLabels":{"app":"a"}}}`, `{"selector":{"matchLabels":{"app":"a","old":null}}}`},
		{"lists", `{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"old\"}":{".":{},"f:name":{}}},"f:volumes":{".":{},"k:{\"name\":\"v\"}":{".":{},"f:name":{}}}}}}`, "", "", `{"template":{"spec":{"containers":[{"name":"new"}]}}}`, `{"template":{"spec":{"containers":[{"name":"new"}],"volumes":null}}}`},
		{"fields of another version", `{"f:rollbackTo":{"f:revision":{}}}`, "", "", `{}`, `{}`},
		{"null in the manifest", `{"f:strategy":{"f:type":{}}}`, "", "", `{"strategy":null}`, `{"strategy":null}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			entry := func(manager, operation, spec string) map[string]any {
				return map[string]any{"manager": manager, "operation": operation, "fieldsV1": map[string]any{"f:spec": object(t, spec).Object}}
			}
			var list []any
			if tc.kubectl != "" {
				list = append(list, entry(kubectlApply, "Update", tc.kubectl))
			}
			if tc.we != "" {
				list = append(list, entry(FieldManager, "Apply", tc.we))
			}
			if tc.others != "" {
				list = append(list, entry("controller", "Update", tc.others))
			}
			it := &item{object: object(t, `{"spec":`+tc.manifest+`}`), csa: []string{kubectlApply}}
			it.before = object(t, `{"metadata":{},"spec":`+live+`}`)
			it.before.Object["metadata"] = map[string]any{"managedFields": list}
			want := object(t, `{"spec":`+tc.want+`}`).Object
			if diff := cmp.Diff(want, it.migrated()); diff != "" {
				t.Error(diff)
			}
			unaltered(t, object(t, `{"spec":`+tc.manifest+`}`).Object, it.object.Object)
			unaltered(t, object(t, live).Object, it.before.Object["spec"])
		})
	}
}

// A refusal that repeats must not be taken for the server's trouble.
func TestPortTakenIsFinal(t *testing.T) {
	t.Parallel()
	refusal := status(500, "InternalError", "Internal error occurred: duplicate nodePort: {TCP 30123}", nil)
	if passes(&apierrors.StatusError{ErrStatus: refusal}, false) {
		t.Error("repeated")
	}
	if judged(errors.New("duplicate")) {
		t.Error("an error without a status was judged")
	}
}
