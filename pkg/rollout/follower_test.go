package rollout

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/org/deploy-model-action/pkg/diagnosis"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
	"github.com/org/deploy-model-action/pkg/workload/workloadtest"
)

func TestFollow(t *testing.T) {
	t.Parallel()
	pod := func(version int, status string) string {
		o := workloadtest.Pod{Name: "pod-a", Owner: "new", Status: status}.Object(t)
		o.SetResourceVersion(strconv.Itoa(version))
		return kubetest.Encoded(o)
	}
	event := func(kind, object string) string { return fmt.Sprintf(`{"type": %q, "object": %s}`, kind, object) }
	list := func(pods ...string) kubetest.Scene { return kubetest.Answer(200, kubetest.ListOf("Pod", pods...)) }
	crash := event("MODIFIED", pod(9, workloadtest.Crash))

	const sec = time.Second
	tests := []struct {
		name    string
		script  []kubetest.Scene
		asked   string // in this order, perhaps with more in between
		waiting string // instead of a failure
		atMost  time.Duration
	}{
		{"a watch", []kubetest.Scene{list(pod(5, workloadtest.Creating)), kubetest.Open(crash)}, "get, watch 7", "", 0},
		{"a watch that is cut goes on from where it was", []kubetest.Scene{list(), kubetest.Events(event("ADDED", pod(8, workloadtest.Creating))), kubetest.Open(crash)}, "get, watch 7, watch 8", "", 150 * time.Millisecond},
		{"a watch that is cut at once, again and again", []kubetest.Scene{list(), kubetest.Events(), kubetest.Events(), kubetest.Events(), kubetest.Open(crash)}, "get, watch 7, watch 7, watch 7, watch 7", "", 1100 * time.Millisecond},
		{"a bookmark moves the place", []kubetest.Scene{list(), kubetest.Events(event("BOOKMARK", `{"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": "20"}}`)), kubetest.Open(crash)}, "get, watch 7, watch 20", "", 150 * time.Millisecond},
		{"an expired watch lists again", []kubetest.Scene{list(), kubetest.Open(kubetest.Expired), list(pod(9, workloadtest.Crash)), kubetest.Open()}, "get, watch 7, get", "", sec},
		{"410 on the watch itself", []kubetest.Scene{list(), kubetest.No(410, "Expired"), list(pod(9, workloadtest.Crash)), kubetest.Open()}, "get, watch 7, get", "", 150 * time.Millisecond},
		{"401 on the watch", []kubetest.Scene{list(), kubetest.No(401, "Unauthorized"), kubetest.Open(crash)}, "get, watch 7, watch 7", "", sec},
		{"a server that stumbles", []kubetest.Scene{kubetest.No(500, "InternalError"), kubetest.No(503, "ServiceUnavailable"), kubetest.HangUp, list(pod(9, workloadtest.Crash)), kubetest.Open()}, "get, get, get", "", 4 * sec},
		{"a server that does not answer", []kubetest.Scene{kubetest.Hang, list(pod(9, workloadtest.Crash)), kubetest.Open()}, "get, get", "", 16 * sec},
		{"no right to watch: polls", []kubetest.Scene{list(), kubetest.No(403, "Forbidden"), list(pod(9, workloadtest.Crash)), kubetest.No(403, "Forbidden")}, "get, watch 7, get", "", sec},
		{"no right to list: says so", []kubetest.Scene{kubetest.No(403, "Forbidden")}, "get", `the pods cannot be read: a Role in namespace "default" has to allow "list" and "watch" on pods`, 0},
		{"a right that comes", []kubetest.Scene{kubetest.No(403, "Forbidden"), list(pod(9, workloadtest.Crash)), kubetest.Open()}, "get, get", "", 30 * sec},
		{"a pod that is deleted", []kubetest.Scene{list(pod(5, workloadtest.Creating)), kubetest.Open(event("DELETED", pod(8, workloadtest.Creating)))}, "get, watch 7", "no pod yet", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{
					podsPath: tt.script,
					setsPath: {kubetest.Answer(200, kubetest.ListOf("ReplicaSet", kubetest.Encoded(workloadtest.ReplicaSet(t, "new", "2", workloadtest.Template, `{}`)))), kubetest.Open()},
				}}
				client := kubetest.Serve(t, s).Client
				state := newState(changeOf(workloadtest.Object(t, "Deployment", 1, `{observedGeneration: 2}`)), time.Now())
				state.follow(time.Now())
				f := newFollower(client, state, newBoard(nil, nil), nil)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					f.follow(ctx)
				}()
				for done := false; !done; {
					select {
					case o := <-f.observations:
						state.observe(o, time.Now())
					case <-ctx.Done():
						t.Fatalf("no verdict; asked %s", s.Requests(podsPath))
					}
					v := diagnosis.Evaluate(state.evidence, time.Now(), diagnosis.Options{})
					done = v.Failure != nil && tt.waiting == "" || v.Failure == nil && tt.waiting != "" && v.Waiting+v.Unknown == tt.waiting
					done = done && strings.Count(s.Requests(podsPath), ",") >= strings.Count(tt.asked, ",")
				}
				if took := time.Since(objecttest.Start()); took > tt.atMost {
					t.Errorf("took %s, want at most %s", took, tt.atMost)
				}
				cancel()
				cancelled := time.Now()
				if <-ended; time.Since(cancelled) > 0 {
					t.Errorf("ended %s after its context", time.Since(cancelled))
				}
				if got := s.Requests(podsPath); !strings.HasPrefix(got, tt.asked) {
					t.Errorf("asked %s, want %s", got, tt.asked)
				}
			})
		})
	}
}
