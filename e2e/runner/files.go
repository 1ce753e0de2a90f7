package runner

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// files are what the runner makes for a step.
type files struct {
	temp, home, workflow, commands, workspace string
	output, env, path, state, summary, event  string
	mounts                                    [][2]string // host path, container path; the most specific first
}

func newFiles(s Step) (*files, error) {
	temp, err := os.MkdirTemp("", "runner")
	if err != nil {
		return nil, err
	}
	in := func(parts ...string) string { return filepath.Join(append([]string{temp}, parts...)...) }
	f := &files{
		temp: temp, workspace: s.Workspace,
		home: in("_github_home"), workflow: in("_github_workflow"), commands: in("_runner_file_commands"),
	}
	for _, dir := range []string{f.home, f.workflow, f.commands} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	f.event = filepath.Join(f.workflow, "event.json")
	if err := os.WriteFile(f.event, []byte(or(s.Payload, "{}")), 0o644); err != nil {
		return nil, err
	}
	for name, path := range map[string]*string{"set_output": &f.output, "set_env": &f.env, "add_path": &f.path, "save_state": &f.state, "step_summary": &f.summary} {
		*path = filepath.Join(f.commands, name+"_4f8e2c31")
		if err := os.WriteFile(*path, nil, 0o644); err != nil {
			return nil, err
		}
	}
	f.mounts = [][2]string{
		{f.commands, "/github/file_commands"},
		{f.workflow, "/github/workflow"},
		{f.home, "/github/home"},
		{f.workspace, "/github/workspace"},
		{f.temp, "/github/runner_temp"},
	}
	return f, nil
}

func (f *files) remove() { _ = os.RemoveAll(f.temp) }

// translate rewrites a value that is, or begins with, a mounted path.
func (f *files) translate(value string) string {
	for _, m := range f.mounts {
		if value == m[0] {
			return m[1]
		}
		if rest, ok := strings.CutPrefix(value, m[0]+"/"); ok {
			return m[1] + "/" + rest
		}
	}
	return value
}

// read takes what the action wrote to the files, by the runner's rules.
func (f *files) read(r *Result) error {
	content, err := os.ReadFile(f.output)
	if err != nil {
		return err
	}
	if r.Outputs, err = keyValues(string(content)); err != nil {
		return fmt.Errorf("GITHUB_OUTPUT: %w", err)
	}
	for name, path := range map[string]string{"GITHUB_ENV": f.env, "GITHUB_PATH": f.path, "GITHUB_STATE": f.state} {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if len(content) > 0 {
			return fmt.Errorf("%s: the action wrote to it", name)
		}
	}
	summary, err := os.ReadFile(f.summary)
	if err != nil {
		return err
	}
	if len(summary) > 1<<20 {
		return fmt.Errorf("GITHUB_STEP_SUMMARY: %d bytes; the runner drops more than 1 MiB", len(summary))
	}
	r.Summary = string(summary)
	return nil
}

// keyValues is EnvFileKeyValuePairs: NAME=VALUE lines and NAME<<DELIMITER
// blocks. What the runner fails the step for is an error.
func keyValues(content string) (map[string]string, error) {
	values := map[string]string{}
	line, rest, _ := strings.Cut(content, "\n")
	for line != "" || rest != "" {
		equals, heredoc := strings.Index(line, "="), strings.Index(line, "<<")
		switch {
		case line == "":
		case equals > 0 && (heredoc < 0 || equals < heredoc):
			values[line[:equals]] = line[equals+1:]
		case heredoc > 0 && (equals < 0 || heredoc < equals) && heredoc+2 < len(line):
			value, after, err := block(rest, line[heredoc+2:])
			if err != nil {
				return nil, err
			}
			values[line[:heredoc]], rest = value, after
		default:
			return nil, fmt.Errorf("invalid format %q", line)
		}
		line, rest, _ = strings.Cut(rest, "\n")
	}
	return values, nil
}

// block cuts the text before the first line that is the delimiter.
func block(text, delimiter string) (value, after string, err error) {
	end := 0
	for start := 0; start < len(text); {
		line, _, more := strings.Cut(text[start:], "\n")
		next := start + len(line) + 1
		switch {
		case line == delimiter:
			return text[:end], text[min(next, len(text)):], nil
		case !more:
			return "", "", fmt.Errorf("no line break before the end of the file, in the value that ends with %q", delimiter)
		}
		end, start = next-1, next
	}
	return "", "", fmt.Errorf("no line %q", delimiter)
}

// snapshot sums every file that the step can see, but not those that it is
// there to write to: they are read in full afterwards.
func (f *files) snapshot() (map[string][32]byte, error) {
	sums := map[string][32]byte{}
	for _, dir := range []string{f.workspace, f.temp} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || f.own(path) {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sums[path] = sha256.Sum256(content)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return sums, nil
}

// changed are the files that were made, written to or removed.
func changed(before, after map[string][32]byte) []string {
	var names []string
	for name, sum := range after {
		if old, ok := before[name]; !ok || old != sum {
			names = append(names, name)
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (f *files) own(path string) bool {
	return slices.Contains([]string{f.output, f.env, f.path, f.state, f.summary}, path)
}
