package serving

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/org/deploy-model-action/pkg/inside"
)

// FileError is one mistake in a smoke test. Its text names the key, and the value
// where that is no part of what is sent: of headers and bodies it holds nothing.
type FileError struct {
	File    string
	Line    int    // from 1; 0 if the mistake has no line
	Problem string // a sentence that ends with what to do
}

func (e *FileError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("smoke test %q: %s", e.File, e.Problem)
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Problem)
}

// Title is what went wrong, in a few words.
func (e *FileError) Title() string { return "Smoke test" }

// Place is where the mistake stands; "" if it has no line.
func (e *FileError) Place() (file string, line int) {
	if e.Line == 0 {
		return "", 0
	}
	return e.File, e.Line
}

// maxMistakes is how many mistakes are worth reading.
const maxMistakes = 20

// smokeFile reads one smoke test.
type smokeFile struct {
	file  func(name string, most int64) ([]byte, error) // reads one of the workspace
	skip  func(string) bool
	name  string
	total int // bytes of the files that it names
	errs  []error
}

// ParseSmokeTest reads a smoke test from the workspace, and all that it sends.
// Nothing outside of the workspace is opened, nor what skip says is the run's
// credentials file; nil skips nothing. The error joins a *FileError for each mistake.
func ParseSmokeTest(ctx context.Context, root *os.Root, name string, skip func(string) bool) (*SmokeTest, error) {
	f := &smokeFile{skip: skip, name: path.Clean(name)}
	f.file = func(name string, most int64) ([]byte, error) { return inside.Read(ctx, root, name, most) }
	if skip == nil {
		f.skip = func(string) bool { return false }
	}
	data, problem := f.read(name, maxSmokeFile)
	if problem != "" {
		return nil, &FileError{File: f.name, Problem: problem}
	}
	test := f.decode(data)
	if len(f.errs) > 0 {
		return nil, errors.Join(f.errs...)
	}
	return test, nil
}

// mistake notes one, at a line of the file.
func (f *smokeFile) mistake(line int, format string, args ...any) {
	switch {
	case len(f.errs) > maxMistakes:
		return
	case len(f.errs) == maxMistakes:
		format, args = "there are more mistakes in the file: correct these first", nil
	}
	f.errs = append(f.errs, &FileError{File: f.name, Line: line, Problem: fmt.Sprintf(format, args...)})
}

// read returns what a file of the workspace holds, or why it cannot be had.
func (f *smokeFile) read(name string, most int64) (data []byte, problem string) {
	if ok, _ := path.Match("gha-creds-*.json", path.Base(name)); ok || f.skip(name) {
		return nil, "holds the run's credentials, which no model gets: name another file"
	}
	data, err := f.file(name, most)
	if err != nil {
		return nil, err.Error()
	}
	return data, ""
}

// attached reads a file that a value names, and counts it.
func (f *smokeFile) attached(line int, name string) []byte {
	data, problem := f.read(name, maxSmokeFile)
	if problem != "" {
		f.mistake(line, "file %s %s", short(name), problem)
		return nil
	}
	if f.total += len(data); f.total > maxSmokeTotal {
		f.mistake(line, "the files to send are larger than %d MiB in all: use smaller ones", maxSmokeTotal>>20)
		return nil
	}
	return data
}

// decode reads the document.
func (f *smokeFile) decode(data []byte) *SmokeTest {
	var root yaml.Node
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	switch err := decoder.Decode(&root); {
	case errors.Is(err, io.EOF):
		f.mistake(0, "is empty: write requests, each with a path")
		return nil
	case err != nil:
		at, problem := yamlProblem(err)
		f.mistake(at, "%s", problem)
		return nil
	}
	if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		f.mistake(0, "holds more than one document: write one, without ---")
		return nil
	}
	if !f.plain(&root, 0) {
		return nil
	}
	test := &SmokeTest{File: f.name}
	fields := f.fields(root.Content[0], "the file", "requests")
	list := fields["requests"]
	if list == nil || list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		switch {
		case list != nil && list.Kind != yaml.SequenceNode:
			f.mistake(list.Line, "requests is %s, and not a list: write - before each request", kindOf(list))
		case len(f.errs) == 0:
			f.mistake(root.Content[0].Line, "holds no requests: write a list of them under requests, each with a path")
		}
		return nil
	}
	if len(list.Content) > maxRequests {
		f.mistake(list.Line, "holds %d requests, and %d are the most: leave some out", len(list.Content), maxRequests)
		return nil
	}
	for _, item := range list.Content {
		test.Requests = append(test.Requests, f.request(item))
	}
	if n := test.asked(); n > maxAsked {
		f.mistake(list.Line, "asks %d times in all, and %d are the most: lower repeat", n, maxAsked)
	}
	return test
}

// plain refuses what makes a small file large: aliases, and nesting that no
// request needs.
func (f *smokeFile) plain(n *yaml.Node, depth int) bool {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		f.mistake(n.Line, "anchors and aliases (& and *) are not read here: write the value out")
		return false
	case depth > maxNesting:
		f.mistake(n.Line, "nested more than %d levels deep: write it flatter", maxNesting)
		return false
	}
	for _, child := range n.Content {
		if !f.plain(child, depth+1) {
			return false
		}
	}
	return true
}

// fields are the values of a mapping that has no other keys than those.
func (f *smokeFile) fields(n *yaml.Node, what string, known ...string) map[string]*yaml.Node {
	if n.Kind != yaml.MappingNode {
		f.mistake(n.Line, "%s is %s, and not a map: write keys with values, of %s", what, kindOf(n), strings.Join(known, ", "))
		return nil
	}
	found := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		switch {
		case key.Kind != yaml.ScalarNode || !slices.Contains(known, key.Value):
			f.mistake(key.Line, "key %s of %s is not known: use %s", short(key.Value), what, strings.Join(known, ", "))
		case found[key.Value] != nil:
			f.mistake(key.Line, "key %s is there twice: remove one of them", short(key.Value))
		default:
			found[key.Value] = n.Content[i+1]
		}
	}
	return found
}

// yamlProblem is a parser's error with its line, and without what it quotes of the file.
func yamlProblem(err error) (at int, problem string) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if after, ok := strings.CutPrefix(text, "line "); ok {
		number, rest, _ := strings.Cut(after, ": ")
		if n, err := strconv.Atoi(number); err == nil {
			at, text = n, rest
		}
	}
	return at, "is not YAML (" + line(text) + "): correct it, and put conditions in quotes"
}

// short is a key or a file's name in an error: cut, since nothing bounds it.
func short(name string) string {
	const most = 80
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	return strconv.Quote(name)
}
