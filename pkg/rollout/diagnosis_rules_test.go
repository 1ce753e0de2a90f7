package rollout

import (
	stdcmp "cmp"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
)

const theTemplate = `{metadata: {labels: {app: model}}, spec: {containers: [{name: model, image: "r.example/m:v2"}]}}`

func workload(t *testing.T, kind string, replicas int, status string, more ...string) *unstructured.Unstructured {
	t.Helper()
	group := "apps/v1"
	switch kind {
	case "Job":
		group = "batch/v1"
	case "Pod":
		group = "v1"
	}
	field := "replicas"
	if kind == "Job" {
		field = "parallelism"
	}
	return fromYAML(t, fmt.Sprintf(`
apiVersion: %s
kind: %s
metadata:
  name: model
  namespace: default
  uid: workload
  generation: 2
  annotations: {deployment.kubernetes.io/revision: "2", deprecated.daemonset.template.generation: "2"}
  managedFields: [{manager: deploy-model-action, operation: Apply, time: %q}]
spec: {%s%s: %d, selector: {matchLabels: {app: model}}, template: %s}
status: %s
`, group, kind, at(0), strings.Join(more, ""), field, replicas, theTemplate, status))
}

func replicaSet(t *testing.T, uid, revision, template, status string) *unstructured.Unstructured {
	t.Helper()
	return fromYAML(t, fmt.Sprintf(`
apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: model-%s
  namespace: default
  uid: %s
  creationTimestamp: %q
  annotations: {deployment.kubernetes.io/revision: %q}
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: model, uid: workload, controller: true}]
spec: {template: %s}
status: %s
`, uid, uid, at(0), revision, strings.Replace(template, "labels: {", "labels: {pod-template-hash: "+uid+", ", 1), status))
}

// onePod is one pod of a timeline.
type onePod struct {
	name, owner, extra string // extra: of metadata
	spec, status       string // spec: more of it
}

func (p onePod) object(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	return fromYAML(t, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata:
  name: %s
  namespace: default
  uid: %s
  creationTimestamp: %q
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: model-new, uid: %s, controller: true}]
  %s
spec: {%s}
status: %s
`, p.name, p.name, at(1), p.owner, p.extra, stdcmp.Or(p.spec, `nodeName: node-1, containers: [{name: model, image: "r.example/m:v2"}]`), p.status))
}

const (
	pullDeniedState  = `{phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: ErrImagePull, message: "rpc error: code = Unknown desc = failed to authorize: failed to fetch oauth token: unexpected status: 403 Forbidden"}}}]}`
	pullBackOffState = `{phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: ImagePullBackOff, message: "Back-off pulling image \"r.example/m:v2\""}}}]}`
	pullMissingState = `{phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: ErrImagePull, message: "rpc error: code = NotFound desc = failed to resolve reference \"r.example/m:v2\": r.example/m:v2: not found"}}}]}`
	pullDownState    = `{phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: ErrImagePull, message: "503 Service Unavailable"}}}]}`
	creatingState    = `{phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: ContainerCreating}}}]}`
	noSecretState    = `{phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: CreateContainerConfigError, message: 'secret "a" not found'}}}]}`
	noSecretBState   = `{phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: CreateContainerConfigError, message: 'secret "b" not found'}}}]}`
	crashState       = `{phase: Running, containerStatuses: [{name: model, restartCount: 1, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 1, reason: Error}}}]}`
	readyState       = `{phase: Running, conditions: [{type: Ready, status: "True"}], containerStatuses: [{name: model, ready: true, state: {running: {}}}]}`
	runningState     = `{phase: Running, conditions: [{type: Ready, status: "False"}], containerStatuses: [{name: model, state: {running: {}}}]}`
	invalidNameState = `{phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: InvalidImageName}}}]}`
	gpuState         = `{phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."}]}`
	evictedState     = `{phase: Failed, reason: Evicted, message: "The node was low on resource: memory."}`
)

func TestLook(t *testing.T) {
	t.Parallel()
	const observedTwo = `{observedGeneration: 2}`
	fresh := func(name, status string) onePod { return onePod{name: name, owner: "new", status: status} }
	type step struct {
		at      int
		pods    []onePod // all that there are
		live    string   // status of the workload, if it changes
		set     string   // status of the new ReplicaSet, if it changes
		events  []Event  // of the workload itself
		failure string   // part of the failure; "" none
		waiting string
		warning string
		again   time.Duration
	}
	tests := []struct {
		name     string
		kind     string // default: Deployment
		replicas int
		more     string // of its spec
		steps    []step
	}{
		{name: "an invalid name fails at once, on any pod", replicas: 2, steps: []step{
			{at: 1, pods: []onePod{fresh("a", readyState), fresh("b", invalidNameState)}, failure: "not a valid image name"},
		}},
		{name: "a missing image fails at the second attempt", replicas: 1, steps: []step{
			{at: 1, pods: []onePod{fresh("a", pullMissingState)}, waiting: "does not exist", again: 15 * time.Second},
			{at: 2, pods: []onePod{fresh("a", pullBackOffState)}, waiting: "does not exist", again: 14 * time.Second},
			{at: 12, pods: []onePod{fresh("a", pullMissingState)}, failure: `image "r.example/m:v2" does not exist`},
		}},
		{name: "a missing image fails when two pods miss it", replicas: 2, steps: []step{
			{at: 1, pods: []onePod{fresh("a", pullMissingState), fresh("b", pullMissingState)}, failure: "does not exist"},
		}},
		{name: "a missing image fails when attempts are not seen", replicas: 1, steps: []step{
			{at: 1, pods: []onePod{fresh("a", pullMissingState)}, waiting: "does not exist", again: 15 * time.Second},
			{at: 16, pods: []onePod{fresh("a", pullMissingState)}, failure: "does not exist"},
		}},
		{name: "a missing image that appears", replicas: 1, steps: []step{
			{at: 1, pods: []onePod{fresh("a", pullMissingState)}, waiting: "does not exist", again: 15 * time.Second},
			{at: 11, pods: []onePod{fresh("a", runningState)}, waiting: "not ready yet"},
			{at: 80, pods: []onePod{fresh("a", readyState)}},
		}},
		{name: "denied fails after it persisted, through every attempt", replicas: 1, steps: []step{
			{at: 0, pods: []onePod{fresh("a", pullDeniedState)}, waiting: "may not pull", again: time.Minute},
			{at: 10, pods: []onePod{fresh("a", pullBackOffState)}, waiting: "may not pull", again: 50 * time.Second},
			{at: 30, pods: []onePod{fresh("a", pullDeniedState)}, waiting: "may not pull", again: 30 * time.Second},
			{at: 59, pods: []onePod{fresh("a", pullBackOffState)}, waiting: "may not pull", again: time.Second},
			{at: 60, pods: []onePod{fresh("a", pullBackOffState)}, failure: "may not pull"},
		}},
		{name: "persistence begins again when the state clears", replicas: 1, steps: []step{
			{at: 0, pods: []onePod{fresh("a", noSecretState)}, waiting: `Secret "a" does not exist`, again: time.Minute},
			{at: 50, pods: []onePod{fresh("a", creatingState)}, waiting: `container "model" is being created`},
			{at: 55, pods: []onePod{fresh("a", noSecretState)}, waiting: `Secret "a" does not exist`, again: time.Minute},
			{at: 100, pods: []onePod{fresh("a", noSecretState)}, waiting: `Secret "a" does not exist`, again: 15 * time.Second},
			{at: 115, pods: []onePod{fresh("a", noSecretState)}, failure: `Secret "a" does not exist`},
		}},
		{name: "persistence begins again when something else is missing", replicas: 1, steps: []step{
			{at: 0, pods: []onePod{fresh("a", noSecretState)}, waiting: `Secret "a"`, again: time.Minute},
			{at: 50, pods: []onePod{fresh("a", noSecretBState)}, waiting: `Secret "b"`, again: time.Minute},
		}},
		{name: "a state that lasts on one pod of two does not fail", replicas: 2, steps: []step{
			{at: 0, pods: []onePod{fresh("a", noSecretState), fresh("b", readyState)}, waiting: `Secret "a"`, again: time.Minute},
			{at: 120, pods: []onePod{fresh("a", noSecretState), fresh("b", readyState)}, waiting: `Secret "a"`},
		}},
		{name: "every pod has to last", replicas: 2, steps: []step{
			{at: 0, pods: []onePod{fresh("a", noSecretState)}, waiting: `Secret "a"`, again: time.Minute},
			{at: 40, pods: []onePod{fresh("a", noSecretState), fresh("b", noSecretState)}, waiting: `(2 pods)`, again: 20 * time.Second},
			{at: 60, pods: []onePod{fresh("a", noSecretState), fresh("b", noSecretState)}, waiting: `Secret "a"`, again: 40 * time.Second},
			{at: 100, pods: []onePod{fresh("a", noSecretState), fresh("b", noSecretState)}, failure: `Secret "a"`},
		}},
		{name: "a crash loop of the only pod", replicas: 1, steps: []step{
			{at: 3, pods: []onePod{fresh("a", crashState)}, failure: "crashed with exit code 1"},
		}},
		{name: "a crash loop of one of three pods", replicas: 3, steps: []step{
			{at: 3, pods: []onePod{fresh("a", crashState), fresh("b", creatingState), fresh("c", readyState)}, waiting: "crashed with exit code 1"},
			{at: 300, pods: []onePod{fresh("a", crashState), fresh("b", readyState), fresh("c", readyState)}, waiting: "crashed with exit code 1"},
		}},
		{name: "a crash loop of every pod", replicas: 2, steps: []step{
			{at: 3, pods: []onePod{fresh("a", crashState), fresh("b", crashState)}, failure: "crashed with exit code 1"},
		}},
		{name: "pods that fail for different reasons", replicas: 2, steps: []step{
			{at: 0, pods: []onePod{fresh("a", noSecretState), fresh("b", crashState)}, waiting: `Secret "a"`, again: time.Minute},
			{at: 60, pods: []onePod{fresh("a", noSecretState), fresh("b", crashState)}, failure: "crashed with exit code 1"},
		}},
		{name: "pods of the old revision do not count", replicas: 1, steps: []step{
			{at: 0, pods: []onePod{{name: "a", owner: "old", status: crashState}}, waiting: "no pod of the new revision yet"},
		}},
		{name: "pods being deleted do not count", replicas: 1, steps: []step{
			{at: 0, pods: []onePod{{name: "a", owner: "new", extra: "deletionTimestamp: " + `"` + at(0) + `"`, status: crashState}}, waiting: "no pod of the new revision yet"},
		}},
		{name: "evicted pods do not count", replicas: 1, steps: []step{
			{at: 0, pods: []onePod{fresh("a", evictedState), fresh("b", creatingState)}, waiting: `container "model" is being created`},
		}},
		{name: "a registry that is down never fails", replicas: 1, steps: []step{
			{at: 0, pods: []onePod{fresh("a", pullDownState)}, waiting: "cannot be pulled right now"},
			{at: 600, pods: []onePod{fresh("a", pullDownState)}, waiting: "cannot be pulled right now"},
		}},
		{name: "unschedulable warns once and never fails", replicas: 1, steps: []step{
			{at: 0, pods: []onePod{fresh("a", gpuState)}, waiting: "cannot be scheduled: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu", warning: `Deployment default/model: pod "a" cannot be scheduled: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu`},
			{at: 5, pods: []onePod{fresh("a", strings.ReplaceAll(gpuState, "3 ", "4 "))}, waiting: "4 Insufficient nvidia.com/gpu"},
			{at: 600, pods: []onePod{fresh("a", gpuState)}, waiting: "cannot be scheduled"},
		}},
		{name: "a readiness probe never fails", replicas: 1, steps: []step{
			{at: 600, pods: []onePod{fresh("a", runningState)}, waiting: "not ready yet"},
		}},
		{name: "a quota, as the new ReplicaSet says", replicas: 1, steps: []step{
			{at: 0, set: `{conditions: [{type: ReplicaFailure, status: "True", reason: FailedCreate, message: 'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2'}]}`, waiting: `quota "q" forbids more pods: requested pods=1, used pods=2, limited to pods=2`, again: time.Minute},
			{at: 60, failure: `quota "q" forbids more pods`},
		}},
		{name: "a quota that is freed in time", replicas: 1, steps: []step{
			{at: 0, set: `{conditions: [{type: ReplicaFailure, status: "True", reason: FailedCreate, message: 'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2'}]}`, waiting: `quota "q"`, again: time.Minute},
			{at: 50, set: `{}`, pods: []onePod{fresh("a", readyState)}},
			{at: 60, pods: []onePod{fresh("a", readyState)}},
		}},
		{name: "a ReplicaSet that is denied", replicas: 1, steps: []step{
			// pkg/controller/deployment/sync.go
			{at: 0, live: `{observedGeneration: 1, conditions: [{type: Progressing, status: "False", reason: ReplicaSetCreateError, lastUpdateTime: "` + at(0) + `", message: 'Failed to create new replica set "model-new": admission webhook "w.example" denied the request: no'}]}`, waiting: `admission webhook "w.example" denied the pods: no`, again: time.Minute},
			{at: 60, failure: `admission webhook "w.example" denied the pods: no`},
		}},
		{name: "the controller has not seen the generation", kind: "StatefulSet", replicas: 1, steps: []step{
			{at: 0, live: `{observedGeneration: 1, updateRevision: old}`, pods: []onePod{{name: "model-0", owner: "workload", extra: "labels: {controller-revision-hash: old}", status: crashState}}, waiting: "no pod of the new revision yet"},
		}},
		{name: "a StatefulSet is stuck on one pod", kind: "StatefulSet", replicas: 3, steps: []step{
			{at: 0, live: `{observedGeneration: 2, updateRevision: new}`, pods: []onePod{
				{name: "model-2", owner: "workload", extra: "labels: {controller-revision-hash: new}", status: readyState},
				{name: "model-1", owner: "workload", extra: "labels: {controller-revision-hash: new}", status: crashState},
				{name: "model-0", owner: "workload", extra: "labels: {controller-revision-hash: old}", status: readyState},
			}, failure: "crashed with exit code 1"},
		}},
		{name: "a StatefulSet waits for a pod of an earlier revision that crashes", kind: "StatefulSet", replicas: 2, steps: []step{
			{at: 0, live: `{observedGeneration: 2, updateRevision: new}`, pods: []onePod{
				{name: "model-0", owner: "workload", extra: "labels: {controller-revision-hash: old}", status: readyState},
				{name: "model-1", owner: "workload", extra: "labels: {controller-revision-hash: old}", status: crashState},
			}, failure: `pod "model-1" of an earlier revision is not ready (container "model" crashed with exit code 1), and a StatefulSet updates no pod before it is (kubernetes/kubernetes#67250); delete that pod, which is then made anew from the new revision: kubectl delete pod model-1 --namespace=default`},
		}},
		{name: "a StatefulSet waits for a pod of an earlier revision that lacks something", kind: "StatefulSet", replicas: 1, steps: []step{
			{
				at: 0, live: `{observedGeneration: 2, updateRevision: new}`, pods: []onePod{{name: "model-0", owner: "workload", extra: "labels: {controller-revision-hash: old}", status: noSecretState}},
				waiting: `pod "model-0" of an earlier revision is not ready (Secret "a"`, again: time.Minute,
			},
			{at: 60, pods: []onePod{{name: "model-0", owner: "workload", extra: "labels: {controller-revision-hash: old}", status: noSecretState}}, failure: `kubectl delete pod model-0`},
		}},
		{name: "a StatefulSet waits for a pod of an earlier revision that only starts", kind: "StatefulSet", replicas: 1, steps: []step{
			{
				at: 600, live: `{observedGeneration: 2, updateRevision: new}`, pods: []onePod{{name: "model-0", owner: "workload", extra: "labels: {controller-revision-hash: old}", status: runningState}},
				waiting: `pod "model-0" of an earlier revision is not ready (not ready yet), and a StatefulSet updates no pod before it is (kubernetes/kubernetes#67250)`,
			},
			{at: 700, pods: []onePod{{name: "model-0", owner: "workload", extra: "labels: {controller-revision-hash: new}", status: readyState}}},
		}},
		{name: "a parallel StatefulSet replaces what crashes", kind: "StatefulSet", replicas: 1, more: "podManagementPolicy: Parallel, ", steps: []step{
			{at: 0, live: `{observedGeneration: 2, updateRevision: new}`, pods: []onePod{{name: "model-0", owner: "workload", extra: "labels: {controller-revision-hash: old}", status: crashState}}, waiting: "no pod of the new revision yet"},
		}},
		{name: "a StatefulSet whose first pod is forbidden", kind: "StatefulSet", replicas: 2, steps: []step{
			{at: 0, live: `{observedGeneration: 2, updateRevision: new}`, events: []Event{{
				Reason: "FailedCreate", First: start, Last: start.Add(time.Second),
				Message: `create Pod model-0 in StatefulSet model failed error: pods "model-0" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true`,
			}}, waiting: `Pod Security Standard "restricted:latest"`, again: time.Minute},
			{at: 60, failure: `Pod Security Standard "restricted:latest"`},
		}},
		{name: "events from before the deploy do not count", kind: "StatefulSet", replicas: 2, steps: []step{
			{at: 0, live: `{observedGeneration: 2, updateRevision: new}`, events: []Event{{
				Reason: "FailedCreate", First: start.Add(-time.Minute), Last: start.Add(-time.Second), Message: `pods "model-0" is forbidden: no`,
			}}, waiting: "no pod of the new revision yet"},
		}},
		{name: "a DaemonSet by its template's generation", kind: "DaemonSet", replicas: 1, steps: []step{
			{at: 0, live: `{observedGeneration: 2, desiredNumberScheduled: 1}`, pods: []onePod{
				{name: "a", owner: "workload", extra: `labels: {pod-template-generation: "1"}`, status: crashState},
			}},
			{at: 1, pods: []onePod{{name: "b", owner: "workload", extra: `labels: {pod-template-generation: "2"}`, status: crashState}}, failure: "crashed"},
		}},
		{name: "a Job's crash is the Job's to judge", kind: "Job", replicas: 1, steps: []step{
			{at: 100, pods: []onePod{{name: "a", owner: "workload", status: crashState}}, waiting: "crashed with exit code 1"},
		}},
		{name: "a Job that cannot begin", kind: "Job", replicas: 1, steps: []step{
			{at: 0, pods: []onePod{{name: "a", owner: "workload", status: noSecretState}}, waiting: `Secret "a"`, again: time.Minute},
			{at: 60, pods: []onePod{{name: "a", owner: "workload", status: noSecretState}}, failure: `Secret "a"`},
		}},
		{name: "a bare ReplicaSet", kind: "ReplicaSet", replicas: 1, steps: []step{
			{at: 0, live: `{observedGeneration: 2, conditions: [{type: ReplicaFailure, status: "True", reason: FailedCreate, message: 'pods "x" is forbidden: no'}]}`, waiting: "forbids the pods", again: time.Minute},
			{at: 60, failure: "forbids the pods"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.kind == "" {
				tt.kind = "Deployment"
			}
			synctest.Test(t, func(t *testing.T) {
				live := workload(t, tt.kind, tt.replicas, observedTwo, tt.more)
				d := newDiagnosis(Target{Object: live, Before: live, Changed: true}, Options{}.withDefaults())
				d.replaceSets([]unstructured.Unstructured{
					*replicaSet(t, "old", "1", strings.Replace(theTemplate, "v2", "v1", 1), `{}`), *replicaSet(t, "new", "2", theTemplate, `{}`),
				})
				for _, s := range tt.steps {
					time.Sleep(time.Until(start.Add(time.Duration(s.at) * time.Second)))
					if s.live != "" {
						live = workload(t, tt.kind, tt.replicas, s.live, tt.more)
					}
					if s.set != "" {
						d.changeSet(watch.Modified, replicaSet(t, "new", "2", theTemplate, s.set))
					}
					d.own = append(d.own, s.events...)
					var pods []unstructured.Unstructured
					for _, p := range s.pods {
						pods = append(pods, *p.object(t))
					}
					d.replacePods(pods)
					v := d.look(live)
					got := ""
					if v.failure != nil {
						got = v.failure.String()
					}
					if (s.failure == "") != (got == "") || !strings.Contains(got, s.failure) {
						t.Fatalf("after %ds: failure %q, want %q", s.at, got, s.failure)
					}
					if s.failure != "" {
						if v.failure.Object != tt.kind+" default/model" || v.failure.Fix == "" {
							t.Errorf("after %ds: %+v", s.at, v.failure)
						}
						return
					}
					if !strings.Contains(v.waiting, s.waiting) || (s.waiting == "") != (v.waiting == "") {
						t.Errorf("after %ds: waiting %q, want %q", s.at, v.waiting, s.waiting)
					}
					if !strings.Contains(v.warning, s.warning) || (s.warning == "") != (v.warning == "") {
						t.Errorf("after %ds: warning %q, want %q", s.at, v.warning, s.warning)
					}
					if v.again != s.again {
						t.Errorf("after %ds: again in %v, want %v", s.at, v.again, s.again)
					}
				}
			})
		})
	}
}

// TestBegan holds what counts as before the deploy, also when the apply's
// answer came without managedFields.
func TestBegan(t *testing.T) {
	t.Parallel()
	object := func(created int, managed ...string) *unstructured.Unstructured {
		return fromYAML(t, fmt.Sprintf(`{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: model, creationTimestamp: %q, managedFields: [%s]}}`, at(created), strings.Join(managed, ", ")))
	}
	entry := func(manager, operation, subresource string, seconds int) string {
		return fmt.Sprintf(`{manager: %q, operation: %s, subresource: %q, time: %q}`, manager, operation, subresource, at(seconds))
	}
	mine := func(seconds int) string { return entry(fieldManager, "Apply", "", seconds) }
	status := func(seconds int) string { return entry("kube-controller-manager", "Update", "status", seconds) }
	tests := []struct {
		name         string
		target       Target
		live         *unstructured.Unstructured
		before, then int // seconds until live is seen, and from then on
	}{
		{"with managedFields", Target{Object: object(-900, mine(-1), status(-50)), Before: object(-900, mine(-800)), Changed: true}, object(-900, mine(-1), status(3)), -1, -1},
		{"without", Target{Object: object(-900), Before: object(-900, mine(-800), status(-700)), Changed: true}, object(-900, mine(-1), status(3)), -700, -1},
		{"without, for a while", Target{Object: object(-900), Before: object(-900, mine(-800), status(-700)), Changed: true}, object(-900, mine(-800), status(-700)), -700, -700},
		{"created", Target{Object: object(-2), Changed: true}, object(-2, mine(-2), status(3)), -2, -2},
		{"unchanged", Target{Object: object(-900, mine(-800)), Before: object(-900, mine(-800))}, object(-900, mine(-800), status(3)), -5, -5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDiagnosis(tt.target, Options{}.withDefaults())
				before := d.since
				d.show(tt.live)
				if got := []string{before.UTC().Format(time.RFC3339), d.since.UTC().Format(time.RFC3339)}; got[0] != at(tt.before) || got[1] != at(tt.then) {
					t.Errorf("began at %s, want %s and %s", got, at(tt.before), at(tt.then))
				}
			})
		})
	}
}

func TestBaseline(t *testing.T) {
	t.Parallel()
	const many = `{phase: Running, conditions: [{type: Ready, status: "False"}], containerStatuses: [{name: model, restartCount: %d, state: {running: {}}, lastState: {terminated: {exitCode: 1, reason: Error}}}]}`
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Minute)
		live := workload(t, "Deployment", 1, `{observedGeneration: 2}`)
		d := newDiagnosis(Target{Object: live}, Options{}.withDefaults())
		d.replaceSets([]unstructured.Unstructured{*replicaSet(t, "new", "2", theTemplate, `{}`)})
		for _, step := range []struct {
			restarts int
			fails    bool
		}{{40, false}, {42, false}, {43, true}} {
			d.replacePods([]unstructured.Unstructured{*onePod{name: "a", owner: "new", status: fmt.Sprintf(many, step.restarts)}.object(t)})
			if v := d.look(live); (v.failure != nil) != step.fails {
				t.Errorf("%d restarts: failure %v, want %v", step.restarts, v.failure, step.fails)
			}
		}
	})
}

func TestRevisionOfDeployment(t *testing.T) {
	t.Parallel()
	deployment := workload(t, "Deployment", 1, `{observedGeneration: 2, conditions: [{type: Progressing, status: "True", reason: ReplicaSetUpdated, message: 'ReplicaSet "model-third" is progressing.'}]}`)
	stale := workload(t, "Deployment", 1, `{observedGeneration: 1}`)
	other := strings.Replace(theTemplate, "v2", "v0", 1)
	defaulted := strings.Replace(theTemplate, "image:", "imagePullPolicy: Always, image:", 1)
	tests := []struct {
		name string
		live *unstructured.Unstructured
		sets []unstructured.Unstructured
		want string
	}{
		{"by template", deployment, []unstructured.Unstructured{*replicaSet(t, "a", "2", other, `{}`), *replicaSet(t, "b", "1", theTemplate, `{}`)}, "b"},
		{"by template before the controller saw it", stale, []unstructured.Unstructured{*replicaSet(t, "b", "1", theTemplate, `{}`)}, "b"},
		{"by revision where a webhook changed the template", deployment, []unstructured.Unstructured{*replicaSet(t, "a", "1", other, `{}`), *replicaSet(t, "b", "2", defaulted, `{}`)}, "b"},
		{"an old revision's number says nothing", stale, []unstructured.Unstructured{*replicaSet(t, "a", "2", other, `{}`)}, ""},
		{"by the condition where ReplicaSets are secret", deployment, nil, "third"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDiagnosis(Target{Object: tt.live, Changed: true}, Options{}.withDefaults())
			d.replaceSets(tt.sets)
			if tt.sets == nil {
				d.missing["replicasets"] = "no right"
			}
			is := d.revision(tt.live)
			for _, uid := range []string{"a", "b", "third"} {
				p := onePod{name: "p-" + uid, owner: uid, status: `{}`}.object(t)
				refs := p.Object["metadata"].(map[string]any)["ownerReferences"].([]any)
				refs[0].(map[string]any)["name"] = "model-" + uid
				d.replacePods([]unstructured.Unstructured{*p})
				for _, track := range d.pods {
					if got := is(track.pod); got != (uid == tt.want) {
						t.Errorf("pod of %s: %v", uid, got)
					}
				}
			}
		})
	}
}

func TestWaiting(t *testing.T) {
	t.Parallel()
	const probed = `
spec:
  containers:
  - name: model
    startupProbe: {httpGet: {path: /livez, port: 3000}}
    readinessProbe: {httpGet: {path: /readyz, port: http}}
status: {phase: Running, containerStatuses: [{name: model, started: %s, state: {running: {}}}]}`
	tests := []struct {
		name, kind, pod string
		events          []Event
		want            string
	}{
		{
			name: "readiness", pod: fmt.Sprintf(probed, "true"),
			events: []Event{{Reason: "Unhealthy", Container: "model", Message: "Readiness probe failed: HTTP probe failed with statuscode: 503"}},
			want:   `container "model" runs and is not ready: readiness probe GET :http/readyz answered: HTTP probe failed with statuscode: 503`,
		},
		{
			name: "readiness of another container", pod: fmt.Sprintf(probed, "true"),
			events: []Event{{Reason: "Unhealthy", Container: "sidecar", Message: "Readiness probe failed: no"}},
			want:   `container "model" runs and is not ready: readiness probe GET :http/readyz has not passed yet`,
		},
		{
			name: "startup", pod: fmt.Sprintf(probed, "false"),
			events: []Event{{Reason: "Unhealthy", Container: "model", Message: `Startup probe failed: Get "http://10.0.0.7:3000/livez": dial tcp 10.0.0.7:3000: connect: connection refused`}},
			want:   `container "model" runs and is not ready: startup probe GET :3000/livez answered: Get "http://10.0.0.7:3000/livez": dial tcp 10.0.0.7:3000: connect: connection refused`,
		},
		{
			name: "pulling", pod: `{spec: {containers: [{name: model}]}, status: {phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: ContainerCreating}}}]}}`,
			events: []Event{{Reason: "Scheduled"}, {Reason: "Pulling", Message: `Pulling image "m"`}},
			want:   `pulling the image of container "model"`,
		},
		{
			name: "init", pod: `{spec: {initContainers: [{name: a}, {name: b}], containers: [{name: model}]}, status: {phase: Pending, initContainerStatuses: [{name: a, state: {terminated: {exitCode: 0}}}, {name: b, state: {running: {}}}], containerStatuses: [{name: model, state: {waiting: {reason: PodInitializing}}}]}}`,
			want: `init container "b" runs (2 of 2)`,
		},
		{
			name: "other probes", pod: `
spec: {containers: [{name: a, readinessProbe: {tcpSocket: {port: 80}}}, {name: b}]}
status: {phase: Running, containerStatuses: [{name: a, state: {running: {}}}, {name: b, ready: true, state: {running: {}}}]}`,
			want: `container "a" runs and is not ready: readiness probe TCP :80 has not passed yet`,
		},
		{
			name: "grpc", pod: `
spec: {containers: [{name: a, readinessProbe: {grpc: {port: 9000}}}]}
status: {phase: Running, containerStatuses: [{name: unknown, state: {running: {}}}, {name: a, state: {running: {}}}]}`,
			events: []Event{{Reason: "Unhealthy", Container: "a", Message: `Readiness probe errored and resulted in unknown state: rpc error: code = Unavailable`}},
			want:   `container "a" runs and is not ready: readiness probe gRPC :9000 answered: unknown state: rpc error: code = Unavailable`,
		},
		{
			name: "command", pod: `
spec: {containers: [{name: a, readinessProbe: {exec: {command: [sh, -c, "curl -f http://localhost"]}}}]}
status: {phase: Running, containerStatuses: [{name: a, state: {running: {}}}]}`,
			want: `container "a" runs and is not ready: readiness probe command "sh -c curl -f http://localhost" has not passed yet`,
		},
		{
			name: "pulled", pod: `{spec: {containers: [{name: model}]}, status: {phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: ContainerCreating}}}]}}`,
			events: []Event{{Reason: "Pulling", Message: `Pulling image "m"`}, {Reason: "Pulled"}},
			want:   `container "model" is being created`,
		},
		{name: "no node", pod: `{spec: {nodeName: "-", containers: [{name: model}]}, status: {phase: Pending}}`, want: "no node yet"},
		{
			name: "scheduling gate", pod: `{spec: {nodeName: "-", containers: [{name: model}]}, status: {phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: SchedulingGated}]}}`,
			want: "not to be scheduled before its scheduling gates are gone",
		},
		{
			name: "gates", pod: `{spec: {containers: [{name: model}], readinessGates: [{conditionType: a}, {conditionType: b}]}, status: {phase: Running, conditions: [{type: a, status: "True"}], containerStatuses: [{name: model, ready: true, state: {running: {}}}]}}`,
			want: "readiness gate b is not true yet",
		},
		{
			name: "gate", pod: `{spec: {containers: [{name: model}], readinessGates: [{conditionType: cloud.google.com/load-balancer-neg-ready}]}, status: {phase: Running, containerStatuses: [{name: model, ready: true, state: {running: {}}}]}}`,
			want: "readiness gate cloud.google.com/load-balancer-neg-ready is not true yet",
		},
		{name: "a running Job", kind: "Job", pod: `{spec: {containers: [{name: train}]}, status: {phase: Running, containerStatuses: [{name: train, state: {running: {}}}]}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := trackOf(t, tt.kind, tt.pod, tt.events...).waiting(); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// The messages were recorded on kube-scheduler 1.36.3.
func TestSchedulerSaid(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		`0/1 nodes are available: 1 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.`: `0/1 nodes are available: 1 Insufficient nvidia.com/gpu`,
		`0/1 nodes are available: persistentvolumeclaim "c" not found. not found`:                                                                                               `0/1 nodes are available: persistentvolumeclaim "c" not found`,
		`0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found`:                                                                                  `0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims`,
		`no nodes available to schedule pods`: `no nodes available to schedule pods`,
	} {
		if got := schedulerSaid(message); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestNeeds(t *testing.T) {
	t.Parallel()
	pod := podOf(t, `
spec:
  nodeSelector: {cloud.google.com/gke-accelerator: nvidia-l4}
  initContainers: [{name: fetch, resources: {requests: {memory: 20Gi}}}]
  containers:
  - {name: model, resources: {requests: {cpu: "2", memory: 8Gi, nvidia.com/gpu: "1"}}}
  - {name: proxy, resources: {requests: {cpu: 500m}}}
  volumes: [{name: data, persistentVolumeClaim: {claimName: weights}}, {name: scratch, ephemeral: {}}]
`)
	const room = "add a node with 2500m cpu, 20Gi memory, 1 nvidia.com/gpu free and the labels cloud.google.com/gke-accelerator=nvidia-l4"
	tests := []struct {
		pod           *corev1.Pod
		message, want string
	}{
		{pod, "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", room + ", or let an autoscaler add it"},
		{pod, "0/3 nodes are available: 3 node(s) had untolerated taint(s).", room + ", or give the pod a toleration for the nodes' taints, or let an autoscaler add it"},
		{pod, "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.", `check the StorageClass and the events of PersistentVolumeClaim "weights", "model-7c9d5-x2x4q-scratch", which has to be bound first`},
		{pod, `0/3 nodes are available: persistentvolumeclaim "weights" not found.`, `create PersistentVolumeClaim "weights" or add it to the manifests, or correct its name`},
		{&corev1.Pod{}, "no nodes available to schedule pods", "add a node with room for a pod, or let an autoscaler add it"},
	}
	for _, tt := range tests {
		if got := needs(tt.pod, tt.message); got != tt.want {
			t.Errorf("%q:\n%s", tt.message, cmp.Diff(tt.want, got))
		}
	}
}
