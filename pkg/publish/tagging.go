package publish

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/registry"
)

// existing is what the tags of an image are now, by their order.
type existing []present

// present is a tag; digest is zero if it is not there.
type present struct {
	tag       string
	digest    v1.Hash
	raw       []byte
	mediaType types.MediaType
	config    v1.Hash // zero for an index
	layers    int
	remote    *remote.Descriptor
}

// existing asks what the tags are.
func (s *session) existing(ctx context.Context, tags []string) (existing, error) {
	all := make(existing, len(tags))
	puller, err := s.repo.Puller()
	if err != nil {
		return nil, err
	}
	var group errgroup.Group // no context of its own: what is read of a descriptor later has that
	group.SetLimit(s.publisher.client.Limits().Parallel)
	for i, tag := range tags {
		all[i].tag = tag
		group.Go(func() error {
			defer fault.Catch(ctx)
			d, err := puller.Get(ctx, s.repo.Name.Tag(tag))
			if status := registry.Status(err); status == http.StatusNotFound || status == http.StatusForbidden {
				return nil // as of a blob that may not be asked for
			}
			if err != nil {
				return err
			}
			p := present{tag: tag, digest: d.Digest, raw: d.Manifest, mediaType: d.MediaType, remote: d}
			if d.MediaType.IsImage() {
				if m, err := v1.ParseManifest(bytes.NewReader(d.Manifest)); err == nil {
					p.config, p.layers = m.Config.Digest, len(m.Layers)
				}
			} else if m, err := v1.ParseIndexManifest(bytes.NewReader(d.Manifest)); err == nil {
				p.layers = len(m.Manifests)
			}
			all[i] = p
			return nil
		})
	}
	return all, group.Wait()
}

// same finds the tag that already is the candidate.
func (e existing) same(c *candidate) *present {
	for i, p := range e {
		if p.digest == (v1.Hash{}) {
			continue
		}
		if slices.Contains(c.ids, p.digest.String()) || p.config != (v1.Hash{}) && slices.Contains(c.ids, p.config.String()) {
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
	read := map[v1.Hash]bool{{}: true}
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
