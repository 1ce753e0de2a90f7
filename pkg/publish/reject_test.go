package publish

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/org/deploy-model-action/pkg/registry"
	"github.com/org/deploy-model-action/pkg/registry/registrytest"
)

// TestPublishRejected shows each refusal of a registry as a user sees it.
func TestPublishRejected(t *testing.T) {
	t.Parallel()
	refuse := func(method, part string, status int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != method || !strings.Contains(r.URL.Path, part) {
				return false
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	said := func(code, message string) string {
		b, _ := json.Marshal(map[string]any{"errors": []any{map[string]string{"code": code, "message": message}}})
		return string(b)
	}
	const (
		upload = `Permission "artifactregistry.repositories.uploadArtifacts" denied on resource "projects/my-project/locations/europe-west6/repositories/models" (or it may not exist)`
		google = "europe-west6-docker.pkg.dev/my-project/models"
		harbor = "harbor.example.com/models"
	)
	var out strings.Builder
	for _, c := range []struct {
		name, place string
		extra       func(http.ResponseWriter, *http.Request) bool
		options     func(*request)
		kind        any
		digest      bool // that of the match is published
	}{
		{name: "Artifact Registry, without the writer's role", place: google, extra: refuse("POST", "/uploads/", 403, said("DENIED", upload)), kind: new(*registry.Error)},
		{name: "Artifact Registry, not even reading", place: google, extra: func(w http.ResponseWriter, r *http.Request) bool {
			return refuse(r.Method, "", 403, said("DENIED", upload))(w, r)
		}, kind: new(*registry.Error)},
		{name: "a registry that refuses where there is nothing", place: "ghcr.io/acme", extra: func(w http.ResponseWriter, r *http.Request) bool {
			return (r.Method == http.MethodGet || r.Method == http.MethodHead) && refuse(r.Method, "/x/", 403, said("DENIED", "denied"))(w, r) || refuse("PUT", "/manifests/latest", 400, said("MANIFEST_INVALID", "manifest invalid"))(w, r)
		}, digest: true},
		{name: "gcr.io, without the writer's role", place: "gcr.io/my-project", extra: refuse("POST", "/uploads/", 403, said("DENIED", upload)), kind: new(*registry.Error)},
		{name: "gcr.io, the first image of a host", place: "gcr.io/my-project", extra: refuse("POST", "/uploads/", 403, said("DENIED", "gcr.io repo does not exist. Creating on push requires the artifactregistry.repositories.createOnPush permission")), kind: new(*registry.Error)},
		{name: "Artifact Registry, API disabled", place: google, extra: refuse("POST", "/uploads/", 403, said("DENIED", "Artifact Registry API has not been used in project my-project before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/artifactregistry.googleapis.com/overview?project=my-project then retry.")), kind: new(*registry.Error)},
		{name: "Artifact Registry, no repository", place: google, extra: refuse("POST", "/uploads/", 404, said("NAME_UNKNOWN", `Repository "models" not found`)), kind: new(*NoRepositoryError)},
		{name: "other registry, no repository", place: harbor, extra: refuse("POST", "/uploads/", 404, said("NOT_FOUND", "project models not found")), kind: new(*NoRepositoryError)},
		{name: "Artifact Registry, immutable tag", place: google, extra: refuse("PUT", "/manifests/"+testSHA, 400, said("MANIFEST_INVALID", "cannot update tag "+testSHA+". The repository has enabled tag immutability")), kind: new(*ImmutableTagError)},
		{name: "Artifact Registry, immutable further tag", place: google, extra: refuse("PUT", "/manifests/latest", 400, said("MANIFEST_INVALID", "cannot update tag latest. The repository has enabled tag immutability")), kind: new(*ImmutableTagError), digest: true},
		{name: "ECR, immutable tag", place: "1234.dkr.ecr.eu-central-1.amazonaws.com", extra: refuse("PUT", "/manifests/"+testSHA, 400, said("TAG_INVALID", "The image tag 'x' already exists in the 'x' repository and cannot be overwritten because the repository is immutable.")), kind: new(*ImmutableTagError)},
		{name: "Harbor, immutable tag", place: harbor, extra: refuse("PUT", "/manifests/latest", 412, said("PRECONDITION", "Failed to process request due to 'x:latest' configured as immutable.")), kind: new(*ImmutableTagError), digest: true},
		{name: "Harbor, full", place: harbor, extra: refuse("PUT", "/blobs/uploads/", 403, said("DENIED", "adding 29.0 MiB of storage resource, which when updated to current usage of 152.4 MiB will exceed the configured upper limit of 10.0 MiB.")), kind: new(*QuotaError)},
		{name: "Google, too many requests", place: google, extra: refuse("PATCH", "/blobs/uploads/", 429, said("TOOMANYREQUESTS", "Quota exceeded for quota metric 'Requests per project per region' and limit 'Requests per project per region per minute per region'.")), kind: new(*QuotaError)},
		{name: "too large for a proxy", place: harbor, extra: refuse("PATCH", "/blobs/uploads/", 413, "<html>413 Request Entity Too Large</html>")},
		{name: "nobody may write", place: harbor, extra: refuse("POST", "/uploads/", 401, said("UNAUTHORIZED", "unauthorized to access repository")), kind: new(*registry.Error)},
		{name: "GitHub's registry without login", place: "ghcr.io/acme", extra: refuse("POST", "/uploads/", 403, said("DENIED", "permission_denied: write_package")), kind: new(*registry.Error)},
		{name: "this user may not write", place: "ghcr.io/acme", extra: refuse("POST", "/uploads/", 403, said("DENIED", "permission_denied: write_package")), options: func(o *request) { o.Registry.Username, o.Registry.Password = "user", "password" }, kind: new(*registry.Error)},
		{name: "no location", place: harbor, extra: refuse("POST", "/uploads/", 202, "")},
		{name: "broken on a layer", place: harbor, extra: refuse("PUT", "/blobs/uploads/", 400, said("DIGEST_INVALID", "provided digest did not match uploaded content"))},
		{name: "down while a layer is sent", place: harbor, extra: refuse("PATCH", "/blobs/uploads/", 503, ""), options: func(o *request) { o.Registry.RetryFor = time.Second }},
	} {
		w := registrytest.New(t)
		shelf := registrytest.Store()
		host, _, _ := strings.Cut(c.place, "/")
		w.Host(host, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if !c.extra(rw, r) {
				shelf.ServeHTTP(rw, r)
			}
		}))
		before := emptyImage(t)
		registrytest.Put(t, shelf, c.place+"/x:"+testSHA, before)
		registrytest.Put(t, shelf, c.place+"/x:latest", before)
		built := savedOld(t, emptyImageWith(t, "x"), c.place+"/x:latest")
		o := request{
			Registry: registry.Options{Transport: w.Client, Tokens: googleSource, Principal: "deployer@my-project.iam.gserviceaccount.com"},
			Options: Options{
				Prefix: prefix(t, c.place), From: "image.tar", Workspace: workspace(t, map[string][]byte{"image.tar": built.tar(t)}), Tags: []string{"latest"},
			},
		}
		if c.options != nil {
			c.options(&o)
		}
		got, err := run(t.Context(), only(t, c.place+"/x", testSHA), o)
		if err == nil {
			t.Errorf("%s: no error, but %+v", c.name, got)
			continue
		}
		if c.kind != nil && !errors.As(err, c.kind) {
			t.Errorf("%s: %T %v", c.name, err, err)
		}
		if len(got) != 1 || (got[0].Digest != "") != c.digest {
			t.Errorf("%s: published %+v", c.name, got)
		}
		fmt.Fprintf(&out, "%s:\n  %s\n", c.name, strings.ReplaceAll(err.Error(), "\n", "\n  "))
	}
	golden(t, "rejected.golden", out.String())
}

// TestPublishMistakes shows what is wrong with inputs, archives and engines, as a
// user sees it.
func TestPublishMistakes(t *testing.T) {
	t.Parallel()
	image := emptyImageWith(t, "a layer")
	saved := savedOld(t, image, "celestial_bodies_classifier:q4vzkxw7dk6mmlg6")
	modern := savedNew(t, oci(t, image), true, "celestial_bodies_classifier:latest")
	folder := t.TempDir()
	ociFolder(t, folder, oci(t, image), nil)
	packed := folderTar(t, folder)
	with := func(a archived, change func(name string, content []byte) (string, []byte)) []byte {
		var b archived
		for _, f := range a {
			name, content := change(f.name, f.content)
			if name == "" {
				continue
			}
			if f.link != "" {
				b.link(name, f.link)
			} else {
				b.add(name, content)
			}
		}
		return b.tar(t)
	}
	replace := func(file, old, new string) func(string, []byte) (string, []byte) {
		return func(name string, content []byte) (string, []byte) {
			if strings.HasSuffix(name, file) {
				content = bytes.ReplaceAll(content, []byte(old), []byte(new))
			}
			return name, content
		}
	}
	without := func(part string) func(string, []byte) (string, []byte) {
		return func(name string, content []byte) (string, []byte) {
			if strings.Contains(name, part) {
				return "", nil
			}
			return name, content
		}
	}
	manifestOf := must[v1.Hash](t)(oci(t, image).Digest())
	layerOf := must[v1.Hash](t)(must[[]v1.Layer](t)(image.Layers())[0].Digest())
	full := saved.tar(t)
	linked := func(to string) []byte {
		var a archived
		for _, f := range saved {
			if strings.HasSuffix(f.name, "layer.tar") {
				a.link(f.name, to)
				continue
			}
			a.add(f.name, f.content)
		}
		return a.tar(t)
	}
	root := workspace(t, map[string][]byte{
		"image.tar":     full,
		"another.tar":   savedOld(t, image, "redis:latest").tar(t),
		"half.tar":      full[:len(full)/2],
		"half.tar.gz":   zip(t, full)[:300],
		"in-header.tar": full[:700],
		"empty.tar":     nil,
		"text.tar":      []byte(strings.Repeat("not a tar file at all\n", 100)),
		"image.zip":     []byte("PK\x03\x04 and so on"),
		"image.tar.zst": {0x28, 0xb5, 0x2f, 0xfd, 0, 0},
		"gzip-only":     {0x1f, 0x8b, 0},
		"other.tar":     archivedFile(t),
		"traversal.tar": with(saved, replace("manifest.json", "/layer.tar", "/../../../etc/passwd")),
		"config.tar":    with(saved, replace("manifest.json", `"Config":"`, `"Config":"../../../../etc/`)),
		"loop.tar":      linked("layer.tar"),
		"out.tar":       linked("../../../../etc/passwd"),
		"json.tar":      with(saved, replace("manifest.json", "[", "{")),
		"no-layer.tar":  with(saved, without("layer.tar")),
		"swapped.tar":   with(saved, func(n string, c []byte) (string, []byte) { return n, swap(n, "layer.tar", c, archivedFile(t)) }),
		"few.tar":       with(saved, replace("manifest.json", `"Layers":[`, `"Layers":["x",`)),
		"huge.tar": with(saved, func(n string, c []byte) (string, []byte) {
			return n, swap(n, "manifest.json", c, append([]byte("["), bytes.Repeat([]byte(" "), 9<<20)...))
		}),
		"oci-swapped.tar": with(modern, func(n string, c []byte) (string, []byte) { return n, swap(n, layerOf.Hex, c, zip(t, archivedFile(t))) }),
		"oci-lacks.tar":   with(packed, without(manifestOf.Hex)),
		"oci-layer.tar":   with(packed, without(layerOf.Hex)),
		"oci-forged.tar":  with(packed, replace(manifestOf.Hex, "sha256", "sha512")),
		"oci-json.tar":    with(packed, replace("index.json", "manifests", "manifests\":[{}],\"x")),
		"layout/x":        nil,
	})
	if err := os.Symlink("/etc", filepath.Join(root.Name(), "etc")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(root.Name(), "dangling")); err != nil {
		t.Fatal(err)
	}
	nobody := "unix://" + filepath.Join(t.TempDir(), "docker.sock")
	stopped := filepath.Join(t.TempDir(), "docker.sock")
	if err := os.Mkdir(stopped, 0o755); err != nil { // what Docker makes of a mount that is not there
		t.Fatal(err)
	}
	has := listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `[{"Id":"sha256:1","RepoTags":["python:3.13","celestial_bodies_classifier:q4vzkxw7dk6mmlg6"]}]`)
	}))
	none := listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `[]`) }))
	breaks := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/images/json":
			_, _ = io.WriteString(w, `[{"Id":"sha256:1","RepoTags":["celestial-bodies-classifier:latest"]}]`)
		case "/images/get":
			_, _ = w.Write(full[:len(full)/2])
		default:
			_, _ = io.WriteString(w, `{}`)
		}
	}))
	refuses := listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"message":"client version 1.24 is too old"}`, http.StatusBadRequest)
	}))
	page := listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `<html>`) }))

	var out strings.Builder
	for _, c := range []struct {
		name, from string
		change     func(*request, *[]name.Tag)
	}{
		{name: "path does not exist", from: "nothing.tar"},
		{name: "path leaves", from: "../image.tar"},
		{name: "path is absolute", from: "/image.tar"},
		{name: "path is a URL", from: "https://example.com/image.tar"},
		{name: "path leaves by a link", from: "etc/hostname"},
		{name: "path is a link to nothing", from: "dangling"},
		{name: "ends in the middle", from: "half.tar"},
		{name: "ends in the middle, gzip", from: "half.tar.gz"},
		{name: "ends in a header", from: "in-header.tar"},
		{name: "empty", from: "empty.tar"},
		{name: "not a tar", from: "text.tar"},
		{name: "zip", from: "image.zip"},
		{name: "zstd", from: "image.tar.zst"},
		{name: "gzip without content", from: "gzip-only"},
		{name: "tar of something else", from: "other.tar"},
		{name: "folder of something else", from: "layout"},
		{name: "layer outside", from: "traversal.tar"},
		{name: "configuration outside", from: "config.tar"},
		{name: "link to itself", from: "loop.tar"},
		{name: "link outside", from: "out.tar"},
		{name: "manifest is not JSON", from: "json.tar"},
		{name: "huge manifest", from: "huge.tar"},
		{name: "no layer", from: "no-layer.tar"},
		{name: "another layer", from: "swapped.tar"},
		{name: "more layers than in the configuration", from: "few.tar"},
		{name: "layout, another layer", from: "oci-swapped.tar"},
		{name: "layout, no manifest", from: "oci-lacks.tar"},
		{name: "layout, no layer", from: "oci-layer.tar"},
		{name: "layout, forged manifest", from: "oci-forged.tar"},
		{name: "layout, index that is none", from: "oci-json.tar"},
		{name: "the only image is another one", from: "another.tar"},
		{name: "tag that is none", from: "image.tar", change: func(o *request, _ *[]name.Tag) { o.Tags = []string{"latest", "feature/x"} }},
		{name: "two images, none of them there", from: "image.tar", change: func(_ *request, m *[]name.Tag) { *m = append(*m, only(t, testHost+"/b", testSHA)...) }},
		{name: "all images elsewhere", from: "image.tar", change: func(_ *request, m *[]name.Tag) { *m = only(t, "ghcr.io/acme/x", testSHA) }},
		{name: "no workspace", from: "image.tar", change: func(o *request, _ *[]name.Tag) { o.Workspace = nil }},
		{name: "no engine", from: FromDocker, change: func(o *request, _ *[]name.Tag) { o.DockerHost = nobody }},
		{name: "no engine, but a folder in its place", from: FromDocker, change: func(o *request, _ *[]name.Tag) { o.DockerHost = "unix://" + stopped }},
		{name: "engine by SSH", from: FromDocker, change: func(o *request, _ *[]name.Tag) { o.DockerHost = "ssh://host" }},
		{name: "engine refuses", from: FromDocker, change: func(o *request, _ *[]name.Tag) { o.DockerHost = refuses }},
		{name: "engine is none", from: FromDocker, change: func(o *request, _ *[]name.Tag) { o.DockerHost = page }},
		{name: "engine has another image", from: FromDocker, change: func(o *request, _ *[]name.Tag) { o.DockerHost = has }},
		{name: "engine has no image", from: FromDocker, change: func(o *request, _ *[]name.Tag) { o.DockerHost = none }},
		{name: "engine breaks", from: FromDocker, change: func(o *request, _ *[]name.Tag) { o.DockerHost = breaks }},
	} {
		p := newPublishing(t)
		o := p.options(root, c.from)
		matches := only(t, testImage, testSHA)
		if c.change != nil {
			c.change(&o, &matches)
		}
		got, err := run(t.Context(), matches, o)
		if err == nil {
			t.Errorf("%s: no error, but %+v", c.name, got)
			continue
		}
		if n := p.count(http.MethodPut, "/manifests/"); n > 0 {
			t.Errorf("%s: %d manifests were put", c.name, n)
		}
		text := strings.NewReplacer(nobody, "unix:///SOCKET", strings.TrimPrefix(nobody, "unix://"), "/SOCKET", stopped, "/SOCKET",
			has, "unix:///SOCKET", refuses, "unix:///SOCKET", page, "unix:///SOCKET", breaks, "unix:///SOCKET").Replace(err.Error())
		fmt.Fprintf(&out, "%s:\n  %s\n", c.name, strings.ReplaceAll(text, "\n", "\n  "))
	}
	golden(t, "publish.golden", out.String())
}

func swap(name, file string, content, other []byte) []byte {
	if strings.HasSuffix(name, file) {
		return other
	}
	return content
}

// emptyImageWith is the same image each time, for the golden files.
func emptyImageWith(t *testing.T, text string) v1.Image {
	t.Helper()
	var a archived
	a.add("file", bytes.Repeat([]byte(text), 2000))
	return withLayer(t, a.tar(t), types.DockerLayer)
}
