package release

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

// The logs of release shop are the Secrets deploy-model-action.shop.1 and so on; a
// claim reserves the first that is free, nearly always 1. So what a killed process
// left beside a claim that it never made is in the way of the next one, and not
// forgotten: a name made of the run would be known to nobody. Whose a log is, its
// annotations say.
//
// A process whose claim was overtaken before its log was there must not write
// any more. Whoever takes over and finds no log closes its name: then the log
// can never be created, and nothing is written that nobody has logged.

// maxLogConflicts bounds how often a log may be found as it was not before.
const maxLogConflicts = 10

// changing says what was tried: there is nothing else that is known.
func changing() error {
	return fmt.Errorf("somebody else changed it in each of %d tries; find out what writes it beside the deploys, and deploy again", maxLogConflicts)
}

// writtenLog is the log of this process.
type writtenLog struct {
	changes  []kube.Change
	complete bool // nothing had to be left out
	uid      types.UID
}

// logDraft is a log that is created while the claim is not yet made, and may
// have to go again.
type logDraft struct {
	number  int // 0: there is none
	changes []kube.Change
	packed  []byte
	omitted []object.ID
	sent    bool
	object  *unstructured.Unstructured // as created; nil if that did not succeed
	err     error
}

func draftLog(number int, undo []kube.Change) (*logDraft, error) {
	d := &logDraft{number: number, changes: oldest(undo)}
	var err error
	d.packed, d.omitted, err = packLog(d.changes, maxLog)
	return d, err
}

// earlierLog is a log of a process before this one.
type earlierLog struct {
	undoRef
	closed bool // there was none, and there never will be
	uid    types.UID
}

// logObject is a log as a Secret.
func (r *Record) logObject(ref kube.Ref, packed []byte) *unstructured.Unstructured {
	u := newObject(ref)
	notes := map[string]string{annotationHolder: r.nonce, object.RunAnnotation: r.run.String()}
	if commit := r.run.bounded().Commit; commit != "" {
		notes[object.CommitAnnotation] = commit
	}
	u.SetAnnotations(notes)
	u.Object["type"] = logType
	u.Object["data"] = map[string]any{logKey: base64.StdEncoding.EncodeToString(packed)}
	return u
}

// settle makes sure that the log that was created beside the claim is this process's.
func (r *Record) settle(ctx context.Context, d *logDraft) error {
	r.log = &writtenLog{changes: d.changes, complete: len(d.omitted) == 0}
	switch {
	case d.err == nil:
		r.log.uid = d.object.GetUID()
		return nil
	case outdated(d.err):
		return r.put(ctx, d.packed)
	}
	r.log = nil
	return explain(d.err, "create", r.logRef(d.number))
}

// put writes this process's log, whatever is there under its name.
func (r *Record) put(ctx context.Context, packed []byte) error {
	ref := r.logRef(r.own.Log)
	var err error
	for range maxLogConflicts {
		var found, written *unstructured.Unstructured
		if found, err = r.client.Get(ctx, ref, kube.Patience{}); err != nil {
			break
		}
		want := r.logObject(ref, packed)
		switch {
		case found == nil:
			written, err = r.client.Create(ctx, ref, want)
		case equalLog(found, want):
			written = found // the answer was lost
		default:
			if found.GetAnnotations()[annotationHolder] != r.nonce {
				// Either somebody has taken over before this log was there, and has closed
				// it; or it is left from a process that never made its claim.
				if err := r.Held(ctx); err != nil {
					r.log = nil
					return err
				}
			}
			want.SetResourceVersion(found.GetResourceVersion())
			want.SetUID(found.GetUID())
			written, err = r.client.Update(ctx, ref, want)
		}
		if err == nil {
			r.log.uid = written.GetUID()
			return nil
		}
		if !outdated(err) {
			break
		}
	}
	if !errors.Is(err, kube.ErrUncertain) {
		r.log = nil
	}
	if outdated(err) {
		err = changing()
	}
	return explain(err, "write", ref)
}

func equalLog(found, want *unstructured.Unstructured) bool {
	text := func(u *unstructured.Unstructured) string { return object.Text(u, "data", logKey) }
	return found.GetAnnotations()[annotationHolder] == want.GetAnnotations()[annotationHolder] && text(found) == text(want)
}

// discard removes a log that was created beside a claim that was not made. It
// may have become the log of whoever made that claim: then it stays.
func (r *Record) discard(ctx context.Context, d *logDraft) {
	if d.number == 0 {
		return
	}
	ref := r.logRef(d.number)
	if d.object == nil {
		if !errors.Is(d.err, kube.ErrUncertain) {
			return
		}
		found, err := r.client.Get(ctx, ref, kube.Patience{})
		if err != nil || found == nil || found.GetAnnotations()[annotationHolder] != r.nonce {
			return
		}
		d.object = found
	}
	version, uid := d.object.GetResourceVersion(), d.object.GetUID()
	_ = r.remove(ctx, ref, metav1.Preconditions{UID: &uid, ResourceVersion: &version})
}

// remove deletes a log if the preconditions hold: its name may be that of another
// one by now, and then there is nothing to do.
func (r *Record) remove(ctx context.Context, ref kube.Ref, p metav1.Preconditions) error {
	if err := r.client.Delete(ctx, ref, metav1.DeleteOptions{Preconditions: &p}); !apierrors.IsConflict(err) {
		return err
	}
	return nil
}

// inherit reads the logs of the processes before this one.
//
// It begins with the newest: a process that ends well deletes the oldest first
// and its own last, so that one that is not there says the same of those before,
// and one that is there holds what they held.
func (r *Record) inherit(ctx context.Context) (lost []string, err error) {
	logs := make([][]kube.Change, len(r.earlier))
	left := int64(maxExpanded)
	for i := len(r.earlier) - 1; i >= 0; i-- {
		e := &r.earlier[i]
		if e.Obsolete {
			continue
		}
		found, err := r.lookUp(ctx, e)
		switch {
		case err != nil:
			return nil, err
		case found == nil:
			continue
		}
		packed, err := base64.StdEncoding.DecodeString(object.Text(found, "data", logKey))
		if err == nil {
			var size int64
			logs[i], size, err = unpackLog(packed, left)
			left -= min(left, size)
		}
		if err != nil {
			lost = append(lost, found.GetName())
		}
	}
	r.inherited = oldest(logs...)
	return lost, nil
}

// lookUp returns the log of a process before; nil if there is none, and then
// there never will be.
func (r *Record) lookUp(ctx context.Context, e *earlierLog) (*unstructured.Unstructured, error) {
	ref := r.logRef(e.Log)
	for range maxLogConflicts {
		found, err := r.client.Get(ctx, ref, kube.Patience{})
		if err != nil {
			return nil, explain(err, "get", ref)
		}
		if found != nil {
			e.uid = found.GetUID()
			if found.GetAnnotations()[annotationHolder] == e.Nonce {
				return found, nil
			}
			if found.GetAnnotations()[annotationClosed] == r.nonce {
				e.closed = true
				return nil, nil
			}
		}
		tombstone := newObject(ref)
		tombstone.SetAnnotations(map[string]string{annotationClosed: r.nonce})
		tombstone.Object["type"] = logType
		if found == nil {
			_, err = r.client.Create(ctx, ref, tombstone)
		} else {
			tombstone.SetResourceVersion(found.GetResourceVersion())
			tombstone.SetUID(found.GetUID())
			_, err = r.client.Update(ctx, ref, tombstone)
		}
		if err != nil && !outdated(err) {
			return nil, explain(err, "close", ref)
		}
	}
	return nil, explain(changing(), "close", ref)
}

// KeepLog writes the log of this process after a takeover, or anew after what is
// to be written was decided again: what it inherited first, then entries, each
// with the object as it is now (Before); of one object the oldest counts. Without
// entries it writes nothing. It returns the objects that had no room. After an
// error, which may be a *SupersededError, nothing may be written.
func (r *Record) KeepLog(ctx context.Context, entries []kube.Change) (omitted []object.ID, err error) {
	if len(entries) == 0 {
		return nil, nil
	}
	var known []kube.Change
	if r.log != nil {
		known = r.log.changes
	}
	all := oldest(r.inherited, entries, known)
	packed, omitted, err := packLog(all, maxLog)
	if err != nil {
		return nil, err
	}
	if r.own == (undoRef{}) { // nothing was to be written when this process claimed
		if err := r.reserve(ctx); err != nil {
			return nil, err
		}
	}
	// The logs of the processes before stay until this one ends.
	r.log = &writtenLog{changes: all, complete: len(omitted) == 0}
	return omitted, r.put(ctx, packed)
}

// reserve names a log of this process in the record.
func (r *Record) reserve(ctx context.Context) error {
	listed := func(s state) bool { return s.logOf(r.nonce).Log > 0 }
	err := r.change(ctx, listed, func(old stored) (state, error) {
		if !old.heldBy(r.nonce) {
			return state{}, old.superseding()
		}
		return old.reserved(), nil
	})
	r.own = r.last().logOf(r.nonce)
	return err
}
