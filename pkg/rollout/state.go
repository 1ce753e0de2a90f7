package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/diagnosis"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/readiness"
	"github.com/org/deploy-model-action/pkg/redact"
	"github.com/org/deploy-model-action/pkg/workload"
)

// phraseLimit bounds foreign text within a sentence, in runes.
const phraseLimit = 300

// line is foreign text, harmless within a sentence.
func line(text string) string { return redact.Line(text, phraseLimit) }

// observation is what one watch, list or read brought; zero fields say nothing.
type observation struct {
	object   *kube.Update                         // of the object itself
	evidence func(*diagnosis.Evidence, time.Time) // adds to it: pods, ReplicaSets, events
	warnings []diagnosis.Event                    // about an object that has no pods
	skip     string                               // why it is not waited for after all
	exposure func(*exposure, time.Time)           // adds to it, of a Service: endpoints, and pods that are ready
	watch    int                                  // which watch brought it, from 1; 0: none did
}

// state is all that is known of one object that is waited for. One goroutine owns
// it; what others learn reaches it as observations.
type state struct {
	change   kube.Change
	began    time.Time
	live     *unstructured.Unstructured
	taken    *diagnosis.Failure // somebody else changed, replaced or deleted it
	previous object.Condition   // Progressing, of before this rollout
	evidence *diagnosis.Evidence
	followed bool // its pods and events are: until then the evidence says nothing

	template   *corev1.PodTemplateSpec // of its pods, once it is templated
	templated  bool
	exposes    *exposure     // of a Service; nil if nothing is to be found out
	ill        bool          // it was not ready before, nothing of it was changed, and it fails nothing
	unverified bool          // the run that changed it last did not leave it verified
	reported   bool          // and ended so by itself
	alone      bool          // nothing was changed, of this object or another
	renewed    bool          // the write makes new pods
	steadyFor  time.Duration // how long its containers have to run
	readySince time.Time     // by its own status; zero if it is not

	failing      string // the reason of the failure that its own status says, since failingSince
	failingSince time.Time

	readErr      error // why it cannot be read, since readErrSince
	readErrSince time.Time
	warning      string // the newest Warning about an object that has no pods
	skip         string // why it is not waited for after all
}

func newState(c kube.Change, now time.Time) *state {
	s := &state{change: c, began: now, live: c.After, evidence: diagnosis.NewEvidence(c, now), renewed: renews(c), steadyFor: steadyFor(c)}
	// What the write returned is about the rollout before.
	s.previous, _ = object.ConditionOf(c.After, "Progressing")
	s.taken = s.takenBy(c.After)
	s.observeReady(now)
	s.observeFailing(now)
	return s
}

// illBefore reports whether the object was not ready before a deploy that did not
// change it. What is being deleted is another matter: it will be gone.
func (s *state) illBefore() bool {
	if s.change.Changed() || s.taken != nil {
		return false
	}
	// Not as the write returned it, which a takeover sends also for what is unchanged.
	outcome := readiness.Evaluate(cmp.Or(s.change.Before, s.change.After), readiness.Context{}).Outcome
	return outcome == readiness.Pending || outcome == readiness.Failed
}

// context is what readiness has to know.
func (s *state) context(now time.Time) readiness.Context {
	return readiness.Context{
		Before: s.change.Before, Applied: s.change.After, Changed: s.change.Changed(),
		Elapsed: now.Sub(s.began), Previous: s.previous,
	}
}

// follow begins to take the evidence into account.
func (s *state) follow(now time.Time) {
	s.followed = true
	s.evidence.ObserveObject(s.live, now)
}

// observe takes in an observation.
func (s *state) observe(o observation, now time.Time) {
	if o.object != nil {
		s.observeObject(*o.object, now)
	}
	if o.evidence != nil {
		o.evidence(s.evidence, now)
	}
	if recent := s.evidence.Recent(o.warnings); len(recent) > 0 {
		newest := recent[len(recent)-1]
		s.warning = newest.Reason + ": " + newest.Message
	}
	if o.skip != "" {
		s.skip = o.skip
	}
	if o.exposure != nil {
		o.exposure(s.exposes, now)
	}
}

func (s *state) observeObject(u kube.Update, now time.Time) {
	if u.Err != nil || s.readErr != nil {
		s.observeReadErr(u.Err, now)
	}
	switch {
	case s.taken != nil || u.Object == nil && !u.Deleted:
	case u.Deleted:
		s.observeDeleted(u.Object, now)
	default:
		if s.taken = s.takenBy(u.Object); s.taken != nil {
			return
		}
		s.live = u.Object
		if !readiness.Observed(u.Object, s.context(now)) {
			s.previous, _ = object.ConditionOf(u.Object, "Progressing")
		}
		s.evidence.ObserveObject(u.Object, now)
		s.observeReady(now)
		s.observeFailing(now)
	}
}

// observeReadErr takes in that the object cannot be read, and with nil that it can be again.
func (s *state) observeReadErr(err error, now time.Time) {
	// A server that restarts may refuse for a moment what it allows.
	if (s.readErr == nil) != (err == nil) || apierrors.IsForbidden(s.readErr) != apierrors.IsForbidden(err) {
		s.readErrSince = now
	}
	s.readErr = err
}

// takenBy says why a state is not of the object that was written; nil if it is.
func (s *state) takenBy(u *unstructured.Unstructured) *diagnosis.Failure {
	ours := s.change.After
	switch {
	case u.GetUID() != ours.GetUID():
		return s.failure(diagnosis.ReasonReplaced, "somebody deleted it and created it anew while it was waited for", "find out who did, and deploy again")
	case u.GetAnnotations()[object.RunAnnotation] != ours.GetAnnotations()[object.RunAnnotation]:
		return s.failure(diagnosis.ReasonChanged, "another run has deployed it while it was waited for", "look at that run")
	case u.GetDeletionTimestamp() != nil && u.GetKind() != "Job":
		return s.failure(diagnosis.ReasonDeleted, "it is being deleted while it is waited for", "find out who deletes it, and deploy again")
	}
	if now, then := workload.Pods(u).Images, workload.Pods(ours).Images; !slices.Equal(now, then) {
		return s.failure(diagnosis.ReasonChanged, fmt.Sprintf("somebody changed its images to %s while it was waited for", line(strings.Join(now, ", "))),
			"find out who else deploys it, and deploy again")
	}
	return nil
}

// observeDeleted takes in that the object was deleted, and its last state if it is known.
func (s *state) observeDeleted(last *unstructured.Unstructured, now time.Time) {
	fix := "find out who deleted it, and deploy again"
	if s.live.GetKind() == "Job" && object.Number(s.live, -1, "spec", "ttlSecondsAfterFinished") >= 0 {
		fix = "raise its ttlSecondsAfterFinished, so that its end can be observed"
		if last != nil && last.GetUID() == s.live.GetUID() {
			s.live = last
		}
		// Its last state is that it ended.
		if r := readiness.Evaluate(s.live, s.context(now)); r.Outcome == readiness.Ready || r.Failure != nil && r.Failure.Final {
			return
		}
	}
	s.taken = s.failure(diagnosis.ReasonDeleted, "it was deleted while it was waited for", fix)
}

// failure makes one of the object.
func (s *state) failure(reason, cause, fix string) *diagnosis.Failure {
	return &diagnosis.Failure{Object: s.change.ID(), Reason: reason, Cause: cause, Fix: fix}
}
