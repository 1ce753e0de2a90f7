package diagnosis

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
	"github.com/org/deploy-model-action/pkg/workload/workloadtest"
)

func TestEvaluate(t *testing.T) {
	t.Parallel()
	const observedTwo = `{observedGeneration: 2}`
	fresh := func(name, status string) workloadtest.Pod {
		return workloadtest.Pod{Name: name, Owner: "new", Status: status}
	}
	type step struct {
		at      int
		pods    []workloadtest.Pod // all that there are
		live    string             // status of the workload, if it changes
		set     string             // status of the new ReplicaSet, if it changes
		events  []Event            // of the workload itself
		failure string             // part of the failure; "" none
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
			{at: 1, pods: []workloadtest.Pod{fresh("a", workloadtest.Ready), fresh("b", workloadtest.InvalidName)}, failure: "not a valid image name"},
		}},
		{name: "a missing image fails at the second attempt", replicas: 1, steps: []step{
			{at: 1, pods: []workloadtest.Pod{fresh("a", workloadtest.PullMissing)}, waiting: "does not exist", again: 15 * time.Second},
			{at: 2, pods: []workloadtest.Pod{fresh("a", workloadtest.PullBackOff)}, waiting: "does not exist", again: 14 * time.Second},
			{at: 12, pods: []workloadtest.Pod{fresh("a", workloadtest.PullMissing)}, failure: `image "r.example/m:v2" does not exist`},
		}},
		{name: "a missing image fails when two pods miss it", replicas: 2, steps: []step{
			{at: 1, pods: []workloadtest.Pod{fresh("a", workloadtest.PullMissing), fresh("b", workloadtest.PullMissing)}, failure: "does not exist"},
		}},
		{name: "a missing image fails when attempts are not seen", replicas: 1, steps: []step{
			{at: 1, pods: []workloadtest.Pod{fresh("a", workloadtest.PullMissing)}, waiting: "does not exist", again: 15 * time.Second},
			{at: 16, pods: []workloadtest.Pod{fresh("a", workloadtest.PullMissing)}, failure: "does not exist"},
		}},
		{name: "a missing image that appears", replicas: 1, steps: []step{
			{at: 1, pods: []workloadtest.Pod{fresh("a", workloadtest.PullMissing)}, waiting: "does not exist", again: 15 * time.Second},
			{at: 11, pods: []workloadtest.Pod{fresh("a", workloadtest.Running)}, waiting: "not ready yet"},
			{at: 80, pods: []workloadtest.Pod{fresh("a", workloadtest.Ready)}},
		}},
		{name: "denied fails after it persisted, through every attempt", replicas: 1, steps: []step{
			{at: 0, pods: []workloadtest.Pod{fresh("a", workloadtest.PullDenied)}, waiting: "may not pull", again: time.Minute},
			{at: 10, pods: []workloadtest.Pod{fresh("a", workloadtest.PullBackOff)}, waiting: "may not pull", again: 50 * time.Second},
			{at: 30, pods: []workloadtest.Pod{fresh("a", workloadtest.PullDenied)}, waiting: "may not pull", again: 30 * time.Second},
			{at: 59, pods: []workloadtest.Pod{fresh("a", workloadtest.PullBackOff)}, waiting: "may not pull", again: time.Second},
			{at: 60, pods: []workloadtest.Pod{fresh("a", workloadtest.PullBackOff)}, failure: "may not pull"},
		}},
		{name: "persistence begins again when the state clears", replicas: 1, steps: []step{
			{at: 0, pods: []workloadtest.Pod{fresh("a", workloadtest.NoSecret)}, waiting: `Secret "a" does not exist`, again: time.Minute},
			{at: 50, pods: []workloadtest.Pod{fresh("a", workloadtest.Creating)}, waiting: `container "model" is being created`},
			{at: 55, pods: []workloadtest.Pod{fresh("a", workloadtest.NoSecret)}, waiting: `Secret "a" does not exist`, again: time.Minute},
			{at: 100, pods: []workloadtest.Pod{fresh("a", workloadtest.NoSecret)}, waiting: `Secret "a" does not exist`, again: 15 * time.Second},
			{at: 115, pods: []workloadtest.Pod{fresh("a", workloadtest.NoSecret)}, failure: `Secret "a" does not exist`},
		}},
		{name: "persistence begins again when something else is missing", replicas: 1, steps: []step{
			{at: 0, pods: []workloadtest.Pod{fresh("a", workloadtest.NoSecret)}, waiting: `Secret "a"`, again: time.Minute},
			{at: 50, pods: []workloadtest.Pod{fresh("a", workloadtest.NoSecretB)}, waiting: `Secret "b"`, again: time.Minute},
		}},
		{name: "a state that lasts on one pod of two does not fail", replicas: 2, steps: []step{
			{at: 0, pods: []workloadtest.Pod{fresh("a", workloadtest.NoSecret), fresh("b", workloadtest.Ready)}, waiting: `Secret "a"`, again: time.Minute},
			{at: 120, pods: []workloadtest.Pod{fresh("a", workloadtest.NoSecret), fresh("b", workloadtest.Ready)}, waiting: `Secret "a"`},
		}},
		{name: "every pod has to last", replicas: 2, steps: []step{
			{at: 0, pods: []workloadtest.Pod{fresh("a", workloadtest.NoSecret)}, waiting: `Secret "a"`, again: time.Minute},
			{at: 40, pods: []workloadtest.Pod{fresh("a", workloadtest.NoSecret), fresh("b", workloadtest.NoSecret)}, waiting: `(2 pods)`, again: 20 * time.Second},
			{at: 60, pods: []workloadtest.Pod{fresh("a", workloadtest.NoSecret), fresh("b", workloadtest.NoSecret)}, waiting: `Secret "a"`, again: 40 * time.Second},
			{at: 100, pods: []workloadtest.Pod{fresh("a", workloadtest.NoSecret), fresh("b", workloadtest.NoSecret)}, failure: `Secret "a"`},
		}},
		{name: "a crash loop of the only pod", replicas: 1, steps: []step{
			{at: 3, pods: []workloadtest.Pod{fresh("a", workloadtest.Crash)}, failure: "crashed with exit code 1"},
		}},
		{name: "a crash loop of one of three pods", replicas: 3, steps: []step{
			{at: 3, pods: []workloadtest.Pod{fresh("a", workloadtest.Crash), fresh("b", workloadtest.Creating), fresh("c", workloadtest.Ready)}, waiting: "crashed with exit code 1"},
			{at: 300, pods: []workloadtest.Pod{fresh("a", workloadtest.Crash), fresh("b", workloadtest.Ready), fresh("c", workloadtest.Ready)}, waiting: "crashed with exit code 1"},
		}},
		{name: "a crash loop of every pod", replicas: 2, steps: []step{
			{at: 3, pods: []workloadtest.Pod{fresh("a", workloadtest.Crash), fresh("b", workloadtest.Crash)}, failure: "crashed with exit code 1"},
		}},
		{name: "pods that fail for different reasons", replicas: 2, steps: []step{
			{at: 0, pods: []workloadtest.Pod{fresh("a", workloadtest.NoSecret), fresh("b", workloadtest.Crash)}, waiting: `Secret "a"`, again: time.Minute},
			{at: 60, pods: []workloadtest.Pod{fresh("a", workloadtest.NoSecret), fresh("b", workloadtest.Crash)}, failure: "crashed with exit code 1"},
		}},
		{name: "pods of the old revision do not count", replicas: 1, steps: []step{
			{at: 0, pods: []workloadtest.Pod{{Name: "a", Owner: "old", Status: workloadtest.Crash}}, waiting: "no pod of the new revision yet"},
		}},
		{name: "pods being deleted do not count", replicas: 1, steps: []step{
			{at: 0, pods: []workloadtest.Pod{{Name: "a", Owner: "new", Extra: "deletionTimestamp: " + `"` + objecttest.At(0) + `"`, Status: workloadtest.Crash}}, waiting: "no pod of the new revision yet"},
		}},
		{name: "evicted pods do not count", replicas: 1, steps: []step{
			{at: 0, pods: []workloadtest.Pod{fresh("a", workloadtest.Evicted), fresh("b", workloadtest.Creating)}, waiting: `container "model" is being created`},
		}},
		{name: "a registry that is down never fails", replicas: 1, steps: []step{
			{at: 0, pods: []workloadtest.Pod{fresh("a", workloadtest.PullDown)}, waiting: "cannot be pulled right now"},
			{at: 600, pods: []workloadtest.Pod{fresh("a", workloadtest.PullDown)}, waiting: "cannot be pulled right now"},
		}},
		{name: "unschedulable warns once and never fails", replicas: 1, steps: []step{
			{at: 0, pods: []workloadtest.Pod{fresh("a", workloadtest.Gpu)}, waiting: "cannot be scheduled: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu", warning: `pod "a" cannot be scheduled: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu`},
			{at: 5, pods: []workloadtest.Pod{fresh("a", strings.ReplaceAll(workloadtest.Gpu, "3 ", "4 "))}, waiting: "4 Insufficient nvidia.com/gpu"},
			{at: 600, pods: []workloadtest.Pod{fresh("a", workloadtest.Gpu)}, waiting: "cannot be scheduled"},
		}},
		{name: "a readiness probe never fails", replicas: 1, steps: []step{
			{at: 600, pods: []workloadtest.Pod{fresh("a", workloadtest.Running)}, waiting: "not ready yet"},
		}},
		{name: "a quota, as the new ReplicaSet says", replicas: 1, steps: []step{
			{at: 0, set: `{conditions: [{type: ReplicaFailure, status: "True", reason: FailedCreate, message: 'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2'}]}`, waiting: `quota "q" forbids more pods: requested pods=1, used pods=2, limited to pods=2`, again: time.Minute},
			{at: 60, failure: `quota "q" forbids more pods`},
		}},
		{name: "a quota counts when the old pods have ended", replicas: 1, steps: []step{
			{at: 0, set: `{conditions: [{type: ReplicaFailure, status: "True", reason: FailedCreate, message: 'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2'}]}`, pods: []workloadtest.Pod{{Name: "a", Owner: "old", Extra: "deletionTimestamp: " + `"` + objecttest.At(0) + `"`, Status: workloadtest.Running}}, waiting: `quota "q" forbids more pods`},
			{at: 90, pods: []workloadtest.Pod{{Name: "a", Owner: "old", Extra: "deletionTimestamp: " + `"` + objecttest.At(0) + `"`, Status: workloadtest.Running}}, waiting: `quota "q" forbids more pods`},
			{at: 100, waiting: `quota "q" forbids more pods`, again: time.Minute},
			{at: 160, failure: `quota "q" forbids more pods`},
		}},
		{name: "a quota that is freed in time", replicas: 1, steps: []step{
			{at: 0, set: `{conditions: [{type: ReplicaFailure, status: "True", reason: FailedCreate, message: 'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2'}]}`, waiting: `quota "q"`, again: time.Minute},
			{at: 50, set: `{}`, pods: []workloadtest.Pod{fresh("a", workloadtest.Ready)}},
			{at: 60, pods: []workloadtest.Pod{fresh("a", workloadtest.Ready)}},
		}},
		{name: "a ReplicaSet that is denied", replicas: 1, steps: []step{
			// pkg/controller/deployment/sync.go
			{at: 0, live: `{observedGeneration: 1, conditions: [{type: Progressing, status: "False", reason: ReplicaSetCreateError, lastUpdateTime: "` + objecttest.At(0) + `", message: 'Failed to create new replica set "model-new": admission webhook "w.example" denied the request: no'}]}`, waiting: `admission webhook "w.example" denied the pods: no`, again: time.Minute},
			{at: 60, failure: `admission webhook "w.example" denied the pods: no`},
		}},
		{name: "the controller has not seen the generation", kind: "StatefulSet", replicas: 1, steps: []step{
			{at: 0, live: `{observedGeneration: 1, updateRevision: old}`, pods: []workloadtest.Pod{{Name: "model-0", Owner: "workload", Extra: "labels: {controller-revision-hash: old}", Status: workloadtest.Crash}}, waiting: "no pod of the new revision yet"},
		}},
		{name: "a StatefulSet is stuck on one pod", kind: "StatefulSet", replicas: 3, steps: []step{
			{at: 0, live: `{observedGeneration: 2, updateRevision: new}`, pods: []workloadtest.Pod{
				{Name: "model-2", Owner: "workload", Extra: "labels: {controller-revision-hash: new}", Status: workloadtest.Ready},
				{Name: "model-1", Owner: "workload", Extra: "labels: {controller-revision-hash: new}", Status: workloadtest.Crash},
				{Name: "model-0", Owner: "workload", Extra: "labels: {controller-revision-hash: old}", Status: workloadtest.Ready},
			}, failure: "crashed with exit code 1"},
		}},
		{name: "a StatefulSet waits for a pod of an earlier revision that crashes", kind: "StatefulSet", replicas: 2, steps: []step{
			{at: 0, live: `{observedGeneration: 2, updateRevision: new}`, pods: []workloadtest.Pod{
				{Name: "model-0", Owner: "workload", Extra: "labels: {controller-revision-hash: old}", Status: workloadtest.Ready},
				{Name: "model-1", Owner: "workload", Extra: "labels: {controller-revision-hash: old}", Status: workloadtest.Crash},
			}, failure: `pod "model-1" of an earlier revision is not ready (container "model" crashed with exit code 1, restarted 3 times), and a StatefulSet updates no pod before it is (kubernetes/kubernetes#67250); delete that pod, which is then made anew from the new revision: kubectl delete pod model-1 --namespace=default`},
		}},
		{name: "a StatefulSet waits for a pod of an earlier revision that lacks something", kind: "StatefulSet", replicas: 1, steps: []step{
			{
				at: 0, live: `{observedGeneration: 2, updateRevision: new}`, pods: []workloadtest.Pod{{Name: "model-0", Owner: "workload", Extra: "labels: {controller-revision-hash: old}", Status: workloadtest.NoSecret}},
				waiting: `pod "model-0" of an earlier revision is not ready (Secret "a"`, again: time.Minute,
			},
			{at: 60, pods: []workloadtest.Pod{{Name: "model-0", Owner: "workload", Extra: "labels: {controller-revision-hash: old}", Status: workloadtest.NoSecret}}, failure: `kubectl delete pod model-0`},
		}},
		{name: "a StatefulSet waits for a pod of an earlier revision that only starts", kind: "StatefulSet", replicas: 1, steps: []step{
			{
				at: 600, live: `{observedGeneration: 2, updateRevision: new}`, pods: []workloadtest.Pod{{Name: "model-0", Owner: "workload", Extra: "labels: {controller-revision-hash: old}", Status: workloadtest.Running}},
				waiting: `pod "model-0" of an earlier revision is not ready (not ready yet), and a StatefulSet updates no pod before it is (kubernetes/kubernetes#67250)`,
			},
			{at: 700, pods: []workloadtest.Pod{{Name: "model-0", Owner: "workload", Extra: "labels: {controller-revision-hash: new}", Status: workloadtest.Ready}}},
		}},
		{name: "a parallel StatefulSet replaces what crashes", kind: "StatefulSet", replicas: 1, more: "podManagementPolicy: Parallel, ", steps: []step{
			{at: 0, live: `{observedGeneration: 2, updateRevision: new}`, pods: []workloadtest.Pod{{Name: "model-0", Owner: "workload", Extra: "labels: {controller-revision-hash: old}", Status: workloadtest.Crash}}, waiting: "no pod of the new revision yet"},
		}},
		{name: "a StatefulSet whose first pod is forbidden", kind: "StatefulSet", replicas: 2, steps: []step{
			{at: 0, live: `{observedGeneration: 2, updateRevision: new}`, events: []Event{{
				Reason: "FailedCreate", First: objecttest.Start(), Last: objecttest.Start().Add(time.Second),
				Message: `create Pod model-0 in StatefulSet model failed error: pods "model-0" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true`,
			}}, waiting: `Pod Security Standard "restricted:latest"`, again: time.Minute},
			{at: 60, failure: `Pod Security Standard "restricted:latest"`},
		}},
		{name: "events from before the deploy do not count", kind: "StatefulSet", replicas: 2, steps: []step{
			{at: 0, live: `{observedGeneration: 2, updateRevision: new}`, events: []Event{{
				Reason: "FailedCreate", First: objecttest.Start().Add(-time.Minute), Last: objecttest.Start().Add(-time.Second), Message: `pods "model-0" is forbidden: no`,
			}}, waiting: "no pod of the new revision yet"},
		}},
		{name: "a DaemonSet by its template's generation", kind: "DaemonSet", replicas: 1, steps: []step{
			{at: 0, live: `{observedGeneration: 2, desiredNumberScheduled: 1}`, pods: []workloadtest.Pod{
				{Name: "a", Owner: "workload", Extra: `labels: {pod-template-generation: "1"}`, Status: workloadtest.Crash},
			}},
			{at: 1, pods: []workloadtest.Pod{{Name: "b", Owner: "workload", Extra: `labels: {pod-template-generation: "2"}`, Status: workloadtest.Crash}}, failure: "crashed"},
		}},
		{name: "a Job's crash is the Job's to judge", kind: "Job", replicas: 1, steps: []step{
			{at: 100, pods: []workloadtest.Pod{{Name: "a", Owner: "workload", Status: workloadtest.Crash}}, waiting: "crashed with exit code 1"},
		}},
		{name: "a Job that cannot begin", kind: "Job", replicas: 1, steps: []step{
			{at: 0, pods: []workloadtest.Pod{{Name: "a", Owner: "workload", Status: workloadtest.NoSecret}}, waiting: `Secret "a"`, again: time.Minute},
			{at: 60, pods: []workloadtest.Pod{{Name: "a", Owner: "workload", Status: workloadtest.NoSecret}}, failure: `Secret "a"`},
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
				live := workloadtest.Object(t, tt.kind, tt.replicas, observedTwo, tt.more)
				e := NewEvidence(kube.Change{Ref: kube.Ref{Kind: tt.kind, Namespace: "default", Name: "model"}, Before: live, After: live, Action: kube.Configured}, time.Now())
				listed := func(r kube.Resource, all ...unstructured.Unstructured) {
					e.Observe(Source{kube.Selection{Resource: r}}, kube.ListUpdate{Listed: true, All: all}, time.Now())
				}
				listed(kube.ReplicaSets, *workloadtest.ReplicaSet(t, "old", "1", strings.Replace(workloadtest.Template, "v2", "v1", 1), `{}`), *workloadtest.ReplicaSet(t, "new", "2", workloadtest.Template, `{}`))
				warned := ""
				for _, s := range tt.steps {
					time.Sleep(time.Until(objecttest.Start().Add(time.Duration(s.at) * time.Second)))
					if s.live != "" {
						live = workloadtest.Object(t, tt.kind, tt.replicas, s.live, tt.more)
					}
					if s.set != "" {
						e.Observe(Source{kube.Selection{Resource: kube.ReplicaSets}}, kube.ListUpdate{Update: kube.Update{Object: workloadtest.ReplicaSet(t, "new", "2", workloadtest.Template, s.set)}}, time.Now())
					}
					e.events = append(e.events, s.events...)
					var pods []unstructured.Unstructured
					for _, p := range s.pods {
						pods = append(pods, *p.Object(t))
					}
					listed(kube.Pods, pods...)
					e.ObserveObject(live, time.Now())
					v := Evaluate(e, time.Now(), Options{})
					if v.WarningState == warned {
						v.Warning = ""
					}
					warned = v.WarningState
					got := ""
					if v.Failure != nil {
						got = v.Failure.String()
					}
					if (s.failure == "") != (got == "") || !strings.Contains(got, s.failure) {
						t.Fatalf("after %ds: failure %q, want %q", s.at, got, s.failure)
					}
					if s.failure != "" {
						if v.Failure.Object.String() != tt.kind+" default/model" || v.Failure.Fix == "" {
							t.Errorf("after %ds: %+v", s.at, v.Failure)
						}
						return
					}
					if !strings.Contains(v.Waiting, s.waiting) || (s.waiting == "") != (v.Waiting == "") {
						t.Errorf("after %ds: waiting %q, want %q", s.at, v.Waiting, s.waiting)
					}
					if !strings.Contains(v.Warning, s.warning) || (s.warning == "") != (v.Warning == "") {
						t.Errorf("after %ds: warning %q, want %q", s.at, v.Warning, s.warning)
					}
					if v.RecheckAfter != s.again {
						t.Errorf("after %ds: again in %v, want %v", s.at, v.RecheckAfter, s.again)
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
	set := func(created int, managed ...string) *unstructured.Unstructured {
		return objecttest.FromYAML(t, fmt.Sprintf(`{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: model, creationTimestamp: %q, managedFields: [%s]}}`, objecttest.At(created), strings.Join(managed, ", ")))
	}
	entry := func(manager, operation, subresource string, seconds int) string {
		return fmt.Sprintf(`{manager: %q, operation: %s, subresource: %q, time: %q}`, manager, operation, subresource, objecttest.At(seconds))
	}
	mine := func(seconds int) string { return entry(object.FieldManager, "Apply", "", seconds) }
	status := func(seconds int) string { return entry("kube-controller-manager", "Update", "status", seconds) }
	tests := []struct {
		name         string
		change       kube.Change
		live         *unstructured.Unstructured
		before, then int // seconds until live is seen, and from then on
	}{
		{"with managedFields", kube.Change{After: set(-900, mine(-1), status(-50)), Before: set(-900, mine(-800)), Action: kube.Configured}, set(-900, mine(-1), status(3)), -1, -1},
		{"without", kube.Change{After: set(-900), Before: set(-900, mine(-800), status(-700)), Action: kube.Configured}, set(-900, mine(-1), status(3)), -700, -1},
		{"without, for a while", kube.Change{After: set(-900), Before: set(-900, mine(-800), status(-700)), Action: kube.Configured}, set(-900, mine(-800), status(-700)), -700, -700},
		{"created", kube.Change{After: set(-2), Action: kube.Created}, set(-2, mine(-2), status(3)), -2, -2},
		{"unchanged", kube.Change{After: set(-900, mine(-800)), Before: set(-900, mine(-800)), Action: kube.Unchanged}, set(-900, mine(-800), status(3)), -5, -5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := NewEvidence(tt.change, time.Now())
				before := e.since
				e.ObserveObject(tt.live, time.Now())
				if got := []string{before.UTC().Format(time.RFC3339), e.since.UTC().Format(time.RFC3339)}; got[0] != objecttest.At(tt.before) || got[1] != objecttest.At(tt.then) {
					t.Errorf("began at %s, want %s and %s", got, objecttest.At(tt.before), objecttest.At(tt.then))
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
		live := workloadtest.Object(t, "Deployment", 1, `{observedGeneration: 2}`)
		e := NewEvidence(kube.Change{After: live, Action: kube.Unchanged}, time.Now())
		e.Observe(Source{kube.Selection{Resource: kube.ReplicaSets}}, kube.ListUpdate{Listed: true, All: []unstructured.Unstructured{*workloadtest.ReplicaSet(t, "new", "2", workloadtest.Template, `{}`)}}, time.Now())
		for _, step := range []struct {
			restarts int
			fails    bool
		}{{40, false}, {42, false}, {43, true}} {
			e.Observe(Source{kube.Selection{Resource: kube.Pods}}, kube.ListUpdate{Listed: true, All: []unstructured.Unstructured{*workloadtest.Pod{Name: "a", Owner: "new", Status: fmt.Sprintf(many, step.restarts)}.Object(t)}}, time.Now())
			if v := Evaluate(e, time.Now(), Options{}); (v.Failure != nil) != step.fails {
				t.Errorf("%d restarts: failure %v, want %v", step.restarts, v.Failure, step.fails)
			}
		}
	})
}

// TestBaselineOfALoop holds that a loop which goes on counts in full where nothing
// was changed, and one of long ago does not.
func TestBaselineOfALoop(t *testing.T) {
	t.Parallel()
	const looping = `{phase: Running, conditions: [{type: Ready, status: "False"}], containerStatuses: [{name: model, restartCount: 40, state: {running: {}}, lastState: {terminated: {exitCode: 1, reason: Error, finishedAt: %q}}}]}`
	for name, tt := range map[string]struct {
		action kube.Action
		ended  int // seconds since Start; the deploy begins an hour later
		fails  bool
	}{
		"unchanged, a minute ago":       {kube.Unchanged, 3540, true},
		"unchanged, half an hour ago":   {kube.Unchanged, 1800, false},
		"changed, a minute before that": {kube.Configured, 3540, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Hour)
				live := workloadtest.Object(t, "Deployment", 1, `{observedGeneration: 2}`)
				live.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "deploy-model-action", Time: &metav1.Time{Time: time.Now()}}})
				e := NewEvidence(kube.Change{Before: live, After: live, Action: tt.action}, time.Now())
				e.Observe(Source{kube.Selection{Resource: kube.ReplicaSets}}, kube.ListUpdate{Listed: true, All: []unstructured.Unstructured{*workloadtest.ReplicaSet(t, "new", "2", workloadtest.Template, `{}`)}}, time.Now())
				e.Observe(Source{kube.Selection{Resource: kube.Pods}}, kube.ListUpdate{Listed: true, All: []unstructured.Unstructured{*workloadtest.Pod{Name: "a", Owner: "new", Status: fmt.Sprintf(looping, objecttest.At(tt.ended))}.Object(t)}}, time.Now())
				if v := Evaluate(e, time.Now(), Options{}); (v.Failure != nil) != tt.fails {
					t.Errorf("failure %v, want %v", v.Failure, tt.fails)
				}
			})
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
			if got := stateOf(t, tt.kind, tt.pod, tt.events...).waiting(); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// The messages were recorded on kube-scheduler 1.36.3.
func TestSchedulerMessage(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		`0/1 nodes are available: 1 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.`: `0/1 nodes are available: 1 Insufficient nvidia.com/gpu`,
		`0/1 nodes are available: persistentvolumeclaim "c" not found. not found`:                                                                                               `0/1 nodes are available: persistentvolumeclaim "c" not found`,
		`0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found`:                                                                                  `0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims`,
		`no nodes available to schedule pods`: `no nodes available to schedule pods`,
	} {
		if got := schedulerMessage(message); got != want {
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
		{pod, "0/3 nodes are available: 3 node(s) didn't find available persistent volumes to bind.", `create a PersistentVolume that fits PersistentVolumeClaim "weights", "model-7c9d5-x2x4q-scratch" (size, access mode, storageClassName), or name a StorageClass that makes one; a node more does not help`},
		{pod, "0/3 nodes are available: 3 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s).", `look what became of the PersistentVolume of PersistentVolumeClaim "weights", "model-7c9d5-x2x4q-scratch": its data may be on a disk that is still there, so keep the claim until you know`},
		{pod, "0/3 nodes are available: 3 node(s) had volume node affinity conflict.", `make room on the node or zone where the volume of PersistentVolumeClaim "weights", "model-7c9d5-x2x4q-scratch" is, which cannot move`},
		{pod, "0/3 nodes are available: 3 node(s) didn't have free ports for the requested pod ports.", "no free node has the pod's hostPort: leave hostPort away, or free it"},
		{&corev1.Pod{}, "no nodes available to schedule pods", "add a node with room for a pod, or let an autoscaler add it"},
	}
	for _, tt := range tests {
		if got := (&Evidence{}).needs(tt.pod, tt.message); got != tt.want {
			t.Errorf("%q:\n%s", tt.message, cmp.Diff(tt.want, got))
		}
	}
}

// A pod of the earlier revision may hold the one thing that there is: another node
// is not what is needed then.
func TestNeedsWhatTheEarlierRevisionHolds(t *testing.T) {
	t.Parallel()
	const pod = `nodeName: %s, containers: [{name: model, image: "r.example/m:v2", resources: {limits: {nvidia.com/gpu: "1"}, requests: {nvidia.com/gpu: "1"}}}], volumes: [{name: data, persistentVolumeClaim: {claimName: weights}}]`
	for _, tt := range []struct {
		name, message string
		old           string // node of the pod of the earlier revision; "" for none
		want          string
	}{
		{"GPU", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", "node-1", "the earlier pod holds the nvidia.com/gpu: set strategy: {type: Recreate}, or rollingUpdate: {maxSurge: 0, maxUnavailable: 1}; nothing serves in between"},
		{"GPU that nobody holds", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", "", "add a node with 1 nvidia.com/gpu free, or let an autoscaler add it"},
		{"memory", "0/1 nodes are available: 1 Insufficient memory.", "node-1", "add a node with 1 nvidia.com/gpu free, or let an autoscaler add it"},
		{"volume", "0/2 nodes are available: 1 node(s) had volume node affinity conflict, 1 Insufficient cpu.", "node-1", `the earlier pod holds the volume of claim "weights": set strategy: {type: Recreate}, or rollingUpdate: {maxSurge: 0, maxUnavailable: 1}; nothing serves in between`},
		{"port", "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.", "node-1", "no free node has the pod's hostPort: leave hostPort away, or free it, or set maxSurge: 0 or strategy: {type: Recreate}, as the pods of the earlier revision have it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			now := time.Unix(1_800_000_000, 0)
			e := NewEvidence(changeOf(workloadtest.Object(t, "Deployment", 1, `{observedGeneration: 2}`)), now)
			sets := []unstructured.Unstructured{*workloadtest.ReplicaSet(t, "new", "2", workloadtest.Template, `{}`), *workloadtest.ReplicaSet(t, "old", "1", strings.Replace(workloadtest.Template, "v2", "v1", 1), `{}`)}
			e.Observe(Source{kube.Selection{Resource: kube.ReplicaSets}}, kube.ListUpdate{Listed: true, All: sets}, now)
			pods := []unstructured.Unstructured{*workloadtest.Pod{
				Name: "pod-new", Owner: "new", Extra: "labels: {pod-template-hash: new}", Spec: fmt.Sprintf(pod, `""`),
				Status: fmt.Sprintf(`{phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: %q}]}`, tt.message),
			}.Object(t)}
			if tt.old != "" {
				pods = append(pods, *workloadtest.Pod{Name: "pod-old", Owner: "old", Extra: "labels: {pod-template-hash: old}", Spec: fmt.Sprintf(pod, tt.old), Status: workloadtest.Ready}.Object(t))
			}
			e.Observe(Source{kube.Selection{Resource: kube.Pods}}, kube.ListUpdate{Listed: true, All: pods}, now)
			text, _ := e.warning(e.candidates())
			if _, got, _ := strings.Cut(text, "; it waits; "); got != tt.want {
				t.Errorf("%s", cmp.Diff(tt.want, got))
			}
		})
	}
}

// Sidecars run beside the containers, and count with them.
func TestRequestsOfSidecars(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]string{
		`containers: [{name: a, resources: {requests: {cpu: "1"}}}, {name: b, resources: {requests: {cpu: "1"}}}]`:                                                     "2 cpu free",
		`initContainers: [{name: s, restartPolicy: Always, resources: {requests: {cpu: "1"}}}], containers: [{name: a, resources: {requests: {cpu: "1"}}}]`:            "2 cpu free",
		`initContainers: [{name: i, resources: {requests: {cpu: "3"}}}], containers: [{name: a, resources: {requests: {cpu: "1"}}}]`:                                   "3 cpu free",
		`initContainers: [{name: s, restartPolicy: Always, resources: {requests: {cpu: "1"}}}, {name: i, resources: {requests: {cpu: "3"}}}], containers: [{name: a}]`: "4 cpu free",
		`initContainers: [{name: i, resources: {requests: {cpu: "3"}}}, {name: s, restartPolicy: Always, resources: {requests: {cpu: "1"}}}], containers: [{name: a}]`: "3 cpu free",
		`containers: [{name: a}]`: "room for a pod",
	} {
		if got := requests(podOf(t, "spec: {"+spec+"}")); got != want {
			t.Errorf("%s: %q, want %q", spec, got, want)
		}
	}
}

// A quota's refusal speaks of one pod; how much it has to be raised, all say.
func TestQuotaSaysWhatAllPodsNeed(t *testing.T) {
	t.Parallel()
	for replicas, want := range map[int]string{
		3: `quota "compute" forbids more pods: requested pods=1,requests.memory=512Mi, used pods=1,requests.memory=512Mi, limited to pods=1,requests.memory=1Gi; its 3 pods need pods=3,requests.memory=1536Mi in all`,
		1: `quota "compute" forbids more pods: requested pods=1,requests.memory=512Mi, used pods=1,requests.memory=512Mi, limited to pods=1,requests.memory=1Gi`,
	} {
		now := time.Unix(1_800_000_000, 0)
		e := NewEvidence(changeOf(workloadtest.Object(t, "Deployment", replicas, `{observedGeneration: 2}`)), now)
		set := workloadtest.ReplicaSet(t, "new", "2", workloadtest.Template, `{conditions: [{type: ReplicaFailure, status: "True", reason: FailedCreate, message: 'pods "model-x" is forbidden: exceeded quota: compute, requested: pods=1,requests.memory=512Mi, used: pods=1,requests.memory=512Mi, limited: pods=1,requests.memory=1Gi'}]}`)
		e.Observe(Source{kube.Selection{Resource: kube.ReplicaSets}}, kube.ListUpdate{Listed: true, All: []unstructured.Unstructured{*set}}, now)
		if got := e.refusal().Cause; got != want {
			t.Errorf("%s", cmp.Diff(want, got))
		}
	}
}
