package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/org/deploy-model-action/pkg/diagnosis"
	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

// Bounds of the explanations that follow a failed wait.
const (
	explainTimeout    = 15 * time.Second
	explainConcurrent = 3 // each makes some requests at the same time
)

// errStop ends the wait for the others when one has failed, and errAlone that for
// what was ill before when nothing else is waited for.
var (
	errStop  = errors.New("another object failed")
	errAlone = errors.New("nothing else is waited for")
)

// Wait waits until every object is ready, all at the same time. What is ready
// already, as its write returned it, costs no request.
//
// One Status for each change is returned, in the order of the changes, also with
// an error: a *FailedError if objects cannot become ready, a *TimeoutError if
// time ran out, both joined if both happened, or ctx's own.
func Wait(ctx context.Context, client *kube.Client, changes []kube.Change, o Options) ([]Status, error) {
	states := make([]*state, len(changes))
	for i, c := range changes {
		states[i] = newState(c, time.Now())
		if steady, ok := o.Steady[c.ID()]; ok {
			states[i].steadyFor = steady
		}
		// A takeover writes its own mark on what it leaves unchanged.
		if o.Unverified != nil {
			states[i].unverified, states[i].reported = o.Unverified(cmp.Or(c.Before, c.After).GetAnnotations()[object.RunAnnotation])
		}
	}
	statuses, err := each(ctx, client, states, o, (*waiter).wait)
	for _, s := range states {
		s.evidence.Mark()
	}
	return statuses, err
}

// Confirm looks once more at the new pods of what Wait found ready: asking a model
// is what ends some. What is not ready any more is waited for again, as Wait does.
// Everything else is returned as it was given.
func Confirm(ctx context.Context, client *kube.Client, statuses []Status, o Options) ([]Status, error) {
	confirmed := slices.Clone(statuses)
	var (
		states []*state
		places []int
	)
	for i, s := range statuses {
		if s.Ready && s.Waited && s.known != nil && s.known.renewed {
			states, places = append(states, s.known), append(places, i)
		}
	}
	again, err := each(ctx, client, states, o, (*waiter).confirm)
	for i, s := range again {
		confirmed[places[i]] = s
	}
	return confirmed, err
}

// Crashed looks once more at the new pods of what Wait found ready, and returns those
// of which a container has ended since: that proves no failure while it is started
// again, and is why nobody answers. The error is a *FailedError of them; nil, with no
// statuses, if there is none.
func Crashed(ctx context.Context, client *kube.Client, statuses []Status) ([]Status, error) {
	w := &waiter{client: client, board: newBoard(nil, nil)}
	crashed, failed := slices.Clone(statuses), &FailedError{}
	for i, s := range statuses {
		if !s.Waited || s.known == nil || !s.known.renewed {
			continue
		}
		w.readPods(ctx, s.known)
		f := s.known.evidence.Crashed()
		if f == nil {
			continue
		}
		explaining, cancel := context.WithTimeout(ctx, explainTimeout)
		diagnosis.Explain(explaining, client, s.known.evidence, f)
		cancel()
		crashed[i].Ready, crashed[i].Failure, crashed[i].Message, crashed[i].Ended = false, f, f.Cause, time.Now()
		failed.Failures = append(failed.Failures, *f)
	}
	if len(failed.Failures) == 0 {
		return nil, nil
	}
	return crashed, failed
}

// each waits for all objects in one way.
func each(ctx context.Context, client *kube.Client, states []*state, o Options, wait func(w *waiter, ctx, waiting context.Context, s *state) end) ([]Status, error) {
	o = o.withDefaults()
	out := &printer{options: o}
	ends := make([]end, len(states))

	bounded, stopTimer := context.WithTimeout(ctx, o.Timeout)
	defer stopTimer()
	waiting, stop := context.WithCancelCause(bounded)
	defer stop(nil)
	beside, leave := context.WithCancelCause(waiting)
	defer leave(nil)
	var group, ill sync.WaitGroup
	for _, s := range states {
		s.exposes = expose(s, states)
	}
	setAside(states)
	shared := newBoard(states, slices.DeleteFunc(slices.Clone(states), func(s *state) bool {
		return evaluate(s, o, time.Now()).final()
	}))
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		defer fault.Catch(ctx)
		shared.feed(beside, client)
	}()
	defer func() { <-fed }()
	for i, s := range states {
		w := &waiter{client: client, options: o, report: newReporter(s.change, out, o), board: shared}
		if s.ill {
			ill.Go(fault.Func(ctx, func() { ends[i] = wait(w, ctx, beside, s) }))
			continue
		}
		group.Go(func() {
			defer fault.Catch(ctx)
			ends[i] = wait(w, ctx, waiting, s)
			if ends[i].failed() && o.FailFast {
				stop(errStop)
			}
		})
	}
	group.Wait()
	leave(errAlone)
	ill.Wait()

	statuses := make([]Status, len(ends))
	err := conclude(ctx, client, ends, o)
	for i := range ends {
		statuses[i] = ends[i].Status
	}
	return statuses, err
}

// setAside finds what was ill before a deploy that changes something else: it fails
// nothing, and is waited for no longer than the rest.
func setAside(states []*state) {
	changed := changes(states)
	renewed := slices.ContainsFunc(states, func(s *state) bool { return s.renewed })
	for _, s := range states {
		before := !s.unverified || s.reported && renewed
		s.ill = changed && before && (s.illBefore() || s.exposes != nil && s.exposes.settled)
		s.alone = !changed
	}
}

// changes reports whether a deploy changes anything.
func changes(states []*state) bool {
	return slices.ContainsFunc(states, func(s *state) bool { return s.change.Changed() })
}

// conclude explains what did not become ready and makes the error of it.
func conclude(ctx context.Context, client *kube.Client, ends []end, o Options) error {
	var failed, slow, optional, ill []*end
	for i := range ends {
		switch e := &ends[i]; {
		case !e.Ready && e.verdict.waitsForPods: // the pods are to blame
		case e.state.ill && !e.Ready:
			ill = append(ill, e)
		case e.failed():
			failed = append(failed, e)
		case !e.Ready && e.verdict.optional == "":
			slow = append(slow, e)
		case !e.Ready:
			optional = append(optional, e)
		}
	}
	if ctx.Err() != nil && len(failed)+len(slow)+len(optional)+len(ill) > 0 {
		return fmt.Errorf("wait: %w", context.Cause(ctx))
	}
	if len(failed) > 0 && o.FailFast {
		slow = nil // nobody waited for them to the end
	}
	for _, e := range slow {
		e.expire(o.Timeout)
	}
	for _, e := range optional {
		e.forgo()
	}
	for _, e := range ill {
		e.settle("it is not ready: " + e.Message)
	}
	explainAll(ctx, client, slices.Concat(failed, slow, ill))
	for _, e := range ill {
		e.report.warn(e.Failure.String() + "; it was not ready before this deploy, which changed nothing of it")
	}

	var errs []error
	if len(failed) > 0 {
		err := &FailedError{}
		for _, e := range failed {
			err.Failures = append(err.Failures, *e.Failure)
		}
		errs = append(errs, err)
	}
	if len(slow) > 0 {
		err := &TimeoutError{After: o.Timeout}
		for _, e := range slow {
			err.Waiting = append(err.Waiting, e.Status)
		}
		errs = append(errs, err)
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// explainAll adds events and logs to the failures, a few at a time.
func explainAll(ctx context.Context, client *kube.Client, ends []*end) {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	var group sync.WaitGroup
	slots := make(chan struct{}, explainConcurrent)
	for _, e := range ends {
		if e.verdict.external {
			continue
		}
		slots <- struct{}{}
		group.Go(func() {
			defer fault.Catch(ctx)
			defer func() { <-slots }()
			diagnosis.Explain(ctx, client, e.state.evidence, e.Failure)
		})
	}
	group.Wait()
}
