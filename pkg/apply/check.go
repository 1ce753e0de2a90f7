package apply

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/redact"
)

const (
	// establishLimit is for a definition to be served; it usually takes 0.1 s.
	establishLimit = 30 * time.Second
	firstPoll      = 50 * time.Millisecond
	longPoll       = time.Second
)

// check dry-runs everything that can be dry-run now, and notes what cannot.
func (p *Plan) check(ctx context.Context) []mistake {
	var independent, dependent []*item
	for _, it := range p.items {
		switch {
		case it.written:
		case it.namespace != nil || it.crd != nil:
			dependent = append(dependent, it)
		default:
			independent = append(independent, it)
		}
	}
	observe := func(it *item) error { return p.observe(ctx, it, kube.WriteOptions{}) }
	mistakes := each(ctx, p, independent, observe)
	if ctx.Err() != nil || p.stop.all.Load() {
		return mistakes
	}
	var now []*item
	p.late = nil
	for _, it := range dependent {
		if it.waits() {
			it.write = nil
			p.late = append(p.late, it)
		} else {
			now = append(now, it)
		}
	}
	mistakes = append(mistakes, each(ctx, p, now, observe)...)
	// A way back has to know what was there, also of these.
	mistakes = append(mistakes, each(ctx, p, p.late, func(it *item) error { return p.read(ctx, it) })...)
	p.configure(p.items)
	return mistakes
}

// observe checks one item. With what is known of its surroundings only o's
// Fresh and Redefined count.
func (p *Plan) observe(ctx context.Context, it *item, o kube.WriteOptions) error {
	own := p.o.write()
	own.Fresh, own.Redefined, own.Fence = o.Fresh, o.Redefined, p.fence
	own.Rerun = it.stage == stageBefore || it.stage == stageAfter
	own.Stamp = p.stampOf(it.ref().ID())
	own.InSet = func(id object.ID) bool { return p.set[id] }
	write := p.o.Client.Apply(it.ref(), it.object, own)
	err := write.Observe(ctx)
	it.write = write
	return err
}

// read reads an item that cannot be checked yet, if it can be there at all.
func (p *Plan) read(ctx context.Context, it *item) error {
	if it.namespace != nil && it.namespace.live() == nil || it.crd != nil && it.crd.live() == nil {
		it.before = nil
		return nil
	}
	live, err := p.o.Client.Get(ctx, it.ref(), kube.Patience{})
	if kube.IsUnserved(err) { // its version is what the definition is to bring
		live, err = nil, nil
	}
	if err != nil {
		return p.o.Client.Explain(ctx, it.ref(), err)
	}
	it.before = live
	return nil
}

// checkLate dry-runs what had to wait for its namespace or definition.
func (p *Plan) checkLate(ctx context.Context) []mistake {
	if mistakes := p.established(ctx); len(mistakes) > 0 || ctx.Err() != nil {
		return mistakes
	}
	return each(ctx, p, p.late, func(it *item) error {
		return p.observe(ctx, it, kube.WriteOptions{Fresh: true, Redefined: it.crd != nil && it.crd.live() != nil})
	})
}

// established waits until the definitions that late items need are served.
func (p *Plan) established(ctx context.Context) []mistake {
	kinds := map[schema.GroupVersionKind]bool{}
	var first []*item
	for _, it := range p.late {
		kind := it.object.GroupVersionKind()
		if it.crd != nil && !it.crd.serves() && !kinds[kind] {
			kinds[kind] = true
			first = append(first, it)
		}
	}
	return each(ctx, p, first, func(it *item) error {
		if err := p.establish(ctx, it); err != nil {
			return p.o.Client.Explain(ctx, it.crd.ref(), err)
		}
		return nil
	})
}

// establish polls the list of resources, which holds a custom resource as soon
// as its definition is established, and is far smaller than the definition.
func (p *Plan) establish(ctx context.Context, it *item) error {
	deadline := time.Now().Add(establishLimit)
	for wait := firstPoll; ; wait = min(2*wait, longPoll) {
		served, err := p.o.Client.Serves(ctx, it.object.GroupVersionKind(), it.resource)
		if served {
			return nil
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		if wait == longPoll || time.Now().After(deadline) {
			crd, err := p.o.Client.Get(ctx, it.crd.ref(), kube.Patience{})
			if err != nil {
				return err
			}
			reason, refused := notEstablished(crd)
			if refused || time.Now().After(deadline) {
				return it.crd.errorf("is not served: %s; correct the definition, or delete the one that has its names", reason)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// notEstablished says why a definition is not served, and whether that is final.
func notEstablished(crd *unstructured.Unstructured) (reason string, refused bool) {
	if crd == nil {
		return "it was deleted", true
	}
	if c, _ := object.ConditionOf(crd, "NamesAccepted"); c.Status == "False" {
		return redact.Phrase(c.Message), true
	}
	if c, _ := object.ConditionOf(crd, "Established"); c.Status == "False" {
		return redact.Phrase(c.Message), false
	}
	return fmt.Sprintf("it was not established within %s", establishLimit), false
}
