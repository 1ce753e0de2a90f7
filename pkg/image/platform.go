package image

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/org/deploy-model-action/pkg/registry"
)

// Fit is how an image goes with the nodes of a cluster.
type Fit int

// The fits.
const (
	FitsAll  Fit = iota // every node can run it, or nothing is known to the contrary
	FitsSome            // some nodes cannot
	FitsNone            // no node can
)

// Fits compares the platforms of an image, as Image.Platforms has them, with
// those of the nodes, as Kubernetes names them (linux/amd64). Unless the fit is
// FitsAll, the message names both and says what to do. What is not known, of the
// image or because there are no nodes yet, is taken to fit.
func Fits(reference string, platforms, nodes []string) (Fit, string) {
	platforms, nodes = registry.Distinct(platforms), registry.Distinct(nodes)
	if len(platforms) == 0 || len(nodes) == 0 {
		return FitsAll, ""
	}
	var unfit []string
	for _, n := range nodes {
		if !slices.ContainsFunc(platforms, func(p string) bool { return runs(n, p) }) {
			unfit = append(unfit, n)
		}
	}
	is, are := strings.Join(platforms, ", "), strings.Join(nodes, ", ")
	switch len(unfit) {
	case 0:
		return FitsAll, ""
	case len(nodes):
		return FitsNone, fmt.Sprintf("image %q is for %s, and the nodes that its pods may run on are %s; build it for their platform (docker build --platform %s), or set a nodeSelector that leads to other nodes", reference, is, are, nodes[0])
	}
	return FitsSome, fmt.Sprintf("image %q is for %s, and some of the nodes that its pods may run on are %s; build it for these too (docker buildx build --platform %s), or set a nodeSelector `kubernetes.io/arch` that leads to the others", reference, is, strings.Join(unfit, ", "), strings.Join(nodes, ","))
}

// runs reports whether a node runs an image. The variant is left to the kubelet:
// nodes do not tell theirs.
func runs(node, image string) bool {
	system, rest, _ := strings.Cut(image, "/")
	architecture, _, _ := strings.Cut(rest, "/")
	return node == system+"/"+architecture
}

// platformsOf reads the platforms of an index, and with one more request that of a
// single image. What they are good for
// is a warning, so that what cannot be read is not an error.
func platformsOf(d *remote.Descriptor) []string {
	var all []string
	switch {
	case d.MediaType.IsIndex():
		index, err := d.ImageIndex()
		if err != nil {
			return nil
		}
		manifest, err := index.IndexManifest()
		if err != nil {
			return nil
		}
		for _, m := range manifest.Manifests {
			if m.Platform != nil {
				all = append(all, registry.Platform(*m.Platform))
			}
		}
	case d.MediaType.IsImage():
		image, err := d.Image()
		if err != nil {
			return nil
		}
		config, err := image.ConfigFile()
		if err != nil {
			return nil
		}
		all = append(all, registry.Platform(*config.Platform()))
	}
	return registry.Distinct(all)
}
