package credentials

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// file reads the credentials file that a variable of the environment names.
func (f *finder) file(variable, name string) (*identity, error) {
	input := fmt.Sprintf("credentials file %s (from %s)", quote(name), variable)
	data, err := f.read(name)
	if base := path.Base(filepath.ToSlash(name)); errors.Is(err, fs.ErrNotExist) && f.Workspace != nil && written.MatchString(base) {
		// The job has a container of its own, in which the workspace has another path, and
		// the runner translates only paths of the host (ContainerActionHandler.cs).
		if found, again := f.read(base); again == nil {
			name, data, err = base, found, nil
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, invalid(input, "is not there: if google-github-actions/auth wrote it, run actions/checkout before it, since checkout empties the workspace")
	case errors.Is(err, fs.ErrPermission):
		return nil, invalid(input, "may not be read: run this step as the user that wrote it, as container actions do by default")
	case errors.Is(err, errNotRegular):
		return nil, invalid(input, "is not a regular file: set the variable to the path of the credentials file")
	case err != nil:
		return nil, invalid(input, "cannot be read inside the workspace, or is a symbolic link out of it: let google-github-actions/auth write it")
	}
	found, err := f.parse(input, data)
	if err != nil {
		return nil, err
	}
	found.file = name
	return found, nil
}

// written is the name of a file that google-github-actions/auth writes, at the root
// of the workspace.
var written = regexp.MustCompile(`^gha-creds-[0-9a-f]{16}\.json$`)

var errNotRegular = errors.New("not a regular file")

// read reads at most one byte more than is accepted.
func (f *finder) read(name string) ([]byte, error) {
	file, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxSize+1))
}

// open opens a file inside the workspace through it, so that a symbolic link in
// the repository cannot name any other file, and all others by absolute path.
func (f *finder) open(name string) (fs.File, error) {
	from, local := f.Files, strings.TrimPrefix(path.Clean(filepath.ToSlash(name)), "/")
	if f.Workspace != nil {
		inside := name
		if filepath.IsAbs(name) {
			if relative, err := filepath.Rel(f.Workspace.Name(), name); err == nil {
				inside = relative
			}
		}
		if filepath.IsLocal(inside) {
			from, local = f.Workspace.FS(), path.Clean(filepath.ToSlash(inside))
		}
	}
	// A pipe must not be opened: that would wait for a writer.
	info, err := fs.Stat(from, local)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	return from.Open(local)
}
