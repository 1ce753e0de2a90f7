package publish

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// archive is an image in a file or folder of the workspace.
type archive struct {
	*files
	file   *os.File // nil for a folder
	images []*candidate
}

func (a *archive) String() string           { return a.label }
func (a *archive) candidates() []*candidate { return a.images }

func (a *archive) close() {
	if a.file != nil {
		a.file.Close()
	}
}

// openArchive opens an archive inside the workspace, and reads what images it
// holds.
func openArchive(ctx context.Context, root *os.Root, name string) (*archive, error) {
	wrong := func(problem string) (*archive, error) {
		return nil, fmt.Errorf("input push %q: %s", name, problem)
	}
	local := filepath.ToSlash(name)
	switch {
	case strings.Contains(name, "://"):
		return wrong("a URL, and archives are read from the workspace; download it in an earlier step")
	case path.IsAbs(local):
		return wrong("an absolute path; name it relative to the workspace, or write docker for the runner's engine")
	case !filepath.IsLocal(name):
		return wrong("leaves the workspace by \"..\"; name a path inside the workspace")
	}
	info, err := root.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		if _, err := root.Lstat(name); err == nil {
			return wrong(problem(fs.ErrNotExist))
		}
		return wrong("does not exist in the workspace; write docker for the runner's engine, or the path that an earlier step wrote the image to")
	case err != nil:
		return wrong(problem(err))
	}
	a := &archive{files: newFiles(fmt.Sprintf("archive %q", name), "write it again in the earlier step")}
	switch {
	case info.IsDir():
		a.folder(root, name)
	case info.Mode().IsRegular():
		if a.file, err = root.Open(name); err != nil {
			return wrong(problem(err))
		}
		err = a.scan(ctx)
	default:
		return wrong("neither a file nor a folder; name the file or folder that an earlier step wrote the image to")
	}
	if err == nil {
		a.images, err = a.files.candidates()
	}
	if err != nil {
		a.close()
		return nil, fmt.Errorf("input push: %w", err)
	}
	return a, nil
}

// scan reads a tar file, gzipped or not, for what images it holds. The layers are
// read later, those that are needed.
func (a *archive) scan(ctx context.Context) error {
	start := make([]byte, 4)
	n, err := a.file.ReadAt(start, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch magic := start[:n]; {
	case compression(magic) == gzipped:
		a.again = a.gunzip
	case compression(magic) == zstandard:
		a.fix = "decompress it (zstd -d), or use gzip"
		return a.damaged("compressed with zstd, which is not read here")
	case bytes.HasPrefix(magic, []byte("PK")):
		a.fix = "unpack it in the earlier step"
		return a.damaged("a zip file, and images are tar files")
	default:
		a.again = a.plain
	}
	return a.again(ctx, map[string]bool{}, nil)
}

func (a *archive) plain(ctx context.Context, wanted map[string]bool, visit visitor) error {
	if _, err := a.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return a.tar(ctx, a.file, wanted, visit)
}

func (a *archive) gunzip(ctx context.Context, wanted map[string]bool, visit visitor) error {
	if _, err := a.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	z, err := gzip.NewReader(a.file)
	if err != nil {
		return a.unreadable(ctx, err)
	}
	defer z.Close()
	return a.tar(ctx, &contextReader{ctx, z}, wanted, visit)
}

// folder reads an OCI layout, file by file, as its manifests name them. It may
// be a folder with much else in it.
func (a *archive) folder(root *os.Root, dir string) {
	open := func(name string) (*os.File, int64, error) {
		file, err := root.Open(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return nil, 0, err
		}
		info, err := file.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
		}
		if err != nil {
			file.Close()
			return nil, 0, err
		}
		return file, info.Size(), nil
	}
	a.exists = func(name string) bool {
		info, err := root.Stat(filepath.Join(dir, filepath.FromSlash(name)))
		return err == nil && info.Mode().IsRegular()
	}
	a.lookup = func(name string) ([]byte, error) {
		file, n, err := open(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case err != nil:
			return nil, a.damaged("%q %s", quoted(name), problem(err))
		}
		defer file.Close()
		if n > maxDocument {
			return nil, a.damaged("%q is larger than 8 MiB", quoted(name))
		}
		return io.ReadAll(io.LimitReader(file, maxDocument))
	}
	a.again = func(ctx context.Context, wanted map[string]bool, visit visitor) error {
		for name := range wanted {
			if err := ctx.Err(); err != nil {
				return err
			}
			file, n, err := open(name)
			if errors.Is(err, fs.ErrNotExist) {
				return a.damaged("it lacks %q, which its manifest names", quoted(name))
			}
			if err != nil {
				return a.damaged("%q %s", quoted(name), problem(err))
			}
			if err := visit(ctx, entry{name: name, size: n, body: file, at: file, close: func() { file.Close() }}); err != nil {
				return err
			}
		}
		return nil
	}
}

// problem says in a sentence why a path cannot be read.
func problem(err error) string {
	var wrapped *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "is a symbolic link to nothing; check where it points"
	case errors.Is(err, fs.ErrPermission):
		return "may not be read; check its permissions"
	case strings.Contains(err.Error(), "path escapes"): // os exports no value for it
		return "leaves the workspace by a symbolic link; put the file itself into the workspace"
	case errors.As(err, &wrapped):
		return fmt.Sprintf("cannot be read: %v", wrapped.Err)
	}
	return fmt.Sprintf("cannot be read: %v", err)
}
