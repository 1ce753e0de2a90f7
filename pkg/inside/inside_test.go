package inside

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestRead(t *testing.T) {
	t.Parallel()
	outside, dir := t.TempDir(), t.TempDir()
	write := func(dir, name string, size int) {
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte("x"), size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(outside, "secret", 6)
	write(dir, "file", 5)
	write(dir, "full", 1<<20)
	write(dir, "large", 1<<20+1)
	for name, to := range map[string]string{"inside": "file", "out": filepath.Join(outside, "secret"), "folders": outside, "dangling": "nothing", "loop": "loop", "device": "/dev/zero"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "folder"), 0o700), syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600)); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	const linked = "leaves the workspace by a symbolic link: put the file itself into the workspace"
	for name, want := range map[string]string{
		"file": "", "inside": "", "folder/../file": "", "full": "",
		"large":          "is larger than 1 MiB: make it smaller, or split it",
		"folder":         "is a folder: name a file",
		"fifo":           "is neither a file nor a folder: name a file",
		"nothing":        "does not exist: name a path inside the workspace, relative to it",
		"file/x":         "does not exist: name a path inside the workspace, relative to it",
		"dangling":       "is a symbolic link to nothing: check where it points",
		"loop":           "cannot be read: too many levels of symbolic links",
		"out":            linked,
		"folders/secret": linked,
		"device":         linked,
		"../secret":      "leaves the workspace: name a path inside it",
		"/etc/passwd":    "leaves the workspace: name a path inside it",
	} {
		data, err := Read(t.Context(), root, name, 1<<20)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want || (err == nil) != (len(data) > 0) {
			t.Errorf("%s: %d bytes, %q, want %q", name, len(data), got, want)
		}
	}
	if _, err := Read(t.Context(), root, "nothing", 1); !errors.Is(err, fs.ErrNotExist) || !Missing(err) {
		t.Errorf("of what is missing: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Read(cancelled, root, "file", 1<<20); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
