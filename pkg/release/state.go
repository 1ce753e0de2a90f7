package release

import (
	"slices"
	"time"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/redact"
)

// maxNote bounds the note of a release, in runes.
const maxNote = 300

// maxPruned is how many of the objects that a deploy pruned are remembered by name.
const maxPruned = 50

// maxEntries is how many releases are remembered.
const maxEntries = 50

// state is what a record says. It is a value: what changes it returns another.
type state struct {
	newest    newest
	holder    *holder // nil: nobody ever claimed
	undo      []undoRef
	inventory []Object
	releases  []Entry
	// unknown are the keys that a later version has added.
	unknown map[string]string
}

// newest is the newest run that ever claimed. It never falls.
type newest struct {
	Run
	// Hand is the deploy by hand that came after that run; nil if none did.
	Hand *Run `json:"hand,omitempty"`
}

// holder is the process that claimed last.
type holder struct {
	Run
	// Nonce tells this process from another job of the same run.
	Nonce string `json:"nonce"`
	// Finished says that its outcome was recorded.
	Finished bool `json:"finished,omitempty"`
}

// undoRef names a log that has to be inherited.
type undoRef struct {
	Log   int    `json:"log"`
	Nonce string `json:"nonce"` // of the process whose it is
	// Obsolete says that its run ended and nobody inherits it; it is deleted, or
	// about to be.
	Obsolete bool `json:"obsolete,omitempty"`
}

// reserved returns the state with a log that the holder is about to write: the
// first that is free.
func (s state) reserved() state {
	u := undoRef{Log: 1, Nonce: s.holder.Nonce}
	for slices.ContainsFunc(s.undo, func(other undoRef) bool { return other.Log == u.Log }) {
		u.Log++
	}
	s.undo = append(slices.Clone(s.undo), u)
	return s
}

// logOf is the log that a process has reserved; the zero value if it has none.
func (s state) logOf(nonce string) undoRef {
	for _, u := range s.undo {
		if u.Nonce == nonce {
			return u
		}
	}
	return undoRef{}
}

// heldBy reports whether the process with that nonce claimed last.
func (s state) heldBy(nonce string) bool { return s.holder != nil && s.holder.Nonce == nonce }

// sameHolder reports whether nobody has claimed between the two states.
func (s state) sameHolder(other state) bool {
	if s.holder == nil || other.holder == nil {
		return s.holder == other.holder
	}
	return s.holder.Nonce == other.holder.Nonce
}

// check says by whom a run is superseded, if it claimed now; nil: by nobody.
func (s state) check(run Run) *SupersededError {
	if run.byHand() {
		return nil
	}
	// An attempt that is not the last one of its run gives way, whichever it is.
	for _, other := range s.known() {
		if run.comparable(other) && run.ID == other.ID && run.Attempt < other.Attempt {
			return &SupersededError{By: other}
		}
	}
	if run.again() || !run.comparable(s.newest.Run) {
		return nil
	}
	switch {
	case run.ID < s.newest.ID:
		return &SupersededError{By: s.newest.Run}
	case run.ID == s.newest.ID && s.newest.Hand != nil:
		return &SupersededError{By: *s.newest.Hand}
	}
	return nil
}

// known are the runs that the record is about now.
func (s state) known() []Run {
	all := []Run{s.newest.Run}
	if s.holder != nil {
		all = append(all, s.holder.Run)
	}
	return all
}

// inherits reports whether what is in the cluster may not be what a run verified.
func (s state) inherits() bool {
	return s.holder != nil && !s.holder.Finished || slices.ContainsFunc(s.undo, func(u undoRef) bool { return !u.Obsolete })
}

// claimed returns the state in which the options' run is the holder.
func (s state) claimed(nonce string, started time.Time, o ClaimOptions, takeover bool) (next state, forgotten []Object) {
	run := o.Run.bounded()
	next = s
	switch {
	case run.byHand():
		next.newest.Hand = &run
	case !run.comparable(s.newest.Run) || s.newest.olderThan(run):
		next.newest = newest{Run: run}
	}
	next.holder = &holder{Run: run, Nonce: nonce}
	if takeover || len(o.Undo) > 0 {
		next = next.reserved()
	}
	next.inventory, forgotten = union(s.inventory, o.Inventory)
	entry := Entry{Run: run, Nonce: nonce, Images: boundImages(o.Images), Started: started.UTC().Truncate(time.Second)}
	if last, ok := Serving(s.releases); ok {
		entry.From = last.Commit
	}
	next.releases = append([]Entry{entry}, s.releases...)
	next.releases = next.releases[:min(len(next.releases), maxEntries)]
	return next, forgotten
}

// finished returns the state after the holder's end; held are the objects that it
// applies, and undo is what remains of the logs.
func (s state) finished(held map[object.ID]bool, undo []undoRef, ended time.Time, o FinishOptions) state {
	next := s.verified(held, undo, ended, o)
	h := *s.holder
	h.Finished = true
	next.holder = &h
	return next
}

// verified is finished before the end: the holder goes on.
func (s state) verified(held map[object.ID]bool, undo []undoRef, ended time.Time, o FinishOptions) state {
	next := s.ended(s.holder.Nonce, ended, o)
	next.undo = undo
	next.inventory = refresh(s.inventory, o.Inventory, o.Removed)
	if o.Outcome == Deployed || o.Outcome == Unchanged {
		next.inventory = left(next.inventory, held)
	}
	return next
}

// ended returns the state with the outcome of one release; o's images replace those
// that are known, unless there are none.
func (s state) ended(nonce string, ended time.Time, o FinishOptions) state {
	next := s
	next.releases = slices.Clone(s.releases)
	for i := range next.releases {
		e := &next.releases[i]
		if e.Nonce != nonce {
			continue
		}
		e.raw = nil
		e.Outcome, e.Finished = o.Outcome, ended.UTC().Truncate(time.Second)
		e.Note, e.Pruned = redact.Line(o.Note, maxNote), nil
		if len(o.Images) > 0 {
			e.Images = boundImages(o.Images)
		}
		for _, id := range o.Pruned[:min(len(o.Pruned), maxPruned)] {
			e.Pruned = append(e.Pruned, redact.Line(id.String(), maxNote))
		}
	}
	return next
}
