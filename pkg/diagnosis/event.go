package diagnosis

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/redact"
)

// Bounds of the events of one object: that are read, and that are reported.
const (
	eventReadLimit = 500
	eventLimit     = 20
)

// Event is what Kubernetes recorded about an object; equal ones are one Event with a count.
type Event struct {
	First, Last time.Time
	Count       int
	Object      string // "Pod model-7c9-x2x"
	Reason      string // "FailedMount"
	Message     string
	Container   string // that it is about, if it is about one
	Warning     bool   // false: Normal
}

// String returns the event as one line, without its time.
func (e Event) String() string {
	s := fmt.Sprintf("%s %s: %s", e.Object, e.Reason, e.Message)
	if e.Count > 1 {
		s += fmt.Sprintf(" (%d times)", e.Count)
	}
	return s
}

// PodRef says which pod is meant.
type PodRef struct {
	Namespace, Name string
	UID             types.UID
}

// ListEvents reads the events of one object, or only its Warnings, oldest first.
func ListEvents(ctx context.Context, client *kube.Client, namespace string, uid types.UID, warnings bool) ([]Event, error) {
	if namespace == "" {
		namespace = metav1.NamespaceDefault // where events of cluster-scoped objects are
	}
	list, err := client.List(ctx, kube.Selection{Resource: kube.Events, Namespace: namespace, Fields: eventsOf(uid, warnings), Limit: eventReadLimit})
	if err != nil {
		return nil, err
	}
	var events []Event
	for i := range list.Items {
		events = append(events, readEvent(&list.Items[i]))
	}
	sortEvents(events)
	return events, nil
}

// eventsOf selects the events of one object.
func eventsOf(uid types.UID, warnings bool) string {
	selector := fields.OneTermEqualSelector("involvedObject.uid", string(uid))
	if warnings {
		selector = fields.AndSelectors(selector, fields.OneTermEqualSelector("type", "Warning"))
	}
	return selector.String()
}

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

// readEvent reads what both generations of the events API leave in a v1 Event.
func readEvent(u *unstructured.Unstructured) Event {
	text := func(path ...string) string { return object.Text(u, path...) }
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
		first = u.GetCreationTimestamp().Time
	}
	if series := moment("series", "lastObservedTime"); series.After(last) {
		last = series
	}
	if last.Before(first) {
		last = first
	}
	count := max(object.Number(u, 1, "count"), object.Number(u, 1, "series", "count"), 1)
	part := text("involvedObject", "fieldPath") // spec.containers{model}
	if _, after, ok := strings.Cut(part, "{"); ok {
		part = strings.TrimSuffix(after, "}")
	} else {
		part = ""
	}
	return Event{
		First: first, Last: last, Count: int(count), Container: part, Warning: text("type") == "Warning",
		Object:  line(text("involvedObject", "kind") + " " + text("involvedObject", "name")),
		Reason:  line(text("reason")),
		Message: redact.Line(text("message"), messageLimit),
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
