package deploy

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/org/deploy-model-action/pkg/cluster"
	"github.com/org/deploy-model-action/pkg/credentials"
	"github.com/org/deploy-model-action/pkg/diagnosis"
	"github.com/org/deploy-model-action/pkg/image"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/manifest"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
	"github.com/org/deploy-model-action/pkg/publish"
	"github.com/org/deploy-model-action/pkg/registry"
	"github.com/org/deploy-model-action/pkg/release"
	"github.com/org/deploy-model-action/pkg/rollout"
	"github.com/org/deploy-model-action/pkg/serving"
)

// keyed are the credentials of testKey.
func keyed(t *testing.T) *credentials.Credentials {
	t.Helper()
	c, err := credentials.Find(t.Context(), credentials.Options{
		JSON: testKey(), Getenv: func(string) string { return "" }, Workspace: workspace(t, nil), Transport: nothing{t}, Mask: func(string) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOutcome(t *testing.T) {
	t.Parallel()
	changed, same := []Change{{Action: "unchanged"}, {Action: "configured"}}, []Change{{Action: "unchanged"}}
	failed := &rollout.FailedError{Failures: []diagnosis.Failure{{Object: object.ID{Kind: "Deployment", Namespace: "default", Name: "x"}, Cause: "it crashed", Fix: "read its log"}}}
	restored := func(actions ...string) []Restored {
		var all []Restored
		for _, a := range actions {
			all = append(all, Restored{Object: "Deployment x", Action: a})
		}
		return all
	}
	for name, c := range map[string]struct {
		err, back error
		cancelled bool
		changes   []Change
		restored  []Restored
		outcome   Outcome
		code      int
	}{
		"something changed":                {changes: changed, outcome: Deployed, code: 0},
		"nothing changed":                  {changes: same, outcome: Unchanged, code: 0},
		"cancelled after the end":          {changes: changed, cancelled: true, outcome: Deployed, code: 0},
		"wrong input":                      {err: &InputError{errors.New("input sha: required")}, outcome: Failed, code: 2},
		"cancelled while reading inputs":   {err: &InputError{context.Canceled}, cancelled: true, outcome: Cancelled, code: 3},
		"cancelled half way":               {err: fmt.Errorf("stopped: %w", context.Canceled), cancelled: true, changes: changed, outcome: Cancelled, code: 3},
		"refused before the first write":   {err: errors.New("no"), outcome: Failed, code: 1},
		"failed, without rollback":         {err: failed, changes: changed, outcome: Failed, code: 1},
		"failed, nothing to go back to":    {err: failed, changes: changed, restored: restored("left"), outcome: Failed, code: 1},
		"rolled back":                      {err: failed, changes: changed, restored: restored("restored", "left"), outcome: RolledBack, code: 1},
		"rolled back in part":              {err: failed, changes: changed, restored: restored("restored", "not restored"), outcome: Failed, code: 1},
		"restored, which does not serve":   {err: failed, back: errors.New("not ready within 10m0s"), changes: changed, restored: restored("restored"), outcome: Failed, code: 1},
		"cancelled when all was restored":  {err: failed, cancelled: true, changes: changed, restored: restored("restored"), outcome: RolledBack, code: 1},
		"cancelled while it was restoring": {err: failed, cancelled: true, changes: changed, restored: restored("restored", "not restored"), outcome: Cancelled, code: 3},
		"a newer run took over":            {err: errors.Join(failed, &release.SupersededError{}), changes: changed, outcome: Superseded, code: 0},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if c.cancelled {
			cancel()
		}
		d := &deployment{manifests: &manifest.Set{}, result: &Result{Changes: c.changes, Restored: c.restored}, backErr: c.back}
		d.finish(ctx, c.err)
		cancel()
		if d.result.Outcome != c.outcome || d.result.ExitCode != c.code {
			t.Errorf("%s: outcome %s, exit code %d; want %s, %d", name, d.result.Outcome, d.result.ExitCode, c.outcome, c.code)
		}
		if (len(d.result.Problems) > 0) != (c.err != nil) || d.result.Finished.IsZero() {
			t.Errorf("%s: problems %v, finished %s", name, d.result.Problems, d.result.Finished)
		}
	}
}

var deploymentRef = kube.Ref{
	Resource: kube.Resource{GroupVersionResource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, Namespaced: true},
	Kind:     "Deployment", Namespace: "default", Name: "model",
}

// A run that is cancelled half way says what it did not come to.
func TestNotApplied(t *testing.T) {
	t.Parallel()
	set, err := manifest.Load(t.Context(), manifest.Options{
		Root:  workspace(t, map[string]string{"a.yaml": model, "b.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: model}\n"}),
		Paths: []string{"a.yaml", "b.yaml"}, Namespace: "default",
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d := &deployment{
		manifests: set, changes: []kube.Change{{Ref: deploymentRef, Action: kube.Configured}},
		result: &Result{Changes: []Change{{Action: "configured"}}, Phases: []Phase{{Name: "Apply"}}},
	}
	d.finish(ctx, ctx.Err())
	want := `the run was cancelled in the phase "Apply"; what was applied stays as it is, and these objects were not applied: Service model: run the job again to finish, or run an earlier one again to go back`
	if diff := cmp.Diff([]Problem{{Title: "Cancelled", Message: want}}, d.result.Problems); diff != "" {
		t.Error(diff)
	}
}

// A way back that is cancelled says what is restored and what is not, and not
// that all stays as it was applied.
func TestCancelledWayBack(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d := &deployment{
		manifests: &manifest.Set{}, wentBack: true, notRestored: 1, backErr: context.Canceled,
		result: &Result{
			Changes: []Change{{Action: "configured"}}, Phases: []Phase{{Name: "Rollback"}},
			Restored: []Restored{{Object: "ConfigMap default/a", Action: "restored"}, {Object: "Deployment default/b", Action: "not restored"}},
		},
	}
	d.finish(ctx, ctx.Err())
	want := `the run was cancelled in the phase "Rollback"; restored: ConfigMap default/a; not restored: Deployment default/b: run an earlier job again to go back, or this one to deploy`
	if diff := cmp.Diff([]Problem{{Title: "Cancelled", Message: want}}, d.result.Problems); diff != "" {
		t.Error(diff)
	}
}

// A way back that put all back and was cancelled then says that nobody waited for it.
func TestCancelledAfterTheWayBack(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d := &deployment{
		manifests: &manifest.Set{}, wentBack: true, backErr: context.Canceled, log: &lines{},
		result: &Result{
			Changes: []Change{{Action: "restored"}}, Phases: []Phase{{Name: "Rollback"}},
			Restored: []Restored{{Object: "ConfigMap default/a", Action: "restored"}, {Object: "Deployment default/model", Action: "restored", WasReady: true}},
		},
	}
	after := objecttest.FromYAML(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: model, namespace: default, generation: 4}, spec: {}, status: {observedGeneration: 3}}`)
	settings := objecttest.FromYAML(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}}`)
	d.noteUnwaited([]kube.Change{{Ref: deploymentRef, After: after}, {Ref: kube.Ref{Kind: "ConfigMap", Namespace: "default", Name: "a"}, After: settings}})
	d.finish(ctx, ctx.Err())
	want := `the run was cancelled in the phase "Rollback"; restored: ConfigMap default/a, Deployment default/model; not waited for: whether Deployment default/model serves again: run an earlier job again to go back, or this one to deploy`
	if diff := cmp.Diff([]Problem{{Title: "Cancelled", Message: want}}, d.result.Problems); diff != "" {
		t.Error(diff)
	}
}

// A rollback is not begun where it was not asked for, where nothing is to be
// put back, or where nobody waits for it; the cause stays as it was.
func TestNoRollback(t *testing.T) {
	t.Parallel()
	cause := errors.New("it crashed")
	changed := []Change{{Action: "configured"}}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx     context.Context //nolint:containedctx // one for each case
		asked   bool
		changes []Change
	}{
		"not asked for":   {t.Context(), false, changed},
		"nothing changed": {t.Context(), true, []Change{{Action: "unchanged"}}},
		"cancelled":       {cancelled, true, changed},
	} {
		log := &lines{}
		d := &deployment{Options: Options{Rollback: c.asked}, log: log, result: &Result{Changes: c.changes}}
		if err := d.rollback(c.ctx, cause); !errors.Is(err, cause) || d.backErr != nil || len(log.all) > 0 {
			t.Errorf("%s: error %v, log %q", name, err, log.all)
		}
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	set, err := manifest.Load(t.Context(), manifest.Options{
		Root:  workspace(t, map[string]string{"a.yaml": "# first\n" + model, "b.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: model}\n"}),
		Paths: []string{"a.yaml", "b.yaml"}, Namespace: "default",
	})
	if err != nil {
		t.Fatal(err)
	}
	one, two := errors.New("one"), errors.New("two")
	field := &kube.ObjectError{ID: deploymentRef.ID(), Field: "spec.template.spec.containers[0].image", Err: errors.New("is required: add it")}
	whole := &kube.ObjectError{ID: object.ID{Kind: "Service", Namespace: "default", Name: "model"}, Err: errors.New("is not allowed")}
	late := &kube.ObjectError{ID: object.ID{Kind: "Service", Namespace: "default", Name: "other"}, Err: errors.New("is not allowed")}
	yaml := &manifest.Error{File: "c.yaml", Line: 3, Problem: "does not parse"}
	nowhere := &manifest.Error{Problem: `manifests "x": no such file`}
	for name, c := range map[string]struct {
		err  error
		want []Problem
	}{
		"nothing":                  {nil, nil},
		"one":                      {one, []Problem{{Title: "Deploy failed", Message: "one"}}},
		"joined, and joined again": {errors.Join(one, errors.Join(two, nil)), []Problem{{Title: "Deploy failed", Message: "one\ntwo"}}},
		"wrapped stays whole":      {fmt.Errorf("credentials (key): %w", one), []Problem{{Title: "Deploy failed", Message: "credentials (key): one"}}},
		"inputs":                   {&InputError{errors.Join(one, two)}, []Problem{{Title: "Wrong input", Message: "one\ntwo"}}},
		"in a file":                {&InputError{yaml}, []Problem{{Title: "Manifest", Message: "c.yaml:3: does not parse", File: "c.yaml", Line: 3}}},
		"of a file, in none":       {&InputError{nowhere}, []Problem{{Title: "Wrong input", Message: `manifests "x": no such file`}}},
		"general ones first": {&InputError{errors.Join(yaml, one, two)}, []Problem{
			{Title: "Wrong input", Message: "one\ntwo"}, {Title: "Manifest", Message: "c.yaml:3: does not parse", File: "c.yaml", Line: 3},
		}},
		"objects": {errors.Join(field, whole), []Problem{
			{Title: "Refused by the cluster", Message: "Deployment default/model: spec.template.spec.containers[0].image: is required: add it", File: "a.yaml", Line: 8},
			{Title: "Refused by the cluster", Message: "Service default/model: is not allowed", File: "b.yaml", Line: 1},
		}},
		"an object that is wrapped": {fmt.Errorf("apply: %w", whole), []Problem{{Title: "Refused by the cluster", Message: "apply: Service default/model: is not allowed", File: "b.yaml", Line: 1}}},
		"an object of no file":      {late, []Problem{{Title: "Refused by the cluster", Message: "Service default/other: is not allowed"}}},
	} {
		d := &deployment{manifests: set}
		if diff := cmp.Diff(c.want, d.problems(c.err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestTitles(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"No image matches":          &InputError{&image.NoMatchError{Host: "h"}},
		"Credentials":               &InputError{&credentials.InvalidError{Input: "credentials_json", Problem: "is no JSON"}},
		"Wrong input":               &InputError{errors.New("input sha: required")},
		"Image not found":           &image.NotFoundError{},
		"Nothing to publish":        &publish.NotThereError{},
		"Ambiguous image":           &publish.AmbiguousError{},
		"Image of an earlier build": &publish.StaleError{},
		"Image of another commit":   &publish.RevisionError{},
		"Tag is immutable":          &publish.ImmutableTagError{},
		"Registry quota":            &publish.QuotaError{},
		"Registry refused":          &registry.Error{},
		"Credentials refused":       fmt.Errorf("credentials (key): %w", &credentials.RefusedError{}),
		"Cluster not found":         &cluster.NotFoundError{},
		"Role missing":              &cluster.ForbiddenError{},
		"Cluster not ready":         &cluster.StatusError{},
		"Cluster unreachable":       &cluster.UnreachableError{},
		"Platform does not fit":     &PlatformError{"x"},
		"Rollout failed":            &rollout.FailedError{},
		"Rollout timed out":         &rollout.TimeoutError{},
		"Health check failed":       &serving.UnhealthyError{},
		"Deploy failed":             errors.New("x"),
	} {
		problems := (&deployment{}).problems(err)
		if len(problems) != 1 || problems[0].Title != want {
			t.Errorf("%T: %+v, want the title %q", err, problems, want)
		}
	}
	// Of several, each has its own, and those of one title are together.
	problems := (&deployment{}).problems(&InputError{errors.Join(
		errors.New("input sha: required"), &credentials.InvalidError{Input: "credentials_json", Problem: "is no JSON"},
		&serving.FileError{File: "smoke.yaml", Problem: "is empty"}, errors.New("input zone: required"),
	)})
	want := []Problem{
		{Title: "Wrong input", Message: "input sha: required\ninput zone: required"},
		{Title: "Credentials", Message: "credentials_json: is no JSON"},
		{Title: "Smoke test", Message: `smoke test "smoke.yaml": is empty`},
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Error(diff)
	}
}

func TestRecordedFailure(t *testing.T) {
	t.Parallel()
	log := &lines{}
	d := &deployment{log: log, result: &Result{}}
	live := &unstructured.Unstructured{Object: map[string]any{"kind": "Deployment", "metadata": map[string]any{"name": "model", "namespace": "default"}}}
	d.recordRollouts([]rollout.Status{
		{Live: live, Ready: true}, // not waited for
		{Live: live, Waited: true, Message: "0 of 1 updated", Failure: &diagnosis.Failure{
			Object: object.ID{Kind: "Deployment", Namespace: "default", Name: "model"}, Reason: "CrashLoopBackOff", Cause: "it crashed", Fix: "read its log",
			Events: []diagnosis.Event{{Object: "Pod model-1", Reason: "BackOff", Message: "restarting", Count: 3}},
			Notes:  []string{"logs of pod model-2 cannot be read"},
			Logs:   []string{"Traceback", "  File"}, LogsOf: `pod "model-1"`,
			Others: []diagnosis.PodFailure{{Pod: "model-2", Cause: "out of memory", Fix: "raise its limit"}},
		}},
	})
	want := []string{
		"",
		"Not ready: Deployment default/model: it crashed; read its log",
		"  event: Pod model-1 BackOff: restarting (3 times)",
		"  note: logs of pod model-2 cannot be read",
		`  log of pod "model-1":`,
		"  | Traceback",
		"  |   File",
		"  also pod model-2: out of memory; raise its limit",
	}
	if diff := cmp.Diff(want, log.all); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	wantResult := &Result{
		Rollouts: []Rollout{{Object: "Deployment model", Message: "0 of 1 updated"}},
		Failures: []Failure{{
			Object: "Deployment default/model", Reason: "CrashLoopBackOff", Cause: "it crashed", Fix: "read its log",
			Events: []string{"Pod model-1 BackOff: restarting (3 times)", "logs of pod model-2 cannot be read"},
			Logs:   []string{"Traceback", "  File"}, LogsOf: `pod "model-1"`,
		}},
	}
	if diff := cmp.Diff(wantResult, d.result); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}
