package apply

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	firstWait = 500 * time.Millisecond
	longWait  = 8 * time.Second
	// A server that is well answers within its own 60 s; one that does not
	// answer at all is asked again.
	attemptLimit = time.Minute
	// A server that never answered in this run is rather the wrong address, or
	// behind a wall, than out of order: it is given up sooner than the budget.
	contactLimit = 30 * time.Second
	// What was just created may be unknown to another replica of the API server.
	youngLimit     = 10 * time.Second
	firstYoungWait = 100 * time.Millisecond
	longYoungWait  = time.Second
	// lastWords is how long a write that was on its way when ctx ended may take
	// to be answered, so that its outcome can be told.
	lastWords = 2 * time.Second
)

// patience is what a call may additionally wait for.
type patience struct {
	// young recognises errors that pass when the servers have caught up with
	// what was just created. They are retried for 10 s.
	young func(error) bool
	// pinned says that the request names a resourceVersion, so that repeating
	// it after a conflict is useless.
	pinned bool
	// write says that the request changes something: when ctx ends it is not
	// torn off, and if no answer came, the error says that nobody knows.
	write bool
}

// retry calls f until it succeeds, fails for good, or the budget is spent.
//
// client-go repeats a write only when the server says Retry-After. A transport
// that repeats requests sends an empty body the second time over HTTP/2. So the
// call is repeated, and f must build the whole request each time.
func retry[T any](ctx context.Context, r *run, p patience, f func(context.Context) (T, error)) (T, error) {
	var (
		none    T
		started time.Time // of the trouble
		refused bool
	)
	defer func() {
		if !started.IsZero() {
			r.budget.leave(time.Now())
		}
	}()
	for n := 0; ; n++ {
		value, err := attempt(ctx, r, p, f)
		if err == nil {
			return value, nil
		}
		if ctx.Err() != nil {
			return none, ended(ctx, p, err)
		}
		now := time.Now()
		first, longest := firstWait, longWait
		var left time.Duration
		switch {
		case p.young != nil && p.young(err):
			if started.IsZero() {
				started = now
				r.budget.enter(now)
			}
			first, longest, left = firstYoungWait, longYoungWait, youngLimit-now.Sub(started)
		case apierrors.IsUnauthorized(err) && !refused:
			// The token may have ended a moment ago; the next call gets another.
			refused = true
			left = longWait
		case passes(err, p.pinned):
			if started.IsZero() {
				started = now
				r.budget.enter(now)
			}
			left = r.budget.left(now)
			if !r.reached.Load() {
				left = min(left, contactLimit-now.Sub(started))
			}
		default:
			return none, err
		}
		wait := jittered(first, longest, n)
		if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
			wait = max(wait, time.Duration(seconds)*time.Second)
		}
		if wait > left {
			return none, &exhaustedError{attempts: n + 1, err: err}
		}
		select {
		case <-ctx.Done():
			return none, ended(ctx, p, err)
		case <-time.After(wait):
		}
	}
}

// ended is the error of a call that ctx stopped after err.
func ended(ctx context.Context, p patience, err error) error {
	var status apierrors.APIStatus
	if p.write && !errors.As(err, &status) && !errors.Is(err, errNotBegun) {
		return ErrUncertain
	}
	return ctx.Err()
}

var errNotBegun = errors.New("stopped before the request was sent")

// ErrUncertain says that the run was stopped while an object was being written.
var ErrUncertain = errors.New("was being written when the run was stopped: it may have been applied; run again to be sure")

// attempt makes one request, when there is a slot for it.
func attempt[T any](ctx context.Context, r *run, p patience, f func(context.Context) (T, error)) (T, error) {
	var none T
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return none, errNotBegun
	}
	if p.write {
		var release func()
		ctx, release = outlive(ctx, lastWords)
		defer release()
	}
	ctx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	value, err := f(ctx)
	var status apierrors.APIStatus
	if err == nil || errors.As(err, &status) {
		r.reached.Store(true)
	}
	return value, err
}

// outlive returns a context that ends a while after ctx does.
func outlive(ctx context.Context, while time.Duration) (context.Context, func()) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-longer.Done():
		case <-time.After(while):
			cancel()
		}
	})
	return longer, func() { stop(); cancel() }
}

// jittered is the wait after the n-th failure (from 0): between a half and the
// whole of a time that doubles.
func jittered(first, longest time.Duration, n int) time.Duration {
	d := longest
	if n < 16 {
		d = min(first<<n, longest)
	}
	return d/2 + rand.N(d/2+1)
}

// passes reports whether an error may be gone the next time.
func passes(err error, pinned bool) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return lostOnTheWay(err)
	}
	switch code := status.Status().Code; code {
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case http.StatusInternalServerError:
		// The server gives 500 both to its own troubles (etcd, a webhook that
		// does not answer) and to patches that do not fit the schema.
		return !unfit(err) && !portTaken(err)
	case http.StatusConflict:
		return !pinned && !apierrors.HasStatusCause(err, metav1.CauseTypeFieldManagerConflict)
	}
	return false
}

// unfit recognises a 500 that judges the patch itself; the text is all there is.
func unfit(err error) bool {
	text := err.Error()
	return strings.Contains(text, "failed to create typed ") || strings.Contains(text, "failed to convert ")
}

// lostOnTheWay recognises failures of the network. What is not known here, such
// as a certificate that does not verify or a token that cannot be had, is final.
func lostOnTheWay(err error) bool {
	var operation *net.OpError
	if errors.As(err, &operation) && strings.HasSuffix(operation.Op, " error") {
		return false // "remote error", "local error": a TLS alert
	}
	var name *net.DNSError
	if errors.As(err, &name) {
		return name.IsTemporary || name.IsTimeout
	}
	var timeout net.Error
	for _, known := range []error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, context.DeadlineExceeded,
		syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	if errors.As(err, &timeout) && timeout.Timeout() {
		return true
	}
	text := err.Error()
	for _, known := range []string{
		// HTTP/2 in net/http has no types for these.
		"http2: ", "stream error", "GOAWAY", "http: server closed", "server closed idle connection", "transport connection broken",
		// What a proxy answered to CONNECT.
		"Bad Gateway", "Service Unavailable", "Gateway Timeout", "Too Many Requests",
	} {
		if strings.Contains(text, known) {
			return true
		}
	}
	return false
}

// exhaustedError is an error that could have passed but did not in time.
type exhaustedError struct {
	attempts int
	err      error
}

func (e *exhaustedError) Error() string {
	return fmt.Sprintf("%v (gave up after %d attempts)", e.err, e.attempts)
}

func (e *exhaustedError) Unwrap() error { return e.err }

// budget is a clock that runs while any call is in trouble. So one short fault
// an hour costs a long run nothing, and an outage ends every call at one time.
type budget struct {
	limit time.Duration

	mu      sync.Mutex
	spent   time.Duration
	callers int
	since   time.Time
}

func (b *budget) enter(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.callers == 0 {
		b.since = now
	}
	b.callers++
}

func (b *budget) leave(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.callers--
	if b.callers == 0 {
		b.spent += now.Sub(b.since)
	}
}

func (b *budget) left(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := b.limit - b.spent
	if b.callers > 0 {
		left -= now.Sub(b.since)
	}
	return left
}
