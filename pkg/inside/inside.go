// Package inside reads files of the workspace, which others wrote: only regular
// files, only inside of it whatever links lead to, never more than a bound, and
// without waiting for a FIFO or a device. It says in a sentence why one cannot be read.
//
// Which files are wanted, and what is in them, is left to those who want them.
package inside

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Error is why a file cannot be read: a sentence behind its name that ends with
// what to do.
type Error struct {
	Problem string
	err     error
}

func (e *Error) Error() string { return e.Problem }

// Unwrap returns the operating system's error; nil if the file is not one to read.
func (e *Error) Unwrap() error { return e.err }

// Open opens a regular file, and returns its size. Errors are *Error.
func Open(root *os.Root, name string) (*os.File, int64, error) {
	// A FIFO would wait for a writer for ever, if it were opened to wait.
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, &Error{Cause(root, name, err), err}
	}
	info, err := file.Stat()
	switch {
	case err != nil:
		err = &Error{Cause(root, name, err), err}
	case info.IsDir():
		err = &Error{Problem: "is a folder: name a file"}
	case !info.Mode().IsRegular():
		err = &Error{Problem: "is neither a file nor a folder: name a file"}
	default:
		return file, info.Size(), nil
	}
	file.Close()
	return nil, 0, err
}

// Read returns what a regular file holds, if that is at most so many bytes, a
// number of whole MiB. Errors are *Error, or ctx's own.
func Read(ctx context.Context, root *os.Root, name string, most int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	file, _, err := Open(root, name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	defer context.AfterFunc(ctx, func() { file.Close() })() // a network's file may not answer
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, &Error{Cause(root, name, err), err}
	case int64(len(data)) > most:
		return nil, &Error{Problem: fmt.Sprintf("is larger than %d MiB: make it smaller, or split it", most>>20)}
	}
	return data, nil
}

// Missing reports whether an error says that there is nothing under a path.
func Missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// Cause says in a sentence, behind its name, why a path cannot be read.
func Cause(root *os.Root, name string, err error) string {
	var wrapped *fs.PathError
	switch {
	case Missing(err):
		if _, err := root.Lstat(name); err == nil {
			return "is a symbolic link to nothing: check where it points"
		}
		return "does not exist: name a path inside the workspace, relative to it"
	case errors.Is(err, fs.ErrPermission):
		return "may not be read: check its permissions"
	case strings.Contains(err.Error(), "path escapes") && !filepath.IsLocal(name): // os exports no value for it
		return "leaves the workspace: name a path inside it"
	case strings.Contains(err.Error(), "path escapes"):
		return "leaves the workspace by a symbolic link: put the file itself into the workspace"
	case errors.As(err, &wrapped):
		err = wrapped.Err // the system call's name says nothing to a user
	}
	return fmt.Sprintf("cannot be read: %v", err)
}
