package diagnosis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/org/deploy-model-action/pkg/object"
)

// The reasons of failures that somebody else brought about, while the object was
// waited for: another run, or a person.
const (
	ReasonChanged  = "Changed"
	ReasonReplaced = "Replaced"
	ReasonDeleted  = "Deleted"
)

// Failure is why an object does not become ready, in words that a user of the
// cluster understands, and what to do about it.
type Failure struct {
	// Object is the object that was written.
	Object object.ID
	// Reason is one word, Kubernetes' own where it has one, e.g. "ImagePullBackOff".
	Reason string
	// Cause is one sentence that says what is wrong, without a full stop.
	Cause string
	// Fix is one sentence that says what to do, without a full stop.
	Fix string
	// Pod and Container are the first that the cause was observed on; empty if it is not about one.
	Pod, Container string
	// Events are the Warning events since the deploy began, oldest first.
	Events []Event
	// Logs are the last lines of Container, and LogsOf says whose they are,
	// e.g. `pod "model-7c9-x2x", container "model", run before the last restart`.
	Logs   []string
	LogsOf string
	// Others are further pods that fail for another reason than Reason.
	Others []PodFailure
	// Notes say what could not be read, and which right is missing for it.
	Notes []string
}

// PodFailure is why one more pod of the same object is not ready.
type PodFailure struct {
	Pod, Container     string
	Reason, Cause, Fix string
	Logs               []string
	LogsOf             string
}

// String returns cause and fix as two sentences after the object's name.
func (f Failure) String() string {
	s := f.Object.String() + ": " + f.Cause
	if f.Fix != "" {
		s += "; " + f.Fix
	}
	return s
}

// About returns the object that does not become ready, and "" for its field.
func (f Failure) About() (object.ID, string) { return f.Object, "" }

// ByOthers reports whether somebody else changed, replaced or deleted the object,
// so that what became of it says nothing about what was deployed.
func (f Failure) ByOthers() bool {
	return slices.Contains([]string{ReasonChanged, ReasonReplaced, ReasonDeleted}, f.Reason)
}

// Lines returns all that is known of the failure, for a log.
func (f Failure) Lines() []string {
	lines := []string{"Not ready: " + f.String()}
	for _, e := range f.Events {
		lines = append(lines, "  event: "+e.String())
	}
	for _, note := range f.Notes {
		lines = append(lines, "  note: "+note)
	}
	if len(f.Logs) > 0 {
		lines = append(lines, fmt.Sprintf("  log of %s:", f.LogsOf))
	}
	for _, line := range f.Logs {
		lines = append(lines, "  | "+line)
	}
	for _, other := range f.Others {
		lines = append(lines, fmt.Sprintf("  also pod %s: %s; %s", other.Pod, other.Cause, other.Fix))
	}
	return lines
}

// because adds a finding to a cause that did not know it.
func (f *Failure) because(found Finding) {
	switch {
	case f.Cause == "":
		f.Cause = found.Cause
	case !strings.Contains(f.Cause, found.Cause):
		f.Cause += ": " + found.Cause
	}
	if found.Fix != "" {
		f.Fix = found.Fix
	}
}
