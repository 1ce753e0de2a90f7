package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/stored"
)

// Revert prepares the way back of an object: it gets the fields again that it
// had before this run wrote it, as far as they are this run's to give, and its
// marks. after is the object as the run left it; nil if that is not known.
//
// It is left alone, with a *LeftError, when it is not any more what this run made
// of it. Where a server-side apply cannot say it (a field that nobody owns), the
// object is replaced.
func (c *Client) Revert(ref Ref, before, after *unstructured.Unstructured, o WriteOptions) *Write {
	about := subject{ref, before}
	return &Write{client: c, about: about, options: o, intent: reverting{about, after, o}}
}

// reverting decides what the way back needs. It is pure.
type reverting struct {
	subject // body is the object as it was
	after   *unstructured.Unstructured
	WriteOptions
}

// first is nothing: what goes back depends on who has which field now.
func (r reverting) first() (question, bool) { return question{}, false }

func (r reverting) decide(s state) (decision, *question, error) {
	if s.asked.config == nil {
		if touched, err := r.touched(s.live); err != nil || !touched {
			return decision{before: s.live}, nil, err
		}
		config := earlier(r.body, s.live, wanted(r.body, s.live))
		config.SetUID(s.live.GetUID())
		return decision{}, &question{config: config, lenient: true}, nil
	}
	if s.refuse != nil {
		return decision{}, nil, s.refuse
	}
	d := decision{before: s.live, expected: s.answer, lenient: true, mark: func(string) bool { return false }}
	wrong := ownDifferences(r.body, s.answer, s.live)
	if len(wrong) == 0 {
		if !same(s.live.Object, s.answer.Object, d.mark) {
			d.body = pinned(s.asked.config, s.live)
		}
		return d, nil, nil
	}
	// It is one write, so that no workload starts to roll out something in between.
	d.own = wanted(r.body, s.live)
	d.fallback = pinned(earlier(r.body, s.live, d.own.Union(held(ownersOf(s.live), owner.ours))), s.live)
	d.body = s.answer.DeepCopy()
	d.body.SetManagedFields(s.live.GetManagedFields())
	d.body.SetResourceVersion(s.live.GetResourceVersion())
	for _, w := range wrong {
		w.revert(d.body, r.body)
	}
	d.replace, d.expected = true, d.body
	return d, nil, nil
}

// touched reports whether the object is as this run left it, and not as it was
// before; a *LeftError says why it is to be left alone.
func (r reverting) touched(live *unstructured.Unstructured) (bool, error) {
	switch {
	case isJob(r.Ref) && (live == nil || live.GetUID() != r.body.GetUID() && r.isOurs(live)):
		return false, &LeftError{Why: "this deploy replaced it, and what has run cannot be put back; left as it is", Replaced: true}
	case live == nil:
		return false, &LeftError{Why: "somebody deleted it since; apply its earlier manifest by hand"}
	case live.GetUID() != r.body.GetUID():
		return false, &LeftError{Why: "somebody deleted it and created it anew since; left as it is"}
	case live.GetResourceVersion() == r.body.GetResourceVersion():
		return false, nil
	}
	back := len(differences(r.body, live)) == 0
	run, was := runOf(live), runOf(r.body)
	ours := r.isOurs(live)
	switch {
	case !ours && run == was && back:
		return false, nil // this run's write never came, or was undone
	case !ours && run != was:
		return false, &LeftError{Why: "a newer run has deployed it since; left as it is"}
	case !ours:
		return false, &LeftError{Why: "somebody changed it since; left as it is"}
	case back:
		return true, nil // but for its metadata
	}
	if changed := r.changedSince(live); len(changed) > 0 {
		return false, &LeftError{Why: "somebody changed it since (" + firstOf(changed) + "); left as it is"}
	}
	return true, nil
}

// isOurs reports whether this run wrote an object last, or one that it took over from.
func (r reverting) isOurs(live *unstructured.Unstructured) bool {
	run := runOf(live)
	return run == r.Mark.Run || r.Ours != nil && r.Ours(run)
}

// changedSince are the fields to which a person, or another run, gave another
// value since this run wrote the object: to restore it then would undo their
// work. What controllers set, such as an autoscaler, is no such thing, and nor is
// a number of replicas.
func (r reverting) changedSince(live *unstructured.Unstructured) []string {
	if r.after == nil {
		return nil
	}
	var fields []string
	for _, d := range differences(r.after, live) {
		if d.manager == "" || personal(d.manager) && !d.scaled {
			fields = append(fields, d.String())
		}
	}
	return fields
}

// wanted are the fields that the way back gives an object again.
func wanted(before, live *unstructured.Unstructured) *fieldpath.Set {
	then, now := ownersOf(before), ownersOf(live)
	ours := func(o owner) bool { return o.ours() || o.oursByUpdate() }
	notOurs := func(o owner) bool { return !ours(o) }
	mine, others := held(now, ours), held(now, notOurs)
	want := held(then, func(o owner) bool {
		// An owner that is gone was migrated to us, or lost all its fields to us.
		// Either way they are ours to give.
		gone := (o.subresource() == "" || o.subresource() == scaleSubresource) && !slices.ContainsFunc(now, o.is)
		return ours(o) || gone
	})
	// What this run took from an owner who is still there has its value again.
	// What it added is not in the earlier object, and goes.
	want = want.Union(mine.Intersection(held(then, notOurs)))
	// What another owner took since is left to it, and so are the replicas that
	// an autoscaler holds, though it may have agreed with us by chance.
	scaled := held(now, func(o owner) bool { return o.subresource() == scaleSubresource })
	return want.Difference(others.Difference(mine)).Difference(scaled)
}

// earlier is the configuration whose server-side apply gives an object the
// wanted fields back that it had before. Fields that nobody owned then are not
// among them: most are defaults, which come back by themselves.
func earlier(before, live *unstructured.Unstructured, want *fieldpath.Set) *unstructured.Unstructured {
	others := held(ownersOf(live), func(o owner) bool { return !o.ours() && !o.oursByUpdate() })
	picked, _ := stored.Pick(before.Object, want, others).(map[string]any)
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
	return out
}

// ownDifferences are those that no other manager holds, and keys of a Secret
// that the deploy wrote as stringData: the API server keeps no account of these.
func ownDifferences(before, answer, live *unstructured.Unstructured) []difference {
	return slices.DeleteFunc(differences(before, answer), func(d difference) bool {
		if d.manager == "" {
			return false
		}
		if live.GetKind() != "Secret" || len(d.path) != 2 || d.path[0] != "data" {
			return true
		}
		path := fieldpath.MakePathOrDie("stringData", d.path[1])
		return !slices.ContainsFunc(ownersOf(live), func(o owner) bool { return (o.ours() || o.oursByUpdate()) && o.fields().Has(path) })
	})
}

// replaceBy writes what a server-side apply cannot say: a field that nobody owns
// has to go, or to have another value. Such are the copy that the API server
// makes of serviceAccountName in serviceAccount, of stringData in data, and the
// node ports that it gave.
func (w *Write) replaceBy(ctx context.Context, d decision) (*unstructured.Unstructured, error) {
	after, err := call(ctx, w.client, Patience{Write: true, Versioned: true}, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return w.client.Objects(w.about.Resource, w.about.Namespace).Update(ctx, d.body, metav1.UpdateOptions{FieldManager: object.FieldManager, FieldValidation: metav1.FieldValidationIgnore})
	})
	if apierrors.IsForbidden(err) {
		// Without the right to update, what an apply can restore is better than
		// nothing, though it makes fields ours that were nobody's.
		d.replace, d.body = false, d.fallback
		return w.commit(ctx, d)
	}
	if err != nil {
		return nil, err
	}
	// What was written by a replace is ours by an update, and the next deploy would
	// meet a conflict with itself.
	patch, err := managersPatch(after, []tool{{object.FieldManager, updates}}, &fieldpath.Set{}, func(*fieldpath.Set) *fieldpath.Set { return d.own })
	if err != nil || patch == nil {
		return after, err
	}
	return w.moveManagers(ctx, patch)
}

// Remaining is what is different from before after a Revert was sent: what others
// hold now, and what could not be restored.
func (w *Write) Remaining() (left, wrong []string) { return w.left, w.wrong }

// remaining notes what Remaining tells.
func (w *Write) remaining(after *unstructured.Unstructured) {
	r, ok := w.intent.(reverting)
	if !ok {
		return
	}
	w.left, w.wrong = nil, nil
	for _, d := range differences(r.body, after) {
		if d.manager != "" {
			w.left = append(w.left, fmt.Sprintf("%s (held by %q)", d, d.manager))
		} else {
			w.wrong = append(w.wrong, d.String())
		}
	}
}

// firstOf joins the first few of many.
func firstOf(all []string) string {
	if len(all) > 5 {
		return strings.Join(all[:5], ", ") + fmt.Sprintf(" and %d more", len(all)-5)
	}
	return strings.Join(all, ", ")
}
