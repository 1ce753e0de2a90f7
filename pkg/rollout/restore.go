package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/redact"
)

const (
	// fieldManager is the name under which deploys write. A restore writes under
	// it as well: it is the deploy's own fields that go back, and the next deploy
	// must own them to change them.
	fieldManager = "deploy-model-action"
	// runAnnotations is the prefix of the annotations that say which run wrote an object.
	runAnnotations = "deploy-model-action/"

	restoreConcurrent = 16
)

// RestoreAction is what Restore did with one object.
type RestoreAction string

// The actions.
const (
	ActionRestored    RestoreAction = "restored"     // it has its earlier fields again
	ActionLeft        RestoreAction = "left"         // this deploy created it; it stays for inspection
	ActionUntouched   RestoreAction = "untouched"    // this deploy did not change it
	ActionNotRestored RestoreAction = "not restored" // it could not be restored; Err says why
)

// Restored is what became of one object. Its Target is what Wait takes to wait
// for the restored object: Object as the restore left it, Before as the deploy had.
type Restored struct {
	Target
	Action  RestoreAction
	Message string // a few words, e.g. what is different from before and who holds it; or ""
	Err     error
	// Failed is the object just before it was restored.
	Failed *unstructured.Unstructured
}

// String is the action as one line, e.g. "deployment.apps/x restored".
func (r Restored) String() string {
	s := resourceName(r.Object) + " " + string(r.Action)
	if r.Message != "" {
		s += ": " + r.Message
	}
	return s
}

// Restore gives every object that a deploy changed the fields back that it had
// before, in reverse order of the targets. It does not wait until the restored
// workloads serve: give them to Wait.
//
// Fields of other managers are not touched; nor is an object that the deploy
// created or left as it was. Nothing is, once a newer run has deployed one of
// them: it counts on the others too. One Restored for each target is returned,
// in the order of the targets, also with an error.
func Restore(ctx context.Context, targets []Target, o RestoreOptions) ([]Restored, error) {
	all := make([]Restored, len(targets))
	newer := superseded(ctx, targets, o)
	for end := len(targets); end > 0; {
		// Neighbours of one kind do not depend on each other.
		start := end - 1
		for start > 0 && targets[start-1].Resource == targets[end-1].Resource {
			start--
		}
		atMost(restoreConcurrent, end-start, func(i int) {
			all[start+i] = restore(ctx, targets[start+i], newer, o)
		})
		end = start
	}
	var errs []error
	for _, r := range all {
		if r.Err != nil {
			errs = append(errs, r.Err)
		}
	}
	return all, errors.Join(errs...)
}

// atMost calls f for each of count, some at a time, and returns when all are done.
func atMost(some, count int, f func(i int)) {
	var group sync.WaitGroup
	slots := make(chan struct{}, some)
	for i := range count {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	group.Wait()
}

// superseded names an object that a newer run has deployed since; "" if there is
// none, or none that could be read.
func superseded(ctx context.Context, targets []Target, o RestoreOptions) string {
	names := make([]string, len(targets))
	atMost(restoreConcurrent, len(targets), func(i int) {
		t := targets[i]
		if !t.Changed || !marked(t.Object) {
			return
		}
		live, err := clientOf(t, o).Get(ctx, t.Object.GetName(), metav1.GetOptions{})
		if err == nil && t.newerRun(live) {
			names[i] = kindAndName(t.Object)
		}
	})
	for _, name := range names {
		if name != "" {
			return name
		}
	}
	return ""
}

// clientOf reaches the objects of a target's resource and namespace.
func clientOf(t Target, o RestoreOptions) dynamic.ResourceInterface {
	if t.Namespaced {
		return o.Dynamic.Resource(t.Resource).Namespace(t.Object.GetNamespace())
	}
	return o.Dynamic.Resource(t.Resource)
}

// marked tells whether an object says which run wrote it.
func marked(o *unstructured.Unstructured) bool {
	for key := range o.GetAnnotations() {
		if strings.HasPrefix(key, runAnnotations) {
			return true
		}
	}
	return false
}

// newerRun tells whether a run has written the object that is neither this one
// nor, if the answer to a first attempt to restore it was lost, the one before.
func (t Target) newerRun(live *unstructured.Unstructured) bool {
	return !sameRun(live, t.Object) && (t.Before == nil || !sameRun(live, t.Before))
}

// changedSince tells whether somebody gave fields of the object another value
// since this deploy wrote it: another run, or a person. To restore it then would
// undo their work. What controllers set, such as an autoscaler, is no such thing,
// and an object that is as it was before was restored by a write whose answer was lost.
func (t Target) changedSince(live *unstructured.Unstructured) bool {
	theirs := func(d difference) bool { return d.manager == "" || strings.HasPrefix(d.manager, "kubectl") }
	return slices.ContainsFunc(differences(t.Object, live), theirs) && len(differences(t.Before, live)) > 0
}

// sameRun tells whether the run that wrote a is the last one that wrote live.
func sameRun(live, a *unstructured.Unstructured) bool {
	mine, now := a.GetAnnotations(), live.GetAnnotations()
	for key, v := range now {
		if strings.HasPrefix(key, runAnnotations) && mine[key] != v {
			return false
		}
	}
	for key, v := range mine {
		if strings.HasPrefix(key, runAnnotations) && now[key] != v {
			return false
		}
	}
	return true
}

// restore settles one object, unless a newer run has deployed one of the set.
func restore(ctx context.Context, t Target, newer string, o RestoreOptions) Restored {
	switch {
	case !t.Changed:
		return Restored{Target: t, Action: ActionUntouched}
	case t.Before == nil:
		return Restored{Target: t, Action: ActionLeft, Message: "this deploy created it, so there is nothing to go back to; left for inspection"}
	case newer != "":
		return t.notRestored(fmt.Sprintf("a newer run has deployed %s since, and counts on what is there; left as it is", newer))
	}
	client := clientOf(t, o)
	after, failed, err := putBack(ctx, t, client)
	if err != nil {
		return t.notRestored(t.because(err))
	}
	r := Restored{
		Target: Target{Object: after, Before: t.Object, Resource: t.Resource, Namespaced: t.Namespaced, Changed: true},
		Action: ActionRestored, Failed: failed,
	}
	var left, wrong []string
	for _, d := range differences(t.Before, after) {
		if d.manager != "" {
			left = append(left, fmt.Sprintf("%s (held by %q)", d, d.manager))
		} else {
			wrong = append(wrong, d.String())
		}
	}
	if len(wrong) > 0 {
		return t.notRestored("still different from before: " + object.JoinFirst(wrong) + byHand)
	}
	var said []string
	if len(left) > 0 {
		said = append(said, "left to others: "+object.JoinFirst(left))
	}
	r.Message = strings.Join(said, "; ")
	return r
}

// byHand is what to do about what could not be restored.
const byHand = "; compare it with the earlier manifest and apply that by hand"

func (t Target) notRestored(why string) Restored {
	return Restored{Target: t, Action: ActionNotRestored, Message: why, Err: fmt.Errorf("restore %s: %s", kindAndName(t.Object), why)}
}

// because says why an object could not be restored. What a server says about a
// Secret may hold its values, and is not shown.
func (t Target) because(err error) string {
	var own *restoreError
	switch {
	case errors.As(err, &own):
		return own.why
	case errors.Is(err, context.Canceled):
		return "the run was cancelled before it was done" + byHand
	}
	text := redact.Line(err.Error(), messageLimit)
	if t.Object.GetKind() == "Secret" {
		text = "the API server refused it"
		if reason := apierrors.ReasonForError(err); reason != metav1.StatusReasonUnknown {
			text += " (" + string(reason) + ")"
		}
	}
	return text + byHand
}

// restoreError is a reason of our own for leaving an object as it is.
type restoreError struct{ why string }

func (e *restoreError) Error() string { return e.why }
