package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/org/deploy-model-action/pkg/kube"
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
	if r.From.Image == "" && len(r.Images) > 0 {
		r.From.Image = imageBefore(d.changes, r.Images[0])
	}
	if len(r.Changes) > 0 && r.Outcome != RolledBack {
		for _, i := range r.Images {
			r.Serving = append(r.Serving, i.Pinned)
		}
	} else if r.From.Image != "" {
		r.Serving = []string{r.From.Image}
	}
	switch {
	case r.Outcome == Cancelled:
		r.Problems = append([]Problem{d.cancelled(err)}, d.problems(withoutCancellation(err))...)
	case err != nil:
		r.Problems = d.problems(err)
	}
}

// cancelled says how far the deploy came, and what to do about the rest.
func (d *deployment) cancelled(err error) Problem {
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

// notApplied names the objects that the apply did not come to, and those of
// which nobody knows.
func (d *deployment) notApplied() string {
	actions := map[int]kube.Action{}
	for _, c := range d.changes {
		actions[d.index(c.ID())] = c.Action
	}
	var left, open []string
	for i, o := range d.manifests.Objects {
		name := o.GetKind() + " " + o.GetName()
		switch actions[i] {
		case "":
			left = append(left, name)
		case kube.Uncertain:
			open = append(open, name)
		}
	}
	said := ""
	if len(left) > 0 {
		said += ", and these objects were not applied: " + some(left)
	}
	if len(open) > 0 {
		said += ", and these were being written and may have been applied: " + some(open)
	}
	return said
}

// some names the first of many.
func some(names []string) string {
	const shown = 10
	if n := len(names) - shown; n > 0 {
		return strings.Join(names[:shown], ", ") + fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(names, ", ")
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
