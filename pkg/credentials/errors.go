package credentials

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/org/deploy-model-action/pkg/redact"
)

// InvalidError is a mistake in what was given, found before anything was
// contacted. Its text holds nothing of what a credential holds.
type InvalidError struct {
	Input   string // what is wrong, e.g. `credentials_json` or `credentials file "gha-creds-1.json"`
	Problem string // what is wrong with it, and the way out
}

// Title says in a few words what it is.
func (e *InvalidError) Title() string { return "Credentials" }

func (e *InvalidError) Error() string { return e.Input + ": " + e.Problem }

func invalid(input, problem string) error { return &InvalidError{Input: input, Problem: problem} }

// RefusedError is Google's or GitHub's "no" to a request for a token.
type RefusedError struct {
	Act   string // what was asked, e.g. "exchange the key of NAME@PROJECT.iam.gserviceaccount.com for a token"
	Cause string // why not, with the service's own words in brackets
	Fix   string // what to do about it
	Err   error  // of the service's client; nil if the answer was read here
}

// Title says in a few words what it is.
func (e *RefusedError) Title() string { return "Credentials refused" }

func (e *RefusedError) Error() string { return e.Act + ": " + e.Cause + ": " + e.Fix }

// Unwrap returns the client's error, which may be nil.
func (e *RefusedError) Unwrap() error { return e.Err }

var plain = regexp.MustCompile(`^[A-Za-z0-9_./:@-]{1,200}$`)

// quote shows an input's value if it can only be a name. Anything else may be a
// secret in the wrong place, and is described by its length.
func quote(value string) string {
	if plain.MatchString(value) {
		return fmt.Sprintf("%q", value)
	}
	return fmt.Sprintf("(%d characters)", len([]rune(value)))
}

// phrase makes foreign words fit for one line of a message, without secrets.
func phrase(words string, secrets ...string) string {
	for _, s := range secrets {
		if s != "" {
			words = strings.ReplaceAll(words, s, "[redacted]")
		}
	}
	return redact.Phrase(words)
}
