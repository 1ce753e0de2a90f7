package runner

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestKeyValues(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		content string
		want    map[string]string
		err     string
	}{
		{content: "", want: map[string]string{}},
		{content: "a=b", want: map[string]string{"a": "b"}},
		{content: "a=b\n\nc=\n", want: map[string]string{"a": "b", "c": ""}},
		{content: "a=b=c<<d\n", want: map[string]string{"a": "b=c<<d"}},
		{content: "a<<E\nE\n", want: map[string]string{"a": ""}},
		{content: "a<<E\n\nE\n", want: map[string]string{"a": ""}},
		{content: "a<<E\nx\nE", want: map[string]string{"a": "x"}},
		{content: "a<<E\nx\n\ny=z\nE\nb=c\n", want: map[string]string{"a": "x\n\ny=z", "b": "c"}},
		{content: "a<<E=1\nx\nE=1\n", want: map[string]string{"a": "x"}},
		{content: "a<<E\nx\r\nE\n", want: map[string]string{"a": "x\r"}},
		{content: "a=1\na=2\n", want: map[string]string{"a": "2"}},
		{content: "a", err: `invalid format "a"`},
		{content: "=b\n", err: `invalid format "=b"`},
		{content: "<<E\nE\n", err: `invalid format "<<E"`},
		{content: "a<<\nE\n", err: `invalid format "a<<"`},
		{content: "a<<E\n", err: `no line "E"`},
		{content: "a<<E\nx\n", err: `no line "E"`},
		{content: "a<<E\nx", err: `no line break before the end of the file`},
		{content: "a<<E\nx\nE\r\n", err: `no line "E"`},
		{content: "a<<E\nx\nE more\n", err: `no line "E"`},
	} {
		got, err := keyValues(test.content)
		switch {
		case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
			t.Errorf("%q: error %v, want %s", test.content, err, test.err)
		case test.err == "" && err != nil:
			t.Errorf("%q: %v", test.content, err)
		case test.err == "":
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", test.content, diff)
			}
		}
	}
}

func TestTranslate(t *testing.T) {
	t.Parallel()
	f, err := newFiles(Step{Workspace: "/home/runner/work/model/model"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.remove() })
	for value, want := range map[string]string{
		"/home/runner/work/model/model":                     "/github/workspace",
		"/home/runner/work/model/model/gha-creds-0a1b.json": "/github/workspace/gha-creds-0a1b.json",
		"/home/runner/work/model/models/x":                  "/home/runner/work/model/models/x",
		"--file=/home/runner/work/model/model/x":            "--file=/home/runner/work/model/model/x",
		f.temp + "/x":                                       "/github/runner_temp/x",
		f.home:                                              "/github/home",
		f.output:                                            "/github/file_commands/" + f.output[len(f.commands)+1:],
		f.event:                                             "/github/workflow/event.json",
		"a\n/home/runner/work/model/model/x":                "a\n/home/runner/work/model/model/x",
		"/home/runner/work/model/model/a\nand anything after": "/github/workspace/a\nand anything after",
	} {
		if got := f.translate(value); got != want {
			t.Errorf("%q becomes %q, want %q", value, got, want)
		}
	}
}

func FuzzKeyValues(f *testing.F) {
	for _, content := range []string{"a=b\n", "a<<E\nx\nE\n", "a<<E\nx", "\n\n="} {
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content string) {
		values, err := keyValues(content)
		if err != nil {
			return
		}
		for name, value := range values {
			if name == "" || !strings.Contains(content, name) || !strings.Contains(content, value) {
				t.Errorf("%q: name %q, value %q", content, name, value)
			}
		}
	})
}
