package deploy

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/readiness"
	"github.com/org/deploy-model-action/pkg/release"
)

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
