package localcloud

import (
	"context"

	"github.com/org/deploy-model-action/e2e/node"
)

// pull looks an image up as a node would.
func (c *Cloud) pull(ctx context.Context, reference string) (node.Image, error) {
	image, err := c.Registry.Lookup(ctx, reference)
	if err != nil {
		return node.Image{}, err
	}
	digest, err := image.Digest()
	if err != nil {
		return node.Image{}, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return node.Image{}, err
	}
	return node.Image{Digest: digest.String(), Labels: config.Config.Labels}, nil
}
