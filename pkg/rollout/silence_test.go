package rollout

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
	"github.com/org/deploy-model-action/pkg/workload/workloadtest"
)

// TestSilentWatches holds that watches which stay open and bring nothing decide no
// rollout: the objects are well, as whoever reads them sees.
func TestSilentWatches(t *testing.T) {
	t.Parallel()
	set := workloadtest.ReplicaSet(t, "new", "2", `{spec: {containers: [{name: model, image: "host/model:1"}]}}`, `{}`)
	set.Object["metadata"].(map[string]any)["ownerReferences"] = []any{map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "model", "uid": "u1", "controller": true}}
	pod := func(status string) kubetest.Scene {
		return list(workloadtest.Pod{Name: "a", Owner: "new", Status: status}.Object(t))
	}
	// healing is one scene until a moment, and another from then on, for who reads.
	healing := func(after time.Duration, before, then kubetest.Scene) kubetest.Scene {
		return func(w http.ResponseWriter, r *http.Request) {
			if time.Since(objecttest.Start()) < after {
				before(w, r)
				return
			}
			then(w, r)
		}
	}
	half, done := read(deployed(t, 150, 1), kubetest.Open()), read(deployed(t, 200, 2), kubetest.Open())
	tests := []struct {
		name    string
		object  kubetest.Scene
		pods    kubetest.Scene
		timeout time.Duration
		took    time.Duration
		fails   bool
	}{
		{"the object is ready when time is up", done, list(), 10 * time.Second, 10 * time.Second, false},
		{"the object is ready long before time is up", done, list(), 10 * time.Minute, 12 * time.Second, false},
		{"the object is not ready", half, list(), 65 * time.Second, 65 * time.Second, true},
		{"pods that healed, and the object is ready", healing(30*time.Second, half, done), healing(30*time.Second, pod(workloadtest.NoSecret), pod(workloadtest.Ready)), 10 * time.Minute, 36 * time.Second, false},
		{"pods that healed, and the object is ready a moment later", healing(70*time.Second, half, done), healing(30*time.Second, pod(workloadtest.NoSecret), pod(workloadtest.Ready)), 10 * time.Minute, 72 * time.Second, false},
		{"pods that still fail", half, pod(workloadtest.NoSecret), 10 * time.Minute, time.Minute, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{modelPath: {tt.object}, podsPath: {tt.pods}, setsPath: {list(set)}}}
				got := waitFor(t, s, Options{FailFast: true, Timeout: tt.timeout}, deployed(t, 100, 2))
				if (got.err != nil) != tt.fails || got.took < tt.took || got.took > tt.took+time.Second {
					t.Errorf("error %v after %s, want it after %s", got.err, got.took, tt.took)
				}
				var failed *FailedError
				if errors.As(got.err, &failed) && failed.Failures[0].Pod != "a" {
					t.Errorf("%+v", failed.Failures[0])
				}
			})
		})
	}
}

// TestFreshVerdict holds that what a watch has just brought is not read again: a
// container that crashes runs again a moment later, and the rollout has failed all
// the same.
func TestFreshVerdict(t *testing.T) {
	t.Parallel()
	set := workloadtest.ReplicaSet(t, "new", "2", `{spec: {containers: [{name: model, image: "host/model:1"}]}}`, `{}`)
	set.Object["metadata"].(map[string]any)["ownerReferences"] = []any{map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "model", "uid": "u1", "controller": true}}
	pod := func(status string) *unstructured.Unstructured {
		return workloadtest.Pod{Name: "a", Owner: "new", Status: status}.Object(t)
	}
	synctest.Test(t, func(t *testing.T) {
		pods := func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("watch") != "" {
				kubetest.Slowly(3*time.Second, kubetest.Event("MODIFIED", pod(workloadtest.Crash)))(w, r)
				return
			}
			list(pod(workloadtest.Running))(w, r)
		}
		s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{modelPath: {read(deployed(t, 150, 1), kubetest.Open())}, podsPath: {pods}, setsPath: {list(set)}}}
		got := waitFor(t, s, Options{FailFast: true}, deployed(t, 100, 2))
		var failed *FailedError
		if !errors.As(got.err, &failed) || failed.Failures[0].Reason != "CrashLoopBackOff" || got.took != 3*time.Second {
			t.Errorf("error %v after %s", got.err, got.took)
		}
		if asked := s.Requests(modelPath); asked != "watch 100" {
			t.Errorf("asked %s", asked)
		}
	})
}
