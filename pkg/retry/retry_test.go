package retry

import (
	"testing"
	"time"
)

func TestBudget(t *testing.T) {
	t.Parallel()
	at := func(seconds int) time.Time { return time.Unix(int64(seconds), 0) }
	b := NewBudget(60 * time.Second)
	b.enter(at(10))
	b.enter(at(15))
	b.leave(at(20))
	if got := b.left(at(30)); got != 40*time.Second {
		t.Errorf("in trouble since 10, at 30: %s left", got)
	}
	b.leave(at(30))
	if got := b.left(at(1000)); got != 40*time.Second {
		t.Errorf("long after: %s left", got)
	}
	b.enter(at(2000))
	if got := b.left(at(2050)); got != -10*time.Second {
		t.Errorf("second time: %s left", got)
	}
}

func TestJittered(t *testing.T) {
	t.Parallel()
	for n, longest := range map[int]time.Duration{0: 500 * time.Millisecond, 1: time.Second, 4: 8 * time.Second, 5: 8 * time.Second, 500: 8 * time.Second} {
		for range 100 {
			if d := jittered(defaultFirst, defaultLongest, n); d < longest/2 || d > longest {
				t.Errorf("wait %d: %s", n, d)
			}
		}
	}
}
