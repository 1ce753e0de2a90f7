package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

// Undo is an object that a run wrote, or may have written, as far as the way back
// needs to know it.
type Undo struct {
	kube.Ref
	// Before is the object as it was, with its managedFields; nil if it did not exist.
	Before *unstructured.Unstructured
	// After is the object as the run left it; nil if that is not known. Then its
	// mark alone says whose it is, and what others changed since by their fields.
	After *unstructured.Unstructured
}

// UndoOf is what takes changes back. What was not changed is not among it.
func UndoOf(changes []kube.Change) []Undo {
	var undo []Undo
	for _, c := range changes {
		if !c.Changed() && c.Before == c.After {
			continue
		}
		u := Undo{Ref: c.Ref, Before: c.Before, After: c.After}
		if c.Action == kube.Uncertain {
			u.After = nil // it is only what was to be
		}
		undo = append(undo, u)
	}
	return undo
}

// Outcome is what became of an object on the way back.
type Outcome string

// The outcomes.
const (
	OutcomeRestored  Outcome = "restored"     // it has its earlier fields and marks again
	OutcomeNew       Outcome = "new"          // the deploy created it, or a Job anew; it stays for inspection
	OutcomeLeft      Outcome = "left"         // somebody changed it since; it stays as it is
	OutcomeUntouched Outcome = "untouched"    // it is as it was before
	OutcomeFailed    Outcome = "not restored" // Err says why
)

// Restored is what became of one object on the way back.
type Restored struct {
	Undo
	Outcome Outcome
	// Change is the write that restored it, or a part of it: Before is the object as
	// it had failed, After as it is now. It is zero if nothing was written.
	Change kube.Change
	// Message is a few words: why, or what of it others hold now; or "".
	Message string
	// Err is why the object is not what it was, of OutcomeLeft and OutcomeFailed.
	Err error
}

// String is one line, e.g. "deployment.apps/x restored".
func (r Restored) String() string {
	action := r.Outcome
	if action == OutcomeNew {
		action = OutcomeLeft
	}
	s := r.ID().Resource() + " " + string(action)
	if r.Message != "" {
		s += ": " + r.Message
	}
	return s
}

// byHand is what to do about what could not be restored.
const (
	byHand    = "; compare it with the earlier manifest and apply that by hand"
	cancelled = "the run was cancelled before it was done"
)

// Restore gives every object the fields and marks back that it had before, in the
// order of an apply: what pods read before the pods, in parallel within a stage. It
// does not wait until the restored workloads serve.
//
// Only what still is as this run left it, or a run that this one took over from,
// is restored; fields of other managers are not touched, nor is an object that was
// created. One Restored for each is returned, in the order given, also with an
// error, which joins those of all. A *kube.StoppedError ends everything.
func Restore(ctx context.Context, undo []Undo, o Options) ([]Restored, error) {
	p := &Plan{o: o.withDefaults()}
	p.o.Client = o.Client.Afresh()
	all := make([]Restored, len(undo))
	items := make([]*item, len(undo))
	for i, u := range undo {
		all[i] = Restored{Undo: u, Outcome: OutcomeUntouched}
		items[i] = &item{index: i, resource: u.Resource, stage: stageOf(schema.GroupKind{Group: u.Group, Kind: u.Kind})}
	}
	for _, stage := range stages(items) {
		each(ctx, p, stage, func(it *item) error {
			it.written = true
			all[it.index] = p.restore(ctx, undo[it.index])
			return all[it.index].Err
		})
	}
	var errs []error
	stopped := false
	for i := range all {
		r := &all[i]
		if !items[i].written {
			r.Outcome, r.Message = OutcomeFailed, "the way back ended before it came to it"+byHand
			if ctx.Err() != nil {
				r.Message = cancelled + byHand
			}
			r.Err = &restoreError{id: r.ID(), message: r.Message, err: ctx.Err()}
		}
		if once := (*kube.StoppedError)(nil); errors.As(r.Err, &once) {
			if stopped {
				continue
			}
			stopped = true
		}
		if r.Err != nil {
			errs = append(errs, r.Err)
		}
	}
	return all, errors.Join(errs...)
}

// stages are the items of each stage, in the order of an apply.
func stages(items []*item) [][]*item {
	out := make([][]*item, lastStage+1)
	for _, it := range items {
		out[it.stage] = append(out[it.stage], it)
	}
	return out
}

// restore takes one object back.
func (p *Plan) restore(ctx context.Context, u Undo) Restored {
	if u.Before == nil {
		return p.created(ctx, u)
	}
	r := Restored{Undo: u, Outcome: OutcomeUntouched}
	write := p.o.Client.Revert(u.Ref, u.Before, u.After, p.o.write())
	err := write.Observe(ctx)
	if err == nil && write.Pending() {
		var change kube.Change
		if change, err = write.Send(ctx); err == nil {
			r.Outcome, r.Change = OutcomeRestored, change
		}
	}
	if err != nil {
		return r.because(ctx, err)
	}
	left, wrong := write.Remaining()
	if len(wrong) > 0 {
		r.Outcome, r.Message = OutcomeFailed, "still different from before: "+some(wrong)+byHand
		r.Err = &restoreError{id: r.ID(), message: r.Message}
		return r
	}
	if len(left) > 0 {
		r.Message = "left to others: " + some(left)
	}
	return r
}

// created finds out about an object that was not there before; only where that
// is not known it asks.
func (p *Plan) created(ctx context.Context, u Undo) Restored {
	r := Restored{Undo: u, Outcome: OutcomeNew, Message: "this deploy created it, so there is nothing to go back to; left for inspection"}
	if u.After != nil {
		return r
	}
	live, err := p.o.Client.Get(ctx, u.Ref, kube.Patience{})
	switch {
	case err != nil && !kube.IsUnserved(err):
		return r.because(ctx, p.o.Client.Explain(ctx, u.Ref, err))
	case live == nil || !p.ours(live):
		r.Outcome, r.Message = OutcomeUntouched, ""
	}
	return r
}

// ours reports whether an object bears the mark of this run, or of one that it
// took over from.
func (p *Plan) ours(live *unstructured.Unstructured) bool {
	run := live.GetAnnotations()[object.RunAnnotation]
	return run == p.o.Mark.Run || p.o.Ours != nil && p.o.Ours(run)
}

// because says why an object is not what it was before.
func (r Restored) because(ctx context.Context, err error) Restored {
	var (
		left    *kube.LeftError
		stopped *kube.StoppedError
	)
	r.Outcome = OutcomeFailed
	switch {
	case errors.As(err, &left) && left.Replaced:
		r.Outcome, r.Message = OutcomeNew, left.Why
		return r
	case errors.As(err, &left):
		r.Outcome, r.Message = OutcomeLeft, left.Why
	case errors.As(err, &stopped):
		r.Message, r.Err = stopped.Error(), err
		return r
	case errors.Is(err, kube.ErrUncertain):
		r.Message = "it was being restored, and the answer never came" + byHand
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		r.Message = cancelled + byHand
	default:
		r.Message = sentence(err) + byHand
	}
	r.Err = &restoreError{id: r.ID(), message: r.Message, err: err}
	return r
}

// sentence is an error in one line, without the object that is named beside it.
func sentence(err error) string {
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	var texts []string
	for _, e := range list {
		var own *kube.ObjectError
		switch {
		case errors.As(e, &own) && own.Field != "":
			texts = append(texts, own.Field+": "+own.Err.Error())
		case own != nil:
			texts = append(texts, own.Err.Error())
		default:
			texts = append(texts, e.Error())
		}
	}
	return strings.Join(texts, "; ")
}

// restoreError is what kept an object from being restored.
type restoreError struct {
	id      object.ID
	message string
	err     error
}

func (e *restoreError) Error() string { return fmt.Sprintf("restore %s: %s", e.id, e.message) }

// Title says in a few words what went wrong.
func (e *restoreError) Title() string { return "Not restored" }

// Unwrap returns the cause.
func (e *restoreError) Unwrap() error { return e.err }

// some joins the first few of many.
func some(all []string) string {
	if len(all) > 5 {
		return strings.Join(all[:5], ", ") + fmt.Sprintf(" and %d more", len(all)-5)
	}
	return strings.Join(all, ", ")
}
