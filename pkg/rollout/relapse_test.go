package rollout

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

// TestRelapsed holds what a deploy that changes nothing says of a workload that is
// ready at this moment: what has just come back from a crash has to go on, and what
// goes on costs no time.
func TestRelapsed(t *testing.T) {
	t.Parallel()

	available := func(since int) string {
		return fmt.Sprintf(`, conditions: [{type: Available, status: "True", lastTransitionTime: %q}]`, objecttest.At(since))
	}
	deployment := func(spec, conditions string, ready int) string {
		return storyWorkload("Deployment", `{replicas: 1`+spec+`}`, fmt.Sprintf(`{observedGeneration: 4, replicas: 1, updatedReplicas: 1, readyReplicas: %[1]d, availableReplicas: %[1]d%[2]s}`, ready, conditions))
	}
	pod := func(restarts, started int) string {
		return storyPod("a", "set", "", fmt.Sprintf(`{phase: Running, conditions: [{type: Ready, status: "True"}], containerStatuses: [{name: model, ready: true, restartCount: %d, containerID: run-%d, state: {running: {startedAt: %q}},
  lastState: {terminated: {exitCode: 3, reason: Error, finishedAt: %q}}}]}`, restarts, restarts, objecttest.At(started), objecttest.At(started-20)))
	}
	crash := storyPod("a", "set", "", fmt.Sprintf(`{phase: Running, containerStatuses: [{name: model, restartCount: 4, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 3, reason: Error, finishedAt: %q}}}]}`, objecttest.At(4)))
	set := moment{at: -9, object: fmt.Sprintf(storySet, `{}`)}
	ends := func(spec string) []moment {
		return []moment{{at: -9, object: deployment(spec, available(-3), 1)}, set, {at: -3, object: pod(4, -3)}, {at: 4, object: crash}, {at: 4, object: deployment(spec, ``, 0)}}
	}
	goes := func(spec, conditions string, restarts, started int) []moment {
		return []moment{{at: -9, object: deployment(spec, conditions, 1)}, set, {at: -9, object: pod(restarts, started)}}
	}
	beside := changeOf(objecttest.FromYAML(t, objecttest.Text("v1", "ConfigMap", `{}`, `{}`)))

	tests := []struct {
		name     string
		moments  []moment // the first is how the workload is when it is deployed
		refuse   map[string]int
		more     []kube.Change
		started  time.Duration // since when it is read; 0 is at once
		took     float64
		failed   bool
		verified time.Duration // ago; 0: never
		requests int32         // at most, of what takes no time
	}{
		{name: "between two crashes", moments: ends(``), took: 4.4, failed: true},
		{name: "between two crashes, though minReadySeconds is 0", moments: ends(`, minReadySeconds: 0`), took: 4.4, failed: true},
		{name: "up for a moment after it was down", moments: append([]moment{
			{at: -9, object: deployment(`, minReadySeconds: 0`, ``, 0)}, set, {at: -3, object: pod(4, -3)}, {at: -2, object: deployment(`, minReadySeconds: 0`, available(-2), 1)},
		}, ends(`, minReadySeconds: 0`)[3:]...), took: 4.4, failed: true},
		{name: "read half a minute ago", moments: goes(``, available(-35), 4, -3), started: -30 * time.Second, took: 10},
		{name: "it came back, and goes on", moments: goes(``, available(-3), 4, -3), took: 10},
		{name: "one of those that may be missing came back", moments: goes(`, strategy: {rollingUpdate: {maxUnavailable: 1}}`, available(-3600), 4, -3), took: 10},
		{name: "without a surge one may be missing", moments: goes(`, strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: "25%"}}`, available(-3600), 4, -3), took: 10},
		{name: "none was missing since it was verified", moments: goes(``, available(-3), 4, -3), verified: 3 * time.Second},
		{name: "one was missing since it was verified", moments: goes(``, available(-3), 4, -3), verified: 4 * time.Second, took: 10},
		{name: "none was missing for long", moments: goes(``, available(-3600), 4, -3)},
		{name: "none was missing for long, and the next replaces it", moments: goes(`, strategy: {type: Recreate}`, available(-3600), 4, -3)},
		{name: "it came back an hour ago", moments: goes(``, ``, 4, -3600), requests: 1},
		{name: "a pod that is new", moments: goes(``, available(-3), 0, -3), requests: 1},
		{name: "its pods may not be read", moments: ends(``), refuse: map[string]int{"pods": 403}, requests: 1},
		{name: "beside what is changed", moments: ends(``), more: []kube.Change{beside}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, tt.moments)
				w.refuse = tt.refuse
				var requests atomic.Int32
				client := kubetest.Serve(t, http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
					requests.Add(1)
					w.ServeHTTP(out, r)
				})).Client
				c := changeOf(objecttest.FromYAML(t, tt.moments[0].object))
				c.Before, c.Action = c.After, kube.Unchanged
				if tt.started != 0 {
					c.Started = time.Now().Add(tt.started)
				}
				o := Options{FailFast: true}
				if tt.verified > 0 {
					o.VerifiedAt = time.Now().Add(-tt.verified)
				}
				_, err := Wait(t.Context(), client, append([]kube.Change{c}, tt.more...), o)
				if took := time.Since(objecttest.Start()).Seconds(); took < tt.took || took > tt.took+0.9 || (err != nil) != tt.failed {
					t.Errorf("%v after %.2f s, want it after %.2f s, failed: %v", err, took, tt.took, tt.failed)
				}
				if n := requests.Load(); tt.took == 0 && n > tt.requests {
					t.Errorf("%d requests, want %d at most", n, tt.requests)
				}
			})
		})
	}
}
