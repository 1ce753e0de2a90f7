package rollout

import "fmt"

// jobState waits for a Job's end: a Job that has merely started proves nothing.
func jobState(v view) state {
	done := fmt.Sprintf("%d of %d completed, %d active, %d failed",
		v.status("succeeded"), v.spec(1, "completions"), v.status("active"), v.status("failed"))
	if c, ok := v.condition("Complete"); ok && c.status == "True" {
		return state{ready: true, message: done}
	}
	// FailureTarget comes first, while pods are still being stopped.
	for _, kind := range []string{"Failed", "FailureTarget"} {
		if c, ok := v.condition(kind); ok && c.status == "True" {
			return state{message: done, final: true, failure: v.fail(c.reason, jobCause(v, c),
				"correct the cause, and give the Job a new name or delete it: a Job that failed does not start again")}
		}
	}
	if v.flag("spec", "suspend") {
		return state{skip: true, warning: "suspended: it runs nothing until somebody resumes it; not waited for"}
	}
	return state{message: done}
}

// jobCause is the controller's reason in words; pkg/controller/job names them.
func jobCause(v view, c condition) string {
	switch c.reason {
	case "BackoffLimitExceeded":
		return fmt.Sprintf("its pods failed more often than its backoffLimit of %d allows", v.spec(6, "backoffLimit"))
	case "DeadlineExceeded":
		return fmt.Sprintf("it ran longer than its activeDeadlineSeconds of %d", v.spec(0, "activeDeadlineSeconds"))
	case "":
		return "the Job failed"
	}
	return "the Job failed: " + c.because()
}

func cronJobState(v view) state {
	if v.flag("spec", "suspend") {
		return state{ready: true, message: "suspended", warning: "suspended: it starts no Job until somebody resumes it"}
	}
	return state{ready: true, message: "scheduled " + clean(v.text("spec", "schedule"), phraseLimit)}
}

// podState takes a bare pod that is not restarted for a task, whose end counts.
func podState(v view) state {
	policy := v.text("spec", "restartPolicy")
	task := policy == "Never" || policy == "OnFailure"
	ready, _ := v.condition("Ready")
	switch phase := v.text("status", "phase"); phase {
	case "Succeeded":
		return state{ready: true, message: "succeeded"}
	case "Failed":
		cause := "the pod failed"
		if reason := v.text("status", "reason"); reason != "" {
			cause += ": " + clean(reason+": "+v.text("status", "message"), phraseLimit)
		}
		return state{message: "failed", final: true, failure: v.fail("PodFailed", cause,
			"correct the cause and delete the pod: one that failed does not start again")}
	case "Running":
		if task {
			return state{message: "running; waiting for its end, as its restartPolicy is " + policy}
		}
		if ready.status == "True" {
			return state{ready: true, message: "ready"}
		}
		return state{message: "running, not ready"}
	case "":
		return state{message: "pending"}
	default:
		return state{message: map[string]string{"Pending": "pending", "Unknown": "state unknown: its node does not answer"}[phase]}
	}
}
