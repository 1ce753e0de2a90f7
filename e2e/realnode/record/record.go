// Package record writes down what a node tells the cluster about the pods of a
// namespace: each status that differs from the ones before, the events, and
// what the log API answers. Names, addresses, identifiers and times are taken
// out, so that two nodes that behave alike have equal records.
//
// What the pods do, and when there is enough to see, is left to the caller.
package record

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Record is what was seen.
type Record struct {
	// Statuses are the pods' statuses, each once, in the order in which they came.
	Statuses []Status `json:"statuses"`
	// Events are the ones about pods, each once.
	Events []Event `json:"events"`
	// Logs are the answers for each container's log, by the container's name.
	Logs map[string]Log `json:"logs,omitempty"`
}

// Event is one event about a pod.
type Event struct {
	Type    string `json:"type"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	From    string `json:"from"`            // component
	About   string `json:"about,omitempty"` // field of the pod, e.g. spec.containers{model}
}

// Log is what the API server answers for the log of a container's present run
// and of the one before; an error begins with "error: ".
type Log struct {
	Current  string `json:"current"`
	Previous string `json:"previous"`
}

// Recorder follows one namespace.
type Recorder struct {
	client    kubernetes.Interface
	namespace string
	stop      context.CancelFunc
	done      sync.WaitGroup
	changed   chan struct{} // holds one when there is a new status

	mu       sync.Mutex
	statuses []Status
	pods     map[string]*corev1.Pod // by name, as last seen
	events   []*corev1.Event
	logs     map[string]Log
}

// Start follows the pods and events of the namespace until Stop.
func Start(ctx context.Context, client kubernetes.Interface, namespace string) (*Recorder, error) {
	ctx, stop := context.WithCancel(ctx)
	r := &Recorder{client: client, namespace: namespace, stop: stop, pods: map[string]*corev1.Pod{}, changed: make(chan struct{}, 1)}
	pods, err := client.CoreV1().Pods(namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		stop()
		return nil, fmt.Errorf("record %q: %w", namespace, err)
	}
	events, err := client.CoreV1().Events(namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		stop()
		return nil, fmt.Errorf("record %q: %w", namespace, err)
	}
	r.done.Go(func() {
		for e := range pods.ResultChan() {
			if pod, ok := e.Object.(*corev1.Pod); ok {
				r.pod(pod)
			}
		}
	})
	r.done.Go(func() {
		for e := range events.ResultChan() {
			if event, ok := e.Object.(*corev1.Event); ok && event.InvolvedObject.Kind == "Pod" {
				r.mu.Lock()
				r.events = append(r.events, event)
				r.mu.Unlock()
			}
		}
	})
	return r, nil
}

// Wait returns when a status was seen for which enough is true.
func (r *Recorder) Wait(ctx context.Context, enough func(Status) bool) error {
	for {
		r.mu.Lock()
		seen := slices.ContainsFunc(r.statuses, enough)
		r.mu.Unlock()
		if seen {
			return nil
		}
		select {
		case <-r.changed:
		case <-ctx.Done():
			return fmt.Errorf("record %q: not seen what was waited for: %w", r.namespace, ctx.Err())
		}
	}
}

// WaitEvent returns when an event was seen with that in its reason or message.
func (r *Recorder) WaitEvent(ctx context.Context, part string) error {
	for {
		r.mu.Lock()
		seen := slices.ContainsFunc(r.events, func(e *corev1.Event) bool { return strings.Contains(e.Reason+": "+e.Message, part) })
		r.mu.Unlock()
		if seen {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("record %q: no event %q: %w", r.namespace, part, ctx.Err())
		}
	}
}

// WaitFacts returns when every fact of a record was seen but for those of its
// logs, and those that pass; or when ctx ends, with what lacks.
func (r *Recorder) WaitFacts(ctx context.Context, want Record, passes func(fact string) bool) (lacks []string) {
	want.Logs = nil
	for {
		seen := r.Seen()
		seen.Logs = nil
		if lacks, _ = Differ(want, seen, passes); len(lacks) == 0 {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return lacks
		}
	}
}

// Settle returns when nothing new was seen for a while, which ctx bounds.
func (r *Recorder) Settle(ctx context.Context, quiet time.Duration) {
	for seen, since := r.size(), time.Now(); time.Since(since) < quiet; {
		select {
		case <-time.After(quiet / 20):
		case <-ctx.Done():
			return
		}
		if now := r.size(); now != seen {
			seen, since = now, time.Now()
		}
	}
}

// size is how much is new; an event that comes again is not.
func (r *Recorder) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := map[[3]string]bool{}
	for _, e := range r.events {
		events[[3]string{e.Reason, e.Message, e.InvolvedObject.FieldPath}] = true
	}
	return len(r.statuses) + len(events)
}

// Logs asks for the logs of the newest pod, as they are now.
func (r *Recorder) Logs(ctx context.Context) {
	r.mu.Lock()
	var newest *corev1.Pod
	for _, pod := range r.pods {
		if newest == nil || newest.CreationTimestamp.Before(&pod.CreationTimestamp) {
			newest = pod
		}
	}
	r.mu.Unlock()
	if newest == nil || newest.Spec.NodeName == "" {
		return
	}
	logs := map[string]Log{}
	for _, c := range slices.Concat(newest.Spec.InitContainers, newest.Spec.Containers) {
		logs[c.Name] = Log{Current: r.log(ctx, newest, c.Name, false), Previous: r.log(ctx, newest, c.Name, true)}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs = logs
}

// Stop ends the recording.
func (r *Recorder) Stop() Record {
	r.stop()
	r.done.Wait()
	return r.Seen()
}

// Seen is the record so far.
func (r *Recorder) Seen() Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	record := Record{Statuses: slices.Clone(r.statuses), Logs: r.logs}
	for _, e := range r.events {
		if event := r.event(e); !slices.Contains(record.Events, event) {
			record.Events = append(record.Events, event)
		}
	}
	return record
}

func (r *Recorder) pod(pod *corev1.Pod) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pods[pod.Name] = pod
	if pod.DeletionTimestamp != nil || len(pod.Status.Conditions) == 0 {
		return // going, or not seen by anybody yet
	}
	if status := statusOf(pod); !slices.ContainsFunc(r.statuses, status.equal) {
		r.statuses = append(r.statuses, status)
		select {
		case r.changed <- struct{}{}:
		default:
		}
	}
}

// event is complete when every pod's node is known. The caller holds mu.
func (r *Recorder) event(e *corev1.Event) Event {
	from := e.Source.Component
	if from == "" {
		from = e.ReportingController
	}
	pod := r.pods[e.InvolvedObject.Name]
	if pod == nil {
		pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: e.InvolvedObject.Namespace, Name: e.InvolvedObject.Name, UID: e.InvolvedObject.UID}}
	}
	return Event{Type: e.Type, Reason: e.Reason, Message: Normal(e.Message, namesOf(pod)...), From: from, About: e.InvolvedObject.FieldPath}
}

func (r *Recorder) log(ctx context.Context, pod *corev1.Pod, container string, previous bool) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	result := r.client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container, Previous: previous}).Do(ctx)
	content, _ := result.Raw() // the body, also of an error
	text := Normal(strings.TrimSpace(string(content)), namesOf(pod)...)
	if result.Error() != nil {
		return "error: " + text
	}
	return text
}
