package candidate

import (
	"maps"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
)

// hidden are the labels of a template without those by which Services and the
// workload itself select their pods. Only these go: whatever else looks at labels,
// such as NetworkPolicies and rules of affinity, is to treat the candidate alike.
func (b *builder) hidden(u *unstructured.Unstructured, labels map[string]string) map[string]string {
	left := maps.Clone(labels)
	for _, service := range b.services(u.GetNamespace()) {
		if selector := selectorOf(service); selects(selector, left) {
			drop(left, selector)
		}
	}
	own := map[string]string{}
	for _, path := range [][]string{{"spec", "selector", "matchLabels"}, {"spec", "selector"}} { // the second of a ReplicationController
		for k, v := range object.Map(u.Object, path...) {
			if text, ok := v.(string); ok {
				own[k] = text
			}
		}
	}
	drop(left, own)
	return left
}

// services are those of a namespace, the set's own before those that are there.
func (b *builder) services(namespace string) []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for _, u := range slices.Concat(b.Objects, b.Services) {
		if u.GetKind() == "Service" && u.GetNamespace() == namespace {
			all = append(all, u)
		}
	}
	return all
}

func selectorOf(service *unstructured.Unstructured) map[string]string {
	selector, _, _ := unstructured.NestedStringMap(service.Object, "spec", "selector")
	return selector
}

// selects reports whether a selector finds labels. One that is empty finds nothing:
// the endpoints of such a Service are made by hand.
func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return len(selector) > 0
}

func drop(labels, selector map[string]string) {
	for k := range selector {
		delete(labels, k)
	}
}

// port is the container's port to which the Service that is asked leads; 0 if it
// does not lead to these pods.
func (b *builder) port(namespace string, labels map[string]string, spec map[string]any) int64 {
	if b.Front == nil || b.Front.GetNamespace() != namespace || !selects(selectorOf(b.Front), labels) {
		return 0
	}
	for _, p := range object.List(b.Front.Object, "spec", "ports") {
		if port, ok := p.(map[string]any); ok {
			return containerPort(port, spec)
		}
	}
	return 0
}

// containerPort follows a Service's targetPort, which may be the name of a port of
// a container, and is the Service's own port by default.
func containerPort(port, spec map[string]any) int64 {
	target := port["targetPort"]
	if target == nil {
		target = port["port"]
	}
	switch t := target.(type) {
	case int64:
		return t
	case float64:
		return int64(t)
	case string:
		if n, err := strconv.ParseInt(t, 10, 32); err == nil {
			return n
		}
		for _, c := range object.List(spec, "containers") {
			container, _ := c.(map[string]any)
			for _, p := range object.List(container, "ports") {
				if declared, ok := p.(map[string]any); ok && declared["name"] == t {
					u := &unstructured.Unstructured{Object: declared}
					return object.Number(u, 0, "containerPort")
				}
			}
		}
	}
	return 0
}
