// Package object is what is known of a Kubernetes object by looking at it alone:
// who it is, what its conditions say, and the annotations that this action writes
// on it. All of it is pure; nothing here asks a cluster.
//
// What an object means for its pods is left to workload, whether it is ready to
// readiness, and every request to kube.
package object

import (
	"cmp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// ID says which object is meant, whatever version of its API serves it. It is
// comparable, and its zero value is no object.
type ID struct {
	Group, Kind     string
	Namespace, Name string // Namespace is "" for a cluster-scoped object
}

// Of returns the identity of an object.
func Of(u *unstructured.Unstructured) ID {
	kind := u.GroupVersionKind()
	return ID{Group: kind.Group, Kind: kind.Kind, Namespace: u.GetNamespace(), Name: u.GetName()}
}

// GroupKind is the kind with its API group.
func (id ID) GroupKind() schema.GroupKind { return schema.GroupKind{Group: id.Group, Kind: id.Kind} }

// Custom reports whether the object is of a kind that Kubernetes itself does not have.
func (id ID) Custom() bool {
	return strings.Contains(id.Group, ".") && !strings.HasSuffix(id.Group, ".k8s.io")
}

// String names the object for people: "Deployment models/classifier".
func (id ID) String() string {
	if id.Namespace == "" {
		return id.Kind + " " + id.Name
	}
	return id.Kind + " " + id.Namespace + "/" + id.Name
}

// Resource is kubectl's name of the object: "service/x", "deployment.apps/x".
func (id ID) Resource() string {
	name := strings.ToLower(id.Kind)
	if id.Group != "" {
		name += "." + id.Group
	}
	return name + "/" + id.Name
}

// Compare orders identities, so that lists of them are the same in every run.
func (id ID) Compare(other ID) int {
	return cmp.Or(
		cmp.Compare(id.Namespace, other.Namespace), cmp.Compare(id.Group, other.Group),
		cmp.Compare(id.Kind, other.Kind), cmp.Compare(id.Name, other.Name),
	)
}
