package kube

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/stored"
)

// marksBeside are the marks of runs that a manifest does not hold itself: two
// objects that differ in these only are equal.
func marksBeside(manifest *unstructured.Unstructured) func(string) bool {
	written := object.Map(manifest.Object, "metadata", "annotations")
	return func(annotation string) bool {
		_, its := written[annotation]
		return object.IsMark(annotation) && !its
	}
}

// same reports whether an apply would change nothing: the server's answer to the
// dry run is the object as it is. Times in managedFields are ignored, and marks,
// and the generation, which a Deployment's annotations raise as well as its spec.
func same(live, dry map[string]any, mark func(string) bool) bool {
	return equalBut(live, dry, "metadata") &&
		equalBut(object.Map(live, "metadata"), object.Map(dry, "metadata"), "managedFields", "annotations", "generation") &&
		equalAnnotations(live, dry, mark) &&
		sameManagers(live, dry, mark)
}

// sameButStatus is for objects of which others wrote the status meanwhile: the
// version moved, but not because of us.
func sameButStatus(a, b map[string]any, mark func(string) bool) bool {
	return equalBut(a, b, "metadata", "status") &&
		equalBut(object.Map(a, "metadata"), object.Map(b, "metadata"), "managedFields", "annotations", "generation", "resourceVersion") &&
		equalAnnotations(a, b, mark) &&
		equalBut(ownEntry(a, mark), ownEntry(b, mark), "time")
}

func equalAnnotations(a, b map[string]any, mark func(string) bool) bool {
	return reflect.DeepEqual(unmarked(object.Map(a, "metadata", "annotations"), mark, ""), unmarked(object.Map(b, "metadata", "annotations"), mark, ""))
}

// unmarked is a map of annotations without marks; never nil. The keys may have a
// prefix, as the names of fields in managedFields do.
func unmarked(annotations map[string]any, mark func(string) bool, prefix string) map[string]any {
	out := make(map[string]any, len(annotations))
	for key, v := range annotations {
		if len(key) < len(prefix) || !mark(key[len(prefix):]) {
			out[key] = v
		}
	}
	return out
}

func sameManagers(live, dry map[string]any, mark func(string) bool) bool {
	a, b := entriesWithoutMarks(live, mark), entriesWithoutMarks(dry, mark)
	if len(a) == 0 && len(b) == 1 && b[0]["manager"] == "before-first-apply" {
		// We own nothing here (a bare Namespace, say), so nothing is recorded; the
		// server invents this entry for the answer whenever it finds none.
		return true
	}
	return slices.EqualFunc(a, b, func(x, y map[string]any) bool { return equalBut(x, y, "time") })
}

// entriesWithoutMarks are the entries of managedFields, ours as it would be if no
// run marked anything.
func entriesWithoutMarks(u map[string]any, mark func(string) bool) []map[string]any {
	all := ownersOf(&unstructured.Unstructured{Object: u})
	out := make([]map[string]any, 0, len(all))
	for _, o := range all {
		entry := o.entry
		if o.ours() {
			if entry = withoutMarks(entry, mark); entry == nil {
				continue
			}
		}
		out = append(out, entry)
	}
	return out
}

func ownEntry(u map[string]any, mark func(string) bool) map[string]any {
	for _, o := range ownersOf(&unstructured.Unstructured{Object: u}) {
		if o.ours() {
			return withoutMarks(o.entry, mark)
		}
	}
	return nil
}

// withoutMarks is an entry of managedFields that does not hold marks; nil if
// that is all it held.
func withoutMarks(entry map[string]any, mark func(string) bool) map[string]any {
	fields := object.Map(entry, "fieldsV1")
	annotations := object.Map(fields, "f:metadata", "f:annotations")
	rest := unmarked(annotations, mark, "f:")
	if len(rest) == len(annotations) {
		return entry
	}
	metadata := maps.Clone(object.Map(fields, "f:metadata"))
	if metadata["f:annotations"] = rest; len(rest) == 0 {
		delete(metadata, "f:annotations")
	}
	fields = maps.Clone(fields)
	if fields["f:metadata"] = metadata; len(metadata) == 0 {
		delete(fields, "f:metadata")
	}
	if len(fields) == 0 {
		return nil
	}
	entry = maps.Clone(entry)
	entry["fieldsV1"] = fields
	return entry
}

// equalBut compares two maps except for some keys, without copying them.
func equalBut(a, b map[string]any, keys ...string) bool {
	for k, v := range a {
		if slices.Contains(keys, k) {
			continue
		}
		other, ok := b[k]
		if !ok || !reflect.DeepEqual(v, other) {
			return false
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok && !slices.Contains(keys, k) {
			return false
		}
	}
	return true
}

// action compares what was with what the server answered.
func action(before, after *unstructured.Unstructured, mark func(string) bool) Action {
	switch {
	case before == nil || before.GetUID() != after.GetUID():
		return Created
	case before.GetResourceVersion() == after.GetResourceVersion() || sameButStatus(before.Object, after.Object, mark):
		return Unchanged
	}
	return Configured
}

// Planned is what Send is going to do, as far as it was observed: After is the
// object as the server says that it will be, or as the manifest has it where the
// server was not asked, or the client does not Foresee.
func (w *Write) Planned() Change {
	c := w.unchanged()
	c.Notes, c.Restarts = slices.Concat(w.next.moved, w.next.notes), w.next.restarts
	if !w.Pending() || w.next.fence {
		return c
	}
	c.Action, c.After = Configured, w.planned
	if c.After == nil {
		c.After = w.about.body
	}
	switch {
	case c.Before == nil:
		c.Action = Created
	case w.next.recreate:
		c.Action = Replaced
		if w.planned != nil { // it was asked for under another name
			c.After = &unstructured.Unstructured{Object: shallowAt(w.planned.Object, "metadata")}
			c.After.SetName(w.about.Name)
			c.After.SetGenerateName("")
		}
	}
	return c
}

// foresee asks for an object as it will be when the fields of others are ours. The
// dry run of an apply alone leaves there what only they have set.
func (w *Write) foresee(ctx context.Context, d decision) {
	if d.managers == nil || d.body == nil || w.planned == nil || len(d.migrate) == 0 {
		return
	}
	all := ownersOf(w.planned)
	theirs := func(o owner) bool { return o.isOf(d.migrate) }
	leaving := held(all, theirs).Difference(held(all, func(o owner) bool { return !theirs(o) }))
	if keeps(ownersOf(d.before), d.migrate, w.about.body, d.before) {
		leaving = leaving.Difference(fieldpath.NewSet(fieldpath.MakePathOrDie("spec", "replicas")))
	}
	next, _ := stored.Without(w.planned.Object, leaving).(map[string]any)
	patch := mergePatch(d.before.Object, next)
	delete(patch, "status")
	for _, key := range serverside {
		delete(object.Map(patch, "metadata"), key)
	}
	patch["apiVersion"], patch["kind"] = d.body.GetAPIVersion(), d.body.GetKind()
	if answer, err := w.ask(ctx, question{merged: &unstructured.Unstructured{Object: patch}}); err == nil {
		w.planned = answer
	}
}

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
				if _, sub, ok := stored.Item(h.fields, second[i], i); ok {
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
