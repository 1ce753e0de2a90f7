package rollout

import (
	"time"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/readiness"
	"github.com/org/deploy-model-action/pkg/retry"
	"github.com/org/deploy-model-action/pkg/workload"
)

// steadyAfter is how long the containers of new pods have to run until the
// workload counts as ready: a program without a readiness probe is ready when it
// starts, also if it ends a moment later.
const steadyAfter = 10 * time.Second

// keeps reports whether an object is a workload whose pods go on running.
func keeps(c kube.Change) bool {
	set := workload.Pods(c.After)
	switch set.Kind {
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Pod":
		return true
	case "JobSet", "RayJob":
		return false
	}
	return set.Custom
}

// renews reports whether a write is one that makes new pods, as far as their kind
// is known: what did not change the specification makes none.
func renews(c kube.Change) bool {
	return keeps(c) && c.Changed() && (c.Before == nil || c.Before.GetGeneration() != c.After.GetGeneration())
}

// steadyFor is how long the containers have to run of pods that are new, or did not
// serve before; 0 if minReadySeconds says how long, of which their controller keeps
// account.
func steadyFor(c kube.Change) time.Duration {
	switch {
	case !renews(c) && (c.Changed() || !keeps(c) || readiness.Evaluate(c.After, readiness.Context{}).Outcome == readiness.Ready):
		return 0
	case c.Manifest != nil && object.Number(c.Manifest, -1, "spec", "minReadySeconds") >= 0:
		return 0
	case c.Manifest == nil && object.Number(c.After, 0, "spec", "minReadySeconds") > 0:
		return 0 // of what is live a zero does not say whether somebody wrote it
	}
	return steadyAfter
}

// hasToGoOn reports whether there are pods that have to run for a while.
func (s *state) hasToGoOn() bool { return s.steadyFor > 0 && workload.Pods(s.live).Wanted > 0 }

// steady reports whether what is ready goes on, and if only time is missing for
// that, how much.
func (s *state) steady(now time.Time) (steady bool, left time.Duration) {
	if set := workload.Pods(s.live); s.steadyFor == 0 || set.Wanted == 0 && !set.Custom {
		return true, 0
	}
	if !s.followed {
		return false, 0
	}
	steady, left, known := s.evidence.Steady(s.steadyFor, now)
	if !known { // then the workload's own word has to do
		left = max(0, s.readySince.Add(s.steadyFor).Sub(now))
		return left == 0, left
	}
	return steady, left
}

// observeReady remembers since when the object is ready by its own status.
func (s *state) observeReady(now time.Time) {
	switch ready := readiness.Evaluate(s.live, s.context(now)).Outcome == readiness.Ready; {
	case !ready:
		s.readySince = time.Time{}
	case s.readySince.IsZero():
		s.readySince = now
	}
}

// goesOn says what is waited for when everything is ready.
func goesOn(while time.Duration) string {
	return "waiting until its containers have run for " + retry.FormatDuration(while)
}
