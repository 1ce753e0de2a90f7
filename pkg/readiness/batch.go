package readiness

import (
	"fmt"

	"github.com/org/deploy-model-action/pkg/object"
)

// job waits for a Job's end: a Job that has merely started proves nothing.
func job(v view) Result {
	done := fmt.Sprintf("%d of %d completed, %d active, %d failed",
		v.status("succeeded"), v.spec(1, "completions"), v.status("active"), v.status("failed"))
	if c, ok := v.condition("Complete"); ok && c.Status == "True" {
		return Result{Outcome: Ready, Message: done}
	}
	// FailureTarget comes first, while pods are still being stopped.
	for _, kind := range []string{"Failed", "FailureTarget"} {
		if c, ok := v.condition(kind); ok && c.Status == "True" {
			return failed(done, Failure{
				Reason: c.Reason, Cause: jobCause(v, c), Final: true,
				Fix: "correct the cause and deploy again: a Job that failed gives its place to one with another template; to run the same once more, delete it",
			})
		}
	}
	if object.Flag(v.live, "spec", "suspend") {
		return Result{Outcome: NotWaitedFor, Warning: "suspended: it runs nothing until somebody resumes it; not waited for"}
	}
	return Result{Message: done}
}

// jobCause is the controller's reason in words; pkg/controller/job names them.
func jobCause(v view, c object.Condition) string {
	switch c.Reason {
	case "BackoffLimitExceeded":
		return fmt.Sprintf("its pods failed more often than its backoffLimit of %d allows", v.spec(6, "backoffLimit"))
	case "DeadlineExceeded":
		return fmt.Sprintf("it ran longer than its activeDeadlineSeconds of %d", v.spec(0, "activeDeadlineSeconds"))
	case "":
		return "the Job failed"
	}
	return "the Job failed: " + because(c)
}

func cronJob(v view) Result {
	if object.Flag(v.live, "spec", "suspend") {
		return Result{Outcome: Ready, Message: "suspended", Warning: "suspended: it starts no Job until somebody resumes it"}
	}
	return Result{Outcome: Ready, Message: "scheduled " + line(object.Text(v.live, "spec", "schedule"))}
}

// pod takes a bare pod that is not restarted for a task, whose end counts.
func pod(v view) Result {
	policy := object.Text(v.live, "spec", "restartPolicy")
	task := policy == "Never" || policy == "OnFailure"
	ready, _ := v.condition("Ready")
	switch phase := object.Text(v.live, "status", "phase"); phase {
	case "Succeeded":
		return Result{Outcome: Ready, Message: "succeeded"}
	case "Failed":
		cause := "the pod failed"
		if reason := object.Text(v.live, "status", "reason"); reason != "" {
			cause += ": " + line(reason+": "+object.Text(v.live, "status", "message"))
		}
		return failed("failed", Failure{
			Reason: "PodFailed", Cause: cause, Final: true,
			Fix: "correct the cause and delete the pod: one that failed does not start again",
		})
	case "Running":
		if task {
			return Result{Message: "running; waiting for its end, as its restartPolicy is " + policy}
		}
		if ready.Status == "True" {
			return Result{Outcome: Ready, Message: "ready"}
		}
		return Result{Message: "running, not ready"}
	case "":
		return Result{Message: "pending"}
	default:
		return Result{Message: map[string]string{"Pending": "pending", "Unknown": "state unknown: its node does not answer"}[phase]}
	}
}
