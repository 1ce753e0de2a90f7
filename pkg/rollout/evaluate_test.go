package rollout

import (
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/org/deploy-model-action/pkg/diagnosis"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
	"github.com/org/deploy-model-action/pkg/readiness"
	"github.com/org/deploy-model-action/pkg/workload/workloadtest"
)

// TestEvaluate holds which of the things that are known at one time counts.
func TestEvaluate(t *testing.T) {
	t.Parallel()
	forbidden := apierrors.NewForbidden(schema.GroupResource{Group: "apps", Resource: "deployments"}, "model", nil)
	down := apierrors.NewServiceUnavailable("the server is down")
	taken := &diagnosis.Failure{Reason: diagnosis.ReasonChanged, Cause: "somebody changed it"}
	job := func(conditions string) *unstructured.Unstructured {
		return objecttest.FromYAML(t, objecttest.Text("batch/v1", "Job", `{}`, `{conditions: [`+conditions+`]}`))
	}
	half, late, done, stuck := deployed(t, 150, 1), with(t, deployed(t, 150, 1), exceeded), deployed(t, 200, 2), paused(t)

	tests := []struct {
		name     string
		live     *unstructured.Unstructured
		state    func(s *state) // what else is known
		slow     bool           // FailFast is off
		after    time.Duration
		outcome  readiness.Outcome
		message  string // begins with it
		reason   string // of the failure, or of what is pending
		external bool
		recheck  time.Duration
	}{
		{name: "half way", live: half, outcome: readiness.Pending, message: "1 of 2 updated"},
		{name: "ready", live: done, outcome: readiness.Ready, message: "2 of 2 updated"},
		{name: "ready, and it cannot be read any more", live: done, state: func(s *state) { s.readErr = down }, outcome: readiness.Ready},
		{name: "ready, and somebody changed it", live: done, state: func(s *state) { s.taken = taken }, outcome: readiness.Failed, reason: "Changed", external: true},
		{name: "failing, and somebody changed it", live: stuck, state: func(s *state) { s.taken = taken }, outcome: readiness.Failed, reason: "Changed", external: true},
		{name: "failing", live: stuck, outcome: readiness.Failed, reason: "Paused"},
		{name: "a deadline is exceeded, and there is time left", live: late, outcome: readiness.Pending, reason: "ProgressDeadlineExceeded"},
		{name: "a deadline that was exceeded before", live: late, state: func(s *state) { s.observeObject(kube.Update{Object: with(t, deployed(t, 100, 2), exceeded)}, s.began) }, outcome: readiness.Pending},
		{name: "failing, and may heal", live: stuck, slow: true, outcome: readiness.Pending, reason: "Paused"},
		{name: "what no time heals", live: job(`{type: Failed, status: "True", reason: BackoffLimitExceeded}`), slow: true, outcome: readiness.Failed, reason: "BackoffLimitExceeded"},
		{name: "not waited for after all", live: half, state: func(s *state) { s.skip = "nobody knows when" }, outcome: readiness.NotWaitedFor, message: "nobody knows when"},
		{name: "ready before it is not waited for", live: done, state: func(s *state) { s.skip = "nobody knows when" }, outcome: readiness.Ready},
		{name: "a Warning", live: half, state: func(s *state) { s.warning = "Sync: no quota" }, outcome: readiness.Pending, message: "1 of 2 updated, 1 ready, 1 available; Sync: no quota"},
		{name: "it cannot be read", live: half, state: func(s *state) { s.readErr, s.readErrSince = down, s.began }, after: time.Hour, outcome: readiness.Pending, message: "1 of 2 updated, 1 ready, 1 available; it cannot be read at the moment: the server is down"},
		{name: "it may not be read", live: half, state: func(s *state) { s.readErr, s.readErrSince = forbidden, s.began }, after: 20 * time.Second, outcome: readiness.Pending, recheck: 40 * time.Second},
		{name: "it may not be read for long", live: half, state: func(s *state) { s.readErr, s.readErrSince = forbidden, s.began }, after: time.Minute, outcome: readiness.Failed, reason: "Forbidden", external: true},
		{name: "it may not be read for long, and may heal", live: half, state: func(s *state) { s.readErr, s.readErrSince = forbidden, s.began }, slow: true, after: time.Minute, outcome: readiness.Pending},
		{name: "pods that are not followed yet", live: half, state: crashing(t, false), outcome: readiness.Pending, message: "1 of 2 updated, 1 ready, 1 available"},
		{name: "pods that fail", live: half, state: crashing(t, true), outcome: readiness.Failed, reason: "CrashLoopBackOff", message: "1 of 2 updated, 1 ready, 1 available; waiting for pods: container"},
		{name: "old pods are ready", live: half, state: beside(t, workloadtest.Ready), outcome: readiness.Pending, message: "1 of 2 updated, 1 ready, 1 available (0 of them of the new revision, 1 of an earlier one); waiting for pods: "},
		{name: "old pods are not ready", live: half, state: beside(t, workloadtest.Running), outcome: readiness.Pending, message: "1 of 2 updated, 1 ready, 1 available; waiting for pods: "},
		{name: "pods that fail know the cause of a deadline", live: late, state: crashing(t, true), slow: true, outcome: readiness.Pending, reason: "CrashLoopBackOff"},
		{name: "pods that fail, of what is ready", live: done, state: crashing(t, true), outcome: readiness.Ready},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			applied := deployed(t, 100, 2)
			if tt.live.GetKind() == "Job" {
				applied = objecttest.FromYAML(t, objecttest.Text("batch/v1", "Job", `{}`, `{}`))
			}
			s := newState(changeOf(applied), objecttest.Start())
			if tt.state != nil {
				tt.state(s)
			}
			s.live = tt.live
			v := evaluate(s, Options{FailFast: !tt.slow}.withDefaults(), s.began.Add(tt.after))
			reason := ""
			for _, f := range []*diagnosis.Failure{v.pending, v.failure} {
				if f != nil {
					reason = f.Reason
				}
			}
			if v.outcome != tt.outcome || reason != tt.reason || v.external != tt.external || v.recheckAfter != tt.recheck || !strings.HasPrefix(v.message, tt.message) {
				t.Errorf("%+v; reason %q", v, reason)
			}
		})
	}
}

// crashing adds a pod of the new revision that crashes.
func crashing(t *testing.T, followed bool) func(s *state) {
	t.Helper()
	set := workloadtest.ReplicaSet(t, "new", "2", `{spec: {containers: [{name: model, image: "host/model:1"}]}}`, `{}`)
	set.Object["metadata"].(map[string]any)["ownerReferences"] = []any{map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "model", "uid": "u1", "controller": true}}
	pod := workloadtest.Pod{Name: "a", Owner: "new", Status: workloadtest.Crash}.Object(t)
	return func(s *state) {
		if followed {
			s.follow(s.began)
		}
		for resource, u := range map[kube.Resource]*unstructured.Unstructured{kube.ReplicaSets: set, kube.Pods: pod} {
			s.observe(observation{evidence: func(e *diagnosis.Evidence, now time.Time) {
				e.Observe(diagnosis.Source{Selection: kube.Selection{Resource: resource}}, kube.ListUpdate{Listed: true, All: []unstructured.Unstructured{*u}}, now)
			}}, s.began)
		}
	}
}

// beside is a pod of the new revision that is not ready, and one of the old one
// in some status.
func beside(t *testing.T, status string) func(s *state) {
	t.Helper()
	var sets, pods []unstructured.Unstructured
	for owner, version := range map[string]string{"new": "1", "old": "0"} { // of the image
		set := workloadtest.ReplicaSet(t, owner, version, `{spec: {containers: [{name: model, image: "host/model:`+version+`"}]}}`, `{}`)
		set.Object["metadata"].(map[string]any)["ownerReferences"] = []any{map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "model", "uid": "u1", "controller": true}}
		sets = append(sets, *set)
	}
	pods = append(pods, *workloadtest.Pod{Name: "a", Owner: "new", Status: workloadtest.Running}.Object(t), *workloadtest.Pod{Name: "b", Owner: "old", Status: status}.Object(t))
	return func(s *state) {
		s.follow(s.began)
		s.observe(observation{evidence: func(e *diagnosis.Evidence, now time.Time) {
			e.Observe(diagnosis.Source{Selection: kube.Selection{Resource: kube.ReplicaSets}}, kube.ListUpdate{Listed: true, All: sets}, now)
			e.Observe(diagnosis.Source{Selection: kube.Selection{Resource: kube.Pods}}, kube.ListUpdate{Listed: true, All: pods}, now)
		}}, s.began)
	}
}
