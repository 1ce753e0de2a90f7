package rollout

import (
	"testing"
	"time"

	"github.com/org/deploy-model-action/pkg/diagnosis"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
	"github.com/org/deploy-model-action/pkg/readiness"
)

// TestLasting holds when a failure that a controller reports is one: at once what
// has ended, after a while what may come back, and never before the timeout what
// only took longer than its controller thought.
func TestLasting(t *testing.T) {
	t.Parallel()
	const ended, reference, deadline = `abort: true, message: "RolloutAborted: error rate"`, `message: "InvalidSpec: no service canary"`, `message: "ProgressDeadlineExceeded: no pod"`
	for _, tt := range []struct {
		name, said, then string
		after            time.Duration
		slow             bool // FailFast is off
		listed           bool // there are no pods
		outcome          readiness.Outcome
		pending          string // reason
		recheck          time.Duration
	}{
		{name: "ended", said: ended, outcome: readiness.Failed, pending: "RolloutAborted"},
		{name: "ended, and may heal for all that the user knows", said: ended, slow: true, after: time.Hour, pending: "RolloutAborted"},
		{name: "a reference that is missing", said: reference, after: 59 * time.Second, pending: "InvalidSpec", recheck: time.Second},
		{name: "a reference that is missing for long", said: reference, after: time.Minute, outcome: readiness.Failed, pending: "InvalidSpec"},
		{name: "another failure begins anew", said: deadline, then: reference, after: time.Minute, pending: "InvalidSpec", recheck: time.Minute},
		{name: "a deadline", said: deadline, after: time.Hour, pending: "ProgressDeadlineExceeded"},
		{name: "a deadline, and no pod", said: deadline, listed: true, after: 59 * time.Second, pending: "ProgressDeadlineExceeded", recheck: time.Second},
		{name: "a deadline, and no pod for long", said: deadline, listed: true, after: time.Minute, outcome: readiness.Failed, pending: "ProgressDeadlineExceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			degraded := func(said string) kube.Update {
				return kube.Update{Object: objecttest.FromYAML(t, objecttest.Text("argoproj.io/v1alpha1", "Rollout", `{}`, `{observedGeneration: "4", phase: Degraded, `+said+`}`))}
			}
			s := newState(changeOf(objecttest.FromYAML(t, objecttest.Text("argoproj.io/v1alpha1", "Rollout", `{}`, `{}`))), objecttest.Start())
			s.observeObject(degraded(tt.said), s.began)
			if tt.listed {
				s.evidence.Observe(diagnosis.Source{Selection: kube.Selection{Resource: kube.Pods}}, kube.ListUpdate{Listed: true}, s.began)
			}
			now := s.began.Add(tt.after)
			if tt.then != "" {
				s.observeObject(degraded(tt.then), now)
			}
			v := evaluate(s, Options{FailFast: !tt.slow}.withDefaults(), now)
			if v.outcome != tt.outcome || v.pending == nil || v.pending.Reason != tt.pending || v.recheckAfter != tt.recheck {
				t.Errorf("%+v; pending %v", v, v.pending)
			}
		})
	}
}
