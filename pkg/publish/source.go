package publish

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/org/deploy-model-action/pkg/redact"
	"github.com/org/deploy-model-action/pkg/registry"
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
	names     []string // references, or only a tag, as some layouts have it
	as        string   // the name under which it was found; "" if it is the only one
	ids       []string // digests of its configuration or manifest
	platforms []string
	layers    []layer
	content   content
	complete  func(context.Context, *candidate) error // fills in what is not known yet; nil: it is there
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

// choose finds the candidate of each target.
func (p *publisher) choose(from source) ([]*candidate, error) {
	all := from.candidates()
	chosen := make([]*candidate, len(p.targets))
	for i, t := range p.targets {
		wanted := p.wanted(t)
		c := find(all, wanted)
		if c == nil && len(p.targets) == 1 && p.options.From != FromDocker {
			if c = find(all, []string{t.TagStr(), name.DefaultTag}); c == nil && len(all) == 1 {
				c = all[0]
			}
		}
		if c == nil {
			return nil, &NotThereError{Reference: reference(t), Source: from.String(), Wanted: wanted, Found: p.found(all, t)}
		}
		chosen[i] = c
	}
	return chosen, nil
}

// wanted are the names that an image to publish may have.
func (p *publisher) wanted(target name.Tag) []string {
	full := registry.DisplayName(target.Context().Name())
	own := p.options.Prefix.Relative(target.Context())
	var names []string
	// A name with the commit comes before any latest: on a runner that stays, that
	// may be of the build before.
	for _, n := range []string{full + ":" + target.TagStr(), own + ":" + target.TagStr(), full + ":" + name.DefaultTag, own + ":" + name.DefaultTag} {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// find returns the first candidate that has one of the names, in their order.
func find(all []*candidate, wanted []string) *candidate {
	for _, w := range wanted {
		for _, c := range all {
			if i := slices.IndexFunc(c.names, func(n string) bool { return sameName(n, w) }); i >= 0 {
				found := *c
				found.as = c.names[i]
				return &found
			}
		}
	}
	return nil
}

// sameName compares references as tools write them. A bare tag equals only itself.
func sameName(a, b string) bool {
	if a == b {
		return true
	}
	if !strings.Contains(a, ":") || !strings.Contains(b, ":") {
		return false
	}
	x, err := name.NewTag(a)
	if err != nil {
		return false
	}
	y, err := name.NewTag(b)
	return err == nil && x.Name() == y.Name()
}

// found are the names that a source has, the nearest to a target first.
func (p *publisher) found(all []*candidate, target name.Tag) []string {
	var names []string
	for _, c := range all {
		names = append(names, c.names...)
	}
	own := p.options.Prefix.Relative(target.Context())
	far := func(n string) int {
		return min(registry.Distance(n, own+":"+target.TagStr()), registry.Distance(n, registry.DisplayName(target.Name())))
	}
	slices.SortStableFunc(names, func(a, b string) int { return far(a) - far(b) })
	return slices.Compact(names)
}

// quoted cuts a foreign name for a sentence, since nothing bounds it.
func quoted(name string) string { return redact.Line(name, 300) }
