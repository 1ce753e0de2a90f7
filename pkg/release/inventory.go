package release

import (
	"encoding/json"
	"slices"

	"github.com/org/deploy-model-action/pkg/object"
)

// maxObjects bounds the inventory. A set has 1,000 objects at most; the rest is
// what earlier deploys left, such as ConfigMaps with a hash in their name.
const maxObjects = 3000

// Object is one object of the inventory.
type Object struct {
	object.ID
	// Version is that of its API, as it was applied last; "" if not known.
	Version string
	// UID tells it from another object of the same name; "" if not known.
	UID string
	// Left says that the release that was verified last does not hold it any more.
	Left bool
	// Found says that it was there before a deploy of the release applied it, and that
	// none which did has been verified. For a claim it is what the object itself says,
	// and counts only where the record does not know better.
	Found bool
}

// inventoryLine is how the record writes an object.
type inventoryLine struct {
	Group     string `json:"group,omitempty"`
	Version   string `json:"version,omitempty"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	UID       string `json:"uid,omitempty"`
	Left      bool   `json:"left,omitempty"`
	Found     bool   `json:"found,omitempty"`
}

// MarshalJSON writes the object as a line of the record.
func (o Object) MarshalJSON() ([]byte, error) {
	return json.Marshal(inventoryLine{o.Group, o.Version, o.Kind, o.Namespace, o.Name, o.UID, o.Left, o.Found})
}

// UnmarshalJSON reads a line of the record.
func (o *Object) UnmarshalJSON(text []byte) error {
	var l inventoryLine
	if err := json.Unmarshal(text, &l); err != nil {
		return err
	}
	*o = Object{ID: object.ID{Group: l.Group, Kind: l.Kind, Namespace: l.Namespace, Name: l.Name}, Version: l.Version, UID: l.UID, Left: l.Left, Found: l.Found}
	return nil
}

// union is what a release has after it applies applied: that, in a fixed order,
// and then what was there before, what left last first. Of what is there longest,
// too much is forgotten. A UID that was known before counts no more: whoever applies
// has just looked, and what is not there is created with another one.
func union(before, applied []Object) (all, forgotten []Object) {
	listed, known := map[object.ID]bool{}, map[object.ID]Object{}
	for _, o := range before {
		known[o.ID] = o
	}
	for _, o := range applied {
		if listed[o.ID] {
			continue
		}
		listed[o.ID] = true
		o.Left = false
		b, there := known[o.ID]
		switch {
		case o.UID == "": // this run creates it
			o.Found = false
		case !there || b.UID != "" && b.UID != o.UID:
			o.Found = true
		case b.UID == o.UID: // also one that was put back says that a deploy applied it
			o.Found = b.Found
		} // else a run was killed before it knew; the object itself says it
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b Object) int { return a.Compare(b.ID) })
	for _, o := range before {
		if !listed[o.ID] {
			listed[o.ID] = true
			all = append(all, o)
		}
	}
	most := max(maxObjects, len(applied))
	if len(all) > most {
		all, forgotten = all[:most:most], all[most:]
	}
	return all, forgotten
}

// left is the inventory after a release that holds held was verified: what it does
// not hold has left it. Until then the release before it may serve again.
func left(inventory []Object, held map[object.ID]bool) []Object {
	all := slices.Clone(inventory)
	for i := range all {
		all[i].Left = !held[all[i].ID]
		all[i].Found = all[i].Found && all[i].Left
	}
	return all
}

// leaving are the objects of an inventory that leave it with a release that holds held.
func leaving(inventory []Object, held map[object.ID]bool) []Object {
	return slices.DeleteFunc(slices.Clone(inventory), func(o Object) bool { return o.Left || held[o.ID] })
}

// idsOf are the identities of objects.
func idsOf(objects []Object) map[object.ID]bool {
	all := make(map[object.ID]bool, len(objects))
	for _, o := range objects {
		all[o.ID] = true
	}
	return all
}

// refresh is the inventory with the UIDs that have become known, and without
// what was removed.
func refresh(inventory, applied []Object, removed []object.ID) []Object {
	uids := map[object.ID]string{}
	for _, o := range applied {
		uids[o.ID] = o.UID
	}
	gone := map[object.ID]bool{}
	for _, id := range removed {
		gone[id] = true
	}
	var out []Object
	for _, o := range inventory {
		if gone[o.ID] {
			continue
		}
		if uid := uids[o.ID]; uid != "" {
			o.UID = uid
		}
		out = append(out, o)
	}
	return out
}
