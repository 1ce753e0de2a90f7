package manifest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/org/deploy-model-action/pkg/inside"
	"github.com/org/deploy-model-action/pkg/kustomize"
)

// finder turns paths into files, inside the workspace only.
type finder struct {
	root   *os.Root
	skip   func(string) bool
	hidden []string // manifests that were left out, as their names begin with a dot

	// The folders that the item at hand has led to. Links make one folder many:
	// seven that link to one another were read for seconds.
	folders []fs.FileInfo
	linked  bool // one of them by a link
}

// find returns the files that one item of the paths names, in a stable order.
func (f *finder) find(item string) ([]string, []error) {
	refuse := func(problem string) ([]string, []error) {
		return nil, []error{&Error{Problem: quotedPath(item) + " " + problem}}
	}
	switch {
	case strings.TrimSpace(item) == "":
		return refuse("names nothing: name a file, folder or glob")
	case strings.Contains(item, "://"):
		return refuse("is a URL, and manifests are read from the workspace: download it in an earlier step")
	case path.IsAbs(item):
		return refuse("is an absolute path: name it relative to the workspace")
	}
	for part := range strings.SplitSeq(item, "/") {
		if part == ".." {
			return refuse("leaves the workspace by \"..\": name a path inside the workspace")
		}
	}
	name := path.Clean(item)
	info, err := f.root.Stat(name)
	switch {
	case err == nil && info.IsDir():
		f.folders, f.linked = nil, false
		files, errs := f.walk(name, true)
		if len(files) == 0 && len(errs) == 0 {
			return refuse("holds no file that ends in .yaml, .yml or .json: name the folder that holds the manifests")
		}
		return files, errs
	case err == nil && !info.Mode().IsRegular():
		return refuse("is neither a file nor a folder: name a file, folder or glob")
	case err == nil && f.skipped(name):
		return refuse("is the credentials file of the run, not a manifest: name the manifests only")
	case err == nil && kustomize.Named(name):
		return nil, []error{refuseKustomization(name)}
	case err == nil:
		return []string{name}, nil
	case strings.ContainsAny(name, "*?["):
		return f.glob(item, name)
	case inside.Missing(err):
		if _, err := f.root.Lstat(name); err != nil {
			return refuse("does not exist" + f.nearby(name))
		}
	}
	return refuse(inside.Cause(f.root, name, err))
}

// walk returns the manifests in a folder and all folders in it; if it holds a
// kustomization, that alone. A linked folder is followed, and none is read twice.
func (f *finder) walk(dir string, named bool) ([]string, []error) {
	here, err := f.root.Stat(dir)
	if err != nil {
		return nil, []error{&Error{File: dir, Problem: inside.Cause(f.root, dir, err)}}
	}
	if !named && f.linked && slices.ContainsFunc(f.folders, func(other fs.FileInfo) bool { return os.SameFile(other, here) }) {
		return nil, nil
	}
	f.folders = append(f.folders, here)
	if name := kustomize.Find(f.root, dir); name != "" {
		if named {
			return []string{name}, nil
		}
		// All of them would be a base and its overlays, for each cluster that there is.
		return nil, []error{&Error{File: name, Line: 1, Problem: fmt.Sprintf("the folder is a kustomization among manifests: name the one to build, such as %s, instead of the folder above it", dir)}}
	}
	if err := f.chart(dir); err != nil {
		return nil, []error{err}
	}
	entries, err := fs.ReadDir(f.root.FS(), dir)
	if err != nil {
		return nil, []error{&Error{File: dir, Problem: inside.Cause(f.root, dir, err)}}
	}
	var files []string
	var errs []error
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		if hidden(entry.Name()) || f.skipped(name) {
			f.leave(name)
			continue
		}
		info, err := f.root.Stat(name)
		switch {
		case err != nil:
			// Something that is no manifest may be as broken as it likes, but a link
			// that leaves the workspace could be a whole folder of them.
			if !inside.Missing(err) || isManifest(name) {
				errs = append(errs, &Error{File: name, Problem: inside.Cause(f.root, name, err)})
			}
		case info.IsDir():
			f.linked = f.linked || entry.Type()&fs.ModeSymlink != 0
			more, moreErrs := f.walk(name, false)
			files, errs = append(files, more...), append(errs, moreErrs...)
		case info.Mode().IsRegular() && isManifest(name):
			files = append(files, name)
		}
	}
	return files, errs
}

// chart refuses a folder whose files are the source of manifests, rather than
// manifests.
func (f *finder) chart(dir string) error {
	chart := path.Join(dir, "Chart.yaml")
	if _, err := f.root.Stat(chart); err == nil {
		return &Error{File: chart, Line: 1, Problem: "the folder is a Helm chart: run `helm template --no-hooks` in an earlier step, and name the file or folder with its result"}
	}
	return nil
}

// refuseKustomization refuses a kustomization that is named as a file.
func refuseKustomization(name string) error {
	return &Error{File: name, Line: 1, Problem: fmt.Sprintf("is a kustomization, not a manifest: name its folder, %s, to have it built", path.Dir(name))}
}

// skipped tells whether a file is the credentials of the run.
func (f *finder) skipped(name string) bool {
	// google-github-actions/auth leaves its file in the workspace, under this
	// name, and it holds a token; JSON is YAML, so a glob would read it.
	if ok, _ := path.Match("gha-creds-*.json", path.Base(name)); ok {
		return true
	}
	return f.skip != nil && f.skip(name)
}

// read returns what a file holds.
func (f *finder) read(ctx context.Context, name string) ([]byte, error) {
	data, err := inside.Read(ctx, f.root, name, maxFile)
	var wrong *inside.Error
	if errors.As(err, &wrong) {
		return nil, &Error{File: name, Problem: wrong.Problem}
	}
	return data, err
}

// leave notes a file that is left out and could have been meant.
func (f *finder) leave(name string) {
	if hidden(path.Base(name)) && isManifest(name) && !slices.Contains(f.hidden, name) {
		if info, err := f.root.Stat(name); err == nil && info.Mode().IsRegular() {
			f.hidden = append(f.hidden, name)
		}
	}
}

func isManifest(name string) bool {
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

func hidden(name string) bool { return strings.HasPrefix(name, ".") && name != "." }
