package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/stored"
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

// with is the entry, holding other fields.
func (o owner) with(fields *fieldpath.Set) (map[string]any, error) {
	body, err := fields.ToJSON()
	if err != nil {
		return nil, err
	}
	entry := maps.Clone(o.entry)
	entry["fieldsV1"] = json.RawMessage(body)
	return entry, nil
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

// claim is what becomes ours before an apply, in order to go with it: a server-side
// apply takes away only what was its own, and alone.
type claim struct {
	// firm is what a person's tool put into a list of the manifest's, and what an
	// earlier manifest held and something else keeps.
	firm *fieldpath.Set
	// soft are defaults of an earlier manifest, which nobody holds. Their value is
	// the manifest's no more, but a server may have reasons to keep it.
	soft  *fieldpath.Set
	notes []string
}

// all is both, never nil.
func (c claim) all() *fieldpath.Set { return union(c.firm, c.soft) }

func union(sets ...*fieldpath.Set) *fieldpath.Set {
	all := &fieldpath.Set{}
	for _, set := range sets {
		if set != nil {
			all = all.Union(set)
		}
	}
	return all
}

// claimable reports whether something can be claimed of an owner at all.
func claimable(o owner) bool {
	return o.subresource() == "" && (personal(o.manager()) || deploys(o.manager())) && !o.isMigrated()
}

// claiming settles what is claimed. It returns what has to be asked for that.
func (a applying) claiming(s *state, t *terms) (*question, error) {
	if s.live == nil {
		return nil, nil
	}
	if s.asked.merged != nil {
		if s.refuse == nil || s.asked.accepted == nil || t.claim.soft == nil {
			return nil, nil
		}
		// The server takes the manifest, and keeps its defaults.
		for _, path := range tops(t.claim.soft) {
			t.claim.notes = append(slices.Clip(t.claim.notes), path+" stays as it is: it is a default of an earlier manifest, and the server does not let it change")
		}
		t.claim.soft = nil
		if !t.claim.all().Empty() {
			return a.asClaimed(*t, s), nil
		}
		s.answer, s.refuse, s.asked.merged = s.asked.accepted, nil, nil
		return nil, nil
	}
	if s.refuse != nil && !isAdmission(s.refuse) || !sameVersion(s.live) {
		return nil, nil
	}
	left := a.leaving(*s, *t)
	claim, err := a.firm(*s, *t, left)
	if err != nil {
		return nil, err
	}
	if !s.asked.defaults && a.rederives(*s, *t, left) {
		next := s.asked
		next.terms, next.defaults = *t, true
		return &next, nil
	}
	if s.was != nil && s.will != nil {
		claim.soft = a.stale(*s, *t)
	}
	if t.claim = claim; !claim.all().Empty() {
		return a.asClaimed(*t, s), nil
	}
	return nil, nil
}

// asClaimed asks for the object as it will be when what is claimed is gone.
func (a applying) asClaimed(t terms, s *state) *question {
	q := question{terms: t, defaults: true, accepted: s.answer}
	if s.asked.accepted != nil {
		q.accepted = s.asked.accepted
	}
	q.merged = t.asMigrated(s.live, a.body, t.migrate)
	return &q
}

// sameVersion reports whether our fields are named as in the version of the API in
// which the object was read.
func sameVersion(live *unstructured.Unstructured) bool {
	for _, o := range ownersOf(live) {
		if o.ours() {
			return o.text("apiVersion") == live.GetAPIVersion()
		}
	}
	return true
}

// mine is what the deploy holds of an object, with what it takes over.
func (t terms) mine(live *unstructured.Unstructured) *fieldpath.Set {
	return held(ownersOf(live), func(o owner) bool { return o.ours() || o.isOf(t.migrate) })
}

// firm is what has to go and does not by itself. What another tool that deploys put
// into a list of the manifest's, or holds as well, is an error unless it is forced.
func (a applying) firm(s state, t terms, left *fieldpath.Set) (claim, error) {
	var c claim
	var open []error
	body := t.body(a.body)
	for _, o := range ownersOf(s.live) {
		if o.ours() || o.oursByUpdate() || o.isOf(t.migrate) || o.subresource() != "" || o.text("apiVersion") != s.live.GetAPIVersion() {
			continue
		}
		items := stored.Surplus(body.Object, o.fields())
		shared := o.fields().Intersection(left).Difference(items)
		stays := &fieldpath.Set{}
		switch {
		case makes(o.manager()), a.Force && deploys(o.manager()):
			shared = whole(shared, o.fields(), body.Object)
		case personal(o.manager()):
			items, stays = &fieldpath.Set{}, items
		case deploys(o.manager()):
			for _, path := range tops(items.Union(shared)) {
				open = append(open, a.at(fieldIn(a.body.Object, path), &ConflictError{Manager: o.manager(), Extra: true}))
			}
			continue
		default:
			items, shared, stays = &fieldpath.Set{}, &fieldpath.Set{}, items.Union(shared)
		}
		c.firm = union(c.firm, items, shared)
		for _, path := range tops(items) {
			c.notes = append(c.notes, fmt.Sprintf("%s is removed, which %q had put there: the manifest holds the list, and not this item", path, o.manager()))
		}
		for _, path := range tops(shared) {
			c.notes = append(c.notes, fmt.Sprintf("%s is removed, which %q had set as well: the manifest does not hold it any more", path, o.manager()))
		}
		for _, path := range tops(stays) {
			c.notes = append(c.notes, fmt.Sprintf("%s stays, which is managed by %q, and not in the manifest", path, o.manager()))
		}
	}
	twins := a.twins(s, t)
	for _, path := range tops(twins) {
		c.notes = append(c.notes, path+" is removed: an earlier manifest had it as stringData, and this one does not hold it")
	}
	c.firm = union(c.firm, twins)
	return c, errors.Join(open...)
}

// whole adds to some fields of a tool's all others of its that are inside of what a
// manifest does not hold at all: of a struct that goes no field may stay.
func whole(some, fields *fieldpath.Set, manifest map[string]any) *fieldpath.Set {
	if some.Empty() {
		return some
	}
	var gone []fieldpath.Path
	for path := range some.All() {
		for n := 1; n <= len(path) && *path[0].FieldName != "metadata"; n++ {
			if _, ok := stored.At(manifest, path[:n]); !ok {
				gone = append(gone, path[:n].Copy())
				break
			}
		}
	}
	all := some
	for path := range fields.All() {
		for _, prefix := range gone {
			if len(path) >= len(prefix) && path[:len(prefix)].Equals(prefix) {
				all = all.Union(fieldpath.NewSet(path.Copy()))
			}
		}
	}
	return all
}

// tops are the paths of a set that are below no other of its paths.
func tops(set *fieldpath.Set) []string {
	var all []string
	for path := range set.All() {
		covered := false
		for n := 1; n < len(path) && !covered; n++ {
			covered = set.Has(path[:n])
		}
		if !covered {
			all = append(all, strings.TrimPrefix(path.String(), "."))
		}
	}
	slices.Sort(all)
	return all
}

// twins are the keys of a Secret that an earlier manifest wrote as stringData: of
// their copies in data the server keeps no account.
func (a applying) twins(s state, t terms) *fieldpath.Set {
	set := &fieldpath.Set{}
	if !a.secret() {
		return set
	}
	text, ok := t.mine(s.live).Children.Get(fieldpath.FieldNameElement("stringData"))
	if !ok {
		return set
	}
	text.Members.Iterate(func(pe fieldpath.PathElement) {
		if pe.FieldName == nil {
			return
		}
		_, is := object.Map(s.live.Object, "data")[*pe.FieldName]
		for _, name := range []string{"stringData", "data"} {
			_, writes := object.Map(a.body.Object, name)[*pe.FieldName]
			is = is && !writes
		}
		if is {
			set.Insert(fieldpath.MakePathOrDie("data", *pe.FieldName))
		}
	})
	return set
}
