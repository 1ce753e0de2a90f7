package image

import (
	"fmt"
	"strings"
)

// NoMatchError is that no image of the manifests is one to rewrite. A deploy
// without that would set yesterday's image again.
type NoMatchError struct {
	Host  string   // registry_host
	Item  string   // the line of the input images that matches nothing; "" if there was none
	Found []string // the images of the manifests, the nearest first

	itself bool // Host is the full name of one of Found
}

// Title says in a few words what it is.
func (e *NoMatchError) Title() string { return "No image matches" }

func (e *NoMatchError) Error() string {
	what := fmt.Sprintf("no image in the manifests lives under %q", e.Host)
	if e.Item != "" {
		what = fmt.Sprintf("input images %q: no image in the manifests has this name", e.Item)
	}
	switch {
	case len(e.Found) == 0:
		return what + ", for they name no image at all; check the input manifests"
	case e.itself:
		return fmt.Sprintf("%s, which is an image itself; set registry_host to %q", what, parent(e.Host))
	case e.Item != "":
		return fmt.Sprintf("%s; they name %s; correct the name, or leave the input images away to rewrite all that live under %q", what, list(e.Found), e.Host)
	}
	return fmt.Sprintf("%s; they name %s; set registry_host to what your images live under, or name the images to rewrite in the input images", what, list(e.Found))
}

// TagNotFoundError is that the registry is there and the image is not.
type TagNotFoundError struct {
	Reference  string   // what was looked for
	Tag        string   // of Reference; "" if that is a digest
	Repository string   // HOST/NAME
	Missing    bool     // the registry knows no such repository
	Tags       []string // what is there, the newest first if Newest, else the nearest
	Newest     bool     // Tags are ordered by time
	Words      string   // what the registry said; "" if nothing

	Err error
}

// Title says in a few words what it is.
func (e *TagNotFoundError) Title() string { return "Image not found" }

func (e *TagNotFoundError) Error() string {
	const push = "push the image before this step (`docker push`), or let this step push it (input push: docker)"
	said := ""
	if e.Words != "" {
		said = " (" + e.Words + ")"
	}
	if e.Missing {
		return fmt.Sprintf("image %q: the registry knows no %q%s; %s, or correct registry_host or the image's name in the manifests", e.Reference, e.Repository, said, push)
	}
	if e.Tag == "" {
		return fmt.Sprintf("image %q: the registry has no such digest%s; correct the digest in the input images", e.Reference, said)
	}
	there := "it has no tag at all"
	if len(e.Tags) > 0 {
		order := "nearest"
		if e.Newest {
			order = "newest"
		}
		there = fmt.Sprintf("the %s of its tags: %s", order, list(e.Tags))
	} else if e.Err != nil {
		there = "its tags cannot be listed" + said
	}
	return fmt.Sprintf("image %q: the registry has no tag %q of it; %s; %s, or set the input sha to a tag that is there", e.Reference, e.Tag, there, push)
}

// Unwrap returns what the registry's client said.
func (e *TagNotFoundError) Unwrap() error { return e.Err }

// RefusedError is a registry's "no": to who we are, or to what we may do.
type RefusedError struct {
	Reference  string
	Registry   string // host
	Repository string // HOST/NAME
	Write      bool   // it was about uploading
	Principal  string // who we are; "" if unknown, or nobody
	Role       string // Google's role that would allow it; "" for other registries
	Command    string // that grants it
	Fix        string // what to do, for other registries
	Words      string // what the registry said

	Err error
}

// Title says in a few words what it is.
func (e *RefusedError) Title() string { return "Registry refused" }

func (e *RefusedError) Error() string {
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
func (e *RefusedError) Unwrap() error { return e.Err }

// StrangerError is a host that was to be sent credentials that are not for it.
type StrangerError struct {
	Registry string // who sent us there
	Host     string // who would have got them
	Layer    bool   // it was a layer that was to be sent there
}

// Title says in a few words what it is.
func (e *StrangerError) Title() string { return "Registry refused" }

func (e *StrangerError) Error() string {
	if e.Layer {
		return fmt.Sprintf("registry %q wants its layers sent to %q; they are sent to the registry's own host only, so nothing was sent; use a registry that takes them itself", e.Registry, e.Host)
	}
	return fmt.Sprintf("registry %q sends to %q, which wants credentials; they are sent to the registry's own host over TLS only, so nothing was sent; correct registry_host, or use a registry that gives out its tokens itself", e.Registry, e.Host)
}

// phrase makes foreign words fit for one line of a message.
func phrase(words string) string {
	words = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' || r == '\ufffd':
			return -1
		}
		return r
	}, words)
	words = strings.Join(strings.Fields(words), " ")
	if runes := []rune(words); len(runes) > 300 {
		words = string(runes[:300]) + "…"
	}
	return strings.TrimRight(words, ".")
}
