package rollout

import (
	"net/http"
	"path"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
	"github.com/org/deploy-model-action/pkg/retry"
	"github.com/org/deploy-model-action/pkg/workload/workloadtest"
)

// changing serves something that changes at a moment, to those who read and to
// those who watch.
func changing(moment time.Time, before, after, change string) kubetest.Scene {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Get("watch") == "" && time.Now().Before(moment):
			kubetest.Answer(200, before)(w, r)
		case r.URL.Query().Get("watch") == "":
			kubetest.Answer(200, after)(w, r)
		default:
			kubetest.Events()(w, r)
			_ = retry.Sleep(r.Context(), time.Until(moment))
			kubetest.Open(change)(w, r)
		}
	}
}

// TestLatency holds that success and failure are seen within a second of the
// status that proves them, whatever happens to watches.
func TestLatency(t *testing.T) {
	t.Parallel()
	moment := objecttest.Start().Add(100*time.Second + 123*time.Millisecond)
	onWatch := func(fault func(play kubetest.Scene) kubetest.Scene) func(play kubetest.Scene) kubetest.Scene {
		return func(play kubetest.Scene) kubetest.Scene {
			return func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("watch") != "" {
					fault(play)(w, r)
					return
				}
				play(w, r)
			}
		}
	}
	cutAfter := func(d time.Duration) func(play kubetest.Scene) kubetest.Scene {
		return onWatch(func(play kubetest.Scene) kubetest.Scene {
			return func(w http.ResponseWriter, r *http.Request) {
				if time.Until(moment) > d {
					kubetest.Events()(w, r)
					time.Sleep(d)
					return
				}
				play(w, r)
			}
		})
	}
	until := func(fault kubetest.Scene) func(play kubetest.Scene) kubetest.Scene {
		return func(play kubetest.Scene) kubetest.Scene {
			return func(w http.ResponseWriter, r *http.Request) {
				if time.Now().Before(moment) {
					fault(w, r)
					return
				}
				play(w, r)
			}
		}
	}
	faults := map[string]func(play kubetest.Scene) kubetest.Scene{
		"none":                          func(play kubetest.Scene) kubetest.Scene { return play },
		"watches are cut every 3 s":     cutAfter(3 * time.Second),
		"watches are cut at once":       cutAfter(0),
		"watches are refused until now": onWatch(until(kubetest.No(503, "ServiceUnavailable"))),
		"401 until now":                 onWatch(until(kubetest.No(401, "Unauthorized"))),
		"410 until now":                 onWatch(until(kubetest.No(410, "Expired"))),
		"watching is not allowed":       onWatch(func(kubetest.Scene) kubetest.Scene { return kubetest.No(403, "Forbidden") }),
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, success := range []bool{true, false} {
				synctest.Test(t, func(t *testing.T) {
					moment := moment
					half, done := deployed(t, 150, 1), deployed(t, 200, 2)
					object := changing(moment, kubetest.Encoded(half), kubetest.Encoded(done), kubetest.Event("MODIFIED", done))
					set := workloadtest.ReplicaSet(t, "new", "2", `{spec: {containers: [{name: model, image: "host/model:1"}]}}`, `{}`)
					set.Object["metadata"].(map[string]any)["ownerReferences"] = []any{map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "model", "uid": "u1", "controller": true}}
					starts, crash := workloadtest.Pod{Name: "a", Owner: "new", Status: workloadtest.Running}.Object(t), workloadtest.Pod{Name: "a", Owner: "new", Status: workloadtest.Crash}.Object(t)
					pods := kubetest.Answer(200, kubetest.ListOf("Pod", kubetest.Encoded(starts)))
					if !success {
						object = changing(moment.Add(time.Hour), kubetest.Encoded(half), "", "")
						pods = changing(moment, kubetest.ListOf("Pod", kubetest.Encoded(starts)), kubetest.ListOf("Pod", kubetest.Encoded(crash)), kubetest.Event("MODIFIED", crash))
					}
					s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{modelPath: {fault(object)}, podsPath: {fault(pods)}, setsPath: {changing(moment.Add(time.Hour), kubetest.ListOf("ReplicaSet", kubetest.Encoded(set)), "", "")}}}
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
	calls := map[string]func(t *testing.T, client *kube.Client, o Options){
		"ready": func(t *testing.T, client *kube.Client, o Options) {
			t.Helper()
			_, _ = Wait(t.Context(), client, []kube.Change{changeOf(deployed(t, 100, 2)), changeOf(deployed(t, 200, 2))}, o)
		},
		"out of time": func(t *testing.T, client *kube.Client, o Options) {
			t.Helper()
			claim := objecttest.FromYAML(t, objecttest.Text("v1", "PersistentVolumeClaim", `{storageClassName: fast}`, `{phase: Pending}`))
			job := objecttest.FromYAML(t, objecttest.Text("batch/v1", "Job", `{selector: {matchLabels: {app: model}}}`, `{}`))
			_, _ = Wait(t.Context(), client, []kube.Change{changeOf(balancer(t, "")), changeOf(claim), changeOf(job)}, o)
		},
		"failed": func(t *testing.T, client *kube.Client, o Options) {
			t.Helper()
			job := objecttest.FromYAML(t, objecttest.Text("batch/v1", "Job", `{selector: {matchLabels: {app: model}}}`, `{conditions: [{type: Failed, status: "True"}]}`))
			_, _ = Wait(t.Context(), client, []kube.Change{changeOf(balancer(t, "")), changeOf(job)}, o)
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{modelPath: {kubetest.Open(kubetest.Event("MODIFIED", deployed(t, 200, 2)))}}}
				call(t, kubetest.Serve(t, s).Client, Options{FailFast: true})
				for _, folder := range []string{"pkg/rollout/", "pkg/diagnosis/", "pkg/kube/"} {
					if left := goroutinesIn(folder); len(left) > 0 {
						t.Errorf("left:\n%s", strings.Join(left, "\n\n"))
					}
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
			if strings.Contains(path.Dir(file)+"/", folder) && strings.HasSuffix(file, ".go") && !strings.HasSuffix(file, "_test.go") && !strings.Contains(file, "kubetest") {
				found = append(found, stack)
				break
			}
		}
	}
	return found
}
