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

	"github.com/org/deploy-model-action/pkg/retry"
)

const (
	restoreBudget   = time.Minute // for one object
	restorePause    = 250 * time.Millisecond
	restoreMaxPause = 8 * time.Second
	conflictPause   = 20 * time.Millisecond
)

// putBack reads, decides and writes, again and again while others write or the
// server stumbles. The write names the uid and resourceVersion that the decision
// was made on, so that nobody's change in between is lost. It returns the object
// as it is then, and as it was just before.
func putBack(ctx context.Context, t Target, client dynamic.ResourceInterface) (after, live *unstructured.Unstructured, err error) {
	bounded, cancel := context.WithTimeout(ctx, restoreBudget)
	defer cancel()
	pause := restorePause
	for {
		after, live, err = putBackOnce(bounded, t, client)
		switch {
		case err == nil || !passes(err):
			return after, live, err
		case apierrors.IsConflict(err):
			// Status updates come often while a rollout fails, and are over at once.
			_ = retry.Sleep(bounded, conflictPause)
		default:
			_ = retry.Sleep(bounded, pause)
			pause = min(2*pause, restoreMaxPause)
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if bounded.Err() != nil {
			return nil, nil, fmt.Errorf("no success within %s: %w", restoreBudget, err)
		}
	}
}

func putBackOnce(ctx context.Context, t Target, client dynamic.ResourceInterface) (after, live *unstructured.Unstructured, err error) {
	live, err = client.Get(ctx, t.Before.GetName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil, &restoreError{"somebody deleted it since; apply its earlier manifest by hand"}
	case err != nil:
		return nil, nil, err
	case live.GetUID() != t.Object.GetUID():
		return nil, nil, &restoreError{"somebody deleted it and created it anew since; left as it is"}
	case t.newerRun(live):
		return nil, nil, &restoreError{"a newer run has deployed it since; left as it is"}
	case t.changedSince(live):
		return nil, nil, &restoreError{"somebody changed it since; left as it is"}
	}
	config, err := earlierFields(t.Before, live)
	if err != nil {
		return nil, nil, err
	}
	config.SetUID(live.GetUID())
	config.SetResourceVersion(live.GetResourceVersion())
	body, err := json.Marshal(config)
	if err != nil {
		return nil, nil, fmt.Errorf("encode: %w", err)
	}
	// Never forced: what others hold is not in it, and who takes a field at this moment keeps it.
	options := metav1.PatchOptions{FieldManager: fieldManager, Force: new(bool), FieldValidation: metav1.FieldValidationIgnore}
	options.DryRun = []string{metav1.DryRunAll}
	after, err = client.Patch(ctx, live.GetName(), types.ApplyPatchType, body, options)
	if err != nil && passes(err) {
		return nil, nil, err
	}
	if err == nil {
		if wrong := ownDifferences(t.Before, after, live); len(wrong) > 0 {
			replaced, err := replace(ctx, t, client, live, after, wrong)
			// Without the right to update, what the apply can restore is better than nothing.
			if !apierrors.IsForbidden(err) {
				return replaced, live, err
			}
		}
	}
	options.DryRun = nil
	after, err = client.Patch(ctx, live.GetName(), types.ApplyPatchType, body, options)
	if err != nil {
		return nil, nil, err
	}
	after, err = migrate(ctx, client, after)
	return after, live, err
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
			return ours(o.ManagedFieldsEntry) && o.fields.Has(fieldpath.MakePathOrDie("stringData", d.path[1]))
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
