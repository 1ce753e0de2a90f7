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

// TestAhead waits on a watch that began before the write: what it brings of another
// run's deploy, and of the rollout before, is not taken for this one's.
func TestAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		before := deployed(t, 90, 2)
		before.SetUID("another")
		s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{
			modelPath: {kubetest.Open(
				kubetest.Event("ADDED", before), kubetest.Event("DELETED", before), kubetest.Event("ADDED", deployed(t, 100, 2)), kubetest.Event("MODIFIED", deployed(t, 150, 2)),
			)},
			podsPath: {list()}, setsPath: {list()},
		}}
		server := kubetest.Serve(t, s)
		c := changeOf(deployed(t, 100, 2))
		ahead := WatchAhead(t.Context(), server.Client, []kube.Change{{Ref: c.Ref, Before: before}})
		defer ahead.Stop()
		time.Sleep(time.Second)
		began := time.Now()
		statuses, err := Wait(t.Context(), server.Client, []kube.Change{c}, Options{FailFast: true, Ahead: ahead})
		if err != nil || !statuses[0].Ready || time.Since(began) > 0 {
			t.Errorf("error %v, statuses %+v after %s", err, statuses, time.Since(began))
		}
		if asked := s.Requests(modelPath); asked != "watch " {
			t.Errorf("asked %s", asked)
		}
	})
}

// TestAheadOf holds what is watched beside its write: workloads, and few of them.
func TestAheadOf(t *testing.T) {
	t.Parallel()
	for kinds, want := range map[string]int{
		"Deployment 1": 1, "Deployment 4": 4, "Deployment 5": 0, // which have one watch together
		"StatefulSet 1, Deployment 4": 4, "Service 1": 0, "Pod 1": 0,
	} {
		t.Run(kinds, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{}}
				var pending []kube.Change
				for _, part := range strings.Split(kinds, ", ") {
					var kind string
					var n int
					if _, err := fmt.Sscan(part, &kind, &n); err != nil {
						t.Fatal(err)
					}
					version := map[string]string{"Service": "v1", "Pod": "v1"}[kind]
					if version == "" {
						version = "apps/v1"
					}
					for i := range n {
						u := objecttest.FromYAML(t, objecttest.Text(version, kind, "{}", "{}"))
						u.SetName(fmt.Sprintf("model-%d", i))
						pending = append(pending, kube.Change{Ref: changeOf(u).Ref})
					}
				}
				ahead := WatchAhead(t.Context(), kubetest.Serve(t, s).Client, pending)
				defer ahead.Stop()
				synctest.Wait()
				if len(ahead) != want {
					t.Errorf("%d are watched, want %d", len(ahead), want)
				}
			})
		})
	}
}
