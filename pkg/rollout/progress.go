package rollout

import (
	"sync"
	"time"
)

// quiet is the shortest time between two progress lines about one object.
const quiet = time.Second

// teller hands lines on, one at a time.
type teller struct {
	mu      sync.Mutex
	options Options
}

func (t *teller) line(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.options.Progress(text)
}

func (t *teller) warn(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.options.Warn(text)
}

// say tells what a state notes, once.
func (w *waiter) say(s state) {
	if s.note != "" && !w.said[s.note] {
		w.said[s.note] = true
		w.teller.line(resourceName(w.status.Object) + ": " + s.note)
	}
	if s.warning != "" && !w.said[s.warning] {
		w.said[s.warning] = true
		w.teller.warn(kindAndName(w.status.Object) + ": " + s.warning)
	}
}

// report tells the state if it is news, or if it is time.
func (w *waiter) report(now time.Time) {
	silence := now.Sub(w.toldAt)
	line := w.status.String()
	switch {
	case w.toldAt.IsZero(), w.status.Message != w.told && silence >= quiet:
	case silence >= w.options.Every:
		line += " (for " + short(now.Sub(w.status.Started)) + ")"
	default:
		return
	}
	w.teller.line(line)
	w.told, w.toldAt = w.status.Message, now
}

// pause is how long to wait when nothing changes.
func (w *waiter) pause() time.Duration {
	silence := time.Since(w.toldAt)
	left := w.options.Every - silence
	if w.status.Message != w.told {
		left = quiet - silence
	}
	if w.again > 0 {
		left = min(left, w.again)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.blind != nil {
		left = min(left, time.Second) // until it has lasted
	}
	return max(left, 10*time.Millisecond)
}

// short is a duration as people say it.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
