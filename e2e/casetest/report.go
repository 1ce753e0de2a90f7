package casetest

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/org/deploy-model-action/e2e/runner"
)

// Report is what became of a case.
type Report struct {
	Name     string
	Skipped  string   // why it was not played; then nothing else is known
	Failures []string // what does not hold, and with what
	Log      string   // of all runs, as a user reads it, and what scripts printed
	Took     time.Duration
}

// Holds reports whether it was played and everything holds.
func (r *Report) Holds() bool { return r.Skipped == "" && len(r.Failures) == 0 }

// Verdict is one line, and one more for each failure.
func (r *Report) Verdict() string {
	switch {
	case r.Skipped != "":
		return fmt.Sprintf("skipped  %s: %s\n", r.Name, r.Skipped)
	case r.Holds():
		return fmt.Sprintf("holds    %s (%.1fs)\n", r.Name, r.Took.Seconds())
	}
	var b strings.Builder
	fmt.Fprintf(&b, "DOES NOT %s (%.1fs)\n", r.Name, r.Took.Seconds())
	for _, f := range r.Failures {
		b.WriteString("         " + strings.ReplaceAll(strings.TrimRight(f, "\n"), "\n", "\n         ") + "\n")
	}
	return b.String()
}

func (r *Report) fail(format string, args ...any) {
	r.Failures = append(r.Failures, fmt.Sprintf(format, args...))
}

// logged adds what something printed.
func (r *Report) logged(title, text string) {
	r.Log += "===== " + title + "\n" + text
	if text != "" && !strings.HasSuffix(text, "\n") {
		r.Log += "\n"
	}
}

// observed is an expect.yaml of what happened, for whoever writes one.
func observed(all []*runner.Result) string {
	var b strings.Builder
	indent, first := "", ""
	if len(all) > 1 {
		b.WriteString("runs:\n")
		indent, first = "  ", "- "
	}
	for _, r := range all {
		fmt.Fprintf(&b, "%sexit: %d\n%soutcome: %s\n", first, r.ExitCode, indent, r.Outputs["outcome"])
		for _, a := range r.Annotations {
			if a.Level == "error" {
				text, _, _ := strings.Cut(a.Message, "\n")
				fmt.Fprintf(&b, "%slog:\n%s- '%s'\n", indent, indent, strings.ReplaceAll(regexp.QuoteMeta(text), "'", "''"))
				break
			}
		}
	}
	return b.String()
}
