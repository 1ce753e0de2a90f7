package manifest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What `helm template` prints for the chart of `helm create`: its test pod fails
// until what it tests is ready, and is not to be deployed.
func TestChartTestsAreLeftOut(t *testing.T) {
	t.Parallel()
	object := func(name, hook string) string {
		return "apiVersion: v1\nkind: Pod\nmetadata:\n  name: " + name + "\n  annotations: {" + hook + "}\n"
	}
	for _, tt := range []struct {
		name, hook string
		left       bool
	}{
		{"test", "helm.sh/hook: test", true},
		{"older", "helm.sh/hook: test-success", true},
		{"both", `"helm.sh/hook": "test-success, test-failure"`, true},
		{"install", "helm.sh/hook: pre-install", false},
		{"install and test", `helm.sh/hook: "post-install,test"`, false},
		{"none", "a: b", false},
		{"empty", `helm.sh/hook: ""`, false},
		{"another key", "helm.sh/hook-weight: test", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for file, content := range map[string]string{"a.yaml": object("model", "a: b"), "b.yaml": object("checked", tt.hook)} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			set, err := Load(t.Context(), Options{Root: root, Paths: []string{"a.yaml", "b.yaml"}})
			if err != nil {
				t.Fatal(err)
			}
			if got := len(set.Tests) == 1 && len(set.Objects) == 1; got != tt.left {
				t.Errorf("%d objects, left out %v", len(set.Objects), set.Tests)
			}
			if tt.left && (set.Tests[0].File != "b.yaml" || set.Tests[0].Line != 1 || set.Tests[0].Name != "checked") {
				t.Errorf("left out %+v", set.Tests[0])
			}
			if _, err := Load(t.Context(), Options{Root: root, Paths: []string{"b.yaml"}}); tt.left && (err == nil || !strings.Contains(err.Error(), "nothing but tests")) {
				t.Errorf("alone: %v", err)
			}
		})
	}
}
