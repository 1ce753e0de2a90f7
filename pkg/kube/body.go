package kube

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/stored"
	"github.com/org/deploy-model-action/pkg/workload"
)

// absent is the resourceVersion that an apply names in order to create: it
// creates what does not exist, and conflicts with whatever does, also when it is
// forced. "0" would count as none.
const absent = "1"

// serverside are the fields of metadata that are the server's own. A manifest
// that was exported from a cluster has them.
var serverside = []string{"resourceVersion", "uid", "managedFields", "generation", "creationTimestamp", "selfLink"}

// written are the annotations that controllers and kubectl keep account in, which
// an exported manifest has as well. Applied, the number of a revision would stand
// against the controller that counts on, with the next deploy or the one after it.
var written = []string{
	"deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation", "kubectl.kubernetes.io/last-applied-configuration",
}

// Manifest is an object as a manifest may ask for it: without what is the
// server's own, and without the marks of an earlier run. It names what it left
// out; the object itself is not changed.
func Manifest(u *unstructured.Unstructured) (clean *unstructured.Unstructured, ignored []string) {
	out := shallowAt(u.Object, "metadata", "annotations")
	metadata := object.Map(out, "metadata")
	for _, key := range serverside {
		if v, ok := metadata[key]; ok {
			delete(metadata, key)
			if v != nil {
				ignored = append(ignored, "metadata."+key)
			}
		}
	}
	forget := func(annotations map[string]any, keys ...string) {
		for _, key := range keys {
			if _, ok := annotations[key]; ok {
				delete(annotations, key)
				ignored = append(ignored, "the annotation "+key)
			}
		}
	}
	forget(object.Map(out, "metadata", "annotations"), written...)
	forget(object.Map(out, "metadata", "annotations"), object.RunAnnotation, object.CommitAnnotation, object.ContentAnnotation, object.ConfigAnnotation)
	for _, path := range workload.TemplateAnnotations(u) {
		if object.Map(out, path...)[object.ConfigAnnotation] != nil {
			out = shallowAt(out, path...)
			forget(object.Map(out, path...), object.ConfigAnnotation)
		}
	}
	if status, ok := out["status"]; ok {
		delete(out, "status")
		if m, isMap := status.(map[string]any); status != nil && (!isMap || len(m) > 0) {
			ignored = append(ignored, "status")
		}
	}
	return &unstructured.Unstructured{Object: out}, ignored
}

// body is what is sent of a manifest's object: without what is left to others, and
// with what marks the templates of its pods.
func (t terms) body(manifest *unstructured.Unstructured) *unstructured.Unstructured {
	out := manifest.Object
	for path := range t.yield {
		fields := strings.Split(strings.TrimPrefix(path, "."), ".")
		parents := fields[:len(fields)-1]
		out = shallowAt(out, parents...)
		delete(object.Map(out, parents...), fields[len(fields)-1])
	}
	for i, path := range workload.TemplateAnnotations(manifest) {
		if i < len(t.kept) && t.kept[i] != "" {
			out = annotatedAt(out, path, t.kept[i])
		}
	}
	return &unstructured.Unstructured{Object: out}
}

// annotatedAt is u with a mark among the annotations at a place, of which it copies
// the maps on the way.
func annotatedAt(u map[string]any, path []string, mark string) map[string]any {
	out := maps.Clone(u)
	if out == nil {
		out = map[string]any{}
	}
	if len(path) == 0 {
		out[object.ConfigAnnotation] = mark
		return out
	}
	child, _ := out[path[0]].(map[string]any)
	out[path[0]] = annotatedAt(child, path[1:], mark)
	return out
}

// pinned is a body that holds for one state of the object only, so that nobody's
// write in between is lost. Its metadata is a copy.
func pinned(body, live *unstructured.Unstructured) *unstructured.Unstructured {
	out := &unstructured.Unstructured{Object: shallowAt(body.Object, "metadata")}
	if live == nil {
		out.SetResourceVersion(absent)
		return out
	}
	out.SetUID(live.GetUID())
	out.SetResourceVersion(live.GetResourceVersion())
	return out
}

// asMigrated is a merge patch that leaves the object as the migration of tools
// and the apply together will: the manifest, beside what others hold. Lists are
// whole in a merge patch, with what others put into them.
func (t terms) asMigrated(live, manifest *unstructured.Unstructured, tools []tool) *unstructured.Unstructured {
	patch := mergePatch(live.Object, t.merged(live, manifest, tools))
	patch["apiVersion"], patch["kind"] = manifest.GetAPIVersion(), manifest.GetKind()
	return &unstructured.Unstructured{Object: patch}
}

// merged is what the migration of tools and the apply together make of an object.
func (t terms) merged(live, manifest *unstructured.Unstructured, tools []tool) map[string]any {
	all := ownersOf(live)
	mine := func(o owner) bool { return o.ours() || o.isOf(tools) }
	leaving := held(all, mine).Difference(held(all, func(o owner) bool { return !mine(o) })).Union(t.claim.all())
	rest, _ := stored.Without(live.Object, leaving).(map[string]any)
	return overlay(rest, t.body(manifest).Object, held(all, func(o owner) bool { return !mine(o) }).Difference(t.claim.all()))
}

// overlay is a with everything that b says. Lists of b replace those of a, but for
// what others hold of items with a key.
func overlay(a, b map[string]any, others *fieldpath.Set) map[string]any {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]any{}
	}
	for key, v := range b {
		under, isMap := out[key].(map[string]any)
		over, both := v.(map[string]any)
		first, isList := out[key].([]any)
		second, lists := v.([]any)
		var inside *fieldpath.Set
		if others != nil {
			inside, _ = others.Children.Get(fieldpath.FieldNameElement(key))
		}
		switch {
		case isMap && both:
			out[key] = overlay(under, over, inside)
		case isList && lists:
			out[key] = overlayItems(first, second, inside)
		default:
			out[key] = v
		}
	}
	return out
}

// overlayItems is b over what others hold of the items of a.
func overlayItems(a, b []any, others *fieldpath.Set) []any {
	out := slices.Clone(b)
	for i, item := range a {
		pe, sub, ok := stored.Item(others, item, i)
		if !ok || pe.Key == nil || sub == nil {
			continue
		}
		theirs, _ := stored.Pick(item, sub, nil).(map[string]any)
		at := stored.Index(b, pe)
		if at < 0 {
			out = append(out, theirs)
			continue
		}
		its, _ := b[at].(map[string]any)
		out[at] = overlay(theirs, its, sub)
	}
	return out
}

// mergePatch is the merge patch that makes b of a (RFC 7386).
func mergePatch(a, b map[string]any) map[string]any {
	patch := map[string]any{}
	for key := range a {
		if _, ok := b[key]; !ok {
			patch[key] = nil
		}
	}
	for key, v := range b {
		was, wasMap := a[key].(map[string]any)
		is, isMap := v.(map[string]any)
		switch {
		case wasMap && isMap:
			if below := mergePatch(was, is); len(below) > 0 {
				patch[key] = below
			}
		case !reflect.DeepEqual(a[key], v):
			patch[key] = v
		}
	}
	return patch
}

// fieldAt is the value at a path that names no item of a list.
func fieldAt(u *unstructured.Unstructured, path string) (any, bool) {
	fields := strings.Split(strings.TrimPrefix(path, "."), ".")
	if strings.ContainsAny(path, `[]"\`) || len(fields) < 2 {
		return nil, false
	}
	v, ok := object.Map(u.Object, fields[:len(fields)-1]...)[fields[len(fields)-1]]
	return v, ok
}

// shallowAt copies the maps on the way to a field, and no others.
func shallowAt(u map[string]any, path ...string) map[string]any {
	out := maps.Clone(u)
	if out == nil {
		out = map[string]any{}
	}
	if len(path) > 0 {
		if child, ok := out[path[0]].(map[string]any); ok {
			out[path[0]] = shallowAt(child, path[1:]...)
		}
	}
	return out
}

// Config is what the pods of a workload read of the ConfigMaps and Secrets that are
// written in the same go. What it says is noted on the workload; its pods are
// replaced when that is something else than was noted.
type Config struct {
	// Versions of what they are to read, and which they were before this run, or one
	// that it took over from, wrote anything.
	Versions, Before workload.Versions
	// Keep says that pods are not to be replaced.
	Keep bool
}

// rolled completes a decision by what the pods read. It is pure.
func (a applying) rolled(d decision) decision {
	if a.Config == nil || d.whole == nil {
		return d
	}
	live, paths := d.before, workload.TemplateAnnotations(a.body)
	noted := notedOn(live, paths)
	next := maps.Clone(noted)
	maps.Copy(next, a.Config.Versions)
	maps.DeleteFunc(next, func(name, _ string) bool { return !reads(a.body, name) })
	if live != nil && len(noted) == 0 && runOf(live) == "" {
		noted = a.Config.Before // nobody has written yet what they read: it is taken over
	}
	var news []string
	if live != nil && !a.Config.Keep {
		news = slices.DeleteFunc(next.News(noted), func(name string) bool {
			return !reads(live, name) // then its template changes anyway
		})
	}
	switch {
	case len(news) == 0 && d.body == nil:
		return d
	case live != nil && a.Config.Keep:
		next = noted
	}
	d.body = &unstructured.Unstructured{Object: d.whole.Object}
	if text := next.String(); text != "" {
		d.body.Object = annotatedAt(d.body.Object, []string{"metadata", "annotations"}, text)
		d.force = d.force || others(live, []string{"metadata", "annotations"}, object.ConfigAnnotation)
	}
	if len(news) == 0 {
		return d
	}
	d.fence, d.notes, d.restarts = false, slices.Clip(d.notes), news
	d.note("its pods are replaced, as they read what has changed: %s", strings.ReplaceAll(strings.Join(news, ", "), "/", " "))
	for _, path := range paths {
		d.body.Object = annotatedAt(d.body.Object, path, next.String())
		d.force = d.force || others(live, path, object.ConfigAnnotation)
		if d.expected != nil {
			d.expected = &unstructured.Unstructured{Object: annotatedAt(d.expected.Object, path, next.String())}
		}
	}
	return d
}

// reads reports whether the pods of an object read something.
func reads(u *unstructured.Unstructured, name string) bool {
	return slices.ContainsFunc(workload.Reads(u), func(r workload.Read) bool { return r.String() == name })
}

// notedOn is what an object says of what its pods have read.
func notedOn(live *unstructured.Unstructured, paths [][]string) workload.Versions {
	noted := workload.Versions{}
	if live == nil {
		return noted
	}
	for _, path := range append(slices.Clone(paths), []string{"metadata", "annotations"}) {
		text, _ := object.Map(live.Object, path...)[object.ConfigAnnotation].(string)
		maps.Copy(noted, workload.ParseVersions(text))
	}
	return noted
}

// templateMarks are the marks of an object's pod templates, in the order of their
// places in the manifest; nil if there are none.
func templateMarks(manifest, live *unstructured.Unstructured) []string {
	if live == nil {
		return nil
	}
	paths := workload.TemplateAnnotations(manifest)
	marks := make([]string, len(paths))
	for i, path := range paths {
		marks[i], _ = object.Map(live.Object, path...)[object.ConfigAnnotation].(string)
	}
	if strings.Join(marks, "") == "" {
		return nil
	}
	return marks
}

// others reports whether another manager holds an annotation.
func others(live *unstructured.Unstructured, path []string, annotation string) bool {
	for _, o := range ownersOf(live) {
		at := object.Map(o.entry, "fieldsV1")
		for _, step := range path {
			at = object.Map(at, "f:"+step)
		}
		if _, holds := at["f:"+annotation]; holds && !o.ours() {
			return true
		}
	}
	return false
}

// stamp puts on a ConfigMap or Secret which write gave it its content.
func (a applying) stamp(d *decision, s state, t terms) {
	if a.Stamp == "" {
		return
	}
	after := s.answer
	if s.live != nil && (after == nil || d.managers != nil) {
		// The dry run was of the object before its migration, or there was none.
		after = &unstructured.Unstructured{Object: t.merged(s.live, a.body, t.migrate)}
	}
	stamps := object.StampsOf(s.live).Renewed(s.live, after, a.Stamp)
	if len(stamps) == 0 {
		return
	}
	path := []string{"metadata", "annotations"}
	annotations := maps.Clone(object.Map(d.whole.Object, path...))
	if annotations == nil {
		annotations = map[string]any{}
	}
	annotations[object.ContentAnnotation] = stamps.String()
	object.Map(d.whole.Object, "metadata")["annotations"] = annotations
	d.force = d.force || others(s.live, path, object.ContentAnnotation)
}

// settle takes a decision.
func (w *Write) settle(d decision) {
	w.base, w.next = d, d
	if a, ok := w.intent.(applying); ok {
		w.next = a.rolled(d)
	}
}

// Configure says what the pods of a workload read, which is known only after that
// was observed, and may be another when it was written. Nothing is asked again.
func (w *Write) Configure(c Config) {
	w.options.Config = &c
	if _, ok := w.intent.(applying); ok {
		w.intent = applying{w.about, w.options}
	}
	w.settle(w.base)
}

// Stamps are those that the object will have.
func (w *Write) Stamps() object.Stamps {
	if w.next.body != nil {
		return object.StampsOf(w.next.body)
	}
	return object.StampsOf(w.next.before)
}
