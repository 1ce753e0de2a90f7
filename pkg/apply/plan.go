package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// item is one object on its way.
type item struct {
	index  int
	object *unstructured.Unstructured // what is sent; never the caller's own, if it differs
	resource
	stage     int
	order     int   // place in the order of application
	namespace *item // the object's Namespace, if this set holds it
	crd       *item // the custom resource's definition, if this set holds it

	before    *unstructured.Unstructured // nil: does not exist
	unchanged bool
	unchecked bool     // the dry run could not judge it; the write will
	csa       []string // managers of client-side tools whose fields become ours
	handover  bool     // replicas are ours and are given up without a change of value
	change    *Change
}

// String names the object for people: "Deployment models/classifier".
func (it *item) String() string {
	if it.namespaced {
		return it.object.GetKind() + " " + it.object.GetNamespace() + "/" + it.object.GetName()
	}
	return it.object.GetKind() + " " + it.object.GetName()
}

// waits reports whether the item can be checked only after stage 0 was written:
// its namespace does not exist yet, or its definition is new or about to change.
func (it *item) waits() bool {
	return it.namespace != nil && it.namespace.before == nil || it.crd != nil && !it.crd.serves()
}

// serves reports whether a definition needed no change and was in force.
func (it *item) serves() bool {
	return it.unchanged && condition(it.before, "Established") == "True"
}

// plan finds each object's resource, namespace, stage and what it depends on. It
// returns the items that it could plan, also beside an error.
func (r *run) plan(ctx context.Context, objects []*unstructured.Unstructured) ([]*item, error) {
	definitions, namespaces := map[schema.GroupKind]*item{}, map[string]*item{}
	items := make([]*item, len(objects))
	for i, object := range objects {
		it := &item{index: i, object: object}
		items[i] = it
		r.set[setKey(object.GetKind(), object.GetName())] = true
		switch object.GroupVersionKind().GroupKind() {
		case schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}:
			group, _, _ := unstructured.NestedString(object.Object, "spec", "group")
			kind, _, _ := unstructured.NestedString(object.Object, "spec", "names", "kind")
			definitions[schema.GroupKind{Group: group, Kind: kind}] = it
		case schema.GroupKind{Kind: "Namespace"}:
			namespaces[object.GetName()] = it
		}
	}
	err := r.each(ctx, items, func(it *item) error {
		kind := it.object.GroupVersionKind()
		if kind.Kind == "" || kind.Version == "" || it.object.GetName() == "" {
			return it.errorf("apiVersion, kind or metadata.name is missing: an apply needs all three")
		}
		it.crd = definitions[kind.GroupKind()]
		var err error
		if it.crd != nil {
			it.resource, err = defined(it.crd.object, kind)
		} else {
			it.resource, err = r.mapper.find(ctx, kind)
		}
		if err != nil {
			return r.failed(ctx, it, err)
		}
		it.object = it.scoped(r)
		it.namespace = namespaces[it.object.GetNamespace()]
		it.stage = stageOf(kind.GroupKind())
		if it.crd != nil {
			it.stage = max(it.stage, 1)
		}
		return nil
	})
	items = slices.DeleteFunc(items, func(it *item) bool { return it.Resource == "" })
	repeated := twice(items)
	r.scaled = scaled(items)
	order := slices.Clone(items)
	slices.SortStableFunc(order, func(a, b *item) int { return a.stage - b.stage })
	for i, it := range order {
		it.order = i
	}
	return items, flat(ctx, err, errors.Join(repeated...))
}

// scoped returns the object with its namespace set, or removed, as its scope wants.
func (it *item) scoped(r *run) *unstructured.Unstructured {
	namespace := it.object.GetNamespace()
	switch {
	case it.namespaced && namespace == "":
		namespace = r.Namespace
	case !it.namespaced && namespace != "":
		// kubectl and the API server drop it without a word.
		r.Log("%s has no namespace of its own: metadata.namespace %q is ignored", it, namespace)
		namespace = ""
	default:
		return it.object
	}
	object := shallow(it.object)
	object.SetNamespace(namespace)
	return object
}

// shallow copies an object as far as its metadata, so that both can be changed
// there without touching the other or holding the rest twice.
func shallow(object *unstructured.Unstructured) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: shallowAt(object.Object, "metadata")}
}

// shallowAt copies the maps on the way to a field, and no others.
func shallowAt(object map[string]any, path ...string) map[string]any {
	out := make(map[string]any, len(object))
	for k, v := range object {
		out[k] = v
	}
	if len(path) > 0 {
		if child, ok := out[path[0]].(map[string]any); ok {
			out[path[0]] = shallowAt(child, path[1:]...)
		}
	}
	return out
}

// defined reads a custom resource's resource from its definition in the set.
func defined(crd *unstructured.Unstructured, kind schema.GroupVersionKind) (resource, error) {
	plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
	scope, _, _ := unstructured.NestedString(crd.Object, "spec", "scope")
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	var served []string
	for _, v := range versions {
		if version, ok := v.(map[string]any); ok && version["served"] == true {
			served = append(served, fmt.Sprint(version["name"]))
		}
	}
	if !slices.Contains(served, kind.Version) {
		return resource{}, fmt.Errorf("%s does not serve version %q, only %s: correct apiVersion, or the definition", crd.GetName(), kind.Version, strings.Join(served, ", "))
	}
	return resource{kind.GroupVersion().WithResource(plural), scope != "Cluster"}, nil
}

// twice finds objects that appear more than once: two applies of one object at
// the same time would have no defined outcome.
func twice(items []*item) []error {
	type identity struct {
		resource        schema.GroupResource
		namespace, name string
	}
	first := make(map[identity]*item, len(items))
	var errs []error
	for _, it := range items {
		id := identity{it.GroupResource(), it.object.GetNamespace(), it.object.GetName()}
		if first[id] != nil {
			errs = append(errs, it.errorf("is in the manifests twice: remove one of them"))
			continue
		}
		first[id] = it
	}
	return errs
}

func setKey(kind, name string) string { return strings.ToLower(kind) + "/" + name }
