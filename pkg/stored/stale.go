package stored

import (
	"reflect"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Defaults is what is known of the fields of an object that nobody wrote.
type Defaults struct {
	Before, Now map[string]any // what a server makes of what was written before, and of what is now
	Manifest    map[string]any // what is written now
	Owned       *fieldpath.Set // what somebody wrote
}

// Stale are the fields of an object that nobody wrote, that are as what was written
// before has them, and that would be otherwise if the object were made anew: defaults
// of a manifest that is not the object's any more. To remove one is to get the new.
func (d Defaults) Stale(object map[string]any) *fieldpath.Set {
	found := &fieldpath.Set{}
	for name, v := range object {
		switch name {
		case "apiVersion", "kind", "metadata", "status":
			continue
		}
		place{nil, d.Before, d.Now, d.Manifest, object, d.Owned}.field(name, v, found)
	}
	return found
}

// place is one place in an object: what was there, would be, is written and is, and
// who holds what below it.
type place struct {
	path            fieldpath.Path
	was, is, writes any
	has             any
	owned           *fieldpath.Set // nil if nobody holds anything below it
}

// field looks at one field of a map.
func (p place) field(name string, has any, found *fieldpath.Set) {
	pe := fieldpath.FieldNameElement(name)
	at := place{append(p.path.Copy(), pe), of(p.was, name), of(p.is, name), of(p.writes, name), has, below(p.owned, pe)}
	if at.owned != nil {
		at.inside(found)
		return
	}
	if p.owned != nil && p.owned.Members.Has(pe) {
		return // held as a whole
	}
	switch {
	case at.writes != nil:
		at.inside(found)
	case !reflect.DeepEqual(has, at.was):
		if _, ok := at.was.(map[string]any); ok {
			at.inside(found)
		}
	case !reflect.DeepEqual(has, at.is):
		found.Insert(at.path)
	}
}

// inside looks at what is below a place.
func (p place) inside(found *fieldpath.Set) {
	switch has := p.has.(type) {
	case map[string]any:
		for name, v := range has {
			p.field(name, v, found)
		}
	case []any:
		for i, item := range has {
			pe, sub, ok := Item(p.owned, item, i)
			if !ok || pe.Key == nil || sub == nil {
				continue
			}
			at := place{append(p.path.Copy(), pe), selected(p.was, pe), selected(p.is, pe), selected(p.writes, pe), item, sub}
			if at.is != nil {
				at.inside(found)
			}
		}
	}
}

// of is a field of a map; nil if it has none.
func of(v any, name string) any {
	m, _ := v.(map[string]any)
	return m[name]
}

// selected is the item of a list that a path element is of; nil if there is none.
func selected(v any, pe fieldpath.PathElement) any {
	list, _ := v.([]any)
	item, _ := itemOf(list, pe)
	return item
}
