package rollout

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
	"k8s.io/apimachinery/pkg/types"
)

// Bounds of an explanation: pods with a reason of their own, and pods whose events are read.
const (
	reasonLimit    = 3
	eventPodsLimit = 5
)

// patient is a pod that suffers from something, as it was when the explanation began.
type patient struct {
	suspect
	name      string
	previous  bool // the log is that of the run before
	container string
	lines     []string
	of        string
	note      string
}

// explain adds to a failure what helps to understand it: the pod it was seen
// on, Warning events since the deploy began, and the last lines of the failing
// container's log. What cannot be read is said in Notes and stops nothing.
func (d *diagnosis) explain(ctx context.Context, f *Failure) {
	_ = d.catchUp(ctx) // what is known without it is still worth telling
	d.collectEvents(ctx, f)
	patients := d.patients(f)
	var group sync.WaitGroup
	for _, p := range patients {
		if p.container == "" || !p.ran {
			continue
		}
		group.Go(func() {
			lines, of, err := d.logs(ctx, p.name, p.container, p.previous)
			if err != nil {
				p.note = clean(err.Error(), phraseLimit)
			}
			p.lines, p.of = lines, of
		})
	}
	group.Wait()

	d.mu.Lock()
	defer d.mu.Unlock()
	if f.Pod == "" && f.Reason != "FailedCreate" {
		if s := d.refusal(d.live); s.class != healthy {
			f.because(s)
		}
	}
	for i, p := range patients {
		p.readLog()
		if i == 0 {
			d.describe(f, p)
			continue
		}
		f.Others = append(f.Others, Symptom{
			Pod: p.name, Container: p.container, Reason: p.reason, Cause: p.cause, Fix: p.fix, Logs: p.lines, LogsOf: p.of,
		})
	}
	for _, resource := range slices.Sorted(maps.Keys(d.missing)) {
		f.Notes = append(f.Notes, d.missing[resource])
	}
	for _, p := range patients {
		if p.note != "" && d.missing["pods/log"] == "" {
			f.Notes = append(f.Notes, p.note)
		}
	}
}

// describe puts the first patient into the failure. A failure that others
// found, such as a Job's or a deadline's, gets the pod's reason as well.
func (d *diagnosis) describe(f *Failure, p *patient) {
	f.Logs, f.LogsOf = p.lines, p.of
	known := f.Pod != "" || f.Container != ""
	if f.Pod == "" {
		f.Pod, f.Container = p.name, p.container
	}
	if p.cause == "" || f.Reason == "FailedCreate" {
		return
	}
	switch {
	case known && f.Pod == p.name && p.class > passing:
		// The log and the events may have told more than the status did.
		f.Reason, f.Cause, f.Fix = p.reason, p.cause, p.fix
	case !known:
		f.because(p.symptom)
	}
}

// because adds a symptom to a cause that did not know it.
func (f *Failure) because(s symptom) {
	switch {
	case f.Cause == "":
		f.Cause = s.cause
	case !strings.Contains(f.Cause, s.cause):
		f.Cause += ": " + s.cause
	}
	if s.fix != "" {
		f.Fix = s.fix
	}
}

// catchUp lists what follow has not seen, for a failure that came before it
// began. A right that is missing is no error: it is remembered.
func (d *diagnosis) catchUp(ctx context.Context) error {
	d.mu.Lock()
	d.show(d.live)
	listed := d.listed || d.missing["pods"] != ""
	d.mu.Unlock()
	if listed {
		return nil
	}
	for _, w := range d.watches(func() {}) {
		if _, err := w.list(ctx); err != nil && !apierrors.IsForbidden(err) {
			return err
		}
	}
	return nil
}

// patients chooses the pods to report: the one that decided, then one for each further reason.
func (d *diagnosis) patients(f *Failure) []*patient {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.pods {
		t.refresh(time.Now()) // their events have come
	}
	var all []*patient
	for _, s := range d.suspects(d.live) {
		p := &patient{suspect: s, name: s.pod.Name, container: s.symptom.container}
		if s.class == healthy {
			if s.ready() || s.pod.Status.Phase == corev1.PodSucceeded {
				continue
			}
			p.cause, p.key = s.waiting(), s.waiting()
			p.container, p.ran = s.unready()
			p.reason, p.fix = "NotReady", s.remedy()
		}
		p.previous = s.restarted(p.container)
		all = append(all, p)
	}
	slices.SortStableFunc(all, func(a, b *patient) int {
		if (a.name == f.Pod) != (b.name == f.Pod) {
			if a.name == f.Pod {
				return -1
			}
			return 1
		}
		return int(b.class) - int(a.class)
	})
	var chosen []*patient
	seen := map[string]bool{}
	for _, p := range all {
		key := p.container + " " + p.key
		if !seen[key] && len(chosen) < reasonLimit {
			seen[key] = true
			chosen = append(chosen, p)
		}
	}
	return chosen
}

// unready finds the container that keeps the pod from being ready, and whether it ran.
func (t *track) unready() (container string, ran bool) {
	for _, status := range slices.Concat(t.pod.Status.InitContainerStatuses, t.pod.Status.ContainerStatuses) {
		ended := status.State.Terminated != nil && status.State.Terminated.ExitCode == 0
		if status.Ready || ended {
			continue
		}
		return status.Name, status.State.Waiting == nil || status.RestartCount > 0
	}
	return "", false
}

// restarted tells whether the run that failed is the one before the present one.
func (t *track) restarted(container string) bool {
	for _, status := range slices.Concat(t.pod.Status.InitContainerStatuses, t.pod.Status.ContainerStatuses) {
		if status.Name == container {
			return status.RestartCount > 0 && status.State.Terminated == nil && status.LastTerminationState.Terminated != nil
		}
	}
	return false
}

// readLog finds what only the log tells: that the program is built for another processor.
func (p *patient) readLog() {
	if p.class == healthy {
		return
	}
	for _, line := range p.lines {
		// "exec /usr/bin/python: exec format error" is written by runc's init.
		if strings.HasPrefix(line, "exec ") && strings.HasSuffix(line, "exec format error") {
			p.reason = "ExecFormatError"
			p.cause = fmt.Sprintf("container %q cannot run on its node: image %q is built for another platform (%s)", p.container, p.image, clean(line, phraseLimit))
			p.fix = platformFix
			return
		}
	}
}

// collectEvents reads the events of the object, its newest ReplicaSet and its pods, in parallel.
func (d *diagnosis) collectEvents(ctx context.Context, f *Failure) {
	type source struct {
		uid types.UID
		pod bool
	}
	d.mu.Lock()
	sources := []source{{uid: d.target.Object.GetUID()}}
	if d.kind == "Deployment" {
		if set := d.newReplicaSet(d.live); set != nil {
			sources = append(sources, source{uid: set.GetUID()})
		}
	}
	pods := d.suspects(d.live)
	slices.SortStableFunc(pods, func(a, b suspect) int { return int(b.class) - int(a.class) })
	for _, s := range pods[:min(len(pods), eventPodsLimit)] {
		sources = append(sources, source{s.pod.UID, true})
	}
	d.mu.Unlock()

	var (
		group sync.WaitGroup
		read  = make([][]Event, len(sources))
		errs  = make([]error, len(sources))
	)
	for i, s := range sources {
		group.Go(func() {
			read[i], errs[i] = d.listEvents(ctx, s.uid, !s.pod)
			if errs[i] == nil && s.pod {
				d.tell(s.uid, read[i])
			}
		})
	}
	group.Wait()
	var all []Event
	for _, events := range read {
		for _, e := range events {
			if e.Warning {
				all = append(all, e)
			}
		}
	}
	f.Events = merge(all)
	for _, err := range errs {
		if err != nil && d.lacks("events") == "" {
			f.Notes = append(f.Notes, "events cannot be read: "+clean(err.Error(), phraseLimit))
			break
		}
	}
}
