package rollout

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

// TestSteadyCustom holds that a custom resource which is ready by its own word is
// so when the containers behind it have run for 10 s, and at once if none is there.
func TestSteadyCustom(t *testing.T) {
	t.Parallel()
	rollout := func(status string) string {
		return objecttest.Text("argoproj.io/v1alpha1", "Rollout", `{replicas: 1, selector: {matchLabels: {app: model}}}`, status)
	}
	const healthy = `{observedGeneration: "4", phase: Healthy, currentPodHash: abc}`
	pod := func(restarts, started int) string {
		return strings.Replace(storyPod("a", "set", "", fmt.Sprintf(`{phase: Running, conditions: [{type: Ready, status: "True"}], containerStatuses: [{name: model, ready: true, restartCount: %d, containerID: run-%d, state: {running: {startedAt: %q}}}]}`,
			restarts, restarts, objecttest.At(started))), "controller-revision-hash: new", "rollouts-pod-template-hash: abc", 1)
	}
	for _, tt := range []struct {
		name    string
		moments []moment
		ready   float64
	}{
		{name: "no pods", moments: []moment{{at: 1, object: rollout(healthy)}}, ready: 1.4},
		{name: "a pod that has just started", moments: []moment{{at: 0.5, object: pod(0, 1)}, {at: 2, object: rollout(healthy)}}, ready: 10.9},
		{name: "a pod that starts again", moments: []moment{{at: 0.5, object: pod(0, 1)}, {at: 2, object: rollout(healthy)}, {at: 6, object: pod(1, 6)}}, ready: 16.4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				change := changeOf(objecttest.FromYAML(t, rollout(`{}`)))
				change.Manifest = nil // which says nothing of minReadySeconds
				_, err := Wait(t.Context(), kubetest.Serve(t, newWorld(t, tt.moments)).Client, []kube.Change{change}, Options{FailFast: true})
				if took := time.Since(objecttest.Start()).Seconds(); err != nil || took < tt.ready || took > tt.ready+0.9 {
					t.Errorf("ready after %.2f s, want %.2f s: %v", took, tt.ready, err)
				}
			})
		})
	}
}
