package registry

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Push makes an image with the labels and publishes it under the reference. The
// architecture is amd64 unless another is given. It returns the digest.
func (g *Registry) Push(ctx context.Context, reference string, labels map[string]string, architecture ...string) (string, error) {
	image, err := Image(labels, architecture...)
	if err != nil {
		return "", fmt.Errorf("push %q: %w", reference, err)
	}
	return g.PushImage(ctx, reference, image)
}

// PushImage publishes an image.
func (g *Registry) PushImage(ctx context.Context, reference string, image v1.Image) (string, error) {
	ref, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		return "", fmt.Errorf("push: %w", err)
	}
	if err := remote.Write(ref, image, remote.WithContext(ctx), remote.WithTransport(g.Transport())); err != nil {
		return "", fmt.Errorf("push %q: %w", reference, err)
	}
	digest, err := image.Digest()
	return digest.String(), err
}

// Image is a small image that differs from every other.
func Image(labels map[string]string, architecture ...string) (v1.Image, error) {
	image, err := random.Image(512, 1)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	if len(architecture) > 0 {
		config.Architecture = architecture[0]
	}
	config.Config.Labels = labels
	return mutate.ConfigFile(image, config)
}

// Lookup returns an image as a node would pull it.
func (g *Registry) Lookup(ctx context.Context, reference string) (v1.Image, error) {
	ref, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		return nil, err
	}
	return remote.Image(ref, remote.WithContext(ctx), remote.WithTransport(g.Transport()))
}

// Delete removes a tag or a digest, as a cleanup policy does.
func (g *Registry) Delete(ctx context.Context, reference string) error {
	ref, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return remote.Delete(ref, remote.WithContext(ctx), remote.WithTransport(g.Transport()))
}
