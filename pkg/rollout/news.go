package rollout

import (
	"slices"
	"time"
)

// silence is how long a watch may bring nothing until everything is read again: one
// that a middlebox forgot stays open and silent, and looks like an object that does
// not change. Where reading takes long, as of large lists, it is longer, so that no
// more than a twentieth of the time is spent on it.
const (
	silence      = 12 * time.Second
	silenceShare = 20
)

// news is when each watch of an object brought something last.
type news struct {
	last     []time.Time
	patience time.Duration
}

func newNews(watches int, now time.Time) *news {
	return &news{last: slices.Repeat([]time.Time{now}, watches), patience: silence}
}

// observe takes in that a watch, from 1, brought something; 0 is none.
func (n *news) observe(watch int, now time.Time) {
	if watch > 0 {
		n.last[watch-1] = now
	}
}

// read takes in that everything was read.
func (n *news) read(began, ended time.Time) {
	for i := range n.last {
		n.last[i] = ended
	}
	n.patience = max(silence, silenceShare*ended.Sub(began))
}

// due is how long nothing has to be read yet; soonest if it has to be.
func (n *news) due(now time.Time) time.Duration {
	oldest := slices.MinFunc(n.last, time.Time.Compare)
	return max(oldest.Add(n.patience).Sub(now), soonest)
}
