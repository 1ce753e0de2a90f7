package kube

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/retry"
)

const (
	// conflictTries bounds how often an object that others keep writing is read,
	// decided on and written again. A status is written a few times a second while
	// a rollout fails, so this is some seconds at least.
	conflictTries = 25
	// conflictPause is the pause before the first of them; it doubles up to longConflictPause.
	conflictPause     = 10 * time.Millisecond
	longConflictPause = 500 * time.Millisecond
	// snapshotTries bounds how often an object that changes all the time (a status
	// that is being written) is read again to get it and the dry run at one version.
	snapshotTries = 3
	// questionLimit bounds the dry runs of one decision. Three is the most that
	// is known to happen.
	questionLimit = 8
)

// WriteOptions say how an object may be written. Their zero value is a write that
// overrides nobody and is not marked.
type WriteOptions struct {
	// Force takes fields over from other tools that deploy, and from controllers.
	// What autoscalers set is left to them all the same.
	Force bool
	// Mark says which run writes, on what it changes.
	Mark object.Mark
	// Ours reports whether another run's work is this run's: it is one that this
	// run took over from. The default is that no other is.
	Ours func(run string) bool
	// Held reports, as an error, that this run may not write any more. It is asked
	// when an object has changed since it was read, after it was read again: so who
	// claims the right to write and writes then cannot be missed. The default is
	// that the run may.
	Held func(context.Context) error
	// Fence writes also what would be unchanged, so that a write of an earlier run
	// that is still on its way finds another version, and fails.
	Fence bool
	// InSet reports whether an object is written in the same go, so that a missing
	// one may be there a moment later. The default is that none is.
	InSet func(object.ID) bool
	// Rerun says that a Job which failed is to run again, though nothing of it changed.
	Rerun bool
	// Stamp is what a ConfigMap or Secret is given with content that is not what it
	// was: a text that nobody can guess, of this object and run only. "" gives none.
	Stamp string
	// Config is what the pods of a workload read; nil if that is nothing.
	Config *Config
	// Fresh says that the object's namespace or definition was created a moment
	// ago, Redefined that its definition was changed: servers may not know yet.
	Fresh, Redefined bool
}

// intent is what a write is for. Implementations are pure.
type intent interface {
	// first is what can be asked before the object was read.
	first() (question, bool)
	// decide says what to send, or what to ask before that can be said.
	decide(state) (decision, *question, error)
}

// Write brings one object to what it is to be. It observes the object, decides,
// and sends; when the object changes in between, it does all three again. It is
// not for concurrent use.
type Write struct {
	client  *Client
	about   subject
	options WriteOptions
	intent  intent
	base    decision // without what follows from what its pods read
	next    decision
	started time.Time
	took    time.Duration // of what was observed

	planned     *unstructured.Unstructured // as the server says that it will be; nil if it is not known
	left, wrong []string                   // of a Revert: what is not as it was
}

// Apply prepares the write of an object as a manifest wants it: cleaned by
// Manifest, with its namespace. The object is not modified.
func (c *Client) Apply(ref Ref, manifest *unstructured.Unstructured, o WriteOptions) *Write {
	about := subject{ref, manifest}
	return &Write{client: c, about: about, options: o, intent: applying{about, o}}
}

// Observe reads the object beside a dry run and decides what has to be sent. It
// writes nothing. The error is what a user can act on.
func (w *Write) Observe(ctx context.Context) error {
	w.started = time.Now()
	next, err := w.decide(ctx)
	w.took = time.Since(w.started)
	if next.before != nil || err == nil {
		w.settle(next)
	}
	if err != nil {
		return w.client.refused(ctx, w.about, err)
	}
	return nil
}

// Pending reports whether there is something to send.
func (w *Write) Pending() bool { return w.next.pending() }

// Live is the object as it was observed last; nil if it does not exist.
func (w *Write) Live() *unstructured.Unstructured { return w.next.before }

// decide observes and decides until nothing more has to be asked.
func (w *Write) decide(ctx context.Context) (decision, error) {
	var (
		s      state
		group  sync.WaitGroup
		getErr error
	)
	asked, parallel := w.intent.first()
	s.asked = asked
	group.Go(func() {
		defer fault.Catch(ctx)
		s.live, getErr = w.get(ctx, w.client)
	})
	if parallel {
		s.answer, s.refuse = w.ask(ctx, s.asked)
	}
	group.Wait()
	if getErr != nil {
		// Both fail for one reason, as a rule; the write is what matters.
		if s.refuse != nil {
			return decision{}, s.refuse
		}
		return decision{}, getErr
	}
	if parallel && isZeroed(s.live, w.about.body) {
		s.scaler = w.scalerOf(ctx)
	}
	reread := 0
	for range questionLimit {
		if reread < snapshotTries && s.outdated() {
			reread++
			if s.live, getErr = w.get(ctx, w.client); getErr != nil {
				return decision{}, getErr
			}
			switch {
			case !parallel: // what was asked rested on what was read
				s.asked, s.answer, s.refuse = asked, nil, nil
			case s.outdated():
				s.answer, s.refuse = w.ask(ctx, s.asked)
				continue
			}
		}
		if s.refuse != nil && !isRefusal(s.refuse) {
			return decision{before: s.live}, s.refuse
		}
		d, next, err := w.intent.decide(s)
		if err != nil || next == nil {
			if d.before == nil {
				d.before = s.live
			}
			if w.client.foresee {
				w.planned = s.answer
				if err == nil && s.asked.merged == nil {
					w.foresee(ctx, d)
				}
			}
			return d, err
		}
		if next.defaults && !s.asked.defaults && next.merged == nil {
			s.asked = *next
			w.askDefaults(ctx, &s)
			continue
		}
		s.asked = *next
		s.answer, s.refuse = w.ask(ctx, s.asked)
	}
	return decision{before: s.live}, errContended
}

// errContended ends what others would never let end.
var errContended = errors.New("others keep changing it: try again when they are done")

// outdated reports whether the dry run was of another object than the one that was
// read. The answer about one that does not exist has no version.
func (s state) outdated() bool {
	switch {
	case s.asked.anew: // it was of no object that is there
		return false
	case s.answer == nil:
		return isStale(s.refuse)
	case s.live == nil:
		return s.answer.GetResourceVersion() != "" && s.answer.GetResourceVersion() != "0"
	}
	return s.live.GetUID() != s.answer.GetUID() || s.live.GetResourceVersion() != s.answer.GetResourceVersion()
}

// isRefusal reports whether an error is the server's answer to this request.
func isRefusal(err error) bool {
	var status apierrors.APIStatus
	var exhausted *retry.ExhaustedError
	var ended *retry.EndedError
	return errors.As(err, &status) && !errors.As(err, &exhausted) && !errors.As(err, &ended)
}

func (w *Write) get(ctx context.Context, c *Client) (*unstructured.Unstructured, error) {
	return c.Get(ctx, w.about.Ref, Patience{NotYet: func(err error) bool { return w.options.Fresh && IsUnserved(err) }})
}

// Send writes what Observe decided, and decides anew as often as the object has
// changed since. A Change is returned also beside an error when the write may
// have been done: its Action is then Uncertain.
func (w *Write) Send(ctx context.Context) (Change, error) {
	if w.next.pending() {
		w.started = time.Now()
	}
	// What became of a write is found out also when ctx has just ended.
	longer, release := outlive(ctx, lastLook)
	defer release()
	change, err := w.send(ctx, longer)
	if err != nil {
		err = w.client.refused(ctx, w.about, err)
	}
	return change, err
}

func (w *Write) send(ctx, longer context.Context) (Change, error) {
	var doubtful *decision
	pause := conflictPause
	for try := 1; ; try++ {
		d := w.next
		switch {
		case doubtful != nil && (doubtful.landed(d.before) || !d.pending() && runOf(d.before) == runOf(doubtful.body)):
			w.log(doubtful.notes) // a write that seemed lost came after all
			return w.done(*doubtful, d.before), nil
		case !d.pending():
			w.log(d.notes)
			return w.unchanged(), nil
		}
		after, err := w.commit(ctx, d)
		if err == nil {
			w.log(d.notes)
			return w.done(d, after), nil
		}
		var lost *lostError
		switch {
		case errors.As(err, &lost):
			return w.uncertain(d), lost.err
		case errors.Is(err, ErrUncertain):
			live, unread := w.lookAgain(longer)
			switch {
			case unread != nil:
				return w.uncertain(d), err
			case d.landed(live):
				w.log(d.notes)
				return w.done(d, live), nil
			case ctx.Err() != nil:
				// It is as it was, but what was torn off may be carried out yet.
				return w.uncertain(d), err
			}
			doubtful = &d
		case !apierrors.IsConflict(err):
			return Change{}, err
		}
		if try >= conflictTries {
			return Change{}, errContended
		}
		if err := retry.Sleep(ctx, pause/2+rand.N(pause)); err != nil {
			return Change{}, err
		}
		pause = min(2*pause, longConflictPause)
		next, err := w.decide(ctx)
		w.settle(next)
		if err != nil {
			if doubtful != nil {
				return w.uncertain(*doubtful), err
			}
			return Change{}, err
		}
		// The object was read before the record is: who claims it in between has
		// not written yet, or is found.
		if err := w.held(ctx); err != nil {
			return Change{}, err
		}
	}
}

func (w *Write) held(ctx context.Context) error {
	if w.options.Held == nil {
		return nil
	}
	if err := w.options.Held(ctx); err != nil {
		return &StoppedError{err}
	}
	return nil
}

// commit sends a decision: field ownership first, then the object.
func (w *Write) commit(ctx context.Context, d decision) (*unstructured.Unstructured, error) {
	switch {
	case d.replace:
		return w.replaceBy(ctx, d)
	case d.recreate:
		return w.recreate(ctx, d)
	}
	body := d.body
	if d.managers != nil {
		moved, err := w.moveManagers(ctx, d.managers)
		if err == nil {
			w.log(d.moved)
		}
		if err != nil || body == nil {
			return moved, err
		}
		body = pinned(body, moved)
		// A quantity can read otherwise than it was written, and makes the server
		// believe that this patch wrote the field: what conflicts then is our own.
		d.force = d.force || slices.ContainsFunc(ownersOf(moved), owner.oursByUpdate)
	}
	validation := metav1.FieldValidationStrict
	if d.lenient {
		validation = metav1.FieldValidationIgnore
	}
	return w.patch(ctx, types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: object.FieldManager, FieldValidation: validation, Force: &d.force})
}

// moveManagers patches managedFields, and changes no value.
func (w *Write) moveManagers(ctx context.Context, patch []byte) (*unstructured.Unstructured, error) {
	return call(ctx, w.client, Patience{Write: true, Versioned: true}, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return w.client.Objects(w.about.Resource, w.about.Namespace).Patch(ctx, w.about.Name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: object.FieldManager})
	})
}

func (w *Write) log(notes []string) {
	for _, note := range notes {
		w.client.log("%s: %s", w.about.ID(), note)
	}
}

func (w *Write) unchanged() Change {
	return Change{Ref: w.about.Ref, Before: w.next.before, After: w.next.before, Manifest: w.manifest(), Action: Unchanged, Started: w.started, Took: w.took}
}

func (w *Write) done(d decision, after *unstructured.Unstructured) Change {
	done := action(d.before, after, d.mark)
	switch {
	case d.fence:
		done = Unchanged
	case d.recreate:
		done = Replaced
	}
	w.remaining(after)
	// The largest part of an object in memory, and old news in an answer.
	delete(object.Map(after.Object, "metadata"), "managedFields")
	return Change{Ref: w.about.Ref, Before: d.before, After: after, Manifest: w.manifest(), Action: done, Started: w.started, Took: time.Since(w.started)}
}

// manifest is what an apply was to write.
func (w *Write) manifest() *unstructured.Unstructured {
	if _, ok := w.intent.(applying); ok {
		return w.about.body
	}
	return nil
}
