package publish

import (
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// What an image is known by comes in kinds that must not be taken for each other: an
// index is not the one image below it that happens to be there, and a name that is
// only a tag is not the name of an image. So each is a type of its own, and they are
// compared here and nowhere else.
type (
	configDigest   v1.Hash // of the configuration of one image, whatever its layers are compressed to
	manifestDigest v1.Hash // of the manifest of one image
	indexDigest    v1.Hash // of an index
	engineID       v1.Hash // what an engine calls an image by: one of the above, by its store
)

// identity is what an image or an index is known by; zero is what is not known.
type identity struct {
	config   configDigest
	manifest manifestDigest
	index    indexDigest // then config and manifest are zero
	whole    indexDigest // the index of which the source has only a part, which is index
	engine   engineID
}

// is reports whether it is what the registry has. An index is only ever itself.
func (i identity) is(there identity) bool {
	switch {
	case there.index != indexDigest{}:
		return i.index == there.index || i.whole == there.index || i.engine == engineID(there.index)
	case i.index != indexDigest{}:
		return false
	case there.manifest != manifestDigest{} && (i.manifest == there.manifest || i.engine == engineID(there.manifest)):
		return true
	}
	return there.config != configDigest{} && (i.config == there.config || i.engine == engineID(there.config))
}

// identify is the identity of a manifest that is one image's, or an index's.
func identify(kind types.MediaType, digest v1.Hash, config v1.Descriptor) identity {
	if kind.IsIndex() {
		return identity{index: indexDigest(digest)}
	}
	i := identity{manifest: manifestDigest(digest)}
	if config.MediaType.IsConfig() { // what is no image often has the same, empty one
		i.config = configDigest(config.Digest)
	}
	return i
}

// parseEngineID reads an id as engines write it. Podman's may lack the algorithm.
func parseEngineID(text string) engineID {
	if !strings.Contains(text, ":") {
		text = "sha256:" + text
	}
	h, err := v1.NewHash(text)
	if err != nil {
		return engineID{}
	}
	return engineID(h)
}

// fullName is a name that only one image can mean: REPOSITORY:TAG.
type fullName struct {
	written         string // as the source has it
	repository, tag string // compared; "" if it is no name, which equals no other
}

// bareTag is a name that is only a tag, as layouts may have it: every image may have
// the same one.
type bareTag string

// parseFullName reads a name. Podman writes localhost/ before names without a host.
func parseFullName(text string) fullName {
	n := fullName{written: text}
	ref, err := name.ParseReference(text)
	if err != nil {
		return n
	}
	n.repository, n.tag = ref.Context().Name(), ref.Identifier()
	if rest, ok := strings.CutPrefix(n.repository, "localhost/"); ok {
		if r, err := name.NewRepository(rest); err == nil {
			n.repository = r.Name()
		}
	}
	return n
}

func (n fullName) same(other fullName) bool {
	return n.repository != "" && n.repository == other.repository && n.tag == other.tag
}

// path is the last part of the repository, in the letters that every tool keeps:
// BentoML's celestial_bodies_classifier is published as celestial-bodies-classifier.
func (n fullName) path() string {
	last := n.repository[strings.LastIndex(n.repository, "/")+1:]
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", ".", "").Replace(last))
}

// Match is why an image of a source was taken for the one to publish.
type Match int

// The matches, the surest first.
const (
	ByName        Match = iota + 1 // HOST/NAME:SHA
	ByShortName                    // NAME:SHA
	ByLatest                       // HOST/NAME:latest
	ByShortLatest                  // NAME:latest
	ByTag                          // SHA, of an image that has no other name
	ByBareLatest                   // latest, of an image that has no other name
	ByBeingAlone                   // the only image, of no other name
)

// String says it behind what was found.
func (m Match) String() string {
	return [...]string{
		"", "by name and commit", "by its short name and the commit", "by name, as latest", "by its short name, as latest",
		"by the commit, without a name", "as latest, without a name", "the only image there",
	}[m]
}

// ofCommit reports whether it is the commit by which the image was found.
func (m Match) ofCommit() bool { return m == ByName || m == ByShortName || m == ByTag }

// Labels and annotations by which a build says what it was made from.
const (
	labelRevision = "org.opencontainers.image.revision"
	labelSource   = "org.opencontainers.image.source"
)

// stamp is what an image says of itself: the commit, and the repository of that.
type stamp struct{ revision, source string }

// stampOf reads labels or annotations; nil if they say nothing.
func stampOf(labels map[string]string) []stamp {
	if labels[labelRevision] == "" {
		return nil
	}
	return []stamp{{labels[labelRevision], labels[labelSource]}}
}

// commitOf reads a commit, or the beginning of one, as builds write it.
func commitOf(text string) (string, bool) {
	text = strings.TrimPrefix(strings.ToLower(strings.TrimSpace(text)), "sha-")
	return text, len(text) >= 7 && len(text) <= 64 && strings.Trim(text, "0123456789abcdef") == ""
}
