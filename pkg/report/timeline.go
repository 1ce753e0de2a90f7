package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/org/deploy-model-action/pkg/deploy"
)

// maxBars keeps the chart readable, and below what GitHub draws.
const maxBars = 30

// timeline draws the phases and the rollouts as a Mermaid chart. Its times
// count from the start of the deploy.
func timeline(b *strings.Builder, r *deploy.Result) {
	if len(r.Phases) == 0 {
		return
	}
	b.WriteString("### Timeline\n\n```mermaid\ngantt\n    dateFormat x\n    axisFormat %M:%S\n    section Deploy\n")
	for _, p := range r.Phases {
		bar(b, r, p.Name, p.Failed, p.Started, p.Finished)
	}
	if len(r.Rollouts) > 0 {
		b.WriteString("    section Rollout\n")
	}
	for i, o := range r.Rollouts {
		if i == maxBars {
			break
		}
		bar(b, r, o.Object, !o.Ready, o.Started, o.Finished)
	}
	b.WriteString("```\n\n")
}

func bar(b *strings.Builder, r *deploy.Result, name string, failed bool, from, to time.Time) {
	if from.IsZero() || to.Before(from) {
		return
	}
	state := "done"
	if failed {
		state = "crit"
	}
	start := from.Sub(r.Started).Milliseconds()
	// A bar of no width is not drawn at all.
	end := max(to.Sub(r.Started).Milliseconds(), start+1)
	fmt.Fprintf(b, "    %s (%.1f s) :%s, %d, %d\n", label(name), to.Sub(from).Seconds(), state, start, end)
}

// label keeps to characters that mean nothing to Mermaid.
func label(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '/', r == '.', r == ' ':
			return r
		}
		return '_'
	}, s)
}
