package rollout

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

// mute is a world in which the watches of some resources stay open and silent.
type mute struct {
	*world
	silent map[string]bool
}

func (m mute) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/")
	if r.URL.Query().Get("watch") != "" && m.silent[parts[len(parts)-1]] {
		kubetest.Events()(out, r)
		<-r.Context().Done()
		return
	}
	m.world.ServeHTTP(out, r)
}

// TestSilentSubsets holds that no healthy deploy fails, whichever watches are
// silent, and that each is found ready at most one silence late; and that a model
// which ends after it was ready is found out all the same.
func TestSilentSubsets(t *testing.T) {
	t.Parallel()
	resources := []string{"deployments", "replicasets", "pods", "events"}
	status := func(ready int) string {
		return fmt.Sprintf(`{observedGeneration: 4, replicas: 2, updatedReplicas: 2, readyReplicas: %d, availableReplicas: %[1]d}`, ready)
	}
	pod := func(name string, state string, ready bool, restarts int) string {
		return storyPod(name, "set", "", fmt.Sprintf(`{phase: Running, conditions: [{type: Ready, status: %q}], containerStatuses: [{name: model, ready: %v, restartCount: %d, containerID: run-%d, %s}]}`,
			map[bool]string{false: "False", true: "True"}[ready], ready, restarts, restarts, state))
	}
	running := `state: {running: {startedAt: "2000-01-01T00:00:03Z"}}`
	looping := `state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 3, reason: Error}}`
	healthy := []moment{
		{at: 1, object: fmt.Sprintf(storySet, `{}`)},
		{at: 1, object: storyWorkload("Deployment", `{replicas: 2}`, status(0))},
		{at: 3, object: pod("a", running, false, 0)},
		{at: 3, object: pod("b", running, false, 0)},
		{at: 14, object: pod("a", running, true, 0)},
		{at: 20, object: pod("b", running, true, 0)},
		{at: 20, object: storyWorkload("Deployment", `{replicas: 2}`, status(2))},
	}
	ends := append(healthy[:4:4],
		moment{at: 5, object: pod("a", running, true, 0)}, moment{at: 5, object: pod("b", running, true, 0)}, moment{at: 5, object: storyWorkload("Deployment", `{replicas: 2}`, status(2))},
		moment{at: 9, object: pod("a", looping, false, 3)}, moment{at: 9, object: pod("b", looping, false, 3)}, moment{at: 9, object: storyWorkload("Deployment", `{replicas: 2}`, status(0))})
	for subset := range 1 << len(resources) {
		silent := map[string]bool{}
		for i, r := range resources {
			silent[r] = subset&(1<<i) != 0
		}
		t.Run(fmt.Sprint(silent), func(t *testing.T) {
			t.Parallel()
			for name, moments := range map[string][]moment{"healthy": healthy, "ends": ends} {
				synctest.Test(t, func(t *testing.T) {
					change := changeOf(objecttest.FromYAML(t, storyWorkload("Deployment", `{replicas: 2}`, `{}`)))
					change.Manifest = nil
					_, err := Wait(t.Context(), kubetest.Serve(t, mute{newWorld(t, moments), silent}).Client, []kube.Change{change}, Options{FailFast: true})
					took := time.Since(objecttest.Start())
					if (err == nil) != (name == "healthy") || took > 46*time.Second {
						t.Errorf("%s: %v after %s", name, err, took)
					}
				})
			}
		})
	}
}
