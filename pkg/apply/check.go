package apply

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// snapshotTries bounds how often an object that changes all the time (a status
// that is being written) is read again to get it and the dry run at one version.
const snapshotTries = 3

// check dry-runs everything that can be dry-run now, and returns what cannot.
func (r *run) check(ctx context.Context, items []*item) (late []*item, err error) {
	var free, bound []*item
	for _, it := range items {
		if it.namespace != nil || it.crd != nil {
			bound = append(bound, it)
		} else {
			free = append(free, it)
		}
	}
	judge := func(it *item) error { return r.judge(ctx, it) }
	errs := []error{r.each(ctx, free, judge)}
	if ctx.Err() != nil || r.broken.Load() {
		return nil, flat(ctx, errs...)
	}
	var now []*item
	for _, it := range bound {
		if it.waits() {
			late = append(late, it)
		} else {
			now = append(now, it)
		}
	}
	errs = append(errs, r.each(ctx, now, judge))
	return late, flat(ctx, errs...)
}

// checkLate dry-runs what had to wait for its namespace or definition.
func (r *run) checkLate(ctx context.Context, late []*item) error {
	if err := r.established(ctx, late); err != nil {
		return err
	}
	return r.each(ctx, late, func(it *item) error { return r.judge(ctx, it) })
}

// judge takes the snapshot of one object beside its dry run, and decides what
// its write will be.
func (r *run) judge(ctx context.Context, it *item) error {
	started := time.Now()
	before, dry, err := r.look(ctx, it)
	it.before = before
	r.inherit(it)
	if err != nil {
		err = r.reconsider(ctx, it, err)
	}
	if err == nil {
		err = it.deleting()
	}
	if err != nil {
		return r.failed(ctx, it, err)
	}
	if it.unchecked || len(it.csa) > 0 || it.handover || before == nil {
		return nil
	}
	if same(before.Object, dry.Object) {
		it.unchanged = true
		it.change = &Change{
			Index: it.index, Resource: it.GroupVersionResource, Namespaced: it.namespaced,
			Before: before, After: before, Action: Unchanged,
			Started: started, Took: time.Since(started),
		}
	}
	return nil
}

// look reads the object and dry-runs it, at the same time, until both speak of
// one resourceVersion. The object is returned also beside the dry run's error.
func (r *run) look(ctx context.Context, it *item) (before, dry *unstructured.Unstructured, err error) {
	var (
		wg     sync.WaitGroup
		getErr error
	)
	wg.Go(func() { before, getErr = r.get(ctx, it) })
	dry, err = r.rehearse(ctx, it)
	wg.Wait()
	if err != nil || getErr != nil {
		// Both fail for one reason, as a rule; the write is what matters.
		return before, nil, cmp.Or(err, getErr)
	}
	for range snapshotTries {
		if dry == nil || before == nil || before.GetResourceVersion() == dry.GetResourceVersion() {
			break
		}
		if before, err = r.get(ctx, it); err != nil {
			return nil, nil, err
		}
		if before == nil || before.GetResourceVersion() == dry.GetResourceVersion() {
			break
		}
		if dry, err = r.rehearse(ctx, it); err != nil {
			return before, nil, err
		}
	}
	return before, dry, nil
}

// get reads the object; nil if it does not exist.
func (r *run) get(ctx context.Context, it *item) (*unstructured.Unstructured, error) {
	p := patience{young: func(err error) bool { return it.waits() && isUnserved(err) }}
	found, err := retry(ctx, r, p, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return r.at(it).Get(ctx, it.object.GetName(), metav1.GetOptions{})
	})
	if apierrors.IsNotFound(err) && !isUnserved(err) {
		return nil, nil
	}
	return found, err
}

// patch applies the object, or plays at it.
func (r *run) patch(ctx context.Context, it *item, dry, force bool) (*unstructured.Unstructured, error) {
	force = force || r.ForceConflicts
	options := metav1.PatchOptions{FieldManager: FieldManager, FieldValidation: metav1.FieldValidationStrict, Force: &force}
	if dry {
		options.DryRun = []string{metav1.DryRunAll}
	}
	return retry(ctx, r, r.patience(it, dry), func(ctx context.Context) (*unstructured.Unstructured, error) {
		body, err := json.Marshal(it.object.Object)
		if err != nil {
			return nil, fmt.Errorf("encode: %w", err)
		}
		return r.at(it).Patch(ctx, it.object.GetName(), types.ApplyPatchType, body, options)
	})
}

func (r *run) at(it *item) dynamic.ResourceInterface {
	if it.namespaced {
		return r.Dynamic.Resource(it.GroupVersionResource).Namespace(it.object.GetNamespace())
	}
	return r.Dynamic.Resource(it.GroupVersionResource)
}

// deleting refuses to work in or on a namespace that is going away: nothing can
// be created there, and what is there is deleted soon.
func (it *item) deleting() error {
	if it.before == nil || it.before.GetDeletionTimestamp() == nil || it.object.GetKind() != "Namespace" {
		return nil
	}
	return it.errorf("is being deleted: wait until it is gone and run again, or deploy to another namespace")
}

// isUnserved tells a path that the server does not have from an object that
// does not exist: only the latter is named in the answer.
func isUnserved(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Code != http.StatusNotFound {
		return false
	}
	details := status.Status().Details
	return details == nil || details.Name == "" || apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// same reports whether an apply would change nothing: the server's answer to the
// dry run is the object as it is. Times in managedFields are ignored.
func same(live, dry map[string]any) bool {
	return equalBut(live, dry, "metadata") &&
		equalBut(mapAt(live, "metadata"), mapAt(dry, "metadata"), "managedFields") &&
		sameManagers(mapAt(live, "metadata")["managedFields"], mapAt(dry, "metadata")["managedFields"])
}

func sameManagers(live, dry any) bool {
	a, _ := live.([]any)
	b, _ := dry.([]any)
	if len(a) == 0 && len(b) == 1 && mapOf(b[0])["manager"] == "before-first-apply" {
		// We own nothing here (a bare Namespace, say), so nothing is recorded; the
		// server invents this entry for the answer whenever it finds none.
		return true
	}
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !equalBut(mapOf(a[i]), mapOf(b[i]), "time") {
			return false
		}
	}
	return true
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

func mapAt(m map[string]any, path ...string) map[string]any {
	for _, key := range path {
		m, _ = m[key].(map[string]any)
	}
	return m
}

func mapOf(value any) map[string]any {
	m, _ := value.(map[string]any)
	return m
}
