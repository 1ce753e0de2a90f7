package apply

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// establishLimit is for a definition to be served; it usually takes 0.1 s.
	establishLimit = 30 * time.Second
	firstPoll      = 50 * time.Millisecond
	longPoll       = time.Second
)

// settle records the objects that need no write.
func (r *run) settle(items []*item) {
	for _, it := range items {
		if it.change != nil {
			r.results.add(it.order, *it.change)
			it.change = nil
		}
	}
}

// write applies the items of one stage that need it. After the first failure
// nothing more is started.
func (r *run) write(ctx context.Context, items []*item) error {
	var changed []*item
	for _, it := range items {
		if !it.unchanged {
			changed = append(changed, it)
		}
	}
	return r.each(ctx, changed, func(it *item) error {
		started := time.Now()
		after, err := r.writeOne(ctx, it)
		if err != nil {
			r.broken.Store(true)
			return r.failed(ctx, it, err)
		}
		done := action(it.before, after)
		// The largest part of an object in memory, and old news in an answer.
		delete(mapAt(after.Object, "metadata"), "managedFields")
		r.results.add(it.order, Change{
			Index: it.index, Resource: it.GroupVersionResource, Namespaced: it.namespaced,
			Before: it.before, After: after, Action: done,
			Started: started, Took: time.Since(started),
		})
		return nil
	})
}

// writeOne applies one object.
func (r *run) writeOne(ctx context.Context, it *item) (*unstructured.Unstructured, error) {
	for range maxManagedRead {
		if len(it.csa) > 0 || it.handover {
			if err := r.migrate(ctx, it); err != nil {
				return nil, err
			}
		}
		after, err := r.patch(ctx, it, false, false)
		conflicts := conflictsOf(err)
		if len(conflicts) == 0 {
			return after, err
		}
		// Somebody wrote between the dry run and now.
		if err := r.resolve(it, conflicts); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("others keep changing it: try again when they are done")
}

// migrate moves field ownership by a patch of managedFields. It changes no value.
func (r *run) migrate(ctx context.Context, it *item) error {
	live := it.before
	for range maxManagedRead {
		if live == nil {
			return nil
		}
		patch, err := it.ownershipPatch(live)
		if err != nil || patch == nil {
			it.csa, it.handover = nil, false
			return err
		}
		_, err = retry(ctx, r, patience{write: true, pinned: true}, func(ctx context.Context) (*unstructured.Unstructured, error) {
			return r.at(it).Patch(ctx, it.object.GetName(), types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: FieldManager})
		})
		switch {
		case err == nil:
			if len(it.csa) > 0 {
				r.Log("%s: fields that %s set are now managed by %s", it, strings.Join(it.csa, ", "), FieldManager)
			}
			if it.handover {
				r.Log("%s: spec.replicas is left to the autoscaler that now scales it", it)
			}
			it.csa, it.handover = nil, false
			return nil
		case !apierrors.IsConflict(err) && !apierrors.IsNotFound(err):
			return err
		}
		if live, err = r.get(ctx, it); err != nil {
			return err
		}
	}
	return fmt.Errorf("others keep changing it: try again when they are done")
}

// action compares what was with what the server answered.
func action(before, after *unstructured.Unstructured) Action {
	switch {
	case before == nil:
		return Created
	case before.GetResourceVersion() == after.GetResourceVersion() || before.GetUID() == after.GetUID() && sameButStatus(before.Object, after.Object):
		return Unchanged
	}
	return Configured
}

// sameButStatus is for an object whose status others wrote between snapshot and
// write: the version moved, but not because of us.
func sameButStatus(a, b map[string]any) bool {
	return equalBut(a, b, "metadata", "status") &&
		equalBut(mapAt(a, "metadata"), mapAt(b, "metadata"), "managedFields", "resourceVersion") &&
		equalBut(ownEntry(a), ownEntry(b), "time")
}

func ownEntry(object map[string]any) map[string]any {
	for _, entry := range managers(&unstructured.Unstructured{Object: object}) {
		if entry["manager"] == FieldManager && entry["operation"] == string(metav1.ManagedFieldsOperationApply) {
			return entry
		}
	}
	return nil
}

// established waits until the definitions that late items need are served.
func (r *run) established(ctx context.Context, late []*item) error {
	kinds := map[schema.GroupVersionKind]*item{}
	var first []*item
	for _, it := range late {
		kind := it.object.GroupVersionKind()
		if it.crd != nil && !it.crd.serves() && kinds[kind] == nil {
			kinds[kind] = it
			first = append(first, it)
		}
	}
	return r.each(ctx, first, func(it *item) error {
		if err := r.establish(ctx, it); err != nil {
			return r.failed(ctx, it.crd, err)
		}
		return nil
	})
}

// establish polls the list of resources, which holds a custom resource as soon
// as its definition is established, and is far smaller than the definition.
func (r *run) establish(ctx context.Context, it *item) error {
	kind := it.object.GroupVersionKind()
	deadline := time.Now().Add(establishLimit)
	for wait := firstPoll; ; wait = min(2*wait, longPoll) {
		kinds, err := r.mapper.ask(ctx, kind.GroupVersion())
		if kinds[kind.Kind].Name == it.Resource {
			return nil
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		if wait == longPoll || time.Now().After(deadline) {
			crd, err := r.get(ctx, it.crd)
			if err != nil {
				return err
			}
			reason, refused := notEstablished(crd)
			if refused || time.Now().After(deadline) {
				return it.crd.errorf("is not served: %s; correct the definition, or delete the one that has its names", reason)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// notEstablished says why a definition is not served, and whether that is final.
func notEstablished(crd *unstructured.Unstructured) (reason string, refused bool) {
	if crd == nil {
		return "it was deleted", true
	}
	if condition(crd, "NamesAccepted") == "False" {
		return conditionMessage(crd, "NamesAccepted"), true
	}
	if condition(crd, "Established") == "False" {
		return conditionMessage(crd, "Established"), false
	}
	return fmt.Sprintf("it was not established within %s", establishLimit), false
}

// condition is the status of a condition: "True", "False", or "" if it is not there.
func condition(object *unstructured.Unstructured, kind string) string {
	status, _ := conditionOf(object, kind)["status"].(string)
	return status
}

func conditionMessage(object *unstructured.Unstructured, kind string) string {
	message, _ := conditionOf(object, kind)["message"].(string)
	return short(message)
}

func conditionOf(object *unstructured.Unstructured, kind string) map[string]any {
	list, _ := mapAt(object.Object, "status")["conditions"].([]any)
	for _, element := range list {
		if c, ok := element.(map[string]any); ok && c["type"] == kind {
			return c
		}
	}
	return nil
}
