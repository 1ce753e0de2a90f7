package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/org/deploy-model-action/pkg/registry"
)

// saved reads manifest.json of `docker save`.
func (f *files) saved(ctx context.Context, raw []byte) ([]*candidate, error) {
	var entries []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(raw, &entries); err != nil {
		return nil, f.damaged("its manifest.json: %w", err)
	}
	var all []*candidate
	byConfig := map[v1.Hash]*candidate{}
	for _, e := range entries {
		config, err := f.document(ctx, e.Config)
		if err == nil {
			err = f.spend(ctx, len(config))
		}
		if err != nil {
			return nil, err
		}
		if config == nil {
			return nil, f.damaged("it lacks %q, which its manifest.json names", quoted(e.Config))
		}
		parsed, err := v1.ParseConfigFile(bytes.NewReader(config))
		if err != nil {
			return nil, f.damaged("the configuration %q: %w", quoted(e.Config), err)
		}
		if len(parsed.RootFS.DiffIDs) != len(e.Layers) {
			return nil, f.damaged("its manifest.json has %d layers, and the configuration %q has %d", len(e.Layers), quoted(e.Config), len(parsed.RootFS.DiffIDs))
		}
		hash, _, err := v1.SHA256(bytes.NewReader(config))
		if err != nil {
			return nil, err
		}
		if c := byConfig[hash]; c != nil { // one image, and an entry for each of its names
			for _, n := range e.RepoTags {
				c.named(n)
			}
			continue
		}
		b := &built{files: f, config: memory(config, hash), id: identity{config: configDigest(hash)}, stamps: stampOf(parsed.Config.Labels)}
		b.config.config = true
		for i, file := range e.Layers {
			name, err := f.follow(file)
			if err != nil {
				return nil, err
			}
			if !f.has(name) {
				return nil, f.damaged("it lacks %q, which its manifest.json names", quoted(file))
			}
			b.layers = append(b.layers, layer{file: name, diffID: parsed.RootFS.DiffIDs[i].String()})
		}
		c := &candidate{
			source: f.label, id: b.id, stamps: b.stamps, layers: b.layers, content: b,
			platforms: registry.Distinct([]string{registry.Platform(*parsed.Platform())}),
		}
		for _, n := range e.RepoTags {
			c.named(n)
		}
		byConfig[hash] = c
		all = append(all, c)
	}
	return all, nil
}

// built is an image of `docker save`: its layers are compressed here, and its
// manifest is made of them, as `docker push` does.
type built struct {
	files  *files
	id     identity
	stamps []stamp
	config blob
	layers []layer
}

func (b *built) read(ctx context.Context, up *uploader) error { return b.files.read(ctx, up, b.layers) }

func (b *built) assemble(ctx context.Context, up *uploader) (assembled, error) {
	m := v1.Manifest{
		SchemaVersion: 2, MediaType: types.DockerManifestSchema2,
		Config: v1.Descriptor{MediaType: types.DockerConfigJSON, Size: b.config.size, Digest: b.config.digest},
	}
	d := assembled{id: b.id, stamps: b.stamps, blobs: []blob{b.config}}
	for _, l := range b.layers {
		sent, ok := up.find(l)
		if !ok && b.files.documents[l.file] != nil { // a layer that begins like JSON
			var err error
			if sent, err = up.takeNow(ctx, l.file, b.files.documents[l.file]); err != nil {
				return assembled{}, err
			}
			ok = true
		}
		if !ok {
			return assembled{}, b.files.damaged("it lacks the layer %q", quoted(l.file))
		}
		if err := b.files.checkContent(up, l); err != nil {
			return assembled{}, err
		}
		if strings.HasSuffix(string(sent.MediaType), "zstd") {
			return assembled{}, fmt.Errorf("%s: the layer %q is compressed with zstd, which this form of image cannot say; write an OCI layout instead", b.files.label, quoted(l.file))
		}
		sent.MediaType = types.DockerLayer
		m.Layers = append(m.Layers, sent)
		d.layers = append(d.layers, sent)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return assembled{}, err
	}
	hash, _, err := v1.SHA256(bytes.NewReader(raw))
	d.root, d.id.manifest = manifest{raw, m.MediaType, hash}, manifestDigest(hash)
	return d, err
}
