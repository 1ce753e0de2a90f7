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
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/org/deploy-model-action/pkg/registry/registrytest"
)

// TestPublishMounts holds that what one image has brought is taken over by the next.
func TestPublishMounts(t *testing.T) {
	t.Parallel()
	p := newPublishing(t)
	// go-containerregistry's registry keeps all blobs in one place; this one asks
	// for them to be taken over, as real ones do.
	owned := map[string]bool{}
	var mu sync.Mutex
	p.Host(pkgDev, &registrytest.Door{Admit: isGoogleToken, Basic: true, Behind: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		repo, rest, _ := strings.Cut(r.URL.Path, "/blobs/")
		switch digest, from := r.URL.Query().Get("mount"), r.URL.Query().Get("from"); {
		case r.Method == http.MethodHead && rest != "" && !owned[repo+rest]:
			w.WriteHeader(http.StatusNotFound)
			return
		case digest != "" && owned["/v2/"+from+digest]:
			owned[repo+digest] = true
			w.WriteHeader(http.StatusCreated)
			return
		case r.Method == http.MethodPut && rest != "":
			owned[repo+r.URL.Query().Get("digest")] = true
		}
		p.store.ServeHTTP(w, r)
	})})
	a := registrytest.Small(t, "linux/amd64", 3000, 50_000)
	b := must[v1.Image](t)(mutate.AppendLayers(a, must[v1.Layer](t)(random.Layer(4000, types.DockerLayer))))
	both := savedOld(t, a, testHost+"/a:latest")
	second := savedOld(t, b, "b:"+testSHA)
	both = merge(t, both, second)
	root := workspace(t, map[string][]byte{"image.tar": both.tar(t)})
	matches := append(only(t, testHost+"/a", testSHA), only(t, testHost+"/b:v1", testSHA)...)
	got, err := run(t.Context(), matches, p.options(root, "image.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Uploaded != 2 || got[1].Uploaded != 1 || got[1].Mounted != 2 {
		t.Errorf("%+v", got)
	}
	if !slices.Contains(p.lines, "2 of 3 layers need not be read: the registry has them") {
		t.Errorf("layers were compressed in vain: %q", p.lines)
	}
	for _, n := range []string{"a", "b"} {
		if err := validate.Image(must[v1.Image](t)(p.pull(t, testHost+"/"+n+":"+testSHA).Image())); err != nil {
			t.Error(err)
		}
	}
}

// TestPublishMountRefused holds that no upload is left open where a registry does not
// take a layer over, as it begins one then.
func TestPublishMountRefused(t *testing.T) {
	t.Parallel()
	p := newPublishing(t)
	var mu sync.Mutex
	begun, ended, owned := 0, 0, map[string]bool{}
	p.Host(pkgDev, &registrytest.Door{Admit: isGoogleToken, Basic: true, Behind: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		repo, rest, _ := strings.Cut(r.URL.Path, "/blobs/")
		switch {
		case r.Method == http.MethodHead && rest != "" && !owned[repo+rest]:
			w.WriteHeader(http.StatusNotFound)
			return
		case r.Method == http.MethodPost:
			begun++
			r.URL.RawQuery = "" // it is not taken over
		case r.Method == http.MethodDelete:
			ended++
			w.WriteHeader(http.StatusNoContent)
			return
		case r.Method == http.MethodPut && rest != "":
			ended++
			owned[repo+r.URL.Query().Get("digest")] = true
		}
		p.store.ServeHTTP(w, r)
	})})
	a := registrytest.Small(t, "linux/amd64", 3000, 50_000)
	b := must[v1.Image](t)(mutate.AppendLayers(a, must[v1.Layer](t)(random.Layer(4000, types.DockerLayer))))
	both := merge(t, savedOld(t, a, testHost+"/a:latest"), savedOld(t, b, "b:"+testSHA))
	root := workspace(t, map[string][]byte{"image.tar": both.tar(t)})
	got, err := run(t.Context(), append(only(t, testHost+"/a", testSHA), only(t, testHost+"/b:v1", testSHA)...), p.options(root, "image.tar"))
	if err != nil || got[1].Mounted != 0 || got[1].Uploaded != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	if begun != ended {
		t.Errorf("%d uploads begun, %d ended", begun, ended)
	}
}

// merge makes one archive of two.
func merge(t *testing.T, a, b archived) archived {
	t.Helper()
	var both archived
	var entries []string
	for i, from := range []archived{a, b} {
		for _, f := range from {
			switch f.name {
			case "manifest.json":
				m := strings.Trim(string(f.content), "[]")
				entries = append(entries, strings.ReplaceAll(m, "/layer.tar", fmt.Sprintf("-%d/layer.tar", i)))
			case "repositories":
			default:
				f.name = strings.Replace(f.name, "/", fmt.Sprintf("-%d/", i), 1)
				both = append(both, f)
			}
		}
	}
	both.add("manifest.json", []byte("["+strings.Join(entries, ",")+"]"))
	return both
}

// TestPublishChooses shows which image of an archive is published.
func TestPublishChooses(t *testing.T) {
	t.Parallel()
	full := testImage + ":" + testSHA
	for _, c := range []struct {
		name string
		tags []string // one image each
		want int
	}{
		{"by full name and sha", []string{"celestial-bodies-classifier:latest", testImage + ":latest", full}, 2},
		{"by full name", []string{"celestial-bodies-classifier:latest", testImage + ":latest"}, 1},
		{"by sha, before any latest", []string{testImage + ":latest", "celestial-bodies-classifier:" + testSHA}, 1},
		{"by short name and sha", []string{"celestial-bodies-classifier:latest", "celestial-bodies-classifier:" + testSHA}, 1},
		{"by short name", []string{"other:latest", "celestial-bodies-classifier:latest"}, 1},
		{"by short name with its host", []string{"other:latest", "docker.io/library/celestial-bodies-classifier:latest"}, 1},
		{"the only one", []string{"celestial_bodies_classifier:q4vzkxw7dk6mmlg6"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPublishing(t)
			var all archived
			var images []v1.Image
			for i, tag := range c.tags {
				image := registrytest.Small(t, "linux/amd64")
				images = append(images, image)
				if i == 0 {
					all = savedOld(t, image, tag)
				} else {
					all = mergeAs(t, all, savedOld(t, image, tag), i)
				}
			}
			root := workspace(t, map[string][]byte{"image.tar": all.tar(t)})
			got, err := run(t.Context(), only(t, testImage, testSHA), p.options(root, "image.tar"))
			if err != nil {
				t.Fatal(err)
			}
			published := must[v1.Image](t)(p.pull(t, got[0].Reference).Image())
			if diff := cmp.Diff(diffIDs(t, images[c.want]), diffIDs(t, published)); diff != "" {
				t.Errorf("published %s", got[0].Source)
			}
		})
	}
}

// mergeAs adds an archive to one.
func mergeAs(t *testing.T, a, b archived, i int) archived {
	t.Helper()
	var both archived
	var first string
	for _, f := range a {
		if f.name == "manifest.json" {
			first = strings.Trim(string(f.content), "[]")
			continue
		}
		both = append(both, f)
	}
	for _, f := range b {
		switch f.name {
		case "manifest.json":
			m := strings.ReplaceAll(strings.Trim(string(f.content), "[]"), "/layer.tar", fmt.Sprintf("-%d/layer.tar", i))
			both.add("manifest.json", []byte("["+first+","+m+"]"))
		case "repositories":
		default:
			f.name = strings.Replace(f.name, "/", fmt.Sprintf("-%d/", i), 1)
			both = append(both, f)
		}
	}
	return both
}

// TestPublishPartialIndex holds that an index of which an engine has only some
// platforms is published with these.
func TestPublishPartialIndex(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		without []int // children whose manifest is not there
		layers  []int // children whose layers are not there
		want    []string
	}{
		{"one of two", []int{1, 2}, nil, []string{"linux/amd64"}},
		{"two of two, without attestation", []int{2}, nil, []string{"linux/amd64", "linux/arm64"}},
		{"one without layers", nil, []int{1}, []string{"linux/amd64"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPublishing(t)
			index := multi(t)
			folder := t.TempDir()
			ociFolder(t, folder, index, nil)
			children := must[*v1.IndexManifest](t)(index.IndexManifest()).Manifests
			for _, i := range c.without {
				if err := os.Remove(filepath.Join(folder, "blobs", "sha256", children[i].Digest.Hex)); err != nil {
					t.Fatal(err)
				}
			}
			for _, i := range c.layers {
				image := must[v1.Image](t)(index.Image(children[i].Digest))
				layer := must[v1.Hash](t)(must[[]v1.Layer](t)(image.Layers())[0].Digest())
				if err := os.Remove(filepath.Join(folder, "blobs", "sha256", layer.Hex)); err != nil {
					t.Fatal(err)
				}
			}
			root := workspace(t, map[string][]byte{"image.tar": folderTar(t, folder).tar(t)})
			got, err := run(t.Context(), only(t, testImage, testSHA), p.options(root, "image.tar"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got[0].Platforms); diff != "" {
				t.Errorf("platforms (-want +got):\n%s", diff)
			}
			if d := p.pull(t, testImage+":"+testSHA); d.Digest.String() != got[0].Digest {
				t.Errorf("%s is there, not %s", d.Digest, got[0].Digest)
			}
		})
	}
}
