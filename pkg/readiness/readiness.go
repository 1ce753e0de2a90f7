// Package readiness says whether an object is ready, from the object alone: the
// generation that was written, or a later one, has to be what its status is about.
// All of it is pure; nothing here reads, waits or prints.
//
// Why an object is not ready is told by its pods and events, which are left to
// diagnosis; waiting is left to rollout.
package readiness

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/redact"
)

// phraseLimit bounds what is quoted of a controller, in runes.
const phraseLimit = 300

// Outcome is what an object's own status says of it.
type Outcome int

// The outcomes.
const (
	Pending      Outcome = iota // it is not ready yet
	Ready                       // it is
	Failed                      // it cannot become ready, as its controller says
	NotWaitedFor                // its kind knows no readiness, or nobody knows when it will come
)

// Result is an outcome, and what there is to say about it.
type Result struct {
	Outcome Outcome
	// Message is what is there and what is missing, in a few words.
	Message string
	// Note and Warning are to be said once; a Warning loudly. A Warning says why
	// an object is not waited for, if that is not its kind's nature.
	Note, Warning string
	// RecheckAfter is when the same object may have another outcome; 0: never.
	RecheckAfter time.Duration
	// Failure is why it cannot become ready; nil unless it Failed.
	Failure *Failure
	// Optional says that nothing failed if it is not ready when there is no time left;
	// then it is not waited for, and the text is said loudly.
	Optional string
}

// Failure is why an object cannot become ready, as its own status says.
type Failure struct {
	// Reason is one word, Kubernetes' own where it has one; Cause and Fix are a
	// sentence each, without a full stop.
	Reason, Cause, Fix string
	// Final says that no time heals it. Lasting says that it proves something only
	// when it has lasted, and AtTimeout only when there is no time left; both, that it
	// has to last, and that no pod is there which could still start.
	Final, Lasting, AtTimeout bool
}

// Context is what is known of an object besides its state. Its zero value is for
// an object that is looked at as it is, whoever wrote it and whenever.
type Context struct {
	// Before is the object as it was before it was written; nil if it did not
	// exist, or if that does not matter.
	Before *unstructured.Unstructured
	// Applied is the object as the write returned it: its generation is the oldest
	// that counts. nil: that of the object itself.
	Applied *unstructured.Unstructured
	// Changed says that the write changed something, and Elapsed how long ago.
	Changed bool
	Elapsed time.Duration
	// Previous is the condition Progressing of the rollout before this one: a
	// deadline that was exceeded then does not count.
	Previous object.Condition
}

// Evaluate says whether an object is ready: as its annotations ask, or else as its
// kind says.
func Evaluate(u *unstructured.Unstructured, c Context) Result {
	v, rule := view{live: u, Context: c}, ruleFor(u)
	asked := v.directives()
	switch {
	case asked.NoWait:
		return Result{Outcome: NotWaitedFor, Message: "not waited for, as its annotation " + object.WaitAnnotation + " asks"}
	case !asked.ReadyWhen.IsZero():
		return readyWhen(v, asked.ReadyWhen, rule)
	case rule == nil:
		return Result{Outcome: NotWaitedFor}
	}
	return rule(v)
}

// directives are those of the object as it was written: what somebody else does to
// its annotations since changes nothing. A manifest's mistakes were found in its file.
func (v view) directives() object.Directives {
	u := v.Applied
	if u == nil {
		u = v.live
	}
	d, _ := object.ReadDirectives(u)
	return d
}

// Observed reports whether a status is about the generation that counts.
func Observed(u *unstructured.Unstructured, c Context) bool {
	return view{live: u, Context: c}.observed()
}

// ruleFor finds how a kind is evaluated; nil if it knows no readiness.
func ruleFor(u *unstructured.Unstructured) func(view) Result {
	kind := object.Of(u).GroupKind()
	if rule, ok := rules[kind]; ok {
		return rule
	}
	if builtIn[kind.Group] || settings[kind] {
		return nil
	}
	return custom
}

// view is what a rule looks at.
type view struct {
	live *unstructured.Unstructured
	Context
}

// generation is the oldest that counts: ours, or what somebody, such as an
// autoscaler, made of it since.
func (v view) generation() int64 {
	if v.Applied == nil {
		return v.live.GetGeneration()
	}
	return max(v.Applied.GetGeneration(), v.live.GetGeneration())
}

// observed reports whether the status is about the generation that counts.
func (v view) observed() bool {
	return v.status("observedGeneration") >= v.generation()
}

// applied is the status that the write returned; nil if there was none.
func (v view) applied() map[string]any {
	if v.Applied == nil {
		return nil
	}
	return object.Map(v.Applied.Object, "status")
}

// notObserved is the result until then.
var notObserved = Result{Message: "waiting for its controller to see the change"}

// failed is the result of what cannot become ready.
func failed(message string, f Failure) Result {
	return Result{Outcome: Failed, Message: message, Failure: &f}
}

// status reads a number of the status; 0 if it is not there, as controllers leave zeros out.
func (v view) status(field string) int64 {
	return object.Number(v.live, 0, "status", field)
}

// spec reads a number of the specification.
func (v view) spec(otherwise int64, path ...string) int64 {
	return object.Number(v.live, otherwise, append([]string{"spec"}, path...)...)
}

// condition finds a condition of the object.
func (v view) condition(kind string) (object.Condition, bool) {
	return object.ConditionOf(v.live, kind)
}

// line is what a controller wrote, harmless within a sentence.
func line(text string) string { return redact.Line(text, phraseLimit) }

// because is the reason and message of a condition as a phrase.
func because(c object.Condition) string {
	reason, message := line(c.Reason), line(c.Message)
	switch {
	case message == "":
		return reason
	case reason == "":
		return message
	}
	return fmt.Sprintf("%s: %s", reason, message)
}

// saying is a sentence with what a controller says behind it, if it says anything.
func saying(sentence, said string) string {
	if said = line(said); said == "" {
		return sentence
	}
	return sentence + ": " + said
}

// countOf is a number of things in words: "1 pod", "2 pods".
func countOf(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
