package publish

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/registry"
)

// existing is what the tags of an image are now, by their order.
type existing []present

// present is a tag; digest is zero if it is not there.
type present struct {
	identity
	tag       string
	compared  bool // only: it is not one that the image gets
	digest    v1.Hash
	raw       []byte
	mediaType types.MediaType
	layers    int
	remote    *remote.Descriptor
}

// existing asks what the tags are, and what latest is in any case: a build before
// this one has that.
func (s *session) existing(ctx context.Context, tags []string) (existing, error) {
	own := len(tags)
	if !slices.Contains(tags, name.DefaultTag) {
		tags = append(slices.Clone(tags), name.DefaultTag)
	}
	all := make(existing, len(tags))
	puller, err := s.repo.Puller()
	if err != nil {
		return nil, err
	}
	var group errgroup.Group // no context of its own: what is read of a descriptor later has that
	group.SetLimit(s.publisher.client.Limits().Parallel)
	for i, tag := range tags {
		all[i].tag, all[i].compared = tag, i >= own
		group.Go(func() error {
			defer fault.Catch(ctx)
			d, err := puller.Get(ctx, s.repo.Name.Tag(tag))
			if status := registry.Status(err); status == http.StatusNotFound || status == http.StatusForbidden {
				return nil // as of a blob that may not be asked for
			}
			if err != nil {
				return err
			}
			p := &all[i]
			p.digest, p.raw, p.mediaType, p.remote = d.Digest, d.Manifest, d.MediaType, d
			var config v1.Descriptor
			if d.MediaType.IsImage() {
				if m, err := v1.ParseManifest(bytes.NewReader(d.Manifest)); err == nil {
					config, p.layers = m.Config, len(m.Layers)
				}
			} else if m, err := v1.ParseIndexManifest(bytes.NewReader(d.Manifest)); err == nil {
				p.layers = len(m.Manifests)
			}
			p.identity = identify(d.MediaType, d.Digest, config)
			return nil
		})
	}
	return all, group.Wait()
}

// same finds the tag that already is the image.
func (e existing) same(id identity) *present {
	for i, p := range e {
		if id.is(p.identity) {
			return &e[i]
		}
	}
	return nil
}

// known are the layers of the tags, by what is in them: the image before this
// one shares most of them, and they need not be compressed to know that. What
// cannot be read is only a chance missed.
func (e existing) known(c *candidate) map[string]v1.Descriptor {
	layers := map[string]v1.Descriptor{}
	if !slices.ContainsFunc(c.layers, func(l layer) bool { return l.diffID != "" }) {
		return layers
	}
	read := map[configDigest]bool{{}: true}
	for _, p := range e {
		if p.remote == nil || read[p.config] {
			continue
		}
		read[p.config] = true
		image, err := p.remote.Image()
		if err != nil {
			continue
		}
		config, err := image.ConfigFile()
		if err != nil {
			continue
		}
		manifest, err := image.Manifest()
		if err != nil || len(manifest.Layers) != len(config.RootFS.DiffIDs) {
			continue
		}
		for i, l := range manifest.Layers {
			if l.MediaType == types.DockerLayer || l.MediaType == types.OCILayer {
				layers[config.RootFS.DiffIDs[i].String()] = v1.Descriptor{MediaType: types.DockerLayer, Size: l.Size, Digest: l.Digest}
			}
		}
	}
	return layers
}

// tag sets the tags to a manifest, that of the target first.
func (s *session) tag(ctx context.Context, before existing, m manifest) error {
	for i, b := range before {
		if b.compared {
			continue
		}
		if b.digest != m.digest {
			if b.digest != (v1.Hash{}) {
				s.publisher.log("Tag %s was %s, and is set to %s", b.tag, b.digest, m.digest)
			}
			if err := s.putManifest(ctx, b.tag, m); err != nil {
				return s.rejected(ctx, b.tag, s.immutable(err, b, m))
			}
		}
		if i == 0 {
			s.result.Digest = m.digest.String()
		} else {
			s.result.Tags = append(s.result.Tags, b.tag)
		}
	}
	return nil
}

// putManifest puts a manifest under a tag or its digest.
func (s *session) putManifest(ctx context.Context, as string, m manifest) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.repo.URL("manifests", as).String(), bytes.NewReader(m.raw))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", string(m.mediaType))
	return expect(s.repo, req, http.StatusCreated, http.StatusOK, http.StatusAccepted, http.StatusNoContent)
}

// immutable reports whether a tag was refused for being there with another digest.
func (s *session) immutable(err error, b present, m manifest) error {
	if !immutable(err) {
		return err
	}
	return &ImmutableTagError{
		Reference: registry.DisplayName(s.repo.Name.Name()) + ":" + b.tag, Tag: b.tag, Main: b.tag == s.target.TagStr(),
		There: zeroless(b.digest), Digest: m.digest.String(), Words: registry.Words(err), Err: errors.Unwrap(err),
	}
}

func zeroless(h v1.Hash) string {
	if h == (v1.Hash{}) {
		return ""
	}
	return h.String()
}

// checkStamps refuses an image that says that it was built from another commit, and
// takes note if it says that it is of this one.
func (s *session) checkStamps(c *candidate, stamps []stamp) error {
	sha, asked := commitOf(s.target.TagStr())
	for _, st := range stamps {
		revision, ok := commitOf(st.revision)
		switch {
		case strings.EqualFold(st.revision, s.target.TagStr()), asked && ok && (strings.HasPrefix(sha, revision) || strings.HasPrefix(revision, sha)):
			c.proven = true
		case !asked: // the tag is no commit
		case s.ofAnother(st.source):
			// A base image's labels are inherited by what is built on it.
			s.publisher.log("The label %s of %s is of another repository, and says nothing of this commit", labelRevision, c)
		default:
			return &RevisionError{Reference: reference(s.target), Source: c.String(), Match: c.match, Revision: quoted(st.revision), Wanted: s.target.TagStr()}
		}
	}
	return nil
}

// ofAnother reports whether a source is a repository, and not the workflow's.
func (s *session) ofAnother(source string) bool {
	plain := func(u string) string {
		_, u, _ = strings.Cut(strings.ToLower(strings.TrimSpace(u)), "://")
		return strings.TrimSuffix(strings.TrimSuffix(u, "/"), ".git")
	}
	own := plain(s.publisher.options.Repository)
	return own != "" && plain(source) != "" && plain(source) != own
}

// checkFresh refuses an image of an earlier build: one that the registry has under
// other tags and not under this commit's, and of which nothing says that it is of
// this commit. That is what a runner that stays, or a cache that was pulled, has as
// latest. On a runner's fresh build it is never true.
func (s *session) checkFresh(c *candidate, id identity, tags existing) error {
	if c.proven || c.match.ofCommit() {
		return nil
	}
	for i, t := range tags {
		if !id.is(t.identity) {
			continue
		}
		if i == 0 {
			return nil // what this commit's tag is already
		}
		return &StaleError{Reference: reference(s.target), Source: c.String(), Match: c.match, There: registry.DisplayName(s.repo.Name.Name()) + ":" + t.tag, Digest: t.digest.String()}
	}
	return nil
}

// checkNew refuses, as checkFresh does, what the registry has under a tag that nobody
// asked for.
func (s *session) checkNew(ctx context.Context, c *candidate, digest v1.Hash) error {
	if c.proven || c.match.ofCommit() {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, s.repo.URL("manifests", digest.String()).String(), nil)
	if err != nil {
		return err
	}
	for _, t := range []types.MediaType{types.OCIManifestSchema1, types.OCIImageIndex, types.DockerManifestSchema2, types.DockerManifestList} {
		req.Header.Add("Accept", string(t))
	}
	resp, err := s.repo.HTTP().Do(req)
	if err != nil {
		return s.rejected(ctx, "", err)
	}
	defer resp.Body.Close()
	if transport.CheckError(resp, http.StatusOK) != nil {
		return nil // it is not there, or the registry does not say
	}
	return &StaleError{Reference: reference(s.target), Source: c.String(), Match: c.match, There: registry.DisplayName(s.repo.Name.Name()), Digest: digest.String()}
}
