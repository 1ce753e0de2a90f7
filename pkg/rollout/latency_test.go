package rollout

import (
	"net/http"
	"path"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// changing serves something that changes at a moment, to those who read and to
// those who watch.
func changing(moment time.Time, before, after, change string) scene {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Get("watch") == "" && time.Now().Before(moment):
			answer(200, before)(w, r)
		case r.URL.Query().Get("watch") == "":
			answer(200, after)(w, r)
		default:
			events()(w, r)
			pauseFor(r.Context(), time.Until(moment))
			open(change)(w, r)
		}
	}
}

// TestLatency holds that success and failure are seen within a second of the
// status that proves them, whatever happens to watches.
func TestLatency(t *testing.T) {
	t.Parallel()
	moment := start.Add(100*time.Second + 123*time.Millisecond)
	onWatch := func(fault func(play scene) scene) func(play scene) scene {
		return func(play scene) scene {
			return func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("watch") != "" {
					fault(play)(w, r)
					return
				}
				play(w, r)
			}
		}
	}
	cutAfter := func(d time.Duration) func(play scene) scene {
		return onWatch(func(play scene) scene {
			return func(w http.ResponseWriter, r *http.Request) {
				if time.Until(moment) > d {
					events()(w, r)
					time.Sleep(d)
					return
				}
				play(w, r)
			}
		})
	}
	until := func(fault scene) func(play scene) scene {
		return func(play scene) scene {
			return func(w http.ResponseWriter, r *http.Request) {
				if time.Now().Before(moment) {
					fault(w, r)
					return
				}
				play(w, r)
			}
		}
	}
	faults := map[string]func(play scene) scene{
		"none":                          func(play scene) scene { return play },
		"watches are cut every 3 s":     cutAfter(3 * time.Second),
		"watches are cut at once":       cutAfter(0),
		"watches are refused until now": onWatch(until(no(503, "ServiceUnavailable"))),
		"401 until now":                 onWatch(until(no(401, "Unauthorized"))),
		"410 until now":                 onWatch(until(no(410, "Expired"))),
		"watching is not allowed":       onWatch(func(scene) scene { return no(403, "Forbidden") }),
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, success := range []bool{true, false} {
				synctest.Test(t, func(t *testing.T) {
					moment := moment
					half, done := deployed(t, 150, 1), deployed(t, 200, 2)
					object := changing(moment, encoded(half), encoded(done), event("MODIFIED", done))
					set := replicaSet(t, "new", "2", `{spec: {containers: [{name: model, image: "host/model:1"}]}}`, `{}`)
					set.Object["metadata"].(map[string]any)["ownerReferences"] = []any{map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "model", "uid": "u1", "controller": true}}
					starts, crash := onePod{name: "a", owner: "new", status: runningState}.object(t), onePod{name: "a", owner: "new", status: crashState}.object(t)
					pods := answer(200, listOf("Pod", encoded(starts)))
					if !success {
						object = changing(moment.Add(time.Hour), encoded(half), "", "")
						pods = changing(moment, listOf("Pod", encoded(starts)), listOf("Pod", encoded(crash)), event("MODIFIED", crash))
					}
					s := &stage{scripts: map[string][]scene{modelPath: {fault(object)}, podsPath: {fault(pods)}, setsPath: {changing(moment.Add(time.Hour), listOf("ReplicaSet", encoded(set)), "", "")}}}
					got := waitFor(t, s, Options{FailFast: true}, deployed(t, 100, 2))
					if late := time.Since(moment); (got.err == nil) != success || late < 0 || late > time.Second {
						t.Errorf("success %v: %s after the status that proves it: %v", success, late, got.err)
					}
				})
			}
		})
	}
}

// TestNothingIsLeft holds that no goroutine of this package, nor of a client,
// outlives the call that started it. Other tests would disturb it.
func TestNothingIsLeft(t *testing.T) { //nolint:paralleltest // it counts goroutines
	calls := map[string]func(t *testing.T, o Options){
		"ready": func(t *testing.T, o Options) {
			t.Helper()
			_, _ = Wait(t.Context(), []Target{targetOf(deployed(t, 100, 2)), targetOf(deployed(t, 200, 2))}, o)
		},
		"out of time": func(t *testing.T, o Options) {
			t.Helper()
			claim := fromYAML(t, of("v1", "PersistentVolumeClaim", `{storageClassName: fast}`, `{phase: Pending}`))
			job := fromYAML(t, of("batch/v1", "Job", `{selector: {}}`, `{}`))
			_, _ = Wait(t.Context(), []Target{targetOf(balancer(t, "")), targetOf(claim), targetOf(job)}, o)
		},
		"failed": func(t *testing.T, o Options) {
			t.Helper()
			job := fromYAML(t, of("batch/v1", "Job", `{selector: {}}`, `{conditions: [{type: Failed, status: "True"}]}`))
			_, _ = Wait(t.Context(), []Target{targetOf(balancer(t, "")), targetOf(job)}, o)
		},
		"healthy": func(t *testing.T, o Options) {
			t.Helper()
			_, _ = Healthy(t.Context(), Check{Path: "/readyz", Statuses: []Status{{Live: fromYAML(t, balanced)}}}, o)
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &stage{scripts: map[string][]scene{modelPath: {open(event("MODIFIED", deployed(t, 200, 2)))}}}
				o, _ := serve(t, s)
				o.FailFast = true
				call(t, o)
				if left := goroutinesIn("pkg/rollout/"); len(left) > 0 {
					t.Errorf("left:\n%s", strings.Join(left, "\n\n"))
				}
				synctest.Wait()
				if left := goroutinesIn("k8s.io/client-go"); len(left) > 0 {
					t.Errorf("left in the client:\n%s", strings.Join(left, "\n\n"))
				}
			})
		})
	}
}

// goroutinesIn returns those that run code of a folder, which is not a test's.
func goroutinesIn(folder string) []string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var found []string
	for _, stack := range strings.Split(string(stacks), "\n\n") {
		for line := range strings.Lines(stack) {
			file, _, _ := strings.Cut(strings.TrimSpace(line), ":")
			if strings.Contains(path.Dir(file)+"/", folder) && strings.HasSuffix(file, ".go") && !strings.HasSuffix(file, "_test.go") {
				found = append(found, stack)
				break
			}
		}
	}
	return found
}
