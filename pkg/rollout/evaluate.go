package rollout

import (
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/org/deploy-model-action/pkg/diagnosis"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/readiness"
)

// verdict is what a state means by now.
type verdict struct {
	outcome readiness.Outcome
	message string // what is there, and what is missing
	// failure is why it cannot become ready, with outcome Failed.
	failure *diagnosis.Failure
	// pending is a failure that is not acted upon before there is no time left, as
	// what failed may heal.
	pending *diagnosis.Failure
	// unproved says that pending is none yet: time may still heal it.
	unproved bool
	// optional is said if it is not ready when there is no time left, which is no
	// failure then; "" if it is one.
	optional string
	// waitsForPods says that a Service lacks nothing but pods that are waited for.
	waitsForPods bool
	// external says that the object's pods and events have nothing to do with it.
	external bool
	notes    []note
	// recheckAfter is when the same state may have another verdict; 0: never.
	recheckAfter time.Duration
}

// note is to be reported once for each key.
type note struct {
	key, text string
	warning   bool
}

// final reports whether the wait for the object is over.
func (v verdict) final() bool { return v.outcome != readiness.Pending }

// evaluate says what a state means by now. It is pure; what it decides first counts.
func evaluate(s *state, o Options, now time.Time) verdict {
	r := readiness.Evaluate(s.live, s.context(now))
	v := verdict{outcome: r.Outcome, message: r.Message, recheckAfter: r.RecheckAfter}
	if s.taken != nil {
		return v.failed(s.taken, true)
	}
	v.notes = s.notes(r)
	switch r.Outcome {
	case readiness.Ready:
		steady, left := s.steady(now)
		var leads bool
		if v, leads = v.withEndpoints(s, o, now); steady && leads {
			return v
		}
		switch {
		case left > 0:
			v.message += "; " + goesOn(s.steadyFor)
			v = v.recheck(left)
		case !steady && s.followed && s.evidence.LogEnded(now):
			v.message += "; the log of a container has ended: waiting for what its node says of it"
		}
	case readiness.NotWaitedFor:
		if r.Warning != "" {
			v.message = r.Warning
		}
		return v
	case readiness.Pending, readiness.Failed: // a Service without an address may lead nowhere as well
		v, _ = v.withEndpoints(s, o, now)
	}
	if s.skip != "" {
		v.outcome, v.message = readiness.NotWaitedFor, s.skip
		return v
	}
	v.outcome, v.optional = readiness.Pending, r.Optional
	final, proved := false, !v.unproved
	if r.Failure != nil {
		v.pending, final = s.failure(r.Failure.Reason, r.Failure.Cause, r.Failure.Fix), r.Failure.Final
		var left time.Duration
		proved, left = s.proves(r.Failure, o, now)
		v = v.recheck(left)
	}
	own := v.pending
	if s.followed {
		v = v.withPods(diagnosis.Evaluate(s.evidence, now, diagnosis.Options{Persist: o.Persist}))
	}
	if v.pending != nil && (v.pending != own || proved) && (final || o.FailFast) {
		return v.failed(v.pending, false)
	}
	if f := s.unreadable(o, now); f != nil && o.FailFast {
		return v.failed(f, true)
	}
	if s.warning != "" {
		v.message += "; " + s.warning
	}
	if s.readErr != nil {
		v.message += "; it cannot be read at the moment: " + line(s.readErr.Error())
		v = v.recheck(s.readErrSince.Add(o.Persist).Sub(now)) // until it has lasted
	}
	return v
}

// Foresee returns a *FailedError of those changes that are certain to fail whatever
// the pods do, and that are not made yet; nil if there is none. Of each, After is
// the object as it is going to be.
func Foresee(planned []kube.Change) error {
	now := time.Now()
	states := make([]*state, len(planned))
	for i, c := range planned {
		states[i] = newState(c, now)
	}
	failed := &FailedError{title: hopelessTitle}
	for _, s := range states {
		if !s.change.Changed() || readiness.Evaluate(s.live, s.context(now)).Outcome == readiness.NotWaitedFor {
			continue
		}
		s.exposes = expose(s, states)
		halted := readiness.Halted(s.live, s.change.Before)
		switch {
		case halted != nil:
			failed.Failures = append(failed.Failures, *s.failure(halted.Reason, halted.Cause, halted.Fix))
		case s.exposes != nil && s.exposes.fault != nil:
			failed.Failures = append(failed.Failures, *s.exposes.fault)
		}
	}
	if len(failed.Failures) == 0 {
		return nil
	}
	return failed
}

func (v verdict) failed(f *diagnosis.Failure, external bool) verdict {
	v.outcome, v.failure, v.external = readiness.Failed, f, external
	return v
}

// withPods takes into account what the pods say.
func (v verdict) withPods(d diagnosis.Result) verdict {
	if d.Warning != "" {
		v.notes = append(v.notes, note{key: d.WarningState, text: d.Warning, warning: true})
	}
	if d.Earlier > 0 && strings.Contains(v.message, " updated, ") {
		// A workload's status counts all that are ready.
		v.message += fmt.Sprintf("; of the ready ones %d of the new revision, %d of an earlier one", d.Ready, d.Earlier)
	}
	switch {
	case d.Waiting != "":
		v.message += "; waiting for pods: " + d.Waiting
	case d.Unknown != "":
		v.message += "; " + d.Unknown
	}
	if d.Failure != nil {
		// It knows the pod, and therefore the cause.
		v.pending = d.Failure
	}
	return v.recheck(d.RecheckAfter)
}

// recheck makes the next look not later than after d; 0 changes nothing.
func (v verdict) recheck(d time.Duration) verdict {
	if d > 0 && (v.recheckAfter == 0 || d < v.recheckAfter) {
		v.recheckAfter = d
	}
	return v
}

// notes are what readiness wants to be said once.
func (s *state) notes(r readiness.Result) []note {
	var notes []note
	if r.Note != "" {
		notes = append(notes, note{key: r.Note, text: r.Note})
	}
	if r.Warning != "" {
		notes = append(notes, note{key: r.Warning, text: r.Warning, warning: true})
	}
	return notes
}

// unreadable is the failure of whoever may not even read what they wrote.
func (s *state) unreadable(o Options, now time.Time) *diagnosis.Failure {
	if !apierrors.IsForbidden(s.readErr) || now.Sub(s.readErrSince) < o.Persist {
		return nil
	}
	return s.failure("Forbidden", "its state cannot be read: "+line(s.readErr.Error()),
		fmt.Sprintf(`allow "get" and "watch" on %s to whoever deploys`, s.change.GroupResource()))
}

// end is how the wait for one object ended.
type end struct {
	Status
	verdict verdict
	state   *state
	report  *reporter
}

// failed reports whether the object cannot become ready.
func (e *end) failed() bool { return e.verdict.outcome == readiness.Failed }

// forgo settles that an object which is not ready is not waited for any more.
func (e *end) forgo() {
	e.Message = e.verdict.optional
	if e.state.warning != "" {
		e.Message += "; " + e.state.warning
	}
	e.Ready, e.Waited = true, false
	e.report.warn(e.ID().String() + ": " + e.Message)
}

// expire settles that there is no time left.
func (e *end) expire(after time.Duration) {
	cause := notReady(after)
	if e.Message != "" {
		cause += ": " + e.Message
	}
	e.settle(cause)
	e.report.line(e.String() + "; no time left")
}

// settle makes what is known the failure, or else a cause.
func (e *end) settle(cause string) {
	if e.Failure == nil {
		e.Failure = e.verdict.pending
	}
	if e.Failure != nil {
		return
	}
	fix := "raise timeout if it only needs longer"
	if e.state.warning != "" {
		fix = "correct what the event says, or " + fix
	}
	e.Failure = e.state.failure("Timeout", cause, fix)
}

// observeFailing remembers since when the object's own status says what it says of
// a failure.
func (s *state) observeFailing(now time.Time) {
	reason := ""
	if f := readiness.Evaluate(s.live, s.context(now)).Failure; f != nil {
		reason = f.Reason
	}
	if reason != s.failing {
		s.failing, s.failingSince = reason, now
	}
}

// proves reports whether a failure of the object's own status is one by now, and
// if only time is missing for that, how much: some controllers come back from what
// they call a failure, as when what they refer to is written a moment later.
func (s *state) proves(f *readiness.Failure, o Options, now time.Time) (proved bool, left time.Duration) {
	switch {
	case f.AtTimeout && (!f.Lasting || !s.evidence.Empty()): // a pod may still start
		return false, 0
	case f.Lasting:
		left = max(0, s.failingSince.Add(o.Persist).Sub(now))
		return left == 0, left
	}
	return true, 0
}
