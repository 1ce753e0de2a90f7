package kube

import (
	"cmp"
	"context"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/org/deploy-model-action/pkg/object"
)

const (
	scaleSubresource = "scale"
	replicasPath     = ".spec.replicas"
	maxScalers       = 500 // of one namespace that are looked at
)

// scaler reports whether who wrote a field so sets it while the workload runs. A
// person who ran `kubectl scale` wrote through the same subresource, and is none.
func scaler(path, manager, subresource string) bool {
	if subresource == scaleSubresource {
		return !strings.HasPrefix(manager, "kubectl")
	}
	name := strings.ToLower(manager)
	return path == replicasPath && (strings.Contains(name, "autoscaler") || strings.Contains(name, "keda"))
}

// scaledPaths are the fields below spec that something scales, in the server's
// writing.
func scaledPaths(all []owner) map[string]string {
	paths := map[string]string{}
	for _, o := range all {
		if o.subresource() != scaleSubresource && !scaler(replicasPath, o.manager(), o.subresource()) {
			continue
		}
		for path := range o.fields().All() {
			if at := path.String(); scaler(at, o.manager(), o.subresource()) && strings.HasPrefix(at, ".spec.") {
				paths[at] = o.manager()
			}
		}
	}
	return paths
}

// keeps reports whether replicas must stay as they are although nobody wants them
// any more: those who held them let go, and the server would set them to 1.
func keeps(all []owner, tools []tool, body, live *unstructured.Unstructured) bool {
	if _, wanted := object.Map(body.Object, "spec")["replicas"]; wanted {
		return false
	}
	if _, set := object.Map(live.Object, "spec")["replicas"]; !set {
		return false
	}
	mine := func(o owner) bool { return o.ours() || o.isOf(tools) }
	path := fieldpath.MakePathOrDie("spec", "replicas")
	return held(all, mine).Has(path) && !held(all, func(o owner) bool { return !mine(o) }).Has(path)
}

// isZeroed reports whether a workload was scaled to zero, which leaves no owner of
// its replicas behind: the server does not record a number that is the zero value.
func isZeroed(live, manifest *unstructured.Unstructured) bool {
	if live == nil {
		return false
	}
	wanted, sent := fieldAt(manifest, replicasPath)
	if n, ok := fieldAt(live, replicasPath); !sent || !ok || n != int64(0) || wanted == int64(0) {
		return false
	}
	path := fieldpath.MakePathOrDie("spec", "replicas")
	return !held(ownersOf(live), func(owner) bool { return true }).Has(path)
}

// scalerOf finds the autoscaler of a workload that was scaled to zero. "" if there
// is none, or none that may be read: then a person did it, by kubectl scale.
func (w *Write) scalerOf(ctx context.Context) string {
	for _, resource := range []schema.GroupVersionResource{
		// KEDA, which scales to zero, makes one for all other numbers.
		{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"},
		{Group: "keda.sh", Version: "v1alpha1", Resource: "scaledobjects"},
	} {
		list, err := call(ctx, w.client, Patience{}, func(ctx context.Context) (*unstructured.UnstructuredList, error) {
			return w.client.Objects(Resource{resource, true}, w.about.Namespace).List(ctx, metav1.ListOptions{Limit: maxScalers})
		})
		if err != nil {
			continue
		}
		for i := range list.Items {
			target := object.Map(list.Items[i].Object, "spec", "scaleTargetRef")
			kind, _ := target["kind"].(string)
			if cmp.Or(kind, "Deployment") == w.about.Kind && target["name"] == w.about.Name {
				return list.Items[i].GetKind() + " " + list.Items[i].GetName()
			}
		}
	}
	return ""
}
