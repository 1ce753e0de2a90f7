package rollout

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Pauses between looks at the events of an object that has no pods.
const (
	firstEvents = 2 * time.Second
	nextEvents  = 10 * time.Second
)

// look judges what is known by now, tells what is new, and tells whether the
// wait for the object is over. Without a diagnosis its pods are not asked.
func (w *waiter) look(pods *diagnosis) bool {
	now := time.Now()
	w.mu.Lock()
	live, lost, event, blind, later := w.live, w.lost, w.event, w.blind, w.later
	unreadable := w.unreadable(now)
	v := view{live: live, target: w.status.Target, elapsed: now.Sub(w.status.Started), stale: w.stale}
	w.mu.Unlock()

	s := w.judge(v)
	w.status.Live, w.status.Message, w.held, w.again = live, s.message, s.failure, s.again
	if lost != nil {
		return w.fail(lost, true)
	}
	w.say(s)
	if later != "" && !s.ready {
		s = state{skip: true, message: later}
	}
	if s.ready || s.skip {
		w.finish(s)
		return true
	}
	if pods != nil {
		w.ask(pods)
	}
	if w.held != nil && (s.final || w.options.FailFast) {
		return w.fail(w.held, false)
	}
	if unreadable != nil && w.options.FailFast {
		return w.fail(unreadable, true)
	}
	if event != "" {
		w.status.Message += "; " + event
	}
	if blind != nil {
		w.status.Message += "; it cannot be read at the moment: " + clean(blind.Error(), phraseLimit)
	}
	w.report(now)
	return false
}

// ask takes what the pods tell into account.
func (w *waiter) ask(pods *diagnosis) {
	v := pods.look(w.status.Live)
	if v.warning != "" {
		w.teller.warn(v.warning)
	}
	switch {
	case v.waiting != "":
		w.status.Message += "; waiting for pods: " + v.waiting
	case v.unknown != "":
		w.status.Message += "; " + v.unknown
	}
	if v.failure != nil {
		// It knows the pod, and therefore the cause.
		w.held = v.failure
	}
	if v.again > 0 && (w.again == 0 || v.again < w.again) {
		w.again = v.again
	}
}

// unreadable is the failure of whoever may not even read what they applied.
func (w *waiter) unreadable(now time.Time) *Failure {
	if !apierrors.IsForbidden(w.blind) {
		return nil
	}
	if left := w.options.Persist - now.Sub(w.blindSince); left > 0 {
		return nil
	}
	t := w.status.Target
	return view{target: t}.fail("Forbidden", "its state cannot be read: "+clean(w.blind.Error(), phraseLimit),
		fmt.Sprintf(`allow "get" and "watch" on %s to whoever deploys`, t.Resource.GroupResource()))
}

// fail settles that the object does not become ready. It returns true. The cause
// is not told yet, as events and logs may know more of it.
func (w *waiter) fail(f *Failure, plain bool) bool {
	w.failed, w.plain = true, plain
	w.status.Failure, w.status.Finished = f, time.Now()
	w.teller.line(resourceName(w.status.Object) + ": failed" + w.after())
	return true
}

// after is how long it took; "" if it was so from the beginning.
func (w *waiter) after() string {
	if w.toldAt.IsZero() {
		return ""
	}
	return " after " + short(w.status.Finished.Sub(w.status.Started))
}

// finish settles that nothing is left to wait for.
func (w *waiter) finish(s state) {
	w.status.Ready, w.status.Waited, w.status.Finished = true, !s.skip, time.Now()
	w.status.Message = s.message
	if s.skip {
		if s.warning != "" {
			w.status.Message = s.warning
			return // said already
		}
		w.teller.line(w.status.String())
		return
	}
	ready := "ready" + w.after()
	if s.message != "ready" && s.message != "" {
		ready += ": " + s.message
	}
	w.teller.line(resourceName(w.status.Object) + ": " + ready)
}

// timedOut settles that there is no time left.
func (w *waiter) timedOut(after time.Duration) {
	w.status.Failure = w.held
	if w.held == nil {
		cause := "it was not ready after " + short(after)
		if w.status.Message != "" {
			cause += ": " + w.status.Message
		}
		fix := "raise timeout if it only needs longer"
		if w.event != "" {
			fix = "correct what the event says, or " + fix
		}
		w.status.Failure = view{target: w.status.Target}.fail("Timeout", cause, fix)
	}
	w.teller.line(w.status.String() + "; no time left")
}

// followEvents reads the Warnings about an object that has no pods: a load
// balancer that cannot be made says so nowhere else.
func (w *waiter) followEvents(ctx context.Context) {
	for pause := firstEvents; ; pause = nextEvents {
		pauseFor(ctx, pause)
		if ctx.Err() != nil {
			return
		}
		events, err := w.diagnosis.listEvents(ctx, w.status.Object.GetUID(), true)
		if err != nil || len(events) == 0 {
			continue // said in the explanation, if it is a right
		}
		newest := events[len(events)-1]
		text := newest.Reason + ": " + newest.Message
		w.mu.Lock()
		news := w.event != text
		w.event = text
		w.mu.Unlock()
		if news {
			w.awaken()
		}
	}
}
