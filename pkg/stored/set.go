// Package stored compares what a manifest says of an object with what a server
// stores of it: which fields are not as they are written, which lead back to what an
// earlier manifest said, and which items somebody else put into a list. Sets of
// fields are those of managedFields.
//
// All of it is pure, and knows objects as maps. Whose a field is, and what is done
// about one, is left to kube.
package stored

import (
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// Pick copies from v what own holds. A field that is held as a whole is copied
// as a whole, without what others hold inside of it; nil if nothing is left.
func Pick(v any, own, others *fieldpath.Set) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, child := range v {
			pe := fieldpath.FieldNameElement(name)
			if sub, ok := own.Children.Get(pe); ok && !sub.Empty() {
				if picked := Pick(child, sub, below(others, pe)); picked != nil {
					out[name] = picked
				}
			} else if own.Members.Has(pe) {
				if picked := Without(child, below(others, pe)); picked != nil {
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
			pe, sub, ok := Item(own, item, i)
			if !ok {
				continue
			}
			if sub == nil || sub.Empty() {
				out = append(out, runtime.DeepCopyJSONValue(item))
				continue
			}
			picked, _ := Pick(item, sub, below(others, pe)).(map[string]any)
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

// Without copies v except for what a set holds of it; nil if that is all there was.
func Without(v any, set *fieldpath.Set) any {
	if set == nil || set.Empty() {
		return runtime.DeepCopyJSONValue(v)
	}
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, child := range v {
			pe := fieldpath.FieldNameElement(name)
			if sub, ok := set.Children.Get(pe); ok {
				if rest := Without(child, sub); rest != nil {
					out[name] = rest
				}
			} else if !set.Members.Has(pe) {
				out[name] = runtime.DeepCopyJSONValue(child)
			}
		}
		if len(out) == 0 && len(v) > 0 {
			return nil
		}
		return out
	case []any:
		out := []any{}
		for i, item := range v {
			pe, sub, ok := Item(set, item, i)
			switch {
			case !ok:
				out = append(out, runtime.DeepCopyJSONValue(item))
			case set.Members.Has(pe) || sub == nil:
				// all of the item is held
			default:
				if rest := Without(item, sub); rest != nil {
					out = append(out, rest)
				}
			}
		}
		if len(out) == 0 && len(v) > 0 {
			return nil
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

// Item finds the path element under which a set holds an item of a list.
func Item(s *fieldpath.Set, item any, index int) (pe fieldpath.PathElement, sub *fieldpath.Set, ok bool) {
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

// selects reports whether a path element is that of an item.
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

// At is the value at a path.
func At(v any, path fieldpath.Path) (any, bool) {
	for _, pe := range path {
		switch v2 := v.(type) {
		case map[string]any:
			if pe.FieldName == nil {
				return nil, false
			}
			child, ok := v2[*pe.FieldName]
			if !ok {
				return nil, false
			}
			v = child
		case []any:
			item, ok := itemOf(v2, pe)
			if !ok {
				return nil, false
			}
			v = item
		default:
			return nil, false
		}
	}
	return v, true
}
