// Package casetest reads folders of cases, and plays them: a case is manifests, the
// inputs of one or more runs, and what has to come of them. Each is played in a
// namespace of its own of a local cloud, through the action as it ships. What is in
// the folders, and how to write one, is in e2e/cases/README.md.
//
// It leaves to its callers where the cloud comes from, and what is done with the report.
package casetest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Case is one folder, or a variant of it.
type Case struct {
	// Name is that of the folder, and of a variant FOLDER/VARIANT.
	Name string
	// Runs are the inputs, at least one run's.
	Runs []Inputs
	// Expect is what has to come of each run; nil if nobody has written it yet.
	Expect []Expect

	files  map[string]string // the workspace's, by path
	images images            // what the registry holds; nil: what the manifests name

	before, script, controller string // content; "" if there is none
	deploys                    bool   // before is deployed by the action, not applied by kubectl
}

// The files of a case that are no manifests.
const (
	inputsFile     = "inputs.txt"
	imagesFile     = "images.yaml"
	beforeFile     = "before.yaml"
	scriptFile     = "before.sh"
	controllerFile = "controller.sh"
	expectFile     = "expect.yaml"
	variantsFile   = "variants.yaml"
	readmeFile     = "README.md"
)

// manifests and workspace are the folders of a case. What is in the first gets into
// the workspace's folder of this name, what is in the second into the workspace.
const (
	manifests = "kubernetes/"
	workspace = "workspace/"
)

// laterInputs is inputs-2.txt and so on.
var laterInputs = regexp.MustCompile(`^inputs-([1-9][0-9]*)\.txt$`)

// deploys is the first line of a before.yaml that the action deploys.
const deploys = "# deploy"

// Load reads every folder of dir, or dir itself if that is a case. The error joins
// all that is wrong with them; what is right is returned all the same.
func Load(dir string) ([]Case, error) {
	if isCase(dir) {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		files, err := folder(dir)
		if err != nil {
			return nil, err
		}
		return Parse(filepath.Base(abs), files)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []Case
	var errs []error
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		files, err := folder(filepath.Join(dir, e.Name()))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		cases, err := Parse(e.Name(), files)
		all = append(all, cases...)
		errs = append(errs, err)
	}
	if len(all) == 0 && errors.Join(errs...) == nil {
		return nil, fmt.Errorf("%s: there is no case in it: a case is a folder with a folder %s", dir, manifests)
	}
	return all, errors.Join(errs...)
}

// isCase reports whether a folder is a case itself.
func isCase(dir string) bool {
	return slices.ContainsFunc([]string{manifests, inputsFile, expectFile}, func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
		return err == nil
	})
}

// folder reads all files of a folder.
func folder(dir string) (map[string]string, error) {
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || d.IsDir():
			return err
		case !d.Type().IsRegular():
			return fmt.Errorf("%s: %s is no file", dir, name)
		}
		content, err := fs.ReadFile(os.DirFS(dir), name)
		files[name] = string(content)
		return err
	})
	return files, err
}

// Parse reads the files of a case, by their paths: the case and its variants, each of
// which has some files of its own in their place.
func Parse(name string, files map[string]string) ([]Case, error) {
	one, err := parse(name, files)
	if err != nil {
		return nil, err
	}
	all := []Case{one}
	if _, ok := files[variantsFile]; !ok {
		return all, nil
	}
	var variants map[string]map[string]*string
	if err := strict(files[variantsFile], &variants); err != nil {
		return all, fmt.Errorf("%s: %s: %w", name, variantsFile, err)
	}
	var errs []error
	for _, variant := range slices.Sorted(maps.Keys(variants)) {
		own := maps.Clone(files)
		delete(own, variantsFile)
		for file, content := range variants[variant] {
			if file == variantsFile || file == readmeFile {
				errs = append(errs, fmt.Errorf("%s: %s: %s cannot be of a variant", name, variant, file))
				continue
			}
			delete(own, file)
			if content != nil {
				own[file] = *content
			}
		}
		c, err := parse(name+"/"+variant, own)
		if err == nil {
			all = append(all, c)
		}
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}

// parse reads one of them.
func parse(name string, files map[string]string) (Case, error) {
	c := Case{Name: name, files: map[string]string{}}
	inputs := map[int]Inputs{}
	var errs []error
	add := func(file string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", name, file, err))
		}
	}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		var err error
		content := files[file]
		later := laterInputs.FindStringSubmatch(file)
		switch {
		case strings.HasPrefix(file, manifests):
			c.files[file] = content
		case strings.HasPrefix(file, workspace):
			c.files[strings.TrimPrefix(file, workspace)] = content
		case file == inputsFile:
			inputs[1], err = ParseInputs(content)
		case later != nil:
			var n int
			if n, err = strconv.Atoi(later[1]); err == nil {
				inputs[n], err = ParseInputs(content)
			}
		case file == imagesFile:
			c.images, err = parseImages(content)
		case file == beforeFile:
			first, _, _ := strings.Cut(content, "\n")
			c.before, c.deploys = content, strings.TrimSpace(first) == deploys
		case file == scriptFile:
			c.script = content
		case file == controllerFile:
			c.controller = content
		case file == expectFile:
			c.Expect, err = ParseExpect(content)
		case file == readmeFile, file == variantsFile:
		default:
			err = errors.New("a case has no such file")
		}
		add(file, err)
	}
	if _, ok := inputs[1]; !ok {
		inputs[1] = Inputs{With: map[string]string{}, Env: map[string]string{}}
	}
	for n := range inputs {
		if _, ok := inputs[n-1]; n > 1 && !ok || n == 1 && inputs[1].When != nil {
			add(inputsName(n), errors.New("there is no run before it"))
		}
	}
	for n := 1; n <= len(inputs); n++ {
		c.Runs = append(c.Runs, inputs[n])
	}
	if c.Expect != nil && len(c.Expect) != len(c.Runs) {
		add(expectFile, fmt.Errorf("it has %d runs, and there are inputs for %d", len(c.Expect), len(c.Runs)))
	}
	for file := range c.files {
		if !path.IsAbs(file) && filepath.IsLocal(file) {
			continue
		}
		add(file, errors.New("it leads out of the workspace"))
	}
	return c, errors.Join(errs...)
}

func inputsName(n int) string {
	if n == 1 {
		return inputsFile
	}
	return fmt.Sprintf("inputs-%d.txt", n)
}
