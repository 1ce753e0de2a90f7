// Package kustomize builds the objects of a kustomization with kustomize's own
// library, and says of each in which file and where in it it was written.
//
// A kustomization can name anything: other repositories, programs, charts, files
// above the workspace. So all that it names is found and checked first, and then
// the library is given a file system in memory that holds just that. What YAML
// is, how large a file may be and what an object must hold is the caller's.
package kustomize

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Options says what to build. All of it is required.
type Options struct {
	// Root is the workspace, and Dir a folder in it, relative and clean.
	Root *os.Root
	Dir  string
	// Read returns what a file holds. Its errors go on from the file's name.
	Read func(file string) ([]byte, error)
	// Decode reads a text that begins behind that many lines of a file.
	Decode func(file string, before int, text []byte) Decoded
	// Objects, Bytes and Values are how many a build may come to, with every file
	// counted as often as it is read.
	Objects, Bytes, Values int
}

// Document is an object, or anything else, in a file.
type Document struct {
	Value any        // as JSON has it
	Node  *yaml.Node // whose lines count from Base
	Base  int        // lines of the file before the document
}

// Decoded is what a text holds.
type Decoded struct {
	Documents []Document // the items of a list one by one
	Bytes     int        // with its aliases written out
	Values    int        // keys, items and scalars of YAML, likewise
	Errs      []error    // what is wrong with it
}

// Object is what was built, and where it was written.
type Object struct {
	JSON []byte
	File string
	Document
}

// Result is a build.
type Result struct {
	Objects []Object // in kustomize's order
	Files   []string // what was read, each once
}

// Error is a mistake in a kustomization, or in what it names.
type Error struct {
	File    string // relative to the workspace
	Line    int    // from 1
	Problem string // the sentence, ending with what to do
}

func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Problem) }

// names are those that kustomize looks for in a folder.
var names = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// Find returns the kustomization in a folder, "" if there is none.
func Find(root *os.Root, dir string) string {
	for _, name := range names {
		if file := path.Join(dir, name); exists(root, file) {
			return file
		}
	}
	return ""
}

// Named reports whether a file is a kustomization by its name.
func Named(file string) bool {
	for _, name := range names {
		if path.Base(file) == name {
			return true
		}
	}
	return false
}

func exists(root *os.Root, file string) bool {
	_, err := root.Lstat(file)
	return err == nil
}

// Build builds the kustomization in a folder. The error joins one for each
// mistake; each is an *Error, or one of Decode's.
func Build(ctx context.Context, o Options) (*Result, error) {
	s := newScan(ctx, o)
	if err := bounded(ctx, func() error { s.top(); return nil }); err != nil {
		return nil, errors.Join(explain(err, Find(o.Root, o.Dir), o.Dir))
	}
	if err := errors.Join(s.errs...); err != nil {
		return nil, err
	}
	objects, err := s.build(ctx)
	if err != nil {
		file := s.file
		for _, name := range s.tree.names() {
			if len(name) > len(file) && strings.Contains(err.Error(), name) {
				file = name // the deepest folder that the error names knows
			}
		}
		return nil, errors.Join(explain(err, file, s.dir))
	}
	return &Result{Objects: objects, Files: s.tree.names()}, nil
}
