package workload

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/object"
)

// RevisionLabel is the label by which StatefulSets and DaemonSets mark their pods.
const RevisionLabel = "controller-revision-hash"

// revisionAnnotation is the number that a Deployment gives to itself and to the
// ReplicaSet of its template.
const revisionAnnotation = "deployment.kubernetes.io/revision"

// Revision says which pods are of the live revision of a workload. While its
// controller has not observed that revision yet, no pod is. The zero value includes
// no pod.
type Revision struct {
	workload *unstructured.Unstructured
	set      *unstructured.Unstructured // of a Deployment, or what makes one
	includes func(*corev1.Pod) bool
}

// NewRevision finds the live revision of a workload. ReplicaSets are needed for a
// Deployment only; nil says that they could not be read, so that the Deployment's
// own word has to do, and an empty list that there are none.
func NewRevision(u *unstructured.Unstructured, replicaSets []*unstructured.Unstructured) Revision {
	r := Revision{workload: u}
	if c, ok := customOf(u); ok {
		r.set, r.includes = c.replicaSet(u, replicaSets), c.includes(u)
		return r
	}
	switch kind(u) {
	case "Pod":
		r.includes = func(pod *corev1.Pod) bool { return pod.UID == u.GetUID() }
	case "Job", "ReplicaSet":
		r.includes = func(pod *corev1.Pod) bool { return ownedBy(pod, u.GetUID()) }
	case "Deployment":
		r.set = newReplicaSet(u, replicaSets)
		if r.set != nil {
			r.includes = func(pod *corev1.Pod) bool { return ownedBy(pod, r.set.GetUID()) }
		} else if name := namedReplicaSet(u); name != "" && replicaSets == nil {
			r.includes = func(pod *corev1.Pod) bool {
				owner := metav1.GetControllerOf(pod)
				return owner != nil && owner.Kind == "ReplicaSet" && owner.Name == name
			}
		}
	case "StatefulSet":
		if hash := updateRevision(u); hash != "" {
			r.includes = func(pod *corev1.Pod) bool { return ownedBy(pod, u.GetUID()) && pod.Labels[RevisionLabel] == hash }
		}
	case "DaemonSet":
		// The server counts the versions of the template in an annotation, and the
		// controller copies the number to each pod: pkg/controller/daemon/util, IsPodUpdated.
		if generation := u.GetAnnotations()["deprecated.daemonset.template.generation"]; generation != "" {
			r.includes = func(pod *corev1.Pod) bool {
				return ownedBy(pod, u.GetUID()) && pod.Labels["pod-template-generation"] == generation
			}
		}
	}
	return r
}

// Includes reports whether a pod is of the live revision.
func (r Revision) Includes(pod *corev1.Pod) bool { return r.includes != nil && r.includes(pod) }

// ReplicaSet is the one of a Deployment's live revision; nil if it is not known.
func (r Revision) ReplicaSet() *unstructured.Unstructured { return r.set }

// Blocks reports whether a pod of an earlier revision keeps a StatefulSet from
// updating any: it goes through its pods in order, and does not replace one that
// is not ready (kubernetes/kubernetes#67250).
func (r Revision) Blocks(pod *corev1.Pod) bool {
	if r.workload == nil || kind(r.workload) != "StatefulSet" {
		return false
	}
	hash := updateRevision(r.workload)
	return hash != "" &&
		object.Text(r.workload, "spec", "podManagementPolicy") != "Parallel" &&
		object.Text(r.workload, "spec", "updateStrategy", "type") != "OnDelete" &&
		ownedBy(pod, r.workload.GetUID()) && pod.Labels[RevisionLabel] != hash && !Ready(pod)
}

// Select returns the pods that a test accepts, oldest first. Those that do not
// count for the workload's controller any more are left out: what is being
// deleted, and what ended and is replaced.
func (r Revision) Select(pods []*corev1.Pod, accept func(*corev1.Pod) bool) []*corev1.Pod {
	var found []*corev1.Pod
	for _, pod := range pods {
		ended := pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
		if ended && !endsByItself(r.workload) {
			continue
		}
		if pod.DeletionTimestamp == nil && accept(pod) {
			found = append(found, pod)
		}
	}
	slices.SortFunc(found, func(a, b *corev1.Pod) int {
		if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return found
}

// endsByItself reports whether a workload's pods have an end that counts.
func endsByItself(u *unstructured.Unstructured) bool {
	switch u.GetKind() {
	case "Job", "Pod", "JobSet", "RayJob":
		return true
	}
	return false
}

// ToPods converts pods; what the API server itself would not serve is left out.
func ToPods(list []unstructured.Unstructured) []*corev1.Pod {
	var pods []*corev1.Pod
	for i := range list {
		pod := &corev1.Pod{}
		if runtime.DefaultUnstructuredConverter.FromUnstructured(list[i].Object, pod) == nil {
			pods = append(pods, pod)
		}
	}
	return pods
}

func ownedBy(pod *corev1.Pod, uid types.UID) bool {
	owner := metav1.GetControllerOf(pod)
	return owner != nil && owner.UID == uid
}

// updateRevision is the hash of a StatefulSet's live revision; "" while its
// controller has not observed it.
func updateRevision(u *unstructured.Unstructured) string {
	if !Observed(u) {
		return ""
	}
	return object.Text(u, "status", "updateRevision")
}

// newReplicaSet finds the ReplicaSet of the live template, as the controller
// does (FindNewReplicaSet in pkg/controller/deployment/util): the oldest whose
// template equals the Deployment's. A webhook may have changed it, so the
// revision's number is the second way.
func newReplicaSet(u *unstructured.Unstructured, sets []*unstructured.Unstructured) *unstructured.Unstructured {
	var byTemplate, byRevision *unstructured.Unstructured
	revision := u.GetAnnotations()[revisionAnnotation]
	template := bareTemplate(u)
	for _, set := range slices.SortedFunc(slices.Values(sets), func(a, b *unstructured.Unstructured) int {
		return strings.Compare(string(a.GetUID()), string(b.GetUID()))
	}) {
		owner := metav1.GetControllerOf(set)
		if owner == nil || owner.UID != u.GetUID() || set.GetDeletionTimestamp() != nil {
			continue
		}
		if equality.Semantic.DeepEqual(bareTemplate(set), template) && (byTemplate == nil || earlier(set, byTemplate)) {
			byTemplate = set
		}
		if Observed(u) && revision != "" && set.GetAnnotations()[revisionAnnotation] == revision {
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
func bareTemplate(u *unstructured.Unstructured) map[string]any {
	template, _, _ := unstructured.NestedMap(u.Object, "spec", "template")
	unstructured.RemoveNestedField(template, "metadata", "labels", "pod-template-hash")
	unstructured.RemoveNestedField(template, "metadata", "creationTimestamp")
	return template
}

// namedReplicaSet reads the new ReplicaSet's name from the Progressing
// condition, whose messages are those of pkg/controller/deployment/{progress,sync}.go.
func namedReplicaSet(u *unstructured.Unstructured) string {
	c, ok := object.ConditionOf(u, "Progressing")
	if !ok || !Observed(u) {
		return ""
	}
	_, after, _ := strings.Cut(c.Message, `"`)
	if name, _, ok := strings.Cut(after, `"`); ok && strings.HasPrefix(name, u.GetName()+"-") {
		return name
	}
	return ""
}
