package diagnosis

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/retry"
)

// The reasons of failures that somebody else brought about, while the object was
// waited for: another run, or a person.
const (
	ReasonChanged  = "Changed"
	ReasonReplaced = "Replaced"
	ReasonDeleted  = "Deleted"
)

// reasonNotReady is that of a pod that may only need longer.
const reasonNotReady = "NotReady"

// Failure is why an object does not become ready, in words that a user of the
// cluster understands, and what to do about it.
type Failure struct {
	// Object is the object that was written.
	Object object.ID
	// Reason is one word, Kubernetes' own where it has one, e.g. "ImagePullBackOff".
	Reason string
	// Cause is one sentence that says what is wrong, without a full stop.
	Cause string
	// Fix is one sentence that says what to do, without a full stop.
	Fix string
	// Pod and Container are the first that the cause was observed on; empty if it is not about one.
	Pod, Container string
	// Events are the Warning events since the deploy began, oldest first.
	Events []Event
	// Logs are the last lines of Container, and LogsOf says whose they are,
	// e.g. `pod "model-7c9-x2x", container "model", run before the last restart`.
	Logs   []string
	LogsOf string
	// Others are further pods that fail for another reason than Reason, and More
	// counts the reasons that are not among them.
	Others []PodFailure
	More   int
	// Earlier counts the pods of an earlier revision that are ready.
	Earlier int
	// Notes say what could not be read, and which right is missing for it.
	Notes []string
}

// PodFailure is why one more pod of the same object is not ready.
type PodFailure struct {
	Pod, Container     string
	Reason, Cause, Fix string
	Logs               []string
	LogsOf             string
}

// String returns cause and fix as two sentences after the object's name, and then
// those of its Others: whoever mends one cause is not to find the next one in the
// next deploy.
func (f Failure) String() string {
	said := []string{f.first()}
	for _, other := range f.Others {
		if other.Cause == "" || other.Reason == reasonNotReady || strings.Contains(said[0], other.Cause) {
			continue // what only is not ready yet is no cause
		}
		also := "also: " + other.Cause
		if other.Fix != "" && !strings.Contains(strings.Join(said, "; "), other.Fix) {
			also += "; " + other.Fix
		}
		said = append(said, also)
	}
	if f.More > 0 {
		said = append(said, "and "+countOf(f.More, "more cause"))
	}
	return strings.Join(said, "; ")
}

// first is the cause that decided, and what to do about it.
func (f Failure) first() string {
	s := f.Object.String() + ": " + f.Cause
	if f.Fix != "" {
		s += "; " + f.Fix
	}
	return s
}

// About returns the object that does not become ready, and "" for its field.
func (f Failure) About() (object.ID, string) { return f.Object, "" }

// ByOthers reports whether somebody else changed, replaced or deleted the object,
// so that what became of it says nothing about what was deployed.
func (f Failure) ByOthers() bool {
	return slices.Contains([]string{ReasonChanged, ReasonReplaced, ReasonDeleted}, f.Reason)
}

// Lines returns all that is known of the failure, for a log.
func (f Failure) Lines() []string {
	lines := []string{"Not ready: " + f.first()}
	for _, e := range f.Events {
		lines = append(lines, "  event: "+e.String())
	}
	for _, note := range f.Notes {
		lines = append(lines, "  note: "+note)
	}
	if len(f.Logs) > 0 {
		lines = append(lines, fmt.Sprintf("  log of %s:", f.LogsOf))
	}
	for _, line := range f.Logs {
		lines = append(lines, "  | "+line)
	}
	for _, other := range f.Others {
		lines = append(lines, fmt.Sprintf("  also pod %s: %s; %s", other.Pod, other.Cause, other.Fix))
	}
	if f.More > 0 {
		lines = append(lines, "  and "+countOf(f.More, "more cause"))
	}
	return lines
}

// because adds a finding to a cause that did not know it.
func (f *Failure) because(found Finding) {
	switch {
	case f.Cause == "":
		f.Cause = found.Cause
	case !strings.Contains(f.Cause, found.Cause):
		f.Cause += ": " + found.Cause
	}
	if found.Fix != "" {
		f.Fix = found.Fix
	}
}

// Bounds of an explanation: pods with a reason of their own, and pods whose events are read.
const (
	reasonLimit    = 3
	eventPodsLimit = 5
)

// affected is a pod that something is wrong with, as it was when the explanation began.
type affected struct {
	candidate
	container string
	previous  bool // the log is that of the run before
	lines     []string
	of        string
	err       error // why the log cannot be read
}

// Explain adds to a failure what helps to understand it: the pod it was observed
// on, Warning events since the deploy began, and the last lines of the failing
// container's log. What cannot be read is said in Notes and stops nothing.
func Explain(ctx context.Context, client *kube.Client, e *Evidence, f *Failure) {
	if !e.listed && e.denied["pods"] == "" {
		_ = Read(ctx, client, e) // what is known without it is still worth telling
	}
	waited := e.waiting(e.candidates())
	f.Events, f.Notes = e.readEvents(ctx, client)
	for until := time.Now().Add(lateEvents); e.unexplained(f) && time.Now().Before(until) && retry.Sleep(ctx, nextEvents) == nil; {
		f.Events, f.Notes = e.readEvents(ctx, client)
	}
	if now := e.waiting(e.candidates()); waited != "" && now != "" {
		f.Cause = strings.Replace(f.Cause, waited, now, 1) // the events know what a probe answered
	}
	pods, more := e.affected(f)
	f.More = more
	_, f.Earlier = e.ready()
	var group sync.WaitGroup
	for _, p := range pods {
		if p.container == "" || !p.Ran {
			continue
		}
		group.Go(fault.Func(ctx, func() {
			p.lines, p.of, p.err = readLog(ctx, client, PodRef{Namespace: e.id.Namespace, Name: p.Name}, p.container, p.previous)
		}))
	}
	group.Wait()
	if f.Pod == "" && f.Reason != "FailedCreate" {
		if refusal := e.refusal(); refusal.Severity != Healthy {
			f.because(refusal)
		}
	}
	for i, p := range pods {
		if apierrors.IsForbidden(p.err) {
			e.observeRight("pods/log", p.err)
		}
		p.evaluateLog()
		if i == 0 {
			f.describe(p)
			continue
		}
		f.Others = append(f.Others, PodFailure{
			Pod: p.Name, Container: p.container, Reason: p.Reason, Cause: p.Cause, Fix: p.Fix, Logs: p.lines, LogsOf: p.of,
		})
	}
	e.reconsider(f)
	for _, resource := range slices.Sorted(maps.Keys(e.denied)) {
		f.Notes = append(f.Notes, e.denied[resource])
	}
	for _, p := range pods {
		if p.err != nil && e.denied["pods/log"] == "" {
			f.Notes = append(f.Notes, line(p.err.Error()))
		}
	}
}

// Read lists all sources of the evidence once. A right that is missing is no
// error: it is remembered.
func Read(ctx context.Context, client *kube.Client, e *Evidence) error {
	e.ObserveObject(e.object, time.Now())
	sources := e.Sources()
	var (
		group sync.WaitGroup
		lists = make([]*unstructured.UnstructuredList, len(sources))
		errs  = make([]error, len(sources))
	)
	for i, s := range sources {
		group.Go(fault.Func(ctx, func() { lists[i], errs[i] = client.List(ctx, s.Selection) }))
	}
	group.Wait()
	for i, s := range sources {
		switch {
		case errs[i] == nil:
			e.Observe(s, kube.ListUpdate{Listed: true, All: lists[i].Items}, time.Now())
		case apierrors.IsForbidden(errs[i]):
			e.Observe(s, kube.ListUpdate{Update: kube.Update{Err: errs[i]}}, time.Now())
		default:
			return errs[i]
		}
	}
	return nil
}

// describe puts the first affected pod into the failure. A failure that others
// found, such as a Job's or a deadline's, gets the pod's reason as well.
func (f *Failure) describe(p *affected) {
	f.Logs, f.LogsOf = p.lines, p.of
	known := f.Pod != "" || f.Container != ""
	if f.Pod == "" {
		f.Pod, f.Container = p.Name, p.container
	}
	if p.Cause == "" || f.Reason == "FailedCreate" {
		return
	}
	switch {
	case known && f.Pod == p.Name && p.Severity > Transient:
		// The log and the events may have told more than the status did.
		f.Reason, f.Cause, f.Fix = p.Reason, p.Cause, p.Fix
	case !known:
		f.because(p.Finding)
	}
}

// affected chooses the pods to report: the one that decided, then one for each
// further reason, and counts the reasons that have no room.
func (e *Evidence) affected(f *Failure) (chosen []*affected, more int) {
	for _, p := range e.states {
		p.refresh(time.Now()) // their events have come
	}
	var all []*affected
	for _, c := range e.candidates() {
		p := &affected{candidate: c, container: c.Container}
		switch {
		case f.Container != "" && c.Name == f.Pod && c.Severity <= Transient: // it runs again, and the failure stays
			p.Finding = Finding{Severity: EachPod, Reason: f.Reason, Cause: f.Cause, Fix: f.Fix, Container: f.Container, Ran: true, State: f.Container + " exit"}
			if spec := c.spec(f.Container); spec != nil {
				p.Image = spec.Image
			}
			p.container = f.Container
		case c.Severity == Healthy && c.serves():
			continue
		case c.Severity == Healthy:
			p.Cause, p.State = c.waiting(), c.waiting()
			p.container, p.Ran = c.unready()
			p.Reason, p.Fix = reasonNotReady, c.remedy()
			if condition := c.unscheduled(); condition != nil && condition.Reason == corev1.PodReasonUnschedulable {
				p.Fix = e.advice(c, condition.Message)
			}
		}
		if held := e.heldByOld(c); held != "" {
			p.Fix = held
		}
		p.previous = c.restarted(p.container)
		all = append(all, p)
		for _, other := range c.others {
			all = append(all, &affected{candidate: candidate{podState: c.podState, Finding: other}, container: other.Container, previous: c.restarted(other.Container)})
		}
	}
	slices.SortStableFunc(all, func(a, b *affected) int {
		if (a.Name == f.Pod) != (b.Name == f.Pod) {
			if a.Name == f.Pod {
				return -1
			}
			return 1
		}
		return int(b.Severity) - int(a.Severity)
	})
	known := map[string]bool{}
	for _, p := range all {
		state := p.container + " " + p.State
		switch {
		case known[state]:
			continue
		case len(chosen) < reasonLimit:
			chosen = append(chosen, p)
		case p.Severity > Transient:
			more++
		}
		known[state] = true
	}
	return chosen, more
}

// evaluateLog finds what only the log says: that the program is built for another
// processor, and why it ended.
func (p *affected) evaluateLog() {
	for _, text := range p.lines {
		// "exec /usr/bin/python: exec format error" is written by runc's init.
		if strings.HasPrefix(text, "exec ") && strings.HasSuffix(text, "exec format error") {
			p.Reason = "ExecFormatError"
			p.Cause = fmt.Sprintf("container %q cannot run on its node: image %q is built for another platform (%s)", p.container, p.Image, line(text))
			p.Fix = platformFix
			return
		}
	}
	p.because()
}

// readEvents reads the events of the object, its newest ReplicaSet and its pods,
// in parallel. It returns the Warnings, and why some could not be read.
func (e *Evidence) readEvents(ctx context.Context, client *kube.Client) (warnings []Event, notes []string) {
	type source struct {
		uid types.UID
		pod bool
	}
	sources := []source{{uid: e.object.GetUID()}}
	if set := e.revision.ReplicaSet(); set != nil {
		sources = append(sources, source{uid: set.GetUID()})
	}
	pods := e.candidates()
	slices.SortStableFunc(pods, func(a, b candidate) int { return int(b.Severity) - int(a.Severity) })
	for _, c := range pods[:min(len(pods), eventPodsLimit)] {
		sources = append(sources, source{c.UID, true})
	}

	var (
		group sync.WaitGroup
		read  = make([][]Event, len(sources))
		errs  = make([]error, len(sources))
	)
	for i, s := range sources {
		group.Go(fault.Func(ctx, func() { read[i], errs[i] = ListEvents(ctx, client, e.id.Namespace, s.uid, !s.pod) }))
	}
	group.Wait()
	var all []Event
	for i, s := range sources {
		if s.pod {
			e.ObservePodEvents(s.uid, read[i], errs[i], time.Now())
		} else {
			e.ObserveEventsDenied(errs[i])
		}
		for _, event := range e.Recent(read[i]) {
			if event.Warning {
				all = append(all, event)
			}
		}
	}
	for _, err := range errs {
		if err != nil && e.denied["events"] == "" {
			notes = append(notes, "events cannot be read: "+line(err.Error()))
			break
		}
	}
	return merge(all), notes
}
