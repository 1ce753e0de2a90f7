package rollout

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/org/deploy-model-action/pkg/diagnosis"
	"github.com/org/deploy-model-action/pkg/retry"
)

// Titles of errors, for people.
const (
	failedTitle   = "Rollout failed"
	timeoutTitle  = "Rollout timed out"
	hopelessTitle = "Rollout would fail"
)

// ObjectError is one object that did not become ready.
type ObjectError struct {
	diagnosis.Failure
	title string
}

func (e *ObjectError) Error() string { return e.String() }

// Title is what went wrong, in a few words.
func (e *ObjectError) Title() string { return e.title }

// FailedError is that objects cannot become ready.
type FailedError struct {
	Failures []diagnosis.Failure
	title    string // "": failedTitle
}

func (e *FailedError) Error() string {
	lines := make([]string, len(e.Failures))
	for i, f := range e.Failures {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// Title is what went wrong, in a few words.
func (e *FailedError) Title() string { return cmp.Or(e.title, failedTitle) }

// Unwrap returns an *ObjectError for each object.
func (e *FailedError) Unwrap() []error {
	errs := make([]error, len(e.Failures))
	for i, f := range e.Failures {
		errs[i] = &ObjectError{f, e.Title()}
	}
	return errs
}

// ByOthers reports whether somebody else, such as a newer run, changed, replaced
// or deleted one of the objects while it was waited for.
func (e *FailedError) ByOthers() bool {
	for _, f := range e.Failures {
		if f.ByOthers() {
			return true
		}
	}
	return false
}

// TimeoutError is that time ran out. What each object waited for is in its Failure.
type TimeoutError struct {
	After   time.Duration
	Waiting []Status
}

func (e *TimeoutError) Error() string {
	lines := make([]string, len(e.Waiting))
	for i, s := range e.Waiting {
		lines[i] = s.String()
		if s.Failure != nil {
			// How long it was waited for stands above all of them.
			lines[i] = strings.Replace(s.Failure.String(), notReady(e.After)+": ", "", 1)
		}
	}
	return fmt.Sprintf("not ready within %s:\n%s", retry.FormatDuration(e.After), strings.Join(lines, "\n"))
}

// notReady is how the cause begins of what nothing is wrong with but time.
func notReady(after time.Duration) string {
	return "it was not ready after " + retry.FormatDuration(after)
}

// Title is what went wrong, in a few words.
func (e *TimeoutError) Title() string { return timeoutTitle }

// Unwrap returns an *ObjectError for each object.
func (e *TimeoutError) Unwrap() []error {
	var errs []error
	for _, s := range e.Waiting {
		if s.Failure != nil {
			errs = append(errs, &ObjectError{*s.Failure, timeoutTitle})
		}
	}
	return errs
}
