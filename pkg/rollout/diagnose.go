package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// defaultPersist is how long a state has to last until it proves a failure.
const defaultPersist = 60 * time.Second

var (
	podResource        = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	eventResource      = schema.GroupVersionResource{Version: "v1", Resource: "events"}
	replicaSetResource = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
)

// diagnosis follows the pods of one object and says what is wrong with them.
type diagnosis struct {
	target  Target
	options Options
	kind    string    // of a workload that has pods, else ""
	since   time.Time // when the deploy wrote the object, by the server's clock

	mu      sync.Mutex
	live    *unstructured.Unstructured
	listed  bool // the pods are known
	pods    map[types.UID]*track
	sets    map[types.UID]*unstructured.Unstructured // ReplicaSets
	own     []Event                                  // of the object itself
	missing map[string]string                        // resource → the right that is missing, in a sentence
	refused struct {
		key   string
		since time.Time
	}
	warned map[string]bool
}

func newDiagnosis(t Target, o Options) *diagnosis {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Persist <= 0 {
		o.Persist = defaultPersist
	}
	d := &diagnosis{
		target: t, options: o, live: t.Object,
		pods:    map[types.UID]*track{},
		sets:    map[types.UID]*unstructured.Unstructured{},
		missing: map[string]string{},
		warned:  map[string]bool{},
	}
	switch gvk := t.Object.GroupVersionKind(); gvk.Group {
	case "apps", "batch", "":
		switch gvk.Kind {
		case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Pod":
			d.kind = gvk.Kind
		}
	}
	d.since = began(t, o.Now())
	return d
}

// began is the server's time of the write, which managedFields hold to the
// second. What the deploy did not change is looked at from now on.
func began(t Target, now time.Time) time.Time {
	var newest time.Time
	if t.Changed {
		for _, entry := range t.Object.GetManagedFields() {
			if entry.Manager == fieldManager && entry.Operation == metav1.ManagedFieldsOperationApply && entry.Time != nil && entry.Time.After(newest) {
				newest = entry.Time.Time
			}
		}
		if newest.IsZero() {
			newest = t.Object.GetCreationTimestamp().Time
		}
	}
	if newest.IsZero() {
		// Clocks of runners and clusters differ by a little.
		newest = now.Add(-5 * time.Second)
	}
	return newest
}

// follow keeps the diagnosis up to date until ctx ends; wake is called on each change.
func (d *diagnosis) follow(ctx context.Context, wake func()) {
	if d.kind == "" {
		return
	}
	var streams []*stream
	pods, err := d.podOptions()
	if err != nil {
		return
	}
	streams = append(streams, d.podStream(pods, wake))
	switch d.kind {
	case "Deployment":
		streams = append(streams, d.setStream(pods, wake))
	case "StatefulSet", "DaemonSet", "Job":
		streams = append(streams, d.eventStream(wake))
	}
	var group sync.WaitGroup
	for _, s := range streams {
		group.Go(func() { s.run(ctx) })
	}
	group.Go(func() { d.askPods(ctx, wake) })
	group.Wait()
}

func (d *diagnosis) podStream(only metav1.ListOptions, wake func()) *stream {
	return &stream{
		resource: d.options.Dynamic.Resource(podResource).Namespace(d.namespace()),
		only:     only,
		replace:  func(all []unstructured.Unstructured) { d.replacePods(all); wake() },
		change:   func(kind watch.EventType, o *unstructured.Unstructured) { d.changePod(kind, o); wake() },
		denied:   func(verb string, err error) { d.denied("pods", verb, err); wake() },
	}
}

func (d *diagnosis) setStream(only metav1.ListOptions, wake func()) *stream {
	return &stream{
		resource: d.options.Dynamic.Resource(replicaSetResource).Namespace(d.namespace()),
		only:     only,
		replace:  func(all []unstructured.Unstructured) { d.replaceSets(all); wake() },
		change:   func(kind watch.EventType, o *unstructured.Unstructured) { d.changeSet(kind, o); wake() },
		denied:   func(verb string, err error) { d.denied("replicasets", verb, err); wake() },
	}
}

// eventStream follows the Warnings of the workload itself: only there do these
// controllers say that they cannot create a pod.
func (d *diagnosis) eventStream(wake func()) *stream {
	return &stream{
		resource: d.options.Dynamic.Resource(eventResource).Namespace(d.namespace()),
		only:     metav1.ListOptions{FieldSelector: eventsOf(d.target.Object.GetUID(), true)},
		replace:  func(all []unstructured.Unstructured) { d.ownEvents(all...); wake() },
		change: func(kind watch.EventType, o *unstructured.Unstructured) {
			if kind != watch.Deleted {
				d.ownEvents(*o)
				wake()
			}
		},
		denied: func(verb string, err error) { d.denied("events", verb, err) },
	}
}

// podOptions select the pods, and for a Deployment the ReplicaSets, by the workload's own selector.
func (d *diagnosis) podOptions() (metav1.ListOptions, error) {
	o := d.target.Object
	if d.kind == "Pod" {
		return metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", o.GetName()).String()}, nil
	}
	raw, ok, err := unstructured.NestedMap(o.Object, "spec", "selector")
	if err != nil || !ok {
		return metav1.ListOptions{}, fmt.Errorf("selector of %s: not set", kindAndName(o))
	}
	var selector metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &selector); err != nil {
		return metav1.ListOptions{}, fmt.Errorf("selector of %s: %w", kindAndName(o), err)
	}
	labels, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		return metav1.ListOptions{}, fmt.Errorf("selector of %s: %w", kindAndName(o), err)
	}
	return metav1.ListOptions{LabelSelector: labels.String()}, nil
}

func (d *diagnosis) namespace() string { return d.target.Object.GetNamespace() }

func (d *diagnosis) replacePods(all []unstructured.Unstructured) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.listed = true
	there := map[types.UID]bool{}
	for i := range all {
		there[all[i].GetUID()] = true
		d.seePod(&all[i])
	}
	for uid := range d.pods {
		if !there[uid] {
			delete(d.pods, uid)
		}
	}
}

func (d *diagnosis) changePod(kind watch.EventType, o *unstructured.Unstructured) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if kind == watch.Deleted {
		delete(d.pods, o.GetUID())
		return
	}
	d.seePod(o)
}

func (d *diagnosis) seePod(o *unstructured.Unstructured) {
	pod := &corev1.Pod{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, pod); err != nil {
		return // a pod that the API server itself would not serve
	}
	t := d.pods[pod.UID]
	if t == nil {
		t = &track{kind: d.kind, baseline: map[string]int32{}}
		// Restarts from before this deploy are not its fault.
		if pod.CreationTimestamp.Time.Before(d.since) {
			for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
				t.baseline[status.Name] = status.RestartCount
			}
		}
		d.pods[pod.UID] = t
	}
	t.see(pod, d.options.Now())
}

func (d *diagnosis) replaceSets(all []unstructured.Unstructured) {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.sets)
	for i := range all {
		d.sets[all[i].GetUID()] = &all[i]
	}
}

func (d *diagnosis) changeSet(kind watch.EventType, o *unstructured.Unstructured) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if kind == watch.Deleted {
		delete(d.sets, o.GetUID())
		return
	}
	d.sets[o.GetUID()] = o
}

// denied remembers a right that is missing, or that it is there again.
func (d *diagnosis) denied(resource, verb string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		delete(d.missing, resource)
		return
	}
	verbs := `"list" and "watch"`
	if verb == "get" {
		verbs = `"get"`
	}
	shown := strings.TrimSuffix(resource, "/log")
	what := map[string]string{"pods": "the pods", "pods/log": "the log", "replicasets": "the ReplicaSets", "events": "the events"}[resource]
	group := ""
	if shown == "replicasets" {
		group = ` of API group "apps"`
	}
	d.missing[resource] = fmt.Sprintf("%s cannot be read: a Role in namespace %q has to allow %s on %s%s", what, d.namespace(), verbs, resource, group)
}

// kindAndName is an object's kind, namespace and name.
func kindAndName(o *unstructured.Unstructured) string {
	if o.GetNamespace() == "" {
		return o.GetKind() + " " + o.GetName()
	}
	return fmt.Sprintf("%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName())
}
