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
