package deploy

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/org/deploy-model-action/pkg/apply"
	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/rollout"
)

// apply checks every object, claims the release, and writes.
func (d *deployment) apply(ctx context.Context) error {
	if err := d.check(ctx); err != nil {
		return err
	}
	return d.write(ctx)
}

// check finds out what is to be written, and claims the release.
func (d *deployment) check(ctx context.Context) error {
	if err := d.observe(ctx); err != nil {
		return err
	}
	return d.claim(ctx)
}

// observe reads and dry-runs every object, and writes nothing.
func (d *deployment) observe(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error {
		defer fault.Catch(ctx)
		return d.fits() // waits for the registry
	})
	group.Go(func() error {
		defer fault.Catch(ctx)
		d.foresee(ctx)
		return nil
	})
	var err error
	d.plan, err = apply.NewPlan(ctx, d.manifests.Objects, d.applyOptions())
	if err := errors.Join(group.Wait(), d.explain(err)); err != nil {
		return err
	}
	if d.refused != "" {
		d.log.Warning(d.refused)
	}
	d.meet(ctx)
	return errors.Join(d.refuse(), d.foreseePrune(ctx))
}

// refuse refuses what no pod could save, before anything is written: trying a
// candidate promises that what follows may succeed.
func (d *deployment) refuse() error {
	if !d.Candidate {
		return nil
	}
	err := rollout.Foresee(d.plan.Planned())
	var failed *rollout.FailedError
	if errors.As(err, &failed) {
		for _, f := range failed.Failures {
			d.recordFailure(f)
		}
	}
	return err
}

// candidate tries the new pods before anything that serves is changed.
func (d *deployment) candidate(ctx context.Context) error {
	err := d.try(ctx)
	if err != nil {
		d.wrote(d.plan.Changes()) // what did not exist, and the pods needed
	}
	return err
}

// write writes what was checked.
func (d *deployment) write(ctx context.Context) error {
	d.ahead = rollout.WatchAhead(ctx, d.kube, d.plan.Undo())
	changes, err := d.plan.Write(ctx)
	if err != nil {
		d.ahead.Stop()
	}
	d.wrote(changes)
	return d.explain(err)
}

func (d *deployment) wrote(changes []kube.Change) {
	d.changes = append(d.changes, changes...)
	for _, c := range changes {
		d.result.Changes = append(d.result.Changes, d.changeOf(c))
	}
}

// explain adds to a refusal what allows it.
func (d *deployment) explain(err error) error {
	if err == nil {
		return nil
	}
	return d.cluster.Explain(err)
}

func (d *deployment) applyOptions() apply.Options {
	return apply.Options{
		Client: d.kube, Namespace: d.Namespace, ForceConflicts: d.ForceConflicts, Mark: d.mark(), Ours: d.ours, Held: d.held, Verified: d.verified,
		Await: d.awaitBefore,
		// A first deploy of a release meets nobody who deployed it before.
		HeldByStage: len(d.record.Releases()) > 0,
		Report:      func(c kube.Change) { d.log.Printf("%s", c) },
	}
}

// changeOf is a change as the result has it, with its place in the manifests.
func (d *deployment) changeOf(c kube.Change) Change {
	change := Change{
		Kind: c.Kind, Namespace: c.Namespace, Name: c.Name,
		Action: string(c.Action), Line: c.String(), Started: c.Started, Took: c.Took,
	}
	if i := d.manifests.Find(c.ID()); i >= 0 {
		at := d.manifests.Position(i, "")
		change.File, change.FileLine = at.File, at.Line
	}
	return change
}

// replaceAction says what became of an object in the end.
func (d *deployment) replaceAction(id object.ID, action string) {
	for i, c := range d.result.Changes {
		if c.Kind == id.Kind && c.Name == id.Name && c.Namespace == id.Namespace {
			d.result.Changes[i].Action = action
		}
	}
}
