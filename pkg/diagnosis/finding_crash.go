package diagnosis

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// restartBudget is how many restarts a container of a new pod may have without
// being ready: a database that comes up a moment later costs one or two.
const restartBudget = 3

// crash is a run of a container that ended, and should not have.
type crash struct {
	over     *corev1.ContainerStateTerminated
	severity Severity
	times    string // ", restarted 3 times"
}

// crashOf finds the run that counts; nil if there is none.
func crashOf(c container) *crash {
	over, last := c.status.State.Terminated, c.status.LastTerminationState.Terminated
	ended := over
	if ended == nil {
		ended = last
	}
	found := crash{severity: c.loops()}
	switch {
	case c.waits("CrashLoopBackOff"):
		found.over = last
	case over != nil && over.ExitCode == 0 && (c.init || c.pod.kind == "Job"):
		return nil // that is its purpose
	case ended != nil && !c.status.Ready && c.loops() == EachPod:
		found.over, found.severity = ended, EachPod
	case over != nil && over.ExitCode != 0:
		found.over, found.severity = over, EachPod
		if c.pod.kind != "Pod" || c.pod.Status.Phase != corev1.PodFailed {
			found.severity = Transient // it is started again, or another pod is
		}
	}
	if found.over == nil {
		return nil
	}
	if c.pod.kind == "Job" {
		// It counts its own retries, and fails by itself.
		found.severity = Transient
	}
	if c.status.RestartCount > 1 {
		found.times = fmt.Sprintf(", restarted %d times", c.status.RestartCount)
	}
	return &found
}

// loops is how much it proves that a container keeps crashing: until it has used up
// its restarts, what it waits for may still come.
func (c container) loops() Severity {
	if c.status.RestartCount-c.pod.baseline[c.status.Name] >= restartBudget {
		return EachPod
	}
	return Persistent
}

// keepsCrashing is a crash loop of which no run is kept.
func keepsCrashing(c container) *Finding {
	if !c.waits("CrashLoopBackOff") || c.crash != nil {
		return nil
	}
	return c.found(Finding{Severity: c.loops(), Reason: c.waiting.Reason, Cause: c.name + " keeps crashing", Fix: "read its log", State: c.waiting.Reason})
}

func outOfMemory(c container) *Finding {
	if c.crash == nil || c.crash.over.Reason != "OOMKilled" {
		return nil
	}
	f := Finding{
		Severity: c.crash.severity, Reason: "OOMKilled", State: "exit",
		Cause: fmt.Sprintf("%s ran out of memory: it has no limit of its own, and the node or the pod had no more%s", c.name, c.crash.times),
		Fix:   "set resources.requests.memory to what it needs, so that it is placed on a node that has it",
	}
	if c.spec != nil {
		if limit, ok := c.spec.Resources.Limits[corev1.ResourceMemory]; ok {
			f.Cause = fmt.Sprintf("%s ran out of memory: it was killed at its limit of %s%s", c.name, limit.String(), c.crash.times)
			f.Fix = "raise resources.limits.memory, or load a smaller model"
		}
	}
	return c.found(f)
}

// startFailedBefore is startFailed after the restart: a command that the image does
// not have is not there the next time.
func startFailedBefore(c container) *Finding {
	if c.crash == nil || c.crash.over.Reason != "StartError" && c.crash.over.Reason != "ContainerCannotRun" {
		return nil
	}
	severity := c.crash.severity
	if c.waits("CrashLoopBackOff") && c.pod.kind != "Job" {
		severity = EachPod
	}
	return c.cannotStart(severity, "CrashLoopBackOff", line(c.crash.over.Message))
}

func killedByProbe(c container) *Finding {
	if c.crash == nil {
		return nil
	}
	for _, kind := range []string{"Liveness", "Startup"} {
		if !c.killedBy(kind) {
			continue
		}
		cause := fmt.Sprintf("%s is killed by its %s probe%s", c.name, strings.ToLower(kind), c.crash.times)
		if answer := c.pod.probeAnswer(c.status.Name, kind); answer != "" {
			cause += ", which answered: " + answer
		}
		return c.found(Finding{
			Severity: c.crash.severity, Reason: kind + "ProbeFailed", Cause: cause, State: "exit",
			Fix: "correct the probe's path and port, or give the container more time with a startupProbe",
		})
	}
	return nil
}

// killedBy reports whether the kubelet ended the run because of a probe. A program
// that stops when it is told to ends with exit code 0, so the code does not say.
func (c container) killedBy(kind string) bool {
	over := c.crash.over
	for _, e := range c.pod.events {
		// pkg/kubelet/kuberuntime/kuberuntime_manager.go
		if e.Reason == "Killing" && e.Container == c.status.Name && !e.Last.Before(over.StartedAt.Time) &&
			strings.Contains(e.Message, "failed "+strings.ToLower(kind)+" probe") {
			return true
		}
	}
	// The kubelet sends its events one after the other, on a busy node seconds late,
	// and of a pod that has many it leaves some out.
	answer := c.pod.probeAnswer(c.status.Name, kind)
	switch over.ExitCode {
	case 137, 143:
		return answer != ""
	case 0:
		// A server that answered badly and stopped was told to. One that did not listen
		// yet may have ended, and while a model loads its startup probe fails anyway.
		return kind == "Liveness" && answer != "" && !strings.Contains(answer, "dial ")
	}
	return false
}

// How long, and how often, events are read for the one that says who ended a program
// which ended well: a busy kubelet sends it seconds after the last restart.
const (
	lateEvents = 5 * time.Second
	nextEvents = 500 * time.Millisecond
)

// deciding is the container that a failure is about, as if it were not ready: it may
// run again by now. nil if it is none of a pod.
func (e *Evidence) deciding(f *Failure) *container {
	for _, p := range e.states {
		for _, status := range p.Status.ContainerStatuses {
			if f.Pod != "" && p.Name == f.Pod && status.Name == f.Container {
				status.Ready = false
				c := p.container(status, false)
				return &c
			}
		}
	}
	return nil
}

// unexplained reports whether a probe may have ended the container that decided, and
// no event says so yet.
func (e *Evidence) unexplained(f *Failure) bool {
	if f.Reason != "CrashLoopBackOff" || e.denied["events"] != "" {
		return false
	}
	c := e.deciding(f)
	return c != nil && c.spec != nil && (c.spec.LivenessProbe != nil || c.spec.StartupProbe != nil) &&
		c.crash != nil && c.crash.over.ExitCode == 0 && killedByProbe(*c) == nil
}

// reconsider finds that it was a probe that ended the container which decided: the
// event that says so may come after the restart that was one too many, when the
// container already runs again.
func (e *Evidence) reconsider(f *Failure) {
	if f.Reason != "CrashLoopBackOff" { // any other reason has its proof
		return
	}
	if c := e.deciding(f); c != nil {
		if found := killedByProbe(*c); found != nil {
			f.Reason, f.Cause, f.Fix = found.Reason, found.Cause, found.Fix
		}
	}
}

func endedByItself(c container) *Finding {
	if c.crash == nil || c.crash.over.ExitCode != 0 {
		return nil
	}
	return c.found(Finding{
		Severity: c.crash.severity, Reason: "CrashLoopBackOff", State: "exit",
		Cause: fmt.Sprintf("%s ends by itself with exit code 0%s", c.name, c.crash.times),
		Fix:   "keep the server in the foreground: the command must not return",
	})
}

func exited(c container) *Finding {
	if c.crash == nil {
		return nil
	}
	over, message := c.crash.over, ""
	if over.Message != "" {
		message = ": " + line(over.Message)
	}
	return c.found(Finding{
		Severity: c.crash.severity, Reason: "CrashLoopBackOff", State: "exit",
		Cause: fmt.Sprintf("%s crashed with exit code %d%s%s%s", c.name, over.ExitCode, meaning(over.ExitCode), c.crash.times, message),
		Fix:   "read its log for the reason",
	})
}

// meaning explains the exit codes that shells and signals give.
func meaning(code int32) string {
	switch code {
	case 126:
		return " (the command cannot be executed)"
	case 127:
		return " (command not found)"
	case 132:
		return " (illegal instruction: built for another processor)"
	case 134:
		return " (aborted)"
	case 137:
		return " (killed)"
	case 139:
		return " (segmentation fault)"
	case 143:
		return " (terminated)"
	}
	return ""
}
