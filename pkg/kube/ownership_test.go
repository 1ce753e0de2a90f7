package kube

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

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

const managedJSON = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"classifier","uid":"u","resourceVersion":"7","managedFields":[
{"manager":"deploy-model-action","operation":"Apply","apiVersion":"apps/v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:replicas":{},"f:paused":{}}}},
{"manager":"kubectl-client-side-apply","operation":"Update","apiVersion":"apps/v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:annotations":{"f:kubectl.kubernetes.io/last-applied-configuration":{}}},"f:spec":{"f:minReadySeconds":{}}}},
{"manager":"argocd-controller","operation":"Update","apiVersion":"apps/v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:annotations":{"f:kubectl.kubernetes.io/last-applied-configuration":{}}}}},
{"manager":"kube-controller-manager","operation":"Update","apiVersion":"apps/v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","subresource":"status","fieldsV1":{"f:status":{"f:replicas":{}}}}]},
"spec":{"replicas":4}}`

func TestManagersPatch(t *testing.T) {
	t.Parallel()
	live := decode(t, managedJSON)
	without := func(mine *fieldpath.Set) *fieldpath.Set {
		return mine.Difference(fieldpath.NewSet(fieldpath.MakePathOrDie("spec", "replicas")))
	}
	body, err := managersPatch(live, []tool{{kubectlApply, updates}}, &fieldpath.Set{}, without)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(decode(t, managedJSON).Object, live.Object); diff != "" {
		t.Error("the object was modified", diff)
	}
	var patch []struct {
		Op, Path string
		Value    json.RawMessage
	}
	if err := json.Unmarshal(body, &patch); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"replace /metadata/managedFields", `replace /metadata/resourceVersion "7"`, `replace /metadata/uid "u"`} {
		if got := patch[i].Op + " " + patch[i].Path + " " + string(patch[i].Value); !strings.HasPrefix(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
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
	if body, err := managersPatch(live, []tool{{kubectlApply, updates}}, &fieldpath.Set{}, without); err != nil || body != nil {
		t.Errorf("a second time: %s, %v", body, err)
	}

	// Who owned nothing but this owns nothing then, which an empty list would not say.
	live.SetManagedFields(entries[:1])
	body, err = managersPatch(live, nil, &fieldpath.Set{}, func(*fieldpath.Set) *fieldpath.Set { return &fieldpath.Set{} })
	if err != nil || !strings.Contains(string(body), `"value":[{}]`) {
		t.Errorf("%s, %v", body, err)
	}
}

// What is migrated, whoever conflicts.
func TestIsMigrated(t *testing.T) {
	t.Parallel()
	const annotated = `{"f:metadata":{"f:annotations":{"f:kubectl.kubernetes.io/last-applied-configuration":{}}}}`
	for _, tc := range []struct {
		entry string
		want  bool
	}{
		{entry(kubectlApply, updates, "", imageField), true},
		{entry("kubectl", applies, "", imageField), true},
		{entry("kubectl", updates, "", imageField), false},
		{entry("kubectl", updates, scaleSubresource, replicasField), false},
		{entry("before-first-apply", updates, "", annotated), true},
		{entry("before-first-apply", updates, "", imageField), false},
		{entry("kubectl-create", updates, "", annotated), true},
		{entry("kubectl-edit", updates, "", imageField), false},
		{entry("argocd-controller", updates, "", annotated), false},
		{entry("helm", updates, "", imageField), false},
		{entry("deploy-model-action", updates, "", imageField), true},
		{entry("deploy-model-action", applies, "", imageField), false},
	} {
		all := ownersOf(decode(t, liveJSON(oldSpec, tc.entry)))
		if got := all[0].isMigrated(); got != tc.want {
			t.Errorf("%s: %t", tc.entry, got)
		}
	}
}

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
