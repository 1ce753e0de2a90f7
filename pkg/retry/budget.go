package retry

import (
	"sync"
	"time"
)

// DefaultBudget outlives an outage of a minute, which is what restarting control
// planes and failing zones take.
const DefaultBudget = 2 * time.Minute

// Budget is a clock that runs while any call is in trouble. So one short fault
// an hour costs a long run nothing, and an outage ends every call at one time.
type Budget struct {
	limit time.Duration

	mu      sync.Mutex
	spent   time.Duration
	callers int
	since   time.Time
}

// NewBudget returns a budget that nothing has been spent of.
func NewBudget(limit time.Duration) *Budget { return &Budget{limit: limit} }

func (b *Budget) enter(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.callers == 0 {
		b.since = now
	}
	b.callers++
}

func (b *Budget) leave(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.callers--
	if b.callers == 0 {
		b.spent += now.Sub(b.since)
	}
}

func (b *Budget) left(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := b.limit - b.spent
	if b.callers > 0 {
		left -= now.Sub(b.since)
	}
	return left
}
