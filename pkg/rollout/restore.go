package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/csaupgrade"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

const (
	// fieldManager is the name under which deploys write. A restore writes under
	// it as well: it is the deploy's own fields that go back, and the next deploy
	// must own them to change them.
	fieldManager = "deploy-model-action"
	// runAnnotations is the prefix of the annotations that say which run wrote an object.
	runAnnotations = "deploy-model-action/"

	restoreBudget     = time.Minute // for one object
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
	Message string // one sentence, e.g. what is different from before and who holds it; or ""
	Err     error
}

// Waitable returns the targets of the restored objects, for Wait.
func Waitable(restored []Restored) []Target {
	var targets []Target
	for _, r := range restored {
		if r.Action == ActionRestored {
			targets = append(targets, r.Target)
		}
	}
	return targets
}

// Restore gives every object that a deploy changed the fields back that it had
// before, in reverse order of the targets. It does not wait until the restored
// workloads serve: give Waitable's targets to Wait.
//
// Fields of other managers are not touched; nor is an object that the deploy
// created or left as it was, or that a newer run has written since. One Restored
// for each target is returned, in the order of the targets, also with an error.
func Restore(ctx context.Context, targets []Target, o Options) ([]Restored, error) {
	all := make([]Restored, len(targets))
	for end := len(targets); end > 0; {
		// Neighbours of one kind do not depend on each other.
		start := end - 1
		for start > 0 && targets[start-1].Resource == targets[end-1].Resource {
			start--
		}
		var group sync.WaitGroup
		slots := make(chan struct{}, restoreConcurrent)
		for i := end - 1; i >= start; i-- {
			slots <- struct{}{}
			group.Go(func() {
				defer func() { <-slots }()
				all[i] = restore(ctx, targets[i], o)
			})
		}
		group.Wait()
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

func restore(ctx context.Context, t Target, o Options) Restored {
	switch {
	case !t.Changed:
		return Restored{Target: t, Action: ActionUntouched}
	case t.Before == nil:
		return Restored{Target: t, Action: ActionLeft, Message: "created by this deploy; left for inspection"}
	}
	after, err := putBack(ctx, t, o)
	if err != nil {
		return Restored{Target: t, Action: ActionNotRestored, Message: clean(err.Error(), messageLimit), Err: fmt.Errorf("restore %s: %w", kindAndName(t.Before), err)}
	}
	r := Restored{
		Target: Target{Object: after, Before: t.Object, Resource: t.Resource, Namespaced: t.Namespaced, Changed: true},
		Action: ActionRestored,
	}
	var left, wrong []string
	for _, d := range differences(t.Before, after) {
		if d.manager != "" {
			left = append(left, fmt.Sprintf("%s (held by %q)", d, d.manager))
		} else {
			wrong = append(wrong, d.String())
		}
	}
	if len(left) > 0 {
		r.Message = "left to others: " + some(left)
	}
	if len(wrong) > 0 {
		r.Action = ActionNotRestored
		r.Message = "still different from before: " + some(wrong)
		r.Err = fmt.Errorf("restore %s: %s; compare it with the earlier manifest and apply that by hand", kindAndName(t.Before), r.Message)
	}
	return r
}

// some joins the first few of many.
func some(all []string) string {
	if len(all) > 5 {
		return strings.Join(all[:5], ", ") + fmt.Sprintf(" and %d more", len(all)-5)
	}
	return strings.Join(all, ", ")
}

// putBack reads, decides and writes, again and again while others write or the
// server stumbles. The write names the uid and resourceVersion that the decision
// was made on, so that nobody's change in between is lost.
func putBack(ctx context.Context, t Target, o Options) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, restoreBudget)
	defer cancel()
	var client dynamic.ResourceInterface = o.Dynamic.Resource(t.Resource)
	if t.Namespaced {
		client = o.Dynamic.Resource(t.Resource).Namespace(t.Before.GetNamespace())
	}
	pause := 250 * time.Millisecond
	for {
		after, err := putBackOnce(ctx, t, client)
		if err == nil || !passes(err) {
			return after, err
		}
		if apierrors.IsConflict(err) {
			// Status updates come often while a rollout fails, and are over at once.
			pauseFor(ctx, spread(20*time.Millisecond))
		} else {
			pauseFor(ctx, spread(pause))
			pause = min(2*pause, 8*time.Second)
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w; the last answer was: %w", ctx.Err(), err)
		}
	}
}

func putBackOnce(ctx context.Context, t Target, client dynamic.ResourceInterface) (*unstructured.Unstructured, error) {
	live, err := client.Get(ctx, t.Before.GetName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, errors.New("somebody deleted it since; apply its earlier manifest by hand")
	case err != nil:
		return nil, err
	case live.GetUID() != t.Object.GetUID():
		return nil, errors.New("somebody deleted it and created it anew since; it is left as it is")
	case !sameRun(live, t.Object) && !sameRun(live, t.Before): // the earlier one, if the answer to a first attempt was lost
		return nil, errors.New("a newer run has deployed it since; it is left as it is")
	}
	config, err := earlierFields(t.Before, live)
	if err != nil {
		return nil, err
	}
	config.SetUID(live.GetUID())
	config.SetResourceVersion(live.GetResourceVersion())
	body, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	// Never forced: what others hold is not in it, and who takes a field at this moment keeps it.
	options := metav1.PatchOptions{FieldManager: fieldManager, Force: new(bool), FieldValidation: metav1.FieldValidationIgnore}
	options.DryRun = []string{metav1.DryRunAll}
	after, err := client.Patch(ctx, live.GetName(), types.ApplyPatchType, body, options)
	if err != nil && passes(err) {
		return nil, err
	}
	if err == nil {
		if wrong := ownDifferences(t.Before, after, live); len(wrong) > 0 {
			replaced, err := replace(ctx, t, client, live, after, wrong)
			// Without the right to update, what the apply can restore is better than nothing.
			if !apierrors.IsForbidden(err) {
				return replaced, err
			}
		}
	}
	options.DryRun = nil
	after, err = client.Patch(ctx, live.GetName(), types.ApplyPatchType, body, options)
	if err != nil {
		return nil, err
	}
	return migrate(ctx, client, after)
}

// ownDifferences are those that no other manager holds, and keys of a Secret
// that the deploy wrote as stringData: the API server keeps no account of these.
func ownDifferences(before, after, live *unstructured.Unstructured) []difference {
	now, _ := owners(live)
	return slices.DeleteFunc(differences(before, after), func(d difference) bool {
		if d.manager == "" {
			return false
		}
		if live.GetKind() != "Secret" || len(d.path) != 2 || d.path[0] != "data" {
			return true
		}
		return !slices.ContainsFunc(now, func(o owner) bool {
			return o.ours() && o.fields.Has(fieldpath.MakePathOrDie("stringData", d.path[1]))
		})
	})
}

// replace writes what a server-side apply cannot say: a field that nobody owns
// has to go, or to have another value. Such are the copy that the API server
// makes of serviceAccountName in serviceAccount, of stringData in data, and
// the node ports that it gave. It is one write, so that no workload starts to
// roll out something in between.
func replace(ctx context.Context, t Target, client dynamic.ResourceInterface, live, after *unstructured.Unstructured, wrong []difference) (*unstructured.Unstructured, error) {
	after.SetManagedFields(live.GetManagedFields())
	for _, d := range wrong {
		d.settle(after, t.Before)
	}
	after, err := client.Update(ctx, after, metav1.UpdateOptions{FieldManager: fieldManager, FieldValidation: metav1.FieldValidationIgnore})
	if err != nil {
		return nil, err
	}
	return migrate(ctx, client, after)
}

// migrate makes fields that were written by replace fields of a server-side
// apply, or the next deploy would meet a conflict with itself.
func migrate(ctx context.Context, client dynamic.ResourceInterface, after *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(after, sets.New(fieldManager), fieldManager)
	if err != nil {
		return nil, fmt.Errorf("managedFields: %w", err)
	}
	if patch == nil {
		return after, nil
	}
	return client.Patch(ctx, after.GetName(), types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
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

// passes tells whether the same request may succeed a moment later: an overloaded
// or restarting server, a lost connection, a webhook that is down, or somebody
// else's write in between. Not a field that another manager holds.
func passes(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return utilnet.IsConnectionReset(err) || utilnet.IsConnectionRefused(err) || utilnet.IsHTTP2ConnectionLost(err) ||
			utilnet.IsProbableEOF(err) || isNetwork(err)
	}
	s := status.Status()
	switch {
	case s.Code == http.StatusConflict:
		return s.Details == nil || !slices.ContainsFunc(s.Details.Causes, func(c metav1.StatusCause) bool {
			return c.Type == metav1.CauseTypeFieldManagerConflict
		})
	case s.Code == http.StatusTooManyRequests, s.Code >= http.StatusInternalServerError:
		return true
	}
	return false
}

func isNetwork(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
