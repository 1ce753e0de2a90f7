package rollout

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestFollow(t *testing.T) {
	t.Parallel()
	pod := func(version int, status string) string {
		o := onePod{name: "pod-a", owner: "new", status: status}.object(t)
		o.SetResourceVersion(strconv.Itoa(version))
		return encoded(o)
	}
	event := func(kind, object string) string { return fmt.Sprintf(`{"type": %q, "object": %s}`, kind, object) }
	list := func(pods ...string) scene { return answer(200, listOf("Pod", pods...)) }
	crash := event("MODIFIED", pod(9, crashState))

	const sec = time.Second
	tests := []struct {
		name    string
		script  []scene
		asked   string // in this order, perhaps with more in between
		waiting string // instead of a failure
		atMost  time.Duration
	}{
		{"a watch", []scene{list(pod(5, creatingState)), open(crash)}, "get, watch 7", "", 0},
		{"a watch that is cut goes on from where it was", []scene{list(), events(event("ADDED", pod(8, creatingState))), open(crash)}, "get, watch 7, watch 8", "", 150 * time.Millisecond},
		{"a watch that is cut at once, again and again", []scene{list(), events(), events(), events(), open(crash)}, "get, watch 7, watch 7, watch 7, watch 7", "", 1100 * time.Millisecond},
		{"a bookmark moves the place", []scene{list(), events(event("BOOKMARK", `{"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": "20"}}`)), open(crash)}, "get, watch 7, watch 20", "", 150 * time.Millisecond},
		{"an expired watch lists again", []scene{list(), open(expired), list(pod(9, crashState)), open()}, "get, watch 7, get", "", sec},
		{"410 on the watch itself", []scene{list(), no(410, "Expired"), list(pod(9, crashState)), open()}, "get, watch 7, get", "", 150 * time.Millisecond},
		{"401 on the watch", []scene{list(), no(401, "Unauthorized"), open(crash)}, "get, watch 7, watch 7", "", sec},
		{"a server that stumbles", []scene{no(500, "InternalError"), no(503, "ServiceUnavailable"), hangUp, list(pod(9, crashState)), open()}, "get, get, get", "", 4 * sec},
		{"a server that does not answer", []scene{hang, list(pod(9, crashState)), open()}, "get, get", "", listTimeout + sec},
		{"no right to watch: polls", []scene{list(), no(403, "Forbidden"), list(pod(9, crashState)), no(403, "Forbidden")}, "get, watch 7, get", "", sec},
		{"no right to list: says so", []scene{no(403, "Forbidden")}, "get", `the pods cannot be read: a Role in namespace "default" has to allow "list" and "watch" on pods`, 0},
		{"a right that comes", []scene{no(403, "Forbidden"), list(pod(9, crashState)), open()}, "get, get", "", listForbidden},
		{"a pod that is deleted", []scene{list(pod(5, creatingState)), open(event("DELETED", pod(8, creatingState)))}, "get, watch 7", "no pod yet", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &stage{scripts: map[string][]scene{
					podsPath: tt.script,
					setsPath: {answer(200, listOf("ReplicaSet", encoded(replicaSet(t, "new", "2", theTemplate, `{}`)))), open()},
				}}
				o, _ := serve(t, s)
				live := workload(t, "Deployment", 1, `{observedGeneration: 2}`)
				d := newDiagnosis(Target{Object: live, Changed: true}, o.withDefaults())
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				wake, ended := make(chan struct{}, 1), make(chan struct{})
				go func() {
					defer close(ended)
					d.follow(ctx, func() {
						select {
						case wake <- struct{}{}:
						default:
						}
					})
				}()
				for done := false; !done; {
					select {
					case <-wake:
					case <-ctx.Done():
						t.Fatalf("no verdict; asked %s", s.requests(podsPath))
					}
					v := d.look(live)
					done = v.failure != nil && tt.waiting == "" || v.failure == nil && tt.waiting != "" && v.waiting+v.unknown == tt.waiting
					done = done && strings.Count(s.requests(podsPath), ",") >= strings.Count(tt.asked, ",")
				}
				if took := time.Since(start); took > tt.atMost {
					t.Errorf("took %s, want at most %s", took, tt.atMost)
				}
				cancel()
				cancelled := time.Now()
				if <-ended; time.Since(cancelled) > 0 {
					t.Errorf("ended %s after its context", time.Since(cancelled))
				}
				if got := s.requests(podsPath); !strings.HasPrefix(got, tt.asked) {
					t.Errorf("asked %s, want %s", got, tt.asked)
				}
			})
		})
	}
}
