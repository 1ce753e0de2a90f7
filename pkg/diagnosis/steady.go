package diagnosis

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/workload"
)

const (
	// startSlack is how much later than its kubelet writes a container may have
	// started: it writes seconds.
	startSlack = time.Second
	// lateSlack is how long a kubelet usually takes to write that one has started.
	// One that takes longer is behind: what it writes may be over already, and that it
	// is over will be written as late, for lateMost at most.
	lateSlack = 3 * time.Second
	lateMost  = 20 * time.Second
	// endMost is how long a pod's status may say that a container runs whose log has
	// ended: then it is believed again.
	endMost = 90 * time.Second
	// followLimit is how many containers of one object have their logs followed where a
	// kubelet is late; else it is one.
	followLimit = 3
)

// run is one run of a container that goes on.
type run struct {
	id       string
	observed time.Time // first, by this machine's clock
	started  time.Time // as the kubelet wrote it, by the cluster's clock
	written  time.Time // when it wrote what was observed first; zero if that is not known
}

// Steady reports whether every container of the new pods has run for a while
// without ending, and if nothing but time is missing for it, how much. A program
// without a probe is ready as soon as it starts, so that ready proves nothing.
//
// known is false if the pods may not be read, so that nobody can say.
func (e *Evidence) Steady(while time.Duration, now time.Time) (steady bool, left time.Duration, known bool) {
	if e.denied["pods"] != "" {
		return false, 0, false
	}
	pods := int64(0)
	for _, c := range e.candidates() {
		if c.earlier || c.succeeded() {
			continue
		}
		age, runs := e.age(c.podState, now)
		if !runs {
			return false, 0, true
		}
		pods++
		left = max(left, while-age)
	}
	if !e.listed || pods < e.renewed() || e.LogEnded(now) {
		return false, 0, true
	}
	return left <= 0, max(left, 0), true
}

// Running is a container that runs, as far as its pod's status says.
type Running struct {
	Pod       PodRef
	Container string
	ID        string // of this run
}

// Running are containers of the new pods that are to go on, few of them: one, or some
// where the kubelet is late with what it writes. They are others only when they have
// ended.
func (e *Evidence) Running() []Running {
	var all []Running
	limit := 1
	for _, c := range e.candidates() {
		if c.earlier || c.DeletionTimestamp != nil {
			continue
		}
		for _, status := range c.Status.ContainerStatuses {
			r, ok := c.runs[status.Name]
			if !ok || !c.goesOn(status.Name) || r.id == "" {
				continue
			}
			if r.written.Sub(r.started) > lateSlack {
				limit = followLimit
			}
			all = append(all, Running{PodRef{Namespace: c.Namespace, Name: c.Name, UID: c.UID}, status.Name, r.id})
		}
	}
	return all[:min(limit, len(all))]
}

// ObserveLogEnd takes in that the log of a run has ended.
func (e *Evidence) ObserveLogEnd(of Running, now time.Time) {
	if p := e.states[of.Pod.UID]; p != nil {
		if p.ended == nil {
			p.ended = map[string]time.Time{}
		}
		p.ended[of.ID] = now
	}
}

// LogEnded reports whether the log of a new pod's container has ended that runs as its
// status says, which then is about to change.
func (e *Evidence) LogEnded(now time.Time) bool {
	for _, c := range e.candidates() {
		for _, r := range c.runs {
			if at, ok := c.ended[r.id]; ok && !c.earlier && now.Sub(at) < endMost {
				return true
			}
		}
	}
	return false
}

// Relapsed reports whether a container of the pods waits to be started again, or was
// within a while, by this machine's clock: what has not crashed once is only new.
func (e *Evidence) Relapsed(while time.Duration, now time.Time) bool {
	for _, p := range e.states {
		if p.DeletionTimestamp != nil || p.Status.Phase != corev1.PodRunning {
			continue
		}
		for _, status := range p.statuses() {
			running := status.State.Running
			if status.RestartCount > 0 && p.goesOn(status.Name) && (running == nil || now.Sub(running.StartedAt.Time) < while) {
				return true
			}
		}
	}
	return false
}

// renewed is how many pods of the live revision a workload that is ready has.
func (e *Evidence) renewed() int64 {
	wanted := e.pods.Wanted
	switch {
	case e.pods.Kind == "Pod" && object.Text(e.object, "status", "phase") == "Succeeded":
		return 0
	case e.pods.Custom:
		return 0 // it may serve from none, or from more than its number says
	case e.pods.Kind != "StatefulSet":
		return wanted
	case object.Text(e.object, "spec", "updateStrategy", "type") == "OnDelete":
		return 0
	}
	return max(0, wanted-object.Number(e.object, 0, "spec", "updateStrategy", "rollingUpdate", "partition"))
}

// age is how long all containers of a pod have run by now, at least; runs is false
// if one does not.
func (e *Evidence) age(p *podState, now time.Time) (age time.Duration, runs bool) {
	age = now.Sub(time.Time{})
	for _, status := range p.statuses() {
		if !p.goesOn(status.Name) {
			continue
		}
		r, ok := p.runs[status.Name]
		if !ok {
			return 0, false
		}
		since, start := r.observed, r.started
		if late := r.written.Sub(start); late > lateSlack {
			since, start = since.Add(min(late, lateMost)), r.written.Add(min(late, lateMost))
		}
		// By the cluster's clock, for what ran before it was observed. A node whose
		// clock is behind would have started it before the pod was there.
		if started := e.clock.here(start.Add(startSlack)); started.Before(since) && !r.started.Before(p.CreationTimestamp.Add(-startSlack)) {
			since = started
		}
		age = min(age, now.Sub(since))
	}
	return age, len(p.runs) > 0
}

// goesOn reports whether a container is one that is not to end.
func (p *podState) goesOn(name string) bool {
	for _, c := range p.Spec.InitContainers {
		if c.Name == name {
			return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		}
	}
	return true
}

// observeRuns takes in which containers run.
func (p *podState) observeRuns(now time.Time) {
	runs, written := map[string]run{}, p.written()
	for _, status := range p.statuses() {
		if status.State.Running == nil {
			continue
		}
		r := run{id: status.ContainerID, observed: now, started: status.State.Running.StartedAt.Time, written: written}
		if known, ok := p.runs[status.Name]; ok && known.id == r.id && known.started.Equal(r.started) {
			r = known
		}
		runs[status.Name] = r
	}
	p.runs = runs
}

// written is when the kubelet last wrote the pod's status.
func (p *podState) written() time.Time {
	for _, entry := range p.ManagedFields {
		if entry.Manager == "kubelet" && entry.Subresource == "status" && entry.Time != nil {
			return entry.Time.Time
		}
	}
	return time.Time{}
}

// Mark remembers how often each container has restarted by now, for Crashed.
func (e *Evidence) Mark() {
	for _, p := range e.states {
		p.marked = map[string]int32{}
		for _, status := range p.statuses() {
			p.marked[status.Name] = status.RestartCount
		}
	}
}

// crashRules are those about a run that ended, in the order of containerRules.
var crashRules = []func(container) *Finding{outOfMemory, startFailedBefore, killedByProbe, endedByItself, exited}

// Crashed is how a container of the new pods ended since Mark, also if it runs again
// and that proves no failure of the rollout yet; nil if none did.
func (e *Evidence) Crashed() *Failure {
	for _, c := range e.candidates() {
		if c.earlier {
			continue
		}
		for _, status := range c.Status.ContainerStatuses {
			over := status.State.Terminated
			if over == nil && status.RestartCount > c.marked[status.Name] {
				over = status.LastTerminationState.Terminated
			}
			if over == nil {
				continue
			}
			ended := c.container(status, false)
			ended.crash = &crash{over: over, severity: EachPod}
			if status.RestartCount > 1 {
				ended.crash.times = fmt.Sprintf(", restarted %d times", status.RestartCount)
			}
			if found := first(crashRules, ended); found != nil {
				return e.failure(*found, c.podState)
			}
		}
	}
	return nil
}

// clock is what is known of the cluster's clock: it is ahead of this machine's by
// this much at least, or behind by this much at most.
type clock struct {
	ahead time.Duration
	known bool
}

// observe takes in an object that the server has sent: nothing is written on it
// in the future.
func (c *clock) observe(u *unstructured.Unstructured, now time.Time) {
	at := written(u, func(metav1.ManagedFieldsEntry) bool { return true })
	if at.IsZero() {
		at = u.GetCreationTimestamp().Time
	}
	if ahead := at.Sub(now); !at.IsZero() && (!c.known || ahead > c.ahead) {
		c.ahead, c.known = ahead, true
	}
}

// here is the latest moment by this machine's clock that a moment of the cluster's
// can be; far in the future if nothing is known.
func (c clock) here(at time.Time) time.Time {
	if !c.known {
		return at.AddDate(100, 0, 0)
	}
	return at.Add(-c.ahead)
}

// Serving are the pods of the live revision that are ready, and what the names of
// further ones begin with; nil if they are not known.
func (e *Evidence) Serving() (pods map[types.UID]bool, prefixes []string) {
	if !e.HasPods() || !e.listed {
		return nil, nil
	}
	pods = map[types.UID]bool{}
	for _, c := range e.candidates() {
		if !c.earlier && workload.Ready(c.Pod) {
			pods[c.UID] = true
		}
	}
	if set := e.revision.ReplicaSet(); set != nil {
		return pods, []string{set.GetName() + "-"}
	}
	return pods, []string{e.id.Name + "-"}
}

// Wanted is how many pods the object is to have.
func (e *Evidence) Wanted() int64 { return e.pods.Wanted }
