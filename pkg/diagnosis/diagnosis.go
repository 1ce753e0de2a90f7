// Package diagnosis says why an object is not ready, and what to do about it, in
// words that a user of the cluster understands. Evidence is what others observed:
// pods, ReplicaSets, events; Evaluate looks at it and is pure. What is wrong with
// a pod or a container is found by rules, small functions that are tried in order,
// each with its place in the source of the kubelet or the controller.
//
// Only Explain asks the cluster, for the logs and late events of a failure that is
// certain. Whether an object is ready is left to readiness, waiting to rollout.
package diagnosis

import (
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/pkg/workload"
)

// defaultPersist is how long a state has to last until it proves a failure.
const defaultPersist = 60 * time.Second

// Options say how to weigh evidence.
type Options struct {
	// Persist is how long a state has to last until it proves a failure. The default is 60 seconds.
	Persist time.Duration
}

// Result is what the evidence shows.
type Result struct {
	// Failure is certain now: what has to persist did. Its events and logs are not
	// in it yet.
	Failure *Failure
	// Waiting is what the pods wait for, and Unknown why that is not known; "" if
	// there is nothing to say.
	Waiting, Unknown string
	// Ready counts the pods of the live revision that are ready, and Earlier those of
	// revisions before it, which the workload's own status counts as ready too.
	Ready, Earlier int
	// Warning is to be shown at once, and once for each WarningState.
	Warning, WarningState string
	// RecheckAfter is when persistence may make another result of the same
	// evidence; 0: never.
	RecheckAfter time.Duration
}

// Evaluate weighs what was observed so far.
//
// A state fails the rollout in one of three ways: at once and on any pod, if no
// time can heal it; at once on every new pod, if it used up its error budget; or
// on every new pod after it lasted. Everything else is only reported.
func Evaluate(e *Evidence, now time.Time, o Options) Result {
	if o.Persist <= 0 {
		o.Persist = defaultPersist
	}
	if !e.HasPods() {
		return Result{}
	}
	pods := e.candidates()
	r := Result{Waiting: e.waiting(pods), Unknown: e.denied["pods"]}
	r.Ready, r.Earlier = e.ready()
	r.Warning, r.WarningState = e.warning(pods)
	c, ok, left := e.decide(pods, now, o)
	if ok {
		r.Failure = e.failure(c.Finding, c.podState)
		return r
	}
	r.RecheckAfter = left
	refusal := e.refusal()
	if refusal.Severity != Healthy {
		r.Waiting = refusal.Cause
	}
	if refusal.Severity < Persistent || refusal.Freed && e.ending() {
		return r
	}
	left = e.refusedSince.Add(o.Persist).Sub(now)
	switch {
	case left <= 0:
		r.Failure = e.failure(refusal, nil)
	case r.RecheckAfter == 0 || left < r.RecheckAfter:
		r.RecheckAfter = left
	}
	return r
}

// decide applies the severities to the pods. It returns the one that decides, or
// when to look again.
func (e *Evidence) decide(pods []candidate, now time.Time, o Options) (decides candidate, ok bool, recheck time.Duration) {
	sameImage := map[string]int{}
	for _, c := range pods {
		if c.Severity == Fatal {
			sameImage[c.Image]++
		}
	}
	tasks := map[string]*task{} // by the role of their pods; of most workloads there is one
	for _, c := range pods {
		of := tasks[c.role(e)]
		if of == nil {
			of = &task{}
			tasks[c.role(e)] = of
		}
		of.pods++
		lasts := c.Lasts
		switch c.Severity {
		case Healthy, Transient:
			continue
		case Persistent:
			lasts = o.Persist
		case Fatal:
			if sameImage[c.Image] > 1 {
				lasts = 0 // another pod's attempt had the same answer
			}
		}
		if left := c.since.Add(lasts).Sub(now); lasts > 0 && left > 0 {
			if recheck == 0 || left < recheck {
				recheck = left
			}
			continue
		}
		if c.Severity == Fatal {
			return c, true, 0
		}
		of.confirmed++
		if of.worst.podState == nil || c.Severity > of.worst.Severity {
			of.worst = c
		}
	}
	for _, role := range slices.Sorted(maps.Keys(tasks)) {
		of := tasks[role]
		if of.confirmed > 0 && of.confirmed >= e.threshold(of.pods) && (!ok || of.worst.Severity > decides.Severity) {
			decides, ok = of.worst, true
		}
	}
	return decides, ok, recheck
}

// task is what is known of the pods that have one role.
type task struct {
	pods, confirmed int
	worst           candidate // of those that failed for certain
}

// role tells the tasks of a custom resource's pods apart.
func (c candidate) role(e *Evidence) string { return c.Labels[e.pods.Role] }

// threshold is how many of the new pods have to fail until the workload does. The
// pods of a StatefulSet are updated one after the other, so one stops all; a
// Job's pods are equal; of other workloads the pods may differ by their node. Of a
// custom resource, pods are those with the same role.
func (e *Evidence) threshold(pods int) int {
	switch e.pods.Kind {
	case "StatefulSet", "Job", "Pod", "LeaderWorkerSet", "JobSet", "RayJob":
		return 1
	}
	if e.pods.Wanted == 1 {
		return 1
	}
	return pods
}

// ready counts the pods that are ready, of the live revision and of earlier ones.
func (e *Evidence) ready() (live, earlier int) {
	for _, p := range e.states {
		switch {
		case p.DeletionTimestamp != nil || !workload.Ready(p.Pod):
		case e.revision.Includes(p.Pod):
			live++
		case e.owns(p.Pod):
			earlier++
		}
	}
	return live, earlier
}

// owns reports whether a pod is of a revision of the workload, and not of another
// one whose selector fits it too.
func (e *Evidence) owns(pod *corev1.Pod) bool {
	owner := metav1.GetControllerOf(pod)
	switch {
	case owner == nil:
		return false
	case e.pods.Kind == "Deployment":
		set := e.replicaSets[owner.UID]
		return set != nil && metav1.IsControlledBy(set, e.object)
	case e.pods.Kind == "StatefulSet" || e.pods.Kind == "DaemonSet":
		return owner.UID == e.object.GetUID()
	}
	return false
}

// failure makes one of a finding; p is nil if it is about no pod.
func (e *Evidence) failure(found Finding, p *podState) *Failure {
	f := &Failure{Object: e.id, Reason: found.Reason, Cause: found.Cause, Fix: found.Fix, Container: found.Container}
	if p != nil {
		f.Pod = p.Name
	}
	return f
}

// Unready are the pods that are not ready and whose status says too little about
// it: only events say what a probe answered and why a volume is not mounted.
func (e *Evidence) Unready() []PodRef {
	if e.denied["events"] != "" {
		return nil
	}
	var all []PodRef
	for _, c := range e.candidates() {
		if !workload.Ready(c.Pod) && c.Severity <= Transient {
			all = append(all, PodRef{Namespace: c.Namespace, Name: c.Name, UID: c.UID})
		}
	}
	return all
}
