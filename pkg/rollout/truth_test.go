package rollout

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
	"github.com/org/deploy-model-action/pkg/workload/workloadtest"
)

// TestIllBefore holds that what did not serve before, and was not changed, is named
// and fails nothing, as long as the deploy changes something else.
func TestIllBefore(t *testing.T) {
	t.Parallel()
	ill := func(t *testing.T) kube.Change {
		t.Helper()
		c := changeOf(deployed(t, 150, 1))
		c.Before, c.Action = c.After, kube.Unchanged
		return c
	}
	crash := workloadtest.Pod{Name: "a", Owner: "new", Status: workloadtest.Crash}.Object(t)
	set := workloadtest.ReplicaSet(t, "new", "2", `{spec: {containers: [{name: model, image: "host/model:1"}]}}`, `{}`)
	set.Object["metadata"].(map[string]any)["ownerReferences"] = []any{map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "model", "uid": "u1", "controller": true}}
	stage := func(t *testing.T) *kubetest.Stage {
		t.Helper()
		return &kubetest.Stage{Scripts: map[string][]kubetest.Scene{
			modelPath: {read(deployed(t, 150, 1), kubetest.Open())}, podsPath: {list(crash)}, setsPath: {list(set)},
			servicePath: {read(balancer(t, ""), kubetest.Slowly(20*time.Second, kubetest.Event("MODIFIED", balancer(t, `ingress: [{ip: 203.0.113.7}]`))))},
		}}
	}
	t.Run("beside what is changed", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			got := waitForChanges(t, stage(t), Options{FailFast: true}, ill(t), changeOf(balancer(t, "")))
			if got.err != nil || got.took != 20*time.Second {
				t.Errorf("error %v after %s", got.err, got.took)
			}
			if s := got.statuses[0]; s.Ready || s.Failure == nil || s.Failure.Reason != "CrashLoopBackOff" {
				t.Errorf("%+v", s)
			}
			if !strings.Contains(got.told, `WARNING Deployment default/model: container "model" crashed with exit code 1`) || !strings.Contains(got.told, "it was not ready before this deploy, which changed nothing of it") {
				t.Errorf("told:\n%s", got.told)
			}
		})
	})
	// Nobody has seen it serve: a rerun that finds it as it wants it would be green.
	for name, tt := range map[string]struct{ ended, renewed, fails bool }{
		"left by a run that was killed":                            {fails: true},
		"left by a run that was killed, beside other pods":         {renewed: true, fails: true},
		"left by a run that failed":                                {ended: true, fails: true},
		"left by a run that failed and said so, beside other pods": {ended: true, renewed: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := ill(t)
				c.After.SetAnnotations(map[string]string{object.RunAnnotation: "7-1"})
				s, changes := stage(t), []kube.Change{c, changeOf(balancer(t, ""))}
				s.Scripts[modelPath] = []kubetest.Scene{read(c.After, kubetest.Open())}
				if tt.renewed {
					other := deployed(t, 200, 2)
					other.SetName("other")
					changes = append(changes, changeOf(other))
				}
				got := waitForChanges(t, s, Options{FailFast: true, Unverified: func(run string) (bool, bool) { return run == "7-1", tt.ended }}, changes...)
				if (got.err != nil) != tt.fails || tt.fails && !strings.Contains(got.err.Error(), "crashed with exit code 1") {
					t.Errorf("error %v after %s", got.err, got.took)
				}
			})
		})
	}
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			if got := waitForChanges(t, stage(t), Options{FailFast: true}, ill(t)); got.err == nil || !strings.Contains(got.err.Error(), "crashed with exit code 1") {
				t.Errorf("error %v after %s", got.err, got.took)
			}
		})
	})
}

// TestBeingDeleted holds that what is being deleted is never ready, whatever its
// kind, and whether it was changed or not.
func TestBeingDeleted(t *testing.T) {
	t.Parallel()
	for name, u := range map[string]*unstructured.Unstructured{
		"a Deployment that serves": deployed(t, 200, 2),
		"a ConfigMap":              objecttest.FromYAML(t, objecttest.Text("v1", "ConfigMap", `{}`, `{}`)),
		"a custom resource":        objecttest.FromYAML(t, objecttest.Text("example.com/v1", "Model", `{}`, `{}`)),
	} {
		for _, action := range []kube.Action{kube.Configured, kube.Unchanged} {
			t.Run(name+", "+string(action), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					c := changeOf(u.DeepCopy())
					at := metav1.NewTime(objecttest.Start())
					c.After.SetDeletionTimestamp(&at)
					c.Before, c.Action = c.After, action
					got := waitForChanges(t, &kubetest.Stage{}, Options{FailFast: true}, c)
					if got.err == nil || !strings.Contains(got.err.Error(), "it is being deleted") {
						t.Errorf("error %v", got.err)
					}
				})
			})
		}
	}
}

// TestNoAddress holds that an Ingress which never shows an address fails nothing,
// and that somebody is told.
func TestNoAddress(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		timeout time.Duration
		before  bool
		took    time.Duration
	}{
		"created":                       {10 * time.Minute, false, 3 * time.Minute},
		"created, and there is no time": {30 * time.Second, false, 30 * time.Second},
		"it had none before":            {10 * time.Minute, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := changeOf(objecttest.FromYAML(t, objecttest.Text("networking.k8s.io/v1", "Ingress", `{}`, `{loadBalancer: {}}`)))
				if tt.before {
					c.Before, c.Action = c.After, kube.Configured
				}
				s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{"/apis/networking.k8s.io/v1/namespaces/default/ingresses/model": {read(c.After, kubetest.Open())}}}
				got := waitForChanges(t, s, Options{FailFast: true, Timeout: tt.timeout}, c)
				if got.err != nil || got.took != tt.took || !got.statuses[0].Ready || got.statuses[0].Waited {
					t.Errorf("error %v after %s, %+v", got.err, got.took, got.statuses[0])
				}
				if !strings.Contains(got.told, "WARNING Ingress default/model: it shows no address") {
					t.Errorf("told:\n%s", got.told)
				}
			})
		})
	}
}
