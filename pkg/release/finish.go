package release

import (
	"context"
	"errors"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/object"
)

// Outcomes that mean something here; every other one says that the run ended
// without a verified release of its own.
const (
	Deployed   = "deployed"
	Unchanged  = "unchanged"
	RolledBack = "rolled-back"
	Superseded = "superseded"
)

// FinishOptions say how a run ended.
type FinishOptions struct {
	// Outcome is the step's, in the words of its output.
	Outcome string
	// Note is a sentence for people about what the outcome alone does not say; "" for none.
	Note string
	// Left says that the cluster was left half written, or broken and not
	// restored: the next run has to know what was there before.
	Left bool
	// Images are what serves now, if that is known better than at the claim.
	Images []Image
	// Inventory are objects whose UIDs have become known.
	Inventory []Object
	// Removed are objects that are no longer of the release: deleted, or somebody else's.
	Removed []object.ID
	// Pruned are those that this run deleted.
	Pruned []object.ID
}

// verified reports whether every object of the logs is as a run verified it.
func (o FinishOptions) verified() bool {
	return !o.Left && slices.Contains([]string{Deployed, Unchanged, RolledBack}, o.Outcome)
}

// Finish records the outcome and ends the claim, and then deletes the log of this
// process, which the record calls obsolete from that moment on: what is verified
// and what is recorded as verified are one and the same, whenever a process is
// killed or overtaken. The log stays when Left says so, and the next run inherits it.
//
// If the record is somebody else's by now it says so with a *SupersededError, and
// a log that he may need stays. Without a claim it does nothing. It may be called
// after a cancel, with a context that still has some seconds.
func (r *Record) Finish(ctx context.Context, o FinishOptions) error {
	if !r.attempted {
		return nil
	}
	if !r.claimed { // nobody knows whether the claim was made
		if err := r.read(ctx); err != nil {
			return err
		}
		if !r.last().heldBy(r.nonce) {
			return nil
		}
		r.adopt()
	}
	if o.Outcome == Superseded {
		if err := r.read(ctx); err != nil {
			return err
		}
		return r.giveWay(ctx)
	}
	undo, done := r.closeLogs(ctx, o)
	ended := time.Now()
	recorded := func(s state) bool { return s.heldBy(r.nonce) && s.holder.Finished }
	err := r.change(ctx, recorded, func(old stored) (state, error) {
		switch {
		case old.object == nil: // a person has deleted it meanwhile
			return r.mine.finished(r.held, undo, ended, o), nil
		case !old.heldBy(r.nonce):
			return state{}, old.superseding()
		}
		return old.finished(r.held, undo, ended, o), nil
	})
	var superseded *SupersededError
	if errors.As(err, &superseded) {
		return r.giveWay(ctx)
	}
	if err == nil {
		// Best effort: the record calls them obsolete, and a later run tries again.
		_ = r.delete(ctx, done)
	}
	return err
}

// Verify records that what this run applied is verified, while it goes on to delete
// what the release holds no longer: from then on no way back leads past it, also if it
// is killed. It keeps the claim, so that the next run takes over and fences what is
// still on its way. Finish follows. The errors are those of Finish; after any of them
// nothing may be deleted.
func (r *Record) Verify(ctx context.Context, o FinishOptions) error {
	undo, done := r.closeLogs(ctx, o)
	ended := time.Now()
	recorded := func(s state) bool { return s.heldBy(r.nonce) && r.ended(s) }
	err := r.change(ctx, recorded, func(old stored) (state, error) {
		switch {
		case old.object == nil:
			return r.mine.verified(r.held, undo, ended, o), nil
		case !old.heldBy(r.nonce):
			return state{}, old.superseding()
		}
		return old.verified(r.held, undo, ended, o), nil
	})
	if err == nil {
		_ = r.delete(ctx, done) // as in Finish
	}
	return err
}

// closeLogs deletes the logs that nobody needs as it is, and returns which logs the
// record names after a run ended so, and which are to be deleted once it does.
func (r *Record) closeLogs(ctx context.Context, o FinishOptions) (undo []undoRef, done []knownLog) {
	keep, useless, done := r.sortLogs(o)
	switch {
	case r.cleared != nil:
		useless = <-r.cleared
		r.cleared <- useless // Finish may be called again
	case r.log != nil || r.run.again() || len(done) > 0:
		useless = r.delete(ctx, useless)
	} // a deploy that is unchanged leaves the request to the next that writes
	return slices.Concat(obsolete(useless), keep, obsolete(done)), done
}

// knownLog is a log with the object that holds it, as far as that is known.
type knownLog struct {
	undoRef
	uid types.UID
}

// sortLogs says which logs the next run inherits, which nobody needs as it is, and
// which nobody needs as soon as the outcome is recorded; the oldest first.
func (r *Record) sortLogs(o FinishOptions) (keep []undoRef, useless, done []knownLog) {
	// This process's own log stands for all that it inherited, if they had room in it.
	stands := r.log != nil && r.log.complete && o.Left
	for _, e := range r.earlier {
		switch known := (knownLog{e.undoRef, e.uid}); {
		case e.Obsolete:
			useless = append(useless, known)
		case e.closed || o.verified() || stands:
			done = append(done, known)
		default:
			keep = append(keep, e.undoRef)
		}
	}
	switch {
	case r.log == nil:
	case o.Left:
		keep = append(keep, r.own)
	default:
		done = append(done, knownLog{r.own, r.log.uid})
	}
	return keep, useless, done
}

// clear begins to delete the logs that nobody needs, beside what a deploy does
// until it has an outcome, so that the outcome does not wait for it.
func (r *Record) clear(ctx context.Context) {
	_, useless, _ := r.sortLogs(FinishOptions{})
	cleared := make(chan []knownLog, 1)
	r.cleared = cleared
	go func() {
		defer fault.Catch(ctx)
		cleared <- r.delete(ctx, useless)
	}()
}

// delete deletes logs one after the other, and returns those that it could not delete.
func (r *Record) delete(ctx context.Context, logs []knownLog) (stuck []knownLog) {
	for _, l := range logs {
		p := metav1.Preconditions{}
		if l.uid != "" {
			p.UID = &l.uid
		}
		if r.remove(ctx, r.logRef(l.Log), p) != nil {
			stuck = append(stuck, l)
		}
	}
	return stuck
}

// obsolete are logs as the record names those that nobody inherits.
func obsolete(logs []knownLog) []undoRef {
	var out []undoRef
	for _, l := range logs {
		out = append(out, undoRef{Log: l.Log, Nonce: l.Nonce, Obsolete: true})
	}
	return out
}

// giveWay ends a run whose record is somebody else's: its release gets its
// outcome, and its log goes if nobody has inherited it.
func (r *Record) giveWay(ctx context.Context) error {
	superseding := r.last().superseding()
	// Best effort: what this run did is over, and the record is right without it.
	_ = r.change(ctx, r.ended, func(old stored) (state, error) {
		if old.object == nil || r.ended(old.state) {
			return state{}, superseding
		}
		return old.ended(r.nonce, time.Now(), FinishOptions{Outcome: Superseded}), nil
	})
	if r.log != nil && r.log.uid != "" && r.last().logOf(r.nonce) == (undoRef{}) {
		_ = r.remove(ctx, r.logRef(r.own.Log), metav1.Preconditions{UID: &r.log.uid})
	}
	return superseding
}

// ended reports whether there is no release of this process without an outcome.
func (r *Record) ended(s state) bool {
	return !slices.ContainsFunc(s.releases, func(e Entry) bool { return e.Nonce == r.nonce && e.Outcome == "" })
}
