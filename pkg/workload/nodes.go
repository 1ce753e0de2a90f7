package workload

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// ArchLabel and OSLabel are the labels that say a node's platform.
const (
	ArchLabel = corev1.LabelArchStable
	OSLabel   = corev1.LabelOSStable
)

// Nodes returns those that a pod's selector, required affinity and tolerations admit.
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
	terms := requiredTerms(pod)
	return len(terms) == 0 || slices.ContainsFunc(terms, func(t corev1.NodeSelectorTerm) bool { return admits(t, node) })
}

// requiredTerms are those of the pod's node affinity, of which one has to match.
func requiredTerms(pod *corev1.PodSpec) []corev1.NodeSelectorTerm {
	if a := pod.Affinity; a != nil && a.NodeAffinity != nil && a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		return a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	}
	return nil
}

// admits reports whether a node has the labels that a term wants. Fields name
// single nodes, and are taken to match.
func admits(term corev1.NodeSelectorTerm, node corev1.Node) bool {
	for _, e := range term.MatchExpressions {
		r, err := labels.NewRequirement(e.Key, operator(e.Operator), e.Values)
		if err != nil || !r.Matches(labels.Set(node.Labels)) {
			return false
		}
	}
	return true
}

// operator is the same in selectors of labels.
func operator(op corev1.NodeSelectorOperator) selection.Operator {
	switch op {
	case corev1.NodeSelectorOpIn:
		return selection.In
	case corev1.NodeSelectorOpNotIn:
		return selection.NotIn
	case corev1.NodeSelectorOpExists:
		return selection.Exists
	case corev1.NodeSelectorOpDoesNotExist:
		return selection.DoesNotExist
	case corev1.NodeSelectorOpGt:
		return selection.GreaterThan
	case corev1.NodeSelectorOpLt:
		return selection.LessThan
	}
	return selection.Operator(op)
}

// Names reports whether a pod asks for nodes of a platform (linux/arm64) by their
// processor: then it waits for one, also if there is none yet.
func Names(pod *corev1.PodSpec, platform string) bool {
	_, arch, _ := strings.Cut(platform, "/")
	arch, _, _ = strings.Cut(arch, "/")
	return arch != "" && asksFor(pod, arch)
}

// asksFor reports whether a pod asks for a processor.
func asksFor(pod *corev1.PodSpec, arch string) bool {
	return pod.NodeSelector[ArchLabel] == arch || slices.ContainsFunc(requiredTerms(pod), func(t corev1.NodeSelectorTerm) bool {
		return slices.ContainsFunc(t.MatchExpressions, func(e corev1.NodeSelectorRequirement) bool {
			return e.Key == ArchLabel && e.Operator == corev1.NodeSelectorOpIn && slices.Contains(e.Values, arch)
		})
	})
}

// tolerated also knows what GKE adds to pods that ask for a processor by their
// selector or affinity: a toleration of that processor's taint.
func tolerated(node corev1.Node, pod *corev1.PodSpec) bool {
	for _, taint := range node.Spec.Taints {
		if taint.Effect == corev1.TaintEffectPreferNoSchedule || taint.Key == ArchLabel && asksFor(pod, taint.Value) {
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
