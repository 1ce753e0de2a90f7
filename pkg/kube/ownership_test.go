package kube

import (
	"strings"
	"testing"

	"github.com/org/deploy-model-action/pkg/object"
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

const managedJSON = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"classifier","resourceVersion":"7","managedFields":[
{"manager":"deploy-model-action","operation":"Apply","apiVersion":"apps/v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:replicas":{},"f:paused":{}}}},
{"manager":"kubectl-client-side-apply","operation":"Update","apiVersion":"apps/v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:annotations":{"f:kubectl.kubernetes.io/last-applied-configuration":{}}},"f:spec":{"f:minReadySeconds":{}}}},
{"manager":"argocd-controller","operation":"Update","apiVersion":"apps/v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:annotations":{"f:kubectl.kubernetes.io/last-applied-configuration":{}}}}},
{"manager":"kube-controller-manager","operation":"Update","apiVersion":"apps/v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","subresource":"status","fieldsV1":{"f:status":{"f:replicas":{}}}}]},
"spec":{"replicas":4}}`

func TestSame(t *testing.T) {
	t.Parallel()
	const live = `{"metadata":{"name":"x","resourceVersion":"5","annotations":{"deploy-model-action/run":"7-1","a":"b"},"managedFields":[{"manager":"a","time":"1"},{"manager":"deploy-model-action","operation":"Apply","fieldsV1":{"f:metadata":{"f:annotations":{"f:a":{},"f:deploy-model-action/run":{}}}}}]},"spec":{"a":1},"status":{"b":2}}`
	unmarked := strings.NewReplacer(`"deploy-model-action/run":"7-1",`, "", `,"f:deploy-model-action/run":{}`, "").Replace(live)
	mark := marksBeside(decode(t, `{"metadata":{"name":"x"}}`))
	for dry, want := range map[string]bool{
		live:     true,
		unmarked: true,
		strings.Replace(live, `"7-1"`, `"8-1"`, 1):                                 true,
		strings.Replace(live, `"time":"1"`, `"time":"2"`, 1):                       true,
		strings.Replace(unmarked, `"a":"b"`, `"a":"c"`, 1):                         false,
		strings.Replace(unmarked, `"f:a":{}`, ``, 1):                               false,
		strings.Replace(live, `"manager":"a"`, `"manager":"b"`, 1):                 false,
		strings.Replace(live, `"a":1`, `"a":2`, 1):                                 false,
		strings.Replace(live, `"a":1`, `"a":1,"c":null`, 1):                        false,
		strings.Replace(live, `"b":2`, `"b":3`, 1):                                 false,
		strings.Replace(live, `"resourceVersion":"5"`, `"resourceVersion":"6"`, 1): false,
		strings.Replace(live, `{"manager":"a","time":"1"},`, ``, 1):                false,
	} {
		if got := same(decode(t, live).Object, decode(t, dry).Object, mark); got != want {
			t.Errorf("%s: %t", dry, got)
		}
	}
	bare := decode(t, `{"metadata":{"name":"x"}}`).Object
	marked := decode(t, `{"metadata":{"name":"x","annotations":{"deploy-model-action/run":"7-1"},"managedFields":[{"manager":"deploy-model-action","operation":"Apply","fieldsV1":{"f:metadata":{"f:annotations":{"f:deploy-model-action/run":{}}}}}]}}`).Object
	invented := decode(t, `{"metadata":{"name":"x","managedFields":[{"manager":"before-first-apply","operation":"Update"}]}}`).Object
	if !same(bare, invented, mark) || !same(marked, invented, mark) || !same(marked, bare, mark) {
		t.Error("the entry that the server invents counts, or marks do")
	}
	if same(bare, decode(t, `{"metadata":{"name":"x","managedFields":[{"manager":"deploy-model-action","operation":"Apply"}]}}`).Object, mark) {
		t.Error("becoming the owner does not count")
	}
	own := marksBeside(decode(t, `{"metadata":{"annotations":{"kubernetes.io/change-cause":"mine"}}}`))
	if own(object.ChangeCause) || !own(object.RunAnnotation) {
		t.Error("what the manifest says itself counts")
	}
}
