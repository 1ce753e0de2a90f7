package publish_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// sizes are the layers of an image that is large enough for more than one, and
// small enough for many tests.
var sizes = []int64{300_000, 40_000}

// model is an image whose program answers with body, with layers of these sizes
// that nothing compresses. The architecture is amd64 unless another is given.
func model(t *testing.T, body string, layers []int64, architecture ...string) v1.Image {
	t.Helper()
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	var all []v1.Layer
	for _, size := range layers {
		l, err := random.Layer(size, types.OCILayer)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	image, err := mutate.AppendLayers(image, all...)
	if err != nil {
		t.Fatal(err)
	}
	return relabelled(t, image, body, architecture...)
}

// relabelled has the same layers, and another configuration.
func relabelled(t *testing.T, image v1.Image, body string, architecture ...string) v1.Image {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	if len(architecture) > 0 {
		config.Architecture = architecture[0]
	}
	config.Config.Entrypoint = []string{"/model"}
	config.Config.Labels = map[string]string{"model.body": body}
	image, err = mutate.ConfigFile(image, config)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// digestOf is an image's or an index's own digest.
func digestOf(t *testing.T, of interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	digest, err := of.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

// file is one of an archive.
type file struct {
	name    string
	content []byte
}

// saved are the files of `docker save` with an engine's classic store: layers
// that are not compressed, and one manifest.json for all.
func saved(t *testing.T, image v1.Image, names ...string) []file {
	t.Helper()
	config, err := image.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	id, err := image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	entry := struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{Config: id.Hex + ".json", RepoTags: names}
	files := []file{{entry.Config, config}}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		id, err := l.DiffID()
		if err != nil {
			t.Fatal(err)
		}
		content, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(content)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file{id.Hex + "/VERSION", []byte("1.0")}, file{id.Hex + "/layer.tar", all})
		entry.Layers = append(entry.Layers, id.Hex+"/layer.tar")
	}
	manifest, err := json.Marshal([]any{entry})
	if err != nil {
		t.Fatal(err)
	}
	return append(files, file{"manifest.json", manifest})
}

// layoutOf writes an OCI layout into a folder, with the name that buildx gives
// the image: a whole one for containerd, and the tag.
func layoutOf(t *testing.T, dir string, content mutate.Appendable, name, tag string) {
	t.Helper()
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	named := layout.WithAnnotations(map[string]string{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag})
	switch c := content.(type) {
	case v1.ImageIndex:
		err = path.AppendIndex(c, named)
	case v1.Image:
		err = path.AppendImage(c, named)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// tarOf is a tar file.
func tarOf(t *testing.T, files []file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tarOfFolder is a folder as `tar -C DIR .` writes it.
func tarOfFolder(t *testing.T, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// form is one of the ways in which an image lies in a workspace.
type form struct {
	name, path string
	// asIs says that the image is published under the digest that it has there.
	asIs  bool
	write func(p *place, sha string, image v1.Image)
}

// forms are all ways that the input push takes, but for the engine.
var forms = []form{
	{name: "docker save", path: "model.tar", write: func(p *place, sha string, image v1.Image) {
		p.Write("model.tar", string(tarOf(p.T, saved(p.T, image, p.image("latest"), p.image(sha)))))
	}},
	{name: "docker save, gzipped", path: "out/model.tar.gz", write: func(p *place, sha string, image v1.Image) {
		p.Write("out/model.tar.gz", string(zipped(p.T, tarOf(p.T, saved(p.T, image, p.image(sha))))))
	}},
	{name: "OCI layout, folder", path: "out/layout", asIs: true, write: func(p *place, sha string, image v1.Image) {
		layoutOf(p.T, filepath.Join(p.Workspace, "out/layout"), image, p.image(sha), sha)
	}},
	{name: "OCI layout, tar", path: "model-oci.tar", asIs: true, write: func(p *place, sha string, image v1.Image) {
		dir := filepath.Join(p.TempDir(), "layout")
		layoutOf(p.T, dir, image, p.image(sha), sha)
		p.Write("model-oci.tar", string(tarOfFolder(p.T, dir)))
	}},
	{name: "OCI layout, tar, gzipped", path: "model-oci.tgz", asIs: true, write: func(p *place, sha string, image v1.Image) {
		dir := filepath.Join(p.TempDir(), "layout")
		layoutOf(p.T, dir, image, p.image(sha), sha)
		p.Write("model-oci.tgz", string(zipped(p.T, tarOfFolder(p.T, dir))))
	}},
}

// reset empties the workspace of archives.
func (p *place) reset() {
	p.Helper()
	for _, f := range forms {
		if err := os.RemoveAll(filepath.Join(p.Workspace, f.path)); err != nil {
			p.Fatal(err)
		}
	}
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// index is one image for each architecture.
func index(t *testing.T, body string, architectures ...string) v1.ImageIndex {
	t.Helper()
	all := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, a := range architectures {
		all = mutate.AppendManifests(all, mutate.IndexAddendum{
			Add:        model(t, body, sizes, a),
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: a}},
		})
	}
	return all
}
