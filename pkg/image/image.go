// Package image decides which images a deploy uses: which references of the
// manifests are rewritten and to what (Plan), which digest and platforms the
// registry has for each (Resolve), and whether nodes can run that (Fits).
//
// Nothing is sent but by Resolve, through pkg/registry. Publishing images first,
// and writing the references into manifests, is left to others.
package image

import (
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/org/deploy-model-action/pkg/registry"
)

// Match is one image of the manifests, and what it is rewritten to.
type Match struct {
	// Written is the reference as the manifests have it.
	Written string
	// Target is what is deployed in its place: a tag, or a digest if the input
	// images names one.
	Target name.Reference
	// Tag is the tag of Target, or the one beside its digest; "" if there is none.
	Tag string
}

// Image is an image that is in the registry.
type Image struct {
	Written   string // as the manifests have it
	Reference string // HOST/NAME:SHA
	Digest    string // sha256:…
	Pinned    string // HOST/NAME:SHA@sha256:…

	platforms func() []string
}

// Platforms are linux/amd64, …; empty if not known. They are worth a warning, so
// Resolve asks for them and does not wait: this does.
func (i Image) Platforms() []string {
	if i.platforms == nil {
		return nil
	}
	return i.platforms()
}

// CheckTag validates the input sha, the tag to deploy.
func CheckTag(sha string) error {
	switch {
	case sha == "":
		return errors.New("input sha: empty; give the tag to deploy, e.g. ${{ github.sha }}")
	case !registry.ValidTag(sha):
		return fmt.Errorf("input sha %q: not a tag; use letters, digits, '_', '.' and '-', at most 128, and none of '.' and '-' first, e.g. ${{ github.sha }}", sha)
	}
	return nil
}
