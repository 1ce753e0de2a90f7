package kube

import (
	"encoding/json"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"

	"github.com/org/deploy-model-action/pkg/object"
)

const (
	applies = string(metav1.ManagedFieldsOperationApply)
	updates = string(metav1.ManagedFieldsOperationUpdate)
)

// owner is one entry of managedFields, as it is on the wire: most entries are
// never looked into, and of a thousand objects each has several.
type owner struct{ entry map[string]any }

// ownersOf are the entries of an object's managedFields, in their order.
func ownersOf(u *unstructured.Unstructured) []owner {
	if u == nil {
		return nil
	}
	list := object.List(u.Object, "metadata", "managedFields")
	all := make([]owner, 0, len(list))
	for _, item := range list {
		if entry, ok := item.(map[string]any); ok {
			all = append(all, owner{entry})
		}
	}
	return all
}

func (o owner) text(key string) string { s, _ := o.entry[key].(string); return s }

func (o owner) manager() string     { return o.text("manager") }
func (o owner) operation() string   { return o.text("operation") }
func (o owner) subresource() string { return o.text("subresource") }

// is reports whether two entries are of one owner.
func (o owner) is(other owner) bool {
	return o.manager() == other.manager() && o.operation() == other.operation() && o.subresource() == other.subresource()
}

// ours reports whether a deploy applied these fields, or a way back did.
func (o owner) ours() bool {
	return o.manager() == object.FieldManager && o.operation() == applies && o.subresource() == ""
}

// oursByUpdate reports whether these fields are ours by a replace, which only the
// way back sends; no later apply could remove them.
func (o owner) oursByUpdate() bool {
	return o.manager() == object.FieldManager && o.operation() == updates && o.subresource() == ""
}

// AppliedBy reports, by an object's managedFields, whether a deploy applied it, and
// which other tool does that deploys whole objects: its manager, or "" for none. Of
// kubectl it is one that has applied since: a deploy takes over what it left before.
func AppliedBy(u *unstructured.Unstructured) (ours bool, other string) {
	for _, o := range ownersOf(u) {
		switch {
		case o.ours():
			ours = true
		case o.subresource() == "" && !o.oursByUpdate() && (o.isMigrated() || deploys(o.manager())):
			other = o.manager()
		}
	}
	return ours, other
}

// fields are what the owner holds. What cannot be read holds nothing: the server,
// which reads it too, has the last word.
func (o owner) fields() *fieldpath.Set {
	set := &fieldpath.Set{}
	if raw, ok := o.entry["fieldsV1"]; ok {
		if body, err := json.Marshal(raw); err != nil || set.FromJSON(strings.NewReader(string(body))) != nil {
			return &fieldpath.Set{}
		}
	}
	return set
}

// held is what the owners that by accepts hold together.
func held(all []owner, by func(owner) bool) *fieldpath.Set {
	set := &fieldpath.Set{}
	for _, o := range all {
		if by(o) {
			set = set.Union(o.fields())
		}
	}
	return set
}

// pick copies from v what own holds. A field that is held as a whole is copied
// as a whole, without what others hold inside of it; nil if nothing is left.
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

// without copies v except for what a set holds of it; nil if that is all there was.
func without(v any, set *fieldpath.Set) any {
	if set == nil || set.Empty() {
		return runtime.DeepCopyJSONValue(v)
	}
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, child := range v {
			pe := fieldpath.FieldNameElement(name)
			if sub, ok := set.Children.Get(pe); ok {
				if rest := without(child, sub); rest != nil {
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
			pe, sub, ok := element(set, item, i)
			switch {
			case !ok:
				out = append(out, runtime.DeepCopyJSONValue(item))
			case set.Members.Has(pe) || sub == nil:
				// all of the item is held
			default:
				if rest := without(item, sub); rest != nil {
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
