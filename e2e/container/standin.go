package container

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// certificates is where Debian, and most others, keep the bundle.
const certificates = "/etc/ssl/certs/ca-certificates.crt"

// baseStandIn is distroless static in all that the action can notice:
// certificates, a user database and /tmp.
func baseStandIn(_ context.Context, w io.Writer) error {
	t := tar.NewWriter(w)
	if err := skeleton(t); err != nil {
		return err
	}
	return t.Close()
}

// buildStandIn is a Go toolchain with a shell: Go's programs are static, so
// they need no libc, and busybox is all that RUN needs.
func buildStandIn(ctx context.Context, w io.Writer) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("stand-in for the build image: %w; install busybox-static", err)
	}
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	t := tar.NewWriter(w)
	if err := skeleton(t); err != nil {
		return err
	}
	if err := file(t, busybox, "bin/busybox", 0o755); err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/sh", Linkname: "busybox", Mode: 0o777}); err != nil {
		return err
	}
	if err := tree(t, strings.TrimSpace(string(goroot)), "usr/local/go"); err != nil {
		return err
	}
	return t.Close()
}

func skeleton(t *tar.Writer) error {
	for _, dir := range []string{"tmp/", "etc/", "etc/ssl/", "etc/ssl/certs/", "bin/", "root/"} {
		mode := int64(0o755)
		if dir == "tmp/" {
			mode = 0o1777
		}
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: mode}); err != nil {
			return err
		}
	}
	for name, content := range map[string]string{
		"etc/passwd":        "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n",
		"etc/group":         "root:x:0:\nnobody:x:65534:\n",
		"etc/nsswitch.conf": "hosts: files dns\n",
	} {
		if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			return err
		}
		if _, err := io.WriteString(t, content); err != nil {
			return err
		}
	}
	return file(t, certificates, strings.TrimPrefix(certificates, "/"), 0o644)
}

func file(t *tar.Writer, from, name string, mode int64) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}

// tree copies a Go installation without what no build reads.
func tree(t *tar.Writer, from, name string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch relative {
		case "test", "api", "doc", "misc":
			return fs.SkipDir
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		target := filepath.ToSlash(filepath.Join(name, relative))
		switch {
		case d.IsDir():
			return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: target + "/", Mode: 0o755})
		case info.Mode().IsRegular():
			return file(t, path, target, int64(info.Mode().Perm()))
		}
		return nil
	})
}
