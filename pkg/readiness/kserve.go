package readiness

import (
	"fmt"
	"strings"
	"time"

	"github.com/org/deploy-model-action/pkg/object"
)

// patience is how long is waited for an answer that may never come, by the nature
// of its kind.
const patience = time.Minute

// inference evaluates KServe's kinds by their condition Ready and, of an
// InferenceService, by what it says of its model.
func inference(v view) Result {
	if c, ok := v.condition("Stopped"); ok && c.Status == "True" {
		return Result{Outcome: NotWaitedFor, Warning: "stopped, as its annotation serving.kserve.io/stop asks: nothing serves; not waited for"}
	}
	if r, ok := v.modelFailure(); ok {
		return r
	}
	if r, ok := v.unobserved(); ok {
		return v.componentGeneration(r)
	}
	r := v.ready()
	if r.Outcome != Ready {
		return r
	}
	switch state := object.Text(v.live, "status", "modelStatus", "transitionStatus"); state {
	case "", "UpToDate":
	default:
		return Result{Message: "the earlier model serves; of the new one: " + line(state+" "+object.Text(v.live, "status", "modelStatus", "states", "targetModelState"))}
	}
	return r
}

// componentGeneration goes on from a status that is about an earlier generation.
// KServe writes there the generation of the Deployment or Knative Service that it
// makes (PropagateRawStatus, PropagateStatus in inference_service_status.go), and
// that need not grow with its own: what stays behind and is ready proves nothing.
func (v view) componentGeneration(r Result) Result {
	if !v.stale() || v.ready().Outcome != Ready {
		return r
	}
	if left := patience - v.Elapsed; v.Changed && left > 0 {
		return Result{Message: r.Message, RecheckAfter: left}
	}
	n, _ := v.observedGeneration()
	return Result{Outcome: NotWaitedFor, Warning: fmt.Sprintf(
		"it says that it is ready, of its generation %d and not of %d: whether the new one serves is not known; not waited for any longer", n, v.generation())}
}

// modelFailure is what KServe says of a specification that no time heals by itself.
// A model that fails to load is started again: its pods say why.
func (v view) modelFailure() (Result, bool) {
	if object.Text(v.live, "status", "modelStatus", "transitionStatus") != "InvalidSpec" || v.asBefore() {
		return Result{}, false
	}
	reason := object.Text(v.live, "status", "modelStatus", "lastFailureInfo", "reason")
	message := object.Text(v.live, "status", "modelStatus", "lastFailureInfo", "message")
	if reason == "" {
		reason = "InvalidSpec"
	}
	return failed("its specification is not valid", Failure{
		Reason: line(reason), Cause: strings.TrimSuffix("KServe cannot serve it: "+because(object.Condition{Reason: reason, Message: message}), "."),
		Fix: "correct the predictor, or install the serving runtime that it names", Lasting: true,
	}), true
}

// knative evaluates a Service of Knative. Its condition Ready is Unknown as long as
// something is under way, and False when it has come to an end that is not the
// wanted one; from some of those it comes back when its pods are started again.
func knative(v view) Result {
	if r, ok := v.unobserved(); ok {
		return r
	}
	r := v.ready()
	if c, _ := v.condition("Ready"); c.Status == "False" && c.About(v.generation()) {
		return failed(r.Message, Failure{
			Reason: line(c.Reason), Cause: saying("Knative says that it failed", because(c)),
			Fix: "correct what the message says", Lasting: true,
		})
	}
	return r
}
