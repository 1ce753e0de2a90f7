package rollout

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/org/deploy-model-action/pkg/object"
)

const fieldManager = object.FieldManager

// ours reports whether a deploy wrote these fields, or a way back did.
func ours(entry metav1.ManagedFieldsEntry) bool {
	return entry.Manager == fieldManager && entry.Subresource == ""
}

// clientOf reaches the objects of a target's resource and namespace.
func clientOf(t Target, o Options) dynamic.ResourceInterface {
	if t.Namespaced {
		return o.Dynamic.Resource(t.Resource).Namespace(t.Object.GetNamespace())
	}
	return o.Dynamic.Resource(t.Resource)
}

// sameRun reports whether the run that wrote a is the last one that wrote live.
func sameRun(live, a *unstructured.Unstructured) bool {
	for _, key := range []string{object.RunAnnotation, object.CommitAnnotation} {
		if live.GetAnnotations()[key] != a.GetAnnotations()[key] {
			return false
		}
	}
	return true
}

// some joins the first few of many.
func some(all []string) string {
	if len(all) > 5 {
		return strings.Join(all[:5], ", ") + fmt.Sprintf(" and %d more", len(all)-5)
	}
	return strings.Join(all, ", ")
}
