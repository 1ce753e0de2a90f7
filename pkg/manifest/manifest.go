// Package manifest reads Kubernetes manifests from the workspace and gives the
// objects in them, with the file and line of every object and every field.
//
// Everything is opened through an [os.Root], so that neither "..", an absolute
// path nor a symbolic link leaves the workspace, and every size is bounded.
// Values come out as kubectl reads them. Whether the cluster likes an object,
// which resource it is and in what order objects go is left to others.
package manifest

import (
	"context"
	"errors"
	"os"
	"path"
	"slices"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/kustomize"
)

// Bounds of what is read, so that a hostile file costs little.
const (
	maxFile     = 4 << 20  // bytes of one file, and of one document when its aliases are written out
	maxTotal    = 16 << 20 // bytes of all files
	maxExpanded = 64 << 20 // bytes of all documents when their aliases are written out
	maxObjects  = 1000
	maxAliases  = 100 // in one file
	// maxSetValues is the keys, items and scalars of all files, with aliases written
	// out. A node of the parser takes 200 bytes, so that 16 MiB of "[a,a,…]" would
	// take more than a gigabyte; the largest files of custom resource definitions that
	// people deploy hold 250,000 in 4 MiB.
	maxSetValues = 500_000
	// maxValues is the keys, items and scalars of a kustomization, of which kustomize
	// takes 2 KB each at worst.
	maxValues = 125_000
)

// Options says what to read.
type Options struct {
	// Root is the workspace. Required.
	Root *os.Root
	// Paths are files, folders (with all folders in them) and globs, in which **
	// stands for any number of folders, relative to Root. In folders and globs
	// files that end in .yaml, .yml and .json count, and names that begin with a
	// dot do not. A folder with a kustomization.yaml is built. Default: none, which
	// is an error.
	Paths []string
	// Namespace is where an object goes that names no namespace; it serves to find
	// an object that is there twice. Default: "default".
	Namespace string
	// Skip tells whether a path is the credentials file of the run: it is left out
	// of folders and globs, and refused when it is named. Files named
	// gha-creds-*.json are always treated so. Default: no other file.
	Skip func(path string) bool
	// Suffix ends the name of the nth object, from 0, that has metadata.generateName in
	// place of a name: another one for each deploy. Default: such objects are refused.
	Suffix func(n int) string
}

// Set is the objects of all manifests, in the order in which they were read.
type Set struct {
	Objects []*unstructured.Unstructured

	// Tests are tests of a Helm chart (helm.sh/hook: test), which are not among Objects.
	Tests []Test

	// Copies are objects that are the same as one that was read before, to the last
	// field. They are not among Objects.
	Copies []Copy

	// Hidden are files that a folder or glob holds and that were left out, as their
	// names begin with a dot.
	Hidden []string

	sources   []source // of Objects, by index
	generated int      // how many names were given
}

// Test is a test of a Helm chart.
type Test struct {
	Kind, Name string
	Position
}

// Copy is an object that is there once more.
type Copy struct {
	Kind, Name string
	Position
	Of Position
}

// source is where an object was read.
type source struct {
	file  string
	base  int        // lines of the file before the document
	node  *yaml.Node // the object, as parsed; its lines count from base
	built bool       // by kustomize: what was written there may have been changed since
}

// Position is a place in a file.
type Position struct {
	File string // relative to the workspace, slash-separated
	Line int    // from 1
}

// tooMany is the mistake of more values than maxSetValues.
const tooMany = "the manifests hold more than 500,000 lines, items and keys in all: name fewer files"

// Load reads all manifests. It reports every mistake at once: the error joins
// one *Error for each, or is that of the context.
func Load(ctx context.Context, o Options) (*Set, error) {
	type result struct {
		set *Set
		err error
	}
	done := make(chan result, 1)
	go func() {
		defer fault.Catch(ctx)
		set, err := loadAll(ctx, o)
		done <- result{set, err}
	}()
	// The parser knows no context, and takes a second for the largest of documents:
	// what it is given up with ends with the process.
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-done:
		return r.set, r.err
	}
}

func loadAll(ctx context.Context, o Options) (*Set, error) {
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	l := &loader{
		finder: finder{root: o.Root, skip: o.Skip},
		set:    &Set{},
		suffix: o.Suffix,
		files:  map[string]*loaded{},
		part:   map[string]string{},
	}
	for _, item := range o.Paths {
		l.load(ctx, item)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	l.besides()
	l.set.Hidden = slices.DeleteFunc(l.finder.hidden, func(name string) bool { return l.files[name] != nil })
	if len(o.Paths) == 0 {
		l.errs = append(l.errs, &Error{Problem: "no manifests are named: name files, folders or globs"})
	}
	if len(l.errs) == 0 && len(l.set.Objects) == 0 && len(l.set.Tests) > 0 {
		l.errs = append(l.errs, &Error{File: l.set.Tests[0].File, Line: l.set.Tests[0].Line, Problem: "the manifests hold nothing but tests of a Helm chart (helm.sh/hook: test): name the files of what they test"})
	}
	l.errs = append(l.errs, l.set.twice(o.Namespace)...)
	if len(l.errs) > 0 {
		return nil, errors.Join(l.errs...)
	}
	return l.set, nil
}

// spent is how much of the bounds of a whole set is used.
type spent struct {
	read   int // bytes of files
	marks  int // see marks
	bytes  int // of documents with their aliases written out
	values int // in those
}

// loader gathers the objects and the mistakes of all paths.
type loader struct {
	finder finder
	set    *Set
	suffix func(n int) string // Options.Suffix
	files  map[string]*loaded // by path, so that none is read twice
	part   map[string]string  // the kustomization that a file is part of, by file
	spent  spent
	full   bool // a bound of the whole set is passed; said once
	errs   []error
}

// loaded is what one file gave.
type loaded struct{ objects, mistakes int }

// load reads what one item of the paths names.
func (l *loader) load(ctx context.Context, item string) {
	files, err := l.finder.find(item)
	mistakes := len(err)
	l.errs = append(l.errs, err...)
	objects := 0
	for _, name := range files {
		if ctx.Err() != nil || l.full {
			return
		}
		f, ok := l.files[name]
		if !ok {
			before, mistakesBefore := len(l.set.Objects)+len(l.set.Tests), len(l.errs)
			if kustomize.Named(name) {
				l.build(ctx, path.Dir(name))
			} else {
				l.file(ctx, name)
			}
			l.bound(name)
			f = &loaded{objects: len(l.set.Objects) + len(l.set.Tests) - before, mistakes: len(l.errs) - mistakesBefore}
			l.files[name] = f
		}
		objects += f.objects
		mistakes += f.mistakes
	}
	if objects == 0 && mistakes == 0 {
		l.errs = append(l.errs, &Error{Problem: quotedPath(item) + " holds no manifests: name a file, folder or glob with at least one object"})
	}
}

// file reads the objects of one file.
func (l *loader) file(ctx context.Context, name string) {
	data, err := l.read(ctx, name)
	if err != nil {
		l.errs = append(l.errs, err)
		return
	}
	decoder := decoder{file: name, set: l.set, suffix: l.suffix, spent: &l.spent}
	decoder.decode(ctx, data)
	l.full = l.full || decoder.over
	l.errs = append(l.errs, decoder.errs...)
}

// read returns what a file holds, within the bound of all.
func (l *loader) read(ctx context.Context, name string) ([]byte, error) {
	data, err := l.finder.read(ctx, name)
	if err != nil {
		return nil, err
	}
	if l.spent.read += len(data); l.spent.read > maxTotal {
		l.full = true
		return nil, &Error{File: name, Problem: "the manifests are larger than 16 MiB in all: name fewer files"}
	}
	if l.spent.marks += marks(data); l.spent.marks > maxSetValues {
		l.full = true
		return nil, &Error{File: name, Problem: tooMany}
	}
	return data, nil
}

// bound refuses more objects than there may be.
func (l *loader) bound(name string) {
	if len(l.set.Objects) > maxObjects {
		l.full = true
		l.errs = append(l.errs, &Error{File: name, Problem: "the manifests hold more than 1,000 objects in all: split the deploy"})
	}
}
