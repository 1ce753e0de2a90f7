package kube

import (
	"maps"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
)

// absent is the resourceVersion that an apply names in order to create: it
// creates what does not exist, and conflicts with whatever does, also when it is
// forced. "0" would count as none.
const absent = "1"

// serverside are the fields of metadata that are the server's own. A manifest
// that was exported from a cluster has them.
var serverside = []string{"resourceVersion", "uid", "managedFields", "generation", "creationTimestamp", "selfLink"}

// Manifest is an object as a manifest may ask for it: without what is the
// server's own, and without the marks of an earlier run. It names what it left
// out; the object itself is not changed.
func Manifest(u *unstructured.Unstructured) (clean *unstructured.Unstructured, ignored []string) {
	out := shallowAt(u.Object, "metadata", "annotations")
	metadata := object.Map(out, "metadata")
	for _, key := range serverside {
		if v, ok := metadata[key]; ok {
			delete(metadata, key)
			if v != nil {
				ignored = append(ignored, "metadata."+key)
			}
		}
	}
	annotations := object.Map(out, "metadata", "annotations")
	for _, key := range []string{object.RunAnnotation, object.CommitAnnotation} {
		if _, ok := annotations[key]; ok {
			delete(annotations, key)
			ignored = append(ignored, "the annotation "+key)
		}
	}
	if status, ok := out["status"]; ok {
		delete(out, "status")
		if m, isMap := status.(map[string]any); status != nil && (!isMap || len(m) > 0) {
			ignored = append(ignored, "status")
		}
	}
	return &unstructured.Unstructured{Object: out}, ignored
}

// body is what is sent of a manifest's object: without what is left to others.
func (t terms) body(manifest *unstructured.Unstructured) *unstructured.Unstructured {
	out := manifest.Object
	for path := range t.yield {
		fields := strings.Split(strings.TrimPrefix(path, "."), ".")
		parents := fields[:len(fields)-1]
		out = shallowAt(out, parents...)
		delete(object.Map(out, parents...), fields[len(fields)-1])
	}
	return &unstructured.Unstructured{Object: out}
}

// pinned is a body that holds for one state of the object only, so that nobody's
// write in between is lost. Its metadata is a copy.
func pinned(body, live *unstructured.Unstructured) *unstructured.Unstructured {
	out := &unstructured.Unstructured{Object: shallowAt(body.Object, "metadata")}
	if live == nil {
		out.SetResourceVersion(absent)
		return out
	}
	out.SetUID(live.GetUID())
	out.SetResourceVersion(live.GetResourceVersion())
	return out
}

// asMigrated is a merge patch that leaves the object as the migration of tools
// and the apply together will: the manifest, beside what others hold. Lists are
// whole in a merge patch: what others added to one of the manifest's is not in it.
func (t terms) asMigrated(live, manifest *unstructured.Unstructured, tools []tool) *unstructured.Unstructured {
	all := ownersOf(live)
	mine := func(o owner) bool { return o.ours() || o.isOf(tools) }
	leaving := held(all, mine).Difference(held(all, func(o owner) bool { return !mine(o) }))
	rest, _ := without(live.Object, leaving).(map[string]any)
	patch := mergePatch(live.Object, overlay(rest, t.body(manifest).Object))
	patch["apiVersion"], patch["kind"] = manifest.GetAPIVersion(), manifest.GetKind()
	return &unstructured.Unstructured{Object: patch}
}

// overlay is a with everything that b says; lists of b replace those of a.
func overlay(a, b map[string]any) map[string]any {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]any{}
	}
	for key, v := range b {
		under, isMap := out[key].(map[string]any)
		over, both := v.(map[string]any)
		if isMap && both {
			out[key] = overlay(under, over)
		} else {
			out[key] = v
		}
	}
	return out
}

// mergePatch is the merge patch that makes b of a (RFC 7386).
func mergePatch(a, b map[string]any) map[string]any {
	patch := map[string]any{}
	for key := range a {
		if _, ok := b[key]; !ok {
			patch[key] = nil
		}
	}
	for key, v := range b {
		was, wasMap := a[key].(map[string]any)
		is, isMap := v.(map[string]any)
		switch {
		case wasMap && isMap:
			if below := mergePatch(was, is); len(below) > 0 {
				patch[key] = below
			}
		case !reflect.DeepEqual(a[key], v):
			patch[key] = v
		}
	}
	return patch
}

// fieldAt is the value at a path that names no item of a list.
func fieldAt(u *unstructured.Unstructured, path string) (any, bool) {
	fields := strings.Split(strings.TrimPrefix(path, "."), ".")
	if strings.ContainsAny(path, `[]"\`) || len(fields) < 2 {
		return nil, false
	}
	v, ok := object.Map(u.Object, fields[:len(fields)-1]...)[fields[len(fields)-1]]
	return v, ok
}

// shallowAt copies the maps on the way to a field, and no others.
func shallowAt(u map[string]any, path ...string) map[string]any {
	out := maps.Clone(u)
	if out == nil {
		out = map[string]any{}
	}
	if len(path) > 0 {
		if child, ok := out[path[0]].(map[string]any); ok {
			out[path[0]] = shallowAt(child, path[1:]...)
		}
	}
	return out
}
