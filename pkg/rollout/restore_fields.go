package rollout

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// owner is one entry of managedFields.
type owner struct {
	metav1.ManagedFieldsEntry
	fields *fieldpath.Set
}

// owners reads managedFields.
func owners(o *unstructured.Unstructured) ([]owner, error) {
	var all []owner
	for _, entry := range o.GetManagedFields() {
		set := &fieldpath.Set{}
		if entry.FieldsV1 != nil {
			if err := set.FromJSON(entry.FieldsV1.GetRawReader()); err != nil {
				return nil, fmt.Errorf("managedFields of manager %q: %w", entry.Manager, err)
			}
		}
		all = append(all, owner{entry, set})
	}
	return all, nil
}

// ours tells whether a deploy wrote these fields, or a restore did.
func ours(entry metav1.ManagedFieldsEntry) bool {
	return entry.Manager == fieldManager && entry.Subresource == ""
}

// is tells whether two entries are of one owner.
func (o owner) is(other owner) bool {
	return o.Manager == other.Manager && o.Operation == other.Operation && o.Subresource == other.Subresource
}

// earlierFields is the configuration whose server-side apply gives an object the
// fields back that it had before, as far as they are the deploy's to give.
func earlierFields(before, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	then, err := owners(before)
	if err != nil {
		return nil, err
	}
	now, err := owners(live)
	if err != nil {
		return nil, err
	}
	wanted, mine, others, scaled := &fieldpath.Set{}, &fieldpath.Set{}, &fieldpath.Set{}, &fieldpath.Set{}
	for _, o := range now {
		switch {
		case ours(o.ManagedFieldsEntry):
			mine = mine.Union(o.fields)
		case o.Subresource == "scale":
			scaled = scaled.Union(o.fields)
			fallthrough
		default:
			others = others.Union(o.fields)
		}
	}
	for _, o := range then {
		// An owner that is gone was migrated to server-side apply by the deploy, or
		// lost all its fields to it. Either way they are the deploy's now.
		gone := (o.Subresource == "" || o.Subresource == "scale") && !slices.ContainsFunc(now, o.is)
		if ours(o.ManagedFieldsEntry) || gone {
			wanted = wanted.Union(o.fields)
		}
	}
	// What the deploy took from an owner who is still there has its value again;
	// what it added is not in the earlier object, and goes.
	wanted = wanted.Union(mine)
	// What another owner took since is left to it, and so are the replicas that
	// an autoscaler holds, though it may have agreed with the deploy by chance.
	wanted = wanted.Difference(others.Difference(mine)).Difference(scaled)

	picked, _ := pick(before.Object, wanted, others).(map[string]any)
	out := &unstructured.Unstructured{Object: map[string]any{}}
	for key, v := range picked {
		switch key {
		case "apiVersion", "kind", "metadata", "status":
		default:
			out.Object[key] = v
		}
	}
	for _, key := range []string{"labels", "annotations", "finalizers", "ownerReferences"} {
		if v, ok, _ := unstructured.NestedFieldNoCopy(picked, "metadata", key); ok {
			_ = unstructured.SetNestedField(out.Object, v, "metadata", key)
		}
	}
	out.SetAPIVersion(before.GetAPIVersion())
	out.SetKind(before.GetKind())
	out.SetName(before.GetName())
	out.SetNamespace(before.GetNamespace())
	return out, nil
}

// pick copies from v what own holds. A field that is held as a whole is copied
// as a whole, without what others hold inside of it.
func pick(v any, own, others *fieldpath.Set) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, child := range v {
			pe := fieldpath.FieldNameElement(name)
			if sub, ok := own.Children.Get(pe); ok && !sub.Empty() {
				if picked := pick(child, sub, below(others, pe)); picked != nil {
					out[name] = picked
				}
			} else if own.Members.Has(pe) {
				if picked := without(child, below(others, pe)); picked != nil {
					out[name] = picked
				}
			}
		}
		if len(out) == 0 && len(v) > 0 && !own.Empty() {
			return nil
		}
		return out
	case []any:
		var out []any
		for i, item := range v {
			pe, sub, ok := element(own, item, i)
			if !ok {
				continue
			}
			if sub == nil || sub.Empty() {
				out = append(out, runtime.DeepCopyJSONValue(item))
				continue
			}
			picked, _ := pick(item, sub, below(others, pe)).(map[string]any)
			if picked == nil {
				picked = map[string]any{}
			}
			addKey(picked, pe)
			out = append(out, picked)
		}
		if out == nil {
			return nil
		}
		return out
	}
	return v
}

// without copies v except for what others hold inside of it.
func without(v any, others *fieldpath.Set) any {
	if others == nil || others.Empty() {
		return runtime.DeepCopyJSONValue(v)
	}
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, child := range v {
			pe := fieldpath.FieldNameElement(name)
			if sub, ok := others.Children.Get(pe); ok {
				out[name] = without(child, sub)
			} else if !others.Members.Has(pe) {
				out[name] = runtime.DeepCopyJSONValue(child)
			}
		}
		return out
	case []any:
		out := []any{}
		for i, item := range v {
			if _, _, held := element(others, item, i); !held {
				out = append(out, runtime.DeepCopyJSONValue(item))
			}
		}
		return out
	}
	return v
}

// below is what a set holds inside of one element.
func below(s *fieldpath.Set, pe fieldpath.PathElement) *fieldpath.Set {
	if s == nil {
		return nil
	}
	sub, _ := s.Children.Get(pe)
	return sub
}

// element finds the path element under which a set holds an item of a list.
func element(s *fieldpath.Set, item any, index int) (pe fieldpath.PathElement, sub *fieldpath.Set, ok bool) {
	if s == nil {
		return pe, nil, false
	}
	take := func(candidate fieldpath.PathElement) {
		if !ok && selects(candidate, item, index) {
			pe, ok = candidate, true
		}
	}
	// The iterators of this library do not stop early.
	if s.Children.Iterate(take); ok {
		sub, _ = s.Children.Get(pe)
		return pe, sub, true
	}
	s.Members.Iterate(take)
	return pe, nil, ok
}

// selects tells whether a path element is that of an item.
func selects(pe fieldpath.PathElement, item any, index int) bool {
	switch {
	case pe.Index != nil:
		return *pe.Index == index
	case pe.Value != nil:
		return value.Equals(*pe.Value, value.NewValueInterface(item))
	case pe.Key != nil:
		m, ok := item.(map[string]any)
		if !ok {
			return false
		}
		for _, field := range *pe.Key {
			if v, ok := m[field.Name]; !ok || !value.Equals(field.Value, value.NewValueInterface(v)) {
				return false
			}
		}
		return true
	}
	return false
}

// addKey completes an item's key. Of Kubernetes' keys only protocol has a
// default; whoever left it out leaves it out again.
func addKey(item map[string]any, pe fieldpath.PathElement) {
	if pe.Key == nil {
		return
	}
	for _, field := range *pe.Key {
		if _, ok := item[field.Name]; !ok && field.Name != "protocol" {
			item[field.Name] = field.Value.Unstructured()
		}
	}
}
