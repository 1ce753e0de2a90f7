package rollout

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"

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

// relapsed reports whether what nobody changed, and what is ready by its own status,
// is so between two crashes: a model that ends every few seconds is ready in between,
// and whoever reads its status then would call it well. Its pods are read for that,
// unless the status shows that none was missing; where they cannot be read, the
// status has the last word.
func (w *waiter) relapsed(ctx context.Context, s *state) bool {
	read := s.began
	if at := s.change.Started; !at.IsZero() && at.Before(read) {
		read = at // what became of it since is not known
	}
	if !s.alone || !keeps(s.change) || workload.Pods(s.live).Wanted == 0 || complete(s.live, w.options.VerifiedAt, read) {
		return false
	}
	if s.evidence.ObserveObject(s.live, time.Now()); len(s.evidence.Sources()) > 0 { // a bare pod is its own evidence
		w.readPods(ctx, s)
	}
	return s.evidence.Relapsed(steadyAfter, time.Now())
}

// complete reports whether a Deployment's status shows that none of its pods was
// missing for a while, or since it was verified: it is Available as long as no more
// are than may be, which is often none.
func complete(u *unstructured.Unstructured, verified, now time.Time) bool {
	available, ok := object.ConditionOf(u, "Available")
	since, err := time.Parse(time.RFC3339, available.Changed)
	if !ok || available.Status != "True" || err != nil || now.Sub(since) < steadyAfter && since.After(verified) {
		return false
	}
	if u.GetKind() != "Deployment" {
		return false
	}
	return object.Text(u, "spec", "strategy", "type") == "Recreate" || resolved(u, "maxUnavailable") == 0 && resolved(u, "maxSurge") != 0
}

// resolved is a number of pods of a Deployment's strategy, as its controller takes it.
func resolved(u *unstructured.Unstructured, name string) int {
	number, _, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", "strategy", "rollingUpdate", name)
	value := intstr.FromString("25%")
	switch number := number.(type) {
	case int64:
		value = intstr.FromInt32(int32(number)) //nolint:gosec // pods
	case string:
		value = intstr.FromString(number)
	}
	wanted := int(object.Number(u, 1, "spec", "replicas"))
	pods, err := intstr.GetScaledValueFromIntOrPercent(&value, wanted, name == "maxSurge")
	if err != nil {
		return wanted
	}
	return pods
}
