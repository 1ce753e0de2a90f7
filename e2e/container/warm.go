package container

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Where the stand-in for the build image has Go's caches.
const (
	goPath     = "/go"
	moduleFile = "go/pkg/mod/cache/download"
	buildFile  = "root/.cache/go-build"
)

// warm adds what the action's build would download and compile first: the
// modules, and the packages as this machine has compiled them. It saves minutes
// for each change of the code, and what is missing is only made anew.
func warm(ctx context.Context, t *tar.Writer, root string) error {
	if err := modules(ctx, t, root); err != nil {
		return fmt.Errorf("modules: %w", err)
	}
	if err := packages(ctx, t, root); err != nil {
		return fmt.Errorf("compiled packages: %w", err)
	}
	return nil
}

// modules copies the part of the module cache that go mod download fills.
func modules(ctx context.Context, t *tar.Writer, root string) error {
	cache, err := goCommand(ctx, root, "env", "GOMODCACHE")
	if err != nil {
		return err
	}
	downloads := filepath.Join(strings.TrimSpace(string(cache)), "cache", "download")
	out, err := goCommand(ctx, root, "mod", "download", "-json")
	if err != nil {
		return err
	}
	for list := json.NewDecoder(bytes.NewReader(out)); ; {
		var module struct{ Info, GoMod, Zip string }
		if err := list.Decode(&module); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		for _, name := range []string{module.Info, module.GoMod, module.Zip, strings.TrimSuffix(module.Zip, ".zip") + ".ziphash"} {
			relative, err := filepath.Rel(downloads, name)
			if err != nil {
				return err
			}
			if err := file(t, name, path.Join(moduleFile, filepath.ToSlash(relative)), 0o644); err != nil {
				return err
			}
		}
	}
}

// packages copies the entries of the build cache that the Dockerfile's command
// will ask for. An entry is a file that is named by the hash of what went in,
// whose first half stands in the package's build ID, and leads to the file with
// what came out.
func packages(ctx context.Context, t *tar.Writer, root string) error {
	env, err := goCommand(ctx, root, "env", "GOCACHE")
	if err != nil {
		return err
	}
	cache := strings.TrimSpace(string(env))
	out, err := goCommand(ctx, root, "list", "-export", "-deps", "-trimpath", "-ldflags=-s -w", "-f", "{{.BuildID}} {{.Export}}", ".")
	if err != nil {
		return err
	}
	var copied []string
	for line := range strings.Lines(string(out)) {
		id, export, _ := strings.Cut(strings.TrimSpace(line), " ")
		action, _, _ := strings.Cut(id, "/")
		key, err := base64.RawURLEncoding.DecodeString(action)
		if err != nil || len(key) == 0 || export == "" {
			continue // package unsafe
		}
		prefix := hex.EncodeToString(key)
		entries, err := filepath.Glob(filepath.Join(cache, prefix[:2], prefix+"*-a"))
		if err != nil {
			return err
		}
		for _, name := range append(entries, export) {
			relative, err := filepath.Rel(cache, name)
			if err != nil {
				return err
			}
			if slices.Contains(copied, relative) {
				continue
			}
			copied = append(copied, relative)
			if err := file(t, name, path.Join(buildFile, filepath.ToSlash(relative)), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// goCommand runs go in the action's module, for a build like the Dockerfile's.
func goCommand(ctx context.Context, root string, args ...string) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stderr = root, &stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w: %s", args[0], err, stderr.Bytes())
	}
	return out, nil
}
