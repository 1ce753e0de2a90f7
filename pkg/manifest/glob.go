package manifest

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/org/deploy-model-action/pkg/inside"
	"github.com/org/deploy-model-action/pkg/kustomize"
)

// glob returns the files that a pattern matches; a folder that it matches is
// read as if it had been named.
func (f *finder) glob(item, pattern string) ([]string, []error) {
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, []error{&Error{Problem: quotedPath(item) + " is not a glob: close its brackets"}}
	}
	f.folders, f.linked = nil, false
	g := &globber{finder: f, seen: map[string]bool{}, below: map[int][]fs.FileInfo{}}
	g.expand(".", strings.Split(pattern, "/"))
	if len(g.files) == 0 && len(g.errs) == 0 {
		fixed, _, _ := strings.Cut(pattern, "*")
		return nil, []error{&Error{Problem: quotedPath(item) + " matches no manifest" + f.nearby(fixed+"*")}}
	}
	return g.files, g.errs
}

// globber expands one pattern.
type globber struct {
	*finder
	seen  map[string]bool       // folder and what is left of the pattern
	below map[int][]fs.FileInfo // the folders for **, by how much is left of the pattern
	files []string
	errs  []error
}

func (g *globber) expand(dir string, pattern []string) {
	// With several ** one folder is reached in many ways, and each way would be
	// walked again.
	key := fmt.Sprint(len(pattern), " ", dir)
	if g.seen[key] {
		return
	}
	g.seen[key] = true
	segment, rest := pattern[0], pattern[1:]
	if segment == "**" {
		if len(rest) == 0 {
			g.take(dir)
			return
		}
		g.expand(dir, rest)
		if info, err := g.root.Stat(dir); err == nil && len(g.below[len(pattern)]) == 0 {
			g.below[len(pattern)] = append(g.below[len(pattern)], info) // where it begins
		}
	}
	entries, err := fs.ReadDir(g.root.FS(), dir)
	if err != nil {
		if !inside.Missing(err) {
			g.errs = append(g.errs, &Error{File: dir, Problem: inside.Cause(g.root, dir, err)})
		}
		return
	}
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		if hidden(entry.Name()) && !strings.HasPrefix(segment, ".") {
			if ok, _ := path.Match(segment, entry.Name()); ok && len(rest) == 0 {
				g.leave(name)
			}
			continue
		}
		if segment == "**" {
			g.descend(name, entry, pattern)
			continue
		}
		if ok, _ := path.Match(segment, entry.Name()); !ok {
			continue
		}
		if len(rest) == 0 {
			g.take(name)
		} else if info, err := g.root.Stat(name); err == nil && info.IsDir() {
			g.expand(name, rest)
		}
	}
}

// descend goes into a folder for **, as walk does: by links too, into none twice, and
// never out of the workspace.
func (g *globber) descend(name string, entry fs.DirEntry, pattern []string) {
	link := entry.Type()&fs.ModeSymlink != 0
	if !link && !entry.IsDir() {
		return
	}
	info, err := g.root.Stat(name)
	switch {
	case err != nil:
		if !inside.Missing(err) && !isManifest(name) { // take says it of a manifest
			g.errs = append(g.errs, &Error{File: name, Problem: inside.Cause(g.root, name, err)})
		}
	case info.IsDir():
		g.linked = g.linked || link
		n := len(pattern)
		if g.linked && slices.ContainsFunc(g.below[n], func(other fs.FileInfo) bool { return os.SameFile(other, info) }) {
			return
		}
		g.below[n] = append(g.below[n], info)
		g.expand(name, pattern)
	}
}

// take adds what a pattern matched.
func (g *globber) take(name string) {
	info, err := g.root.Stat(name)
	switch {
	case g.skipped(name):
	case err != nil:
		if !inside.Missing(err) || isManifest(name) {
			g.errs = append(g.errs, &Error{File: name, Problem: inside.Cause(g.root, name, err)})
		}
	case info.IsDir():
		files, errs := g.walk(name, true)
		for _, file := range files {
			g.add(file)
		}
		g.errs = append(g.errs, errs...)
	case kustomize.Named(name):
		g.errs = append(g.errs, refuseKustomization(name))
	case info.Mode().IsRegular() && isManifest(name):
		g.add(name)
	}
}

func (g *globber) add(file string) {
	if !slices.Contains(g.files, file) {
		g.files = append(g.files, file)
	}
}

// nearby says what there is in the nearest folder above a path that does not
// exist, the most alike first.
func (f *finder) nearby(name string) string {
	dir := path.Dir(name)
	for dir != "." {
		if info, err := f.root.Stat(dir); err == nil && info.IsDir() {
			break
		}
		dir = path.Dir(dir)
	}
	wanted := strings.TrimPrefix(name, dir+"/")
	wanted, _, _ = strings.Cut(wanted, "/")
	entries, _ := fs.ReadDir(f.root.FS(), dir)
	var names []string
	for _, entry := range entries {
		switch {
		case hidden(entry.Name()) || f.skipped(path.Join(dir, entry.Name())):
		case entry.IsDir():
			names = append(names, entry.Name()+"/")
		case isManifest(entry.Name()):
			names = append(names, entry.Name())
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return alike(b, wanted) - alike(a, wanted) })
	where := "folder " + dir
	if dir == "." {
		where = "workspace"
	}
	const most = 5
	switch {
	case len(entries) == 0 && dir == ".":
		return ": the workspace is empty; run actions/checkout before this step"
	case len(names) == 0:
		return fmt.Sprintf(": the %s holds no manifests", where)
	case len(names) > most:
		return fmt.Sprintf(": the %s holds %s and %d more", where, strings.Join(names[:most], ", "), len(names)-most)
	}
	return fmt.Sprintf(": the %s holds %s", where, strings.Join(names, ", "))
}

// alike counts the letters that two names share at their beginnings and ends,
// which is what is left when a letter is wrong, missing or one too many.
func alike(name, wanted string) int {
	name = strings.TrimSuffix(name, "/")
	most := min(len(name), len(wanted))
	head := 0
	for head < most && name[head] == wanted[head] {
		head++
	}
	tail := 0
	for tail < most-head && name[len(name)-1-tail] == wanted[len(wanted)-1-tail] {
		tail++
	}
	return head + tail
}
