package rollout

import (
	"errors"
	"testing"
	"time"

	"github.com/org/deploy-model-action/pkg/diagnosis"
	"github.com/org/deploy-model-action/pkg/object"
)

// TestErrors holds that each object that failed can be found by itself, with its
// title and its identity, so that it can be shown where its manifest is.
func TestErrors(t *testing.T) {
	t.Parallel()
	failure := func(name, reason string) diagnosis.Failure {
		return diagnosis.Failure{Object: object.ID{Group: "apps", Kind: "Deployment", Namespace: "default", Name: name}, Reason: reason, Cause: "it crashed", Fix: "read its log"}
	}
	a, b := failure("a", "CrashLoopBackOff"), failure("b", diagnosis.ReasonChanged)
	for title, err := range map[string]error{
		"Rollout failed":    &FailedError{Failures: []diagnosis.Failure{a, b}},
		"Rollout timed out": &TimeoutError{After: time.Minute, Waiting: []Status{{Failure: &a}, {Failure: &b}}},
	} {
		var titled interface{ Title() string }
		if !errors.As(err, &titled) || titled.Title() != title {
			t.Errorf("%T: title %q", err, titled.Title())
		}
		joined, ok := err.(interface{ Unwrap() []error })
		if !ok || len(joined.Unwrap()) != 2 {
			t.Fatalf("%T: not one error for each object", err)
		}
		for i, each := range joined.Unwrap() {
			var about interface {
				About() (object.ID, string)
				Title() string
			}
			want := []diagnosis.Failure{a, b}[i]
			if !errors.As(each, &about) {
				t.Fatalf("%T: says not what it is about", each)
			}
			if id, field := about.About(); id != want.Object || field != "" || about.Title() != title || each.Error() != want.String() {
				t.Errorf("about %v, field %q, title %q: %v", id, field, about.Title(), each)
			}
		}
	}
	if !(&FailedError{Failures: []diagnosis.Failure{a, b}}).ByOthers() || (&FailedError{Failures: []diagnosis.Failure{a}}).ByOthers() {
		t.Error("who changed it is not known")
	}
}

// TestTimeoutSaysItOnce holds that how long it was waited for is said once, and in
// the words of a user's input.
func TestTimeoutSaysItOnce(t *testing.T) {
	t.Parallel()
	failure := func(cause string) *diagnosis.Failure {
		return &diagnosis.Failure{Object: object.ID{Kind: "Service", Name: "a"}, Cause: cause, Fix: "wait"}
	}
	after := 90 * time.Second
	err := &TimeoutError{After: after, Waiting: []Status{{Failure: failure(notReady(after) + ": no address")}, {Failure: failure("it crashed")}, {Failure: failure(notReady(after))}}}
	want := "not ready within 1m30s:\nService a: no address; wait\nService a: it crashed; wait\nService a: it was not ready after 1m30s; wait"
	if got := err.Error(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	// By itself, beside its manifest, each says it.
	if got := err.Unwrap()[0].Error(); got != "Service a: it was not ready after 1m30s: no address; wait" {
		t.Errorf("by itself: %q", got)
	}
}
