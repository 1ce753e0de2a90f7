package container

import (
	"archive/tar"
	"context"
	"crypto/sha256"
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

// standInLabel tells a stand-in from the image whose name it has; its value is
// what it was made from.
const standInLabel = "deploy-model-action.stand-in"

// state is what a stand-in depends on.
func (b base) state(ctx context.Context) (string, error) {
	const layout = "2" // of what is below
	if !b.build {
		return layout, nil
	}
	version, err := goCommand(ctx, b.root, "env", "GOVERSION")
	if err != nil {
		return "", err
	}
	sums, err := os.ReadFile(filepath.Join(b.root, "go.sum"))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s-%x", layout, sha256.Sum256(append(version, sums...)))[:24], nil
}

// standIn writes the image's files. The one that is shipped is distroless static
// in all that the action can notice: certificates, a user database and /tmp. The
// one that builds is a Go toolchain with a shell: Go's programs are static, so
// they need no libc, and busybox is all that RUN needs.
func (b base) standIn(ctx context.Context, w io.Writer) error {
	t := tar.NewWriter(w)
	if err := skeleton(t); err != nil {
		return err
	}
	if !b.build {
		return t.Close()
	}
	if err := shell(t, "sh"); err != nil {
		return err
	}
	root, err := goCommand(ctx, b.root, "env", "GOROOT")
	if err != nil {
		return err
	}
	if err := tree(t, strings.TrimSpace(string(root)), "usr/local/go"); err != nil {
		return err
	}
	if err := warm(ctx, t, b.root); err != nil {
		return err
	}
	return t.Close()
}

// Shell makes an image of busybox under the name, for jobs whose steps are shell
// commands.
func Shell(ctx context.Context, name string, log io.Writer) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("image %q: %w; install busybox-static", name, err)
	}
	applets, err := exec.CommandContext(ctx, busybox, "--list").Output()
	if err != nil {
		return fmt.Errorf("image %q: %w", name, err)
	}
	read, write := io.Pipe()
	go func() {
		t := tar.NewWriter(write)
		err := skeleton(t)
		if err == nil {
			err = shell(t, strings.Fields(string(applets))...)
		}
		if err == nil {
			err = t.Close()
		}
		write.CloseWithError(err)
	}()
	return docker(ctx, read, log, "import", "--change", "ENV PATH=/bin", "-", name)
}

// shell adds busybox, under the names of some of its applets.
func shell(t *tar.Writer, applets ...string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("%w; install busybox-static", err)
	}
	if err := file(t, busybox, "bin/busybox", 0o755); err != nil {
		return err
	}
	for _, name := range applets {
		if name == "busybox" {
			continue
		}
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "busybox", Mode: 0o777}); err != nil {
			return err
		}
	}
	return nil
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
