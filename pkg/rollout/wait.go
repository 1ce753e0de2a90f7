package rollout

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Bounds of the explanations that follow a failed wait.
const (
	explainTimeout    = 15 * time.Second
	explainConcurrent = 8
)

// errStop ends the wait for the others when one has failed.
var errStop = errors.New("another object failed")

// Wait waits until every target is ready, all at the same time. What is ready
// already, as the apply returned it, costs no request.
//
// One Status for each target is returned, in the order of the targets, also with
// an error: a *FailedError if objects cannot become ready, a *TimeoutError if
// time ran out, both joined if both happened, or ctx's own.
func Wait(ctx context.Context, targets []Target, o Options) ([]Status, error) {
	o = o.withDefaults()
	told := &teller{options: o}
	waiters := make([]*waiter, len(targets))
	for i, t := range targets {
		waiters[i] = newWaiter(t, o, told)
	}

	bounded, stopTimer := context.WithTimeout(ctx, o.Timeout)
	defer stopTimer()
	waiting, stop := context.WithCancelCause(bounded)
	defer stop(nil)
	var group sync.WaitGroup
	for _, w := range waiters {
		group.Go(func() {
			if !w.begin() {
				w.wait(waiting)
			}
			if w.failed && o.FailFast {
				stop(errStop)
			}
		})
	}
	group.Wait()

	err := conclude(ctx, waiters, o)
	statuses := make([]Status, len(waiters))
	for i, w := range waiters {
		statuses[i] = w.status
	}
	return statuses, err
}

// conclude explains what did not become ready and makes the error of it.
func conclude(ctx context.Context, waiters []*waiter, o Options) error {
	var failed, slow []*waiter
	for _, w := range waiters {
		switch {
		case w.failed:
			failed = append(failed, w)
		case !w.status.Ready:
			slow = append(slow, w)
		}
	}
	if ctx.Err() != nil && len(failed)+len(slow) > 0 {
		return fmt.Errorf("wait: %w", context.Cause(ctx))
	}
	if len(failed) > 0 && o.FailFast {
		slow = nil // nobody waited for them to the end
	}
	for _, w := range slow {
		w.timedOut(o.Timeout)
	}
	explainAll(ctx, append(failed, slow...))

	var errs []error
	if len(failed) > 0 {
		e := &FailedError{}
		for _, w := range failed {
			e.Failures = append(e.Failures, *w.status.Failure)
		}
		errs = append(errs, e)
	}
	if len(slow) > 0 {
		e := &TimeoutError{After: o.Timeout}
		for _, w := range slow {
			e.Waiting = append(e.Waiting, w.status)
		}
		errs = append(errs, e)
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// explainAll adds events and logs to the failures, a few at a time.
func explainAll(ctx context.Context, waiters []*waiter) {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	var group sync.WaitGroup
	slots := make(chan struct{}, explainConcurrent)
	for _, w := range waiters {
		if w.plain {
			continue
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			w.diagnosis.explain(ctx, w.status.Failure)
		})
	}
	group.Wait()
}
