package rollout

import (
	"time"

	"github.com/org/deploy-model-action/pkg/readiness"
)

// observeFailing remembers since when the object's own status says what it says of
// a failure.
func (s *state) observeFailing(now time.Time) {
	reason := ""
	if f := readiness.Evaluate(s.live, s.context(now)).Failure; f != nil {
		reason = f.Reason
	}
	if reason != s.failing {
		s.failing, s.failingSince = reason, now
	}
}

// proves reports whether a failure of the object's own status is one by now, and
// if only time is missing for that, how much: some controllers come back from what
// they call a failure, as when what they refer to is written a moment later.
func (s *state) proves(f *readiness.Failure, o Options, now time.Time) (proved bool, left time.Duration) {
	switch {
	case f.AtTimeout && (!f.Lasting || !s.evidence.Empty()): // a pod may still start
		return false, 0
	case f.Lasting:
		left = max(0, s.failingSince.Add(o.Persist).Sub(now))
		return left == 0, left
	}
	return true, 0
}
