package apply_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/pkg/apply"
	"github.com/org/deploy-model-action/pkg/kube"
)

const around = `---
apiVersion: v1
kind: Service
metadata: {name: model, labels: {old: "yes"}}
spec: {type: ClusterIP, selector: {app: model}, ports: [{name: web, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, annotations: {level: "1"}}
data: {a: "1", b: "2"}
---
apiVersion: v1
kind: Secret
metadata: {name: key}
stringData: {a: "1", b: "2"}
`

// changed is the same with other types, ports, keys and labels.
const changed = `---
apiVersion: v1
kind: Service
metadata: {name: model, labels: {new: "yes"}}
spec: {type: NodePort, selector: {app: model}, ports: [{name: web, port: 8080, targetPort: http}, {name: more, port: 81}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, annotations: {level: "2"}, labels: {new: "yes"}}
data: {a: "9", c: "3"}
---
apiVersion: v1
kind: Secret
metadata: {name: key}
stringData: {a: "9", c: "3"}
`

// state is everything of some objects that a way back has to give back: with
// owners also who has which field.
func (e *env) state(manifest string, owners bool) map[string]any {
	e.Helper()
	all := map[string]any{}
	for _, u := range e.documents(manifest) {
		live := e.get(u)
		delete(live.Object, "status")
		metadata := live.Object["metadata"].(map[string]any)
		for _, key := range []string{"resourceVersion", "generation"} {
			delete(metadata, key)
		}
		who := map[string]any{}
		for _, entry := range metadata["managedFields"].([]any) {
			m := entry.(map[string]any)
			if m["subresource"] != "status" && m["manager"] != "controlplane" { // whose status moves
				who[m["manager"].(string)+" "+m["operation"].(string)] = m["fieldsV1"]
			}
		}
		delete(metadata, "managedFields")
		if owners {
			metadata["owners"] = who
		}
		annotations := live.GetAnnotations()
		delete(annotations, "deployment.kubernetes.io/revision") // counts up
		live.SetAnnotations(annotations)
		all[u.GetKind()] = live.Object
	}
	return all
}

// TestLiveRestore deploys one version over another with one history or another,
// and goes back: all is what it was, to the last field, mark and owner, and the
// next deploy of the old version changes nothing.
func TestLiveRestore(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		history func(e *env)
		old     string // as the run before deployed it
		new     string
		force   bool
		foreign bool // it was not ours before, so owners are not what they were
	}{
		{
			name: "ours", old: model("r/m:1", "replicas: 2", "env: [{name: A, value: a}]") + around,
			new: model("r/m:2", "replicas: 1\n  minReadySeconds: 3", "imagePullPolicy: Always") + changed,
		},
		{
			name: "ours, and replicas of an autoscaler", old: model("r/m:1", "replicas: 2", ""),
			history: func(e *env) { e.patch(e.Context(), "kube-controller-manager", `{"spec":{"replicas":7}}`, "scale") },
			new:     model("r/m:2", "replicas: 1", ""),
		},
		{
			name: "ours, and replicas that nobody owns any more", old: model("r/m:1", "minReadySeconds: 1", ""),
			history: func(e *env) {
				e.must(e.options("0-1"), model("r/m:0", "replicas: 5", ""))
				e.must(e.options("1-1"), model("r/m:1", "minReadySeconds: 1", ""))
			},
			new: model("r/m:2", "replicas: 2", ""),
		},
		{
			name: "ours, edited by hand", old: model("r/m:1", "replicas: 2", ""),
			history: func(e *env) {
				e.patch(e.Context(), "kubectl-edit", `{"spec":{"template":{"spec":{"containers":[{"name":"model","image":"r/m:hand","resources":{"limits":{"memory":"2Gi"}}}]}}}}`)
			},
			new: model("r/m:2", "replicas: 2", ""), foreign: true,
		},
		{
			name: "ours, and another's by force", old: model("r/m:1", "replicas: 2", ""),
			history: func(e *env) {
				e.patch(e.Context(), "platform-controller", `{"spec":{"minReadySeconds":4,"template":{"spec":{"containers":[{"name":"model","env":[{"name":"A","value":"theirs"}]}]}}}}`)
			},
			new: model("r/m:2", "replicas: 2\n  minReadySeconds: 0", "env: [{name: A, value: ours}]"), force: true, foreign: true,
		},
		{
			name: "made by kubectl apply", foreign: true,
			history: func(e *env) {
				e.create("kubectl-client-side-apply", "Update", model("r/m:1", "replicas: 2", "")+around)
			},
			new: model("r/m:2", "replicas: 1", "") + changed,
		},
		{
			name: "made by kubectl apply, and scaled by hand", foreign: true,
			history: func(e *env) {
				e.create("kubectl-client-side-apply", "Update", model("r/m:1", "replicas: 2", ""))
				e.patch(e.Context(), "kubectl", `{"spec":{"replicas":6}}`, "scale")
			},
			new: model("r/m:2", "replicas: 1", ""),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			if tc.old != "" {
				e.must(e.options("1-1"), tc.old)
			}
			if tc.history != nil {
				tc.history(e)
			}
			before := e.state(tc.new, !tc.foreign)
			o := e.options("2-1")
			o.ForceConflicts = tc.force
			changes := e.must(o, tc.new)
			o.ForceConflicts = false
			restored, err := apply.Restore(t.Context(), apply.UndoOf(changes), o)
			if err != nil {
				t.Fatalf("%v\n%v", err, restored)
			}
			for _, r := range restored {
				if r.Outcome != apply.OutcomeRestored || r.Message != "" || r.Change.After == nil || r.Change.Before == nil {
					t.Errorf("%s", r)
				}
			}
			if diff := cmp.Diff(before, e.state(tc.new, !tc.foreign)); diff != "" {
				t.Errorf("what is there is not what was there (-before +after):\n%s", diff)
			}
			again, err := apply.Restore(t.Context(), apply.UndoOf(changes), o)
			if err != nil || len(again) == 0 || again[0].Outcome != apply.OutcomeUntouched {
				t.Errorf("a second way back: %v, %v", again, err)
			}
			if tc.old != "" && !tc.foreign {
				if got := lines(e.must(e.options("3-1"), tc.old)); strings.Contains(got, "configured") {
					t.Errorf("the next deploy of the old version: %s", got)
				}
			}
			e.must(e.options("4-1"), tc.new)
		})
	}
}

// TestLiveLeft: what is not any more as this run left it is named, and left.
func TestLiveLeft(t *testing.T) {
	t.Parallel()
	const image = `{"spec":{"template":{"spec":{"containers":[{"name":"model","image":"r/m:hand"}]}}}}`
	first, second := model("r/m:1", "replicas: 2", ""), model("r/m:2", "replicas: 2", "")
	for _, tc := range []struct {
		name    string
		since   func(e *env)
		undo    func(u *apply.Undo)
		ours    string // a run that this one took over from
		run     string
		outcome apply.Outcome
		says    string
		image   string
	}{
		{name: "nobody", outcome: apply.OutcomeRestored, image: "r/m:1"},
		{name: "kubectl edit", since: func(e *env) { e.patch(e.Context(), "kubectl-edit", image) }, outcome: apply.OutcomeLeft, says: "somebody changed it since (spec.template.spec.containers[0].image); left as it is", image: "r/m:hand"},
		{name: "a newer run", since: func(e *env) { e.must(e.options("3-1"), model("r/m:3", "replicas: 2", "")) }, outcome: apply.OutcomeLeft, says: "a newer run has deployed it since; left as it is", image: "r/m:3"},
		{name: "a newer run with the same manifest", since: func(e *env) {
			plan, err := apply.NewPlan(e.Context(), e.documents(second), e.options("3-1"))
			if err == nil {
				err = plan.Refresh(e.Context(), true)
			}
			if err == nil {
				_, err = plan.Write(e.Context())
			}
			if err != nil {
				e.Fatal(err)
			}
		}, outcome: apply.OutcomeLeft, says: "a newer run has deployed it since; left as it is", image: "r/m:2"},
		{name: "an autoscaler", since: func(e *env) {
			e.patch(e.Context(), "kube-controller-manager", `{"spec":{"replicas":7}}`, "scale")
		}, outcome: apply.OutcomeRestored, says: `left to others: spec.replicas (held by "kube-controller-manager")`, image: "r/m:1"},
		{name: "kubectl scale", since: func(e *env) { e.patch(e.Context(), "kubectl", `{"spec":{"replicas":7}}`, "scale") }, outcome: apply.OutcomeRestored, says: `left to others: spec.replicas (held by "kubectl")`, image: "r/m:1"},
		{name: "a controller", since: func(e *env) { e.patch(e.Context(), "injector", `{"spec":{"minReadySeconds":3}}`) }, outcome: apply.OutcomeRestored, says: `left to others: spec.minReadySeconds (held by "injector")`, image: "r/m:1"},
		{name: "deleted", since: func(e *env) {
			if err := e.deployment().Delete(e.Context(), "model", metav1.DeleteOptions{}); err != nil {
				e.Fatal(err)
			}
		}, outcome: apply.OutcomeLeft, says: "somebody deleted it since; apply its earlier manifest by hand"},
		{name: "by a run that takes over", ours: "2-1", run: "3-1", undo: func(u *apply.Undo) { u.After = nil }, outcome: apply.OutcomeRestored, image: "r/m:1"},
		{name: "by a run that did not take over", run: "3-1", undo: func(u *apply.Undo) { u.After = nil }, outcome: apply.OutcomeLeft, says: "a newer run has deployed it since; left as it is", image: "r/m:2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			e.must(e.options("1-1"), first)
			undo := apply.UndoOf(e.must(e.options("2-1"), second))
			if tc.since != nil {
				tc.since(e)
			}
			if tc.undo != nil {
				tc.undo(&undo[0])
			}
			run := "2-1"
			if tc.run != "" {
				run = tc.run
			}
			o := e.options(run)
			o.Ours = func(run string) bool { return run == tc.ours && run != "" }
			restored, err := apply.Restore(t.Context(), undo, o)
			if len(restored) != 1 || restored[0].Outcome != tc.outcome || restored[0].Message != tc.says {
				t.Fatalf("%v, %v", restored, err)
			}
			var left *kube.LeftError
			if want := tc.outcome == apply.OutcomeLeft; errors.As(err, &left) != want || (err != nil) != want {
				t.Errorf("error %v", err)
			}
			if tc.image == "" {
				return
			}
			live, err := e.deployment().Get(t.Context(), "model", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := imageOf(live.Object); got != tc.image {
				t.Errorf("image %s, want %s", got, tc.image)
			}
			if want := map[apply.Outcome]string{apply.OutcomeRestored: "1-1"}[tc.outcome]; want != "" && live.GetAnnotations()["deploy-model-action/run"] != want {
				t.Errorf("marks %v", maps.Clone(live.GetAnnotations()))
			}
		})
	}
}

// TestLiveUncertain: of a write whose answer never came only the cluster knows.
func TestLiveUncertain(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	old := model("r/m:1", "replicas: 1", "") + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: \"1\"}\n"
	e.must(e.options("1-1"), old)
	newer := model("r/m:2", "replicas: 1", "") + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: \"2\"}\n" +
		"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: made}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: never}\n"
	plan, err := apply.NewPlan(t.Context(), e.documents(newer), e.options("2-1"))
	if err != nil {
		t.Fatal(err)
	}
	undo := make([]apply.Undo, 0, 4)
	for _, c := range plan.Undo() {
		undo = append(undo, apply.Undo{Ref: c.Ref, Before: c.Before}) // as a log tells it
	}
	// Of the four writes two came.
	parts := strings.Split(newer, "---\n")
	e.must(e.options("2-1"), parts[0]+"---\n"+parts[2])
	restored, err := apply.Restore(t.Context(), undo, e.options("2-1"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]apply.Outcome{}
	for _, r := range restored {
		got[r.ID().Resource()] = r.Outcome
	}
	want := map[string]apply.Outcome{
		"deployment.apps/model": apply.OutcomeRestored, "configmap/c": apply.OutcomeUntouched,
		"configmap/made": apply.OutcomeNew, "configmap/never": apply.OutcomeUntouched,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := lines(e.must(e.options("3-1"), old)); strings.Contains(got, "configured") {
		t.Error(got)
	}
}
