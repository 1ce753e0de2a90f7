package publish

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/org/deploy-model-action/pkg/registry"
	"github.com/org/deploy-model-action/pkg/registry/registrytest"
)

// contradicted is an image whose configuration says something else of its layer than
// what is in it. A node would refuse to unpack it.
func contradicted(t *testing.T, image v1.Image) v1.Image {
	t.Helper()
	config := must[*v1.ConfigFile](t)(image.ConfigFile()).DeepCopy()
	config.RootFS.DiffIDs[0] = hashName(t, []byte("something else"))
	return must[v1.Image](t)(mutate.ConfigFile(image, config))
}

// zstandardized is an image of a layer that is compressed by zstd.
func zstandardized(t *testing.T, diffID v1.Hash, content []byte) v1.Image {
	t.Helper()
	var packed bytes.Buffer
	w := must[*zstd.Encoder](t)(zstd.NewWriter(&packed))
	if _, err := w.Write(content); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	image := must[v1.Image](t)(mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), mutate.Addendum{Layer: static.NewLayer(packed.Bytes(), types.OCILayerZStd), MediaType: types.OCILayerZStd}))
	config := must[*v1.ConfigFile](t)(image.ConfigFile()).DeepCopy()
	config.OS, config.Architecture, config.RootFS.DiffIDs = "linux", "amd64", []v1.Hash{diffID}
	return must[v1.Image](t)(mutate.ConfigFile(mutate.ConfigMediaType(image, types.OCIConfigJSON), config))
}

// TestContradiction holds that a layer that is not what the configuration says moves
// no tag, in whatever form it comes, and whether or not the registry has it already.
func TestContradiction(t *testing.T) {
	t.Parallel()
	honest := oci(t, emptyImageWith(t, "ours"))
	content := bytes.Repeat([]byte("x"), 50_000)
	layer := hashName(t, content)
	packed := zip(t, content)
	name := []string{tableImage + ":" + testSHA}
	type scene struct {
		form   string
		put    func(t *testing.T, dir string, all []lying) (string, string)
		lies   v1.Image
		honest v1.Image
	}
	var scenes []scene
	for _, f := range tableForms() {
		if !f.index {
			scenes = append(scenes, scene{f.name, f.put, contradicted(t, honest), honest})
		}
	}
	whole := func(t *testing.T, dir string, all []lying) (string, string) {
		t.Helper()
		write(t, dir, layoutRaw(t, all[0].what.(v1.Image), name[0]).tar(t))
		return "image", ""
	}
	scenes = append(
		scenes,
		scene{"OCI layout, zstd", whole, zstandardized(t, hashName(t, []byte("x")), content), zstandardized(t, layer, content)},
		scene{"docker-archive with a compressed layer", func(t *testing.T, dir string, all []lying) (string, string) {
			t.Helper()
			a := savedOld(t, all[0].what.(v1.Image), name...)
			for i := range a {
				if strings.HasSuffix(a[i].name, "layer.tar") {
					a[i].content = zip(t, a[i].content)
				}
			}
			write(t, dir, a.tar(t))
			return "image", ""
		}, contradicted(t, honest), honest},
		scene{"OCI layout, a layer that is cut off", func(t *testing.T, dir string, all []lying) (string, string) {
			t.Helper()
			write(t, dir, layoutRaw(t, all[0].what.(v1.Image), name[0]).tar(t))
			return "image", ""
		}, cutOff(t, packed[:len(packed)-20], layer), cutOff(t, packed, layer)},
	)
	for _, s := range scenes {
		for _, has := range []string{"nothing", "its layers", "an image with its layers"} {
			if has == "an image with its layers" && must[v1.Hash](t)(s.lies.ConfigName()) == must[v1.Hash](t)(s.honest.ConfigName()) {
				continue // it is the same image, and the one that is there gets the tag
			}
			t.Run(s.form+", "+has, func(t *testing.T) {
				t.Parallel()
				store := registrytest.Store()
				for _, there := range map[string][]v1.Image{"nothing": nil, "its layers": {s.lies}, "an image with its layers": {s.honest}}[has] {
					tag := map[bool]string{true: "latest", false: "another"}[there == s.honest]
					if err := remote.Write(must2(t, tableImage+":"+tag), there, directly(store)); err != nil {
						t.Fatal(err)
					}
				}
				publish := func(image v1.Image) ([]Published, error) {
					dir := t.TempDir()
					from, host := s.put(t, dir, []lying{{what: image, names: name}})
					root := must[*os.Root](t)(os.OpenRoot(dir))
					defer root.Close()
					return run(t.Context(), only(t, tableImage, testSHA), request{
						Registry: registry.Options{Transport: &registrytest.Outage{Behind: store}},
						Options:  Options{Prefix: prefix(t, tablePlace), From: from, Workspace: root, DockerHost: host, Tags: []string{"latest"}, Temp: dir},
					})
				}
				before := tableTags(t, store)
				got, err := publish(s.lies)
				if err == nil || !strings.Contains(err.Error(), "is not the one that the configuration names") && !strings.Contains(err.Error(), "cannot be decompressed") {
					t.Errorf("%+v, %v", got, err)
				}
				if after := tableTags(t, store); !maps.Equal(before, after) {
					t.Errorf("tags were moved: %v, %v", before, after)
				}
				if got, err := publish(s.honest); err != nil || got[0].Digest == "" {
					t.Errorf("the image that does not lie: %+v, %v", got, err)
				}
			})
		}
	}
}

// cutOff is an image of a layer as it is.
func cutOff(t *testing.T, packed []byte, diffID v1.Hash) v1.Image {
	t.Helper()
	image := must[v1.Image](t)(mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), mutate.Addendum{Layer: static.NewLayer(packed, types.OCILayer), MediaType: types.OCILayer}))
	config := must[*v1.ConfigFile](t)(image.ConfigFile()).DeepCopy()
	config.OS, config.Architecture, config.RootFS.DiffIDs = "linux", "amd64", []v1.Hash{diffID}
	return must[v1.Image](t)(mutate.ConfigFile(mutate.ConfigMediaType(image, types.OCIConfigJSON), config))
}

// layoutRaw is an OCI layout of an image, with its layers as they are.
func layoutRaw(t *testing.T, image v1.Image, name string) archived {
	t.Helper()
	var a archived
	add := func(content []byte) { a.add("blobs/sha256/"+hashName(t, content).Hex, content) }
	for _, l := range must[[]v1.Layer](t)(image.Layers()) {
		add(read(t, l.Compressed))
	}
	add(must[[]byte](t)(image.RawConfigFile()))
	raw := must[[]byte](t)(image.RawManifest())
	add(raw)
	a.json(t, "index.json", v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{{
		MediaType: types.OCIManifestSchema1, Size: int64(len(raw)), Digest: hashName(t, raw), Annotations: map[string]string{annotationRefName: name},
	}}})
	return a
}

// TestContentOf holds that what is in a layer is found whatever it is compressed by.
func TestContentOf(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("layer"), 300_000)
	want := hashName(t, content).String()
	var z bytes.Buffer
	w := must[*zstd.Encoder](t)(zstd.NewWriter(&z))
	if _, err := w.Write(content); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		packed []byte
		want   string
	}{
		"not compressed": {content, want}, "gzip": {zip(t, content), want}, "two gzip files": {append(zip(t, content[:500_000]), zip(t, content[500_000:])...), want},
		"zstd": {z.Bytes(), want}, "empty": {nil, hashName(t, nil).String()}, "cut off": {zip(t, content)[:1000], ""}, "zstd, cut off": {z.Bytes()[:z.Len()/2], ""},
	} {
		got, err := contentOf(t.Context(), io.MultiReader(bytes.NewReader(c.packed)))
		if got != c.want || (err == nil) != (c.want != "") || errors.Is(err, io.EOF) {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
		}
	}
}
