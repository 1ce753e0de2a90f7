package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/apply"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/release"
)

// lastWords is how long a run that was cancelled may take to record how far it
// came: the runner kills it 10 s after the cancel, and by then the rest of the
// report must be written.
const lastWords = 2 * time.Second

// byHand begins the mark of a run that no workflow numbers.
const byHand = "by-hand-"

// identify finds out which run this is, and of which release.
func (d *deployment) identify() error {
	var err error
	if d.run, err = release.RunOf(d.runner.Getenv); err != nil {
		return err
	}
	if d.SHA != "" {
		d.run.Commit = d.SHA
	}
	d.run.Candidate = d.Candidate
	if d.Release == "" {
		d.Release = release.Name(d.run.Repository, d.Manifests)
	}
	d.result.Release = d.Release
	d.runMark = d.run.String()
	if d.run.ID == 0 {
		d.runMark = byHand + strconv.FormatInt(time.Now().UnixNano(), 36)
	}
	if err := release.ValidateName(d.Release); err != nil {
		return fmt.Errorf("input %w", err)
	}
	return nil
}

// suffix ends the name of the nth object whose manifest gives its beginning only. It
// is the same for the whole run, so that a write that is repeated, because its answer
// was lost, makes no second object.
func (d *deployment) suffix(n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d", d.Release, d.runMark, n))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:5]))
}

// mark is what this run writes on the objects that it changes.
func (d *deployment) mark() object.Mark {
	cause := "commit " + d.SHA
	if d.run.Actor != "" {
		cause += " by " + d.run.Actor
	}
	if d.run.URL != "" {
		cause += ", " + d.run.URL
	}
	return object.Mark{Run: d.runMark, Commit: d.SHA, Cause: cause}
}

// held reports, as an error, that this run may not write any more.
func (d *deployment) held(ctx context.Context) error { return d.record.Held(ctx) }

// ours reports whether another run's unfinished work is this run's to put back:
// it came after the release that was verified last, and its log was inherited.
func (d *deployment) ours(run string) bool {
	unverified, _ := d.unverified(run)
	return unverified && len(d.inherited) > 0
}

// releasesBefore is the releases before this run, the newest first, as the record has them by
// now: another run may have claimed it, and died, since it was opened.
func (d *deployment) releasesBefore() []release.Entry {
	all := d.record.Releases()
	if d.claimed && len(all) > 0 && all[0].Run == d.run {
		return all[1:]
	}
	return all
}

// verifiedAt is when the deploy before this one ended, if it observed that it serves.
func (d *deployment) verifiedAt() time.Time {
	if all := d.releasesBefore(); len(all) > 0 && all[0].Good() {
		return all[0].Finished
	}
	return time.Time{}
}

// unverified reports whether a run of this release came after the one that was
// verified last, and whether it ended by itself: one that was killed or cancelled did not.
func (d *deployment) unverified(run string) (unverified, ended bool) {
	return leftUnverified(d.releasesBefore(), run)
}

// leftUnverified is that of releases, which begin with the newest.
func leftUnverified(releases []release.Entry, run string) (unverified, ended bool) {
	for _, entry := range releases {
		switch {
		case entry.Good():
			return false, false
		case entry.ID == 0 && strings.HasPrefix(run, byHand), entry.String() == run:
			return true, entry.Outcome == string(Failed) || entry.Outcome == string(RolledBack)
		}
	}
	return false, false
}

// verified is an object as it was verified last, if a run that this one took over
// from may have written it since.
func (d *deployment) verified(id object.ID) (before *unstructured.Unstructured, known bool) {
	for _, c := range d.inherited {
		if c.ID() == id {
			return c.Before, true
		}
	}
	return nil, false
}

// claim makes this run the one that counts, and writes down what the objects
// are that it is about to write. A run before this one that has not finished may
// still have a write in flight: everything is read again after the claim, and
// every object is written, so that such a write meets another version than it expects.
func (d *deployment) claim(ctx context.Context) error {
	claimed, err := d.record.Claim(ctx, d.claimOptions())
	var absent *release.NamespaceError
	if errors.As(err, &absent) {
		namespace := object.ID{Kind: "Namespace", Name: absent.Namespace}
		if err := d.plan.Ahead(ctx, func(id object.ID) bool { return id == namespace }); err != nil {
			return d.explain(err)
		}
		claimed, err = d.record.Claim(ctx, d.claimOptions())
	}
	if err != nil {
		return d.explain(err)
	}
	d.claimed = true
	d.reportLeaving(claimed.Leaving, claimed.Forgotten)
	if !claimed.Takeover {
		d.reportOmitted(claimed.Omitted)
		return nil
	}
	return d.takeOver(ctx, claimed)
}

// takeOver goes on from where a run left that has not finished.
func (d *deployment) takeOver(ctx context.Context, claimed *release.Claimed) error {
	who := "A run before this one"
	if claimed.Before != nil {
		who = "Run " + claimed.Before.String()
	}
	if claimed.Before != nil && claimed.Previous != nil && claimed.Previous.Run == *claimed.Before {
		d.log.Printf("%s verified this release, and did not finish what was to do after that: all is read again", who)
	} else {
		d.log.Printf("%s did not leave this release verified: all is read again, and a way back leads to what was verified last", who)
	}
	for _, name := range claimed.Lost {
		d.log.Warning("what the objects were before an unfinished run cannot be read (" + name + "): if this run fails, they go back to how it found them")
	}
	d.inherited = claimed.Inherited
	if claimed.Before != nil && claimed.Before.Candidate {
		if err := d.removeCandidates(ctx); err != nil {
			d.log.Warning("what a run before this one left of its candidates may still be there: " + err.Error())
		}
	}
	if err := d.plan.Refresh(ctx, true); err != nil {
		return d.explain(err)
	}
	omitted, err := d.record.KeepLog(ctx, slices.Concat(d.inherited, d.plan.Undo()))
	d.reportOmitted(omitted)
	return d.explain(err)
}

func (d *deployment) claimOptions() release.ClaimOptions {
	o := release.ClaimOptions{Run: d.run, Undo: d.plan.Undo()}
	for _, l := range d.plan.Inventory() {
		o.Inventory = append(o.Inventory, release.Object{ID: l.ID, Version: l.Version, UID: l.UID, Found: l.Found})
	}
	for _, i := range d.result.Images {
		o.Images = append(o.Images, release.Image{Reference: i.Reference, Digest: i.Digest})
	}
	return o
}

// reportOmitted names what the undo log has no room for.
func (d *deployment) reportOmitted(ids []object.ID) {
	if len(ids) == 0 {
		return
	}
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = id.String()
	}
	d.log.Warning("the undo log has no room for " + some(names) + ": should this run be killed, the next one cannot put these back")
}

// recordOutcome writes down how the run ended. Its error says that a newer run
// has taken over meanwhile, or that it could not be written.
func (d *deployment) recordOutcome(ctx context.Context, outcome Outcome) error {
	if d.record == nil || d.planning {
		return nil
	}
	if ctx.Err() != nil {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		ctx = bounded
	}
	o := d.finishOptions(outcome)
	if d.wentBack && d.notRestored == 0 && !d.changedSince && (outcome == Cancelled || outcome == RolledBack) {
		if names := d.unwaited(); len(names) > 0 {
			o.Note = "all was put back, and nobody waited until it serves again: " + some(names)
		}
	}
	return d.record.Finish(ctx, o)
}

// finishOptions are what the record is told of an outcome, whatever else is to say of it.
func (d *deployment) finishOptions(outcome Outcome) release.FinishOptions {
	o := release.FinishOptions{
		Outcome: string(outcome), Removed: d.removed, Pruned: d.pruned,
		Left: outcome != Deployed && outcome != Unchanged && outcome != RolledBack && d.leavesOpen(),
	}
	for _, c := range d.changes {
		if c.After != nil && c.Action != kube.Uncertain {
			o.Inventory = append(o.Inventory, release.Object{ID: c.ID(), UID: string(c.After.GetUID())})
		}
	}
	return o
}

// leavesOpen reports whether an object that existed is neither verified nor as it
// was: then the next run has to know how it was, should it fail too.
func (d *deployment) leavesOpen() bool {
	if d.wentBack {
		return d.notRestored > 0
	}
	return slices.ContainsFunc(d.undo(), func(u apply.Undo) bool { return u.Before != nil })
}

// openRecord reads the record. An older run ends here, whatever its manifests are
// worth. It has to be read before the first object is: a run before this one that
// puts objects back and ends in between would be taken for one that had ended
// before, and what was read for what it left.
func (d *deployment) openRecord(ctx context.Context) error {
	var err error
	if d.record, err = release.Open(ctx, d.kube, d.Namespace, d.Release); err != nil {
		return d.explain(err)
	}
	d.earlier = d.record.Releases()
	d.fromRecord()
	if d.planning {
		d.foreseeSuperseded()
		return nil
	}
	return d.record.Check(d.run)
}

// fromRecord is what the record says served before.
func (d *deployment) fromRecord() {
	entry, ok := release.Serving(d.earlier)
	if !ok {
		return
	}
	d.result.From.Commit, d.result.From.RunURL = entry.Commit, entry.URL
	if len(entry.Images) > 0 {
		d.result.From.Image = entry.Images[0].Pinned()
	}
}

// undo is what a way back leads to: for each object what an unfinished run before
// this one found, else what this one found.
func (d *deployment) undo() []apply.Undo {
	var all []apply.Undo
	at := map[object.ID]int{}
	for _, c := range d.inherited {
		at[c.ID()] = len(all)
		all = append(all, apply.Undo{Ref: c.Ref, Before: c.Before})
	}
	for _, u := range apply.UndoOf(d.changes) {
		if i, ok := at[u.ID()]; ok {
			all[i].After = u.After
		} else {
			all = append(all, u)
		}
	}
	return all
}
