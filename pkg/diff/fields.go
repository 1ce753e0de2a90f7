package diff

import (
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/org/deploy-model-action/pkg/object"
)

// kept are the fields of metadata that are an object's own; all others the server keeps.
var kept = []string{"labels", "annotations", "finalizers", "ownerReferences"}

// fieldsOf is a copy of what is an object's own; nil for none.
func fieldsOf(u *unstructured.Unstructured) map[string]any {
	if u == nil {
		return map[string]any{}
	}
	out := runtime.DeepCopyJSON(u.Object)
	delete(out, "status")
	metadata := map[string]any{}
	for _, field := range kept {
		if v, ok := object.Map(out, "metadata")[field]; ok {
			metadata[field] = v
		}
	}
	delete(out, "metadata")
	if len(metadata) > 0 {
		out["metadata"] = metadata
	}
	forget(out)
	return out
}

// forget leaves out everywhere what no manifest says: our marks, and what a controller
// gives the pods of a Job, another one each time.
func forget(v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, child := range v {
			switch {
			case object.IsMark(key), strings.HasSuffix(key, "controller-uid"), key == "job-name", key == "batch.kubernetes.io/job-name", key == "creationTimestamp" && child == nil:
				delete(v, key)
				continue
			}
			forget(child)
			if m, ok := child.(map[string]any); ok && len(m) == 0 && (key == "annotations" || key == "metadata") {
				delete(v, key)
			}
		}
	case []any:
		for _, child := range v {
			forget(child)
		}
	}
}

// forgetAllocated leaves out of a Service what the server will choose for it, and has
// chosen otherwise when it was asked: what is neither as before nor in the manifest.
func forgetAllocated(before, after map[string]any, manifest *unstructured.Unstructured) {
	if after["kind"] != "Service" {
		return
	}
	was, is, says := object.Map(before, "spec"), object.Map(after, "spec"), map[string]any{}
	if manifest != nil {
		says = object.Map(manifest.Object, "spec")
	}
	for _, field := range []string{"clusterIP", "clusterIPs", "healthCheckNodePort"} {
		_, said := says[field]
		if field == "clusterIPs" {
			_, said = says["clusterIP"] // the first of them
		}
		if !said && is["clusterIP"] != "None" && !reflect.DeepEqual(was[field], is[field]) {
			delete(is, field)
		}
	}
	known := map[any]bool{}
	for _, spec := range []map[string]any{was, says} {
		for _, p := range object.List(spec, "ports") {
			known[asMap(p)["nodePort"]] = true
		}
	}
	for _, p := range object.List(is, "ports") {
		if port := asMap(p); !known[port["nodePort"]] {
			delete(port, "nodePort")
		}
	}
}
