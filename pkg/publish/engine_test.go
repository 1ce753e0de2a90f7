package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/org/deploy-model-action/pkg/registry/registrytest"
)

// docker runs the command, or skips the test where no engine answers.
func docker(t *testing.T, stdin io.Reader, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "docker", args...)
	command.Stdin = stdin
	var errs bytes.Buffer
	command.Stderr = &errs
	out, err := command.Output()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, &errs)
	}
	return strings.TrimSpace(string(out))
}

func needDocker(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("docker"); err != nil {
		t.Skip("the docker command is not installed, so that no image can be made in an engine")
	}
	e, err := openEngine(t.Context(), Options{})
	if err != nil {
		t.Skipf("no Docker engine answers: %v", err)
	}
	e.close()
}

// TestPublishFromDocker publishes what a real engine has, as the seed's workflow
// leaves it there, and lets the engine pull it again.
func TestPublishFromDocker(t *testing.T) {
	t.Parallel()
	needDocker(t)
	// The engine takes registries on this machine without TLS.
	server := httptest.NewServer(registrytest.Store())
	defer server.Close()
	place := strings.TrimPrefix(server.URL, "http://") + "/models"
	image := place + "/celestial-bodies-classifier"

	dir := t.TempDir()
	for _, n := range []string{"a", "b"} {
		content := make([]byte, 300_000)
		for i := range content {
			content[i] = byte(rand.N(64))
		}
		if err := os.WriteFile(filepath.Join(dir, n), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dockerfile := "FROM scratch\nCOPY a /a\nCOPY b /b\nCOPY a /c\nCMD [\"/a\"]\n"
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o644); err != nil {
		t.Fatal(err)
	}
	// bentoml containerize celestial_bodies_classifier:latest --image-tag … --image-tag …
	docker(t, nil, "build", "--quiet", "--tag", image+":latest", "--tag", image+":"+testSHA, dir)
	t.Cleanup(func() { docker(t, nil, "rmi", "--force", image+":latest", image+":"+testSHA) })
	id := docker(t, nil, "inspect", "--format", "{{.Id}}", image+":latest")

	var lines []string
	o := request{
		Options: Options{
			Prefix: prefix(t, place), From: FromDocker, Tags: []string{"latest"}, Temp: t.TempDir(),
			Log: func(f string, a ...any) { lines = append(lines, fmt.Sprintf(f, a...)) },
		},
	}
	o.Registry.Parallel = 1 // of goroutines that write lines
	matches := only(t, image+":latest", testSHA)
	first, err := run(t.Context(), matches, o)
	if err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(lines, "\n"))
	}
	sent := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return !strings.HasPrefix(l, "Layer ") })
	if len(sent) != 3 { // as many as are counted
		t.Errorf("sent %q", sent)
	}
	if g := first[0]; g.Uploaded != 3 || g.There != 0 || !slices.Equal(g.Tags, []string{"latest"}) || !slices.Equal(g.Platforms, []string{"linux/amd64"}) {
		t.Errorf("%+v", g)
	}
	published, err := remote.Image(must2(t, image+":"+testSHA))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(published); err != nil {
		t.Error(err)
	}
	if name := must[v1.Hash](t)(published.ConfigName()); name.String() != id {
		t.Errorf("the registry has %s, the engine %s", name, id)
	}

	again, err := run(t.Context(), matches, o)
	if err != nil {
		t.Fatal(err)
	}
	if g := again[0]; g.Uploaded != 0 || g.There != 3 || g.Bytes != 0 || g.Digest != first[0].Digest {
		t.Errorf("again: %+v", g)
	}

	docker(t, nil, "rmi", "--force", image+":latest", image+":"+testSHA)
	for _, tag := range []string{testSHA, "latest"} {
		docker(t, nil, "pull", "--quiet", image+":"+tag)
		if d := docker(t, nil, "inspect", "--format", "{{index .RepoDigests 0}}", image+":"+tag); d != image+"@"+first[0].Digest {
			t.Errorf("pulled %s, published %s", d, first[0].Digest)
		}
		if pulled := docker(t, nil, "inspect", "--format", "{{.Id}}", image+":"+tag); pulled != id {
			t.Errorf("pulled %s, built %s", pulled, id)
		}
	}

	// The next commit changes the last layer only.
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile+"COPY Dockerfile /d\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	docker(t, nil, "build", "--quiet", "--tag", "celestial-bodies-classifier:next", dir)
	t.Cleanup(func() { docker(t, nil, "rmi", "--force", "celestial-bodies-classifier:next") })
	third, err := run(t.Context(), only(t, image, "next"), o)
	if err != nil {
		t.Fatal(err)
	}
	if g := third[0]; g.Uploaded != 1 || g.There != 3 {
		t.Errorf("next: %+v", g)
	}
}

// TestDockerSave holds the archive forms of the tests to what a real engine writes.
func TestDockerSave(t *testing.T) {
	t.Parallel()
	needDocker(t)
	layer := must[[]byte](t)(io.ReadAll(bytes.NewReader(archivedFile(t))))
	id := docker(t, bytes.NewReader(layer), "import", "-", "deploy-model-action-save/celestial-bodies-classifier:test")
	t.Cleanup(func() { docker(t, nil, "rmi", "--force", "deploy-model-action-save/celestial-bodies-classifier:test") })
	dir := t.TempDir()
	for name, zipped := range map[string]bool{"image.tar": false, "image.tar.gz": true} {
		docker(t, nil, "save", "--output", filepath.Join(dir, name), "deploy-model-action-save/celestial-bodies-classifier:test")
		if zipped {
			content := must[[]byte](t)(os.ReadFile(filepath.Join(dir, name)))
			if err := os.WriteFile(filepath.Join(dir, name), zip(t, content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		root := must[*os.Root](t)(os.OpenRoot(dir))
		defer root.Close()
		p := newPublishing(t)
		got, err := run(t.Context(), only(t, testImage, testSHA), p.options(root, name))
		if err != nil {
			t.Fatal(err)
		}
		image := must[v1.Image](t)(p.pull(t, got[0].Reference).Image())
		if err := validate.Image(image); err != nil {
			t.Error(err)
		}
		if n := must[v1.Hash](t)(image.ConfigName()); n.String() != id {
			t.Errorf("%s: published %s, the engine has %s", name, n, id)
		}
	}
}

func archivedFile(t *testing.T) []byte {
	t.Helper()
	var a archived
	a.add("file", bytes.Repeat([]byte("x"), 100_000))
	return a.tar(t)
}

// newer answers as an engine does that cannot be had here: version 25 and later,
// with its classic store or containerd's. What it exports is in their form.
func newer(t *testing.T, image v1.Image, containerd bool, names ...string) string {
	t.Helper()
	export := savedNew(t, image, containerd, names...).tar(t)
	config := must[*v1.ConfigFile](t)(image.ConfigFile())
	id := must[v1.Hash](t)(image.ConfigName()).String()
	if containerd {
		id = "" // that of the manifest
		files := newFiles("x", "y")
		if err := files.tar(t.Context(), bytes.NewReader(export), map[string]bool{}, nil); err != nil {
			t.Fatal(err)
		}
		id = v1.Hash(must[[]*candidate](t)(files.candidates(t.Context()))[0].id.manifest).String()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/images/json", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode([]any{map[string]any{"Id": "sha256:00", "RepoTags": []string{"<none>:<none>"}}, map[string]any{"Id": id, "RepoTags": names}, map[string]any{"Id": "sha256:11", "RepoTags": nil}})
	})
	mux.HandleFunc("/images/", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"Id": id, "Os": config.OS, "Architecture": config.Architecture, "RootFS": map[string]any{"Layers": config.RootFS.DiffIDs}})
	})
	mux.HandleFunc("/images/get", func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(names, r.URL.Query().Get("names")) {
			http.Error(w, `{"message":"reference does not exist"}`, http.StatusNotFound)
			return
		}
		_, _ = w.Write(export)
	})
	return listen(t, mux)
}

// listen serves on a socket, and returns its address.
func listen(t *testing.T, h http.Handler) string {
	t.Helper()
	dir := t.TempDir()
	l := must[net.Listener](t)(net.Listen("unix", filepath.Join(dir, "s")))
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: h, ReadHeaderTimeout: time.Second}}
	server.Start()
	t.Cleanup(server.Close)
	return "unix://" + filepath.Join(dir, "s")
}

func TestPublishFromNewerDocker(t *testing.T) {
	t.Parallel()
	for name, containerd := range map[string]bool{"classic store": false, "containerd's store": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPublishing(t)
			image := registrytest.Small(t, "linux/arm64", 3000, 100_000)
			o := p.options(nil, FromDocker)
			o.DockerHost = newer(t, image, containerd, testImage+":latest", testImage+":"+testSHA)
			first, err := run(t.Context(), only(t, testImage, testSHA), o)
			if err != nil {
				t.Fatal(err)
			}
			if g := first[0]; g.Uploaded != 2 || !slices.Equal(g.Platforms, []string{"linux/arm64"}) {
				t.Errorf("%+v", g)
			}
			d := p.pull(t, testImage+":latest")
			published := must[v1.Image](t)(d.Image())
			if err := validate.Image(published); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(diffIDs(t, image), diffIDs(t, published)); diff != "" {
				t.Errorf("layers (-want +got):\n%s", diff)
			}
			if kind := map[bool]types.MediaType{false: types.DockerManifestSchema2, true: types.OCIManifestSchema1}[containerd]; d.MediaType != kind {
				t.Errorf("type %s, want %s", d.MediaType, kind)
			}
			p.Forget()
			again, err := run(t.Context(), only(t, testImage, testSHA), o)
			if err != nil {
				t.Fatal(err)
			}
			if g := again[0]; g.Uploaded != 0 || g.Digest != first[0].Digest || p.count(http.MethodPut, "")+p.count(http.MethodPost, "") != 0 {
				t.Errorf("again: %+v", g)
			}
		})
	}
}
