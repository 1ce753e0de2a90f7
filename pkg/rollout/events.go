package rollout

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
)

const (
	eventLimit   = 20              // that are reported of one object
	askEvery     = 5 * time.Second // between two looks at the events of a pod that is not ready
	askPodsLimit = 3               // whose events are looked at while waiting
)

// boringEvents say nothing that the verdict does not say, or pass by themselves.
var boringEvents = map[string]bool{
	"BackOff":                       true, // "Back-off restarting failed container": the status says it
	"FailedSync":                    true, // "error determining status": the kubelet tries again
	"DNSConfigForming":              true, // a long search path, cut
	"FailedToUpdateEndpoint":        true, // a write conflict of a controller
	"FailedToUpdateEndpointSlices":  true,
	"FailedGetResourceMetric":       true, // an autoscaler that has no metrics of new pods yet
	"FailedComputeMetricsReplicas":  true,
	"CalculateExpectedPodCountFail": true,
	"NodeNotReady":                  true,
}

// eventsOf selects the events of one object.
func eventsOf(uid types.UID, warnings bool) string {
	selector := fields.OneTermEqualSelector("involvedObject.uid", string(uid))
	if warnings {
		selector = fields.AndSelectors(selector, fields.OneTermEqualSelector("type", "Warning"))
	}
	return selector.String()
}

// listEvents reads the events of one object since the deploy began, oldest first.
func (d *diagnosis) listEvents(ctx context.Context, uid types.UID, warnings bool) ([]Event, error) {
	namespace := d.namespace()
	if namespace == "" {
		namespace = metav1.NamespaceDefault // where events of cluster-scoped objects are
	}
	list, err := d.options.Dynamic.Resource(eventResource).Namespace(namespace).
		List(ctx, metav1.ListOptions{FieldSelector: eventsOf(uid, warnings), Limit: 500})
	if apierrors.IsForbidden(err) {
		d.denied("events", err)
	}
	if err != nil {
		return nil, err
	}
	d.denied("events", nil)
	var events []Event
	for i := range list.Items {
		if e := readEvent(&list.Items[i]); !e.Last.Before(d.since) {
			events = append(events, e)
		}
	}
	sortEvents(events)
	return events, nil
}

// readEvent reads what both generations of the events API leave in a v1 Event.
func readEvent(o *unstructured.Unstructured) Event {
	text := func(path ...string) string {
		s, _, _ := unstructured.NestedString(o.Object, path...)
		return s
	}
	moment := func(path ...string) time.Time {
		t, _ := time.Parse(time.RFC3339Nano, text(path...))
		return t
	}
	first := moment("firstTimestamp")
	last := moment("lastTimestamp")
	if first.IsZero() {
		first = moment("eventTime")
	}
	if first.IsZero() {
		first = o.GetCreationTimestamp().Time
	}
	if series := moment("series", "lastObservedTime"); series.After(last) {
		last = series
	}
	if last.Before(first) {
		last = first
	}
	count := max(number(o, 1, "count"), number(o, 1, "series", "count"), 1)
	part := text("involvedObject", "fieldPath") // spec.containers{model}
	if _, after, ok := strings.Cut(part, "{"); ok {
		part = strings.TrimSuffix(after, "}")
	} else {
		part = ""
	}
	return Event{
		First: first, Last: last, Count: int(count), Container: part, Warning: text("type") == "Warning",
		Object:  clean(text("involvedObject", "kind")+" "+text("involvedObject", "name"), phraseLimit),
		Reason:  clean(text("reason"), phraseLimit),
		Message: clean(text("message"), messageLimit),
	}
}

func sortEvents(events []Event) {
	slices.SortStableFunc(events, func(a, b Event) int {
		return cmp.Or(a.Last.Compare(b.Last), a.First.Compare(b.First))
	})
}

// individual is what tells equal messages about equal pods apart: addresses, and
// the generated names of pods that could not be created.
var individual = regexp.MustCompile(`\b\d+\.\d+\.\d+\.\d+\b|"[a-z0-9.-]+-[a-z0-9]{5}"`)

// merge puts equal events together, also those that equal pods have in common,
// leaves boring ones out, and keeps the newest eventLimit.
func merge(events []Event) []Event {
	type key struct{ kind, reason, message string }
	var merged []Event
	at := map[key]int{}
	for _, e := range events {
		if boringEvents[e.Reason] {
			continue
		}
		kind, name, _ := strings.Cut(e.Object, " ")
		// client-go's recorder begins so after ten alike (tools/record/events_cache.go).
		e.Message = strings.TrimPrefix(e.Message, "(combined from similar events): ")
		k := key{kind, e.Reason, strings.ReplaceAll(individual.ReplaceAllString(e.Message, ""), name, "")}
		i, ok := at[k]
		if !ok {
			at[k] = len(merged)
			merged = append(merged, e)
			continue
		}
		m := &merged[i]
		m.Count += e.Count
		if e.First.Before(m.First) {
			m.First = e.First
		}
		if e.Last.After(m.Last) {
			m.Last = e.Last
		}
	}
	sortEvents(merged)
	if len(merged) > eventLimit {
		merged = merged[len(merged)-eventLimit:]
	}
	return merged
}

// ownEvents takes in events of the object itself.
func (d *diagnosis) ownEvents(all ...unstructured.Unstructured) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range all {
		e := readEvent(&all[i])
		if e.Last.Before(d.since) {
			continue
		}
		same := slices.IndexFunc(d.own, func(x Event) bool { return x.Reason == e.Reason && x.Message == e.Message })
		if same >= 0 {
			d.own[same] = e
		} else {
			d.own = append(d.own, e)
		}
	}
	sortEvents(d.own)
	if len(d.own) > 100 {
		d.own = d.own[len(d.own)-100:]
	}
}

// askPods reads the events of pods that are not ready, since only those say
// what a probe answered and why a volume is not mounted.
func (d *diagnosis) askPods(ctx context.Context, wake func()) {
	for ctx.Err() == nil {
		for _, t := range d.toAsk() {
			events, err := d.listEvents(ctx, t.UID, false)
			if err != nil {
				continue // said in the explanation, if it is a right
			}
			if d.tell(t.UID, events) {
				wake()
			}
		}
		pauseFor(ctx, time.Second)
	}
}

// toAsk chooses the pods whose events are worth a request.
func (d *diagnosis) toAsk() []metav1.ObjectMeta {
	d.mu.Lock()
	defer d.mu.Unlock()
	var chosen []metav1.ObjectMeta
	if d.missing["events"] != "" {
		return nil
	}
	now := time.Now()
	for _, t := range d.suspects(d.live) {
		if t.ready() || t.class > passing || len(chosen) == askPodsLimit {
			continue
		}
		if t.asked.IsZero() {
			// Most pods need no more than a moment.
			t.asked = now.Add(2*time.Second - askEvery)
		}
		if now.Sub(t.asked) >= askEvery {
			t.asked = now
			chosen = append(chosen, t.pod.ObjectMeta)
		}
	}
	return chosen
}

// tell takes in the events of a pod, and tells whether they are news.
func (d *diagnosis) tell(pod types.UID, events []Event) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.pods[pod]
	if t == nil || slices.Equal(t.events, events) {
		return false
	}
	t.events = events
	t.refresh(time.Now())
	return true
}
