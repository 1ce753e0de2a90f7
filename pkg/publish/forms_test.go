package publish

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/org/deploy-model-action/pkg/registry"
	"github.com/org/deploy-model-action/pkg/registry/registrytest"
)

// archived are the files of an archive, in their order.
type archived []struct {
	name, link string
	content    []byte
}

func (a *archived) add(name string, content []byte) {
	*a = append(*a, struct {
		name, link string
		content    []byte
	}{name: name, content: content})
}

func (a *archived) link(name, to string) {
	*a = append(*a, struct {
		name, link string
		content    []byte
	}{name: name, link: to})
}

func (a *archived) json(t *testing.T, name string, v any) {
	t.Helper()
	content, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	a.add(name, content)
}

func (a archived) tar(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range a {
		h := &tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.content)), Typeflag: tar.TypeReg}
		if f.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zip(t *testing.T, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func hashName(t *testing.T, content []byte) v1.Hash {
	t.Helper()
	h, _, err := v1.SHA256(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func read(t *testing.T, open func() (io.ReadCloser, error)) []byte {
	t.Helper()
	r, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// savedOld is what `docker save` wrote before version 25: a folder a layer, the
// same layer twice as a link, and what is in it at the end.
func savedOld(t *testing.T, image v1.Image, tags ...string) archived {
	t.Helper()
	var a archived
	config := must[[]byte](t)(image.RawConfigFile())
	var files []string
	seen := map[v1.Hash]string{}
	for i, l := range must[[]v1.Layer](t)(image.Layers()) {
		id := fmt.Sprintf("%064x", 0xf00+i)
		a.add(id+"/VERSION", []byte("1.0"))
		a.json(t, id+"/json", map[string]string{"id": id})
		diffID := must[v1.Hash](t)(l.DiffID())
		if first, ok := seen[diffID]; ok {
			a.link(id+"/layer.tar", "../"+first)
		} else {
			a.add(id+"/layer.tar", read(t, l.Uncompressed))
			seen[diffID] = id + "/layer.tar"
		}
		files = append(files, id+"/layer.tar")
	}
	name := hashName(t, config).Hex + ".json"
	a.add(name, config)
	a.json(t, "manifest.json", []any{map[string]any{"Config": name, "RepoTags": tags, "Layers": files}})
	a.json(t, "repositories", map[string]any{"x": map[string]string{"latest": "y"}})
	return a
}

// savedNew is what `docker save` writes since version 25: an OCI layout, and its
// own manifest.json beside. With the classic store its layers are not compressed.
func savedNew(t *testing.T, image v1.Image, compressed bool, tags ...string) archived {
	t.Helper()
	var a archived
	blobs := map[string][]byte{}
	put := func(content []byte) v1.Hash {
		h := hashName(t, content)
		blobs["blobs/sha256/"+h.Hex] = content
		return h
	}
	config := must[[]byte](t)(image.RawConfigFile())
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Size: int64(len(config)), Digest: put(config)}}
	var files []string
	for _, l := range must[[]v1.Layer](t)(image.Layers()) {
		content, kind := read(t, l.Uncompressed), types.OCIUncompressedLayer
		if compressed {
			content, kind = read(t, l.Compressed), types.OCILayer
		}
		d := v1.Descriptor{MediaType: kind, Size: int64(len(content)), Digest: put(content)}
		m.Layers = append(m.Layers, d)
		files = append(files, "blobs/sha256/"+d.Digest.Hex)
	}
	raw := must[[]byte](t)(json.Marshal(m))
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, tag := range tags {
		index.Manifests = append(index.Manifests, v1.Descriptor{
			MediaType: types.OCIManifestSchema1, Size: int64(len(raw)), Digest: put(raw),
			Annotations: map[string]string{annotationContainerd: tag, annotationRefName: tag[strings.LastIndex(tag, ":")+1:]},
		})
	}
	var names []string
	for n := range blobs {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		a.add(n, blobs[n])
	}
	a.json(t, "index.json", index)
	a.json(t, "manifest.json", []any{map[string]any{"Config": "blobs/sha256/" + m.Config.Digest.Hex, "RepoTags": tags, "Layers": files}})
	a.add("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return a
}

// ociFolder writes an OCI layout with go-containerregistry.
func ociFolder(t *testing.T, dir string, what any, annotations map[string]string) {
	t.Helper()
	p := must[layout.Path](t)(layout.Write(dir, empty.Index))
	var err error
	switch what := what.(type) {
	case v1.Image:
		err = p.AppendImage(what, layout.WithAnnotations(annotations))
	case v1.ImageIndex:
		err = p.AppendIndex(what, layout.WithAnnotations(annotations))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// folderTar packs a folder.
func folderTar(t *testing.T, dir string) archived {
	t.Helper()
	var a archived
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		a.add("./"+filepath.ToSlash(name), content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// multi is an index of two platforms and an attestation.
func multi(t *testing.T) v1.ImageIndex {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}, {OS: "unknown", Architecture: "unknown"}} {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: oci(t, registrytest.Small(t, p.OS+"/"+p.Architecture, 2048, 512)), Descriptor: v1.Descriptor{Platform: &p}})
	}
	return index
}

// oci is an image in OCI's types.
func oci(t *testing.T, image v1.Image) v1.Image {
	t.Helper()
	return mutate.ConfigMediaType(mutate.MediaType(image, types.OCIManifestSchema1), types.OCIConfigJSON)
}

// workspace is a folder with files in it.
func workspace(t *testing.T, files map[string][]byte) *os.Root {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root := must[*os.Root](t)(os.OpenRoot(dir))
	t.Cleanup(func() { root.Close() })
	return root
}

// withLayer is an image of one layer, the same each time.
func withLayer(t *testing.T, layer []byte, kind types.MediaType) v1.Image {
	t.Helper()
	l := must[v1.Layer](t)(tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer)), nil }))
	image := must[v1.Image](t)(mutate.Append(empty.Image, mutate.Addendum{Layer: l, MediaType: kind}))
	config := must[*v1.ConfigFile](t)(image.ConfigFile()).DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	return must[v1.Image](t)(mutate.ConfigFile(image, config))
}

// FuzzArchive holds that whatever stands in an archive is an image or an error.
func FuzzArchive(f *testing.F) {
	t := &testing.T{}
	image := withLayer(t, []byte(strings.Repeat("x", 600)), types.DockerLayer)
	f.Add(savedOld(t, image, "a:b").tar(t))
	f.Add(savedNew(t, image, true, "a:b", "c/d:e").tar(t))
	f.Add(savedNew(t, image, false, "a:b").tar(t))
	client := must[*registry.Client](t)(registry.New(registry.Options{}))
	f.Fuzz(func(t *testing.T, content []byte) {
		x := newFiles("archive", "again")
		if err := x.tar(t.Context(), bytes.NewReader(content), map[string]bool{}, nil); err != nil {
			return
		}
		all, err := x.candidates(t.Context())
		if (err == nil) && len(all) == 0 && x.documents["manifest.json"] == nil {
			t.Error("no image and no error")
		}
		for _, c := range all {
			for _, l := range c.layers {
				if l.file == "" || clean(l.file) != l.file {
					t.Errorf("layer at %q", l.file)
				}
			}
			up := newUploader(&session{publisher: &publisher{client: client}}, nil)
			if d, err := c.content.assemble(t.Context(), up); err == nil && d.root.raw == nil {
				t.Error("an image without a manifest")
			}
		}
	})
}
