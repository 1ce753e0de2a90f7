package deploy

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

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
// to compare with (an autoscaler begins with none), or the pod asks for a processor
// of which there is none yet, nothing is said: without the pod none would come.
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
		awaited := slices.ContainsFunc(made, func(platform string) bool { return workload.Names(pod, platform) })
		if fit == image.FitsNone && !awaited {
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
	body, err := d.client.REST.Get().AbsPath("/api/v1/nodes").
		Param("fieldSelector", "spec.unschedulable=false").Param("limit", strconv.Itoa(nodesLimit)).
		SetHeader("Accept", "application/json").Stream(ctx)
	if err != nil {
		return nil
	}
	defer body.Close()
	nodes, err := decodeNodes(body)
	if err != nil {
		return nil
	}
	return nodes
}

// decodeNodes takes from a list of nodes what says which pods go where. A node has
// tens of kilobytes, most of them names of images, so that one is decoded after
// the other and nothing else of it kept.
func decodeNodes(list io.Reader) ([]corev1.Node, error) {
	decoder := json.NewDecoder(list)
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	var nodes []corev1.Node
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		if key != "items" {
			if err := decoder.Decode(&json.RawMessage{}); err != nil {
				return nil, err
			}
			continue
		}
		if begin, err := decoder.Token(); err != nil || begin != json.Delim('[') {
			return nil, err // null, where there are none
		}
		for decoder.More() {
			var item struct {
				Metadata struct{ Labels map[string]string }
				Spec     struct{ Taints []corev1.Taint }
			}
			if err := decoder.Decode(&item); err != nil {
				return nil, err
			}
			if len(nodes) < nodesLimit {
				nodes = append(nodes, corev1.Node{
					ObjectMeta: metav1.ObjectMeta{Labels: item.Metadata.Labels}, Spec: corev1.NodeSpec{Taints: item.Spec.Taints},
				})
			}
		}
		if _, err := decoder.Token(); err != nil {
			return nil, err
		}
	}
	return nodes, nil
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
