package rollout

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// difference is a field that has another value than before.
type difference struct {
	path    []any  // keys of maps and indexes of lists
	manager string // who holds it now, if not the deploy
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

// settle gives the field in o the value that it has in before, or removes it.
func (d difference) settle(o, before *unstructured.Unstructured) {
	var from, to any = before.Object, o.Object
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

// differences compares what an object was applied with: everything but its metadata and status.
func differences(before, after *unstructured.Unstructured) []difference {
	now, err := owners(after)
	if err != nil {
		now = nil
	}
	var found []difference
	for _, o := range []*unstructured.Unstructured{before, after} {
		for name := range o.Object {
			switch name {
			case "apiVersion", "kind", "metadata", "status":
				continue
			}
			if _, both := before.Object[name]; both && o == after {
				continue
			}
			compare([]any{name}, before.Object[name], after.Object[name], descend(now, fieldpath.FieldNameElement(name)), &found)
		}
	}
	slices.SortFunc(found, func(a, b difference) int {
		return strings.Compare(a.String(), b.String())
	})
	return found
}

// compare walks down to the fields that differ; holders are the owners of what is at this place.
func compare(path []any, a, b any, holders []owner, found *[]difference) {
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
			var inside []owner
			for _, o := range holders {
				if _, sub, ok := element(o.fields, second[i], i); ok {
					inside = append(inside, owner{o.ManagedFieldsEntry, sub})
				}
			}
			compare(append(slices.Clip(path), i), first[i], second[i], inside, found)
		}
		return
	}
	d := difference{path: path}
	for _, o := range holders {
		if !ours(o.ManagedFieldsEntry) {
			d.manager = o.Manager
		}
	}
	*found = append(*found, d)
}

// descend keeps the owners that hold something at or below an element.
func descend(all []owner, pe fieldpath.PathElement) []owner {
	var inside []owner
	for _, o := range all {
		if o.fields == nil {
			continue
		}
		sub, ok := o.fields.Children.Get(pe)
		if ok || o.fields.Members.Has(pe) {
			inside = append(inside, owner{o.ManagedFieldsEntry, sub})
		}
	}
	return inside
}
