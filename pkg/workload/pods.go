// Package workload is what follows from a workload's own text for its pods: which
// they are, how many it wants, which of them are of its live revision, and on
// which nodes they may run. All of it is pure; the pods, ReplicaSets and nodes
// are given.
//
// Whether a workload is ready is left to readiness, why it is not to diagnosis,
// and every request to kube.
package workload

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/org/deploy-model-action/pkg/object"
)

// PodSet is what an object says of the pods that it makes.
type PodSet struct {
	// Kind is that of a workload whose pods are known here: Deployment,
	// StatefulSet, DaemonSet, ReplicaSet, Job, a bare Pod, or a custom kind that
	// serves models; else "".
	Kind string
	// Selector selects the pods, and of a Deployment the ReplicaSets, as a list
	// request wants it; "" if the object has none.
	Selector string
	// Images are those of the containers, init containers first; also of kinds
	// that are not known here and have a pod template.
	Images []string
	// Wanted is how many pods there shall be; 1 where it does not say, and 0 for a
	// custom kind of which nobody can say.
	Wanted int64
	// Role is the label that tells pods with different tasks apart; "" if all have one.
	Role string
	// ReplicaSets says that ReplicaSets make the pods, and Custom that the kind is
	// none of Kubernetes' own.
	ReplicaSets, Custom bool
}

// Pods reads what an object says of its pods.
func Pods(u *unstructured.Unstructured) PodSet {
	set := PodSet{Kind: kind(u), Selector: selector(u), Images: images(u), Wanted: wanted(u)}
	set.ReplicaSets = set.Kind == "Deployment"
	if c, ok := customOf(u); ok {
		set.Kind, set.Selector, set.Role, set.ReplicaSets, set.Custom = u.GetKind(), c.selector(u), c.role, c.replicaSets, true
		if set.Wanted = 0; set.Kind == "Rollout" {
			set.Wanted = wanted(u)
		}
	}
	return set
}

func kind(u *unstructured.Unstructured) string {
	switch id := object.Of(u); id.Group {
	case "apps", "batch", "":
		switch id.Kind {
		case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Pod":
			return id.Kind
		}
	}
	return ""
}

// selector is the workload's own. The API server serves no workload without one.
func selector(u *unstructured.Unstructured) string {
	raw := object.Map(u.Object, "spec", "selector")
	var selector metav1.LabelSelector
	if raw == nil || runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &selector) != nil {
		return ""
	}
	labels, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		return ""
	}
	return labels.String()
}

func images(u *unstructured.Unstructured) []string {
	path := []string{"spec", "template", "spec"}
	if kind(u) == "Pod" {
		path = []string{"spec"}
	}
	var all []string
	for _, field := range []string{"initContainers", "containers"} {
		for _, item := range object.List(object.Map(u.Object, path...), field) {
			m, _ := item.(map[string]any)
			if image, ok := m["image"].(string); ok {
				all = append(all, image)
			}
		}
	}
	return all
}

func wanted(u *unstructured.Unstructured) int64 {
	switch u.GetKind() {
	case "Job":
		return object.Number(u, 1, "spec", "parallelism")
	case "DaemonSet":
		return object.Number(u, 0, "status", "desiredNumberScheduled")
	}
	return object.Number(u, 1, "spec", "replicas")
}

// Observed reports whether an object's controller has observed its live generation,
// as far as its status says of which one it is.
func Observed(u *unstructured.Unstructured) bool {
	return object.Number(u, 0, "status", "observedGeneration") >= u.GetGeneration()
}

// Ready reports whether a pod serves.
func Ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// Displaced reports whether a pod ended, or is about to, for a reason that is not
// its own: evicted, preempted, its node shut down.
func Displaced(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	switch pod.Status.Reason {
	case "Evicted", "Preempting", "Preempted", "NodeShutdown", "Shutdown", "Terminated", "NodeLost", "NodeAffinity", "UnexpectedAdmissionError":
		return true
	}
	// Admission by the kubelet: OutOfcpu, OutOfmemory, OutOfnvidia.com/gpu.
	return strings.HasPrefix(pod.Status.Reason, "OutOf")
}
