package rollout

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/org/deploy-model-action/pkg/diagnosis"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

// storyTemplate is the pod template of the stories' workloads.
const storyTemplate = `template: {metadata: {labels: {app: model}}, spec: {containers: [{name: model, image: "host/model:1"}]}}`

// storyWorkload is a workload of generation 4.
func storyWorkload(kind, spec, status string) string {
	group := map[string]string{"Job": "batch/v1", "Pod": "v1"}[kind]
	if group == "" {
		group = "apps/v1"
	}
	if kind != "Pod" {
		spec = strings.Replace(spec, "{", "{selector: {matchLabels: {app: model}}, "+storyTemplate+", ", 1)
	}
	return fmt.Sprintf(`{apiVersion: %s, kind: %s, metadata: {name: model, namespace: default, uid: workload, generation: 4, resourceVersion: "100",
  annotations: {deprecated.daemonset.template.generation: "4"}, creationTimestamp: "2000-01-01T00:00:00Z"}, spec: %s, status: %s}`, group, kind, spec, status)
}

const storySet = `{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: model-1, namespace: default, uid: set,
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: model, uid: workload, controller: true}]}, spec: {` + storyTemplate + `}, status: %s}`

// storyPod is a pod of the new revision; owner is "set" for a Deployment.
func storyPod(name, owner, spec, status string) string {
	return fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: default, uid: %s, creationTimestamp: "2000-01-01T00:00:01Z",
  labels: {app: model, controller-revision-hash: new, pod-template-generation: "4"}, ownerReferences: [{apiVersion: apps/v1, kind: Any, name: model, uid: %s, controller: true}]},
  spec: {nodeName: node-1, containers: [{name: model, image: "host/model:1"%s}]}, status: %s}`, name, name, owner, spec, status)
}

func storyEvent(kind, name, uid, reason, message string, second int) string {
	level := "Warning"
	if reason == "Killing" {
		level = "Normal"
	}
	return fmt.Sprintf(`{apiVersion: v1, kind: Event, metadata: {name: "%s-%s", namespace: default}, type: `+level+`, reason: %s, message: %q, count: 1,
  involvedObject: {kind: %s, name: %s, uid: %s, fieldPath: "spec.containers{model}"}, firstTimestamp: %q, lastTimestamp: %[9]q}`,
		uid, reason, reason, message, kind, name, uid, objecttest.At(second), objecttest.At(second))
}

// TestStories plays whole rollouts, as the API server shows them, and holds what
// a user reads of each, and when.
func TestStories(t *testing.T) {
	t.Parallel()
	const (
		running  = `{phase: Running, conditions: [{type: Ready, status: "False"}], containerStatuses: [{name: model, state: {running: {}}}]}`
		ready    = `{phase: Running, conditions: [{type: Ready, status: "True"}], containerStatuses: [{name: model, ready: true, state: {running: {}}}]}`
		noSecret = `{phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: CreateContainerConfigError, message: 'secret "model-key" not found'}}}]}`
		crashes  = `{phase: Running, containerStatuses: [{name: model, restartCount: 3, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 3, reason: Error}}}]}`
		creating = `{phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: ContainerCreating}}}]}`
		quota    = `pods "model-x" is forbidden: exceeded quota: few, requested: pods=1, used: pods=9, limited: pods=9`
		probe    = `, readinessProbe: {httpGet: {path: /readyz, port: 3000}}`
		alive    = `, livenessProbe: {httpGet: {path: /healthz, port: 3000}}`
	)
	waits := func(updated int) string {
		return fmt.Sprintf(`{observedGeneration: 4, replicas: %d, updatedReplicas: %d}`, updated, updated)
	}
	deployment := func(spec, status string) string { return storyWorkload("Deployment", spec, status) }
	set := func(status string) string { return fmt.Sprintf(storySet, status) }

	tests := []struct {
		name    string
		target  string
		before  bool
		moments []moment
		logs    map[string]string
		refuse  map[string]int
	}{
		{name: "secret-missing", target: deployment(`{replicas: 2}`, `{}`), moments: []moment{
			{at: 1, object: deployment(`{replicas: 2}`, waits(2))},
			{at: 1, object: set(`{}`)},
			{at: 1, object: storyPod("a", "set", "", creating)},
			{at: 1, object: storyPod("b", "set", "", creating)},
			{at: 3, object: storyPod("a", "set", "", noSecret)},
			{at: 4.5, object: storyPod("b", "set", "", noSecret)},
			{at: 3, object: storyEvent("Pod", "a", "a", "Failed", `Error: secret "model-key" not found`, 3)},
			{at: 4.5, object: storyEvent("Pod", "b", "b", "Failed", `Error: secret "model-key" not found`, 4)},
		}},
		{name: "crash", target: deployment(`{replicas: 1}`, `{}`), moments: []moment{
			{at: 1, object: deployment(`{replicas: 1}`, waits(1))},
			{at: 1, object: set(`{}`)},
			{at: 1, object: storyPod("a", "set", "", running)},
			{at: 12.25, object: storyPod("a", "set", "", crashes)},
			{at: 12, object: storyEvent("Pod", "a", "a", "BackOff", "Back-off restarting failed container", 12)},
		}, logs: map[string]string{"previous a": "loading model\nAPI_TOKEN=abc\nValueError: bad magic number\n"}},
		// As recorded of a kubelet 1.36.3; the program stops when it is told to.
		{name: "liveness", target: deployment(`{replicas: 1}`, `{}`), moments: []moment{
			{at: 1, object: deployment(`{replicas: 1}`, waits(1))},
			{at: 1, object: set(`{}`)},
			{at: 1, object: storyPod("a", "set", "", running)},
			{at: 4, object: storyEvent("Pod", "a", "a", "Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500", 4)},
			{at: 5, object: storyEvent("Pod", "a", "a", "Killing", "Container model failed liveness probe, will be restarted", 5)},
			{at: 6, object: storyPod("a", "set", "", `{phase: Running, containerStatuses: [{name: model, restartCount: 3, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 0, reason: Completed, startedAt: "2000-01-01T00:00:03Z"}}}]}`)},
		}},
		// A busy kubelet sends its events late: of a probe's kill, and of an answer.
		{name: "liveness-late", target: deployment(`{replicas: 1}`, `{}`), moments: []moment{
			{at: 1, object: deployment(`{replicas: 1}`, waits(1))},
			{at: 1, object: set(`{}`)},
			{at: 1, object: storyPod("a", "set", alive, running)},
			{at: 6, object: storyPod("a", "set", alive, `{phase: Running, containerStatuses: [{name: model, restartCount: 3, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 0, reason: Completed, startedAt: "2000-01-01T00:00:03Z"}}}]}`)},
			{at: 8, object: storyEvent("Pod", "a", "a", "Killing", "Container model failed liveness probe, will be restarted", 5)},
		}},
		{name: "never-ready-late", target: deployment(`{replicas: 1}`, `{}`), moments: []moment{
			{at: 1, object: deployment(`{replicas: 1}`, waits(1))},
			{at: 1, object: set(`{}`)},
			{at: 1, object: storyPod("a", "set", probe, running)},
			{at: 99.5, object: storyEvent("Pod", "a", "a", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", 5)},
		}},
		{name: "never-ready", target: deployment(`{replicas: 1, progressDeadlineSeconds: 40}`, `{}`), moments: []moment{
			{at: 1, object: deployment(`{replicas: 1}`, waits(1))},
			{at: 1, object: set(`{}`)},
			{at: 1, object: storyPod("a", "set", probe, running)},
			{at: 5, object: storyEvent("Pod", "a", "a", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", 5)},
			{at: 41, object: deployment(`{replicas: 1, progressDeadlineSeconds: 40}`, `{observedGeneration: 4, replicas: 1, updatedReplicas: 1, conditions: [{type: Progressing, status: "False", reason: ProgressDeadlineExceeded, lastUpdateTime: "2000-01-01T00:00:41Z"}]}`)},
		}, logs: map[string]string{"a": "loading weights, 3 % done\n"}},
		{name: "never-ready-timeout", target: storyWorkload("StatefulSet", `{replicas: 1}`, `{}`), moments: []moment{
			{at: 1, object: storyWorkload("StatefulSet", `{replicas: 1}`, `{observedGeneration: 4, replicas: 1, updatedReplicas: 1, updateRevision: new, currentRevision: new}`)},
			{at: 1, object: storyPod("model-0", "workload", `, readinessProbe: {exec: {command: [check, --deep]}}`, running)},
		}},
		{name: "quota", target: deployment(`{replicas: 1}`, `{}`), moments: []moment{
			{at: 1, object: deployment(`{replicas: 1}`, `{observedGeneration: 4}`)},
			{at: 1, object: set(`{}`)},
			{at: 2, object: set(`{conditions: [{type: ReplicaFailure, status: "True", reason: FailedCreate, message: '` + quota + `'}]}`)},
			{at: 2, object: storyEvent("ReplicaSet", "model-1", "set", "FailedCreate", "Error creating: "+quota, 2)},
		}},
		{name: "quota-of-a-statefulset", target: storyWorkload("StatefulSet", `{replicas: 1}`, `{}`), moments: []moment{
			{at: 1, object: storyWorkload("StatefulSet", `{replicas: 1}`, `{observedGeneration: 4, updateRevision: new}`)},
			{at: 2, object: storyEvent("StatefulSet", "model", "workload", "FailedCreate", "create Pod model-0 in StatefulSet model failed error: "+quota, 2)},
			{at: 7, object: storyEvent("StatefulSet", "model", "workload", "FailedCreate", "create Pod model-0 in StatefulSet model failed error: "+quota, 7)},
		}},
		{name: "job", target: storyWorkload("Job", `{backoffLimit: 0}`, `{}`), moments: []moment{
			{at: 1, object: storyWorkload("Job", `{backoffLimit: 0}`, `{active: 1}`)},
			{at: 1, object: storyPod("model-x", "workload", "", running)},
			{at: 9, object: storyPod("model-x", "workload", "", `{phase: Failed, containerStatuses: [{name: model, state: {terminated: {exitCode: 1, reason: Error}}}]}`)},
			{at: 9.5, object: storyWorkload("Job", `{backoffLimit: 0}`, `{failed: 1, conditions: [{type: Failed, status: "True", reason: BackoffLimitExceeded}]}`)},
		}, logs: map[string]string{"model-x": "no such table: users\n"}},
		{name: "daemonset-without-nodes", target: storyWorkload("DaemonSet", `{}`, `{}`), moments: []moment{
			{at: 1, object: storyWorkload("DaemonSet", `{}`, `{observedGeneration: 4, desiredNumberScheduled: 0, numberReady: 0}`)},
		}},
		{name: "recreate", target: deployment(`{replicas: 1, strategy: {type: Recreate}}`, `{}`), before: true, moments: []moment{
			{at: 1, object: deployment(`{replicas: 1, strategy: {type: Recreate}}`, `{observedGeneration: 4, replicas: 1, updatedReplicas: 0, readyReplicas: 1, availableReplicas: 1}`)},
			{at: 5, object: deployment(`{replicas: 1, strategy: {type: Recreate}}`, `{observedGeneration: 4, replicas: 1, updatedReplicas: 1}`)},
			{at: 5, object: set(`{}`)},
			{at: 5, object: storyPod("a", "set", "", creating)},
			{at: 8, object: deployment(`{replicas: 1, strategy: {type: Recreate}}`, `{observedGeneration: 4, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1}`)},
		}},
		{name: "partition", target: storyWorkload("StatefulSet", `{replicas: 3, updateStrategy: {rollingUpdate: {partition: 2}}}`, `{}`), before: true, moments: []moment{
			{at: 1, object: storyWorkload("StatefulSet", `{replicas: 3, updateStrategy: {rollingUpdate: {partition: 2}}}`, `{observedGeneration: 4, replicas: 3, readyReplicas: 2, updatedReplicas: 1, currentRevision: old, updateRevision: new}`)},
			{at: 2, object: storyWorkload("StatefulSet", `{replicas: 3, updateStrategy: {rollingUpdate: {partition: 2}}}`, `{observedGeneration: 4, replicas: 3, readyReplicas: 3, updatedReplicas: 1, currentRevision: old, updateRevision: new}`)},
		}},
		{name: "without-rights", target: deployment(`{replicas: 1}`, `{}`), moments: []moment{
			{at: 1, object: deployment(`{replicas: 1}`, waits(1))},
			{at: 20, object: deployment(`{replicas: 1}`, `{observedGeneration: 4, replicas: 1, updatedReplicas: 1, conditions: [{type: ReplicaFailure, status: "True", reason: FailedCreate, message: '`+quota+`'}]}`)},
		}, refuse: map[string]int{"pods": 403, "replicasets": 403, "events": 403}},
		{name: "many-reasons", target: deployment(`{replicas: 5}`, `{}`), moments: []moment{
			{at: 1, object: deployment(`{replicas: 5}`, waits(5))},
			{at: 1, object: set(`{}`)},
			{at: 1, object: storyPod("a", "set", "", noSecret)},
			{at: 1, object: storyPod("b", "set", "", noSecret)},
			{at: 1, object: storyPod("c", "set", "", crashes)},
			{at: 1, object: storyPod("d", "set", "", strings.ReplaceAll(crashes, "exitCode: 3", "exitCode: 139"))},
			{at: 1, object: strings.Replace(storyPod("e", "set", "", `{phase: Pending}`), "nodeName: node-1, ", "", 1)},
			{at: 30, object: storyPod("e", "set", "", crashes)},
		}},
		{name: "pod", target: storyPod("model", "nobody", "", `{phase: Pending}`), moments: []moment{
			{at: 1, object: storyPod("model", "nobody", "", creating)}, {at: 2, object: storyPod("model", "nobody", "", running)}, {at: 6, object: storyPod("model", "nobody", "", ready)},
		}},
		{name: "custom-resource", target: `{apiVersion: example.com/v1, kind: Thing, metadata: {name: model, uid: t, generation: 4, resourceVersion: "100"}, status: {observedGeneration: 3}}`, moments: []moment{
			{at: 4, object: `{apiVersion: example.com/v1, kind: Thing, metadata: {name: model, uid: t, generation: 4}, status: {observedGeneration: 4, conditions: [{type: Ready, status: "False", reason: NoQuota, message: "no accelerators left"}]}}`},
			{at: 5, object: storyEvent("Thing", "model", "t", "Broken", "no accelerators left", 5)},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, tt.moments)
				w.logs, w.refuse = tt.logs, tt.refuse
				server := kubetest.Serve(t, w)
				told := &kubetest.Recorder{}
				tell := func(prefix string) func(string) {
					return func(line string) {
						told.Line(fmt.Sprintf("%7.2f  %s%s", time.Since(objecttest.Start()).Seconds(), prefix, line))
					}
				}
				o := Options{FailFast: true, Timeout: 100 * time.Second, Progress: tell(""), Warn: tell("WARNING ")}
				change := changeOf(objecttest.FromYAML(t, tt.target))
				change.Namespaced = change.Namespace != ""
				if tt.before {
					change.Before, change.Action = objecttest.FromYAML(t, tt.target), kube.Configured
				}
				statuses, err := Wait(t.Context(), server.Client, []kube.Change{change}, o)
				told.Line("")
				told.Line(fmt.Sprintf("%7.2f  error: %v", time.Since(objecttest.Start()).Seconds(), err))
				if f := statuses[0].Failure; f != nil {
					told.Line(story(*f))
				}
				golden(t, "stories/"+tt.name+".txt", told.String()+"\n")
			})
		})
	}
}

// story writes a failure as a user could be shown it.
func story(f diagnosis.Failure) string {
	var b strings.Builder
	fmt.Fprintf(&b, "reason %s, pod %q, container %q\n", f.Reason, f.Pod, f.Container)
	for _, e := range f.Events {
		fmt.Fprintf(&b, "event: %s\n", e)
	}
	if f.LogsOf != "" {
		fmt.Fprintf(&b, "log of %s:\n  %s\n", f.LogsOf, strings.Join(f.Logs, "\n  "))
	}
	for _, s := range f.Others {
		fmt.Fprintf(&b, "also %s: %s; %s\n", s.Pod, s.Cause, s.Fix)
	}
	for _, note := range f.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	return strings.TrimSpace(b.String())
}
