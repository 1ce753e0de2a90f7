package image

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/org/deploy-model-action/pkg/registry"
)

// item is one line of the input images.
type item struct {
	text   string   // as it was given
	name   string   // what stands before "="
	repos  []string // none: the name is a placeholder, which is matched as text
	target name.Reference
	tag    string
}

// names reports whether the item means an image.
func (it item) names(u use) bool {
	for _, repo := range it.repos {
		if u.valid && strings.EqualFold(repo, u.repo.Name()) {
			return true
		}
	}
	return it.name == u.written || it.name == bareText(u.written)
}

// bareText is a text without what follows a last colon or an @, if that is not
// within a placeholder: what a tag would be, where there is no reference yet.
func bareText(written string) string {
	i := strings.LastIndexAny(written, ":@")
	if i < 0 || strings.Contains(written[i:], "/") || strings.ContainsAny(written[i:], "})>]") && !strings.ContainsAny(written[i:], "{(<[") {
		return written
	}
	return written[:i]
}

// distance is how far a repository is from what the item names.
func (it item) distance(r name.Repository, at registry.Prefix) int {
	full := registry.DisplayName(r.Name())
	d := min(registry.Distance(it.name, full), registry.Distance(it.name, full[strings.LastIndex(full, "/")+1:]))
	if relative := at.Relative(r); relative != "" {
		d = min(d, registry.Distance(it.name, relative))
	}
	return d
}

func parseItems(images []string, at registry.Prefix, sha string) ([]item, error) {
	var (
		items []item
		errs  []error
	)
	seen := map[string]bool{"": true}
	for _, text := range images {
		text = strings.TrimSpace(text)
		if seen[text] {
			continue
		}
		seen[text] = true
		it, err := parseItem(text, at, sha)
		if err != nil {
			errs = append(errs, fmt.Errorf("input images %q: %w", text, err))
			continue
		}
		items = append(items, it)
	}
	return items, errors.Join(errs...)
}

// splitItem divides NAME=REFERENCE; a placeholder may hold a = itself.
func splitItem(text string) (name, reference string, replaced bool) {
	i := strings.LastIndexByte(text, '=')
	if i < 0 || strings.ContainsAny(text[i:], "}>)") {
		return strings.TrimSpace(text), "", false
	}
	return strings.TrimSpace(text[:i]), strings.TrimSpace(text[i+1:]), true
}

// parseItem reads NAME, NAME=REFERENCE or PLACEHOLDER=REFERENCE.
func parseItem(text string, at registry.Prefix, sha string) (item, error) {
	before, reference, replaced := splitItem(text)
	it := item{text: text, name: before}
	repo, err := parseRepository(it.name)
	if err != nil {
		if _, referenceErr := name.ParseReference(it.name); referenceErr == nil || !replaced || it.name == "" {
			return item{}, err
		}
		it.target, it.tag, err = parseTarget(reference, sha)
		return it, err
	}
	it.repos = []string{repo.Name()}
	own := repo
	if !hasHost(it.name) {
		// Both what lives under registry_host and a reference without a host, which
		// Docker Hub would serve, are meant; either way ours is the one under it.
		own, err = parseRepository(at.String() + "/" + it.name)
		if err != nil {
			return item{}, err
		}
		it.repos = append(it.repos, own.Name())
	}
	if !replaced {
		it.target, it.tag = own.Tag(sha), sha
		return it, nil
	}
	it.target, it.tag, err = parseTarget(reference, sha)
	return it, err
}

// parseRepository reads a name without tag and digest.
func parseRepository(text string) (name.Repository, error) {
	wrong := errors.New("not the name of an image; write NAME or NAME=REFERENCE, with NAME as the manifests have it, without tag, or as the path below registry_host; or PLACEHOLDER=REFERENCE, with the text as it stands there")
	path := text
	if hasHost(text) {
		_, path, _ = strings.Cut(text, "/")
	}
	if i := strings.IndexAny(path, ":@"); i > 0 {
		bare := text[:len(text)-len(path)+i]
		return name.Repository{}, fmt.Errorf("images are matched whatever their tag or digest; write %q", bare)
	}
	repo, err := name.NewRepository(text)
	if err != nil || !registry.ValidPath(path) {
		return name.Repository{}, wrong
	}
	return repo, nil
}

// parseTarget reads the REFERENCE of NAME=REFERENCE.
func parseTarget(text, sha string) (name.Reference, string, error) {
	wrong := func(cause string) (name.Reference, string, error) {
		return nil, "", fmt.Errorf("%q %s; write HOST/NAME:TAG, or HOST/NAME@sha256:… for a digest", text, cause)
	}
	if strings.Contains(text, "://") {
		return wrong("begins with a scheme")
	}
	if !hasHost(text) {
		return wrong("names no host (Docker Hub's is docker.io)")
	}
	base, digest, pinned := strings.Cut(text, "@")
	def := sha
	if pinned {
		def = ""
	}
	tag, err := name.NewTag(base, name.WithDefaultTag(def))
	if err != nil || !registry.ValidPath(tag.RepositoryStr()) || !registry.ValidPath(text) {
		return wrong("is not a reference")
	}
	if t := tag.TagStr(); t != "" && !registry.ValidTag(t) {
		return wrong("has a tag that is none")
	}
	if !pinned {
		return tag, tag.TagStr(), nil
	}
	if _, err := name.NewDigest(text); err != nil {
		return wrong("has a digest that is none")
	}
	return tag.Context().Digest(digest), tag.TagStr(), nil
}

// hasHost reports whether a reference begins with a registry's host, by the rule
// that every tool uses.
func hasHost(text string) bool {
	first, _, ok := strings.Cut(text, "/")
	return ok && (strings.ContainsAny(first, ".:") || first == "localhost")
}
