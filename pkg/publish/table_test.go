package publish

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/org/deploy-model-action/pkg/registry"
	"github.com/org/deploy-model-action/pkg/registry/registrytest"
)

const (
	tablePlace = "registry.example.com/models"
	tableName  = "classifier"
	tableImage = tablePlace + "/" + tableName
)

// lying is an image as it lies in a source.
type lying struct {
	what  mutate.Appendable // v1.Image or v1.ImageIndex
	names []string          // whole ones
	bare  []string          // only tags
}

// tableForm is a way in which images come.
type tableForm struct {
	name   string
	engine bool
	bare   bool // an image may have only a tag
	index  bool // ours is of two platforms
	local  string
	put    func(t *testing.T, dir string, all []lying) (from, dockerHost string)
}

// tableForms are all of them, with what stands before a short name.
func tableForms() []tableForm {
	file := func(make func(*testing.T, []lying) archived, zipped bool) func(*testing.T, string, []lying) (string, string) {
		return func(t *testing.T, dir string, all []lying) (string, string) {
			t.Helper()
			content := make(t, all).tar(t)
			if zipped {
				content = zip(t, content)
			}
			write(t, dir, content)
			return "image", ""
		}
	}
	newest := func(compressed bool) func(*testing.T, []lying) archived {
		return func(t *testing.T, all []lying) archived { t.Helper(); return layoutWith(t, all, true, compressed) }
	}
	layout := func(t *testing.T, all []lying) archived { t.Helper(); return layoutWith(t, all, false, true) }
	folder := func(t *testing.T, dir string, all []lying) (string, string) {
		t.Helper()
		for _, f := range layout(t, all) {
			path := filepath.Join(dir, "image", f.name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, f.content, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		return "image", ""
	}
	engine := func(make func(*testing.T, []lying) archived, id func(*testing.T, lying) string) func(*testing.T, string, []lying) (string, string) {
		return func(t *testing.T, _ string, all []lying) (string, string) {
			t.Helper()
			return FromDocker, engineWith(t, all, make, id)
		}
	}
	return []tableForm{
		{name: "docker save, before 25", put: file(classicWith, false)},
		{name: "docker save, before 25, gzip", put: file(classicWith, true)},
		{name: "docker save, classic store", put: file(newest(false), false)},
		{name: "docker save, containerd's store", put: file(newest(true), false)},
		{name: "docker save, containerd's store, gzip", put: file(newest(true), true)},
		{name: "podman save, docker-archive", local: "localhost/", put: file(podmanWith, false)},
		{name: "podman save, oci-archive", local: "localhost/", bare: true, put: file(layout, false)},
		{name: "OCI layout, tar", bare: true, put: file(layout, false)},
		{name: "OCI layout, tar, gzip", bare: true, put: file(layout, true)},
		{name: "OCI layout, folder", bare: true, put: folder},
		{name: "OCI layout of two platforms, tar", bare: true, index: true, put: file(layout, false)},
		{name: "OCI layout of two platforms, folder", bare: true, index: true, put: folder},
		{name: "engine, classic store, before 25", engine: true, put: engine(classicWith, configOf)},
		{name: "engine, classic store", engine: true, put: engine(newest(false), configOf)},
		{name: "engine, containerd's store", engine: true, put: engine(newest(true), manifestOf)},
		{name: "engine, containerd's store, two platforms", engine: true, index: true, put: engine(newest(true), manifestOf)},
		{name: "engine, Podman", engine: true, local: "localhost/", put: engine(podmanWith, func(t *testing.T, l lying) string {
			t.Helper()
			return strings.TrimPrefix(configOf(t, l), "sha256:")
		})},
	}
}

// TestTable is what is published, and why, of every form with so many images, by
// the name that ours has there, for what the registry has: a row for each form and
// name, a column for each state. Nothing foreign is ever published, nothing of an
// earlier build, and what is refused moves no tag.
func TestTable(t *testing.T) {
	t.Parallel()
	states := []string{"nothing", "latest is the same", "latest is another", "SHA is the same", "SHA is another"}
	var out strings.Builder
	cells, published, refused := 0, 0, 0
	for _, f := range tableForms() {
		fmt.Fprintf(&out, "## %s\n\n| images | named | %s |\n| --: | :-- %s|\n", f.name, strings.Join(states, " | "), strings.Repeat("| :-- ", len(states)))
		for _, n := range []int{1, 2, 5} {
			for _, named := range []string{"exact", "short", "latest", "bare SHA", "bare latest", "another tag", "another name", "none"} {
				ours := lying{what: tableOwn(t, f.index)}
				switch named {
				case "exact":
					ours.names = []string{tableImage + ":" + testSHA}
				case "short":
					ours.names = []string{f.local + tableName + ":" + testSHA}
				case "latest":
					ours.names = []string{f.local + tableName + ":latest"}
				case "bare SHA":
					ours.bare = []string{testSHA}
				case "bare latest":
					ours.bare = []string{"latest"}
				case "another tag":
					ours.names = []string{f.local + tableName + ":q4vzkxw7"}
				case "another name":
					ours.names = []string{f.local + "acme/trainer:latest"}
				}
				if len(ours.bare) > 0 && !f.bare || named == "none" && f.engine {
					continue // there is no such thing
				}
				// The others come first, and one of them has the tag latest.
				var all []lying
				for i, other := range []string{"redis:latest", "python:" + testSHA, "acme/" + tableName + "-trainer:latest", "ghcr.io/acme/x:latest"}[:n-1] {
					all = append(all, lying{what: tableOther(t, i), names: []string{other}})
				}
				all = append(all, ours)
				dir := t.TempDir()
				from, host := f.put(t, dir, all)
				fmt.Fprintf(&out, "| %d | %s |", n, named)
				for _, state := range states {
					cell := tableCell(t, f, ours, dir, from, host, state)
					if want := tableWant(f, n, named, state); cell != want {
						t.Errorf("%s, %d images, %s, %s: %q, want %q", f.name, n, named, state, cell, want)
					}
					cells++
					if strings.HasPrefix(cell, "**") {
						refused++
					} else {
						published++
					}
					fmt.Fprintf(&out, " %s |", cell)
				}
				out.WriteString("\n")
			}
		}
		out.WriteString("\n")
	}
	fmt.Fprintf(&out, "%d scenes: %d published, all of them ours; %d refused, and no tag was moved.\n", cells, published, refused)
	golden(t, "table.md", out.String())
}

// tableWant is what the rules say, in few words.
func tableWant(f tableForm, n int, named, state string) string {
	var by Match
	switch {
	case named == "exact":
		by = ByName
	case named == "short":
		by = ByShortName
	case named == "latest":
		by = ByShortLatest
	case named == "bare SHA":
		by = ByTag
	case named == "bare latest":
		by = ByBareLatest
	case n == 1 && !f.engine && named != "another name":
		by = ByBeingAlone
	default:
		return "**Nothing to publish**"
	}
	switch {
	case state == "latest is the same" && !by.ofCommit():
		return "**Image of an earlier build**"
	case state == "latest is the same", state == "SHA is the same":
		return by.String() + "; nothing sent"
	}
	return by.String()
}

// tableCell publishes once, into a registry of its own.
func tableCell(t *testing.T, f tableForm, ours lying, dir, from, host, state string) string {
	t.Helper()
	store := registrytest.Store()
	put := func(tag string, what mutate.Appendable) {
		t.Helper()
		if err := remote.Push(must2(t, tableImage+":"+tag), what.(remote.Taggable), directly(store)); err != nil {
			t.Fatal(err)
		}
	}
	another := tableOther(t, 9)
	if f.index {
		// What is below an index is not the index.
		another = must[v1.Image](t)(ours.what.(v1.ImageIndex).Image(firstOf(t, ours.what)))
	}
	switch state {
	case "latest is the same":
		put("latest", ours.what)
	case "latest is another":
		put("latest", another)
	case "SHA is the same":
		put(testSHA, ours.what)
	case "SHA is another":
		put(testSHA, another)
	}
	before := tableTags(t, store)
	root := must[*os.Root](t)(os.OpenRoot(dir))
	defer root.Close()
	var puts atomic.Int32
	counting := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/blobs/") {
			puts.Add(1)
		}
		store.ServeHTTP(w, r)
	})
	got, err := run(t.Context(), only(t, tableImage, testSHA), request{
		Registry: registry.Options{Transport: &registrytest.Outage{Behind: counting}},
		Options:  Options{Prefix: prefix(t, tablePlace), From: from, Workspace: root, DockerHost: host, Tags: []string{"latest"}, Temp: t.TempDir()},
	})
	after := tableTags(t, store)
	if err != nil {
		var titled interface{ Title() string }
		if !errors.As(err, &titled) {
			t.Errorf("%s, %s: %v", f.name, state, err)
			return err.Error()
		}
		if !maps.Equal(before, after) {
			t.Errorf("%s, %s: refused (%v), and tags were moved: %v, %v", f.name, state, err, before, after)
		}
		return "**" + titled.Title() + "**"
	}
	if after[testSHA] != got[0].Digest || after["latest"] != got[0].Digest {
		t.Errorf("%s, %s: %v, published %s", f.name, state, after, got[0].Digest)
	}
	if !tableSame(t, store, ours.what) {
		t.Errorf("%s, %s: FOREIGN image published: %+v", f.name, state, got[0])
	}
	cell := got[0].Match.String()
	if puts.Load() == 0 {
		cell += "; nothing sent"
	}
	return cell
}

// tableSame reports whether the tag of the commit is the image, or the whole index.
func tableSame(t *testing.T, store http.Handler, ours mutate.Appendable) bool {
	t.Helper()
	d := must[*remote.Descriptor](t)(remote.Get(must2(t, tableImage+":"+testSHA), directly(store)))
	if index, ok := ours.(v1.ImageIndex); ok {
		return d.Digest == must[v1.Hash](t)(index.Digest())
	}
	return must[v1.Hash](t)(must[v1.Image](t)(d.Image()).ConfigName()) == must[v1.Hash](t)(ours.(v1.Image).ConfigName())
}

func tableTags(t *testing.T, store http.Handler) map[string]string {
	t.Helper()
	tags := map[string]string{}
	for _, tag := range []string{testSHA, "latest"} {
		if d, err := remote.Get(must2(t, tableImage+":"+tag), directly(store)); err == nil {
			tags[tag] = d.Digest.String()
		}
	}
	return tags
}

// directly reaches a registry without a network, for a thousand scenes.
func directly(store http.Handler) remote.Option {
	return remote.WithTransport(&registrytest.Outage{Behind: store})
}

// tableOwn is our image, the same each time.
func tableOwn(t *testing.T, index bool) mutate.Appendable {
	t.Helper()
	own := oci(t, emptyImageWith(t, "ours"))
	if !index {
		return own
	}
	all := mutate.IndexMediaType(mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add: own, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}},
	}, mutate.IndexAddendum{
		Add: oci(t, emptyImageWith(t, "ours, on another platform")), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}},
	}), types.OCIImageIndex)
	return all
}

func tableOther(t *testing.T, i int) v1.Image {
	t.Helper()
	return oci(t, emptyImageWith(t, fmt.Sprintf("somebody else's %d", i)))
}

func firstOf(t *testing.T, index mutate.Appendable) v1.Hash {
	t.Helper()
	return must[*v1.IndexManifest](t)(index.(v1.ImageIndex).IndexManifest()).Manifests[0].Digest
}

// classicWith is what `docker save` wrote before version 25.
func classicWith(t *testing.T, all []lying) archived {
	t.Helper()
	var a archived
	for i, l := range all {
		one := savedOld(t, l.what.(v1.Image), l.names...)
		if i == 0 {
			a = one
		} else {
			a = mergeAs(t, a, one, i)
		}
	}
	return a
}

// podmanWith is what `podman save` writes as docker-archive: files without folders.
func podmanWith(t *testing.T, all []lying) archived {
	t.Helper()
	var a archived
	var entries []any
	for _, l := range all {
		image := l.what.(v1.Image)
		config := must[[]byte](t)(image.RawConfigFile())
		var files []string
		for _, layer := range must[[]v1.Layer](t)(image.Layers()) {
			file := must[v1.Hash](t)(layer.DiffID()).Hex + ".tar"
			a.add(file, read(t, layer.Uncompressed))
			files = append(files, file)
		}
		a.add(hashName(t, config).Hex+".json", config)
		entries = append(entries, map[string]any{"Config": hashName(t, config).Hex + ".json", "RepoTags": l.names, "Layers": files})
	}
	a.json(t, "manifest.json", entries)
	return a
}

// layoutWith is an OCI layout; docker adds its own manifest.json, and both of its
// ways to name an image.
func layoutWith(t *testing.T, all []lying, docker, compressed bool) archived {
	t.Helper()
	blobs := map[string][]byte{}
	add := func(content []byte) v1.Hash {
		h := hashName(t, content)
		blobs["blobs/sha256/"+h.Hex] = content
		return h
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	var entries []any
	image := func(image v1.Image, names []string) v1.Descriptor {
		m := *must[*v1.Manifest](t)(image.Manifest())
		raw := must[[]byte](t)(image.RawManifest())
		add(must[[]byte](t)(image.RawConfigFile()))
		var files []string
		for i, l := range must[[]v1.Layer](t)(image.Layers()) {
			content := read(t, l.Compressed)
			if !compressed {
				content = read(t, l.Uncompressed)
				m.Layers = slices.Clone(m.Layers)
				m.Layers[i].MediaType, m.Layers[i].Size, m.Layers[i].Digest = types.OCIUncompressedLayer, int64(len(content)), hashName(t, content)
			}
			files = append(files, "blobs/sha256/"+add(content).Hex)
		}
		if !compressed {
			raw = must[[]byte](t)(json.Marshal(m))
		}
		entries = append(entries, map[string]any{"Config": "blobs/sha256/" + m.Config.Digest.Hex, "RepoTags": names, "Layers": files})
		return v1.Descriptor{MediaType: m.MediaType, Size: int64(len(raw)), Digest: add(raw)}
	}
	for _, l := range all {
		var d v1.Descriptor
		switch what := l.what.(type) {
		case v1.Image:
			d = image(what, l.names)
		case v1.ImageIndex:
			for _, child := range must[*v1.IndexManifest](t)(what.IndexManifest()).Manifests {
				image(must[v1.Image](t)(what.Image(child.Digest)), l.names)
			}
			raw := must[[]byte](t)(what.RawManifest())
			d = v1.Descriptor{MediaType: types.OCIImageIndex, Size: int64(len(raw)), Digest: add(raw)}
		}
		for _, n := range l.names {
			d.Annotations = map[string]string{annotationRefName: n}
			if docker {
				d.Annotations = map[string]string{annotationContainerd: parseFullName(n).written, annotationRefName: n[strings.LastIndex(n, ":")+1:]}
			}
			index.Manifests = append(index.Manifests, d)
		}
		for _, tag := range l.bare {
			d.Annotations = map[string]string{annotationRefName: tag}
			index.Manifests = append(index.Manifests, d)
		}
		if len(l.names)+len(l.bare) == 0 {
			index.Manifests = append(index.Manifests, d)
		}
	}
	var a archived
	for _, n := range slices.Sorted(maps.Keys(blobs)) {
		a.add(n, blobs[n])
	}
	a.json(t, "index.json", index)
	if docker {
		a.json(t, "manifest.json", entries)
	}
	a.add("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return a
}

// engineWith is an engine that has the images, and exports one at a time.
func engineWith(t *testing.T, all []lying, export func(*testing.T, []lying) archived, id func(*testing.T, lying) string) string {
	t.Helper()
	var list []any
	byName, exports := map[string]any{}, map[string][]byte{}
	for _, l := range all {
		list = append(list, map[string]any{"Id": id(t, l), "RepoTags": l.names})
		image, ok := l.what.(v1.Image)
		if !ok {
			image = must[v1.Image](t)(l.what.(v1.ImageIndex).Image(firstOf(t, l.what)))
		}
		config := must[*v1.ConfigFile](t)(image.ConfigFile())
		for _, n := range l.names {
			byName["/images/"+n+"/json"] = map[string]any{
				"Id": id(t, l), "Os": config.OS, "Architecture": config.Architecture, "Config": config.Config, "RootFS": map[string]any{"Layers": config.RootFS.DiffIDs},
			}
			exports[n] = export(t, []lying{l}).tar(t)
		}
	}
	return listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var answer any = list
		switch {
		case r.URL.Path == "/images/get" && exports[r.URL.Query().Get("names")] != nil:
			_, _ = bytes.NewReader(exports[r.URL.Query().Get("names")]).WriteTo(w)
			return
		case byName[r.URL.Path] != nil:
			answer = byName[r.URL.Path]
		case r.URL.Path != "/images/json":
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
}

func configOf(t *testing.T, l lying) string {
	t.Helper()
	return must[v1.Hash](t)(l.what.(v1.Image).ConfigName()).String()
}

func manifestOf(t *testing.T, l lying) string {
	t.Helper()
	return must[v1.Hash](t)(l.what.(interface{ Digest() (v1.Hash, error) }).Digest()).String()
}
