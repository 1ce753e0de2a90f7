package rollout

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

// TestSteady holds when a workload whose pods are ready counts as ready: when every
// container has run for 10 s, and not a second later where that is over by then.
func TestSteady(t *testing.T) {
	t.Parallel()
	const (
		written = `managedFields: [{manager: deploy-model-action, operation: Apply, time: "2000-01-01T00:00:00Z"}], `
		half    = `{observedGeneration: 4, replicas: 1, updatedReplicas: 1}`
		done    = `{observedGeneration: 4, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1}`
	)
	deployment := func(status string) string {
		return strings.Replace(storyWorkload("Deployment", `{replicas: 1}`, status), "{name: model,", "{"+written+"name: model,", 1)
	}
	pod := func(ready bool, restarts, started int, more string) string {
		answer := map[bool]string{false: "False", true: "True"}[ready]
		return storyPod("a", "set", "", fmt.Sprintf(`{phase: Running, conditions: [{type: Ready, status: %q}], containerStatuses: [{name: model, ready: %v, restartCount: %d, containerID: run-%d, state: {running: {startedAt: %q}}%s}]}`,
			answer, ready, restarts, restarts, objecttest.At(started), more))
	}
	wrote := func(pod string, at int) string {
		return strings.Replace(pod, "{name: a,", fmt.Sprintf("{managedFields: [{manager: kubelet, subresource: status, operation: Update, time: %q}], name: a,", objecttest.At(at)), 1)
	}
	ended := storyPod("a", "set", "", `{phase: Running, conditions: [{type: Ready, status: "False"}], containerStatuses: [{name: model, restartCount: 0, containerID: run-0, state: {terminated: {exitCode: 1, reason: Error}}}]}`)
	set := moment{at: 1, object: fmt.Sprintf(storySet, `{}`)}
	begun := []moment{{at: 1, object: deployment(half)}, set}
	serves := append(begun[:2:2], moment{at: 2, object: pod(true, 0, 2, "")}, moment{at: 2, object: deployment(done)})

	tests := []struct {
		name    string
		moments []moment
		change  func(c *kube.Change)
		refuse  map[string]int
		follows []follow      // of the log
		ahead   time.Duration // of this machine's clock
		ready   float64       // seconds since the write
		says    string
	}{
		{name: "ready at once", moments: serves, ready: 12.4, says: "waiting until its containers have run for 10s"},
		{name: "ready after 15 s", ready: 17.4, moments: append(begun[:2:2],
			moment{at: 2, object: pod(false, 0, 2, "")}, moment{at: 17, object: pod(true, 0, 2, "")}, moment{at: 17, object: deployment(done)})},
		{name: "ready after 5 s", ready: 12.4, moments: append(begun[:2:2],
			moment{at: 2, object: pod(false, 0, 2, "")}, moment{at: 7, object: pod(true, 0, 2, "")}, moment{at: 7, object: deployment(done)})},
		{name: "ended after 8 s, and goes on", ready: 21.4, moments: append(serves[:4:4],
			moment{at: 10, object: ended}, moment{at: 10, object: deployment(half)},
			moment{at: 11, object: pod(true, 1, 11, "")}, moment{at: 11, object: deployment(done)})},
		{name: "its kubelet is 9 s behind, and will be with the next", ready: 30.4, moments: append(begun[:2:2],
			moment{at: 11, object: wrote(pod(true, 0, 2, ""), 11)}, moment{at: 11, object: deployment(done)})},
		{name: "its kubelet is not, and it is ready after 15 s", ready: 17.4, moments: append(begun[:2:2],
			moment{at: 2, object: wrote(pod(false, 0, 2, ""), 3)}, moment{at: 17, object: wrote(pod(true, 0, 2, ""), 17)}, moment{at: 17, object: deployment(done)})},
		{name: "minReadySeconds is 0", moments: serves, ready: 2.4, change: func(c *kube.Change) {
			c.Manifest.Object["spec"] = map[string]any{"minReadySeconds": int64(0)}
		}},
		{name: "minReadySeconds is 30, which its controller counts", moments: serves, ready: 2.4, change: func(c *kube.Change) {
			c.Manifest.Object["spec"] = map[string]any{"minReadySeconds": int64(30)}
		}},
		{name: "pods that run since long ago", ready: 2.4, moments: append(begun[:2:2],
			moment{at: 1.5, object: strings.Replace(pod(true, 0, -86400, ""), "2000-01-01T00:00:01Z", "1999-12-30T00:00:00Z", 1)}, moment{at: 2, object: deployment(done)})},
		{name: "pods that run since long ago, and this machine's clock is an hour behind", ready: 2.4, ahead: -time.Hour, moments: append(begun[:2:2],
			moment{at: 1.5, object: strings.Replace(pod(true, 0, -86400, ""), "2000-01-01T00:00:01Z", "1999-12-30T00:00:00Z", 1)}, moment{at: 2, object: deployment(done)})},
		{name: "this machine's clock is an hour ahead", moments: serves, ahead: time.Hour, ready: 12.4},
		{name: "a node's clock is an hour behind", ready: 12.4, moments: append(begun[:2:2],
			moment{at: 2, object: pod(true, 0, -3600, "")}, moment{at: 2, object: deployment(done)})},
		{name: "nothing of its pods was changed", moments: nil, ready: 0, change: func(c *kube.Change) {
			c.After = objecttest.FromYAML(t, deployment(done))
			c.Before, c.Action = c.After, kube.Configured
		}},
		{name: "no pod is wanted", ready: 1.4, moments: []moment{{at: 1, object: storyWorkload("Deployment", `{replicas: 0}`, `{observedGeneration: 4}`)}}},
		{name: "pods may not be read", moments: serves, ready: 12.4, refuse: map[string]int{"pods": 403, "replicasets": 403}},
		{name: "another container has just started", ready: 14.4, moments: append(begun[:2:2],
			moment{at: 4, object: pod(true, 0, 2, `}, {name: proxy, ready: true, containerID: other, state: {running: {startedAt: "2000-01-01T00:00:04Z"}}`)}, moment{at: 4, object: deployment(done)})},
		{name: "a way back whose object has minReadySeconds", moments: serves, ready: 2.4, change: func(c *kube.Change) {
			c.Manifest = nil
			c.After.Object["spec"].(map[string]any)["minReadySeconds"] = int64(5)
		}},
		{name: "its log goes on", moments: serves, follows: []follow{{}}, ready: 12.4},
		{name: "its log ends, and its kubelet writes half a minute later that it has", ready: 47.4, follows: []follow{{ends: 6}, {ends: 6}, {}}, moments: append(serves[:4:4],
			moment{at: 36, object: ended}, moment{at: 36, object: deployment(half)},
			moment{at: 37, object: pod(true, 1, 37, "")}, moment{at: 37, object: deployment(done)}), says: "the log of a container has ended"},
		{name: "its log ends, and nobody ever writes why", moments: serves, follows: []follow{{ends: 6}}, ready: 96, says: "the log of a container has ended"},
		{name: "a connection to its log ends once", moments: serves, follows: []follow{{ends: 3}, {}}, ready: 12.4},
		{name: "its node has no inotify instance left", moments: serves, follows: []follow{{says: "failed to create fsnotify watcher: too many open files", ends: 1}}, ready: 12.4},
		{name: "its log says much", moments: serves, follows: []follow{{says: strings.Repeat("loading\n", 20_000)}}, ready: 12.4},
		{name: "a way back", moments: serves, ready: 12.4, change: func(c *kube.Change) { c.Manifest = nil }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var moments []moment
				for _, m := range tt.moments { // all that the cluster writes is of its own clock
					m.object = shift(m.object, -tt.ahead)
					moments = append(moments, m)
				}
				w := newWorld(t, moments)
				w.refuse, w.follows = tt.refuse, tt.follows
				told := &kubetest.Recorder{}
				change := changeOf(objecttest.FromYAML(t, shift(deployment(`{}`), -tt.ahead)))
				change.Manifest = &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{}}}
				if tt.change != nil {
					tt.change(&change)
				}
				_, err := Wait(t.Context(), kubetest.Serve(t, w).Client, []kube.Change{change}, Options{FailFast: true, Progress: told.Line})
				took := time.Since(objecttest.Start()).Seconds()
				if err != nil || took < tt.ready || took > tt.ready+0.9 {
					t.Errorf("ready after %.2f s, want %.2f s: %v\n%s", took, tt.ready, err, told)
				}
				if !strings.Contains(told.String(), tt.says) {
					t.Errorf("nobody was told %q:\n%s", tt.says, told)
				}
			})
		})
	}
}

// shift moves every moment of a text.
func shift(text string, by time.Duration) string {
	var out strings.Builder
	for {
		i := strings.Index(text, `"`)
		if i < 0 {
			out.WriteString(text)
			return out.String()
		}
		out.WriteString(text[:i+1])
		text = text[i+1:]
		if j := strings.Index(text, `"`); j >= 0 {
			if at, err := time.Parse(time.RFC3339, text[:j]); err == nil {
				out.WriteString(at.Add(by).Format(time.RFC3339))
				text = text[j:]
			}
		}
	}
}

// TestConfirm holds what a second look finds, after somebody has asked the model
// for 40 s.
func TestConfirm(t *testing.T) {
	t.Parallel()
	deployment := func(ready int) string {
		return storyWorkload("Deployment", `{replicas: 1}`, fmt.Sprintf(`{observedGeneration: 4, replicas: 1, updatedReplicas: 1, readyReplicas: %[1]d, availableReplicas: %[1]d}`, ready))
	}
	pod := func(restarts, started int) string {
		return storyPod("a", "set", "", fmt.Sprintf(`{phase: Running, conditions: [{type: Ready, status: "True"}], containerStatuses: [{name: model, ready: true, restartCount: %d, containerID: run-%d, state: {running: {startedAt: %q}}}]}`,
			restarts, restarts, objecttest.At(started)))
	}
	crash := storyPod("a", "set", "", `{phase: Running, containerStatuses: [{name: model, restartCount: 3, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 3, reason: Error}}}]}`)
	serves := []moment{{at: 1, object: fmt.Sprintf(storySet, `{}`)}, {at: 2, object: pod(0, 2)}, {at: 2, object: deployment(1)}}
	tests := []struct {
		name     string
		moments  []moment
		took     float64 // the second look, in seconds
		fails    string
		manifest bool // it sets minReadySeconds
	}{
		{name: "it serves", moments: serves, took: 0},
		{name: "it has just restarted", took: 8, moments: append(serves[:3:3], moment{at: 49.6, object: pod(1, 50)})},
		{name: "it restarted a while ago", took: 0, moments: append(serves[:3:3], moment{at: 30, object: pod(1, 30)})},
		{name: "minReadySeconds is 0, and it crashes", manifest: true, took: 0, fails: "crashed with exit code 3", moments: append(serves[:3:3], moment{at: 30, object: crash}, moment{at: 30, object: deployment(0)})},
		{name: "it crashes", took: 0, fails: "crashed with exit code 3", moments: append(serves[:3:3], moment{at: 30, object: crash}, moment{at: 30, object: deployment(0)})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client := kubetest.Serve(t, newWorld(t, tt.moments)).Client
				change := changeOf(objecttest.FromYAML(t, storyWorkload("Deployment", `{replicas: 1}`, `{}`)))
				change.Manifest = nil
				if tt.manifest {
					change = changeOf(change.After)
				}
				settings := changeOf(objecttest.FromYAML(t, objecttest.Text("v1", "ConfigMap", `{}`, `{}`)))
				statuses, err := Wait(t.Context(), client, []kube.Change{settings, change}, Options{FailFast: true})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(40 * time.Second)
				asked := time.Now()
				statuses, err = Confirm(t.Context(), client, statuses, Options{FailFast: true})
				if took := time.Since(asked).Seconds(); took < tt.took || took > tt.took+0.9 {
					t.Errorf("the second look took %.2f s, want %.2f s", took, tt.took)
				}
				if got := fmt.Sprint(err); (err != nil) != (tt.fails != "") || !strings.Contains(got, tt.fails) {
					t.Errorf("error %q, want %q", got, tt.fails)
				}
				if len(statuses) != 2 || statuses[0].ID().Kind != "ConfigMap" || statuses[1].Ready != (err == nil) {
					t.Errorf("%+v", statuses)
				}
			})
		})
	}
}

// TestCrashed holds that who answers badly because it has crashed is said to have
// crashed, with its log, also if it runs again; what crashed before it was asked is
// no reason.
func TestCrashed(t *testing.T) {
	t.Parallel()
	deployment := storyWorkload("Deployment", `{replicas: 1}`, `{observedGeneration: 4, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1}`)
	pod := func(restarts int, state string) string {
		return storyPod("a", "set", "", fmt.Sprintf(`{phase: Running, conditions: [{type: Ready, status: "True"}], containerStatuses: [{name: model, ready: true, restartCount: %d, containerID: run-%[1]d, %s}]}`, restarts, state))
	}
	const (
		runs   = `state: {running: {startedAt: "2000-01-01T00:00:02Z"}}`
		again  = `state: {running: {startedAt: "2000-01-01T00:00:31Z"}}, lastState: {terminated: {exitCode: 1, reason: Error}}`
		memory = `state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 137, reason: OOMKilled}}`
		ends   = `state: {terminated: {exitCode: 2, reason: Error}}`
	)
	serves := []moment{{at: 1, object: fmt.Sprintf(storySet, `{}`)}, {at: 2, object: pod(0, runs)}, {at: 2, object: deployment}}
	for _, tt := range []struct {
		name    string
		moments []moment
		says    string
	}{
		{"it goes on", serves, ""},
		{"it crashed once, and runs again", append(serves[:3:3], moment{at: 30, object: pod(1, again)}), "Deployment default/model: container \"model\" crashed with exit code 1: ModuleNotFoundError: No module named 'keras'"},
		{"it is being started again", append(serves[:3:3], moment{at: 30, object: pod(2, memory)}), "ran out of memory"},
		{"it has just ended", append(serves[:3:3], moment{at: 30, object: pod(0, ends)}), "crashed with exit code 2"},
		{"it had crashed before it was asked", []moment{serves[0], {at: 2, object: pod(1, again)}, serves[2]}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, tt.moments)
				w.logs = map[string]string{"previous a": "ModuleNotFoundError: No module named 'keras'", "a": ""}
				client := kubetest.Serve(t, w).Client
				statuses, err := Wait(t.Context(), client, []kube.Change{changeOf(objecttest.FromYAML(t, storyWorkload("Deployment", `{replicas: 1}`, `{}`)))}, Options{FailFast: true})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(40 * time.Second)
				crashed, err := Crashed(t.Context(), client, statuses)
				if got := fmt.Sprint(err); (err != nil) != (tt.says != "") || !strings.Contains(got, tt.says) {
					t.Errorf("error %q, want %q", got, tt.says)
				}
				if err == nil && crashed != nil || err != nil && (len(crashed) != 1 || crashed[0].Ready) {
					t.Errorf("%+v", crashed)
				}
			})
		})
	}
}
