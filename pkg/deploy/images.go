package deploy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/image"
	"github.com/org/deploy-model-action/pkg/manifest"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/readiness"
	"github.com/org/deploy-model-action/pkg/release"
)

// planImages decides which images are rewritten. What another tool was to fill in
// is refused before that, and what is named in other places is said.
func (d *deployment) planImages() error {
	set := d.manifests
	if errs := set.Placeholders(func(text string) bool { return image.Means(text, d.Images) }); len(errs) > 0 {
		return errors.Join(errs...)
	}
	var written []string
	uses := set.Images()
	for _, use := range uses {
		// In a custom resource a field of that name may hold anything.
		custom := object.Of(set.Objects[use.Object]).Custom()
		if !slices.Contains(written, use.Value) && (!custom || image.Means(use.Value, d.Images)) {
			written = append(written, use.Value)
		}
	}
	var err error
	if d.matches, err = image.Plan(written, d.prefix, d.SHA, d.Images); err != nil {
		return placed(set, uses, err)
	}
	for _, use := range set.Unfilled() {
		d.warnAt(use, "Placeholder", fmt.Sprintf("%s: %s reaches its reader as it stands, since nothing has filled it in", use.Path, use.Value))
	}
	for _, use := range set.Mentions() {
		if image.Lives(use.Value, d.prefix) && d.rewrites(use.Value) {
			d.warnAt(use, "Image not rewritten", fmt.Sprintf("%s names the image %q, and is left as it is: images are rewritten in containers, image volumes and the image fields of custom resources", use.Path, use.Value))
		}
	}
	return nil
}

// rewrites reports whether an image would be rewritten if it stood where images do.
func (d *deployment) rewrites(text string) bool {
	matches, _ := image.Plan([]string{text}, d.prefix, d.SHA, nil)
	return len(d.Images) == 0 || slices.ContainsFunc(d.matches, func(m image.Match) bool {
		return len(matches) > 0 && m.Target.Context() == matches[0].Target.Context()
	})
}

// placed gives the mistakes in references their places.
func placed(set *manifest.Set, uses []manifest.Use, err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var errs []error
	for _, err := range joined.Unwrap() {
		var wrong *image.ReferenceError
		if !errors.As(err, &wrong) {
			errs = append(errs, placed(set, uses, err))
			continue
		}
		for _, use := range uses {
			if use.Value == wrong.Written {
				errs = append(errs, set.Refuse(use, "%s: %s", use.Path, err))
			}
		}
	}
	return errors.Join(errs...)
}

// servedBefore is the image of the same name that served before this run; "" if none
// is known to have. What the objects held counts where they were ready and no run is
// known to have left it unverified, as one that does not roll back does; else what
// the record says was verified last. releases begin with the newest.
func servedBefore(releases []release.Entry, before []*unstructured.Unstructured, image Image) string {
	ready := slices.DeleteFunc(slices.Clone(before), func(u *unstructured.Unstructured) bool {
		if u == nil {
			return true
		}
		outcome := readiness.Evaluate(u, readiness.Context{}).Outcome
		return outcome == readiness.Pending || outcome == readiness.Failed
	})
	was, failed := imageIn(ready, image), false
	for _, entry := range releases {
		named := slices.ContainsFunc(entry.Images, func(i release.Image) bool { return i.Pinned() == was })
		if named && entry.Good() {
			return was
		}
		failed = failed || named
	}
	if was != "" && !failed {
		return was
	}
	if entry, ok := release.Serving(releases); ok {
		for _, i := range entry.Images {
			if sameRepository(i.Pinned(), repositoryOf(image.Reference)) {
				return i.Pinned()
			}
		}
	}
	return ""
}

// imageIn is the image of the same name that the objects hold, as they name it:
// HOST/NAME:SHA@sha256:…; "" if they hold none. An object may be nil.
func imageIn(objects []*unstructured.Unstructured, image Image) string {
	repository := repositoryOf(image.Reference)
	for _, u := range objects {
		if u == nil {
			continue
		}
		if found := imageOf(u.Object["spec"], repository); found != "" {
			return found
		}
	}
	return ""
}

// repositoryOf is a reference without tag and digest.
func repositoryOf(reference string) string {
	repository, _, _ := strings.Cut(reference, "@")
	if colon := strings.LastIndexByte(repository, ':'); colon > strings.LastIndexByte(repository, '/') {
		repository = repository[:colon]
	}
	return repository
}

// sameRepository reports whether an image, with a tag or digest, is of a repository.
func sameRepository(image, repository string) bool {
	rest, ok := strings.CutPrefix(image, repository)
	return ok && rest != "" && (rest[0] == ':' || rest[0] == '@')
}

// imageOf finds a field image that names the repository, however deep.
func imageOf(value any, repository string) string {
	switch v := value.(type) {
	case map[string]any:
		if image, ok := v["image"].(string); ok {
			if sameRepository(image, repository) {
				return image
			}
		}
		for _, child := range v {
			if found := imageOf(child, repository); found != "" {
				return found
			}
		}
	case []any:
		for _, child := range v {
			if found := imageOf(child, repository); found != "" {
				return found
			}
		}
	}
	return ""
}
