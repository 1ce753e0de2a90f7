package readiness

import (
	"fmt"

	"github.com/org/deploy-model-action/pkg/object"
)

// readyWhen waits for what the object's annotation asks for. Of the rule of its
// kind only a failure counts: who writes the annotation knows better when it is ready.
func readyWhen(v view, e object.Expression, rule func(view) Result) Result {
	if v.stale() {
		return notObserved
	}
	holds, found := e.Holds(v.live.Object)
	if holds && v.asBefore() {
		return Result{Message: notObserved.Message, RecheckAfter: grace - v.Elapsed} // it may be what held before
	}
	if holds {
		return Result{Outcome: Ready, Message: line(e.String())}
	}
	if rule != nil {
		if r := rule(v); r.Outcome == Failed {
			return r
		}
	}
	if found == "" {
		return Result{Message: fmt.Sprintf("waiting for %s: nothing is there yet", line(e.String()))}
	}
	return Result{Message: fmt.Sprintf("waiting for %s: it is %s", line(e.String()), line(found))}
}
