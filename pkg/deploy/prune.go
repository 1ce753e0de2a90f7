package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/apply"
	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/release"
)

// former are the objects of the release's inventory that the manifests hold no longer.
func (d *deployment) former() []apply.Listed {
	var all []apply.Listed
	for _, o := range d.record.Inventory() {
		if !d.plan.Holds(o.ID) {
			all = append(all, apply.Listed{ID: o.ID, Version: o.Version, UID: o.UID, Found: o.Found})
		}
	}
	return all
}

// fates finds out what becomes of them, and by which rules.
func (d *deployment) fates(ctx context.Context, former []apply.Listed) ([]apply.Fate, apply.PruneRules, error) {
	var (
		group     errgroup.Group
		found     []apply.Leftover
		findErr   error
		rules     = apply.PruneRules{Kept: d.keptUIDs(), Author: d.author, Namespace: d.Namespace}
		elsewhere bool
	)
	for _, l := range former {
		elsewhere = elsewhere || l.Namespace != d.Namespace
	}
	group.Go(func() error {
		defer fault.Catch(ctx)
		found, findErr = apply.FindLeftovers(ctx, former, d.applyOptions())
		return nil
	})
	var err error
	rules.Others, err = d.record.Others(ctx, elsewhere)
	var denied *release.ForbiddenError
	if elsewhere && errors.As(err, &denied) {
		rules.Blind = "whether a release of another namespace holds it is not known, as whoever deploys has no right to list configmaps in all namespaces: grant it, or delete the object by hand"
		rules.Others, err = d.record.Others(ctx, false)
	}
	_ = group.Wait()
	if err := errors.Join(findErr, err); err != nil {
		return nil, rules, d.explain(err)
	}
	return apply.Prunable(found, rules), rules, nil
}

// keptUIDs are those of the objects that the release holds.
func (d *deployment) keptUIDs() map[types.UID]bool {
	kept := map[types.UID]bool{}
	for _, l := range d.plan.Inventory() {
		kept[types.UID(l.UID)] = l.UID != ""
	}
	for _, c := range d.changes {
		if c.After != nil && c.After.GetUID() != "" {
			kept[c.After.GetUID()] = true
		}
	}
	return kept
}

// author reports of the run that marks an object whether it is one of this release,
// and whether it is for certain one of another.
func (d *deployment) author(run string) (own, foreign bool) {
	return authorOf(d.record.Releases(), run)
}

// authorOf is that of releases, which begin with the newest. A record forgets its
// oldest runs: one that is older than those it knows may have been its own.
func authorOf(releases []release.Entry, run string) (own, foreign bool) {
	if strings.HasPrefix(run, byHand) {
		for _, entry := range releases {
			own = own || entry.ID == 0
		}
		return own, !own
	}
	number, _, _ := strings.Cut(run, "-")
	id, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return false, true // not as any run writes it
	}
	oldest := int64(0)
	for _, entry := range releases {
		if entry.ID == 0 {
			continue
		}
		if entry.String() == run {
			return true, false
		}
		oldest = entry.ID
	}
	return false, id >= oldest
}

// foreseePrune finds, before anything is written, that whoever deploys has no right to
// delete what is to be pruned, and says what that is.
func (d *deployment) foreseePrune(ctx context.Context) error {
	if !d.Prune {
		return nil
	}
	former := d.former()
	if len(former) == 0 {
		return nil
	}
	fates, _, err := d.fates(ctx, former)
	var unreadable *release.UnreadableError
	switch {
	case errors.As(err, &unreadable):
		return nil // somebody else's: nothing is pruned, which is said when its time comes
	case err != nil:
		return err
	}
	d.fated = fates
	if err := d.explain(apply.TryPrune(ctx, fates, d.applyOptions())); err != nil {
		return err
	}
	var names []string
	for _, f := range fates {
		if f.Prune {
			names = append(names, f.Ref.ID().Resource())
		}
	}
	if len(names) > 0 {
		d.log.Printf("No longer in the manifests, and deleted when all the rest serves: %s", some(names))
	}
	return nil
}

// prune deletes what earlier deploys of this release applied and the manifests hold no
// longer. What serves was verified by then: the only error is that of a newer run.
func (d *deployment) prune(ctx context.Context) error {
	fates, rules, err := d.fates(ctx, d.former())
	if err != nil {
		d.unpruned(ctx, err)
		return nil
	}
	prunes := false
	for _, f := range fates {
		if f.Forget {
			d.removed = append(d.removed, f.ID)
		}
		if f.Why != "" {
			d.log.Printf("%s", f)
		}
		prunes = prunes || f.Prune
	}
	if !prunes {
		return nil
	}
	// What a way back would need is deleted now, so that no later run may go there.
	var newer *release.SupersededError
	if err := d.record.Verify(ctx, d.finishOptions(Deployed)); errors.As(err, &newer) {
		return newer
	} else if err != nil {
		d.unpruned(ctx, err)
		return nil
	}
	pruned, err := apply.Prune(ctx, fates, rules, d.applyOptions())
	d.recordPruned(pruned)
	switch {
	case errors.As(err, &newer):
		return newer
	case err != nil:
		d.unpruned(ctx, err)
	}
	return nil
}

// recordPruned notes what was deleted, and warns of what could not be.
func (d *deployment) recordPruned(pruned []apply.Pruned) {
	var failed []string
	for _, p := range pruned {
		if p.Change.Action != "" {
			d.result.Changes = append(d.result.Changes, Change{
				Kind: p.Kind, Namespace: p.Namespace, Name: p.Name, Action: string(p.Change.Action), Line: p.Change.String(),
				Started: p.Change.Started, Took: p.Change.Took,
			})
		}
		if p.Change.Action == kube.Pruned {
			d.pruned = append(d.pruned, p.ID)
		}
		if p.Gone || p.Forget {
			d.removed = append(d.removed, p.ID)
		}
		if p.Err != nil {
			failed = append(failed, d.explain(p.Err).Error())
		} else if p.Why != "" {
			d.log.Printf("%s", p.Fate)
		}
	}
	if len(failed) > 0 {
		d.log.Warning(strings.Join(failed, "\n") + "\nWhat was deployed serves.")
	}
}

// unpruned says that not all was pruned, for a reason that is no object's.
func (d *deployment) unpruned(ctx context.Context, err error) {
	why := err.Error()
	if ctx.Err() != nil {
		why = "the run was cancelled"
	}
	d.log.Warning("not all that the manifests hold no longer was pruned: " + why + "; what was deployed serves, and the next deploy tries again")
}

// reportLeaving names what the manifests hold no longer, once: when it leaves them.
func (d *deployment) reportLeaving(leaving, forgotten []release.Object) {
	if names := namesOf(leaving); len(names) > 0 && !d.Prune {
		d.result.Leaving = names
		d.log.Printf("No longer in the manifests, and left as they are: %s; with prune: true, what a deploy applied goes when the manifests hold it no longer", some(names))
	}
	if names := namesOf(forgotten); len(names) > 0 {
		d.log.Warning("the record has no room any more for " + some(names) + ", which earlier deploys applied and the manifests hold no longer: prune never deletes them; delete by hand what nobody needs")
	}
}

func namesOf(objects []release.Object) []string {
	names := make([]string, len(objects))
	for i, o := range objects {
		names[i] = o.String()
	}
	return names
}

// meet asks, on the first deploy of a release over objects that are there, what other
// releases of its namespace hold: it may have had another name. Whoever may not ask
// that is told nothing.
func (d *deployment) meet(ctx context.Context) {
	there := func(c kube.Change) bool { return c.Before != nil }
	if len(d.earlier) > 0 || !slices.ContainsFunc(d.plan.Planned(), there) {
		return
	}
	d.others, _ = d.record.Others(ctx, false)
	d.reportOthers()
}

// reportOthers says which objects of this first deploy another release holds, too.
func (d *deployment) reportOthers() {
	type share struct{ both, rest []string }
	shares := map[string]*share{}
	for id, name := range d.others {
		s := shares[name]
		if s == nil {
			s = &share{}
			shares[name] = s
		}
		if d.plan.Holds(id) {
			s.both = append(s.both, id.String())
		} else {
			s.rest = append(s.rest, id.String())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(shares)) {
		s := shares[name]
		slices.Sort(s.both)
		slices.Sort(s.rest)
		if len(s.both) == 0 {
			continue
		}
		text := fmt.Sprintf("release %s holds objects of this one, too: %s. Both apply them, and none prunes them. If %[1]s was renamed to %[3]s, delete its record (kubectl delete configmap deploy-model-action.%[1]s -n %[4]s)",
			name, some(s.both), d.Release, d.Namespace)
		if len(s.rest) > 0 {
			text += "; what it leaves then is nobody's: " + some(s.rest)
		}
		d.log.Warning(text)
	}
}
