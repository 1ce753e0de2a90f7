package deploy

import (
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/org/deploy-model-action/pkg/image"
	"github.com/org/deploy-model-action/pkg/workload"
)

const (
	// nodesTimeout and nodesLimit bound what the nodes' platforms are worth: they
	// serve to foresee a failure, and the deploy goes on without them.
	nodesTimeout = 10 * time.Second
	nodesLimit   = 500
)

// PlatformError is an image that none of the nodes can run. Nothing was changed.
type PlatformError struct{ message string }

func (e *PlatformError) Error() string { return e.message }

// Title says what went wrong, in a few words.
func (e *PlatformError) Title() string { return "Platform does not fit" }

// fits compares the platforms that the images are made for with those of the
// nodes that their pods may be scheduled on: an image for another processor
// starts with "exec format error" and nothing else. One that fits none of the
// nodes is an error, one that fits only some a warning. Where there are no nodes
// to compare with (an autoscaler begins with none), nothing is said.
func (d *deployment) fits() error {
	if len(d.nodes) == 0 {
		return nil
	}
	platforms := map[string][]string{}
	for _, i := range d.resolved {
		platforms[i.Pinned] = i.Platforms()
	}
	seen := map[string]bool{}
	for _, use := range d.manifests.Images() {
		made, ok := platforms[use.Value]
		pod := podSpec(d.manifests.Objects[use.Object].Object, use.Path)
		if !ok || pod == nil {
			continue
		}
		fit, message := image.Fits(use.Value, made, workload.Platforms(workload.Nodes(pod, d.nodes)))
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
