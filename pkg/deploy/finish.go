package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// finish settles the outcome.
func (d *deployment) finish(ctx context.Context, err error) {
	r := d.result
	r.Finished = time.Now()
	var input *InputError
	switch {
	case err == nil && r.Changed():
		r.Outcome, r.ExitCode = Deployed, ExitOK
	case err == nil:
		r.Outcome, r.ExitCode = Unchanged, ExitOK
	case ctx.Err() != nil:
		r.Outcome, r.ExitCode = Cancelled, ExitCancelled
	case errors.As(err, &input):
		r.Outcome, r.ExitCode = Failed, ExitInput
	default:
		r.Outcome, r.ExitCode = Failed, ExitRefused
		if d.rolledBack() {
			r.Outcome = RolledBack
		}
	}
	switch {
	case r.Outcome == Cancelled:
		r.Problems = append([]Problem{d.cancelled()}, d.problems(withoutCancellation(err))...)
	case err != nil:
		r.Problems = d.problems(err)
	}
}

// cancelled says how far the deploy came, and what to do about the rest.
func (d *deployment) cancelled() Problem {
	r := d.result
	during := ""
	if n := len(r.Phases); n > 0 {
		during = fmt.Sprintf(" in the phase %q", r.Phases[n-1].Name)
	}
	what := "nothing in the cluster was changed: run the job again to deploy"
	if r.Changed() {
		what = "what was applied stays as it is" + d.notApplied() + ": run the job again to finish, or run an earlier one again to go back"
	}
	return Problem{Title: "Cancelled", Message: fmt.Sprintf("the run was cancelled%s; %s", during, what)}
}

// notApplied names the objects that the apply did not come to.
func (d *deployment) notApplied() string {
	const shown = 10
	done := map[int]bool{}
	for _, c := range d.changes {
		done[c.Index] = true
	}
	var left []string
	for i, o := range d.manifests.Objects {
		if !done[i] {
			left = append(left, o.GetKind()+" "+o.GetName())
		}
	}
	if len(left) == 0 {
		return ""
	}
	more := ""
	if n := len(left) - shown; n > 0 {
		left, more = left[:shown], fmt.Sprintf(" and %d more", n)
	}
	return ", and these objects were not applied: " + strings.Join(left, ", ") + more
}

// withoutCancellation leaves what went wrong besides.
func withoutCancellation(err error) error {
	return errors.Join(slices.DeleteFunc(leaves(err), func(e error) bool { return errors.Is(e, context.Canceled) })...)
}

// rolledBack tells whether everything that could be restored was.
func (d *deployment) rolledBack() bool {
	if d.backErr != nil {
		return false
	}
	restored := 0
	for _, x := range d.result.Restored {
		switch x.Action {
		case actionRestored:
			restored++
		case actionNotRestored:
			return false
		}
	}
	return restored > 0
}
