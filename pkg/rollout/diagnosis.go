package rollout

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

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
	d := &diagnosis{
		target: t, options: o, live: t.Object, since: began(t),
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
	return d
}

// began is the server's time of the write. An object that came without
// managedFields was written after the last write before, which is the best that
// is known until it is seen again. What the deploy did not change is looked at
// from now on.
func began(t Target) time.Time {
	if t.Changed {
		at := written(t.Object, ours)
		if at.IsZero() && t.Before != nil {
			at = written(t.Before, func(metav1.ManagedFieldsEntry) bool { return true })
		}
		if at.IsZero() {
			at = t.Object.GetCreationTimestamp().Time
		}
		if !at.IsZero() {
			return at
		}
	}
	// Clocks of runners and clusters differ by a little.
	return time.Now().Add(-5 * time.Second)
}

// written is when some managers last wrote an object, by the server's clock, to the second.
func written(o *unstructured.Unstructured, by func(metav1.ManagedFieldsEntry) bool) time.Time {
	var newest time.Time
	for _, entry := range o.GetManagedFields() {
		if by(entry) && entry.Time != nil && entry.Time.After(newest) {
			newest = entry.Time.Time
		}
	}
	return newest
}

// show takes in the object as it is now. Who calls it holds the lock.
func (d *diagnosis) show(live *unstructured.Unstructured) {
	d.live = live
	if at := written(live, ours); d.target.Changed && at.After(d.since) {
		d.since = at
	}
	if d.kind == "Pod" {
		d.listed = true
		d.seePod(live) // it is its own only pod
	}
}

// follow keeps the diagnosis up to date until ctx ends; wake is called on each change.
func (d *diagnosis) follow(ctx context.Context, wake func()) {
	var group sync.WaitGroup
	for _, w := range d.watches(wake) {
		group.Go(func() { w.run(ctx) })
	}
	group.Go(func() { d.askPods(ctx, wake) })
	group.Wait()
}

// watches are what has to be watched to know the object's pods, and those that
// could not be created.
func (d *diagnosis) watches(wake func()) []*listWatch {
	if d.kind == "" || d.kind == "Pod" {
		return nil
	}
	only, ok := d.podOptions()
	if !ok {
		return nil
	}
	pods := d.watchPods(only, wake)
	switch d.kind {
	case "Deployment":
		return []*listWatch{d.watchSets(only, wake), pods}
	case "StatefulSet", "DaemonSet", "Job":
		return []*listWatch{d.watchEvents(wake), pods}
	}
	return []*listWatch{pods}
}

func (d *diagnosis) watchPods(only metav1.ListOptions, wake func()) *listWatch {
	return &listWatch{
		resource: d.options.Dynamic.Resource(podResource).Namespace(d.namespace()),
		only:     only,
		replace:  func(all []unstructured.Unstructured) { d.replacePods(all); wake() },
		change:   func(kind watch.EventType, o *unstructured.Unstructured) { d.changePod(kind, o); wake() },
		denied:   func(err error) { d.denied("pods", err); wake() },
	}
}

func (d *diagnosis) watchSets(only metav1.ListOptions, wake func()) *listWatch {
	return &listWatch{
		resource: d.options.Dynamic.Resource(replicaSetResource).Namespace(d.namespace()),
		only:     only,
		replace:  func(all []unstructured.Unstructured) { d.replaceSets(all); wake() },
		change:   func(kind watch.EventType, o *unstructured.Unstructured) { d.changeSet(kind, o); wake() },
		denied:   func(err error) { d.denied("replicasets", err); wake() },
	}
}

// watchEvents follows the Warnings of the workload itself: only there do these
// controllers say that they cannot create a pod.
func (d *diagnosis) watchEvents(wake func()) *listWatch {
	return &listWatch{
		resource: d.options.Dynamic.Resource(eventResource).Namespace(d.namespace()),
		only:     metav1.ListOptions{FieldSelector: eventsOf(d.target.Object.GetUID(), true)},
		replace:  func(all []unstructured.Unstructured) { d.ownEvents(all...); wake() },
		change: func(kind watch.EventType, o *unstructured.Unstructured) {
			if kind != watch.Deleted {
				d.ownEvents(*o)
				wake()
			}
		},
		denied: func(err error) { d.denied("events", err) },
	}
}

// podOptions select the pods, and for a Deployment the ReplicaSets, by the
// workload's own selector. The API server serves no workload without one.
func (d *diagnosis) podOptions() (metav1.ListOptions, bool) {
	var selector metav1.LabelSelector
	raw, ok, _ := unstructured.NestedMap(d.target.Object.Object, "spec", "selector")
	if !ok || runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &selector) != nil {
		return metav1.ListOptions{}, false
	}
	labels, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		return metav1.ListOptions{}, false
	}
	return metav1.ListOptions{LabelSelector: labels.String()}, true
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
	t.see(pod, time.Now())
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

// rights say what is not known without a right, and which one it is.
var rights = map[string]string{
	"pods":        `the pods cannot be read: a Role in namespace %q has to allow "list" and "watch" on pods`,
	"pods/log":    `the log cannot be read: a Role in namespace %q has to allow "get" on pods/log`,
	"replicasets": `the ReplicaSets cannot be read: a Role in namespace %q has to allow "list" and "watch" on replicasets of API group "apps"`,
	"events":      `the events cannot be read: a Role in namespace %q has to allow "list" and "watch" on events`,
}

// denied remembers that a right is missing, or with nil that it is there again.
func (d *diagnosis) denied(resource string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		delete(d.missing, resource)
		return
	}
	d.missing[resource] = fmt.Sprintf(rights[resource], d.namespace())
}

// lacks returns the sentence about a right that is missing.
func (d *diagnosis) lacks(resource string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.missing[resource]
}
