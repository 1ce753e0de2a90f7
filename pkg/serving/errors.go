package serving

import "github.com/org/deploy-model-action/pkg/object"

// UnhealthyError is that what was deployed answered, and not as it should.
type UnhealthyError struct {
	// What was asked, e.g. `health check "/readyz"`.
	What string
	// Service is the one that was asked; no object if it was none.
	Service object.ID
	// Cause is what was expected, and what was answered.
	Cause, Fix string
	file       string // of a smoke test, and where in it the request is
	line       int
}

func (e *UnhealthyError) Error() string { return sentence(e.What, e.Cause, e.Fix) }

// Title is what went wrong, in a few words.
func (e *UnhealthyError) Title() string {
	if e.file != "" {
		return "Smoke test failed"
	}
	return "Health check failed"
}

// Place is where the request of a smoke test stands; "" for a health check.
func (e *UnhealthyError) Place() (file string, line int) { return e.file, e.line }

// About returns the Service that was asked, and "" for its field.
func (e *UnhealthyError) About() (object.ID, string) { return e.Service, "" }

// UnaskedError is that the model could not be asked, so that nothing is known of
// what it answers. It is no reason to put anything back.
type UnaskedError struct {
	// What was to be asked, e.g. `health check "/readyz"`; "" if it was all.
	What       string
	Cause, Fix string
}

func (e *UnaskedError) Error() string {
	return sentence(e.What, "the model was not asked: "+e.Cause, e.Fix)
}

// Title is what went wrong, in a few words.
func (e *UnaskedError) Title() string { return "Not asked" }

func sentence(what, cause, fix string) string {
	s := cause
	if what != "" {
		s = what + ": " + cause
	}
	if fix != "" {
		s += "; " + fix
	}
	return s
}
