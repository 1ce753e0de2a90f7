package deploy

import (
	"context"
	"errors"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/apply"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/readiness"
	"github.com/org/deploy-model-action/pkg/release"
	"github.com/org/deploy-model-action/pkg/rollout"
)

// restoreTimeout bounds the wait for what was restored: it ran before, so it
// needs no more than a start, and whoever reads of the failure waits for it.
const restoreTimeout = 5 * time.Minute

// The actions of a rollback, as the result names them.
const (
	actionRestored    = "restored"
	actionLeft        = "left"         // as it is: this deploy created it, or somebody changed it since
	actionNotRestored = "not restored" // it could not be
)

// rollback puts back what was there, and returns the error that made it
// necessary together with what went wrong on the way back. Where a newer run has
// taken over it touches nothing: that run counts on what is there.
func (d *deployment) rollback(ctx context.Context, cause error) error {
	var newer *release.SupersededError
	if errors.As(cause, &newer) || ctx.Err() != nil || !d.claimed || len(d.undo()) == 0 {
		return cause
	}
	if err := d.held(ctx); errors.As(err, &newer) {
		return newer
	}
	if !d.Rollback {
		return cause
	}
	d.backErr = d.phase(ctx, "Rollback", d.restore)
	if errors.As(d.backErr, &newer) {
		return newer
	}
	return errors.Join(cause, d.backErr)
}

// restore puts the objects back and waits until they serve again.
func (d *deployment) restore(ctx context.Context) error {
	restored, err := apply.Restore(ctx, d.undo(), d.applyOptions())
	d.wentBack, d.back = true, map[object.ID]*unstructured.Unstructured{}
	var changes []kube.Change
	for _, r := range restored {
		if r.Outcome == apply.OutcomeUntouched {
			continue
		}
		d.log.Printf("%s", r)
		action := string(r.Outcome)
		switch r.Outcome {
		case apply.OutcomeNew:
			action = actionLeft
		case apply.OutcomeLeft:
			d.changedSince = true
		case apply.OutcomeFailed:
			d.notRestored++
		case apply.OutcomeRestored:
			d.replaceAction(r.ID(), actionRestored)
		}
		if r.Change.After != nil { // also of what is not as before in all
			changes = append(changes, r.Change)
			d.back[r.ID()] = r.Change.After
		}
		d.result.Restored = append(d.result.Restored, Restored{
			Object: r.ID().String(), Action: action, Message: r.Message,
			WasReady: r.Before != nil && readiness.Evaluate(r.Before, readiness.Context{}).Outcome == readiness.Ready,
		})
	}
	if len(changes) == 0 {
		return err
	}
	if ctx.Err() != nil {
		d.noteUnwaited(changes)
		return err
	}
	o := d.rolloutOptions()
	o.Timeout, o.Steady = min(d.Timeout, restoreTimeout), d.optedOut(restored)
	rollout.Unblock(ctx, d.kube, changes, o)
	statuses, waitErr := rollout.Wait(ctx, d.kube, changes, o)
	for _, s := range statuses {
		d.noteRestored(s)
	}
	if ctx.Err() != nil {
		d.noteUnwaited(changes)
	}
	if d.illBefore() {
		// A way back cannot make well what was ill: that is reported, and is nobody's failure.
		waitErr = nil
	}
	return errors.Join(err, waitErr)
}

// noteRestored notes whether a restored object serves, and whether it did before.
func (d *deployment) noteRestored(s rollout.Status) {
	if !s.Waited {
		return
	}
	for i := range d.result.Restored {
		if r := &d.result.Restored[i]; r.Object == s.ID().String() {
			r.Waited, r.Ready = true, s.Ready
		}
	}
}

// noteUnwaited notes of what a cancel left nobody the time to wait for.
func (d *deployment) noteUnwaited(changes []kube.Change) {
	for _, c := range changes {
		switch readiness.Evaluate(c.After, readiness.Context{}).Outcome {
		case readiness.Ready, readiness.NotWaitedFor: // there is nothing to wait for
			continue
		case readiness.Pending, readiness.Failed:
		}
		for i := range d.result.Restored {
			if r := &d.result.Restored[i]; r.Object == c.ID().String() && !r.Ready {
				r.Waited, r.Unwaited = false, true
			}
		}
	}
	if names := d.unwaited(); len(names) > 0 {
		d.log.Printf("The run was cancelled: whether %s serves again was not waited for", some(names))
	}
}

// unwaited names what was restored and then not waited for.
func (d *deployment) unwaited() []string {
	var names []string
	for _, r := range d.result.Restored {
		if r.Unwaited {
			names = append(names, r.Object)
		}
	}
	return names
}

// optedOut are the objects whose manifest says `minReadySeconds: 0`, now or when
// they were written: their pods have not to have run for a while.
func (d *deployment) optedOut(restored []apply.Restored) map[object.ID]time.Duration {
	steady := map[object.ID]time.Duration{}
	for _, r := range restored {
		path := []string{"spec", "minReadySeconds"}
		if r.Before == nil || object.Number(r.Before, 0, path...) > 0 {
			continue
		}
		// The server drops a zero, and remembers who wrote it.
		writer, _ := object.FieldManagerOf(r.Before, path...)
		at := d.manifests.Find(r.ID())
		if writer == object.FieldManager || at >= 0 && object.Number(d.manifests.Objects[at], -1, path...) == 0 {
			steady[r.ID()] = 0
		}
	}
	return steady
}

// illBefore reports whether nothing but what did not serve before the deploy does
// not serve after the way back.
func (d *deployment) illBefore() bool {
	return !slices.ContainsFunc(d.result.Restored, func(r Restored) bool { return r.Waited && !r.Ready && r.WasReady })
}

// rolledBack reports whether every object that existed is as it was when it was
// verified last, and serves if it served then. What this deploy created may stay.
func (d *deployment) rolledBack() bool {
	if d.backErr != nil || d.changedSince {
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
