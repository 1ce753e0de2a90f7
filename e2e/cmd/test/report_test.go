package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// modules are two modules whose tests pass, fail, are skipped and panic.
var modules = map[string]string{
	"one/go.mod": "module example.com/one\n",
	"one/a/a_test.go": `package a

import "testing"

func TestPasses(t *testing.T) { t.Log("not shown") }

func TestPrints(t *testing.T) {
	t.Output().Write([]byte("figure: 3 of 3\n"))
	t.Output().Write([]byte("figure: and one more line\n"))
}

func TestSkipped(t *testing.T) {
	t.Log("not the reason")
	t.Skip("no Docker engine")
}

func TestParts(t *testing.T) {
	t.Run("x", func(t *testing.T) { t.Parallel(); t.Skip("no Docker engine") })
	t.Run("y", func(t *testing.T) { t.SkipNow() })
}
`,
	"two/go.mod": "module example.com/two\n",
	"two/b/b_test.go": `package b

import "testing"

func TestFails(t *testing.T) {
	t.Log("the log")
	t.Run("part", func(t *testing.T) { t.Error("this is wrong") })
	t.Run("good", func(t *testing.T) { t.Log("not shown") })
}
`,
	"two/c/c_test.go": "package c\n\nimport \"testing\"\n\nfunc TestPanics(t *testing.T) { println(\"before\"); panic(\"boom\") }\n",
	"two/d/d_test.go": "package d\n\nfunc f() int { return missing }\n",
}

func TestReport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range modules {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		module string
		fails  bool
		end    string   // of what is printed
		shown  []string // before
		hidden []string
	}{
		{
			module: "one",
			end: `
Figures:
  3 of 3
  and one more line

0 tests failed, 3 tests skipped:
  it gives no reason
    example.com/one/a TestParts/y
  no Docker engine
    example.com/one/a TestSkipped
    example.com/one/a TestParts/x
`,
			shown:  []string{"ok  \texample.com/one/a\t"},
			hidden: []string{"not shown", "=== RUN", "not the reason", "PASS"},
		},
		{
			module: "two", fails: true,
			end: `
3 tests failed, 0 tests skipped

What the failed ones logged:
  TestFails/part: b_test.go:7: this is wrong
  TestFails: b_test.go:6: the log
`,
			shown: []string{
				"--- FAIL: TestFails", "the log", "--- FAIL: TestFails/part", "this is wrong", "FAIL\texample.com/two/b",
				"panic: boom", "FAIL\texample.com/two/c", "undefined: missing", "FAIL\texample.com/two/d [build failed]",
			},
			hidden: []string{"not shown", "=== RUN", "good"},
		},
	} {
		t.Run(tt.module, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			err := run(t.Context(), []string{filepath.Join(dir, tt.module), "--", "-count=1", "./..."}, &out)
			if (err != nil) != tt.fails {
				t.Errorf("error %v", err)
			}
			text := out.String()
			if i := strings.LastIndex(text, tt.end); i < 0 || text[i:] != tt.end {
				t.Errorf("its end (-want +got):\n%s", cmp.Diff(tt.end, text))
			}
			for _, s := range tt.shown {
				if !strings.Contains(text, s) {
					t.Errorf("it does not show %q:\n%s", s, text)
				}
			}
			for _, s := range tt.hidden {
				if strings.Contains(text, s) {
					t.Errorf("it shows %q:\n%s", s, text)
				}
			}
		})
	}
	if err := run(t.Context(), nil, &strings.Builder{}); err == nil {
		t.Error("no modules: no error")
	}
}
