package manifest

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	utiljson "k8s.io/apimachinery/pkg/util/json"
	sigsyaml "sigs.k8s.io/yaml"
)

// FuzzLoad holds that every mistake has a line of the file, that every field can
// be found again, and that what is loaded is what kubectl reads.
func FuzzLoad(f *testing.F) {
	f.Add(deployment)
	f.Add("---\n" + config("a") + "---\n{\"apiVersion\": \"v1\", \"kind\": \"X\", \"metadata\": {\"name\": \"a\"}}\n{}")
	f.Add(config("a") + "a: &a {x: on}\nb: {<<: *a, 0777: |\n  ---\n}\n")
	f.Add("apiVersion: v1\nkind: ConfigMapList\nitems:\n- metadata: {name: a}\n- &x [*x]\n")
	for _, s := range scalars {
		f.Add(config("a") + "spec: " + s + "\n")
	}
	dir := f.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		f.Fatal(err)
	}
	defer root.Close()
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(text, "\n") + 1
		set, err := Load(t.Context(), Options{Root: root, Paths: []string{"a.yaml"}})
		if err != nil {
			for _, m := range mistakes(t, err) {
				if m.File != "" && (m.Line < 0 || m.Line > lines && !strings.ContainsAny(text, "\r\u0085\u2028\u2029")) {
					t.Errorf("line %d of %d: %v", m.Line, lines, m)
				}
			}
			return
		}
		for i, o := range set.Objects {
			at := set.Position(i, "")
			for _, field := range []string{"apiVersion", "kind", "metadata.name"} {
				if p := set.Position(i, field); p.Line < 1 || p.File != at.File {
					t.Errorf("Position(%d, %q) = %v", i, field, p)
				}
			}
			if o.GetKind() == "" || o.GetName() == "" || o.GetAPIVersion() == "" {
				t.Errorf("object %d has no name: %v", i, o)
			}
		}
		for _, use := range set.Images() {
			_ = set.Position(use.Object, use.Path)
		}
		if len(set.Objects) != 1 || strings.Contains(text, "---") || strings.Contains(text, "items") || strings.HasPrefix(text, "\ufeff") {
			return
		}
		var want map[string]any
		converted, err := sigsyaml.YAMLToJSON([]byte(text))
		if err != nil {
			return // JSON that YAML does not read
		}
		if err := utiljson.Unmarshal(converted, &want); err != nil {
			t.Fatalf("loaded what kubectl refuses: %v", err)
		}
		if !strings.HasPrefix(strings.TrimSpace(text), "{") && !reflect.DeepEqual(want, set.Objects[0].Object) {
			t.Errorf("loaded %v, kubectl %v", set.Objects[0].Object, want)
		}
	})
}

// FuzzFind holds that no path, however it is written, reads outside of the
// workspace.
func FuzzFind(f *testing.F) {
	parent := f.TempDir()
	inside := filepath.Join(parent, "workspace", "k8s")
	if err := os.MkdirAll(inside, 0o755); err != nil {
		f.Fatal(err)
	}
	for name, text := range map[string]string{filepath.Join(parent, "x.yaml"): config("outside"), filepath.Join(inside, "x.yaml"): config("inside")} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	for link, target := range map[string]string{"up": "../..", "file.yaml": "../../x.yaml", "absolute": parent} {
		if err := os.Symlink(target, filepath.Join(inside, link)); err != nil {
			f.Fatal(err)
		}
	}
	root, err := os.OpenRoot(filepath.Dir(inside))
	if err != nil {
		f.Fatal(err)
	}
	defer root.Close()
	for _, s := range []string{".", "k8s", "k8s/*.yaml", "**/x.yaml", "../x.yaml", "k8s/up/x.yaml", "k8s/up", "k8s/**", "k8s/absolute/*", parent, "k8s/./../../x.yaml", "[", "**", "k8s/\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, item string) {
		set, err := Load(t.Context(), Options{Root: root, Paths: []string{item}})
		if err != nil {
			mistakes(t, err)
			return
		}
		for _, name := range names(set) {
			if name != "inside" {
				t.Errorf("%q read %s", item, name)
			}
		}
	})
}
