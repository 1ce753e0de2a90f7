package casetest

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// good are the files of a case that can be read.
func good() map[string]string {
	return map[string]string{
		"kubernetes/a.yaml": "kind: Deployment", "workspace/smoke.yaml": "requests: []", "README.md": "Why.",
		"inputs.txt": "sha=one\n", "inputs-2.txt": "# when ^deployment\nsha=two\n",
		"before.yaml": "# deploy\nkind: Deployment\n", "before.sh": "true", "controller.sh": "true", "images.yaml": "ghcr.io/a/b: {model.status: \"503\"}\n",
		"expect.yaml": "runs: [{exit: 0, outcome: deployed}, {log: ['^a b$'], objects: [{kind: Pod, name: x, absent: true}], within: 5, again: unchanged}]",
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	all, err := Parse("one", good())
	if err != nil || len(all) != 1 {
		t.Fatal(len(all), err)
	}
	c := all[0]
	if diff := cmp.Diff(map[string]string{"kubernetes/a.yaml": "kind: Deployment", "smoke.yaml": "requests: []"}, c.files); diff != "" {
		t.Error("the workspace", diff)
	}
	if len(c.Runs) != 2 || c.Runs[0].With["sha"] != "one" || c.Runs[1].With["sha"] != "two" || c.Runs[1].When.String() != "^deployment" {
		t.Errorf("runs %+v", c.Runs)
	}
	if !c.deploys || c.script == "" || c.controller == "" || c.images["ghcr.io/a/b"]["model.status"] != "503" {
		t.Errorf("%+v", c)
	}
	if len(c.Expect) != 2 || *c.Expect[0].Exit != 0 || c.Expect[1].Again != "unchanged" || !c.Expect[1].Objects[0].Absent {
		t.Errorf("expect %+v", c.Expect)
	}
}

// What is misspelt would count for nothing, and the case would hold for that.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		file, content, want string
	}{
		"a file":                  {"expct.yaml", "", "one: expct.yaml: a case has no such file"},
		"a file in a folder":      {"manifests/a.yaml", "", "one: manifests/a.yaml: a case has no such file"},
		"a key":                   {"expect.yaml", "outcom: deployed", `one: expect.yaml: unknown field "outcom"`},
		"a key of an object":      {"expect.yaml", "objects: [{kind: Pod, name: a, gone: true}]", `unknown field "gone"`},
		"a key of a run":          {"expect.yaml", "runs: [{exot: 0}, {exit: 0}]", `unknown field "exot"`},
		"a key twice":             {"expect.yaml", "exit: 0\nexit: 1", `key "exit" already set in map`},
		"no expectation":          {"expect.yaml", "", "one: expect.yaml: run 1: nothing is expected of it"},
		"too few runs":            {"expect.yaml", "exit: 0", "one: expect.yaml: it has 1 runs, and there are inputs for 2"},
		"runs and keys":           {"expect.yaml", "exit: 0\nruns: [{exit: 0}, {exit: 0}]", "keys of a run beside them"},
		"an expression":           {"expect.yaml", "runs: [{log: ['(']}, {exit: 0}]", "missing closing )"},
		"an empty expression":     {"expect.yaml", "runs: [{log: ['']}, {exit: 0}]", "an empty expression matches every line"},
		"a condition":             {"expect.yaml", "runs: [{objects: [{kind: Pod, name: a, that: ['{.a} = b']}]}, {exit: 0}]", `condition "{.a} = b": compares by =; write == for a comparison`},
		"an object without kind":  {"expect.yaml", "runs: [{objects: [{name: a}]}, {exit: 0}]", "an object has no kind or no name"},
		"absent with conditions":  {"expect.yaml", "runs: [{objects: [{kind: Pod, name: a, absent: true, that: ['{.a}']}]}, {exit: 0}]", "Pod a: absent, and with conditions"},
		"a negative time":         {"expect.yaml", "runs: [{within: -1}, {exit: 0}]", "within: -1 is no number of seconds"},
		"an input without value":  {"inputs.txt", "sha", `one: inputs.txt: line 1: "sha" is neither NAME=VALUE nor env:NAME=VALUE`},
		"a name with a space":     {"inputs.txt", "\na b=c", `line 2: "a b=c" is neither`},
		"a variable twice":        {"inputs.txt", "env:A=1\nenv:A=2", "line 2: env:A is there twice"},
		"a gap between runs":      {"inputs-4.txt", "", "one: inputs-4.txt: there is no run before it"},
		"a first run that waits":  {"inputs.txt", "# when x", "one: inputs.txt: there is no run before it"},
		"an image's labels":       {"images.yaml", "a: [1]", "cannot unmarshal array"},
		"an image":                {"images.yaml", "'A B': {}", `"A B" is no reference`},
		"a path out of it":        {"kubernetes/../../x.yaml", "", "it leads out of the workspace"},
		"variants":                {"variants.yaml", "a: b", "one: variants.yaml:"},
		"a file of a variant":     {"variants.yaml", "v: {expct.yaml: ''}", "one/v: expct.yaml: a case has no such file"},
		"a variant of variants":   {"variants.yaml", "v: {variants.yaml: ''}", "one: v: variants.yaml cannot be of a variant"},
		"an expectation's number": {"variants.yaml", "v: {inputs-2.txt: null}", "one/v: expect.yaml: it has 2 runs, and there are inputs for 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := good()
			files[tt.file] = tt.content
			_, err := Parse("one", files)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestVariants(t *testing.T) {
	t.Parallel()
	files := good()
	files["variants.yaml"] = "plain:\n  before.yaml: |\n    kind: Service\n  controller.sh: null\nother:\n  kubernetes/a.yaml: |\n    kind: StatefulSet\n"
	all, err := Parse("one", files)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
	}
	if diff := cmp.Diff([]string{"one", "one/other", "one/plain"}, names); diff != "" {
		t.Fatal(diff)
	}
	if c := all[1]; c.files["kubernetes/a.yaml"] != "kind: StatefulSet\n" || !c.deploys || c.controller == "" {
		t.Errorf("%+v", c)
	}
	if c := all[2]; c.before != "kind: Service\n" || c.deploys || c.controller != "" || c.script != "true" {
		t.Errorf("%+v", c)
	}
}

func TestInputs(t *testing.T) {
	t.Parallel()
	got, err := ParseInputs("# a comment\n\nimages=a\n images = b=c \nempty=\nenv:GITHUB_EVENT_NAME=push\r\n")
	if err != nil {
		t.Fatal(err)
	}
	want := Inputs{With: map[string]string{"images": "a\nb=c", "empty": ""}, Env: map[string]string{"GITHUB_EVENT_NAME": "push"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	in := Inputs{With: map[string]string{"sha": "a", "timeout": "5s", "release": "r", "manifests": "x"}, Env: map[string]string{"A": "b"}}
	if diff := cmp.Diff(map[string]string{"release": "r"}, in.place().With); diff != "" {
		t.Error("what says where", diff)
	}
}

// What the registry holds by itself is what makes most cases short.
func TestRegistry(t *testing.T) {
	t.Parallel()
	const host = "eu.pkg.dev/p/m"
	for name, tt := range map[string]struct {
		c    Case
		want []string
	}{
		"manifests": {Case{files: map[string]string{"kubernetes/a.yaml": "image: " + host + "/a:latest\nother: " + host + "/deep/b\nimage: nginx:1\nx: " + host + "x/c"}}, []string{"a:1", "a:2", "deep/b:1", "deep/b:2"}},
		"capitals":  {Case{files: map[string]string{"a": "image: " + host + "/a"}}, []string{"a:1", "a:2"}},
		"deployed":  {Case{before: host + "/a:old", deploys: true}, []string{"a:1", "a:2"}},
		"applied":   {Case{before: host + "/a:old", script: "--image=" + host + "/b"}, []string{"a:old", "b:latest"}},
		"named":     {Case{files: map[string]string{"a": host + "/a"}, images: images{host + "/b": nil, host + "/c:v1": nil}}, []string{"b:1", "b:2", "c:v1"}},
		"none":      {Case{files: map[string]string{"a": host + "/a"}, images: images{}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, reference := range slices.Sorted(maps.Keys(tt.c.registry(strings.ToUpper(host[:2])+host[2:], []string{"1", "2"}))) {
				got = append(got, strings.TrimPrefix(reference, host+"/"))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for path, content := range map[string]string{
		"a/kubernetes/x.yaml": "x", "a/expect.yaml": "exit: 0", "b/inputs.txt": "", "b/kubernetes/x.yaml": "x", "README.md": "", ".git/HEAD": "", "c/what.txt": "",
	} {
		if err := write(dir, map[string]string{path: content}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := Load(dir)
	if err == nil || err.Error() != "c: what.txt: a case has no such file" {
		t.Error(err)
	}
	if len(all) != 2 || all[0].Name != "a" || all[1].Name != "b" || all[1].Expect != nil {
		t.Errorf("%+v", all)
	}
	one, err := Load(filepath.Join(dir, "a"))
	if err != nil || len(one) != 1 || one[0].Name != "a" {
		t.Errorf("%+v, %v", one, err)
	}
	if _, err := Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "there is no case in it") {
		t.Error(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "a", "kubernetes", "y.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(filepath.Join(dir, "a")); err == nil || !strings.Contains(err.Error(), "kubernetes/y.yaml is no file") {
		t.Error(err)
	}
}

// sections are what each README of a case has.
var sections = []string{"**Source.** ", "**What people do.** ", "**The right value.** "}

// TestCasesSayWhy: a case that nobody can check against its source is a rule that
// nobody knows the reason of.
func TestCasesSayWhy(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir("../cases")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join("../cases", e.Name(), "README.md"))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, s := range sections {
			if !strings.Contains(string(text), "\n"+s) {
				t.Errorf("%s: its README.md has no paragraph %q", e.Name(), s)
			}
		}
		if !regexp.MustCompile(`^# \S`).Match(text) {
			t.Errorf("%s: its README.md has no title", e.Name())
		}
	}
}

func FuzzParse(f *testing.F) {
	for file, content := range good() {
		f.Add(file, content)
	}
	f.Add("variants.yaml", "v: {inputs.txt: 'a=b', expect.yaml: null}")
	f.Fuzz(func(t *testing.T, file, content string) {
		all, err := Parse("one", map[string]string{file: content})
		if err != nil {
			return
		}
		for _, c := range all {
			if len(c.Runs) == 0 || c.Expect != nil && len(c.Expect) != len(c.Runs) {
				t.Errorf("%s: %d runs, %d expected", c.Name, len(c.Runs), len(c.Expect))
			}
			for name := range c.files {
				if !filepath.IsLocal(name) {
					t.Errorf("a file of the workspace is %q", name)
				}
			}
			_ = c.registry("eu.pkg.dev/p/m", []string{"1"})
		}
	})
}
