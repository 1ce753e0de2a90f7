package kustomize

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/provider"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/org/deploy-model-action/pkg/inside"
)

// Bounds of one build beside the caller's.
const (
	maxDepth          = 20  // kustomizations that name one another
	maxKustomizations = 500 // each as often as it is built
	maxMistakes       = 20  // worth reading
)

// scan finds what a kustomization is made of, and what of it must not be.
type scan struct {
	o       Options
	ended   func() error // of the context
	tree    *tree
	dir     string // of the kustomization that is built, without links
	file    string // of the same
	factory *resmap.Factory

	kustomizations map[string]*kustomization // by folder
	weights        map[string]weight         // of folders that are done, by folder
	documents      map[string][]Document     // of the files that were decoded
	objects        map[string]bool           // files that hold objects
	decoded        map[string]weight         // of files
	above          []string                  // folders that led to the one at hand
	inConfigs      int                       // kustomizations of plugins, which are read again each time
	sum            weight                    // of what was decoded
	over           bool                      // a bound is passed; said once
	errs           []error
}

// kustomization is one that was read.
type kustomization struct {
	types.Kustomization
	dir, file string
	node      *yaml.Node
	base      int
}

// weight is what a build of something costs.
type weight struct{ kustomizations, objects, bytes, values int }

func (w *weight) add(other weight) {
	const enough = 1 << 40 // what is exponential stays a number
	w.kustomizations = min(w.kustomizations+other.kustomizations, enough)
	w.objects = min(w.objects+other.objects, enough)
	w.bytes = min(w.bytes+other.bytes, enough)
	w.values = min(w.values+other.values, enough)
}

func newScan(ctx context.Context, o Options) *scan {
	return &scan{
		o: o, ended: ctx.Err, tree: newTree(),
		factory:        resmap.NewFactory(provider.NewDefaultDepProvider().GetResourceFactory()),
		kustomizations: map[string]*kustomization{},
		weights:        map[string]weight{},
		documents:      map[string][]Document{},
		objects:        map[string]bool{},
		decoded:        map[string]weight{},
	}
}

// refuse notes a mistake.
func (s *scan) refuse(file string, line int, format string, args ...any) {
	if len(s.errs) == maxMistakes {
		format, args = "there are more mistakes: correct these first", nil
	}
	if len(s.errs) <= maxMistakes {
		s.errs = append(s.errs, &Error{File: file, Line: max(line, 1), Problem: fmt.Sprintf(format, args...)})
	}
}

// stopped reports whether there is no sense in reading on.
func (s *scan) stopped() bool { return s.ended() != nil || s.over || len(s.errs) > maxMistakes }

// top scans the folder that is built.
func (s *scan) top() {
	real, _, err := resolve(s.o.Root, s.o.Dir)
	if err != nil {
		s.refuse(path.Join(s.o.Dir, names[0]), 1, "%s", reason(s.o.Root, s.o.Dir, err))
		return
	}
	s.dir, s.file = real, Find(s.o.Root, real)
	s.tree.add(real, real, true)
	total := s.folder(real)
	if err := s.ended(); err != nil {
		s.errs = []error{err}
		return
	}
	s.bound(total)
}

// bound refuses what is more than a build may come to. It reports whether it is.
func (s *scan) bound(w weight) bool {
	const often = ", with every file counted as often as it is named: split the deploy, or run `kustomize build` in an earlier step, and name the file with its result in manifests"
	switch {
	case s.over:
	case w.objects > s.o.Objects:
		s.refuse(s.file, 1, "the kustomization comes to more than %d objects%s", s.o.Objects, often)
	case w.bytes > s.o.Bytes:
		s.refuse(s.file, 1, "the kustomization comes to more than %d MiB%s", s.o.Bytes>>20, often)
	case w.values > s.o.Values:
		s.refuse(s.file, 1, "the kustomization comes to more than %d keys and values%s", s.o.Values, often)
	case w.kustomizations > maxKustomizations:
		s.refuse(s.file, 1, "the kustomization comes to more than %d kustomizations%s", maxKustomizations, often)
	default:
		return false
	}
	s.over = true
	return true
}

// folder scans a kustomization and all that it names. A folder that is named again
// is not scanned again, but counted.
func (s *scan) folder(dir string) weight {
	if w, done := s.weights[dir]; done || s.stopped() {
		return w
	}
	w := weight{kustomizations: 1}
	k := s.read(dir)
	if k == nil {
		s.weights[dir] = w
		return w
	}
	s.above = append(s.above, dir)
	w.add(s.content(k))
	s.above = s.above[:len(s.above)-1]
	s.weights[dir] = w
	return w
}

// content scans all that a kustomization holds.
func (s *scan) content(k *kustomization) weight {
	s.refuseForeign(k)
	w := weight{objects: len(k.ConfigMapGenerator) + len(k.SecretGenerator)}
	for _, r := range k.references() {
		if s.stopped() {
			return w
		}
		w.add(s.follow(k, r))
	}
	w.add(s.inline(k))
	return w
}

// read reads the kustomization in a folder; nil if it cannot be.
func (s *scan) read(dir string) *kustomization {
	if k, ok := s.kustomizations[dir]; ok {
		return k
	}
	s.kustomizations[dir] = nil
	var found []string
	for _, name := range names {
		if exists(s.o.Root, path.Join(dir, name)) {
			found = append(found, path.Join(dir, name))
		}
	}
	switch {
	case len(found) == 0:
		s.refuse(path.Join(dir, names[0]), 1, "the folder holds no kustomization.yaml: add one, or name the files in it instead of the folder")
		return nil
	case len(found) > 1:
		s.refuse(found[1], 1, "the folder holds %s too: remove one of them", path.Base(found[0]))
		return nil
	}
	k := &kustomization{dir: dir, file: found[0]}
	if _, ok := s.take(k, found[0], reference{value: path.Base(found[0]), line: 1}); !ok {
		return nil
	}
	content := s.tree.files[s.tree.places[found[0]]]
	decoded := s.o.Decode(found[0], 0, content)
	s.errs = append(s.errs, decoded.Errs...)
	if len(decoded.Errs) > 0 {
		return nil
	}
	switch n := len(decoded.Documents); n {
	case 0:
		s.refuse(found[0], 1, "the file is empty: name in resources what to build")
		return nil
	case 1:
	default:
		s.refuse(found[0], 1, "a kustomization is one document, and this file holds %d: leave one", n)
		return nil
	}
	k.node, k.base = decoded.Documents[0].Node, decoded.Documents[0].Base
	if !s.keys(k) {
		return nil
	}
	if err := k.Unmarshal(content); err != nil {
		s.refuse(k.file, k.culprit(err), "%s", unread(err))
		return nil
	}
	s.kustomizations[dir] = k
	return k
}

// keys refuses a key that is there twice, in other letters: kustomize takes
// either, and which one counts nobody can see.
func (s *scan) keys(k *kustomization) bool {
	first := map[string]*yaml.Node{}
	for i := 0; i+1 < len(k.node.Content); i += 2 {
		key := k.node.Content[i]
		if other := first[strings.ToLower(key.Value)]; other != nil {
			s.refuse(k.file, k.base+key.Line, "the key is there in other letters on line %d: remove one of them", k.base+other.Line)
			return false
		}
		first[strings.ToLower(key.Value)] = key
	}
	return true
}

// follow scans what a reference leads to.
func (s *scan) follow(k *kustomization, r reference) weight {
	real, ok := s.locate(k, r)
	switch {
	case !ok:
		return weight{}
	case !s.tree.dirs[real]:
		return s.look(real, r)
	case !s.enter(k, r, real):
		return weight{}
	}
	w := s.folder(real)
	if base := s.kustomizations[real]; base != nil && (r.use == component) != (base.Kind == types.ComponentKind) {
		if r.use == component {
			s.refuse(k.file, r.line, "%s %s is no component: give it kind: Component, or name it in resources", r.field, quoted(r.value))
		} else {
			s.refuse(k.file, r.line, "%s %s is a component: name it in components", r.field, quoted(r.value))
		}
	}
	return w
}

// locate brings what a reference names into the tree, and returns its path
// without links.
func (s *scan) locate(k *kustomization, r reference) (string, bool) {
	switch {
	case r.value == "":
		s.refuse(k.file, r.line, "%s names nothing: name a file or remove it", r.field)
	case remote(r.value):
		s.refuse(k.file, r.line, "%s %s is remote, and only files of the workspace are read: check it out in an earlier step, or write the objects to a file there (`kustomize build > FILE`) and name that file in manifests", r.field, quoted(r.value))
	case path.IsAbs(r.value):
		s.refuse(k.file, r.line, "%s %s is an absolute path: name it relative to the kustomization", r.field, quoted(r.value))
	default:
		return s.take(k, path.Join(k.dir, r.value), r)
	}
	return "", false
}

// enter reports whether a kustomization may be entered from another.
func (s *scan) enter(k *kustomization, r reference, dir string) bool {
	switch {
	case slices.Contains(s.above, dir):
		s.refuse(k.file, r.line, "%s %s leads back to %s, which led here: remove one of them", r.field, quoted(r.value), dir)
	case len(s.above) >= maxDepth:
		s.refuse(k.file, r.line, "%s %s is the %dth kustomization in a row that names another: name it further up", r.field, quoted(r.value), maxDepth+1)
	default:
		return true
	}
	return false
}

// take brings a file into the tree, or finds that a path is a folder, and returns
// the path without links. Joined is the path from the workspace.
func (s *scan) take(k *kustomization, joined string, r reference) (string, bool) {
	refuse := func(format string, args ...any) (string, bool) {
		s.refuse(k.file, r.line, "%s%s", strings.TrimLeft(r.field+" "+quoted(r.value)+" ", " "), fmt.Sprintf(format, args...))
		return "", false
	}
	if joined == ".." || strings.HasPrefix(joined, "../") {
		return refuse("leaves the workspace by \"..\": name a path inside the workspace")
	}
	real, info, err := resolve(s.o.Root, joined)
	switch {
	case err != nil:
		return refuse("%s", reason(s.o.Root, joined, err))
	case info.IsDir() && !r.use.folders():
		return refuse("is a folder: name a file")
	case info.IsDir():
		s.tree.add(joined, real, true)
		return real, true
	case r.use == component:
		return refuse("is a file: name the folder of a component")
	case !info.Mode().IsRegular():
		return refuse("is neither a file nor a folder: name a file")
	case !below(k.dir, real):
		return refuse("lies outside of the folder %s, and a kustomization reads only what is in it: move the file there, or give its own folder a kustomization.yaml and name that folder in resources", k.dir)
	}
	if _, ok := s.tree.files[real]; !ok {
		content, err := s.o.Read(real)
		if err != nil {
			return refuse("%v", err)
		}
		s.tree.files[real] = content
	}
	s.tree.add(joined, real, false)
	return real, true
}

// look looks into a file.
func (s *scan) look(file string, r reference) weight {
	content := s.tree.files[file]
	switch r.use {
	case env:
		s.environment(file)
		return weight{bytes: len(content)}
	case data:
		return weight{bytes: len(content)}
	}
	w, done := s.decoded[file]
	if !done {
		decoded := s.o.Decode(file, 0, content)
		s.errs = append(s.errs, decoded.Errs...)
		w = weight{objects: len(decoded.Documents), bytes: decoded.Bytes, values: decoded.Values}
		s.decoded[file] = w
		s.documents[file] = decoded.Documents
		if s.sum.add(weight{bytes: w.bytes, values: w.values}); s.bound(s.sum) {
			return w
		}
	}
	if r.use == crd {
		s.recursion(file)
	}
	if r.use == resource {
		s.objects[file] = true
	} else {
		w.objects = 0
	}
	return w
}

// reason says why a path leads nowhere.
func reason(root *os.Root, name string, err error) string {
	switch {
	case inside.Missing(err):
		return "does not exist: check how it is written, and that it is checked in"
	case errors.Is(err, errOutside):
		return "leaves the workspace by a symbolic link: put the file itself into the workspace"
	case errors.Is(err, errLinks):
		return "is a symbolic link that leads back to itself: check where it points"
	}
	return inside.Cause(root, name, err)
}
