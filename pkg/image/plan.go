package image

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/org/deploy-model-action/pkg/registry"
)

// use is an image of the manifests.
type use struct {
	written string
	repo    name.Repository
	valid   bool // repo is known
}

// Plan decides which images of the manifests are rewritten, and to what, without
// asking anybody. written are the references as they stand there; at and sha are
// the inputs registry_host and sha.
//
// Without images, every reference whose repository lives under at is rewritten
// to its repository with sha as the tag, whatever tag or digest it has. With
// images, only these: NAME is a repository with its host, or the path below at,
// which also stands for a reference without a host (as in local files), and is
// rewritten to at/NAME:sha. NAME=REFERENCE is rewritten to REFERENCE, which has
// a host, and sha as its tag if it has neither tag nor digest; so is what is no
// reference and stands there as NAME, with or without something like a tag.
//
// The matches are in the order of written, each value once. When nothing matches,
// or one of images matches nothing, the error is a *NoMatchError, and for what is no
// reference and is not rewritten a *ReferenceError; all mistakes are joined.
func Plan(written []string, at registry.Prefix, sha string, images []string) ([]Match, error) {
	if err := CheckTag(sha); err != nil {
		return nil, err // what images say can be read only when it is right
	}
	uses := parseUses(written)
	items, err := parseItems(images, at, sha)
	if err := errors.Join(err, invalidReferences(uses, items)); err != nil {
		return nil, err
	}
	if len(items) > 0 {
		return matchItems(uses, items, at)
	}
	var matches []Match
	for _, u := range uses {
		if u.valid && at.Contains(u.repo) {
			matches = append(matches, Match{Written: u.written, Target: u.repo.Tag(sha), Tag: sha})
		}
	}
	if len(matches) == 0 {
		return nil, &NoMatchError{Host: at.String(), itself: named(uses, at), Found: nearest(uses, func(u use) int {
			return registry.Distance(at.String(), registry.Parent(registry.DisplayName(u.repo.Name())))
		})}
	}
	return matches, nil
}

func parseUses(written []string) []use {
	var uses []use
	seen := map[string]bool{"": true}
	for _, w := range written {
		if seen[w] {
			continue
		}
		seen[w] = true
		ref, err := name.ParseReference(w)
		if err != nil {
			uses = append(uses, use{written: w})
			continue
		}
		uses = append(uses, use{written: w, repo: ref.Context(), valid: true})
	}
	return uses
}

// invalidReferences finds what is no reference, and is not going to be replaced: the
// cluster would never run it.
func invalidReferences(uses []use, items []item) error {
	var errs []error
	for _, u := range uses {
		if !u.valid && !slices.ContainsFunc(items, func(it item) bool { return it.names(u) }) {
			errs = append(errs, &ReferenceError{Written: u.written})
		}
	}
	return errors.Join(errs...)
}

// Means reports whether a text is a reference, or stands in the input images.
func Means(text string, images []string) bool {
	if _, err := name.ParseReference(text); err == nil {
		return true
	}
	for _, line := range images {
		it := item{}
		it.name, _, _ = splitItem(line)
		if it.names(use{written: text}) {
			return true
		}
	}
	return false
}

// Lives reports whether a text is a reference to an image under a prefix.
func Lives(text string, at registry.Prefix) bool {
	ref, err := name.ParseReference(text)
	return err == nil && strings.Contains(text, "/") && at.Contains(ref.Context())
}

// named reports whether the prefix is the full name of an image that is there.
func named(uses []use, at registry.Prefix) bool {
	for _, u := range uses {
		if u.valid && registry.DisplayName(u.repo.Name()) == at.String() {
			return true
		}
	}
	return false
}

// matchItems applies the input images.
func matchItems(uses []use, items []item, at registry.Prefix) ([]Match, error) {
	var (
		matches []Match
		errs    []error
		used    = make([]bool, len(items))
	)
	for _, u := range uses {
		chosen := -1
		for i, it := range items {
			if !it.names(u) {
				continue
			}
			used[i] = true
			if chosen >= 0 && items[chosen].target.Name() != it.target.Name() {
				errs = append(errs, fmt.Errorf("input images: %q and %q both name %q and lead to different images; keep one of them", items[chosen].text, it.text, u.written))
				continue
			}
			chosen = i
		}
		if chosen >= 0 {
			matches = append(matches, Match{Written: u.written, Target: items[chosen].target, Tag: items[chosen].tag})
		}
	}
	for i, it := range items {
		if !used[i] {
			errs = append(errs, &NoMatchError{Host: at.String(), Item: it.text, Found: nearest(uses, func(u use) int { return it.distance(u.repo, at) })})
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return matches, nil
}
