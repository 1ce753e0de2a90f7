package retry

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

var (
	errPasses = errors.New("passes")
	errFinal  = errors.New("final")
)

// may lets errPasses pass, as v says.
func may(v Verdict) func(error) Verdict {
	v.Again = true
	return func(err error) Verdict {
		if errors.Is(err, errPasses) {
			return v
		}
		return Verdict{}
	}
}

func TestDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		policy      Policy
		fails       int // times, before it succeeds; -1: for ever
		with        error
		want        error // nil: success
		attempts    int   // 0: at least two
		least, most time.Duration
	}{
		{name: "well", attempts: 1},
		{name: "zero policy repeats nothing", fails: 1, with: errPasses, want: errPasses, attempts: 1},
		{name: "final", policy: Policy{May: may(Verdict{})}, fails: 1, with: errFinal, want: errFinal, attempts: 1},
		{name: "passes", policy: Policy{May: may(Verdict{})}, fails: 3, with: errPasses, attempts: 4, least: 1750 * time.Millisecond, most: 3500 * time.Millisecond},
		{name: "pauses of the policy", policy: Policy{May: may(Verdict{}), First: 10 * time.Millisecond, Longest: 20 * time.Millisecond}, fails: 3, with: errPasses, attempts: 4, least: 25 * time.Millisecond, most: 50 * time.Millisecond},
		{name: "pauses of the verdict", policy: Policy{May: may(Verdict{First: 10 * time.Millisecond, Longest: 20 * time.Millisecond})}, fails: 3, with: errPasses, attempts: 4, least: 25 * time.Millisecond, most: 50 * time.Millisecond},
		{name: "server's pause", policy: Policy{May: may(Verdict{After: 7 * time.Second})}, fails: 1, with: errPasses, attempts: 2, least: 7 * time.Second, most: 7 * time.Second},
		{name: "server's pause beyond the budget", policy: Policy{May: may(Verdict{After: 3 * time.Minute})}, fails: -1, with: errPasses, want: errPasses, attempts: 1},
		{name: "outage of a minute", policy: Policy{May: may(Verdict{}), Longest: 5 * time.Second}, fails: 16, with: errPasses, least: 40 * time.Second, most: 75 * time.Second},
		{name: "outage without end", policy: Policy{May: may(Verdict{})}, fails: -1, with: errPasses, want: errPasses, least: DefaultBudget - 8*time.Second, most: DefaultBudget},
		{name: "budget of its own", policy: Policy{May: may(Verdict{}), Limit: 10 * time.Second}, fails: -1, with: errPasses, want: errPasses, least: 2 * time.Second, most: 10 * time.Second},
		{name: "within", policy: Policy{May: may(Verdict{Within: 5 * time.Second})}, fails: -1, with: errPasses, want: errPasses, least: 1 * time.Second, most: 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				started, n := time.Now(), 0
				got, err := Do(t.Context(), c.policy, func(context.Context) (int, error) {
					if n++; c.fails < 0 || n <= c.fails {
						return 0, c.with
					}
					return 7, nil
				})
				took := time.Since(started)
				if !errors.Is(err, c.want) || c.want == nil && (err != nil || got != 7) {
					t.Errorf("%d, %v, want %v", got, err, c.want)
				}
				if n != c.attempts && (c.attempts != 0 || n < 2) {
					t.Errorf("%d attempts, want %d", n, c.attempts)
				}
				if took < c.least || took > c.most {
					t.Errorf("took %v, want %v to %v", took, c.least, c.most)
				}
				var exhausted *ExhaustedError
				if tired := c.want != nil && c.policy.May != nil && errors.Is(c.want, errPasses); errors.As(err, &exhausted) != tired {
					t.Errorf("%v is exhausted: %v, want %v", err, !tired, tired)
				} else if tired && (exhausted.Attempts != n || exhausted.Waited != took) {
					t.Errorf("%d attempts in %v are reported as %d in %v", n, took, exhausted.Attempts, exhausted.Waited)
				}
			})
		})
	}
}

func TestDoBuildsEachTryAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Duration
		_, err := Do(t.Context(), Policy{May: func(err error) Verdict { return Verdict{Again: Network(err)} }, Attempt: 10 * time.Second}, func(ctx context.Context) (int, error) {
			started := time.Now()
			if len(tries) < 2 {
				<-ctx.Done()
			}
			tries = append(tries, time.Since(started))
			return 0, ctx.Err()
		})
		if err != nil || len(tries) != 3 || tries[0] != 10*time.Second || tries[1] != 10*time.Second {
			t.Errorf("%v: tries of %v; a silent server is to be asked again after 10 s, with the whole time", err, tries)
		}
	})
}

func TestDoEndsWithTheContext(t *testing.T) {
	t.Parallel()
	why := errors.New("interrupted")
	for name, c := range map[string]struct {
		first time.Duration
		try   func(context.Context) error
	}{
		"in a pause": {time.Hour, func(context.Context) error { return errPasses }},
		"in a try":   {time.Millisecond, func(ctx context.Context) error { <-ctx.Done(); return errPasses }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { cancel(why) })
				started := time.Now()
				_, err := Do(ctx, Policy{May: may(Verdict{}), First: c.first, Longest: c.first, Budget: NewBudget(24 * time.Hour)}, func(ctx context.Context) (int, error) { return 0, c.try(ctx) })
				var ended *EndedError
				if !errors.As(err, &ended) || !errors.Is(err, why) || !errors.Is(err, context.Canceled) || !errors.Is(err, errPasses) || err.Error() != "interrupted" {
					t.Errorf("%#v; want an *EndedError of both", err)
				}
				if took := time.Since(started); took != time.Second {
					t.Errorf("ended after %v", took)
				}
			})
		})
	}
}

// What an inner loop gave up on, an outer one does not begin again.
func TestDoInDo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		outer, inner := 0, 0
		p := Policy{May: may(Verdict{})}
		_, err := Do(t.Context(), p, func(ctx context.Context) (int, error) {
			outer++
			return Do(ctx, p, func(context.Context) (int, error) { inner++; return 0, errPasses })
		})
		var exhausted *ExhaustedError
		if outer != 1 || !errors.As(err, &exhausted) || exhausted.Attempts != inner {
			t.Errorf("%d calls of %d tries: %v", outer, inner, err)
		}
	})
}

// One short fault an hour costs nothing, and an outage ends all calls at one time.
func TestBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(10 * time.Second)
		start := time.Now()
		spent := func(want time.Duration) {
			t.Helper()
			if got := 10*time.Second - b.left(time.Now()); got != want {
				t.Errorf("after %v: %v are spent, want %v", time.Since(start), got, want)
			}
		}
		time.Sleep(time.Hour)
		spent(0)
		b.enter(time.Now())
		time.Sleep(2 * time.Second)
		b.enter(time.Now()) // two in trouble at a time count once
		time.Sleep(time.Second)
		spent(3 * time.Second)
		b.leave(time.Now())
		time.Sleep(time.Second)
		b.leave(time.Now())
		spent(4 * time.Second)
		time.Sleep(time.Hour)
		spent(4 * time.Second)
	})
}

func TestBudgetIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := Policy{Budget: NewBudget(time.Minute), May: may(Verdict{})}
		failing := func(context.Context) (int, error) { return 0, errPasses }
		start, ends := time.Now(), make(chan time.Duration, 3)
		for i := range 3 {
			go func() {
				time.Sleep(time.Duration(i) * 10 * time.Second)
				_, _ = Do(t.Context(), p, failing)
				ends <- time.Since(start)
			}()
		}
		for range 3 {
			if end := <-ends; end < 50*time.Second || end > time.Minute {
				t.Errorf("a call ended after %v, not with the others", end)
			}
		}
		n := 0
		_, err := Do(t.Context(), p, func(context.Context) (int, error) { n++; return 0, errPasses })
		if n > 5 || err == nil {
			t.Errorf("%d more tries, although the budget is spent: %v", n, err)
		}
	})
}

// A call that gets on is in no trouble, however often it fails.
func TestProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		p := Policy{Limit: 10 * time.Second, May: may(Verdict{})}
		_, err := Do(t.Context(), p, func(ctx context.Context) (int, error) {
			if n++; n > 40 {
				return 0, errFinal
			}
			time.Sleep(3 * time.Second)
			if n%2 == 0 {
				Progress(ctx)
				time.Sleep(time.Hour) // well, and counted by nobody
			}
			return 0, errPasses
		})
		if !errors.Is(err, errFinal) || n != 41 {
			t.Errorf("%d tries: %v", n, err)
		}
		p.Budget, n = NewBudget(10*time.Second), 0
		_, err = Do(t.Context(), p, func(ctx context.Context) (int, error) {
			n++
			Progress(ctx)
			time.Sleep(time.Second)
			return 0, errPasses
		})
		if err == nil || n < 10 || n > 40 {
			t.Errorf("%d tries with a budget that is shared, and keeps what was spent: %v", n, err)
		}
	})
	Progress(t.Context()) // of no call: nothing happens
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err          *ExhaustedError
		text, effort string
	}{
		{&ExhaustedError{1, 0, errPasses}, "passes (no time was left for a second try)", ""},
		{&ExhaustedError{2, 4 * time.Millisecond, errPasses}, "passes (gave up after 2 attempts in 4ms)", ", after 2 attempts in 4ms"},
		{&ExhaustedError{5, 10*time.Second + 200*time.Millisecond, errPasses}, "passes (gave up after 5 attempts in 10s)", ", after 5 attempts in 10s"},
		{&ExhaustedError{21, 118 * time.Second, errPasses}, "passes (gave up after 21 attempts in 1m58s)", ", after 21 attempts in 1m58s"},
		{&ExhaustedError{21, 2 * time.Minute, errPasses}, "passes (gave up after 21 attempts in 2m)", ", after 21 attempts in 2m"},
	} {
		if got := c.err.Error(); got != c.text {
			t.Errorf("%q, want %q", got, c.text)
		}
		if got := Effort(errors.Join(errFinal, c.err)); got != c.effort {
			t.Errorf("Effort = %q, want %q", got, c.effort)
		}
	}
	if got := Effort(errPasses); got != "" {
		t.Errorf("Effort of a final error = %q", got)
	}
}
