package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/retry"
)

const (
	// sweepTries bounds how often an object that others keep writing is read, decided
	// on and deleted again.
	sweepTries = 10
	// goneLimit bounds, for all of them together, the wait until what was deleted is
	// gone: controllers may have to take down what they made for it.
	goneLimit = 30 * time.Second
)

// Pruned is what became of an object that was to be deleted.
type Pruned struct {
	Fate
	// Change is the deletion, kube.Uncertain if its answer never came; zero if there was none.
	Change kube.Change
	// Gone says that the object is not there any more.
	Gone bool
	// Err is why it could not be deleted; nil otherwise.
	Err error
}

// PruneError is an object that could not be deleted, while what serves is as it
// should be.
type PruneError struct {
	ID  object.ID
	Err error
}

func (e *PruneError) Error() string {
	text := sentence(e.Err)
	if !strings.Contains(text, e.ID.String()) {
		text = e.ID.String() + ": " + text
	}
	return "prune " + text + "; the next deploy tries again"
}

// Unwrap returns the cause.
func (e *PruneError) Unwrap() error { return e.Err }

// Title says in a few words what went wrong.
func (e *PruneError) Title() string { return "Not pruned" }

// Prune deletes what is to be deleted of fates, stage by stage in the opposite order
// of an apply, and waits a while until it is gone. Each deletion names the object's
// uid and resourceVersion; one that has changed since is read and decided on again by
// the rules. It returns one Pruned for each of them that it came to, also with an
// error, which says that this run may not write any more, a *kube.StoppedError, or
// that ctx has ended. What it could not delete is no such error.
func Prune(ctx context.Context, fates []Fate, r PruneRules, o Options) ([]Pruned, error) {
	p := &Plan{o: o.withDefaults()}
	p.o.Client = o.Client.Afresh()
	var items []*item
	all := make([]Pruned, len(fates))
	for i, f := range fates {
		all[i].Fate = f
		if f.Prune {
			items = append(items, &item{index: i, resource: f.Ref.Resource, stage: stageOf(f.GroupKind())})
		}
	}
	deadline := time.Now().Add(goneLimit)
	var mistakes []mistake
	for _, stage := range slices.Backward(stages(items)) {
		if len(stage) == 0 {
			continue
		}
		if p.o.Held != nil {
			if err := p.o.Held(ctx); err != nil {
				mistakes = append(mistakes, mistake{err: &kube.StoppedError{Err: err}})
				break
			}
		}
		mistakes = append(mistakes, each(ctx, p, stage, func(it *item) error {
			it.written = true
			return p.sweep(ctx, &all[it.index], r)
		})...)
		for _, it := range stage {
			if all[it.index].Change.Action != "" {
				p.o.Report(all[it.index].Change)
			}
		}
		if ctx.Err() != nil || p.stop.all.Load() {
			break
		}
		p.awaitGone(ctx, all, stage, deadline)
	}
	var done []Pruned
	for _, it := range items {
		if it.written {
			done = append(done, all[it.index])
		}
	}
	return done, flat(ctx, mistakes)
}

// sweep deletes one object. Its error is about all of them: others are in the Pruned.
func (p *Plan) sweep(ctx context.Context, f *Pruned, r PruneRules) error {
	started := time.Now()
	doubtful := false
	change := func(action kube.Action) {
		f.Change = kube.Change{Ref: f.Ref, Before: f.Live, Action: action, Started: started, Took: time.Since(started)}
	}
	err := error(nil)
	for range sweepTries {
		if err = p.delete(ctx, f.Ref, f.Live); err == nil {
			change(kube.Pruned)
			return nil
		}
		doubtful = doubtful || errors.Is(err, kube.ErrUncertain)
		if !doubtful && !apierrors.IsConflict(err) {
			break
		}
		before := f.Live
		live, readErr := p.o.Client.Get(ctx, f.Ref, kube.Patience{})
		switch {
		case readErr != nil:
			err = readErr
		case doubtful && (live == nil || live.GetUID() != before.GetUID() || live.GetDeletionTimestamp() != nil):
			change(kube.Pruned) // its answer alone was lost
			return nil
		}
		if readErr != nil {
			break
		}
		f.Live = live
		if f.Fate = r.fate(f.Leftover); !f.Prune {
			return nil
		}
		// The object was read before the record is: who claims it in between has not
		// written yet, or is found.
		if p.o.Held != nil {
			if err := p.o.Held(ctx); err != nil {
				return &kube.StoppedError{Err: err}
			}
		}
	}
	if doubtful {
		change(kube.Uncertain)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f.Err = &PruneError{ID: f.Ref.ID(), Err: p.o.Client.Explain(ctx, f.Ref, err)}
	return nil
}

// delete sends the deletion of an object as it was read. What it owns goes after it.
func (p *Plan) delete(ctx context.Context, ref kube.Ref, live *unstructured.Unstructured) error {
	uid, version, policy := live.GetUID(), live.GetResourceVersion(), metav1.DeletePropagationBackground
	return p.o.Client.Delete(ctx, ref, metav1.DeleteOptions{PropagationPolicy: &policy, Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version}})
}

// awaitGone waits until the objects of a stage are gone, as long as there is time,
// and says what keeps those that are not.
func (p *Plan) awaitGone(ctx context.Context, all []Pruned, stage []*item, deadline time.Time) {
	each(ctx, p, stage, func(it *item) error {
		f := &all[it.index]
		if f.Change.Action != kube.Pruned {
			return nil
		}
		for pause := firstPoll; ; pause = min(2*pause, longPoll) {
			live, err := p.o.Client.Get(ctx, f.Ref, kube.Patience{})
			switch {
			case err != nil:
				return nil //nolint:nilerr // it is deleted; the next deploy looks whether it has gone
			case live == nil || live.GetUID() != f.Live.GetUID():
				f.Gone = true
				return nil
			case time.Now().After(deadline):
				f.Why = fmt.Sprintf("it is deleted, and still there after %s, as its finalizers say: %s", goneLimit, some(live.GetFinalizers()))
				return nil
			}
			if retry.Sleep(ctx, pause) != nil {
				return nil //nolint:nilerr // cancelled: the same
			}
		}
	})
}
