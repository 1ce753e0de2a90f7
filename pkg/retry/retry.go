// Package retry is the one loop that repeats a call while its error may pass,
// and the one clock that says how long all calls together may be in trouble.
//
// Which errors of a protocol may pass is said by whoever speaks it, in a
// function that returns a Verdict; what every network has in common is in
// Network and Status. Nothing here sends, logs or words anything.
package retry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// Pauses between tries, unless a Policy says otherwise.
const (
	defaultFirst   = 500 * time.Millisecond
	defaultLongest = 8 * time.Second
)

// Policy says what to try again, and for how long. Its zero value repeats nothing.
type Policy struct {
	// Budget is the time that may be spent in trouble, shared by all calls that
	// have the same one. The default is one of Limit for this call alone.
	Budget *Budget
	// Limit is the time that a call without a Budget may be in trouble. The default
	// is DefaultBudget.
	Limit time.Duration
	// Attempt bounds one try. The default is not to bound it.
	Attempt time.Duration
	// First and Longest are the pauses after the first failure and after many:
	// they double, and are jittered. The defaults are 0.5 and 8 seconds.
	First, Longest time.Duration
	// May says whether an error may be gone at the next try. The default is that
	// none may.
	May func(error) Verdict
}

// Verdict is what may be hoped of an error. Its zero value is: nothing.
type Verdict struct {
	// Again says that another try may do better.
	Again bool
	// After is the pause that the server asked for; 0 if it did not.
	After time.Duration
	// Within bounds how long after the call's first failure it is still tried,
	// besides the budget; 0 for the budget alone.
	Within time.Duration
	// First and Longest replace the policy's pauses, for what passes sooner than
	// an outage; 0 for the policy's.
	First, Longest time.Duration
}

// Do calls f until it succeeds, fails for good, ctx ends or time is up. A call
// must build its whole request each time. The error is f's own if it is final, an
// *ExhaustedError if it could have passed, and an *EndedError if ctx ended. What
// another Do inside of f gave up on is final too.
func Do[T any](ctx context.Context, p Policy, f func(context.Context) (T, error)) (T, error) {
	var none T
	c := &call{budget: p.Budget, limit: cmp.Or(p.Limit, DefaultBudget)}
	c.progress()
	defer c.progress()
	for {
		value, err := once(context.WithValue(ctx, callKey{}, c), p.Attempt, f)
		if err == nil {
			return value, nil
		}
		if ctx.Err() != nil {
			return none, &EndedError{Cause: context.Cause(ctx), Err: err, ended: ctx.Err()}
		}
		var (
			may    Verdict
			inside *ExhaustedError
		)
		if p.May != nil && !errors.As(err, &inside) {
			may = p.May(err)
		}
		if !may.Again {
			return none, err
		}
		n, waited, left := c.fail(time.Now())
		if may.Within > 0 {
			left = min(left, may.Within-waited)
		}
		first, longest := pauses(p, may)
		wait := max(jittered(first, longest, n-1), may.After)
		if wait > left {
			return none, &ExhaustedError{Attempts: n, Waited: waited, Err: err}
		}
		if Sleep(ctx, wait) != nil {
			return none, &EndedError{Cause: context.Cause(ctx), Err: err, ended: ctx.Err()}
		}
	}
}

// call is what Do knows of one call's trouble.
type call struct {
	limit time.Duration

	mu       sync.Mutex
	budget   *Budget
	own      bool      // the budget is nobody else's
	failures int       // in a row
	since    time.Time // the first of them; zero if there is none
}

// callKey is the context's key for the call that it was made for.
type callKey struct{}

// Progress says that the call that ctx was given to by Do is getting on, e.g.
// since a server has confirmed a part of a long upload. It is in trouble no
// longer: its next failure is its first. A budget of its own begins anew with it;
// one that it shares keeps what was spent, as others may still be in trouble.
func Progress(ctx context.Context) {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		c.progress()
	}
}

func (c *call) progress() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.since.IsZero() {
		c.budget.leave(time.Now())
	}
	if c.budget == nil || c.own {
		c.budget, c.own = NewBudget(c.limit), true
	}
	c.failures, c.since = 0, time.Time{}
}

// fail counts a failure, and returns how many there are in a row, for how long,
// and the time that is left.
func (c *call) fail(now time.Time) (failures int, waited, left time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.IsZero() {
		c.since = now
		c.budget.enter(now)
	}
	c.failures++
	return c.failures, now.Sub(c.since), c.budget.left(now)
}

// once makes one try.
func once[T any](ctx context.Context, limit time.Duration, f func(context.Context) (T, error)) (T, error) {
	if limit > 0 {
		bounded, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		ctx = bounded
	}
	return f(ctx)
}

func pauses(p Policy, v Verdict) (first, longest time.Duration) {
	first, longest = defaultFirst, defaultLongest
	for _, d := range []time.Duration{p.First, v.First} {
		if d > 0 {
			first = d
		}
	}
	for _, d := range []time.Duration{p.Longest, v.Longest} {
		if d > 0 {
			longest = d
		}
	}
	return first, longest
}

// jittered is the pause after the n-th failure (from 0): between a half and the
// whole of a time that doubles.
func jittered(first, longest time.Duration, n int) time.Duration {
	d := longest
	if n < 16 {
		d = min(first<<n, longest)
	}
	return d/2 + rand.N(d/2+1)
}

// Sleep pauses, and returns ctx's error at once when it ends before.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ExhaustedError is an error that could have passed but did not in time.
type ExhaustedError struct {
	Attempts int           // that were made since the call was last well
	Waited   time.Duration // from the first failure to the last
	Err      error         // of the last one
}

func (e *ExhaustedError) Error() string {
	if e.Attempts == 1 {
		return fmt.Sprintf("%v (no time was left for a second try)", e.Err)
	}
	return fmt.Sprintf("%v (gave up after %s)", e.Err, e.effort())
}

func (e *ExhaustedError) effort() string {
	waited := e.Waited.Round(time.Second)
	if waited == 0 {
		waited = e.Waited.Round(time.Millisecond)
	}
	text := waited.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	return fmt.Sprintf("%d attempts in %s", e.Attempts, text)
}

// Effort says for a sentence what was done against an error before it was given
// up: ", after 9 attempts in 2m", or "" if it was final or there was one attempt.
func Effort(err error) string {
	var e *ExhaustedError
	if !errors.As(err, &e) || e.Attempts < 2 {
		return ""
	}
	return ", after " + e.effort()
}

// Unwrap returns the last error.
func (e *ExhaustedError) Unwrap() error { return e.Err }

// EndedError is a call that ended with its context.
type EndedError struct {
	Cause error // why the context ended
	Err   error // the last try's
	ended error // context.Canceled or context.DeadlineExceeded, whatever the cause
}

func (e *EndedError) Error() string { return e.Cause.Error() }

// Unwrap returns all, so that a caller can ask for the context's error, for its
// cause, and for what the last try met.
func (e *EndedError) Unwrap() []error { return []error{e.Cause, e.ended, e.Err} }
