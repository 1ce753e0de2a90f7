package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/org/deploy-model-action/pkg/registry"
)

// Annotations by which a layout names its images.
const (
	annotationRefName    = "org.opencontainers.image.ref.name"
	annotationContainerd = "io.containerd.image.name"
)

// candidates reads what images there are. `docker save` writes both its own form
// and an OCI layout since version 25. The layout is preferred, since it is
// published as it is, digest and all; but not with layers that are not
// compressed, as an engine with its classic store has them.
func (f *files) candidates(ctx context.Context) ([]*candidate, error) {
	layout, err := f.layouts(ctx)
	if err != nil {
		return nil, err
	}
	saved, err := f.document(ctx, "manifest.json")
	if err != nil {
		return nil, err
	}
	packed := len(layout) > 0
	for _, c := range layout {
		if x, ok := c.content.(*asIs); ok && !x.compressed {
			packed = false
		}
	}
	switch {
	case packed, len(layout) > 0 && saved == nil:
		return layout, nil
	case saved != nil:
		return f.saved(ctx, saved)
	}
	return nil, f.damaged("neither what `docker save` writes (it has no manifest.json) nor an OCI layout (it has no index.json)")
}

// layouts reads index.json of an OCI layout.
func (f *files) layouts(ctx context.Context) ([]*candidate, error) {
	raw, err := f.document(ctx, "index.json")
	if err != nil || raw == nil {
		return nil, err
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, f.damaged("its index.json: %w", err)
	}
	var all []*candidate
	byDigest := map[v1.Hash]*candidate{}
	for _, d := range index.Manifests {
		if d.Digest == (v1.Hash{}) {
			return nil, f.damaged("its index.json has an entry without a digest")
		}
		c := byDigest[d.Digest]
		if c == nil {
			if c, err = f.layout(ctx, d); err != nil {
				return nil, err
			}
			byDigest[d.Digest] = c
			all = append(all, c)
		}
		for _, key := range []string{annotationContainerd, annotationRefName} {
			c.named(d.Annotations[key])
		}
		c.stamps = append(c.stamps, stampOf(d.Annotations)...)
	}
	return all, nil
}

// layout reads one image or index of a layout.
func (f *files) layout(ctx context.Context, d v1.Descriptor) (*candidate, error) {
	x := &asIs{files: f, loaded: map[v1.Hash]*manifest{}, compressed: true}
	root, err := x.load(ctx, d, 0)
	if err != nil {
		return nil, err
	}
	if root == nil {
		return nil, f.damaged("it lacks %q, which its index.json names", blobFile(d.Digest))
	}
	x.root = *root
	x.children = withoutRoot(x.children, root.digest)
	x.id = identify(d.MediaType, root.digest, v1.Descriptor{})
	switch {
	case !d.MediaType.IsIndex():
		x.id = identify(d.MediaType, root.digest, x.config)
	case root.digest != d.Digest:
		x.id.whole = indexDigest(d.Digest)
	}
	return &candidate{
		source: f.label, id: x.id, stamps: x.stamps, platforms: registry.Distinct(x.platforms), layers: x.layers, content: x,
	}, nil
}

func withoutRoot(all []manifest, root v1.Hash) []manifest {
	var rest []manifest
	for _, m := range all {
		if m.digest != root {
			rest = append(rest, m)
		}
	}
	return rest
}

// blobFile is where a layout keeps a blob.
func blobFile(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// load reads a manifest and all below it, once. It returns nil if it is not there: an
// engine exports only the platforms of an index that it has.
func (x *asIs) load(ctx context.Context, d v1.Descriptor, depth int) (*manifest, error) {
	if m, ok := x.loaded[d.Digest]; ok {
		return m, nil
	}
	m, err := x.loadNew(ctx, d, depth)
	if err == nil {
		x.loaded[d.Digest] = m
	}
	return m, err
}

func (x *asIs) loadNew(ctx context.Context, d v1.Descriptor, depth int) (*manifest, error) {
	raw, err := x.files.document(ctx, blobFile(d.Digest))
	if err == nil {
		err = x.files.spend(ctx, len(raw))
	}
	if err != nil || raw == nil {
		return nil, err
	}
	if sum, _, err := v1.SHA256(bytes.NewReader(raw)); err != nil || sum != d.Digest {
		return nil, x.files.damaged("the content of %q is not what its name says", blobFile(d.Digest))
	}
	if depth > 3 || len(x.children) > 500 {
		return nil, x.files.damaged("its indexes are nested too deep, or hold too much")
	}
	m := manifest{raw: raw, mediaType: d.MediaType, digest: d.Digest}
	if d.MediaType.IsIndex() {
		return x.index(ctx, m, depth)
	}
	lacks, err := x.image(ctx, d, raw)
	switch {
	case err != nil:
		return nil, err
	case lacks != "" && depth == 0:
		return nil, x.files.damaged("it lacks %q, which the manifest %q names", lacks, d.Digest)
	case lacks != "":
		return nil, nil
	}
	x.children = append(x.children, m)
	return &m, nil
}

// index reads an index. What it lacks is taken out of it: no registry would take
// it otherwise.
func (x *asIs) index(ctx context.Context, m manifest, depth int) (*manifest, error) {
	parsed, err := v1.ParseIndexManifest(bytes.NewReader(m.raw))
	if err != nil {
		return nil, x.files.damaged("the index %q: %w", blobFile(m.digest), err)
	}
	x.stamps = append(x.stamps, stampOf(parsed.Annotations)...)
	var present []v1.Descriptor
	images := 0
	for _, d := range parsed.Manifests {
		child, err := x.load(ctx, d, depth+1)
		if err != nil {
			return nil, err
		}
		if child == nil {
			continue
		}
		if child.digest != d.Digest {
			return nil, x.files.damaged("an index in an index of %q is not complete", blobFile(m.digest))
		}
		present = append(present, d)
		if d.Platform == nil || registry.Platform(*d.Platform) != "" {
			images++
		}
	}
	switch {
	case len(present) == len(parsed.Manifests):
	case images == 0:
		return nil, nil
	default:
		parsed.Manifests = present
		raw, err := json.Marshal(parsed)
		if err != nil {
			return nil, err
		}
		hash, _, err := v1.SHA256(bytes.NewReader(raw))
		if err != nil {
			return nil, err
		}
		m = manifest{raw: raw, mediaType: m.mediaType, digest: hash}
	}
	x.children = append(x.children, m)
	return &m, nil
}

// image reads the manifest of one image. It returns the file that is not there,
// if any, and takes over nothing then.
func (x *asIs) image(ctx context.Context, d v1.Descriptor, raw []byte) (lacks string, err error) {
	parsed, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return "", x.files.damaged("the manifest %q: %w", blobFile(d.Digest), err)
	}
	var layers []layer
	compressed := true
	for i, l := range append([]v1.Descriptor{parsed.Config}, parsed.Layers...) {
		if !l.MediaType.IsDistributable() {
			continue // lies where its URLs say
		}
		file := blobFile(l.Digest)
		if !x.files.has(file) {
			return file, nil
		}
		if i > 0 && (l.MediaType == types.OCIUncompressedLayer || l.MediaType == types.DockerUncompressedLayer) {
			compressed = false
		}
		layers = append(layers, layer{file: file, blob: &l})
	}
	diffIDs, err := x.configuration(ctx, d, parsed)
	if err != nil {
		return "", err
	}
	for i := range layers {
		layers[i].diffID = diffIDs[layers[i].blob.Digest]
	}
	x.stamps = append(x.stamps, stampOf(parsed.Annotations)...)
	x.layers = append(x.layers, layers...)
	x.compressed = x.compressed && compressed
	return "", nil
}

// configuration reads the configuration of an image. It returns what is in its
// layers, by their digests, as far as that is said: what is no image has none.
func (x *asIs) configuration(ctx context.Context, d v1.Descriptor, m *v1.Manifest) (map[v1.Hash]string, error) {
	if !m.Config.MediaType.IsConfig() {
		return nil, nil
	}
	raw, err := x.files.document(ctx, blobFile(m.Config.Digest))
	if err != nil || raw == nil {
		return nil, err
	}
	config, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return nil, nil //nolint:nilerr // it is published as it is, and who runs it has to read it
	}
	x.config = m.Config
	platform := registry.Platform(*config.Platform())
	x.platforms = append(x.platforms, platform)
	x.stamps = append(x.stamps, stampOf(config.Config.Labels)...)
	if platform == "" || slices.ContainsFunc(m.Layers, func(l v1.Descriptor) bool { return !l.MediaType.IsLayer() }) {
		return nil, nil // an attestation, or another artifact in an image's clothes
	}
	if len(config.RootFS.DiffIDs) != len(m.Layers) {
		return nil, x.files.damaged("the manifest %q has %d layers, and its configuration has %d", d.Digest, len(m.Layers), len(config.RootFS.DiffIDs))
	}
	diffIDs := map[v1.Hash]string{}
	for i, l := range m.Layers {
		is := config.RootFS.DiffIDs[i].String()
		if before := diffIDs[l.Digest]; before != "" && before != is {
			return nil, x.files.damaged("the configuration of the manifest %q has two contents for the layer %q", d.Digest, l.Digest)
		}
		diffIDs[l.Digest] = is
	}
	return diffIDs, nil
}

// asIs is an image or an index of a layout, which is published as it is.
type asIs struct {
	files      *files
	loaded     map[v1.Hash]*manifest // nil for what is not there
	root       manifest
	children   []manifest
	layers     []layer // and configurations
	config     v1.Descriptor
	id         identity
	stamps     []stamp
	platforms  []string
	compressed bool // all layers are
}

func (x *asIs) read(ctx context.Context, up *uploader) error {
	up.raw = true
	return x.files.read(ctx, up, x.layers)
}

func (x *asIs) assemble(ctx context.Context, up *uploader) (assembled, error) {
	d := assembled{id: x.id, stamps: x.stamps, children: x.children, root: x.root}
	for _, l := range x.layers {
		sent, ok := up.find(l)
		if !ok {
			// A configuration, or a layer that begins like one.
			content, err := x.files.document(ctx, l.file)
			if err != nil {
				return assembled{}, err
			}
			if sent.Digest, _, err = v1.SHA256(bytes.NewReader(content)); err != nil {
				return assembled{}, err
			}
			up.contains(sent.Digest, sent.Digest.String()) // it begins as JSON, so that it is not compressed
			b := memory(content, sent.Digest)
			b.config = l.blob.MediaType.IsConfig()
			d.blobs = append(d.blobs, b)
		}
		if sent.Digest != l.blob.Digest {
			return assembled{}, x.files.damaged("the content of %q is not what its name says", l.file)
		}
		if err := x.files.checkContent(up, l); err != nil {
			return assembled{}, err
		}
		if !l.blob.MediaType.IsConfig() {
			d.layers = append(d.layers, *l.blob)
		}
	}
	return d, nil
}
