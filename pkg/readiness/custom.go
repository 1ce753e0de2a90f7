package readiness

import (
	"slices"
	"strconv"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/org/deploy-model-action/pkg/object"
)

// grace is how long a custom resource that was written may take until its
// controller writes a status, if that does not say of which generation it is.
// What is there by then is taken for the answer, also if it is nothing.
const grace = 5 * time.Second

func definition(v view) Result {
	names, _ := v.condition("NamesAccepted")
	if names.Status == "False" {
		return failed("its names are not accepted", Failure{
			Reason: "NamesNotAccepted", Cause: "its names are not accepted: " + because(names),
			Fix: "choose names that no other CustomResourceDefinition uses",
		})
	}
	if c, _ := v.condition("Established"); c.Status == "True" {
		return Result{Outcome: Ready, Message: "established"}
	}
	return Result{Message: "waiting to be established"}
}

// dated reports whether a status says of which generation it is.
func (v view) dated() bool {
	if _, ok := v.observedGeneration(); ok {
		return true
	}
	return slices.ContainsFunc(object.Conditions(v.live), func(c object.Condition) bool { return c.Generation != 0 })
}

// observedGeneration is the generation that the status says it is about. Argo
// Rollouts writes it as a string.
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

// asApplied reports whether the status is still the one that was there when the
// object was written.
func (v view) asApplied() bool {
	return equality.Semantic.DeepEqual(object.Map(v.live.Object, "status"), v.applied())
}

// custom evaluates custom resources and unknown kinds by what their
// controllers have agreed on: observedGeneration, and the conditions Ready,
// Reconciling and Stalled.
func custom(v view) Result {
	has := object.Map(v.live.Object, "status")
	if len(has) == 0 {
		if left := grace - v.Elapsed; v.Changed && left > 0 {
			return Result{Message: "waiting for a first status", RecheckAfter: left}
		}
		return Result{Outcome: Ready, Message: "has no status"}
	}
	if c, ok := v.condition("Ready"); ok && !c.About(v.generation()) {
		return notObserved
	}
	if left := grace - v.Elapsed; v.Changed && left > 0 && !v.dated() && v.asApplied() {
		return Result{Message: notObserved.Message, RecheckAfter: left}
	}
	result, err := status.Compute(v.live)
	if err != nil {
		// A status of a shape of its own says nothing that could be waited for.
		return Result{Outcome: Ready, Message: "its status cannot be read: " + line(err.Error())}
	}
	message := line(result.Message)
	switch result.Status {
	case status.CurrentStatus:
		return Result{Outcome: Ready, Message: "ready"}
	case status.FailedStatus:
		return failed(message, Failure{Reason: "Stalled", Cause: "its controller gave up: " + message, Fix: "correct it as the message asks"})
	}
	if message == "" {
		message = "in progress"
	}
	return Result{Message: message}
}
