package object

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The annotations by which a manifest asks something of a deploy, each with the
// prefix.
const (
	WaitAnnotation         = Prefix + "wait"
	ReadyWhenAnnotation    = Prefix + "ready-when"
	PhaseAnnotation        = Prefix + "phase"
	PruneAnnotation        = Prefix + "prune"
	RollOnConfigAnnotation = Prefix + "roll-on-config"
)

// directives are the annotations that a manifest may hold, for people.
var directives = []string{WaitAnnotation, ReadyWhenAnnotation, PhaseAnnotation, PruneAnnotation, RollOnConfigAnnotation}

// Phases are when a Job of the set runs; the zero value is the one in which everything is written.
const (
	PhaseBefore = "before" // and has to succeed, before the workloads are written
	PhaseAfter  = "after"  // they serve
)

// Directives are what an object's annotations ask of a deploy. The zero value
// asks nothing.
type Directives struct {
	NoWait         bool       // it is not waited for
	ReadyWhen      Expression // when it is ready; zero: as its kind says
	Phase          string     // of a Job: PhaseBefore, PhaseAfter, or ""
	NoPrune        bool       // it is never removed
	NoRollOnConfig bool       // it is not restarted when only what it reads changed
}

// DirectiveError is an annotation of ours that asks for nothing that there is.
type DirectiveError struct {
	Annotation string
	Problem    string // a sentence that ends with what to do
}

func (e *DirectiveError) Error() string { return "metadata.annotations: " + e.Problem }

// ReadDirectives reads what an object asks for. The error joins a *DirectiveError
// for each mistake; what is right is in the directives all the same.
func ReadDirectives(u *unstructured.Unstructured) (Directives, error) {
	var (
		d    Directives
		errs []error
	)
	all := u.GetAnnotations()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !strings.HasPrefix(name, Prefix) || IsMark(name) {
			continue
		}
		if problem := d.read(name, all[name], u); problem != "" {
			errs = append(errs, &DirectiveError{Annotation: name, Problem: problem})
		}
	}
	if d.Phase != "" && d.NoWait {
		errs = append(errs, &DirectiveError{Annotation: WaitAnnotation, Problem: fmt.Sprintf("%s and %s exclude each other, as a Job of a phase has to succeed: leave one of them out", WaitAnnotation, PhaseAnnotation)})
	}
	return d, errors.Join(errs...)
}

// read takes in one annotation, and returns what is wrong with it.
func (d *Directives) read(name, value string, u *unstructured.Unstructured) (problem string) {
	switch name {
	case WaitAnnotation:
		d.NoWait, problem = refused(name, value)
	case PruneAnnotation:
		d.NoPrune, problem = refused(name, value)
	case RollOnConfigAnnotation:
		d.NoRollOnConfig, problem = refused(name, value)
	case PhaseAnnotation:
		switch {
		case value != PhaseBefore && value != PhaseAfter:
			return fmt.Sprintf("the value %.100q of %s is neither %q nor %q: write one of them, or leave the annotation out", value, name, PhaseBefore, PhaseAfter)
		case Of(u).GroupKind().String() != "Job.batch":
			return fmt.Sprintf("%s is for a Job, as only a Job has an end: leave it out", name)
		}
		d.Phase = value
	case ReadyWhenAnnotation:
		e, err := ParseExpression(value)
		if err != nil {
			return fmt.Sprintf("the value %.100q of %s: %v", value, name, err)
		}
		d.ReadyWhen = e
	default:
		return fmt.Sprintf("%.100q is not known: the annotations are %s", name, strings.Join(directives, ", "))
	}
	return problem
}

// refused reads a value by which something is switched off.
func refused(name, value string) (off bool, problem string) {
	switch value {
	case "true", "false":
		return value == "false", ""
	}
	return false, fmt.Sprintf(`the value %.100q of %s is neither "true" nor "false": write one of them, or leave the annotation out`, value, name)
}
