package rollout

import (
	"sync"
	"time"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/readiness"
	"github.com/org/deploy-model-action/pkg/retry"
)

// quiet is the shortest time between two progress lines about one object.
const quiet = time.Second

// printer hands lines on, one at a time.
type printer struct {
	mu      sync.Mutex
	options Options
	warned  map[string]bool
}

func (p *printer) line(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.options.Progress(text)
}

func (p *printer) warn(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.options.Warn(text)
}

// first reports whether nobody was warned so yet: what is the same of each of twenty
// objects of a kind is a warning once, and a line for each of the others.
func (p *printer) first(warning string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.warned == nil {
		p.warned = map[string]bool{}
	}
	known := p.warned[warning]
	p.warned[warning] = true
	return !known
}

// reporter reports about one object, and remembers what it reported.
type reporter struct {
	*printer
	id       object.ID
	every    time.Duration
	began    time.Time
	last     string // the last progress line's message, and when
	lastAt   time.Time
	reported map[string]bool // notes
}

func newReporter(c kube.Change, p *printer, o Options) *reporter {
	return &reporter{printer: p, id: c.ID(), every: o.Every, began: time.Now(), reported: map[string]bool{}}
}

// report reports what is news of a verdict, or what is due.
func (r *reporter) report(v verdict, now time.Time) {
	for _, n := range v.notes {
		switch {
		case r.reported[n.key]:
			continue
		case n.warning && r.first(r.id.Kind+n.text):
			r.warn(r.id.String() + ": " + n.text)
		default:
			r.line(r.id.Resource() + ": " + n.text)
		}
		r.reported[n.key] = true
	}
	if v.final() {
		r.end(v, now)
		return
	}
	silence := now.Sub(r.lastAt)
	line := r.id.Resource()
	if v.message != "" {
		line += ": " + v.message
	}
	switch {
	case r.lastAt.IsZero(), v.message != r.last && silence >= quiet:
	case silence >= r.every:
		line += " (for " + retry.FormatDuration(now.Sub(r.began)) + ")"
	default:
		return
	}
	r.line(line)
	r.last, r.lastAt = v.message, now
}

// end reports that the wait is over. The cause of a failure is not reported yet,
// as events and logs may know more of it.
func (r *reporter) end(v verdict, now time.Time) {
	after := "" // if it was so from the beginning
	if !r.lastAt.IsZero() {
		after = " after " + retry.FormatDuration(now.Sub(r.began))
	}
	name := r.id.Resource()
	switch v.outcome {
	case readiness.Failed:
		r.line(name + ": failed" + after)
	case readiness.NotWaitedFor:
		if v.message != "" && !r.reported[v.message] {
			r.line(name + ": " + v.message)
		}
	case readiness.Ready:
		if v.message != "ready" && v.message != "" {
			after += ": " + v.message
		}
		r.line(name + ": ready" + after)
	case readiness.Pending:
	}
}

// due is how long nothing has to be reported about a verdict that does not change.
func (r *reporter) due(v verdict, now time.Time) time.Duration {
	silence := now.Sub(r.lastAt)
	if v.message != r.last {
		return quiet - silence
	}
	return r.every - silence
}
