package kube

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func subjectOf(tb testing.TB, body string) subject {
	tb.Helper()
	u := decode(tb, body)
	found, ok := builtin(u.GroupVersionKind())
	if !ok {
		tb.Fatalf("no such kind: %s", body)
	}
	if found.Namespaced && u.GetNamespace() == "" {
		u.SetNamespace("default")
	}
	return subject{RefOf(u, found), u}
}

// decode decodes JSON into an object.
func decode(tb testing.TB, body string) *unstructured.Unstructured {
	tb.Helper()
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(body), &u.Object); err != nil {
		tb.Fatalf("%v in %s", err, body)
	}
	return u
}

func status(code int32, reason metav1.StatusReason, message string, causes []metav1.StatusCause) metav1.Status {
	s := metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Code: code, Reason: reason, Message: message}
	if causes != nil {
		s.Details = &metav1.StatusDetails{Causes: causes}
	}
	return s
}

func statusError(s metav1.Status) error { return &apierrors.StatusError{ErrStatus: s} }

// objectErrors are the errors at the top of a joined error, each of which must
// belong to an object.
func objectErrors(t *testing.T, err error) []*ObjectError {
	t.Helper()
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	var out []*ObjectError
	for _, e := range list {
		var own *ObjectError
		if !errors.As(e, &own) {
			t.Fatalf("%T %v: want *ObjectError", e, e)
		}
		out = append(out, own)
	}
	return out
}

// The refusals are those of an API server, word for word; the golden file is
// what a user reads.
func TestSentences(t *testing.T) {
	t.Parallel()
	const (
		deployment = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d1"},"spec":{"replicas":1,"template":{"spec":{"containers":[{"name":"a"},{"name":"c","imagee":"x"}]}}}}`
		job        = `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"j1"}}`
		stateful   = `{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"s1"}}`
		secret     = `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"}}`
		claim      = `{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"p"}}`
		budget     = `{"apiVersion":"policy/v1beta1","kind":"PodDisruptionBudget","metadata":{"name":"p"}}`
		binding    = `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"b"}}`
	)
	invalid := func(causes ...metav1.StatusCause) metav1.Status { return status(422, "Invalid", "…", causes) }
	cause := func(field, message string) metav1.StatusCause {
		return metav1.StatusCause{Type: "FieldValueInvalid", Field: field, Message: message}
	}
	var out strings.Builder
	for _, tc := range []struct {
		object string
		status metav1.Status
	}{
		{deployment, status(500, "", `failed to create typed patch object (default/d1; apps/v1, Kind=Deployment): .spec.replica: field not declared in schema`, nil)},
		{deployment, status(500, "", `failed to create typed patch object (default/d1; apps/v1, Kind=Deployment): .spec.template.spec.containers[name="c"].imagee: field not declared in schema`, nil)},
		{deployment, status(500, "", `failed to create typed patch object (default/d1; apps/v1, Kind=Deployment): .spec.template.spec.containers[name="c"].env: duplicate entries for key [name="A"]`, nil)},
		{deployment, status(500, "", `failed to create typed patch object (default/d1; apps/v1, Kind=Deployment): .spec.replicas: expected numeric (int or float), got string`, nil)},
		{deployment, status(400, "BadRequest", `Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.template.spec.containers[0].imagee", unknown field "spec.foo", duplicate field "spec.replicas"`, nil)},
		{deployment, invalid(cause("spec.selector", `Invalid value: {"matchLabels":{"a":"z"}}: field is immutable`))},
		{deployment, invalid(cause("spec.replicas", `Invalid value: -1: must be greater than or equal to 0`), cause("spec.template.spec.containers[1].name", `Duplicate value: "c"`), cause("spec.template.spec.containers[0].image", "Required value"))},
		{deployment, invalid(cause("spec.template.spec.dnsPolicy", `Unsupported value: "Foo": supported values: "ClusterFirst", "Default"`))},
		{job, invalid(cause("spec.template", `Invalid value: {"labels":{"a":"b"},"Spec":{"Containers":[{"Image":"CANARY"}]}}: field is immutable`))},
		{job, invalid(cause("spec.template", `Invalid value: core.PodTemplateSpec{ObjectMeta:v1.ObjectMeta{Name:"CANARY"}}: field is immutable`))},
		{stateful, invalid(cause("spec", `Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals' are forbidden`))},
		{claim, invalid(cause("spec", "Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n  core.PersistentVolumeClaimSpec{\n- CANARY"))},
		{binding, invalid(cause("roleRef", `Invalid value: {"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"x"}: cannot change roleRef`))},
		{deployment, status(403, "Forbidden", `deployments.apps "d1" is forbidden: User "ci@p.iam.gserviceaccount.com" cannot patch resource "deployments" in API group "apps" in the namespace "default": requires one of ["container.deployments.update"] permission(s).`, nil)},
		{binding, status(403, "Forbidden", `clusterrolebindings.rbac.authorization.k8s.io "b" is forbidden: User "ci" cannot patch resource "clusterrolebindings" in API group "rbac.authorization.k8s.io" at the cluster scope`, nil)},
		{binding, status(403, "Forbidden", `clusterrolebindings.rbac.authorization.k8s.io "b" is forbidden: user "ci" (groups=["g"]) is attempting to grant RBAC permissions not currently held: {APIGroups:["*"], Resources:["*"], Verbs:["*"]}`, nil)},
		{deployment, status(403, "Forbidden", `pods "x" is forbidden: exceeded quota: compute, requested: requests.cpu=2, used: requests.cpu=9, limited: requests.cpu=10`, nil)},
		{deployment, status(403, "Forbidden", `deployments.apps "d1" is forbidden: unable to create new content in namespace default because it is being terminated`, nil)},
		{deployment, status(403, "Forbidden", `pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false)`, nil)},
		{deployment, status(403, "Forbidden", `admission webhook "policy.example.com" denied the request: images must come from europe-docker.pkg.dev`, nil)},
		{deployment, status(400, "BadRequest", `admission webhook "policy.example.com" denied the request without explanation`, nil)},
		{deployment, status(422, "Invalid", `deployments.apps "d1" is forbidden: ValidatingAdmissionPolicy 'replicas.example.com' with binding 'b' denied request: failed expression: object.spec.replicas <= 5`, nil)},
		{deployment, status(500, "InternalError", `Internal error occurred: failed calling webhook "validate.example.com": failed to call webhook: Post "https://w.default.svc:443/?timeout=10s": dial tcp 10.0.0.1:443: connect: connection refused`, nil)},
		{deployment, status(404, "NotFound", `namespaces "nope" not found`, nil)},
		{budget, status(404, "NotFound", `the server could not find the requested resource`, nil)},
		{deployment, status(413, "RequestEntityTooLarge", `Request entity too large: limit is 3145728`, nil)},
		{secret, status(500, "", `failed to convert new object (/s; /v1, Kind=Secret) to proper version: unable to convert unstructured object to /v1, Kind=Secret: error decoding from json: illegal base64 data at input byte 3`, nil)},
		{secret, status(500, "", `failed to create typed patch object (/s; /v1, Kind=Secret): .data: expected map, got &{CANARY}`, nil)},
		{secret, status(500, "", `failed to create typed patch object (/s; /v1, Kind=Secret): .stringData.x: expected string, got &value.valueUnstructured{Value:"CANARY"}`, nil)},
		{secret, invalid(cause("data[tls.crt]", `Invalid value: "CANARY": not PEM`))},
		{secret, status(403, "Forbidden", `admission webhook "policy.example.com" denied the request: CANARY is weak`, nil)},
		{secret, status(400, "BadRequest", `something about CANARY`, nil)},
	} {
		err := subjectOf(t, tc.object).explain(statusError(tc.status))
		for _, e := range objectErrors(t, err) {
			fmt.Fprintln(&out, e)
			for inner := error(e); inner != nil; inner = errors.Unwrap(inner) {
				if strings.Contains(inner.Error(), "CANARY") {
					t.Errorf("a value is in the error: %v", inner)
				}
			}
		}
	}
	conflicts := statusError(status(409, "Conflict", "…", []metav1.StatusCause{
		{Type: metav1.CauseTypeFieldManagerConflict, Message: `conflict with "argocd-controller"`, Field: `.spec.template.spec.containers[name="c"].image`},
		{Type: metav1.CauseTypeFieldManagerConflict, Message: `conflict with "istiod" with subresource "status" using apps/v1 at 2026-01-01T00:00:00Z`, Field: `.metadata.annotations.a.b/c`},
	}))
	_, _, err := applying{subject: subjectOf(t, deployment)}.decide(state{refuse: conflicts})
	for _, e := range objectErrors(t, err) {
		fmt.Fprintln(&out, e)
	}
	golden(t, "sentences.txt", out.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestDeniedError(t *testing.T) {
	t.Parallel()
	err := subjectOf(t, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"}}`).explain(statusError(status(403, "Forbidden",
		`secrets "s" is forbidden: User "ci" cannot patch resource "secrets" in API group "" in the namespace "models"`, nil)))
	var denied *DeniedError
	if !errors.As(err, &denied) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&DeniedError{Verb: "patch", Resource: "secrets", Namespace: "models", User: "ci"}, denied); diff != "" {
		t.Error(diff)
	}
}

func TestWithoutValue(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ message, detail, value string }{
		{`Invalid value: "a:b": must be x`, "must be x", `"a:b"`},
		{`Invalid value: "` + strings.Repeat("x", 100) + `": must be shorter`, "must be shorter", ""},
		{`Invalid value: {"a":{"b":"c: d"}}: wrong`, "wrong", ""},
		{`Invalid value: [1,2]: wrong`, "wrong", ""},
		{`Invalid value: core.Spec{A:"b: c"}: wrong`, "wrong", ""},
		{`Invalid value: &x`, "invalid value", ""},
		{`Required value`, "is required: add it", ""},
		{"Forbidden: spec is immutable\n body", "Forbidden: spec is immutable", ""},
		{`Invalid value: {not json`, "invalid value", ""},
		{`Duplicate value: "c"`, "duplicate value", `"c"`},
		{`Required value: name is needed`, "Required value: name is needed", ""},
		{`Forbidden: no`, "Forbidden: no", ""},
		{`free text`, "free text", ""},
	} {
		detail, value := withoutValue(tc.message)
		if detail != tc.detail || value != tc.value {
			t.Errorf("%s: %q, %q", tc.message, detail, value)
		}
	}
}

func TestFieldIn(t *testing.T) {
	t.Parallel()
	o := decode(t, `{"metadata":{"annotations":{"a.b/c":"x","a":"y"},"finalizers":["f1","f2"]},"spec":{"containers":[{"name":"a"},{"name":"b[]","ports":[{"containerPort":80},{"containerPort":81,"protocol":"UDP"}]}]}}`)
	for path, want := range map[string]string{
		`.spec.replica`:                     `spec.replica`,
		`.spec.containers[name="a"].imagee`: `spec.containers[0].imagee`,
		`.spec.containers[name="b[]"].x`:    `spec.containers[1].x`,
		`.spec.containers[name="b[]"].ports[containerPort=81,protocol="UDP"].name`: `spec.containers[1].ports[1].name`,
		`.spec.containers[name="b[]"].ports[containerPort=80,protocol="TCP"].name`: `spec.containers[1].ports[0].name`,
		`.spec.containers[name="z"].image`:                                         `spec.containers[name="z"].image`,
		`.metadata.annotations.a.b/c`:                                              `metadata.annotations.a.b/c`,
		`.metadata.annotations.a`:                                                  `metadata.annotations.a`,
		`metadata.annotations[a.b/c]`:                                              `metadata.annotations[a.b/c]`,
		`.metadata.finalizers[="f2"]`:                                              `metadata.finalizers[1]`,
		`spec.containers[1].ports[0].name`:                                         `spec.containers[1].ports[0].name`,
		`spec.containers[7].name`:                                                  `spec.containers[7].name`,
		`spec.containers[`:                                                         `spec.containers[`,
		``:                                                                         ``,
	} {
		if got := fieldIn(o.Object, path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func FuzzForeignText(f *testing.F) {
	for _, seed := range []string{
		`conflict with "kubectl" with subresource "scale" using apps/v1`,
		`failed to create typed patch object (a/b; v1, Kind=X): .a[k="v"].b: field not declared in schema`,
		`strict decoding error: unknown field "a", duplicate field "b\"c"`,
		`Invalid value: {"a":1}: wrong`, `.spec.containers[name="b[]"].ports[containerPort=81,protocol="UDP"]`,
		`User "u" cannot patch resource "r" in API group "g" in the namespace "n"`, `[=`, `[a="`,
	} {
		f.Add(seed)
	}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "x"}, "a": []any{map[string]any{"k": "v"}, "s"}}}
	f.Fuzz(func(t *testing.T, text string) {
		parseConflict(text)
		misfit(text)
		strictFields(text)
		fieldIn(o.Object, text)
		if detail, _ := withoutValue(text); utf8.RuneCountInString(detail) > maxForeign {
			t.Errorf("%d runes", utf8.RuneCountInString(detail))
		}
		_ = deniedBy(status(403, "", text, nil))
		about := subject{Ref{Kind: "Secret", Name: "x"}, o}
		for _, code := range []int32{400, 403, 404, 409, 422, 500} {
			err := about.explain(statusError(status(code, "R", text, []metav1.StatusCause{{Field: text, Message: text}})))
			if err == nil || err.Error() == "" {
				t.Errorf("%d: no error", code)
			}
		}
	})
}
