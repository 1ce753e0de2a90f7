package registry

import (
	"cmp"
	"fmt"
	"strings"
)

// Error is a registry's "no": to who we are, or to what we may do.
type Error struct {
	Reference  string
	Registry   string // host
	Repository string // HOST/NAME
	Write      bool   // it was about uploading
	Principal  string // who we are; "" if unknown, or nobody
	Role       string // Google's role that would allow it; "" for other registries
	Command    string // that grants it
	Fix        string // what to do, for other registries
	Words      string // what the registry said
	Err        error

	title string // "" for the usual one
}

// Title says in a few words what it is.
func (e *Error) Title() string { return cmp.Or(e.title, "Registry refused") }

func (e *Error) Error() string {
	act := "read"
	if e.Write {
		act = "write"
	}
	who := e.Principal
	switch {
	case who == "":
		act += " without a login"
		who = "anybody"
	case !strings.Contains(who, " "): // a name, not a description
		who = fmt.Sprintf("%q", who)
	}
	what := fmt.Sprintf("image %q: registry %q does not let %s %s (%s)", e.Reference, e.Registry, who, act, e.Words)
	if e.Role != "" {
		return fmt.Sprintf("%s; if the name is right, grant %s: %s", what, e.Role, e.Command)
	}
	return what + "; " + e.Fix
}

// Unwrap returns what the registry's client said.
func (e *Error) Unwrap() error { return e.Err }

// ForeignHostError is a host that was to be sent credentials that are not for it.
type ForeignHostError struct {
	Registry string // who sent us there
	Host     string // who would have got them
	Layer    bool   // it was a layer that was to be sent there
}

// Title says in a few words what it is.
func (e *ForeignHostError) Title() string { return "Registry refused" }

func (e *ForeignHostError) Error() string {
	if e.Layer {
		return fmt.Sprintf("registry %q wants its layers sent to %q; they are sent to the registry's own host only, so nothing was sent; use a registry that takes them itself", e.Registry, e.Host)
	}
	return fmt.Sprintf("registry %q sends to %q, which wants credentials; they are sent to the registry's own host over TLS only, so nothing was sent; correct registry_host, or use a registry that gives out its tokens itself", e.Registry, e.Host)
}
