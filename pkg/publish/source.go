package publish

import (
	"context"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// source is where images are published from.
type source interface {
	fmt.Stringer // for people, e.g. "the Docker engine"
	candidates() []*candidate
	close()
}

// candidate is an image of a source.
type candidate struct {
	source    string
	names     []fullName
	tags      []bareTag
	as        string // the name under which it was found; "" if it has none
	match     Match  // why it was chosen
	proven    bool   // it says itself that it is of the commit
	id        identity
	stamps    []stamp
	platforms []string
	layers    []layer
	content   content
	complete  func(context.Context, *candidate) error // fills in what is not known yet; nil: it is there
}

// named takes a name over as the source has it: a whole one, or only a tag.
func (c *candidate) named(text string) {
	switch {
	case text == "", text == "<none>:<none>":
	case strings.ContainsAny(text, ":/@"):
		c.names = append(c.names, parseFullName(text))
	default:
		c.tags = append(c.tags, bareTag(text))
	}
}

// found is the candidate under one of its names.
func (c *candidate) found(as string) *candidate {
	f := *c
	f.as = as
	return &f
}

// String names it for people.
func (c *candidate) String() string {
	if c.as == "" {
		return "the image of " + c.source
	}
	return fmt.Sprintf("%q of %s", quoted(c.as), c.source)
}

// layer is one of an image, as far as it is known before it is read.
type layer struct {
	file   string         // in the source; "" if unknown
	diffID string         // digest of what is in it; "" if unknown
	blob   *v1.Descriptor // as it is pushed; nil if it is still to be compressed
}

// content is what a candidate is made of.
type content interface {
	// read brings what the registry lacks to the uploader.
	read(ctx context.Context, up *uploader) error
	// assemble says what to publish, once that is done.
	assemble(ctx context.Context, up *uploader) (assembled, error)
}

// assembled is an image whose layers are in the registry.
type assembled struct {
	id       identity
	stamps   []stamp
	blobs    []blob     // configurations, and layers small enough to be held
	children []manifest // of an index, before it
	root     manifest
	layers   []v1.Descriptor
}

// manifest is one as it is put.
type manifest struct {
	raw       []byte
	mediaType types.MediaType
	digest    v1.Hash
}
