package localcloud

import (
	"context"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/org/deploy-model-action/e2e/node"
)

// pull looks an image up as a node would: of an index, it takes the image that
// fits the nodes.
func (c *Cloud) pull(ctx context.Context, reference string) (node.Image, error) {
	ref, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		return node.Image{}, err
	}
	found, err := remote.Get(ref, remote.WithContext(ctx), remote.WithTransport(c.store(ref.Context().RegistryStr())))
	if err != nil {
		return node.Image{}, err
	}
	pulled := node.Image{Digest: found.Digest.String()}
	if found.MediaType.IsIndex() {
		offered, fits, err := platforms(found)
		if err != nil || !fits {
			pulled.Platforms = offered
			return pulled, err
		}
	}
	image, err := found.Image()
	if err != nil {
		return node.Image{}, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return node.Image{}, err
	}
	id, err := image.ConfigName()
	if err != nil {
		return node.Image{}, err
	}
	pulled.ID, pulled.Architecture, pulled.Labels = id.String(), config.Architecture, config.Config.Labels
	if manifest, err := image.Manifest(); err == nil {
		for _, layer := range manifest.Layers {
			pulled.Size += layer.Size
		}
	}
	return pulled, nil
}

// platforms are what an index offers, and whether the nodes' is among them.
func platforms(found *remote.Descriptor) (offered []string, fits bool, err error) {
	index, err := found.ImageIndex()
	if err != nil {
		return nil, false, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, false, err
	}
	offered = []string{}
	for _, m := range manifest.Manifests {
		if m.Platform != nil {
			p := m.Platform.OS + "/" + m.Platform.Architecture
			offered = append(offered, p)
			fits = fits || p == node.Platform
		}
	}
	return offered, fits, nil
}
