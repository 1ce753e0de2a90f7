package rollout

import (
	"fmt"
	"strings"
	"time"
)

// Failure is why an object does not become ready, in words that a user of the
// cluster understands, and what to do about it.
type Failure struct {
	// Object is the object that was applied, e.g. "Deployment default/model".
	Object string
	// Reason is one word, Kubernetes' own where it has one, e.g. "ImagePullBackOff".
	Reason string
	// Cause is one sentence that says what is wrong, without a full stop.
	Cause string
	// Fix is one sentence that says what to do, without a full stop.
	Fix string
	// Pod and Container are the first that the cause was seen on; empty if it is not about one.
	Pod, Container string
	// Events are the Warning events since the deploy began, oldest first.
	Events []Event
	// Logs are the last lines of Container, and LogsOf says whose they are,
	// e.g. `pod "model-7c9-x2x", container "model", run before the last restart`.
	Logs   []string
	LogsOf string
	// Others are further pods that fail for another reason than Reason.
	Others []Symptom
	// Notes say what could not be read, and which right is missing for it.
	Notes []string
}

// String returns cause and fix as two sentences after the object's name.
func (f Failure) String() string {
	s := f.Object + ": " + f.Cause
	if f.Fix != "" {
		s += "; " + f.Fix
	}
	return s
}

// Symptom is what one more pod of the same object suffers from.
type Symptom struct {
	Pod, Container     string
	Reason, Cause, Fix string
	Logs               []string
	LogsOf             string
}

// Event is what Kubernetes recorded about an object; equal ones are one Event with a count.
type Event struct {
	First, Last time.Time
	Count       int
	Object      string // "Pod model-7c9-x2x"
	Reason      string // "FailedMount"
	Message     string
	Container   string // that it is about, if it is about one
	Warning     bool   // false: Normal
}

// String returns the event as one line, without its time.
func (e Event) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s", e.Object, e.Reason, e.Message)
	if e.Count > 1 {
		fmt.Fprintf(&b, " (%d times)", e.Count)
	}
	return b.String()
}
