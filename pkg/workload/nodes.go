package workload

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// ArchLabel and OSLabel are the labels that say a node's platform.
const (
	ArchLabel = corev1.LabelArchStable
	OSLabel   = corev1.LabelOSStable
)

// Nodes returns those that a pod's selector and tolerations admit.
func Nodes(pod *corev1.PodSpec, nodes []corev1.Node) []corev1.Node {
	var admitted []corev1.Node
	for _, node := range nodes {
		if selected(node, pod) && tolerated(node, pod) {
			admitted = append(admitted, node)
		}
	}
	return admitted
}

func selected(node corev1.Node, pod *corev1.PodSpec) bool {
	for key, value := range pod.NodeSelector {
		if node.Labels[key] != value {
			return false
		}
	}
	return true
}

// tolerated also knows what GKE adds to pods that ask for a processor by their
// selector: a toleration of that processor's taint.
func tolerated(node corev1.Node, pod *corev1.PodSpec) bool {
	for _, taint := range node.Spec.Taints {
		if taint.Effect == corev1.TaintEffectPreferNoSchedule || taint.Key == ArchLabel && pod.NodeSelector[ArchLabel] == taint.Value {
			continue
		}
		if !slices.ContainsFunc(pod.Tolerations, func(t corev1.Toleration) bool {
			return (t.Key == taint.Key || t.Key == "") && (t.Operator == corev1.TolerationOpExists || t.Value == taint.Value) && (t.Effect == "" || t.Effect == taint.Effect)
		}) {
			return false
		}
	}
	return true
}

// Platforms returns the platforms of nodes, such as "linux/amd64", sorted and
// each once.
func Platforms(nodes []corev1.Node) []string {
	var platforms []string
	for _, node := range nodes {
		platform := node.Labels[OSLabel] + "/" + node.Labels[ArchLabel]
		if !slices.Contains(platforms, platform) {
			platforms = append(platforms, platform)
		}
	}
	slices.Sort(platforms)
	return platforms
}
