package deploy

import (
	"context"
	"errors"
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
	if err != nil {
		r.Problems = d.problems(err)
	}
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
