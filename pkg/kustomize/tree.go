package kustomize

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// tree is the files of a build: what the scan took from the workspace, and all
// that kustomize can read. Paths are relative to the workspace.
type tree struct {
	files  map[string][]byte // by their path without links
	places map[string]string // every path that a kustomization wrote → without links; "" for a folder's own
	dirs   map[string]bool   // by their path without links
}

func newTree() *tree {
	return &tree{files: map[string][]byte{}, places: map[string]string{}, dirs: map[string]bool{}}
}

// names are the files, sorted.
func (t *tree) names() []string {
	var all []string
	for name := range t.files {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// with is the tree with other contents for some files.
func (t *tree) with(instead map[string][]byte) *tree {
	files := map[string][]byte{}
	for name, content := range t.files {
		files[name] = content
		if other, ok := instead[name]; ok {
			files[name] = other
		}
	}
	return &tree{files: files, places: t.places, dirs: t.dirs}
}

// add notes where a path leads.
func (t *tree) add(written, real string, isDir bool) {
	t.places[written], t.places[real] = real, real
	if isDir {
		t.dirs[real] = true
	}
}

var (
	errOutside = errors.New("leaves the workspace")
	errLinks   = errors.New("too many links")
)

// resolve follows every link in a path. Kustomize reads what a folder names
// relative to where the folder is, not to the link to it.
func resolve(root *os.Root, name string) (string, fs.FileInfo, error) {
	info, err := root.Lstat(".")
	at, rest, links := ".", strings.Split(name, "/"), 0
	for len(rest) > 0 && err == nil {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if at == "." {
				return "", nil, errOutside
			}
			at = path.Dir(at)
			info, err = root.Lstat(at)
			continue
		}
		next := path.Join(at, part)
		if info, err = root.Lstat(next); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > 40 { // as Linux has it
			return "", nil, errLinks
		}
		var target string
		if target, err = root.Readlink(next); err == nil {
			if path.IsAbs(target) {
				return "", nil, errOutside
			}
			rest = append(strings.Split(target, "/"), rest...)
		}
	}
	return at, info, err
}

// below reports whether a path is a folder or in it.
func below(dir, name string) bool {
	return dir == "." || name == dir || strings.HasPrefix(name, dir+"/")
}

// What kustomize asks of a file system. Its paths begin at the workspace.

func rel(name string) string {
	return path.Join(".", strings.TrimPrefix(path.Clean(name), "/"))
}

func abs(name string) string { return path.Join("/", name) }

// CleanedAbs tells a folder, or a file in one, without links.
func (t *tree) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	real, ok := t.places[rel(name)]
	switch {
	case !ok:
		return "", "", &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case t.dirs[real]:
		return filesys.ConfirmedDir(abs(real)), "", nil
	}
	return filesys.ConfirmedDir(path.Dir(abs(real))), path.Base(real), nil
}

// ReadFile returns what a file holds.
func (t *tree) ReadFile(name string) ([]byte, error) {
	content, ok := t.files[rel(name)]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return slices.Clone(content), nil
}

// IsDir tells folders.
func (t *tree) IsDir(name string) bool { return t.dirs[t.places[rel(name)]] }

// Exists tells files and folders.
func (t *tree) Exists(name string) bool { _, ok := t.places[rel(name)]; return ok }

// The rest serves remote bases and charts, which are none here.

// Create is refused.
func (t *tree) Create(string) (filesys.File, error) { return nil, fs.ErrPermission }

// Mkdir is refused.
func (t *tree) Mkdir(string) error { return fs.ErrPermission }

// MkdirAll is refused.
func (t *tree) MkdirAll(string) error { return fs.ErrPermission }

// RemoveAll is refused.
func (t *tree) RemoveAll(string) error { return fs.ErrPermission }

// Open is refused: kustomize reads whole files.
func (t *tree) Open(string) (filesys.File, error) { return nil, fs.ErrPermission }

// ReadDir is refused: a kustomization names its files.
func (t *tree) ReadDir(string) ([]string, error) { return nil, fs.ErrPermission }

// Glob is refused.
func (t *tree) Glob(string) ([]string, error) { return nil, fs.ErrPermission }

// WriteFile is refused.
func (t *tree) WriteFile(string, []byte) error { return fs.ErrPermission }

// Walk is refused.
func (t *tree) Walk(string, filepath.WalkFunc) error { return fs.ErrPermission }
