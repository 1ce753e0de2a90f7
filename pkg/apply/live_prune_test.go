package apply_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/org/deploy-model-action/pkg/apply"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

// thing is a ConfigMap.
func thing(name string, metadata ...string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", " + strings.Join(metadata, ", ") + "}\ndata: {of: " + name + "}\n"
}

// things are several.
func things(names ...string) string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = thing(name)
	}
	return strings.Join(all, "---\n")
}

// listed are the objects of a manifest as a run's inventory has them.
func (e *env) listed(changes []kube.Change) []apply.Listed {
	e.Helper()
	var all []apply.Listed
	for _, c := range changes {
		all = append(all, apply.Listed{ID: c.ID(), Version: c.Version, UID: string(c.After.GetUID())})
	}
	return all
}

// rules are those of a release whose only run is 1-1.
func rules() apply.PruneRules {
	return apply.PruneRules{Author: func(run string) (own, foreign bool) { return run == "1-1", run != "1-1" }}
}

// fates reads what is listed and decides.
func (e *env) fates(listed []apply.Listed, o apply.Options) []apply.Fate {
	e.Helper()
	found, err := apply.FindLeftovers(e.Context(), listed, o)
	if err != nil {
		e.Fatal(err)
	}
	return apply.Prunable(found, rules())
}

// there are the names of the namespace's ConfigMaps.
func (e *env) there() string {
	e.Helper()
	list, err := e.at(e.documents(thing("x"))[0]).List(e.Context(), metav1.ListOptions{})
	if err != nil {
		e.Fatal(err)
	}
	var names []string
	for _, u := range list.Items {
		if u.GetName() != "kube-root-ca.crt" {
			names = append(names, u.GetName())
		}
	}
	return strings.Join(names, " ")
}

func (e *env) annotate(name, key, value string) {
	e.Helper()
	u := e.documents(thing(name))[0]
	body := `{"metadata":{"annotations":{"` + key + `":"` + value + `"}}}`
	if _, err := e.at(u).Patch(e.Context(), name, types.MergePatchType, []byte(body), metav1.PatchOptions{FieldManager: "kubectl-annotate"}); err != nil {
		e.Fatal(err)
	}
}

// createAnew deletes a thing and makes another one of its name.
func (e *env) createAnew(name string) {
	e.Helper()
	u := e.documents(thing(name))[0]
	if err := e.at(u).Delete(e.Context(), name, metav1.DeleteOptions{}); err != nil {
		e.Fatal(err)
	}
	e.create("kubectl-create", "Update", thing(name))
}

// TestLivePrune deletes what a run applied, and nothing that somebody else has to do
// with, whether that came before it was looked at or after.
func TestLivePrune(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	o := e.options("1-1")
	var log []string
	o.Report = func(c kube.Change) { log = append(log, c.String()) }
	e.create("kubectl-create", "Update", thing("before-us"))
	listed := e.listed(e.must(o, things("plain", "edited", "kept", "anew", "kept-late", "anew-late", "edited-late", "gone", "gone-late")+"---\n"+model("r/m:1", "replicas: 0", "")+around))
	listed = append(listed, apply.Listed{ID: object.ID{Kind: "ConfigMap", Namespace: e.namespace, Name: "before-us"}, Version: "v1"})
	for i := range listed {
		if listed[i].Kind == "Deployment" {
			listed[i].Version = "v1beta1" // as an old cluster served it
		}
	}
	e.annotate("edited", "team", "a")
	e.annotate("kept", object.PruneAnnotation, "false")
	e.createAnew("anew")
	remove := func(name string) {
		if err := e.at(e.documents(thing(name))[0]).Delete(e.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	remove("gone")
	fates := e.fates(listed, o)
	before := e.there()
	if err := apply.TryPrune(e.Context(), fates, o); err != nil {
		t.Fatal(err)
	}
	if now := e.there(); now != before {
		t.Fatalf("after the dry run there is %s", now)
	}
	e.annotate("edited-late", "team", "a")
	e.annotate("kept-late", object.PruneAnnotation, "false")
	e.createAnew("anew-late")
	remove("gone-late")
	log = nil
	pruned, err := apply.Prune(e.Context(), fates, rules(), o)
	if err != nil {
		t.Fatal(err)
	}
	if want, now := "anew anew-late before-us kept kept-late", e.there(); now != want {
		t.Errorf("there is %s, want %s", now, want)
	}
	// Of what somebody else deleted in the same moment a delete whose answer was lost says the same.
	want := "deployment.apps/model pruned, configmap/edited pruned, configmap/edited-late pruned, configmap/gone-late pruned, configmap/plain pruned, configmap/settings pruned, secret/key pruned, service/model pruned"
	if got := strings.Join(log, ", "); got != want {
		t.Errorf("the log is %s\nwant %s", got, want)
	}
	for _, p := range pruned {
		switch {
		case p.Err != nil:
			t.Error(p.Err)
		case p.Change.Action == kube.Pruned && !p.Gone:
			t.Errorf("%s: is not gone: %s", p.ID, p.Why)
		case p.Change.Action == "" && p.Prune:
			t.Errorf("%s: nothing became of it", p.ID)
		}
	}
	var forgotten []string
	for _, f := range fates {
		if f.Forget {
			forgotten = append(forgotten, f.Name+": "+f.Why)
		}
	}
	slices.Sort(forgotten)
	if got, want := strings.Join(forgotten, "\n"), "anew: somebody has created it anew since a deploy applied it; delete it by hand if nobody needs it: kubectl delete configmap anew -n "+e.namespace+
		"\nbefore-us: no deploy has applied it as it is; delete it by hand if nobody needs it: kubectl delete configmap before-us -n "+e.namespace+"\ngone: "; got != want {
		t.Errorf("forgotten: %s", got)
	}
}

// What was there before is told apart from what a deploy created, by the object alone
// and before it is applied: a way back leaves fields of ours.
func TestLiveInventorySaysWhatWasThereBefore(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	o := e.options("1-1")
	e.create("kubectl-create", "Update", thing("old"))
	for i, want := range []string{"old found true uid true, new found false uid false", "old found false uid true, new found false uid true"} {
		plan, err := apply.NewPlan(e.Context(), e.documents(things("old", "new")+"---\n"+strings.Replace(thing("x"), "name: x", "generateName: x, name: x-1", 1)), o)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range plan.Inventory() {
			got = append(got, fmt.Sprintf("%s found %v uid %v", l.Name, l.Found, l.UID != ""))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%d: %s", i, strings.Join(got, ", "))
		}
		if _, err := plan.Write(e.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A run whose record is another's by now deletes nothing more.
func TestLivePruneIsSuperseded(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	o := e.options("1-1")
	listed := e.listed(e.must(o, things("a", "b")))
	fates := e.fates(listed, o)
	newer := errors.New("a newer run")
	o.Held = func(context.Context) error { return newer }
	pruned, err := apply.Prune(e.Context(), fates, rules(), o)
	var stopped *kube.StoppedError
	if !errors.As(err, &stopped) || !errors.Is(err, newer) || len(pruned) != 0 || e.there() != "a b" {
		t.Errorf("%v, pruned %v, there is %s", err, pruned, e.there())
	}
	// One that has claimed and written since the object was read.
	asked := 0
	o.Held = func(context.Context) error {
		if asked++; asked > 1 {
			return newer
		}
		e.annotate("a", "touched", "yes")
		return nil
	}
	if _, err = apply.Prune(e.Context(), fates[:1], rules(), o); !errors.As(err, &stopped) || e.there() != "a b" {
		t.Errorf("%v, there is %s", err, e.there())
	}
}

// A right that is missing is found by the dry run, and named when it comes later.
func TestLivePruneWithoutTheRight(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	o := e.options("1-1")
	listed := e.listed(e.must(o, things("a", "b")))
	for _, manifest := range []string{
		"apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: reads}\nrules: [{apiGroups: [''], resources: [configmaps], verbs: [get, patch, create]}]",
		"apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: reads}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reads}\nsubjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: deployer@example.com}]",
	} {
		e.create("kubectl-create", "Update", manifest)
	}
	config := configOf(t)
	config.Impersonate = rest.ImpersonationConfig{UserName: "deployer@example.com"}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	o.Client = kube.NewClient(client, e.rest, kube.Options{})
	fates := e.fates(listed, o)
	const want = `user "deployer@example.com" cannot delete configmaps in namespace`
	if err := apply.TryPrune(e.Context(), fates, o); err == nil || strings.Count(err.Error(), want) != 2 || !strings.Contains(err.Error(), "with the verbs get, create, patch and delete on configmaps") {
		t.Errorf("the dry run: %v", err)
	}
	pruned, err := apply.Prune(e.Context(), fates, rules(), o)
	if err != nil || len(pruned) != 2 {
		t.Fatalf("%v, %d", err, len(pruned))
	}
	for _, p := range pruned {
		if p.Err == nil || !strings.Contains(p.Err.Error(), want) || !strings.HasSuffix(p.Err.Error(), "; the next deploy tries again") || p.Change.Action != "" {
			t.Errorf("%v %q", p.Err, p.Change.Action)
		}
	}
	if e.there() != "a b" {
		t.Errorf("there is %s", e.there())
	}
}

// A custom resource whose definition was deleted went with it.
func TestLivePruneOfWhatTheClusterDoesNotServe(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	fates := e.fates([]apply.Listed{
		{ID: object.ID{Group: "gone.example.com", Kind: "Model", Namespace: e.namespace, Name: "a"}, Version: "v1", UID: "1"},
		{ID: object.ID{Group: "apps", Kind: "Model", Namespace: e.namespace, Name: "a"}, Version: "v1", UID: "1"},
	}, e.options("1-1"))
	for _, f := range fates {
		if !f.Forget || f.Why != "" {
			t.Errorf("%s: %+v", f.ID, f)
		}
	}
}

// A Job goes with its pods.
func TestLivePruneOfAJob(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	o := e.options("1-1")
	listed := e.listed(e.must(o, job("r/m:1", runs)))
	for e.pods() == 0 {
		if e.Context().Err() != nil {
			t.Fatal("the Job makes no pod")
		}
		time.Sleep(100 * time.Millisecond)
	}
	if _, err := apply.Prune(e.Context(), e.fates(listed, o), rules(), o); err != nil {
		t.Fatal(err)
	}
	if _, err := e.at(e.documents(job("", ""))[0]).Get(e.Context(), "migrate", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Error(err)
	}
	for n := 0; e.pods() > 0; n++ {
		if n > 600 {
			t.Fatalf("%d pods are left", e.pods())
		}
		time.Sleep(100 * time.Millisecond)
	}
}
