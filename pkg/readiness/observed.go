package readiness

import (
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/org/deploy-model-action/pkg/object"
)

// unobserved is the result as long as a status may be about an earlier generation,
// or there is none. It is for kinds whose controllers are known to write one.
func (v view) unobserved() (Result, bool) {
	switch {
	case len(object.Map(v.live.Object, "status")) == 0:
		return Result{Message: "waiting for a first status from its controller"}, true
	case v.stale():
		return notObserved, true
	case v.asBefore():
		return Result{Message: notObserved.Message, RecheckAfter: grace - v.Elapsed}, true
	}
	return Result{}, false
}

// dated reports whether a status says of which generation it is.
func (v view) dated() bool {
	if _, ok := v.observedGeneration(); ok {
		return true
	}
	return slices.ContainsFunc(object.Conditions(v.live), func(c object.Condition) bool { return c.Generation != 0 })
}

// observedGeneration is the generation that the status says it is about. Argo
// Rollouts writes it as a string; before its version 0.10 that was a hash.
func (v view) observedGeneration() (int64, bool) {
	switch n := object.Map(v.live.Object, "status")["observedGeneration"].(type) {
	case int64:
		return n, true
	case string:
		number, err := strconv.ParseInt(n, 10, 64)
		return number, err == nil
	}
	return 0, false
}

// stale reports whether the status says that it is about an earlier generation.
func (v view) stale() bool {
	n, ok := v.observedGeneration()
	return ok && n < v.generation()
}

// asBefore reports whether the status is the one that was there when the object
// was written, does not say of which generation it is, and was not left alone long
// enough to be an answer.
func (v view) asBefore() bool {
	return v.Changed && v.Elapsed < grace && !v.dated() && v.asApplied()
}

// asApplied reports whether the status is still the one that was there when the
// object was written.
func (v view) asApplied() bool {
	then := v.applied()
	return len(then) > 0 && equality.Semantic.DeepEqual(object.Map(v.live.Object, "status"), then)
}

// ready evaluates the condition Ready of the generation that counts. What it
// waits for is in the conditions besides it.
func (v view) ready() Result {
	c, ok := v.condition("Ready")
	switch {
	case !ok:
		return Result{Message: "waiting for its condition Ready"}
	case !c.About(v.generation()):
		return notObserved
	case c.Status == "True":
		return Result{Outcome: Ready, Message: "ready"}
	}
	var all []string
	for _, c := range object.Conditions(v.live) {
		if c.Type != "Ready" && c.Status == "False" && c.Reason+c.Message != "" {
			all = append(all, line(c.Type)+": "+because(c))
		}
	}
	if len(all) == 0 {
		all = append(all, because(c))
	}
	return Result{Message: strings.TrimSuffix("not ready yet: "+object.JoinFirst(all), ": ")}
}
