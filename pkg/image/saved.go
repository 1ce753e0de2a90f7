package image

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// saved reads manifest.json of `docker save`.
func (f *files) saved(raw []byte) ([]*candidate, error) {
	var entries []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(raw, &entries); err != nil {
		return nil, f.damaged("its manifest.json: %w", err)
	}
	var all []*candidate
	for _, e := range entries {
		config, err := f.document(e.Config)
		if err != nil {
			return nil, err
		}
		if config == nil {
			return nil, f.damaged("it lacks %q, which its manifest.json names", short(e.Config))
		}
		parsed, err := v1.ParseConfigFile(bytes.NewReader(config))
		if err != nil {
			return nil, f.damaged("the configuration %q: %w", short(e.Config), err)
		}
		if len(parsed.RootFS.DiffIDs) != len(e.Layers) {
			return nil, f.damaged("its manifest.json has %d layers, and the configuration %q has %d", len(e.Layers), short(e.Config), len(parsed.RootFS.DiffIDs))
		}
		hash, _, err := v1.SHA256(bytes.NewReader(config))
		if err != nil {
			return nil, err
		}
		b := &built{files: f, config: memory(config, hash)}
		for i, file := range e.Layers {
			name, err := f.follow(file)
			if err != nil {
				return nil, err
			}
			if !f.has(name) {
				return nil, f.damaged("it lacks %q, which its manifest.json names", short(file))
			}
			b.layers = append(b.layers, layer{file: name, diffID: parsed.RootFS.DiffIDs[i].String()})
		}
		all = append(all, &candidate{
			source: f.label, names: e.RepoTags, ids: []string{hash.String()}, layers: b.layers, content: b,
			platforms: distinct([]string{platformOf(parsed)}),
		})
	}
	return all, nil
}

// built is an image of `docker save`: its layers are compressed here, and its
// manifest is made of them, as `docker push` does.
type built struct {
	files  *files
	config blob
	layers []layer
}

func (b *built) read(ctx context.Context, p *packer) error { return b.files.read(ctx, p, b.layers) }

func (b *built) draft(p *packer) (draft, error) {
	m := v1.Manifest{
		SchemaVersion: 2, MediaType: types.DockerManifestSchema2,
		Config: v1.Descriptor{MediaType: types.DockerConfigJSON, Size: b.config.size, Digest: b.config.digest},
	}
	d := draft{blobs: []blob{b.config}}
	for _, l := range b.layers {
		sent, ok := p.sent(l)
		if !ok && b.files.documents[l.file] != nil { // a layer that begins like JSON
			var err error
			if sent, err = p.packNow(l.file, b.files.documents[l.file]); err != nil {
				return draft{}, err
			}
			ok = true
		}
		if !ok {
			return draft{}, b.files.damaged("it lacks the layer %q", short(l.file))
		}
		if made := p.diffID(l.file); made != "" && made != l.diffID {
			return draft{}, b.files.damaged("the layer %q is not the one that the configuration names", short(l.file))
		}
		if strings.HasSuffix(string(sent.MediaType), "zstd") {
			return draft{}, fmt.Errorf("%s: the layer %q is compressed with zstd, which this form of image cannot say; write an OCI layout instead", b.files.label, short(l.file))
		}
		sent.MediaType = types.DockerLayer
		m.Layers = append(m.Layers, sent)
		d.layers = append(d.layers, sent)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return draft{}, err
	}
	hash, _, err := v1.SHA256(bytes.NewReader(raw))
	d.root = manifest{raw, m.MediaType, hash}
	return d, err
}
