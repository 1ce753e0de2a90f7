package deploy

import (
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/org/deploy-model-action/pkg/image"
)

const (
	// nodesTimeout and nodesLimit bound what the nodes' platforms are worth: they
	// serve to foresee a failure, and the deploy goes on without them.
	nodesTimeout = 10 * time.Second
	nodesLimit   = 500

	archLabel = "kubernetes.io/arch"
	osLabel   = "kubernetes.io/os"
)

// PlatformError is an image that none of the nodes can run. Nothing was changed.
type PlatformError struct{ message string }

func (e *PlatformError) Error() string { return e.message }

// fits compares the platforms that the images are made for with those of the
// nodes that their pods may be scheduled on: an image for another processor
// starts with "exec format error" and nothing else. One that fits none of the
// nodes is an error, one that fits only some a warning. Where there are no nodes
// to compare with (an autoscaler begins with none), nothing is said.
func (d *deployment) fits(images []image.Image) error {
	if len(d.nodes) == 0 {
		return nil
	}
	platforms := map[string][]string{}
	for _, i := range images {
		platforms[i.Pinned] = i.Platforms
	}
	seen := map[string]bool{}
	for _, use := range d.manifests.Images() {
		made, ok := platforms[use.Value]
		pod := podSpec(d.manifests.Objects[use.Object].Object, use.Path)
		if !ok || pod == nil {
			continue
		}
		fit, message := image.Fits(use.Value, made, schedulable(d.nodes, pod))
		if fit == image.FitsNone {
			return &PlatformError{message}
		}
		if fit == image.FitsSome && !seen[message] {
			seen[message] = true
			d.log.Warning(message)
		}
	}
	return nil
}

// readNodes reads those that pods can be scheduled on; none if it may not.
func (d *deployment) readNodes(ctx context.Context) []corev1.Node {
	ctx, cancel := context.WithTimeout(ctx, nodesTimeout)
	defer cancel()
	list, err := d.client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "nodes"}).
		List(ctx, metav1.ListOptions{FieldSelector: "spec.unschedulable=false", Limit: nodesLimit})
	if err != nil {
		return nil
	}
	var nodes []corev1.Node
	for _, o := range list.Items {
		var node corev1.Node
		if runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &node) == nil {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// podSpec finds the pod that a container's image is part of.
func podSpec(object map[string]any, path string) *corev1.PodSpec {
	at := -1
	for _, list := range []string{".containers[", ".initContainers[", ".ephemeralContainers["} {
		at = max(at, strings.LastIndex(path, list))
	}
	if at < 0 {
		return nil
	}
	var value any = object
	for key := range strings.SplitSeq(path[:at], ".") {
		m, ok := value.(map[string]any)
		if !ok {
			return nil // inside a list: a custom resource whose pods differ
		}
		value = m[key]
	}
	m, ok := value.(map[string]any)
	if !ok {
		return nil
	}
	var pod corev1.PodSpec
	if runtime.DefaultUnstructuredConverter.FromUnstructured(m, &pod) != nil {
		return nil // the server will say what is wrong with it
	}
	return &pod
}

// schedulable returns the platforms of the nodes that the pod's selector and
// tolerations admit, each once.
func schedulable(nodes []corev1.Node, pod *corev1.PodSpec) []string {
	var platforms []string
	for _, node := range nodes {
		if !selected(node, pod) || !tolerated(node, pod) {
			continue
		}
		platform := node.Labels[osLabel] + "/" + node.Labels[archLabel]
		if !slices.Contains(platforms, platform) {
			platforms = append(platforms, platform)
		}
	}
	slices.Sort(platforms)
	return platforms
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
		if taint.Effect == corev1.TaintEffectPreferNoSchedule || taint.Key == archLabel && pod.NodeSelector[archLabel] == taint.Value {
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
