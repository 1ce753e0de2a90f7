package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// ReasonSuperseded is the Reason of a Failure that is none of this deploy's: a
// newer run has changed the object while it was waited for.
const ReasonSuperseded = "Superseded"

// waiter waits for one object. What it is told comes in under its lock, from
// watches; what it concludes is in the rest, and only its own goroutine's.
type waiter struct {
	options   Options
	judge     func(view) state // nil: the kind knows no readiness
	diagnosis *diagnosis
	teller    *teller
	wake      chan struct{}

	status Status
	held   *Failure // certain, and not acted upon as long as FailFast is off
	failed bool     // status.Failure is certain
	plain  bool     // and its pods and events have nothing to do with it

	told   string // the last progress line's message, and when
	toldAt time.Time
	said   map[string]bool // notes and warnings
	again  time.Duration   // when to look again without a change; 0: only on change

	mu         sync.Mutex
	live       *unstructured.Unstructured
	lost       *Failure // it was deleted, replaced or taken over
	stale      condition
	blind      error // why it cannot be read, since blindSince
	blindSince time.Time
	event      string // the newest Warning about an object that has no pods
	later      string // why a claim is not waited for
}

func newWaiter(t Target, o Options, told *teller) *waiter {
	w := &waiter{
		options: o, judge: ruleFor(t.Object), diagnosis: newDiagnosis(t, o), teller: told,
		wake: make(chan struct{}, 1), said: map[string]bool{},
		live:   t.Object,
		status: Status{Target: t, Live: t.Object, Started: time.Now()},
	}
	// What the apply returned tells of the rollout before.
	w.stale, _ = view{live: t.Object}.condition("Progressing")
	return w
}

// begin judges the object as the apply returned it, which costs no request, and
// tells whether that settles it.
func (w *waiter) begin() bool {
	if w.judge == nil {
		w.status.Ready, w.status.Finished = true, w.status.Started
		return true
	}
	w.status.Waited = true
	return w.look(nil)
}

// wait returns when the object is ready, has failed for certain, or ctx ends.
func (w *waiter) wait(ctx context.Context) {
	following, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	group.Go(func() { w.watch().run(following) })
	if w.diagnosis.kind != "" {
		group.Go(func() { w.diagnosis.follow(following, w.awaken) })
	} else {
		group.Go(func() { w.followEvents(following) })
	}
	if w.isClaim() {
		group.Go(func() { w.askClass(following) })
	}
	for !w.look(w.diagnosis) {
		timer := time.NewTimer(w.pause())
		select {
		case <-ctx.Done():
			timer.Stop()
			// What arrived at the same moment counts.
			if !w.look(w.diagnosis) {
				w.status.Finished = time.Now()
			}
			return
		case <-w.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

func (w *waiter) isClaim() bool {
	return kindOf(w.status.Object) == "PersistentVolumeClaim"
}

func (w *waiter) watch() *objectWatch {
	t := w.status.Target
	return &objectWatch{
		resource: clientOf(t, w.options), name: t.Object.GetName(), version: t.Object.GetResourceVersion(),
		see: w.see, gone: w.gone, blind: w.unseen,
	}
}

// awaken makes the waiter look again.
func (w *waiter) awaken() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// see takes in a state of the object.
func (w *waiter) see(o *unstructured.Unstructured) {
	defer w.awaken()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost == nil {
		w.lost = w.takenAway(o)
	}
	if w.lost != nil {
		return
	}
	w.live = o
	if v := (view{live: o, target: w.status.Target}); !v.observed() {
		w.stale, _ = v.condition("Progressing")
	}
}

// takenAway tells why a state is not of the object that was applied.
func (w *waiter) takenAway(o *unstructured.Unstructured) *Failure {
	ours := w.status.Object
	v := view{live: o, target: w.status.Target}
	switch {
	case o.GetUID() != ours.GetUID():
		return v.fail("Replaced", "somebody deleted it and created it anew while it was waited for", "find out who did, and deploy again")
	case !sameRun(o, ours):
		return v.fail(ReasonSuperseded, "a newer run has deployed it while it was waited for", "look at that run")
	case o.GetDeletionTimestamp() != nil && o.GetKind() != "Job":
		return v.fail("Deleted", "it is being deleted while it is waited for", "find out who deletes it, and deploy again")
	}
	if now, then := templateImages(o), templateImages(ours); !slices.Equal(now, then) {
		return v.fail("Changed", fmt.Sprintf("somebody changed its images to %s while it was waited for", clean(strings.Join(now, ", "), phraseLimit)),
			"find out who else deploys it, and deploy again")
	}
	return nil
}

// gone takes in that the object was deleted.
func (w *waiter) gone(last *unstructured.Unstructured) {
	defer w.awaken()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost != nil {
		return
	}
	v := view{live: w.live, target: w.status.Target}
	fix := "find out who deleted it, and deploy again"
	if w.live.GetKind() == "Job" && v.spec(-1, "ttlSecondsAfterFinished") >= 0 {
		fix = "raise its ttlSecondsAfterFinished, so that its end can be seen"
		// The last state is that it ended.
		if last != nil && last.GetUID() == w.live.GetUID() {
			w.live, v.live = last, last
			if s := w.judge(v); s.ready || s.final {
				return
			}
		}
	}
	w.lost = v.fail("Deleted", "it was deleted while it was waited for", fix)
}

// askClass finds out whether a claim is bound before a pod uses it.
func (w *waiter) askClass(ctx context.Context) {
	why := bindsLater(ctx, w.status.Object, w.options)
	w.mu.Lock()
	w.later = why
	w.mu.Unlock()
	w.awaken()
}

// unseen takes in that the object cannot be read, and with nil that it can be again.
func (w *waiter) unseen(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// A server that restarts may refuse for a moment what it allows.
	if (w.blind == nil) != (err == nil) || apierrors.IsForbidden(w.blind) != apierrors.IsForbidden(err) {
		w.blindSince = time.Now()
		defer w.awaken()
	}
	w.blind = err
}

// templateImages are the images of a workload's pod template.
func templateImages(o *unstructured.Unstructured) []string {
	var images []string
	for _, field := range []string{"initContainers", "containers"} {
		list, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", field)
		for _, item := range list {
			m, _ := item.(map[string]any)
			if image, ok := m["image"].(string); ok {
				images = append(images, image)
			}
		}
	}
	return images
}
