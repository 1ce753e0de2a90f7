package rollout

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// current returns the pods that this deploy made, oldest first. Those of
// earlier revisions, those being deleted and those that were displaced do not count.
func (d *diagnosis) current(live *unstructured.Unstructured) []*track {
	made := d.revision(live)
	return d.podsThat(func(pod *corev1.Pod) bool { return made(pod) && !displaced(pod) })
}

// blocking returns the pods of earlier revisions that a StatefulSet waits for
// before it updates any: it goes through its pods in order, and does not replace
// one that is not ready (kubernetes/kubernetes#67250).
func (d *diagnosis) blocking(live *unstructured.Unstructured) []*track {
	v := view{live: live}
	hash := v.text("status", "updateRevision")
	if d.kind != "StatefulSet" || !seenByController(live) || hash == "" ||
		v.text("spec", "podManagementPolicy") == "Parallel" || v.text("spec", "updateStrategy", "type") == "OnDelete" {
		return nil
	}
	mine := ownedBy(live.GetUID())
	unready := d.podsThat(func(pod *corev1.Pod) bool { return mine(pod) && pod.Labels[appsRevision] != hash })
	return slices.DeleteFunc(unready, func(t *track) bool { return t.ready() })
}

// appsRevision is the label by which StatefulSets and DaemonSets mark their pods.
const appsRevision = "controller-revision-hash"

// podsThat returns the pods that count for their controller and for a test, oldest first.
func (d *diagnosis) podsThat(count func(*corev1.Pod) bool) []*track {
	var found []*track
	for _, t := range d.pods {
		if t.pod.DeletionTimestamp != nil || !count(t.pod) {
			continue
		}
		// Controllers replace a pod that ended, and do not count it any more.
		ended := t.pod.Status.Phase == corev1.PodFailed || t.pod.Status.Phase == corev1.PodSucceeded
		if ended && d.kind != "Job" && d.kind != "Pod" {
			continue
		}
		found = append(found, t)
	}
	slices.SortFunc(found, func(a, b *track) int {
		if c := a.pod.CreationTimestamp.Compare(b.pod.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(a.pod.Name, b.pod.Name)
	})
	return found
}

func ownedBy(uid types.UID) func(*corev1.Pod) bool {
	return func(pod *corev1.Pod) bool {
		owner := metav1.GetControllerOf(pod)
		return owner != nil && owner.UID == uid
	}
}

// revision returns the test whether a pod is of the revision that is live.
// While the controller has not seen that revision yet, no pod is.
func (d *diagnosis) revision(live *unstructured.Unstructured) func(*corev1.Pod) bool {
	none := func(*corev1.Pod) bool { return false }
	switch d.kind {
	case "Pod":
		return func(pod *corev1.Pod) bool { return pod.UID == live.GetUID() }
	case "Job", "ReplicaSet":
		return ownedBy(live.GetUID())
	case "Deployment":
		if set := d.newReplicaSet(live); set != nil {
			return ownedBy(set.GetUID())
		}
		// Without the right to see ReplicaSets, the Deployment's own word has to do.
		if name := namedReplicaSet(live); name != "" && d.missing["replicasets"] != "" {
			return func(pod *corev1.Pod) bool {
				owner := metav1.GetControllerOf(pod)
				return owner != nil && owner.Kind == "ReplicaSet" && owner.Name == name
			}
		}
		return none
	case "StatefulSet":
		hash := view{live: live}.text("status", "updateRevision")
		if !seenByController(live) || hash == "" {
			return none
		}
		mine := ownedBy(live.GetUID())
		return func(pod *corev1.Pod) bool { return mine(pod) && pod.Labels[appsRevision] == hash }
	case "DaemonSet":
		// The server counts the versions of the template in an annotation, and the
		// controller copies the number to each pod: pkg/controller/daemon/util, IsPodUpdated.
		generation := live.GetAnnotations()["deprecated.daemonset.template.generation"]
		mine := ownedBy(live.GetUID())
		return func(pod *corev1.Pod) bool {
			return mine(pod) && generation != "" && pod.Labels["pod-template-generation"] == generation
		}
	}
	return none
}

// newReplicaSet finds the ReplicaSet of the live template, as the controller
// does (FindNewReplicaSet in pkg/controller/deployment/util): the oldest whose
// template equals the Deployment's. A webhook may have changed it, so the
// revision's number is the second way.
func (d *diagnosis) newReplicaSet(live *unstructured.Unstructured) *unstructured.Unstructured {
	var byTemplate, byRevision *unstructured.Unstructured
	revision := live.GetAnnotations()["deployment.kubernetes.io/revision"]
	template := bareTemplate(live)
	for _, uid := range slices.Sorted(maps.Keys(d.sets)) {
		set := d.sets[uid]
		owner := metav1.GetControllerOf(set)
		if owner == nil || owner.UID != live.GetUID() || set.GetDeletionTimestamp() != nil {
			continue
		}
		if equality.Semantic.DeepEqual(bareTemplate(set), template) && (byTemplate == nil || earlier(set, byTemplate)) {
			byTemplate = set
		}
		if seenByController(live) && revision != "" && set.GetAnnotations()["deployment.kubernetes.io/revision"] == revision {
			byRevision = set
		}
	}
	if byTemplate != nil {
		return byTemplate
	}
	return byRevision
}

func earlier(a, b *unstructured.Unstructured) bool {
	first, second := a.GetCreationTimestamp(), b.GetCreationTimestamp()
	return first.Time.Before(second.Time)
}

// bareTemplate is a workload's pod template without what its controller adds.
func bareTemplate(o *unstructured.Unstructured) map[string]any {
	template, _, _ := unstructured.NestedMap(o.Object, "spec", "template")
	unstructured.RemoveNestedField(template, "metadata", "labels", "pod-template-hash")
	unstructured.RemoveNestedField(template, "metadata", "creationTimestamp")
	return template
}

// namedReplicaSet reads the new ReplicaSet's name from the Progressing
// condition, whose messages are those of pkg/controller/deployment/{progress,sync}.go.
func namedReplicaSet(live *unstructured.Unstructured) string {
	c, ok := findCondition(conditionsOf(live), "Progressing")
	if !ok || !seenByController(live) {
		return ""
	}
	_, after, _ := strings.Cut(c.message, `"`)
	if name, _, ok := strings.Cut(after, `"`); ok && strings.HasPrefix(name, live.GetName()+"-") {
		return name
	}
	return ""
}

// seenByController tells whether the controller has seen the live generation.
func seenByController(live *unstructured.Unstructured) bool {
	return number(live, 0, "status", "observedGeneration") >= live.GetGeneration()
}

// wantedPods is how many pods the workload wants; 1 where it does not say.
func wantedPods(live *unstructured.Unstructured) int64 {
	switch live.GetKind() {
	case "Job":
		return number(live, 1, "spec", "parallelism")
	case "DaemonSet":
		return number(live, 0, "status", "desiredNumberScheduled")
	}
	return number(live, 1, "spec", "replicas")
}
