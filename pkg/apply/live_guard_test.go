package apply_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/apply"
	"github.com/org/deploy-model-action/pkg/kube"
)

const definition = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: GROUPKINDs.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: KIND, plural: GROUPKINDs, singular: GROUPKIND}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

// TestLiveCreateOnly holds what every first write relies on: an apply that names
// resourceVersion "1" creates what is absent, and conflicts with anything that
// exists, also when it is forced.
func TestLiveCreateOnly(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	kind := "Guard" + strings.ReplaceAll(e.namespace[len(e.namespace)-5:], "-", "")
	crd := strings.NewReplacer("KIND", kind, "GROUPKIND", strings.ToLower(kind)).Replace(strings.ReplaceAll(definition, "GROUPKIND", strings.ToLower(kind)))
	e.must(e.options(""), crd)
	t.Cleanup(func() {
		u := e.documents(crd)[0]
		_ = e.at(u).Delete(context.Background(), u.GetName(), metav1.DeleteOptions{})
	})
	for _, manifest := range []string{
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: \"1\"}\n",
		"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: \"1\"}\n",
		"apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n",
		model("r/m:1", "replicas: 1", ""),
		"apiVersion: example.com/v1\nkind: " + kind + "\nmetadata: {name: g}\nspec: {a: 1}\n",
	} {
		u := e.documents(manifest)[0]
		send := func(version string, force bool) (int, error) {
			body := u.DeepCopy()
			body.SetNamespace(e.namespace)
			body.SetResourceVersion(version)
			sent, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			var code int
			for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
				result := e.rest.Patch(types.ApplyPatchType).AbsPath(pathOf(e, u.GetAPIVersion(), u.GetKind(), u.GetName())).
					Param("fieldManager", "test").Param("force", map[bool]string{true: "true", false: "false"}[force]).Body(sent).Do(t.Context())
				err = result.StatusCode(&code).Error()
				if !apierrors.IsNotFound(err) || time.Since(start) > 20*time.Second { // a definition that is not served yet
					return code, err
				}
			}
		}
		if code, err := send("1", true); code != http.StatusCreated || err != nil {
			t.Errorf("%s: absent: %d %v", u.GetKind(), code, err)
		}
		for _, force := range []bool{false, true} {
			if _, err := send("1", force); !apierrors.IsConflict(err) {
				t.Errorf("%s: present, force %t: %v", u.GetKind(), force, err)
			}
		}
		if owner := e.get(u).GetManagedFields()[0]; owner.Operation != metav1.ManagedFieldsOperationApply {
			t.Errorf("%s: created by %s", u.GetKind(), owner.Operation)
		}
	}
}

func pathOf(e *env, version, kind, name string) string {
	prefix := "/apis/" + version
	if version == "v1" {
		prefix = "/api/v1"
	}
	return prefix + "/namespaces/" + e.namespace + "/" + strings.ToLower(kind) + "s/" + name
}

// TestLiveSomebodyWritesInBetween lets others write between plan and write: the run
// may go on if it still holds the release, and then writes what it was to write.
func TestLiveSomebodyWritesInBetween(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		first string // manifest that is there; "" for nothing
		write func(e *env)
		lost  bool // the run may not write any more
		image string
	}{
		{"kubectl set image", model("r/m:1", "replicas: 1", ""), func(e *env) {
			e.patch(e.Context(), "kubectl-set", `{"spec":{"template":{"spec":{"containers":[{"name":"model","image":"r/m:hand"}]}}}}`)
		}, false, "r/m:2"},
		{"a newer run's apply", model("r/m:1", "replicas: 1", ""), func(e *env) { e.must(e.options("9-1"), model("r/m:9", "replicas: 1", "")) }, true, "r/m:9"},
		{"a newer run creates it", "", func(e *env) { e.must(e.options("9-1"), model("r/m:9", "replicas: 1", "")) }, true, "r/m:9"},
		{"an older run creates it", "", func(e *env) { e.must(e.options("1-1"), model("r/m:1", "replicas: 1", "")) }, false, "r/m:2"},
		{"it is deleted", model("r/m:1", "replicas: 1", ""), func(e *env) {
			if err := e.deployment().Delete(e.Context(), "model", metav1.DeleteOptions{}); err != nil {
				e.Fatal(err)
			}
		}, false, "r/m:2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			if tc.first != "" {
				e.must(e.options("1-1"), tc.first)
			}
			held := 0
			o := e.options("2-1")
			superseded := errors.New("a newer run holds it")
			o.Held = func(context.Context) error {
				held++
				if tc.lost {
					return superseded
				}
				return nil
			}
			plan, err := apply.NewPlan(t.Context(), e.documents(model("r/m:2", "replicas: 1", "")), o)
			if err != nil {
				t.Fatal(err)
			}
			tc.write(e)
			changes, err := plan.Write(t.Context())
			var stopped *kube.StoppedError
			if want := tc.lost; errors.As(err, &stopped) != want || errors.Is(err, superseded) != want || (err != nil) != want {
				t.Errorf("%s, %v", lines(changes), err)
			}
			if held == 0 {
				t.Error("wrote without being asked whether it may go on")
			}
			live, err := e.deployment().Get(t.Context(), "model", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := imageOf(live.Object); got != tc.image {
				t.Errorf("image %s, want %s", got, tc.image)
			}
			t.Log(e.logged())
		})
	}
}

// TestLiveNobodyWritesInBetween writes a ConfigMap, as a controller writes a
// Deployment's status whenever it gets to it, and so makes a conflict of its own.
func TestLiveNobodyWritesInBetween(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	config := func(value string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: model}\ndata: {a: " + value + "}\n"
	}
	e.must(e.options("1-1"), config("one"))
	o := e.options("2-1")
	o.Held = func(context.Context) error {
		t.Error("asked whether it may go on, although nobody wrote")
		return nil
	}
	e.must(o, config("two"))
}

func imageOf(u map[string]any) string {
	for _, key := range []string{"spec", "template", "spec"} {
		u, _ = u[key].(map[string]any)
	}
	list, _ := u["containers"].([]any)
	if len(list) == 0 {
		return ""
	}
	c, _ := list[0].(map[string]any)
	image, _ := c["image"].(string)
	return image
}

// TestLiveMarks: marks are on what was changed, restart nothing, and are no change.
func TestLiveMarks(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	manifest := model("r/m:1", "replicas: 1", "") + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: \"1\"}\n" +
		"---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: bare}\n"
	e.must(e.options("1-1"), manifest)
	d := e.documents(manifest)
	for _, u := range d {
		live := e.get(u)
		for key, want := range markOf("1-1").Annotations() {
			if live.GetAnnotations()[key] != want {
				t.Errorf("%s: %v", u.GetKind(), live.GetAnnotations())
			}
		}
		if strings.Contains(marshal(t, live.Object["spec"]), "1-1") {
			t.Errorf("%s: the spec is marked", u.GetKind())
		}
	}
	for _, run := range []string{"2-1", ""} {
		if got := lines(e.must(e.options(run), manifest)); got != "configmap/c unchanged\nserviceaccount/bare unchanged\ndeployment.apps/model unchanged" {
			t.Errorf("run %q: %s", run, got)
		}
	}
	if run := e.get(d[1]).GetAnnotations()["deploy-model-action/run"]; run != "1-1" {
		t.Errorf("what did not change is marked by run %s", run)
	}

	// What the manifest, or a person, says about the cause.
	own := strings.Replace(manifest, "labels: {app: model}}", "labels: {app: model}, annotations: {kubernetes.io/change-cause: mine}}", 1)
	e.must(e.options("3-1"), own)
	if got := e.get(d[0]).GetAnnotations(); got["kubernetes.io/change-cause"] != "mine" || got["deploy-model-action/run"] != "3-1" {
		t.Errorf("%v", got)
	}
	e.must(e.options("4-1"), manifest)
	e.patch(t.Context(), "kubectl-annotate", `{"metadata":{"annotations":{"kubernetes.io/change-cause":"by hand"}}}`)
	e.must(e.options("5-1"), strings.Replace(manifest, "r/m:1", "r/m:5", 1))
	if got := e.get(d[0]).GetAnnotations()["kubernetes.io/change-cause"]; got != "run 5-1" {
		t.Errorf("cause %q", got)
	}
	if got := lines(e.must(e.options("6-1"), strings.Replace(manifest, "r/m:1", "r/m:5", 1))); strings.Contains(got, "configured") {
		t.Error(got)
	}
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestLiveFence: a run that takes over from one that did not finish makes a write of
// that one fail which is still on its way, also where it would write nothing itself.
func TestLiveFence(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	manifest := model("r/m:1", "replicas: 1", "")
	e.must(e.options("1-1"), manifest)
	late, err := apply.NewPlan(t.Context(), e.documents(model("r/m:late", "replicas: 1", "")), withHeld(e.options("2-1"), errors.New("superseded")))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := apply.NewPlan(t.Context(), e.documents(manifest), e.options("3-1"))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(plan.Undo()); n != 0 {
		t.Errorf("%d objects to write before the fence", n)
	}
	if err := plan.Refresh(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if undo := plan.Undo(); len(undo) != 1 || undo[0].Before == nil {
		t.Errorf("undo %v", undo)
	}
	changes, err := plan.Write(t.Context())
	if err != nil || lines(changes) != "deployment.apps/model unchanged" {
		t.Errorf("%s, %v", lines(changes), err)
	}
	_, err = late.Write(t.Context())
	var stopped *kube.StoppedError
	if !errors.As(err, &stopped) {
		t.Errorf("the late write: %v", err)
	}
	if live := e.get(e.documents(manifest)[0]); imageOf(live.Object) != "r/m:1" || live.GetAnnotations()["deploy-model-action/run"] != "3-1" {
		t.Errorf("%s of run %s", imageOf(live.Object), live.GetAnnotations())
	}
}

func withHeld(o apply.Options, err error) apply.Options {
	o.Held = func(context.Context) error { return err }
	return o
}

// TestLiveExported: what the server wrote into an exported file is no wish.
func TestLiveExported(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	manifest := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, resourceVersion: \"5\", uid: x, generation: 3, creationTimestamp: \"2020-01-01T00:00:00Z\", managedFields: [{manager: m}]}\nstatus: {a: b}\ndata: {a: \"1\"}\n"
	e.must(e.options("1-1"), manifest)
	if log := e.logged(); !strings.Contains(log, "metadata.resourceVersion, metadata.uid, metadata.managedFields, metadata.generation, metadata.creationTimestamp, status of the manifests is the cluster's own, and ignored (ConfigMap c)") {
		t.Error(log)
	}
	if got := lines(e.must(e.options("2-1"), manifest)); got != "configmap/c unchanged" {
		t.Error(got)
	}
}
