package publish

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/org/deploy-model-action/pkg/registry"
	"github.com/org/deploy-model-action/pkg/registry/registrytest"
)

// endless is what takes minutes to decompress: a gzip file of many, 50 GB of zeros.
func endless(t *testing.T) []byte {
	t.Helper()
	var one bytes.Buffer
	w := must[*gzip.Writer](t)(gzip.NewWriterLevel(&one, gzip.BestSpeed))
	zeros := make([]byte, 1<<20)
	for range 128 {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return bytes.Repeat(one.Bytes(), 400)
}

// sized is a tar file's beginning: the header of a file of so many bytes.
func sized(t *testing.T, name string, size int64) []byte {
	t.Helper()
	var a archived
	a.add(name, nil)
	header := a.tar(t)[:512]
	copy(header[124:136], fmt.Sprintf("%011o\x00", size))
	copy(header[148:156], "        ")
	sum := 0
	for _, b := range header {
		sum += int(b)
	}
	copy(header[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return header
}

// TestCancelArchive cancels in every phase of reading an archive, each of which would
// take minutes: it ends at once, and as what it is.
func TestCancelArchive(t *testing.T) {
	t.Parallel()
	long := endless(t)
	layer := cutOff(t, long, hashName(t, []byte("what is in it")))
	full := layoutRaw(t, layer, tableImage+":"+testSHA)
	var zipOfLong bytes.Buffer
	w := gzip.NewWriter(&zipOfLong)
	if _, err := w.Write(sized(t, "x", 7<<30)); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		"looking for manifests, gzip":   append(zipOfLong.Bytes(), long...),
		"looking into a layer":          full.tar(t),
		"looking into a layer, folder/": nil,
	}
	for _, f := range full {
		files["looking into a layer, folder/"+f.name] = f.content
	}
	delete(files, "looking into a layer, folder/")
	// A layer that is not compressed, of 7 GB that take no space: compressing takes long.
	config := []byte(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:` + strings.Repeat("0", 64) + `"]}}`)
	var before archived
	before.add("c.json", config)
	before.json(t, "manifest.json", []any{map[string]any{"Config": "c.json", "RepoTags": []string{tableImage + ":" + testSHA}, "Layers": []string{"layer.tar"}}})
	start := before.tar(t)
	files["compressing a layer"] = append(start[:len(start)-1024], sized(t, "layer.tar", 7<<30)...)
	root := workspace(t, files)
	if err := os.Truncate(filepath.Join(root.Name(), "compressing a layer"), int64(len(files["compressing a layer"]))+7<<30+1024); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"looking for manifests, gzip", "looking into a layer", "looking into a layer, folder", "compressing a layer"} {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			time.AfterFunc(time.Second, cancel)
			started := time.Now()
			got, err := run(ctx, only(t, tableImage, testSHA), request{
				Registry: registry.Options{Transport: &registrytest.Outage{Behind: registrytest.Store()}},
				Options:  Options{Prefix: prefix(t, tablePlace), From: from, Workspace: root, Temp: t.TempDir()},
			})
			if !errors.Is(err, context.Canceled) || time.Since(started) > 15*time.Second {
				t.Errorf("after %v: %+v, %v", time.Since(started), got, err)
			}
			t.Logf("ended %v after the cancel", time.Since(started)-time.Second)
		})
	}
}

// TestNested holds that indexes of many indexes that name the same ones are gone
// through once, and that a configuration that is named again and again is given up.
func TestNested(t *testing.T) {
	t.Parallel()
	digests := map[string]v1.Descriptor{}
	var a archived
	put := func(name string, index v1.IndexManifest) {
		index.SchemaVersion, index.MediaType = 2, types.OCIImageIndex
		raw := must[[]byte](t)(json.Marshal(index))
		digests[name] = v1.Descriptor{MediaType: types.OCIImageIndex, Size: int64(len(raw)), Digest: hashName(t, raw)}
		a.add("blobs/sha256/"+hashName(t, raw).Hex, raw)
	}
	many := func(d v1.Descriptor) (all v1.IndexManifest) {
		for range 10_000 {
			all.Manifests = append(all.Manifests, d)
		}
		return all
	}
	put("lowest", many(v1.Descriptor{MediaType: types.OCIManifestSchema1, Size: 1, Digest: hashName(t, nil)}))
	put("middle", many(digests["lowest"]))
	put("top", many(digests["middle"]))
	a.json(t, "index.json", v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{digests["top"]}})
	var again archived
	var entries []any
	for range 50_000 {
		entries = append(entries, map[string]any{"Config": "c.json", "Layers": []string{}, "RepoTags": []string{"a:b"}})
	}
	again.add("c.json", append([]byte(`{"os":"linux"}`), bytes.Repeat([]byte(" "), 1<<20)...))
	again.json(t, "manifest.json", entries)
	files := map[string][]byte{"nested": a.tar(t), "again": again.tar(t)}
	for _, f := range a {
		files["folder/"+f.name] = f.content
	}
	root := workspace(t, files)
	for name, want := range map[string]string{"nested": "it lacks", "folder": "it lacks", "again": "nested too deep, or hold too much"} {
		if _, err := openArchive(t.Context(), root, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// TestNoFile holds that nothing waits for what is neither a file nor a folder.
func TestNoFile(t *testing.T) {
	t.Parallel()
	image := oci(t, registrytest.Small(t, "linux/amd64"))
	whole := layoutRaw(t, image, tableImage+":"+testSHA)
	files := map[string][]byte{}
	for _, n := range []string{"index", "blob"} {
		for _, f := range whole {
			files[n+"/"+f.name] = f.content
		}
	}
	root := workspace(t, files)
	fifo := func(name string) {
		t.Helper()
		name = filepath.Join(root.Name(), name)
		_ = os.Remove(name)
		if err := syscall.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fifo("fifo")
	fifo("index/index.json")
	fifo("blob/" + whole[0].name)
	if err := os.Symlink("/dev/zero", filepath.Join(root.Name(), "device")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"fifo": "neither a file nor a folder", "index": "is neither a file nor a folder", "blob": "it lacks", "device": "leaves the workspace by a symbolic link",
	} {
		got, err := run(t.Context(), only(t, tableImage, testSHA), request{
			Registry: registry.Options{Transport: &registrytest.Outage{Behind: http.NotFoundHandler()}},
			Options:  Options{Prefix: prefix(t, tablePlace), From: name, Workspace: root, Temp: t.TempDir()},
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v, want %q", name, got, err, want)
		}
	}
}
