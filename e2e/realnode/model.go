package realnode

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Model is what an image of the tests holds, in words such as exit-code: each is
// a label for a simulated node and a variable for the program on a real one (see
// package node). The words foreign, entrypoint and user are facts of the image.
type Model map[string]string

// Image packs the program.
func (m Model) Image(ctx context.Context) (v1.Image, error) {
	content, err := modelProgram(ctx)
	if err != nil {
		return nil, err
	}
	if m["foreign"] == "true" {
		content = bytes.Clone(content)
		// e_machine, at byte 18 of an ELF file: the kernel reads no further.
		binary.LittleEndian.PutUint16(content[18:], uint16(elf.EM_S390))
	}
	config := v1.Config{Entrypoint: []string{"/model"}, User: m["user"], Labels: map[string]string{}}
	if m["entrypoint"] == "none" {
		config.Entrypoint = nil
	}
	for _, word := range slices.Sorted(maps.Keys(m)) {
		config.Labels["model."+word] = m[word]
		config.Env = append(config.Env, "MODEL_"+strings.ToUpper(strings.ReplaceAll(word, "-", "_"))+"="+m[word])
	}
	return packed(content, config)
}

// packed is an image of the program.
func packed(content []byte, config v1.Config) (v1.Image, error) {
	layer, err := programLayer(content)
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = "linux", runtime.GOARCH, config
	return mutate.ConfigFile(image, file)
}

// programLayer holds the program as /model.
func programLayer(content []byte) (v1.Layer, error) {
	var archive bytes.Buffer
	t := tar.NewWriter(&archive)
	if err := t.WriteHeader(&tar.Header{Name: "model", Mode: 0o755, Size: int64(len(content))}); err != nil {
		return nil, err
	}
	if _, err := t.Write(content); err != nil {
		return nil, err
	}
	if err := t.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil })
}

var program struct {
	once    sync.Once
	content []byte
	err     error
}

// modelProgram builds command model, static.
func modelProgram(ctx context.Context) ([]byte, error) {
	program.once.Do(func() {
		dir, err := os.MkdirTemp("", "model")
		if err != nil {
			program.err = err
			return
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "model")
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "github.com/org/deploy-model-action/e2e/cmd/model")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			program.err = fmt.Errorf("build the model: %w: %s", err, out)
			return
		}
		program.content, program.err = os.ReadFile(path)
	})
	return program.content, program.err
}

// writePause writes the image of the container that holds a pod's network.
func writePause(ctx context.Context, path string) error {
	content, err := modelProgram(ctx)
	if err != nil {
		return fmt.Errorf("pause image: %w", err)
	}
	image, err := packed(content, v1.Config{Entrypoint: []string{"/model", "pause"}})
	if err != nil {
		return fmt.Errorf("pause image: %w", err)
	}
	tag, err := name.NewTag(pauseImage)
	if err != nil {
		return fmt.Errorf("pause image: %w", err)
	}
	return tarball.WriteToFile(path, tag, image)
}
