package report

import (
	"fmt"
	"strings"

	"github.com/org/deploy-model-action/pkg/deploy"
)

// planned is what a deploy would do, in one line; "" if nobody asked, or it is not known.
func planned(r *deploy.Result) string {
	switch {
	case r.Outcome != deploy.Planned:
		return ""
	case r.Offline:
		return "not known without credentials; the manifests are in order"
	}
	var names []string
	unchanged := 0
	for _, i := range r.Plan {
		if i.Action == "unchanged" {
			unchanged++
			continue
		}
		line := i.Line
		if len(i.Restarts) > 0 {
			line += " (restarts)"
		}
		names = append(names, line)
	}
	switch {
	case len(names) == 0:
		return "nothing; " + count(unchanged, "object", "objects") + " unchanged"
	case unchanged == 0:
		return some(names)
	}
	return some(names) + "; " + count(unchanged, "object", "objects") + " unchanged"
}

// plan is the table of what would become of each object, and what would change of it.
func plan(r *deploy.Result) string {
	if len(r.Plan) == 0 {
		return ""
	}
	var changed, same, folds []string
	for _, i := range r.Plan {
		row := fmt.Sprintf("| %s | %s %s | %s | %s |\n", strong(i.Action), text(i.Kind), code(i.Name), text(i.Namespace), text(remarks(i)))
		if i.Action == "unchanged" {
			same = append(same, row)
			continue
		}
		changed = append(changed, row)
		folds = append(folds, fold(named(i.Change)+": "+i.Action, "diff", i.Diff))
	}
	var b strings.Builder
	b.WriteString("### Plan\n\n" + table("object", "| action | object | namespace | |\n| :-- | :-- | :-- | :-- |\n", append(changed, same...)))
	size := 0
	for at, f := range folds {
		if size += len(f); size > 2*maxBlock {
			fmt.Fprintf(&b, "The log has the differences of %s.\n\n", count(len(folds)-at, "more object", "more objects"))
			break
		}
		b.WriteString(f)
	}
	return b.String()
}

// strong shows what changes in bold.
func strong(action string) string {
	if action == "unchanged" {
		return text(action)
	}
	return "**" + text(action) + "**"
}

// remarks is what else there is to say of an object.
func remarks(i deploy.Intent) string {
	notes := i.Notes
	if len(notes) == 0 && len(i.Restarts) > 0 {
		notes = []string{"its pods are replaced, as they read what has changed"}
	}
	return strings.Join(notes, "; ")
}
