package kube

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/retry"
)

const (
	// lookAgain is the time to find out what became of a write whose answer never
	// came, also when the budget of the run is spent.
	lookAgain = 15 * time.Second
	// lastLook is the same for a write that ctx ended: a little longer than the
	// write itself has.
	lastLook = lastWords + 500*time.Millisecond
)

// lookAgain reads the object after a write whose answer never came, with a budget
// of its own: that of the run may be what the write spent.
func (w *Write) lookAgain(ctx context.Context) (*unstructured.Unstructured, error) {
	own := *w.client
	limit := min(lookAgain, own.limit)
	own.budget = retry.NewBudget(limit)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return w.get(ctx, &own)
}

// landed reports whether an object is what the decision was to make of it.
func (d decision) landed(live *unstructured.Unstructured) bool {
	if live == nil || d.before != nil && live.GetResourceVersion() == d.before.GetResourceVersion() {
		return false
	}
	if sent := runOf(d.body); sent != "" && runOf(live) != sent {
		return false
	} else if sent != "" && runOf(d.before) != sent {
		return true // nobody else writes this mark
	}
	return d.expected != nil && equalBut(live.Object, d.expected.Object, "metadata", "status") &&
		equalAnnotations(live.Object, d.expected.Object, d.mark)
}

// runOf is the run that marked an object; "" for none.
func runOf(u *unstructured.Unstructured) string {
	if u == nil {
		return ""
	}
	return u.GetAnnotations()[object.RunAnnotation]
}

// uncertain is what is known of a write that nobody could ask after.
func (w *Write) uncertain(d decision) Change {
	after := d.expected
	if after == nil {
		after = d.body
	}
	return Change{Ref: w.about.Ref, Before: d.before, After: after, Action: Uncertain, Started: w.started, Took: time.Since(w.started)}
}
