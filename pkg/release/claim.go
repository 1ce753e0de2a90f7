package release

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

// ClaimOptions say who claims, and for what.
type ClaimOptions struct {
	Run Run
	// Inventory are the objects that are about to be applied, with the UIDs of
	// those that exist. What is not of it, and was, is kept until it is Removed.
	Inventory []Object
	// Images are what they run.
	Images []Image
	// Undo are the objects that are about to be written, each as it is now (Before;
	// the rest of a change is not looked at). None: nothing is written.
	Undo []kube.Change
}

// Claimed is what a claim found.
type Claimed struct {
	// Takeover says that what the caller has read of the cluster may not be what a
	// run verified: the holder before had not finished when the record was opened,
	// or left it broken, or somebody has claimed since. Undo was not written then:
	// the caller reads the objects again, decides again, and calls KeepLog.
	Takeover bool
	// Before is the run that held the record until now; nil if there was none.
	Before *Run
	// Previous is the release that was verified last; nil if the record knows none.
	Previous *Entry
	// Inherited are the objects that unfinished runs may have written, each as it
	// was when a run had last verified it. The way back of this run leads there.
	Inherited []kube.Change
	// Lost names the logs of unfinished runs that nobody can read: of their
	// objects, the way back leads to how they are now.
	Lost []string
	// Omitted are the objects of Undo that had no room in the log: should this
	// process be killed, no later run knows what they were.
	Omitted []object.ID
	// Forgotten are objects of earlier deploys that the inventory has no room for
	// any more: they are never pruned.
	Forgotten []Object
	// Leaving are objects of the release that was verified last, or of later ones that
	// were not, which this one does not hold.
	Leaving []Object
}

// Claim makes this process the holder of the record, and writes the log of what
// the objects were; both at once, where the record as it was read last allows it.
// Nothing may be written before it has returned. Errors that a caller may want
// to know are *SupersededError, *NamespaceError (Claim may then be called again),
// *ForbiddenError and *UnreadableError; after any of them nothing may be written.
func (r *Record) Claim(ctx context.Context, o ClaimOptions) (*Claimed, error) {
	r.run, r.held = o.Run, idsOf(o.Inventory)
	started := time.Now()
	draft := &logDraft{}
	for conflicts, uncertain := 0, 0; ; {
		old := r.last()
		if err := old.check(o.Run); err != nil {
			r.discard(ctx, draft)
			return nil, err
		}
		// What was read before somebody else's last write is out of date, whether he
		// has finished by now or not.
		takeover := old.inherits() || r.opened.inherits() || !old.sameHolder(r.opened)
		next, forgotten := old.claimed(r.nonce, started, o, takeover)
		claimed := old.claim(takeover, forgotten)
		claimed.Leaving = leaving(old.inventory, r.held)
		number := next.logOf(r.nonce).Log
		if takeover || draft.number != number {
			r.discard(ctx, draft) // its name is that of somebody else's log by now
			draft = &logDraft{}
		}
		if !takeover && draft.number != number {
			var err error
			if draft, err = draftLog(number, o.Undo); err != nil {
				return nil, err
			}
		}
		now, err := r.writeBoth(ctx, old, next, draft)
		if err == nil {
			r.remember(now)
			return r.begin(ctx, claimed, draft)
		}
		conflicts++
		if errors.Is(err, kube.ErrUncertain) {
			uncertain++
		}
		refusal := explain(err, "write", r.recordRef())
		var missing *NamespaceError
		if !outdated(err) || errors.As(refusal, &missing) || conflicts > maxConflicts {
			r.discard(ctx, draft)
			return nil, refusal
		}
		if err := r.read(ctx); err != nil {
			r.discard(ctx, draft)
			return nil, errors.Join(refusal, err)
		}
		if r.last().heldBy(r.nonce) { // the answer was lost, or a conflict was with ourselves
			return r.begin(ctx, claimed, draft)
		}
		if uncertain > maxUncertain {
			r.discard(ctx, draft)
			return nil, refusal
		}
	}
}

// claim is what a claim of this state finds.
func (s state) claim(takeover bool, forgotten []Object) *Claimed {
	c := &Claimed{Takeover: takeover, Forgotten: forgotten}
	if s.holder != nil {
		c.Before = &s.holder.Run
	}
	if last, ok := Serving(s.releases); ok {
		c.Previous = &last
	}
	return c
}

// writeBoth makes the claim, and creates the log at the same time.
func (r *Record) writeBoth(ctx context.Context, old stored, next state, draft *logDraft) (stored, error) {
	r.attempted = true
	var group errgroup.Group
	if draft.number > 0 && !draft.sent {
		draft.sent = true
		group.Go(func() error {
			defer fault.Catch(ctx)
			ref := r.logRef(draft.number)
			draft.object, draft.err = r.client.Create(ctx, ref, r.logObject(ref, draft.packed))
			return nil
		})
	}
	now, err := r.write(ctx, old, next)
	_ = group.Wait()
	return now, err
}

// begin completes a claim that has been made: with the log of this process, or
// with those of the processes before.
func (r *Record) begin(ctx context.Context, c *Claimed, draft *logDraft) (*Claimed, error) {
	r.adopt()
	if !c.Takeover {
		if draft.number == 0 {
			return c, nil
		}
		c.Omitted = draft.omitted
		r.clear(ctx)
		return c, r.settle(ctx, draft)
	}
	var err error
	c.Lost, err = r.inherit(ctx)
	c.Inherited = r.inherited
	return c, err
}

// adopt takes the record as it was read last for this process's claim.
func (r *Record) adopt() {
	r.claimed, r.mine = true, r.last().state
	r.own = r.mine.logOf(r.nonce)
	for _, u := range r.mine.undo {
		if u.Nonce != r.nonce {
			r.earlier = append(r.earlier, earlierLog{undoRef: u})
		}
	}
}
