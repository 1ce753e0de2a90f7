package readiness

import (
	"fmt"

	"github.com/org/deploy-model-action/pkg/object"
)

// jobSet waits for the end of all its Jobs. Until one of the conditions Completed
// and Failed is there, it restarts what fails as its failurePolicy allows.
func jobSet(v view) Result {
	var ready, succeeded, failedJobs, all int64
	for _, item := range object.List(v.live.Object, "spec", "replicatedJobs") {
		m, _ := item.(map[string]any)
		n, ok := m["replicas"].(int64)
		if !ok {
			n = 1
		}
		all += n
	}
	for _, item := range object.List(v.live.Object, "status", "replicatedJobsStatus") {
		m, _ := item.(map[string]any)
		for field, sum := range map[string]*int64{"ready": &ready, "succeeded": &succeeded, "failed": &failedJobs} {
			n, _ := m[field].(int64)
			*sum += n
		}
	}
	message := fmt.Sprintf("%d of %d Jobs succeeded, %d ready, %d failed, %s", succeeded, all, ready, failedJobs, countOf(v.status("restarts"), "restart"))
	if v.asBefore() {
		return Result{Message: notObserved.Message, RecheckAfter: grace - v.Elapsed}
	}
	if c, ok := v.condition("Failed"); ok && c.Status == "True" && c.About(v.generation()) {
		return failed(message, Failure{
			Reason: line(c.Reason), Cause: saying("the JobSet failed", because(c)), Final: true,
			Fix: "correct the cause, and give the JobSet a new name or delete it: one that failed does not start again",
		})
	}
	if c, ok := v.condition("Completed"); ok && c.Status == "True" && c.About(v.generation()) {
		return Result{Outcome: Ready, Message: message}
	}
	if object.Flag(v.live, "spec", "suspend") {
		return Result{Outcome: NotWaitedFor, Warning: "suspended: it runs nothing until somebody resumes it; not waited for"}
	}
	return Result{Message: message}
}
