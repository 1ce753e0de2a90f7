package apply_test

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/apply"
	"github.com/org/deploy-model-action/pkg/object"
)

// reader is a workload that reads configuration; what is lines of its container.
func reader(kind, name, what string, metadata ...string) string {
	more := map[string]string{"StatefulSet": "serviceName: none"}[kind]
	return fmt.Sprintf(`apiVersion: apps/v1
kind: %s
metadata: {name: %s, %s}
spec:
  %s
  selector: {matchLabels: {app: %[2]s}}
  template:
    metadata: {labels: {app: %[2]s}}
    spec:
      nodeSelector: {none: none}
      containers:
        - name: model
          image: example.com/model:1
          %[5]s
`, kind, name, strings.Join(metadata, ", "), more, what)
}

const (
	readsAll   = "envFrom: [{configMapRef: {name: settings}}]"
	readsLevel = "env: [{name: LEVEL, valueFrom: {configMapKeyRef: {name: settings, key: level}}}]"
	readsPIN   = "env: [{name: PIN, valueFrom: {secretKeyRef: {name: pin, key: pin}}}]"
)

func settings(data string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: " + data + "\n---\n"
}

func pin(value string) string {
	return "apiVersion: v1\nkind: Secret\nmetadata: {name: pin}\nstringData: {pin: \"" + value + "\"}\n---\n"
}

// template is what a workload makes its pods of.
func (e *env) template(kind, name string) map[string]any {
	e.Helper()
	live := e.get(e.documents(reader(kind, name, ""))[0])
	return object.Map(live.Object, "spec", "template")
}

// rolls deploys, and reports whether a workload's template is another one then.
func (e *env) rolls(o apply.Options, kind, name, manifest string) bool {
	e.Helper()
	before := e.template(kind, name)
	e.must(o, manifest)
	return cmp.Diff(before, e.template(kind, name)) != ""
}

func TestLiveConfigRolls(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			line := strings.ToLower(kind) + ".apps/"
			set := func(data, pinned string) string {
				return settings(data) + pin(pinned) + reader(kind, "all", readsAll) + "---\n" + reader(kind, "level", readsLevel) + "---\n" + reader(kind, "pin", readsPIN)
			}
			expect := func(run, manifest, want string, log ...string) {
				t.Helper()
				changes := e.must(e.options(run), manifest)
				if diff := cmp.Diff(strings.Fields(want), strings.Fields(strings.ReplaceAll(lines(changes), " ", "="))); diff != "" {
					t.Errorf("run %s: %s", run, diff)
				}
				got := e.logged()
				if len(log) == 0 && got != "" {
					t.Errorf("run %s logs %s", run, got)
				}
				for _, text := range log {
					if !strings.Contains(got, text) {
						t.Errorf("run %s logs %q, and not %q", run, got, text)
					}
				}
			}
			unchanged := "configmap/settings=unchanged secret/pin=unchanged " + line + "all=unchanged " + line + "level=unchanged " + line + "pin=unchanged"
			expect("1", set("{level: info, size: a}", "1234"), "configmap/settings=created secret/pin=created "+line+"all=created "+line+"level=created "+line+"pin=created")
			if marks := object.Map(e.template(kind, "all"), "metadata", "annotations"); marks != nil {
				t.Errorf("a template is marked for nothing: %v", marks)
			}
			expect("2", set("{level: info, size: a}", "1234"), unchanged)
			expect("3", set("{level: info, size: b}", "1234"), "configmap/settings=configured secret/pin=unchanged "+line+"all=configured "+line+"level=unchanged "+line+"pin=unchanged",
				kind+" "+e.namespace+"/all: its pods are replaced, as they read what has changed: ConfigMap settings")
			expect("4", set("{level: info, size: b}", "1234"), unchanged)
			expect("5", set("{level: debug, size: b}", "4321"), "configmap/settings=configured secret/pin=configured "+line+"all=configured "+line+"level=configured "+line+"pin=configured",
				"Secret pin")
			expect("6", set("{level: debug, size: b}", "4321"), unchanged)
			// Other changes leave the pods as they are.
			relabelled := strings.ReplaceAll(set("{level: debug, size: b}", "4321"), "metadata: {name: ", "metadata: {labels: {x: z}, name: ")
			for _, name := range []string{"all", "level", "pin"} {
				if e.rolls(e.options("7"), kind, name, relabelled) {
					t.Errorf("labels replace the pods of %s", name)
				}
			}
			// A key more, and one less, that only some read.
			if !e.rolls(e.options("8"), kind, "all", set("{level: debug}", "4321")) || e.rolls(e.options("8"), kind, "level", set("{level: debug}", "4321")) {
				t.Error("a key less")
			}
			e.logged()
			expect("9", set("{level: debug}", "4321"), unchanged)
			if e.rolls(e.options("10"), kind, "level", set("{level: debug, more: x}", "4321")) {
				t.Error("a key more that it does not read")
			}
		})
	}
}

// What is on workloads may be read by many, and a PIN has few values.
func TestLiveConfigMarksTellNothing(t *testing.T) {
	t.Parallel()
	a, b := newEnv(t), newEnv(t)
	for _, e := range []*env{a, b} {
		e.must(e.options("1"), pin("1234")+reader("Deployment", "model", readsPIN))
		e.must(e.options("1"), pin("4321")+reader("Deployment", "model", readsPIN))
	}
	of := func(e *env) string {
		return e.get(e.documents(model("", "", ""))[0]).GetAnnotations()[object.ConfigAnnotation]
	}
	if of(a) == of(b) || of(a) == "" {
		t.Errorf("the same value has the same mark in two places: %q", of(a))
	}
	if ok, _ := regexp.MatchString(`^Secret/pin=[0-9a-f]{16}$`, of(a)); !ok {
		t.Errorf("the mark is %q", of(a))
	}
}

// A workload that others deployed, or this action before it knew of any of this.
func TestLiveConfigTakenOver(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(e *env, manifest string){
		"kubectl apply":               func(e *env, m string) { e.create("kubectl-client-side-apply", "Update", m) },
		"kubectl apply --server-side": func(e *env, m string) { e.create("kubectl", "Apply", m) },
		"an earlier version": func(e *env, m string) {
			for _, doc := range e.documents(m) {
				doc.SetAnnotations(map[string]string{object.RunAnnotation: "0"})
				e.create(object.FieldManager, "Apply", marshal(e.T, doc.Object))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			set := func(level string) string {
				return settings("{level: "+level+"}") + reader("Deployment", "model", readsAll)
			}
			before(e, set("info"))
			if e.rolls(e.options("1"), "Deployment", "model", set("info")) {
				t.Error("it is rolled for nothing")
			}
			if !e.rolls(e.options("2"), "Deployment", "model", set("debug")) {
				t.Error("it is not rolled")
			}
			if e.rolls(e.options("3"), "Deployment", "model", set("debug")) {
				t.Error("it is rolled again")
			}
		})
	}
	t.Run("after its configuration was ours", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t)
		e.must(e.options("1"), settings("{level: info}")+reader("Deployment", "other", readsAll))
		e.create("kubectl-client-side-apply", "Update", reader("Deployment", "model", readsAll))
		set := func(level string) string {
			return settings("{level: "+level+"}") + reader("Deployment", "other", readsAll) + "---\n" + reader("Deployment", "model", readsAll)
		}
		for run, level := range []string{"info", "info"} {
			if e.rolls(e.options(strconv.Itoa(run+2)), "Deployment", "model", set(level)) {
				t.Error("it is rolled for nothing")
			}
		}
		if !e.rolls(e.options("4"), "Deployment", "model", set("debug")) {
			t.Error("it is not rolled")
		}
	})
	t.Run("and changed in the same deploy", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t)
		e.create("kubectl-client-side-apply", "Update", settings("{level: info}")+reader("Deployment", "model", readsAll))
		if !e.rolls(e.options("1"), "Deployment", "model", settings("{level: debug}")+reader("Deployment", "model", readsAll)) {
			t.Error("it is not rolled")
		}
	})
	t.Run("with a key that only the earlier manifest had", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t)
		e.create("kubectl-client-side-apply", "Update", settings("{level: info, old: x}")+reader("Deployment", "model", readsAll))
		if !e.rolls(e.options("1"), "Deployment", "model", settings("{level: info}")+reader("Deployment", "model", readsAll)) {
			t.Error("it is not rolled")
		}
	})
}

// The process dies between the ConfigMap and the workload: whoever runs next finds
// the ConfigMap as its manifest has it.
func TestLiveConfigSurvivesADeath(t *testing.T) {
	t.Parallel()
	set := func(level string) string {
		return settings("{level: "+level+"}") + reader("Deployment", "model", readsAll)
	}
	t.Run("of a deploy", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t)
		e.must(e.options("1"), set("info"))
		e.must(e.options("2"), strings.TrimSuffix(settings("{level: debug}"), "---\n")) // and no more
		if !e.rolls(e.options("3"), "Deployment", "model", set("debug")) {
			t.Error("the pods go on with what the dead run replaced")
		}
		if e.rolls(e.options("4"), "Deployment", "model", set("debug")) {
			t.Error("it is rolled again")
		}
	})
	t.Run("of one that takes over", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t)
		e.create("kubectl-client-side-apply", "Update", set("info"))
		before := e.get(e.documents(settings("{}"))[0])
		e.must(e.options("1"), strings.TrimSuffix(settings("{level: debug}"), "---\n"))
		o := e.options("2")
		o.Verified = func(id object.ID) (*unstructured.Unstructured, bool) { return before, id.Kind == "ConfigMap" }
		if !e.rolls(o, "Deployment", "model", set("debug")) {
			t.Error("the pods go on with what the dead run replaced")
		}
	})
	t.Run("and the next one goes back", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t)
		e.must(e.options("1"), set("info"))
		e.must(e.options("2"), strings.TrimSuffix(settings("{level: debug}"), "---\n"))
		// A pod that started in between has read the other level.
		if !e.rolls(e.options("3"), "Deployment", "model", set("info")) {
			t.Error("pods may go on with what the dead run wrote")
		}
	})
}

// What others did to configuration and pods in between.
func TestLiveConfigBesideOthers(t *testing.T) {
	t.Parallel()
	set := func(level string) string {
		return settings("{level: "+level+"}") + reader("Deployment", "model", readsAll)
	}
	edit := func(e *env, level string) {
		e.Helper()
		_, err := e.at(e.documents(settings("{}"))[0]).Patch(e.Context(), "settings", types.MergePatchType, []byte(`{"data":{"level":"`+level+`"}}`), metav1.PatchOptions{FieldManager: "kubectl-edit"})
		if err != nil {
			e.Fatal(err)
		}
	}
	for name, test := range map[string]func(e *env){
		"an edit that the deploy resets": func(e *env) {
			edit(e, "trace")
			if !e.rolls(e.options("2"), "Deployment", "model", set("info")) {
				e.Error("pods may go on with what was edited")
			}
		},
		"an edit that the manifest follows": func(e *env) {
			edit(e, "trace")
			if !e.rolls(e.options("2"), "Deployment", "model", set("trace")) {
				e.Error("pods may go on with what they read before the edit")
			}
		},
		"kubectl rollout restart": func(e *env) {
			restart := func(at string) {
				e.patch(e.Context(), "kubectl-rollout", `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"`+at+`"}}}}}`)
			}
			restart("1")
			if e.rolls(e.options("2"), "Deployment", "model", set("info")) {
				e.Error("it is rolled for nothing")
			}
			if !e.rolls(e.options("3"), "Deployment", "model", set("debug")) {
				e.Error("it is not rolled")
			}
			restart("2")
			changes := e.must(e.options("4"), set("debug"))
			if got := lines(changes); strings.Contains(got, "configured") {
				e.Error(got)
			}
			if got := object.Map(e.template("Deployment", "model"), "metadata", "annotations")["kubectl.kubernetes.io/restartedAt"]; got != "2" {
				e.Errorf("restartedAt is %v", got)
			}
		},
		"kubectl rollout undo": func(e *env) {
			e.must(e.options("2"), set("debug"))
			e.must(e.options("3"), set("trace"))
			e.patch(e.Context(), "kubectl-rollout", `{"spec":{"template":{"metadata":{"annotations":{"`+object.ConfigAnnotation+`":"ConfigMap/settings=0123456789abcdef"}}}}}`)
			if e.rolls(e.options("4"), "Deployment", "model", set("trace")) {
				e.Error("it is rolled for nothing: the pods were replaced by the undo")
			}
			if !e.rolls(e.options("5"), "Deployment", "model", set("info")) {
				e.Error("it is not rolled")
			}
		},
		"the ConfigMap comes and goes in the manifests": func(e *env) {
			e.must(e.options("2"), reader("Deployment", "model", readsAll, "labels: {x: z}"))
			if e.rolls(e.options("3"), "Deployment", "model", set("info")) {
				e.Error("it is rolled for nothing")
			}
			if !e.rolls(e.options("4"), "Deployment", "model", set("debug")) {
				e.Error("it is not rolled")
			}
		},
		"an exported manifest": func(e *env) {
			e.must(e.options("2"), set("debug"))
			var exported []string
			for _, u := range e.documents(set("debug")) {
				live := e.get(u)
				annotations := live.GetAnnotations()
				delete(annotations, "deployment.kubernetes.io/revision") // its controller's
				live.SetAnnotations(annotations)
				exported = append(exported, marshal(e.T, live.Object))
			}
			if e.rolls(e.options("3"), "Deployment", "model", strings.Join(exported, "\n---\n")) {
				e.Error("it is rolled for nothing")
			}
			if !e.rolls(e.options("4"), "Deployment", "model", strings.ReplaceAll(strings.Join(exported, "\n---\n"), `"debug"`, `"trace"`)) {
				e.Error("it is not rolled")
			}
		},
		"somebody edits while it is written": func(e *env) {
			plan, err := apply.NewPlan(e.Context(), e.documents(set("debug")), e.options("2"))
			if err != nil {
				e.Fatal(err)
			}
			edit(e, "trace")
			before := e.template("Deployment", "model")
			if _, err := plan.Write(e.Context()); err != nil {
				e.Fatal(err)
			}
			if cmp.Diff(before, e.template("Deployment", "model")) == "" {
				e.Error("it is not rolled")
			}
			if got := lines(e.must(e.options("3"), set("debug"))); strings.Contains(got, "configured") {
				e.Error(got)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			e.must(e.options("1"), set("info"))
			test(e)
		})
	}
}

func TestLiveConfigThatWasNotThere(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	optional := reader("Deployment", "model", "envFrom: [{configMapRef: {name: settings, optional: true}}]")
	e.must(e.options("1"), optional)
	if !e.rolls(e.options("2"), "Deployment", "model", settings("{level: info}")+optional) {
		t.Error("the pods do without what is there now")
	}
	if e.rolls(e.options("3"), "Deployment", "model", settings("{level: info}")+optional) {
		t.Error("it is rolled again")
	}
}

func TestLiveConfigOptedOut(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	set := func(level, roll string) string {
		return settings("{level: "+level+"}") + reader("Deployment", "model", readsAll, `annotations: {`+object.RollOnConfigAnnotation+`: "`+roll+`"}`)
	}
	for run, step := range []struct {
		level, roll string
		want        bool
	}{{"info", "true", false}, {"debug", "true", true}, {"trace", "false", false}, {"warn", "false", false}, {"warn", "true", true}, {"warn", "true", false}} {
		if run == 0 {
			e.must(e.options("0"), set("info", "true"))
		}
		if got := e.rolls(e.options(strconv.Itoa(run+1)), "Deployment", "model", set(step.level, step.roll)); got != step.want {
			t.Errorf("step %d: rolled %t", run, got)
		}
	}
}

// The way back restores the marks with the rest, so that the pods are those of the
// earlier revision again, and the next deploy knows what they have read.
func TestLiveConfigWayBack(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	set := func(level string) string {
		return settings("{level: "+level+"}") + pin(level) + reader("Deployment", "model", readsAll+"\n          "+readsPIN)
	}
	e.must(e.options("1"), set("info"))
	e.must(e.options("2"), set("debug"))
	before := e.state(set("debug"), true)
	changes := e.must(e.options("3"), set("trace"))
	if _, err := apply.Restore(context.Background(), apply.UndoOf(changes), e.options("3")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, e.state(set("debug"), true)); diff != "" {
		t.Error(diff)
	}
	if got := lines(e.must(e.options("4"), set("debug"))); strings.Contains(got, "configured") {
		t.Error(got)
	}
	if !e.rolls(e.options("5"), "Deployment", "model", set("trace")) {
		t.Error("the same failing commit is not rolled a second time")
	}
}

// An undo log holds what may be written because of what is about to change.
func TestLiveConfigInTheUndo(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	set := func(level string) string {
		return settings("{level: "+level+"}") + reader("Deployment", "model", readsAll)
	}
	e.must(e.options("1"), set("info"))
	plan, err := apply.NewPlan(e.Context(), e.documents(set("debug")), e.options("2"))
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, c := range plan.Undo() {
		kinds = append(kinds, c.Kind)
	}
	if diff := cmp.Diff([]string{"ConfigMap", "Deployment"}, kinds); diff != "" {
		t.Error(diff)
	}
	if id := (object.ID{Group: "apps", Kind: "Deployment", Namespace: e.namespace, Name: "model"}); !plan.Pending(id) {
		t.Error("the Deployment is not known to be written")
	}
}
