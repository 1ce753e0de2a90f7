package release

import (
	"context"
	"errors"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/kube"
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
	// Left says that the cluster was left half written, or broken and not
	// restored: the next run has to know what was there before.
	Left bool
	// Images are what serves now, if that is known better than at the claim.
	Images []Image
	// Inventory are objects whose UIDs have become known.
	Inventory []Object
	// Removed are objects that were deleted, and are no longer of the release.
	Removed []object.ID
}

// verified reports whether every object of the logs is as a run verified it.
func (o FinishOptions) verified() bool {
	return !o.Left && slices.Contains([]string{Deployed, Unchanged, RolledBack}, o.Outcome)
}

// Finish records the outcome and ends the claim. The log of this process goes
// first: a process that is killed in between leaves a claim without a log, whose
// successor has nothing to inherit, and what is there is right. It stays when
// Left says so, and the next run inherits it.
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
		return r.giveWay(ctx, o)
	}
	undo := r.clear(ctx, o)
	ended := time.Now()
	recorded := func(s state) bool { return s.heldBy(r.nonce) && s.holder.Finished }
	err := r.change(ctx, recorded, func(old stored) (state, error) {
		switch {
		case old.object == nil: // a person has deleted it meanwhile
			return r.mine.finished(undo, ended, o), nil
		case !old.heldBy(r.nonce):
			return state{}, old.superseding()
		}
		return old.finished(undo, ended, o), nil
	})
	var superseded *SupersededError
	if errors.As(err, &superseded) {
		return r.giveWay(ctx, o)
	}
	return err
}

// clear deletes the logs that nobody needs any more, the oldest first, and
// returns those that the next run inherits.
func (r *Record) clear(ctx context.Context, o FinishOptions) []undoRef {
	var keep []undoRef
	drop := func(u undoRef, uid types.UID) {
		p := metav1.Preconditions{}
		if uid != "" {
			p.UID = &uid
		}
		if r.remove(ctx, r.logRef(u.Log), p) != nil {
			keep = append(keep, undoRef{Log: u.Log, Nonce: u.Nonce, Obsolete: true})
		}
	}
	// This process's own log stands for all that it inherited, if they had room in it.
	stands := r.log != nil && r.log.complete && o.Left
	for _, e := range r.earlier {
		if e.Obsolete || e.closed || o.verified() || stands {
			drop(e.undoRef, e.uid)
		} else {
			keep = append(keep, e.undoRef)
		}
	}
	switch {
	case r.log == nil:
	case o.Left:
		keep = append(keep, r.own)
	default:
		drop(r.own, r.log.uid)
	}
	return keep
}

// giveWay ends a run whose record is somebody else's: its release gets its
// outcome, and its log goes if nobody has inherited it.
func (r *Record) giveWay(ctx context.Context, o FinishOptions) error {
	superseding := r.last().superseding()
	outcome := Superseded
	if o.verified() && r.closedBySuccessor(ctx) {
		// The next run found no log of this one, so what this one verified is what
		// that one goes back to: the record says so, whoever has the release now.
		outcome = o.Outcome
	}
	// Best effort: what this run did is over, and the record is right without it.
	_ = r.change(ctx, r.ended, func(old stored) (state, error) {
		if old.object == nil || r.ended(old.state) {
			return state{}, superseding
		}
		return old.ended(r.nonce, time.Now(), outcome, nil), nil
	})
	if r.log != nil && r.log.uid != "" && r.last().logOf(r.nonce) == (undoRef{}) {
		_ = r.remove(ctx, r.logRef(r.own.Log), metav1.Preconditions{UID: &r.log.uid})
	}
	return superseding
}

// closedBySuccessor reports whether a run that took over looked for the log of
// this one when it was gone already.
func (r *Record) closedBySuccessor(ctx context.Context) bool {
	if r.own.Log == 0 {
		return false
	}
	found, err := r.client.Get(ctx, r.logRef(r.own.Log), kube.Patience{})
	if err != nil || found == nil {
		return false
	}
	by := found.GetAnnotations()[annotationClosed]
	return by != "" && by != r.nonce
}

// ended reports whether there is no release of this process without an outcome.
func (r *Record) ended(s state) bool {
	return !slices.ContainsFunc(s.releases, func(e Entry) bool { return e.Nonce == r.nonce && e.Outcome == "" })
}
