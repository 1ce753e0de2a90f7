package apply

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

// Objects are the set as it is about to be applied, with a namespace on each that
// has one, in the order in which they were given. They are not to be modified.
func (p *Plan) Objects() []*unstructured.Unstructured {
	all := make([]*unstructured.Unstructured, len(p.items))
	for i, it := range p.items {
		all[i] = it.object
	}
	return all
}

// Pending reports whether an object of the set was checked, and needs a write.
func (p *Plan) Pending(id object.ID) bool {
	for _, it := range p.items {
		if it.ref().ID() == id {
			return !it.written && it.write != nil && it.write.Pending()
		}
	}
	return false
}

// Planned is what is about to become of each object. What cannot be checked before
// its namespace or definition is there will be as its manifest has it. They are in the
// order of application.
func (p *Plan) Planned() []kube.Change {
	all := make([]kube.Change, len(p.items))
	for i, it := range p.ordered() {
		if it.write != nil {
			all[i] = it.write.Planned()
			if note := it.staleNote(); note != "" {
				all[i].Notes = append(all[i].Notes, note)
			}
			continue
		}
		all[i] = kube.Change{Ref: it.ref(), Before: it.live(), After: it.object, Manifest: it.object, Action: kube.Configured}
		if it.live() == nil {
			all[i].Action = kube.Created
		}
		all[i].Notes = []string{"it can be checked only when what it needs is there, which this set brings: shown is its manifest"}
	}
	return all
}

// Ahead writes before all else those objects that accept picks and that do not
// exist yet.
func (p *Plan) Ahead(ctx context.Context, accept func(object.ID) bool) error {
	for stage := range lastStage + 1 {
		var items []*item
		for _, it := range p.inStage(stage) {
			if !it.written && it.write != nil && it.write.Pending() && it.live() == nil && accept(it.ref().ID()) {
				items = append(items, it)
			}
		}
		if mistakes := p.send(ctx, items); len(mistakes) > 0 || ctx.Err() != nil {
			return flat(ctx, mistakes)
		}
	}
	return nil
}

// Arrive checks the objects that could not be checked before their Namespace was
// there, which Ahead has written. Those whose definition is still to come stay.
func (p *Plan) Arrive(ctx context.Context) error {
	var ready, rest []*item
	for _, it := range p.late {
		switch {
		case it.crd != nil && !it.crd.serves(), it.namespace != nil && it.namespace.live() == nil && !it.namespace.written:
			rest = append(rest, it)
		default:
			ready = append(ready, it)
		}
	}
	p.late = ready
	mistakes := p.checkLate(ctx)
	p.late = rest
	return flat(ctx, mistakes)
}

// Changes is what was written so far, in the order of application.
func (p *Plan) Changes() []kube.Change { return p.results.finish() }
