package kube

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/pkg/object"
)

func TestManifest(t *testing.T) {
	t.Parallel()
	exported := decode(t, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a","uid":"u","creationTimestamp":null,"annotations":{
		"deployment.kubernetes.io/revision":"1","kubectl.kubernetes.io/last-applied-configuration":"{}","deploy-model-action/run":"1-1","team":"ml"}},
		"spec":{"replicas":1},"status":{"replicas":1}}`)
	before := exported.DeepCopy()
	got, ignored := Manifest(exported)
	want := decode(t, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a","annotations":{"team":"ml"}},"spec":{"replicas":1}}`)
	if diff := cmp.Diff(want.Object, got.Object); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{
		"metadata.uid", "the annotation deployment.kubernetes.io/revision", "the annotation kubectl.kubernetes.io/last-applied-configuration",
		"the annotation deploy-model-action/run", "status",
	}, ignored); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before.Object, exported.Object); diff != "" {
		t.Error("the object was modified", diff)
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
		{"a struct that is left empty", `{"f:strategy":{"f:rollingUpdate":{".":{},"f:maxSurge":{}},"f:type":{}}}`, "", "", `{}`, `{"strategy":null}`},
		{"a map that is shared", `{"f:template":{"f:metadata":{"f:annotations":{".":{},"f:a":{}}}}}`, "", `{"f:template":{"f:metadata":{"f:annotations":{"f:b":{}}}}}`, `{}`, `{"template":{"metadata":{"annotations":{"a":null}}}}`},
		{"an atomic map", `{"f:selector":{}}`, "", "", `{"selector":{"matchLabels":{"app":"a"}}}`, `{"selector":{"matchLabels":{"old":null}}}`},
		{"lists", `{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"old\"}":{".":{},"f:name":{}}},"f:volumes":{".":{},"k:{\"name\":\"v\"}":{".":{},"f:name":{}}}}}}`, "", "", `{"template":{"spec":{"containers":[{"name":"new"}]}}}`, `{"template":{"spec":{"containers":[{"name":"new"}],"volumes":null}}}`},
		{"what others hold of an item", "", `{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"old\"}":{".":{},"f:name":{}}}}}}`, `{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"old\"}":{".":{},"f:name":{}}},"f:volumes":{"k:{\"name\":\"v\"}":{".":{},"f:name":{}}}}}}`, `{"template":{"spec":{"containers":[{"name":"new"}],"volumes":[{"name":"v","emptyDir":{}}]}}}`, `{"template":{"spec":{"containers":[{"name":"new"},{"name":"old"}],"volumes":[{"name":"v","emptyDir":{}}]}}}`},
		{"fields of another version", `{"f:rollbackTo":{"f:revision":{}}}`, "", "", `{}`, `{}`},
		{"null in the manifest", `{"f:strategy":{"f:type":{}}}`, "", "", `{"strategy":null}`, `{"strategy":null}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			entry := func(manager, operation, spec string) map[string]any {
				return map[string]any{"manager": manager, "operation": operation, "fieldsV1": map[string]any{"f:spec": decode(t, spec).Object}}
			}
			var list []any
			if tc.kubectl != "" {
				list = append(list, entry(kubectlApply, "Update", tc.kubectl))
			}
			if tc.we != "" {
				list = append(list, entry(object.FieldManager, "Apply", tc.we))
			}
			if tc.others != "" {
				list = append(list, entry("controller", "Update", tc.others))
			}
			manifest := decode(t, `{"apiVersion":"apps/v1","kind":"Deployment","spec":`+tc.manifest+`}`)
			before := decode(t, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{},"spec":`+live+`}`)
			before.Object["metadata"] = map[string]any{"managedFields": list}
			got := terms{}.asMigrated(before, manifest, []tool{{kubectlApply, updates}})
			want := decode(t, `{"apiVersion":"apps/v1","kind":"Deployment","spec":`+tc.want+`}`).Object
			if tc.want == "{}" {
				delete(want, "spec")
			}
			if diff := cmp.Diff(want, got.Object); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(decode(t, live).Object, before.Object["spec"]); diff != "" {
				t.Error("the object was modified", diff)
			}
		})
	}
}

// A refusal that repeats must not be taken for the server's trouble.
func TestPortTakenIsFinal(t *testing.T) {
	t.Parallel()
	if Transient(statusError(status(500, "InternalError", "Internal error occurred: duplicate nodePort: {TCP 30123}", nil))) {
		t.Error("repeated")
	}
	if isAdmission(errors.New("duplicate")) {
		t.Error("an error without a status was taken for a refusal")
	}
}
