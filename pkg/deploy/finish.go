package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/release"
)

// finish settles the outcome and records it.
func (d *deployment) finish(ctx context.Context, err error) {
	r := d.result
	d.settle(ctx, err)
	wait := d.reach(ctx)
	recordErr := d.recordOutcome(ctx, r.Outcome)
	wait()
	var newer *release.SupersededError
	switch {
	case errors.As(recordErr, &newer):
		d.supersede(newer)
	case recordErr != nil && r.Outcome != Cancelled:
		d.log.Warning("the outcome could not be recorded: " + recordErr.Error() + "; the next run takes this one for one that did not finish")
	}
	r.Finished = time.Now()
	d.images()
	switch {
	case r.Outcome == Superseded:
		r.Problems = d.problems(withoutSuperseded(err))
	case r.Outcome == Cancelled:
		r.Problems = append([]Problem{d.cancelled()}, d.problems(withoutCancellation(err))...)
	case err != nil:
		r.Problems = d.problems(err)
	}
}

// settle finds the outcome as far as this run can tell.
func (d *deployment) settle(ctx context.Context, err error) {
	r := d.result
	var (
		input *InputError
		newer *release.SupersededError
	)
	switch {
	case err == nil && d.planning:
		r.Outcome, r.ExitCode = Planned, ExitOK
	case err == nil && r.Changed():
		r.Outcome, r.ExitCode = Deployed, ExitOK
	case err == nil:
		r.Outcome, r.ExitCode = Unchanged, ExitOK
	case errors.As(err, &newer):
		d.supersede(newer)
	case d.rolledBack():
		r.Outcome, r.ExitCode = RolledBack, ExitRefused
	case ctx.Err() != nil:
		r.Outcome, r.ExitCode = Cancelled, ExitCancelled
	case errors.As(err, &input):
		r.Outcome, r.ExitCode = Failed, ExitInput
	default:
		r.Outcome, r.ExitCode = Failed, ExitRefused
	}
}

// supersede settles that another run has the release.
func (d *deployment) supersede(by *release.SupersededError) {
	r := d.result
	r.Outcome, r.ExitCode = Superseded, ExitOK
	r.Newer = &Newer{URL: by.By.URL, Commit: by.By.Commit}
	if by.By.ID != 0 {
		r.Newer.Run = strconv.FormatInt(by.By.ID, 10)
		if by.By.Attempt > 1 {
			r.Newer.Run += fmt.Sprintf(", attempt %d", by.By.Attempt)
		}
	}
}

// images finds out what the objects name now, and what they named before.
func (d *deployment) images() {
	r := d.result
	if r.Outcome == Superseded {
		return // the newer run knows
	}
	var before, now []*unstructured.Unstructured
	for _, c := range d.changes {
		before = append(before, c.Before)
		if back := d.back[c.ID()]; back != nil {
			now = append(now, back)
		} else {
			now = append(now, c.After)
		}
	}
	for _, c := range d.foreseen { // nothing of it was done
		before, now = append(before, c.Before), append(now, c.Before)
	}
	for i, image := range r.Images {
		if i == 0 {
			r.From.Image = servedBefore(d.earlier, before, image)
		}
		if is := imageIn(now, image); is != "" {
			r.Serving = append(r.Serving, is)
		}
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
	switch {
	case d.wentBack:
		what = d.restoredSoFar() + ": run an earlier job again to go back, or this one to deploy"
	case r.Changed():
		what = "what was applied stays as it is" + d.notApplied() + ": run the job again to finish, or run an earlier one again to go back"
	}
	return Problem{Title: "Cancelled", Message: fmt.Sprintf("the run was cancelled%s; %s", during, what)}
}

// restoredSoFar names what a way back that was cancelled came to, and what not.
func (d *deployment) restoredSoFar() string {
	names := map[string][]string{}
	for _, r := range d.result.Restored {
		names[r.Action] = append(names[r.Action], r.Object)
	}
	var said []string
	for _, action := range []string{actionRestored, actionLeft, actionNotRestored} {
		if len(names[action]) > 0 {
			said = append(said, action+": "+some(names[action]))
		}
	}
	if len(said) == 0 {
		return "nothing was restored"
	}
	if names := d.unwaited(); len(names) > 0 {
		said = append(said, "not waited for: whether "+some(names)+" serves again")
	}
	return strings.Join(said, "; ")
}

// notApplied names the objects that the apply did not come to, and those of
// which nobody knows.
func (d *deployment) notApplied() string {
	actions := map[int]kube.Action{}
	for _, c := range d.changes {
		actions[d.manifests.Find(c.ID())] = c.Action
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

// withoutSuperseded leaves what went wrong besides being overtaken.
func withoutSuperseded(err error) error {
	return errors.Join(slices.DeleteFunc(leaves(err), func(e error) bool {
		var newer *release.SupersededError
		return errors.As(e, &newer) || errors.Is(e, context.Canceled)
	})...)
}

// withoutCancellation leaves what went wrong besides.
func withoutCancellation(err error) error {
	return errors.Join(slices.DeleteFunc(leaves(err), func(e error) bool { return errors.Is(e, context.Canceled) })...)
}
