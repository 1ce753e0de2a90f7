package report

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/org/deploy-model-action/pkg/deploy"
)

// maxBars keeps the chart readable, and below what GitHub draws.
const maxBars = 30

// timeline draws the phases and the rollouts as a Mermaid chart. Its axis is the
// clock of whoever looks, as in the log.
func timeline(r *deploy.Result) string {
	if len(r.Phases) < 2 {
		return "" // what ends before the network has no time to show
	}
	var b strings.Builder
	b.WriteString("### Timeline\n\n```mermaid\ngantt\n    dateFormat x\n    axisFormat %H:%M:%S\n    todayMarker off\n")
	fmt.Fprintf(&b, "    tickInterval %s\n    section Deploy\n", tick(r.Finished.Sub(r.Started)))
	for i, p := range r.Phases {
		if i == maxBars {
			break
		}
		bar(&b, p.Name, !p.Failed, p.Started, p.Finished)
	}
	if len(r.Rollouts) > 0 {
		b.WriteString("    section Rollout\n")
	}
	bars := 0
	for _, ready := range []bool{false, true} { // what failed is never left out
		for _, o := range r.Rollouts {
			if o.Ready == ready && bars < maxBars {
				bar(&b, o.Object, o.Ready, o.Started, o.Finished)
				bars++
			}
		}
	}
	b.WriteString("```\n\n")
	return b.String()
}

func bar(b *strings.Builder, name string, ok bool, from, to time.Time) {
	if from.IsZero() || to.Before(from) {
		return
	}
	mark, state := "✓", "active"
	if !ok {
		mark, state = "✗", "crit"
	}
	took := cmp.Or(duration(to.Sub(from)), "0 ms")
	// A bar of no width is not drawn at all.
	end := max(to.UnixMilli(), from.UnixMilli()+1)
	// The mark also keeps a name from being taken for a word of Mermaid's.
	fmt.Fprintf(b, "    %s %s (%s) :%s, %d, %d\n", mark, label(name), took, state, from.UnixMilli(), end)
}

// tick is the distance of the axis' marks, for about ten of them.
func tick(whole time.Duration) string {
	for _, t := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second} {
		if whole <= 10*t {
			return fmt.Sprintf("%dsecond", int(t.Seconds()))
		}
	}
	for _, t := range []int{1, 2, 5, 10, 15, 30} {
		if whole <= 10*time.Duration(t)*time.Minute {
			return fmt.Sprintf("%dminute", t)
		}
	}
	return "1hour"
}

// label keeps to characters that mean nothing to Mermaid.
func label(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '/', r == '.', r == ' ':
			return r
		}
		return '_'
	}, line(s))
}
