package readiness

import (
	"fmt"
	"strings"

	"github.com/org/deploy-model-action/pkg/object"
)

// argo evaluates a Rollout of Argo Rollouts by the phase that its controller
// computes, as utils/rollout/rolloututil.go reads it: only if it is about the
// generation that counts, which is written as a string.
func argo(v view) Result {
	if object.Flag(v.live, "spec", "paused") {
		return failed("paused", v.argoHalted())
	}
	if r, ok := v.unobserved(); ok {
		return r
	}
	// Its template may be that of a Deployment, whose generation it copies.
	if workload := v.live.GetAnnotations()["rollout.argoproj.io/workload-generation"]; workload != "" &&
		object.Map(v.live.Object, "spec", "workloadRef") != nil && object.Text(v.live, "status", "workloadObservedGeneration") != workload {
		return notObserved
	}
	message := v.argoMessage()
	switch phase := object.Text(v.live, "status", "phase"); phase {
	case "Healthy":
		return Result{Outcome: Ready, Message: message}
	case "Paused":
		return v.argoPaused(message)
	case "Degraded":
		return v.argoDegraded(message)
	case "":
		return Result{Message: "waiting for its phase"}
	default:
		return Result{Message: line(strings.ToLower(phase)) + ": " + message}
	}
}

// argoHalted is why no change reaches the pods of a Rollout that is paused.
func (v view) argoHalted() Failure {
	return Failure{
		Reason: "Paused", Cause: "it is paused: its pods stay as they are", Final: true,
		Fix: fmt.Sprintf("resume it: take spec.paused out of the manifest, or `kubectl patch rollout %s --namespace=%s --type=merge -p '{\"spec\":{\"paused\":false}}'`", v.live.GetName(), v.live.GetNamespace()),
	}
}

// argoMessage is what is there, and what the controller says of it.
func (v view) argoMessage() string {
	text := fmt.Sprintf("%d of %d updated, %d ready, %d available", v.status("updatedReplicas"), v.spec(1, "replicas"), v.status("readyReplicas"), v.status("availableReplicas"))
	if steps := object.List(v.live.Object, "spec", "strategy", "canary", "steps"); len(steps) > 0 {
		text += fmt.Sprintf(", %d of %d steps done", min(v.status("currentStepIndex"), int64(len(steps))), len(steps))
	}
	if said := object.Text(v.live, "status", "message"); said != "" {
		text += "; " + line(said)
	}
	return text
}

// argoPaused takes a pause that ends by itself for progress. One that waits for a
// person is what the manifest asks for, and nothing that a job could wait for.
func (v view) argoPaused(message string) Result {
	reason := object.Text(v.live, "status", "message")
	for _, item := range object.List(v.live.Object, "status", "pauseConditions") {
		m, _ := item.(map[string]any)
		if text, _ := m["reason"].(string); text != "" {
			reason = text
		}
	}
	if strings.HasPrefix(reason, "Inconclusive") {
		return failed(message, Failure{
			Reason: line(reason), Cause: "its analysis came to no conclusion, and it is paused", Lasting: true,
			Fix: fmt.Sprintf("look at its AnalysisRun, then `kubectl argo rollouts promote %[1]s` or `abort %[1]s`", v.live.GetName()),
		})
	}
	if v.argoPauseEnds() {
		return Result{Message: "paused (" + line(reason) + "): " + message}
	}
	return Result{Outcome: NotWaitedFor, Warning: fmt.Sprintf(
		"paused (%s) until somebody promotes it, with `kubectl argo rollouts promote %s --namespace=%s`: until then the new revision serves a part at most; not waited for",
		line(reason), v.live.GetName(), v.live.GetNamespace())}
}

// argoPauseEnds reports whether the present pause has a duration.
func (v view) argoPauseEnds() bool {
	if bluegreen := object.Map(v.live.Object, "spec", "strategy", "blueGreen"); bluegreen != nil {
		return bluegreen["autoPromotionSeconds"] != nil
	}
	steps := object.List(v.live.Object, "spec", "strategy", "canary", "steps")
	i := v.status("currentStepIndex")
	if i < 0 || i >= int64(len(steps)) {
		return true // between two steps
	}
	step, _ := steps[i].(map[string]any)
	pause, isPause := step["pause"].(map[string]any)
	return !isPause || pause["duration"] != nil
}

// argoDegraded tells what ended from what may come back: a Rollout that was aborted
// stays so, one whose pods need longer than its deadline becomes healthy with them,
// and a reference that is missing may have been written a moment later.
func (v view) argoDegraded(message string) Result {
	said := line(object.Text(v.live, "status", "message"))
	reason, _, ok := strings.Cut(said, ":")
	if !ok || strings.Contains(reason, " ") {
		reason = "Degraded"
	}
	f := Failure{Reason: reason, Cause: saying("Argo Rollouts says that it is degraded", said), Fix: "correct what the message says", Lasting: true}
	switch {
	case object.Flag(v.live, "status", "abort"):
		f.Lasting, f.Cause = false, saying("Argo Rollouts aborted it", said)
		f.Fix = "look at its pods and its AnalysisRuns; what was stable serves on"
	case reason == "ProgressDeadlineExceeded":
		f.AtTimeout = true
		f.Fix = "look at its pods and events, or raise progressDeadlineSeconds if they need longer"
	}
	return failed(message, f)
}
