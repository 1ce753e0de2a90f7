package publish

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/org/deploy-model-action/pkg/registry"
	"github.com/org/deploy-model-action/pkg/registry/registrytest"
)

// publishing is a world with one registry of Google's, and what is published there.
type publishing struct {
	*registrytest.World
	store  http.Handler
	prefix registry.Prefix
	mu     sync.Mutex
	lines  []string
}

func newPublishing(t *testing.T) *publishing {
	t.Helper()
	p := &publishing{prefix: prefix(t, testHost), World: registrytest.New(t), store: registrytest.Store()}
	p.Host(pkgDev, &registrytest.Door{Behind: p.store, Admit: isGoogleToken, Basic: true})
	return p
}

func (p *publishing) options(root *os.Root, from string) request {
	return request{
		Registry: registry.Options{Tokens: googleSource, Transport: p.Client},
		Options: Options{
			Prefix: p.prefix, From: from, Workspace: root, Tags: []string{"latest"},
			Log: func(format string, args ...any) {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.lines = append(p.lines, fmt.Sprintf(format, args...))
			},
		},
	}
}

// pull gets an image past the door, as a node would with credentials.
func (p *publishing) pull(t *testing.T, reference string) *remote.Descriptor {
	t.Helper()
	w := registrytest.New(t)
	ref := must[name.Reference](t)(name.ParseReference(reference))
	w.Host(ref.Context().RegistryStr(), p.store)
	return must[*remote.Descriptor](t)(remote.Get(ref, remote.WithTransport(w.Client)))
}

// count is how many requests of a method the registry got.
func (p *publishing) count(method, part string) int {
	n := 0
	for _, r := range p.Requests(pkgDev) {
		if strings.HasPrefix(r, method+" ") && strings.Contains(r, part) {
			n++
		}
	}
	return n
}

// diffIDs are what is in an image, whatever it is compressed to.
func diffIDs(t *testing.T, image v1.Image) []v1.Hash {
	t.Helper()
	return must[*v1.ConfigFile](t)(image.ConfigFile()).RootFS.DiffIDs
}

// TestPublishForms publishes each form of archive, twice.
func TestPublishForms(t *testing.T) {
	t.Parallel()
	tag := testImage + ":" + testSHA
	named := map[string]string{annotationRefName: tag}
	twice := func(t *testing.T, image v1.Image) v1.Image { // a layer twice, as Dockerfiles make them
		t.Helper()
		return must[v1.Image](t)(mutate.AppendLayers(image, must[[]v1.Layer](t)(image.Layers())[0]))
	}
	for _, c := range []struct {
		name   string
		write  func(t *testing.T, dir string) any // into dir/image; returns what was written
		exact  bool                               // the digest is kept
		layers int
	}{
		{name: "docker save, old", layers: 2, write: func(t *testing.T, dir string) any {
			t.Helper()
			image := twice(t, registrytest.Small(t, "linux/amd64", 3000, 100_000))
			write(t, dir, savedOld(t, image, testImage+":latest", tag).tar(t))
			return image
		}},
		{name: "docker save, old, gzip", layers: 2, write: func(t *testing.T, dir string) any {
			t.Helper()
			image := twice(t, registrytest.Small(t, "linux/amd64", 3000, 100_000))
			write(t, dir, zip(t, savedOld(t, image, tag).tar(t)))
			return image
		}},
		{name: "docker save, new", layers: 2, write: func(t *testing.T, dir string) any {
			t.Helper()
			image := registrytest.Small(t, "linux/amd64", 3000, 100_000)
			write(t, dir, savedNew(t, image, false, tag, testImage+":latest").tar(t))
			return image
		}},
		{name: "docker save, new, gzip", layers: 2, write: func(t *testing.T, dir string) any {
			t.Helper()
			image := registrytest.Small(t, "linux/amd64", 3000, 100_000)
			write(t, dir, zip(t, savedNew(t, image, false, tag).tar(t)))
			return image
		}},
		{name: "docker save with compressed layers", layers: 2, write: func(t *testing.T, dir string) any {
			t.Helper()
			image := registrytest.Small(t, "linux/amd64", 3000, 100_000)
			write(t, dir, savedNew(t, image, true, tag).tar(t))
			return image
		}},
		{name: "layout, folder", exact: true, layers: 2, write: func(t *testing.T, dir string) any {
			t.Helper()
			image := oci(t, registrytest.Small(t, "linux/amd64", 3000, 100_000))
			ociFolder(t, filepath.Join(dir, "image"), image, named)
			return image
		}},
		{name: "layout, tar", exact: true, layers: 2, write: func(t *testing.T, dir string) any {
			t.Helper()
			image := oci(t, registrytest.Small(t, "linux/amd64", 3000, 100_000))
			folder := t.TempDir()
			ociFolder(t, folder, image, named)
			write(t, dir, folderTar(t, folder).tar(t))
			return image
		}},
		{name: "layout, tar, gzip, without a name", exact: true, layers: 2, write: func(t *testing.T, dir string) any {
			t.Helper()
			image := oci(t, registrytest.Small(t, "linux/amd64", 3000, 100_000))
			folder := t.TempDir()
			ociFolder(t, folder, image, nil)
			write(t, dir, zip(t, folderTar(t, folder).tar(t)))
			return image
		}},
		{name: "layout of several platforms, folder", exact: true, layers: 6, write: func(t *testing.T, dir string) any {
			t.Helper()
			index := multi(t)
			ociFolder(t, filepath.Join(dir, "image"), index, map[string]string{annotationRefName: "latest"})
			return index
		}},
		{name: "layout of several platforms, tar", exact: true, layers: 6, write: func(t *testing.T, dir string) any {
			t.Helper()
			index := multi(t)
			folder := t.TempDir()
			ociFolder(t, folder, index, named)
			write(t, dir, folderTar(t, folder).tar(t))
			return index
		}},
		{name: "layout with layers that are not compressed", exact: true, layers: 1, write: func(t *testing.T, dir string) any {
			t.Helper()
			l := must[v1.Layer](t)(random.Layer(5000, types.OCIUncompressedLayer))
			image := oci(t, must[v1.Image](t)(mutate.AppendLayers(mutate.MediaType(emptyImage(t), types.OCIManifestSchema1), l)))
			folder := t.TempDir()
			ociFolder(t, folder, image, named)
			write(t, dir, folderTar(t, folder).tar(t))
			return image
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			want := c.write(t, dir)
			root := must[*os.Root](t)(os.OpenRoot(dir))
			defer root.Close()
			p := newPublishing(t)
			temp := t.TempDir()
			o := p.options(root, "image")
			o.Temp = temp
			matches := only(t, testImage+":latest", testSHA)

			first, err := run(t.Context(), matches, o)
			if err != nil {
				t.Fatal(err)
			}
			got := first[0]
			if got.Reference != tag || got.Uploaded != c.layers || got.There != 0 || !slices.Equal(got.Tags, []string{"latest"}) || got.Bytes == 0 || len(got.Platforms) == 0 {
				t.Errorf("first: %+v", got)
			}
			d := p.pull(t, tag)
			if d.Digest.String() != got.Digest || p.pull(t, testImage+":latest").Digest != d.Digest {
				t.Errorf("digest is %s, reported %s", d.Digest, got.Digest)
			}
			switch want := want.(type) {
			case v1.ImageIndex:
				if h := must[v1.Hash](t)(want.Digest()); h != d.Digest {
					t.Errorf("digest %s, want %s", d.Digest, h)
				}
				if err := validate.Index(must[v1.ImageIndex](t)(d.ImageIndex())); err != nil {
					t.Error(err)
				}
			case v1.Image:
				image := must[v1.Image](t)(d.Image())
				if err := validate.Image(image); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(diffIDs(t, want), diffIDs(t, image)); diff != "" {
					t.Errorf("layers (-want +got):\n%s", diff)
				}
				if h := must[v1.Hash](t)(want.Digest()); c.exact && h != d.Digest {
					t.Errorf("digest %s, want %s", d.Digest, h)
				}
				if a, b := must[v1.Hash](t)(want.ConfigName()), must[v1.Hash](t)(image.ConfigName()); a != b {
					t.Errorf("configuration %s, want %s", b, a)
				}
			}

			p.Forget()
			again, err := run(t.Context(), matches, o)
			if err != nil {
				t.Fatal(err)
			}
			if got := again[0]; got.Digest != d.Digest.String() || got.Uploaded != 0 || got.Bytes != 0 || got.There == 0 || !slices.Equal(got.Tags, []string{"latest"}) {
				t.Errorf("again: %+v", got)
			}
			for _, method := range []string{http.MethodPost, http.MethodPatch, http.MethodPut} {
				if n := p.count(method, ""); n != 0 {
					t.Errorf("again: %d %s", n, method)
				}
			}
			if left := must[[]os.DirEntry](t)(os.ReadDir(temp)); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestPublishWithoutTemp holds that a folder for temporary files that is not there
// is none: older runners name one that they do not mount.
func TestPublishWithoutTemp(t *testing.T) {
	t.Parallel()
	p := newPublishing(t)
	image := registrytest.Small(t, "linux/amd64", 3000, 100_000)
	o := p.options(workspace(t, map[string][]byte{"image.tar": savedOld(t, image, testImage+":"+testSHA).tar(t)}), "image.tar")
	o.Temp = filepath.Join(t.TempDir(), "home/runner/work/_temp")
	if got, err := run(t.Context(), only(t, testImage, testSHA), o); err != nil || got[0].Uploaded != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}

func emptyImage(t *testing.T) v1.Image {
	t.Helper()
	image := must[v1.Image](t)(random.Image(0, 0))
	config := must[*v1.ConfigFile](t)(image.ConfigFile()).DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	return must[v1.Image](t)(mutate.ConfigFile(image, config))
}

func write(t *testing.T, dir string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "image"), content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestPublishNextCommit holds that of the image of the next commit only the layer
// that changed is sent, and that an unchanged one under a new tag is only tagged.
func TestPublishNextCommit(t *testing.T) {
	t.Parallel()
	p := newPublishing(t)
	base := registrytest.Small(t, "linux/amd64", 3000, 50_000, 2000)
	next := must[v1.Image](t)(mutate.AppendLayers(base, must[v1.Layer](t)(random.Layer(4000, types.DockerLayer))))
	root := workspace(t, map[string][]byte{
		"1": savedNew(t, base, false, testImage+":"+testSHA).tar(t),
		"2": savedOld(t, next, testImage+":latest").tar(t),
		"3": savedOld(t, next, testImage+":third").tar(t),
	})
	if _, err := run(t.Context(), only(t, testImage, testSHA), p.options(root, "1")); err != nil {
		t.Fatal(err)
	}
	p.Forget()
	got, err := run(t.Context(), only(t, testImage, "second"), p.options(root, "2"))
	if err != nil {
		t.Fatal(err)
	}
	if g := got[0]; g.Uploaded != 1 || g.There != 3 {
		t.Errorf("%+v", g)
	}
	if n := p.count(http.MethodPatch, ""); n != 2 { // the layer and the configuration
		t.Errorf("%d blobs sent", n)
	}
	if !slices.Contains(p.lines, "3 of 4 layers need not be read: the registry has them") {
		t.Errorf("layers were compressed in vain: %q", p.lines)
	}
	if err := validate.Image(must[v1.Image](t)(p.pull(t, testImage+":second").Image())); err != nil {
		t.Error(err)
	}
	p.Forget()
	if got, err = run(t.Context(), only(t, testImage, "third"), p.options(root, "3")); err != nil {
		t.Fatal(err)
	}
	if g := got[0]; g.Uploaded != 0 || g.There != 4 || p.count(http.MethodPut, "") != 1 {
		t.Errorf("%+v, %d PUT", g, p.count(http.MethodPut, ""))
	}
}
