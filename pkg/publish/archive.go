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

	"github.com/org/deploy-model-action/pkg/inside"
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
	case inside.Missing(err) && !linked(root, name):
		return wrong("does not exist in the workspace; write docker for the runner's engine, or the path that an earlier step wrote the image to")
	case err != nil:
		return wrong(inside.Cause(root, name, err))
	}
	a := &archive{files: newFiles(fmt.Sprintf("archive %q", name), "write it again in the earlier step")}
	switch {
	case info.IsDir():
		a.folder(root, name)
	case info.Mode().IsRegular():
		if a.file, _, err = inside.Open(root, name); err != nil {
			return wrong(err.Error())
		}
		err = a.scan(ctx)
	default:
		return wrong("neither a file nor a folder; name the file or folder that an earlier step wrote the image to")
	}
	if err == nil {
		a.images, err = a.files.candidates(ctx)
	}
	if err != nil {
		a.close()
		return nil, fmt.Errorf("input push: %w", err)
	}
	return a, nil
}

// linked reports whether there is a link under a name, wherever it leads.
func linked(root *os.Root, name string) bool {
	_, err := root.Lstat(name)
	return err == nil
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
		return inside.Open(root, filepath.Join(dir, filepath.FromSlash(name)))
	}
	a.exists = func(name string) bool {
		info, err := root.Stat(filepath.Join(dir, filepath.FromSlash(name)))
		return err == nil && info.Mode().IsRegular()
	}
	a.lookup = func(ctx context.Context, name string) ([]byte, error) {
		content, err := inside.Read(ctx, root, filepath.Join(dir, filepath.FromSlash(name)), maxDocument)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case err != nil:
			return nil, a.damaged("%q %s", quoted(name), err.Error())
		}
		return content, nil
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
				return a.damaged("%q %s", quoted(name), err.Error())
			}
			if err := visit(ctx, entry{name: name, size: n, body: file, at: file, close: func() { file.Close() }}); err != nil {
				return err
			}
		}
		return nil
	}
}
