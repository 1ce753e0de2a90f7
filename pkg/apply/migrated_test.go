package apply

import (
	stdcmp "cmp"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/pkg/kube"
)

const servicePath = "/api/v1/namespaces/default/services/classifier"

// leftService is a Service whose ports one manager owns.
func leftService(manager, operation string) string {
	return `{"apiVersion":"v1","kind":"Service","metadata":{"name":"classifier","uid":"u-classifier","resourceVersion":"7","managedFields":[
{"manager":"kubectl-label","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{".":{},"f:by":{}}}}},
{"manager":"` + manager + `","operation":"` + operation + `","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:ports":{".":{},"k:{\"port\":79,\"protocol\":\"TCP\"}":{".":{},"f:name":{},"f:port":{}}},"f:sessionAffinity":{}}}}]},
"spec":{"ports":[{"name":"http","port":79,"protocol":"TCP"}],"sessionAffinity":"ClientIP"}}`
}

// What client-side tools left is in the server's judgement until a write has
// migrated it: a refusal counts only if the object without it is refused too.
func TestReconsider(t *testing.T) {
	t.Parallel()
	const (
		migrated = `{"apiVersion":"v1","kind":"Service","metadata":{"namespace":"default"},"spec":{"ports":[{"port":80}],"sessionAffinity":null}}`
		claimed  = `{"apiVersion":"v1","kind":"Service","metadata":{"namespace":"default"},"spec":{"ports":[{"port":80}]}}`
	)
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
		merged   string          // what it is asked to become; the default is all that the tool set
		asked    int             // for the migrated object
		refused  string          // "" if it is written
	}{
		{name: "kubectl apply", live: leftService("kubectl-client-side-apply", "Update"), dry: duplicate, asked: 1},
		{name: "kubectl create", live: leftService("kubectl-create", "Update"), dry: duplicate, asked: 1, merged: claimed},
		{name: "a webhook", live: leftService("kubectl-client-side-apply", "Update"), dry: webhook, asked: 1},
		{name: "a node port", live: leftService("kubectl-client-side-apply", "Update"), dry: port, asked: 1},
		{name: "the manifest is wrong", live: leftService("kubectl-client-side-apply", "Update"), dry: duplicate, migrated: []metav1.Status{wrong}, asked: 1, refused: "spec.ports[0].port: 99999"},
		{name: "a controller", live: leftService("argocd-controller", "Update"), dry: duplicate, refused: `managed by "argocd-controller", and would stay beside`},
		{name: "kubectl apply --server-side", live: leftService("kubectl", "Apply"), dry: duplicate, asked: 1},
		{name: "nobody", live: strings.Replace(serviceJSON, `"name":"classifier"`, `"name":"classifier","uid":"u-classifier","resourceVersion":"7"`, 1), dry: duplicate, refused: "spec.ports[1].name"},
		{name: "an unknown field", live: leftService("kubectl-client-side-apply", "Update"), dry: unknown, refused: "spec.port: is not a field"},
		{name: "a user who may not", live: leftService("kubectl-client-side-apply", "Update"), dry: rbac, refused: `"ci" cannot patch services`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, false)
			s.put(servicePath, tc.live)
			s.mistake = func(r request, served bool, w http.ResponseWriter) bool {
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
			changes, err := s.apply(t.Context(), decode(t, serviceJSON))
			merges := s.seen(func(r request) bool { return r.Type == "application/merge-patch+json" })
			if len(merges) != tc.asked {
				t.Errorf("asked %d times for the migrated object, want %d", len(merges), tc.asked)
			}
			for _, r := range merges {
				if diff := cmp.Diff(decode(t, stdcmp.Or(tc.merged, migrated)).Object, decode(t, r.Body).Object); diff != "" || !r.Dry {
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
			if err != nil || len(changes) != 1 || changes[0].Action != kube.Configured {
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
	s.mistake = func(r request, served bool, w http.ResponseWriter) bool {
		return r.Dry && r.Nth < 2 && respond(w, status(422, "Invalid", "…", []metav1.StatusCause{{Field: "spec.ports[1].name", Message: `Duplicate value: "http"`}}))
	}
	if _, err := s.apply(t.Context(), decode(t, serviceJSON)); err != nil {
		t.Fatal(err)
	}
	writes := s.seen(isWrite)
	if len(writes) != 2 || strings.Contains(writes[0].Body, "kubectl-edit") || strings.Contains(writes[0].Body, "kubectl-client-side-apply") {
		t.Errorf("writes %+v", writes)
	}
}
