package readiness

import (
	"fmt"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
)

// grace is how long a custom resource that was written may take until its
// controller writes a status, if that does not say of which generation it is.
// What is there by then is taken for the answer.
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

// custom evaluates kinds that are not known here by what controllers have agreed
// on: observedGeneration, and the conditions Ready, Reconciling and Stalled. That
// its controller has observed an object is no evidence that it is ready: only a
// condition Ready is. A kind that has none is not waited for, and said so.
func custom(v view) Result {
	left := grace - v.Elapsed
	waitable := v.Changed && left > 0
	switch {
	case len(object.Map(v.live.Object, "status")) == 0 && waitable:
		return Result{Message: "waiting for a first status", RecheckAfter: left}
	case v.stale():
		return notObserved
	case v.asBefore():
		return Result{Message: notObserved.Message, RecheckAfter: left}
	}
	ready, hasReady := v.condition("Ready")
	result, err := status.Compute(v.live)
	switch {
	case err == nil && result.Status == status.FailedStatus:
		message := line(result.Message)
		return failed(message, Failure{Reason: "Stalled", Cause: "its controller gave up: " + message, Fix: "correct it as the message asks"})
	case hasReady && (!ready.About(v.generation()) || ready.Status != "True"):
		return v.ready()
	case err == nil && result.Status != status.CurrentStatus:
		if result.Message == "" {
			return Result{Message: "in progress"}
		}
		return Result{Message: line(result.Message)}
	case hasReady:
		return Result{Outcome: Ready, Message: "ready"}
	case v.hadReady():
		return Result{Message: "waiting for its condition Ready"}
	case waitable:
		return Result{Message: "waiting for a condition Ready", RecheckAfter: left}
	}
	return Result{Outcome: NotWaitedFor, Warning: fmt.Sprintf(
		"not waited for: its status has no condition Ready, so that nobody knows when it is; say it with the annotation %s, or %s: \"false\"",
		object.ReadyWhenAnnotation, object.WaitAnnotation)}
}

// hadReady reports whether the object had a condition Ready before, so that its
// controller is one that writes it.
func (v view) hadReady() bool {
	for _, u := range []*unstructured.Unstructured{v.Before, v.Applied} {
		if u != nil {
			if _, ok := object.ConditionOf(u, "Ready"); ok {
				return true
			}
		}
	}
	return false
}

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
