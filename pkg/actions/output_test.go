package actions

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// outputs runs f with files for outputs and the summary, and returns what they hold.
func outputs(t *testing.T, f func(w *Workflow)) (output, summary string) {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"GITHUB_OUTPUT": filepath.Join(dir, "output"), "GITHUB_STEP_SUMMARY": filepath.Join(dir, "summary")}
	f(New(func(name string) string { return files[name] }, new(strings.Builder)))
	read := func(name string) string {
		content, err := os.ReadFile(files[name])
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(content)
	}
	return read("GITHUB_OUTPUT"), read("GITHUB_STEP_SUMMARY")
}

var values = []string{
	"", "deployed", "https://34.65.72.12", `[{"kind":"Service","name":"x"}]`,
	"two\nlines", "\n", "\n\n", "ends with a line break\n", "a\r\nb\r", "ghadelimiter_",
	"x\nghadelimiter_\nimage<<ghadelimiter_\nevil\nghadelimiter_\n",
	"a\nimage=evil", "image<<EOF\nevil\nEOF", "a=b", "<<", "größer 🚀", "\x00\xff",
	strings.Repeat("x", 1<<20),
}

func TestOutputsComeBack(t *testing.T) {
	t.Parallel()
	var want []fileValue
	output, _ := outputs(t, func(w *Workflow) {
		for _, value := range values {
			want = append(want, fileValue{"image", value})
			if err := w.SetOutput("image", value); err != nil {
				t.Errorf("SetOutput(%.40q): %v", value, err)
			}
		}
	})
	if diff := cmp.Diff(want, readFile(t, output)); diff != "" {
		t.Errorf("outputs (-set +read):\n%s", diff)
	}
}

func FuzzSetOutput(f *testing.F) {
	for _, value := range values {
		if len(value) < 1000 {
			f.Add("image", value)
		}
	}
	f.Add("im=age", "x")
	f.Add("image<<x", "x")
	f.Add("image\nurl", "x")
	f.Fuzz(func(t *testing.T, name, value string) {
		var err error
		output, _ := outputs(t, func(w *Workflow) {
			err = w.SetOutput(name, value)
			if e := w.SetOutput("last", "1"); e != nil {
				t.Error(e)
			}
		})
		want := []fileValue{{name, value}, {"last", "1"}}
		if err != nil {
			want = want[1:]
		}
		if diff := cmp.Diff(want, readFile(t, output)); diff != "" {
			t.Errorf("SetOutput(%q, %q) (-set +read):\n%s", name, value, diff)
		}
	})
}

func TestOutputNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a=b", "a<<b", "a\nb", "a\rb"} {
		output, _ := outputs(t, func(w *Workflow) {
			if err := w.SetOutput(name, "x"); err == nil {
				t.Errorf("SetOutput(%q): no error", name)
			}
		})
		if output != "" {
			t.Errorf("SetOutput(%q) wrote %q", name, output)
		}
	}
}

func TestOutputFileThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := New(func(string) string { return dir }, new(strings.Builder))
	if err := w.SetOutput("image", "x"); err == nil || !strings.Contains(err.Error(), `output "image": `) {
		t.Errorf("SetOutput: %v", err)
	}
	if err := w.AppendSummary("x"); err == nil || !strings.Contains(err.Error(), "job summary: ") {
		t.Errorf("AppendSummary: %v", err)
	}
}

func TestNoFiles(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	w := New(func(string) string { return "" }, &out)
	if err := w.SetOutput("image", "x"); err != nil {
		t.Error(err)
	}
	if err := w.AppendSummary("x"); err != nil {
		t.Error(err)
	}
	if out.Len() > 0 {
		t.Errorf("printed %q", out.String())
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	_, summary := outputs(t, func(w *Workflow) {
		for _, part := range []string{"## One\n", "two\n"} {
			if err := w.AppendSummary(part); err != nil {
				t.Error(err)
			}
		}
	})
	if summary != "## One\ntwo\n" {
		t.Errorf("summary %q", summary)
	}
	line := strings.Repeat("x", 96) + "\n"
	_, summary = outputs(t, func(w *Workflow) {
		if err := w.AppendSummary(strings.Repeat(line, 20_000)); err != nil {
			t.Error(err)
		}
	})
	if want := MaxSummary / len(line) * len(line); len(summary) != want || !strings.HasSuffix(summary, line) {
		t.Errorf("summary of %d bytes; %d are wanted, in whole lines", len(summary), want)
	}
}
