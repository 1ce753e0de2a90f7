package kube

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/org/deploy-model-action/pkg/object"
)

// difference is a field that has another value than before.
type difference struct {
	path    []any  // keys of maps and indexes of lists
	manager string // who holds it now, if not we
	scaled  bool   // and holds it through the subresource scale
}

// String is the path as the API server writes it: spec.ports[0].nodePort.
func (d difference) String() string {
	var b strings.Builder
	for i, step := range d.path {
		switch step := step.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", step)
		default:
			if i > 0 {
				b.WriteByte('.')
			}
			fmt.Fprint(&b, step)
		}
	}
	return b.String()
}

// revert gives the field in u the value that it has in before, or removes it.
func (d difference) revert(u, before *unstructured.Unstructured) {
	var from, to any = before.Object, u.Object
	for i, step := range d.path {
		last := i == len(d.path)-1
		switch step := step.(type) {
		case string:
			there, _ := to.(map[string]any)
			was, _ := from.(map[string]any)
			v, ok := was[step]
			switch {
			case last && ok:
				there[step] = runtime.DeepCopyJSONValue(v)
			case last:
				delete(there, step)
			}
			to, from = there[step], v
		case int:
			there, _ := to.([]any)
			was, _ := from.([]any)
			if last {
				there[step] = runtime.DeepCopyJSONValue(was[step])
			}
			to, from = there[step], was[step]
		}
	}
}

// holder is an owner with what it holds at and below one place.
type holder struct {
	owner
	fields *fieldpath.Set
}

// differences compares what an object was applied with: everything but its metadata and status.
func differences(before, after *unstructured.Unstructured) []difference {
	var holders []holder
	for _, o := range ownersOf(after) {
		holders = append(holders, holder{o, o.fields()})
	}
	var found []difference
	for _, u := range []*unstructured.Unstructured{before, after} {
		for name := range u.Object {
			switch name {
			case "apiVersion", "kind", "metadata", "status":
				continue
			}
			if _, both := before.Object[name]; both && u == after {
				continue
			}
			compare([]any{name}, before.Object[name], after.Object[name], descend(holders, fieldpath.FieldNameElement(name)), &found)
		}
	}
	slices.SortFunc(found, func(a, b difference) int {
		return strings.Compare(a.String(), b.String())
	})
	return found
}

// compare walks down to the fields that differ; holders are the owners of what is at this place.
func compare(path []any, a, b any, holders []holder, found *[]difference) {
	if equality.Semantic.DeepEqual(a, b) {
		return
	}
	was, mapBefore := a.(map[string]any)
	is, mapAfter := b.(map[string]any)
	if mapBefore && mapAfter {
		names := map[string]bool{}
		for name := range was {
			names[name] = true
		}
		for name := range is {
			names[name] = true
		}
		for name := range names {
			compare(append(slices.Clip(path), name), was[name], is[name], descend(holders, fieldpath.FieldNameElement(name)), found)
		}
		return
	}
	first, listBefore := a.([]any)
	second, listAfter := b.([]any)
	if listBefore && listAfter && len(first) == len(second) {
		for i := range first {
			var inside []holder
			for _, h := range holders {
				if _, sub, ok := element(h.fields, second[i], i); ok {
					inside = append(inside, holder{h.owner, sub})
				}
			}
			compare(append(slices.Clip(path), i), first[i], second[i], inside, found)
		}
		return
	}
	d := difference{path: path}
	for _, h := range holders {
		if h.manager() != object.FieldManager || h.subresource() != "" {
			d.manager, d.scaled = h.manager(), h.subresource() == scaleSubresource
		}
	}
	*found = append(*found, d)
}

// descend keeps the owners that hold something at or below an element.
func descend(all []holder, pe fieldpath.PathElement) []holder {
	var inside []holder
	for _, h := range all {
		if h.fields == nil {
			continue
		}
		sub, ok := h.fields.Children.Get(pe)
		if ok || h.fields.Members.Has(pe) {
			inside = append(inside, holder{h.owner, sub})
		}
	}
	return inside
}
