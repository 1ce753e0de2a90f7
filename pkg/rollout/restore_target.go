package rollout

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/org/deploy-model-action/pkg/object"
)

// What the way back needs until it is apply's, and goes with it.

// messageLimit bounds a foreign message of its own, in runes.
const messageLimit = 1000

// RestoreOptions say how to reach the cluster.
type RestoreOptions struct {
	// Dynamic reads and writes objects. Its own rate limit should be off.
	Dynamic dynamic.Interface
}

// Target is one object that was applied.
type Target struct {
	// Object is as the apply returned it. It may come without managedFields.
	Object *unstructured.Unstructured
	// Before is the object as it was; nil if it did not exist.
	Before *unstructured.Unstructured
	// Resource is where the API server serves it.
	Resource   schema.GroupVersionResource
	Namespaced bool
	// Changed says that the apply wrote something.
	Changed bool
}

// resourceName is kubectl's name of an object: "service/x", "deployment.apps/x".
func resourceName(o *unstructured.Unstructured) string { return object.Of(o).Resource() }

// kindAndName is an object's kind, namespace and name.
func kindAndName(o *unstructured.Unstructured) string { return object.Of(o).String() }
