package apply

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

// item is one object on its way.
type item struct {
	index     int
	object    *unstructured.Unstructured // what its manifest wants; never the caller's own, if it differs
	resource  kube.Resource
	stage     int
	order     int   // place in the order of application
	namespace *item // the object's Namespace, if this set holds it
	crd       *item // the custom resource's definition, if this set holds it
	reads     []reads
	stale     []string // of what its pods read, what changes without their being replaced

	write   *kube.Write                // nil as long as it cannot be checked
	before  *unstructured.Unstructured // of an item that cannot be checked yet; nil: does not exist
	after   *unstructured.Unstructured // once it is written
	written bool
}

func (it *item) ref() kube.Ref { return kube.RefOf(it.object, it.resource) }

// live is the object as it was read; nil if it does not exist, or was not read.
func (it *item) live() *unstructured.Unstructured {
	if it.write != nil {
		return it.write.Live()
	}
	return it.before
}

func (it *item) errorf(format string, args ...any) error {
	return &kube.ObjectError{ID: it.ref().ID(), Err: fmt.Errorf(format, args...)}
}

// waits reports whether the item can be checked only after stage 0 was written:
// its namespace does not exist yet, or its definition is new or about to change.
func (it *item) waits() bool {
	return it.namespace != nil && it.namespace.live() == nil || it.crd != nil && !it.crd.serves()
}

// serves reports whether a definition needs no change and is in force.
func (it *item) serves() bool {
	if it.write == nil || it.write.Live() == nil || it.write.Pending() {
		return false
	}
	c, _ := object.ConditionOf(it.write.Live(), "Established")
	return c.Status == "True"
}

// place finds each object's resource, namespace, stage and what it depends on.
func (p *Plan) place(ctx context.Context, objects []*unstructured.Unstructured) []mistake {
	definitions, namespaces := map[schema.GroupKind]*item{}, map[string]*item{}
	p.items = make([]*item, len(objects))
	var exported, fields []string // of files that were exported from a cluster
	for i, u := range objects {
		clean, ignored := kube.Manifest(u)
		it := &item{index: i, object: clean}
		p.items[i] = it
		if len(ignored) > 0 {
			exported = append(exported, object.Of(u).String())
			for _, field := range ignored {
				if !slices.Contains(fields, field) {
					fields = append(fields, field)
				}
			}
		}
		switch u.GroupVersionKind().GroupKind() {
		case schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}:
			group, _, _ := unstructured.NestedString(u.Object, "spec", "group")
			kind, _, _ := unstructured.NestedString(u.Object, "spec", "names", "kind")
			definitions[schema.GroupKind{Group: group, Kind: kind}] = it
		case schema.GroupKind{Kind: "Namespace"}:
			namespaces[u.GetName()] = it
		}
	}
	if len(exported) > 0 {
		p.o.Client.Log("%s of the manifests is the cluster's own, and ignored (%s)", strings.Join(fields, ", "), some(exported))
	}
	mistakes := each(ctx, p, p.items, func(it *item) error {
		kind := it.object.GroupVersionKind()
		if kind.Kind == "" || kind.Version == "" || it.object.GetName() == "" {
			return &kube.ObjectError{ID: object.Of(it.object), Err: errors.New("apiVersion, kind or metadata.name is missing: an apply needs all three")}
		}
		it.crd = definitions[kind.GroupKind()]
		var err error
		if it.crd != nil {
			it.resource, err = defined(it.crd.object, kind)
		} else {
			it.resource, err = p.o.Client.Resource(ctx, kind)
		}
		if err != nil {
			unknown := kube.Resource{GroupVersionResource: kind.GroupVersion().WithResource(""), Namespaced: true}
			return p.o.Client.Explain(ctx, kube.RefOf(it.object, unknown), err)
		}
		p.scope(it)
		it.namespace = namespaces[it.object.GetNamespace()]
		it.stage = stageIn(it.object)
		if it.crd != nil {
			it.stage = max(it.stage, 1)
		}
		return nil
	})
	p.items = slices.DeleteFunc(p.items, func(it *item) bool { return it.resource.Resource == "" })
	// Two applies of one object at the same time would have no defined outcome.
	for _, it := range p.items {
		id := it.ref().ID()
		if p.set[id] {
			mistakes = append(mistakes, mistake{it.index, it.errorf("is in the manifests twice: remove one of them")})
		}
		p.set[id] = true
	}
	order := slices.Clone(p.items)
	slices.SortStableFunc(order, func(a, b *item) int { return a.stage - b.stage })
	for i, it := range order {
		it.order = i
	}
	return mistakes
}

// scope sets the item's namespace, or removes it, as its scope wants.
func (p *Plan) scope(it *item) {
	namespace := it.object.GetNamespace()
	switch {
	case it.resource.Namespaced && namespace == "":
		namespace = p.o.Namespace
	case !it.resource.Namespaced && namespace != "":
		// kubectl and the API server drop it without a word.
		p.o.Client.Log("%s has no namespace of its own: metadata.namespace %q is ignored", it.ref().ID(), namespace)
		namespace = ""
	default:
		return
	}
	u := &unstructured.Unstructured{Object: maps.Clone(it.object.Object)}
	u.Object["metadata"] = maps.Clone(object.Map(u.Object, "metadata"))
	u.SetNamespace(namespace)
	it.object = u
}

// defined reads a custom resource's resource from its definition in the set.
func defined(crd *unstructured.Unstructured, kind schema.GroupVersionKind) (kube.Resource, error) {
	plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
	scope, _, _ := unstructured.NestedString(crd.Object, "spec", "scope")
	var served []string
	for _, v := range object.List(crd.Object, "spec", "versions") {
		if version, ok := v.(map[string]any); ok && version["served"] == true {
			served = append(served, fmt.Sprint(version["name"]))
		}
	}
	if !slices.Contains(served, kind.Version) {
		return kube.Resource{}, fmt.Errorf("%s does not serve version %q, only %s: correct apiVersion, or the definition", crd.GetName(), kind.Version, strings.Join(served, ", "))
	}
	return kube.Resource{GroupVersionResource: kind.GroupVersion().WithResource(plural), Namespaced: scope != "Cluster"}, nil
}
