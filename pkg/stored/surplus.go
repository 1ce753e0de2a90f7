package stored

import (
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// Surplus is what a set holds of items that a manifest's lists do not have: beside a
// list that the manifest does not write at all, nothing is too much.
func Surplus(manifest map[string]any, set *fieldpath.Set) *fieldpath.Set {
	found := &fieldpath.Set{}
	surplus(manifest, set, nil, found)
	return found
}

func surplus(v any, set *fieldpath.Set, path fieldpath.Path, found *fieldpath.Set) {
	switch v := v.(type) {
	case map[string]any:
		set.Children.Iterate(func(pe fieldpath.PathElement) {
			if pe.FieldName == nil || len(path) == 0 && (*pe.FieldName == "metadata" || *pe.FieldName == "status") {
				return
			}
			if child, ok := v[*pe.FieldName]; ok {
				sub, _ := set.Children.Get(pe)
				surplus(child, sub, append(path.Copy(), pe), found)
			}
		})
	case []any:
		add := func(pe fieldpath.PathElement) {
			if pe.Key == nil && pe.Value == nil {
				return
			}
			at := append(path.Copy(), pe)
			sub, _ := set.Children.Get(pe)
			if item, ok := itemOf(v, pe); ok {
				if sub != nil {
					surplus(item, sub, at, found)
				}
				return
			}
			if set.Members.Has(pe) {
				found.Insert(at)
			}
			if sub != nil {
				for below := range sub.All() {
					found.Insert(append(at.Copy(), below...))
				}
			}
		}
		set.Children.Iterate(add)
		set.Members.Iterate(func(pe fieldpath.PathElement) {
			if _, ok := set.Children.Get(pe); !ok {
				add(pe)
			}
		})
	}
}

// itemOf is the item of a manifest's list that a path element is of.
func itemOf(list []any, pe fieldpath.PathElement) (any, bool) {
	if at := Index(list, pe); at >= 0 {
		return list[at], true
	}
	return nil, false
}

// Index is the place of the item of a manifest's list that a path element is of; -1
// if there is none. A key that the manifest leaves to its default fits.
func Index(list []any, pe fieldpath.PathElement) int {
	for i, item := range list {
		if selects(pe, item, i) {
			return i
		}
	}
	if pe.Key == nil {
		return -1
	}
	for i, item := range list {
		m, ok := item.(map[string]any)
		for _, field := range *pe.Key {
			v, has := m[field.Name]
			switch {
			case has:
				ok = ok && value.Equals(field.Value, value.NewValueInterface(v))
			case field.Name == "protocol":
				ok = ok && value.Equals(field.Value, value.NewValueInterface("TCP"))
			}
		}
		if ok {
			return i
		}
	}
	return -1
}
