package diagnosis

import (
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/workload"
)

// recent is how long ago the last crash of a loop that goes on may be: longer than
// the longest pause of a kubelet.
const recent = 10 * time.Minute

// Evidence is all that is known of one object, its pods, its ReplicaSets and its
// events, and since when. Whoever owns it fills it; it asks nobody, and is not to
// be used concurrently.
type Evidence struct {
	id      object.ID
	created bool // the deploy did
	changed bool // the deploy did
	pods    workload.PodSet
	// revision is the live one of the workload.
	revision workload.Revision

	object      *unstructured.Unstructured
	since       time.Time // when the deploy wrote the object, by the server's clock
	listed      bool      // the pods are known
	states      map[types.UID]*podState
	replicaSets map[types.UID]*unstructured.Unstructured
	events      []Event // of the object itself
	newest      struct {
		pod  types.UID
		text string // the newest line of the log of a pod that loads
	}
	denied map[string]string // resource → the right that is missing, in a sentence
	clock  clock

	// refused is why pods cannot be created, as it has been since then.
	refused      string
	refusedSince time.Time
}

// NewEvidence begins with what a write returned.
func NewEvidence(c kube.Change, now time.Time) *Evidence {
	e := &Evidence{
		id: c.ID(), created: c.Before == nil, changed: c.Changed(), pods: workload.Pods(c.After),
		object: c.After, since: began(c, now),
		states:      map[types.UID]*podState{},
		replicaSets: map[types.UID]*unstructured.Unstructured{},
		denied:      map[string]string{},
	}
	e.renew()
	return e
}

// began is the server's time of the write. An object that came without
// managedFields was written after the last write before, which is the best that
// is known until it is observed again. What the deploy did not change is looked
// at from now on.
func began(c kube.Change, now time.Time) time.Time {
	if c.Changed() {
		at := written(c.After, ours)
		if at.IsZero() && c.Before != nil {
			at = written(c.Before, func(metav1.ManagedFieldsEntry) bool { return true })
		}
		if at.IsZero() {
			at = c.After.GetCreationTimestamp().Time
		}
		if !at.IsZero() {
			return at
		}
	}
	// Clocks of runners and clusters differ by a little.
	return now.Add(-5 * time.Second)
}

// written is when some managers last wrote an object, by the server's clock, to the second.
func written(u *unstructured.Unstructured, by func(metav1.ManagedFieldsEntry) bool) time.Time {
	var newest time.Time
	for _, entry := range u.GetManagedFields() {
		if by(entry) && entry.Time != nil && entry.Time.After(newest) {
			newest = entry.Time.Time
		}
	}
	return newest
}

// ours reports whether a deploy wrote these fields, or a restore did.
func ours(entry metav1.ManagedFieldsEntry) bool {
	return entry.Manager == object.FieldManager && entry.Subresource == ""
}

// HasPods reports whether the object is a workload whose pods are evidence.
func (e *Evidence) HasPods() bool { return e.pods.Kind != "" }

// Empty reports whether the object is one that makes pods, and there is none of its
// live revision.
func (e *Evidence) Empty() bool {
	return e.HasPods() && e.listed && len(e.candidates()) == 0
}

// ObserveObject takes in the object as it is now.
func (e *Evidence) ObserveObject(u *unstructured.Unstructured, now time.Time) {
	e.object, e.pods = u, workload.Pods(u)
	e.clock.observe(u, now)
	e.renew()
	if at := written(u, ours); e.changed && at.After(e.since) {
		e.since = at
	}
	if e.pods.Kind == "Pod" { // it is its own only pod
		e.listed = true
		e.observePods([]unstructured.Unstructured{*u}, now)
	}
	e.settle(now)
}

// Source is a list whose updates are evidence.
type Source struct{ kube.Selection }

// Sources are the lists that show the object's pods, and those that could not be
// created; none for what has no pods.
func (e *Evidence) Sources() []Source {
	if !e.HasPods() || e.pods.Kind == "Pod" || e.pods.Selector == "" {
		return nil
	}
	pods := Source{kube.Selection{Resource: kube.Pods, Namespace: e.id.Namespace, Labels: e.pods.Selector}}
	switch {
	case e.pods.ReplicaSets:
		return []Source{{kube.Selection{Resource: kube.ReplicaSets, Namespace: e.id.Namespace, Labels: e.pods.Selector}}, pods}
	case e.pods.Kind == "StatefulSet", e.pods.Kind == "DaemonSet", e.pods.Kind == "Job":
		// Only in Warnings about the workload itself do these controllers say that
		// they cannot create a pod.
		return []Source{{kube.Selection{Resource: kube.Events, Namespace: e.id.Namespace, Fields: eventsOf(e.object.GetUID(), true)}}, pods}
	}
	return []Source{pods}
}

// Observe takes in what a source brought.
func (e *Evidence) Observe(s Source, u kube.ListUpdate, now time.Time) {
	if u.Err != nil || u.Listed {
		e.observeRight(s.Resource.Resource, u.Err)
	}
	one := func() []unstructured.Unstructured {
		if u.Object == nil || u.Deleted {
			return nil
		}
		return []unstructured.Unstructured{*u.Object}
	}
	switch {
	case u.Err != nil:
	case s.Resource == kube.Pods && u.Listed:
		e.listed = true
		there := map[types.UID]bool{}
		for i := range u.All {
			there[u.All[i].GetUID()] = true
		}
		maps.DeleteFunc(e.states, func(uid types.UID, _ *podState) bool { return !there[uid] })
		e.observePods(u.All, now)
	case s.Resource == kube.Pods && u.Deleted:
		delete(e.states, u.Object.GetUID())
	case s.Resource == kube.Pods:
		e.observePods(one(), now)
	case s.Resource == kube.ReplicaSets && u.Listed:
		clear(e.replicaSets)
		for i := range u.All {
			e.replicaSets[u.All[i].GetUID()] = &u.All[i]
		}
	case s.Resource == kube.ReplicaSets && u.Deleted:
		delete(e.replicaSets, u.Object.GetUID())
	case s.Resource == kube.ReplicaSets:
		e.replicaSets[u.Object.GetUID()] = u.Object
	case s.Resource == kube.Events && u.Listed:
		e.observeEvents(u.All)
	case s.Resource == kube.Events:
		e.observeEvents(one())
	}
	if s.Resource == kube.ReplicaSets {
		e.renew()
	}
	e.settle(now)
}

func (e *Evidence) observePods(all []unstructured.Unstructured, now time.Time) {
	for i := range all {
		e.clock.observe(&all[i], now)
	}
	for _, pod := range workload.ToPods(all) {
		p := e.states[pod.UID]
		if p == nil {
			p = &podState{kind: e.pods.Kind, baseline: map[string]int32{}}
			// Restarts from before this deploy are not its fault, unless it changed
			// nothing, and they go on.
			if pod.CreationTimestamp.Time.Before(e.since) {
				for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
					if e.changed || !endedAfter(status, e.since.Add(-recent)) {
						p.baseline[status.Name] = status.RestartCount
					}
				}
			}
			e.states[pod.UID] = p
		}
		p.observe(pod, now)
	}
}

// endedAfter reports whether the last run of a container that ended did so after a
// moment.
func endedAfter(status corev1.ContainerStatus, moment time.Time) bool {
	for _, over := range []*corev1.ContainerStateTerminated{status.State.Terminated, status.LastTerminationState.Terminated} {
		if over != nil && over.FinishedAt.After(moment) {
			return true
		}
	}
	return false
}

// observeEvents takes in events of the object itself.
func (e *Evidence) observeEvents(all []unstructured.Unstructured) {
	for i := range all {
		event := readEvent(&all[i])
		if event.Last.Before(e.since) {
			continue
		}
		same := slices.IndexFunc(e.events, func(x Event) bool { return x.Reason == event.Reason && x.Message == event.Message })
		if same >= 0 {
			e.events[same] = event
		} else {
			e.events = append(e.events, event)
		}
	}
	sortEvents(e.events)
	if len(e.events) > 100 {
		e.events = e.events[len(e.events)-100:]
	}
}

// ObservePodEvents takes in the events of a pod, or why they cannot be read.
func (e *Evidence) ObservePodEvents(pod types.UID, events []Event, err error, now time.Time) {
	e.ObserveEventsDenied(err)
	if p := e.states[pod]; p != nil && err == nil {
		p.events = e.Recent(events)
		p.refresh(now)
	}
}

// Recent leaves out the events of before the deploy.
func (e *Evidence) Recent(events []Event) []Event {
	return slices.DeleteFunc(slices.Clone(events), func(x Event) bool { return x.Last.Before(e.since) })
}

// ObserveEventsDenied takes in whether events may be read, from the error of a
// request for some. Errors of another kind say nothing about it.
func (e *Evidence) ObserveEventsDenied(err error) {
	if err == nil || apierrors.IsForbidden(err) {
		e.observeRight("events", err)
	}
}

// observeRight remembers that something cannot be read, as a right is missing or
// as its list has no end, or with nil that it can be again.
func (e *Evidence) observeRight(resource string, err error) {
	if err == nil {
		delete(e.denied, resource)
		return
	}
	if !apierrors.IsForbidden(err) {
		e.denied[resource] = fmt.Sprintf("the %s cannot be read: %s", resource, line(err.Error()))
		return
	}
	e.denied[resource] = fmt.Sprintf(right(resource), e.id.Namespace)
}

// right says what is not known without a right, and which one it is.
func right(resource string) string {
	switch resource {
	case "pods":
		return `the pods cannot be read: a Role in namespace %q has to allow "list" and "watch" on pods`
	case "pods/log":
		return `the log cannot be read: a Role in namespace %q has to allow "get" on pods/log`
	case "replicasets":
		return `the ReplicaSets cannot be read: a Role in namespace %q has to allow "list" and "watch" on replicasets of API group "apps"`
	}
	return `the events cannot be read: a Role in namespace %q has to allow "list" and "watch" on events`
}

// ending reports whether a pod of the workload, of whichever revision, is still
// being ended: what it holds of a quota is free when it is gone.
func (e *Evidence) ending() bool {
	for _, p := range e.states {
		if p.DeletionTimestamp != nil {
			return true
		}
	}
	return false
}

// settle remembers since when pods cannot be created. As long as pods come, or
// hold what the new ones need, the time begins again.
func (e *Evidence) settle(now time.Time) {
	state := ""
	if f := e.refusal(); f.Severity != Healthy {
		state = fmt.Sprintf("%s %d %v", f.State, len(e.candidates()), f.Freed && e.ending())
	}
	if state != e.refused {
		e.refused, e.refusedSince = state, now
	}
}

// renew finds the live revision again. It is kept, as comparing templates at every
// change of every pod would cost seconds where there are thousands.
func (e *Evidence) renew() {
	if e.denied["replicasets"] != "" && len(e.replicaSets) == 0 {
		e.revision = workload.NewRevision(e.object, nil)
		return
	}
	sets := make([]*unstructured.Unstructured, 0, len(e.replicaSets))
	for _, set := range e.replicaSets {
		sets = append(sets, set)
	}
	e.revision = workload.NewRevision(e.object, sets)
}

// candidate is a pod that may keep the rollout from its end, and what is wrong with it.
type candidate struct {
	*podState
	Finding
	earlier bool // of an earlier revision
}

// candidates are the pods of the new revision, and those that it waits for,
// oldest first. Those being deleted and those that were displaced do not count.
func (e *Evidence) candidates() []candidate {
	if !e.HasPods() {
		return nil
	}
	var all []candidate
	for _, p := range e.selected(func(pod *corev1.Pod) bool { return e.revision.Includes(pod) && !workload.Displaced(pod) }) {
		all = append(all, candidate{p, p.finding, false})
	}
	for _, p := range e.selected(e.revision.Blocks) {
		f := p.finding
		if f.Severity != Healthy {
			f.State = "earlier " + f.State
			f.Cause = p.blockedBy(f.Cause)
			f.Fix = fmt.Sprintf("delete that pod, which is then made anew from the new revision: kubectl delete pod %s --namespace=%s", p.Name, p.Namespace)
		}
		all = append(all, candidate{p, f, true})
	}
	return all
}

// blockedBy says that a pod of an earlier revision keeps the rollout from its beginning.
func (p *podState) blockedBy(cause string) string {
	return fmt.Sprintf("pod %q of an earlier revision is not ready (%s), and a StatefulSet updates no pod before it is (kubernetes/kubernetes#67250)", p.Name, cause)
}

func (e *Evidence) selected(accept func(*corev1.Pod) bool) []*podState {
	pods := make([]*corev1.Pod, 0, len(e.states))
	for _, p := range e.states {
		pods = append(pods, p.Pod)
	}
	var found []*podState
	for _, pod := range e.revision.Select(pods, accept) {
		found = append(found, e.states[pod.UID])
	}
	return found
}
