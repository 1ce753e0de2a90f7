package manifest

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// workspace makes a folder with files. A value "-> TARGET" makes a symbolic
// link, and a name that ends in / a folder.
func workspace(tb testing.TB, files map[string]string) *os.Root {
	tb.Helper()
	return fill(tb, tb.TempDir(), files)
}

// fill makes a folder with files out of one that is there.
func fill(tb testing.TB, dir string, files map[string]string) *os.Root {
	tb.Helper()
	for name, content := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			tb.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			err = os.Symlink(target, full)
		} else if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(full, 0o755)
		} else {
			err = os.WriteFile(full, []byte(content), 0o600)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { root.Close() })
	return root
}

// config is a small object.
func config(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n"
}

// names are the names of all objects, in order.
func names(s *Set) []string {
	var all []string
	for _, o := range s.Objects {
		all = append(all, o.GetName())
	}
	return all
}

// mistakes flattens a joined error, and fails if it joins anything but *Error.
func mistakes(t *testing.T, err error) []*Error {
	t.Helper()
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("error is %T: %v", err, err)
	}
	var all []*Error
	for _, e := range joined.Unwrap() {
		var m *Error
		if !errors.As(e, &m) {
			t.Fatalf("mistake is %T: %v", e, e)
		}
		all = append(all, m)
	}
	return all
}

// golden compares sections of text with a golden file.
func golden(t *testing.T, name string, sections map[string]string) {
	t.Helper()
	var titles []string
	for title := range sections {
		titles = append(titles, title)
	}
	sort.Strings(titles)
	var b strings.Builder
	for _, title := range titles {
		b.WriteString("-- " + title + " --\n" + strings.TrimRight(sections[title], "\n") + "\n")
	}
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("%s (-want +got), run with -update to accept:\n%s", file, diff)
	}
}
