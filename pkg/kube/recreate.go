package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/retry"
	"github.com/org/deploy-model-action/pkg/wire"
)

const (
	// goneLimit bounds the wait until a Job that has ended is gone, with its pods:
	// they have ended, too, so that only who keeps them by a finalizer takes long.
	goneLimit = time.Minute
	gonePoll  = 50 * time.Millisecond
	slowPoll  = time.Second
)

// recreating decides about a Job whose template is another one, which no write can
// change: one that has ended gives its place to the new one. asked is false for
// everything else.
func (a applying) recreating(s state, t terms) (d decision, next *question, asked bool, err error) {
	if s.live == nil || !isJob(a.Ref) {
		return d, nil, false, nil
	}
	why := "its template is another one, and that of a Job cannot be changed"
	switch {
	case s.asked.anew && s.refuse != nil:
		return d, nil, true, s.refuse
	case s.asked.anew:
		return a.anew(s, t), nil, true, nil
	case isImmutable(s.refuse):
	case a.Rerun && s.refuse == nil && jobEnd(s.live) == "failed":
		why = "it failed, and has to succeed"
	default:
		return d, nil, false, nil
	}
	if jobEnd(s.live) == "" && s.live.GetDeletionTimestamp() == nil {
		return d, nil, true, a.errorf("is still running, and its template cannot be changed: %s", a.waysOut())
	}
	return d, &question{terms: t, anew: true, why: why}, true, nil
}

// waysOut is what to do about a Job that runs.
func (a applying) waysOut() string {
	return fmt.Sprintf("wait until it has ended and run again; or end what it does (kubectl delete job %s -n %s); or give it metadata.generateName in place of metadata.name, so that each deploy makes one of its own", a.Name, a.Namespace)
}

// anew is the decision that the new Job takes the place of the one that has ended.
func (a applying) anew(s state, t terms) decision {
	d := decision{before: s.live, recreate: true, mark: marksBeside(a.body)}
	d.body = pinned(t.body(a.body), nil)
	a.mark(d.body, nil)
	how := jobEnd(s.live)
	if how == "" {
		how = "is being deleted"
	}
	d.note("the one that was there (%s) is deleted with its pods, and created anew: %s", how, s.asked.why)
	return d
}

func isJob(r Ref) bool { return r.Group == "batch" && r.Kind == "Job" }

// jobEnd is how a Job ended; "" if it has not.
func jobEnd(u *unstructured.Unstructured) string {
	for kind, how := range map[string]string{"Complete": "complete", "Failed": "failed"} {
		if c, ok := object.ConditionOf(u, kind); ok && c.Status == "True" {
			return how
		}
	}
	return ""
}

// isImmutable reports whether a write was refused for changing what nobody can change.
func isImmutable(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || !apierrors.IsInvalid(err) || status.Status().Details == nil {
		return false
	}
	return slices.ContainsFunc(status.Status().Details.Causes, func(c metav1.StatusCause) bool {
		return strings.Contains(c.Message, "field is immutable")
	})
}

// askAnew makes a dry run of the creation under another name: that of the object is taken.
func (w *Write) askAnew(ctx context.Context, q question) (*unstructured.Unstructured, error) {
	body := &unstructured.Unstructured{Object: shallowAt(q.body(w.about.body).Object, "metadata")}
	body.SetGenerateName(w.about.Name[:min(len(w.about.Name), 50)] + "-")
	body.SetName("")
	return call(ctx, w.client, w.options.patience(w.about.Ref, true, false), func(ctx context.Context) (*unstructured.Unstructured, error) {
		return w.client.Objects(w.about.Resource, w.about.Namespace).Create(wire.About(ctx, w.about.ID()), body, metav1.CreateOptions{
			FieldManager: object.FieldManager, FieldValidation: metav1.FieldValidationStrict, DryRun: []string{metav1.DryRunAll},
		})
	})
}

// lostError is what kept an object from being created anew that is deleted.
type lostError struct{ err error }

func (e *lostError) Error() string { return e.err.Error() }

// recreate deletes the object with its pods, waits until they are gone, and creates
// it anew. Whoever dies in between leaves nothing, of which the next run makes one.
func (w *Write) recreate(ctx context.Context, d decision) (*unstructured.Unstructured, error) {
	uid, version, policy := d.before.GetUID(), d.before.GetResourceVersion(), metav1.DeletePropagationForeground
	err := w.client.Delete(ctx, w.about.Ref, metav1.DeleteOptions{PropagationPolicy: &policy, Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version}})
	if err != nil {
		return nil, err
	}
	if err := w.gone(ctx, d.before); err != nil {
		return nil, err
	}
	d.recreate = false
	after, err := w.commit(ctx, d)
	if err != nil && !apierrors.IsConflict(err) && !errors.Is(err, ErrUncertain) {
		err = &lostError{err}
	}
	return after, err
}

// gone waits until an object is not there any more.
func (w *Write) gone(ctx context.Context, before *unstructured.Unstructured) error {
	deadline := time.Now().Add(goneLimit)
	for pause := gonePoll; ; pause = min(2*pause, slowPoll) {
		live, err := w.get(ctx, w.client)
		switch {
		case err != nil:
			return &uncertainError{err} // it is deleted, and nothing is in its place
		case live == nil || live.GetUID() != before.GetUID():
			return nil
		case time.Now().After(deadline):
			return &lostError{w.about.errorf("the one that has ended was deleted, and is still there after %s: find out what keeps its pods (kubectl get pods -n %s -l job-name=%s), and run again", goneLimit, w.about.Namespace, w.about.Name)}
		}
		if err := retry.Sleep(ctx, pause); err != nil {
			return &uncertainError{err}
		}
	}
}
