package deploy

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// imageIn is the image of the same name that the objects hold, as they name it:
// HOST/NAME:SHA@sha256:…; "" if they hold none. An object may be nil.
func imageIn(objects []*unstructured.Unstructured, image Image) string {
	repository, _, _ := strings.Cut(image.Reference, "@")
	if colon := strings.LastIndexByte(repository, ':'); colon > strings.LastIndexByte(repository, '/') {
		repository = repository[:colon]
	}
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

// imageOf finds a field image that names the repository, however deep.
func imageOf(value any, repository string) string {
	switch v := value.(type) {
	case map[string]any:
		if image, ok := v["image"].(string); ok {
			if rest, ok := strings.CutPrefix(image, repository); ok && rest != "" && (rest[0] == ':' || rest[0] == '@') {
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
