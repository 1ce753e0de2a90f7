package image

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/org/deploy-model-action/pkg/registry"
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
		return fmt.Sprintf("%s, which is an image itself; set registry_host to %q", what, registry.Parent(e.Host))
	case e.Item != "":
		return fmt.Sprintf("%s; they name %s; correct the name, or leave the input images away to rewrite all that live under %q", what, registry.Quote(e.Found), e.Host)
	}
	return fmt.Sprintf("%s; they name %s; set registry_host to what your images live under, or name the images to rewrite in the input images", what, registry.Quote(e.Found))
}

// ReferenceError is that an image of the manifests is no reference.
type ReferenceError struct{ Written string }

// Title says in a few words what it is.
func (e *ReferenceError) Title() string { return "Not an image" }

func (e *ReferenceError) Error() string {
	return fmt.Sprintf("image %q in the manifests: not a reference; write HOST/NAME:TAG, with NAME in lower case and without spaces, or, if another tool was to replace it, name it in the input images, as %s=HOST/NAME", e.Written, bareText(e.Written))
}

// commitForm is a tag that is a commit's name.
var commitForm = regexp.MustCompile(`^[0-9a-f]{40}$`)

// NotFoundError is that the registry is there and the image is not.
type NotFoundError struct {
	Reference  string   // what was looked for
	Tag        string   // of Reference; "" if that is a digest
	Repository string   // HOST/NAME
	Missing    bool     // the registry knows no such repository
	Tags       []string // what is there, the newest first if Newest, else the nearest
	Newest     bool     // Tags are ordered by time
	Words      string   // what the registry said; "" if nothing
	Built      []string // HOST/NAME of the images that are there, of the same deploy

	Err error
}

// Title says in a few words what it is.
func (e *NotFoundError) Title() string { return "Image not found" }

func (e *NotFoundError) Error() string {
	push := "push the image before this step (`docker push`), or let this step push it (input push: docker)"
	if len(e.Built) > 0 {
		push = fmt.Sprintf("if it is not one that this commit builds, name those that are in the input images, here %s; else %s", registry.Quote(e.Built), push)
	}
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
		there = fmt.Sprintf("the %s of its tags: %s", order, registry.Quote(e.Tags))
	} else if e.Err != nil {
		there = "its tags cannot be listed" + said
	}
	if commitForm.MatchString(e.Tag) {
		// The names of other commits say nothing; another form of this one's does.
		same := slices.DeleteFunc(slices.Clone(e.Tags), func(tag string) bool { return !strings.Contains(tag, e.Tag[:7]) })
		switch {
		case len(same) > 0:
			there = "it has " + registry.Quote(same)
		case len(e.Tags) > 0 && e.Newest:
			there = fmt.Sprintf("its newest tag is %q", e.Tags[0])
		case len(e.Tags) > 0:
			there = "it has other tags"
		}
		return fmt.Sprintf("image %q: the registry has no image for this commit; %s; did the job that builds it push it, and does this one wait for that (needs)? %s, or set the input sha to a tag that is there", e.Reference, there, push)
	}
	return fmt.Sprintf("image %q: the registry has no tag %q of it; %s; %s, or set the input sha to a tag that is there", e.Reference, e.Tag, there, push)
}

// Unwrap returns what the registry's client said.
func (e *NotFoundError) Unwrap() error { return e.Err }
