package node

import (
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Image is what a node finds in a registry under a reference.
type Image struct {
	// Digest is that of the image or index that the reference names.
	Digest string
	// ID is the digest of the image's configuration. Default, Digest.
	ID string
	// Architecture is what the image's configuration says. Empty, that of the nodes.
	Architecture string
	// Platforms are what an index offers when nothing in it fits the nodes, e.g.
	// linux/arm64; then there is no image. Nil, there is one.
	Platforms []string
	// Labels are those of the configuration.
	Labels map[string]string
	// Size is what there is to load, in bytes.
	Size int64
}

// normalised is how containerd writes a reference: whole, and without the tag
// when there is a digest.
func normalised(reference string) (string, error) {
	if base, digest, ok := strings.Cut(reference, "@"); ok {
		if tag, err := name.NewTag(base); err == nil {
			return repository(tag.Repository) + "@" + digest, nil
		}
	}
	ref, err := name.ParseReference(reference)
	if err != nil {
		return "", err
	}
	separator := ":"
	if _, ok := ref.(name.Digest); ok {
		separator = "@"
	}
	return repository(ref.Context()) + separator + ref.Identifier(), nil
}

func repository(r name.Repository) string {
	return strings.Replace(r.Name(), "index.docker.io/", "docker.io/", 1)
}

// shown are the image and the image ID that a container's status has: the tag,
// or only the configuration's digest when the reference has none to show.
func (r *run) shown() (image, id string) {
	ref, err := normalised(r.reference)
	if err != nil {
		return r.reference, ""
	}
	image = ref
	base, _, pinned := strings.Cut(ref, "@")
	if pinned {
		image = r.image.id()
	} else {
		base = ref[:strings.LastIndex(ref, ":")]
	}
	return image, fmt.Sprintf("%s@%s", base, r.image.Digest)
}

func (i Image) id() string {
	if i.ID != "" {
		return i.ID
	}
	return i.Digest
}
