package manifest

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLoadFinds(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"k8s/b.yaml":             config("b"),
		"k8s/a.yml":              config("a"),
		"k8s/c.json":             `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}`,
		"k8s/README.md":          "no manifest",
		"k8s/.hidden.yaml":       config("hidden"),
		"k8s/.git/x.yaml":        config("git"),
		"k8s/gha-creds-12.json":  `{"token": "x"}`,
		"k8s/key.json":           `{"private_key": "x"}`,
		"k8s/deep/er/d.yaml":     config("d"),
		"k8s/deep/e.yaml":        config("e"),
		"k8s/deep/loop":          "-> .",
		"other/inside.yaml":      "-> ../k8s/a.yml",
		"linked/folder":          "-> ../k8s/deep/er",
		"manifest.txt":           config("text"),
		"odd/[x].yaml":           config("brackets"),
		"empty.yaml":             "# nothing\n---\n\n---\n# nothing either\n",
		"mixed/only-comment.yml": "# nothing\n",
		"mixed/f.yaml":           config("f"),
		".github/x.yaml":         config("github"),
	}
	for i := range 7 { // read in 13,700 ways if each link is followed
		files[fmt.Sprintf("mutual/%d/m.yaml", i+1)] = config(fmt.Sprintf("m%d", i+1))
		for j := range 7 {
			if i != j {
				files[fmt.Sprintf("mutual/%d/to%d", i+1, j+1)] = fmt.Sprintf("-> ../%d", j+1)
			}
		}
	}
	for name, test := range map[string]struct {
		paths []string
		want  []string
	}{
		"a file":                            {[]string{"k8s/b.yaml"}, []string{"b"}},
		"a file of any name":                {[]string{"manifest.txt"}, []string{"text"}},
		"a folder, in order":                {[]string{"k8s"}, []string{"a", "b", "c", "e", "d"}},
		"a folder, oddly written":           {[]string{"./k8s//"}, []string{"a", "b", "c", "e", "d"}},
		"paths in their order, files once":  {[]string{"k8s/deep", "k8s/b.yaml", "k8s"}, []string{"e", "d", "b", "a", "c"}},
		"a glob":                            {[]string{"k8s/*.yaml"}, []string{"b"}},
		"a glob over extensions":            {[]string{"k8s/*.y*ml"}, []string{"a", "b"}},
		"a glob in the middle":              {[]string{"k8s/*/er/*.yaml"}, []string{"d"}},
		"a glob that matches a folder":      {[]string{"k8s/de*"}, []string{"e", "d"}},
		"two stars":                         {[]string{"k8s/**/*.yaml"}, []string{"b", "e", "d"}},
		"two stars at the end":              {[]string{"k8s/deep/**"}, []string{"e", "d"}},
		"two stars twice":                   {[]string{"**/deep/**/*.yaml"}, []string{"e", "d"}},
		"two stars stand for nothing too":   {[]string{"k8s/deep/**/e.yaml"}, []string{"e"}},
		"a hidden file by name":             {[]string{"k8s/.hidden.yaml"}, []string{"hidden"}},
		"a hidden file by glob":             {[]string{"k8s/.h*.yaml"}, []string{"hidden"}},
		"a link inside the workspace":       {[]string{"other"}, []string{"a"}},
		"a linked folder":                   {[]string{"linked"}, []string{"d"}},
		"a name with brackets is no glob":   {[]string{"odd/[x].yaml"}, []string{"brackets"}},
		"two stars follow links":            {[]string{"linked/**/*.yaml"}, []string{"d"}},
		"two stars, each folder once":       {[]string{"k8s/deep/**/*.yaml"}, []string{"e", "d"}},
		"folders that link to one another":  {[]string{"mutual"}, []string{"m1", "m2", "m3", "m4", "m5", "m6", "m7"}},
		"the same, by a glob":               {[]string{"mutual/**/*.yaml"}, []string{"m1", "m2", "m3", "m4", "m5", "m6", "m7"}},
		"a file without objects among them": {[]string{"mixed"}, []string{"f"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set, err := Load(t.Context(), Options{Root: workspace(t, files), Paths: test.paths, Skip: func(p string) bool { return path.Base(p) == "key.json" }})
			if err != nil {
				t.Fatal(err)
			}
			got := names(set)
			if strings.Contains(test.paths[0], "mutual") {
				slices.Sort(got) // a folder is read by the first link to it
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadRefusesPaths(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "x.yaml"), []byte(config("outside")), 0o600); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"kubernetes/deployment.yaml":      config("a"),
		"kubernetes/service.yaml":         config("b"),
		"src/main.go":                     "package main",
		"k/kustomization.yaml":            "resources: [a.yaml]",
		"k/a.yaml":                        config("a"),
		"nested/deeper/kustomization.yml": "resources: []",
		"chart/Chart.yaml":                "name: x",
		"chart/templates/x.yaml":          "{{ if }}",
		"empty/":                          "",
		"comments/a.yaml":                 "# nothing\n",
		"links/file.yaml":                 "-> " + filepath.Join(outside, "x.yaml"),
		"links/folder":                    "-> " + outside,
		"up.yaml":                         "-> ../../../../../../../../etc/passwd",
		"dangling.yaml":                   "-> nowhere.yaml",
		"loop.yaml":                       "-> loop.yaml",
		"gha-creds-0123456789abcdef.json": `{"type":"external_account"}`,
		"key.json":                        `{"private_key":"x"}`,
		"many/a.yaml":                     config("a"),
		"many/b.yaml":                     config("b"),
		"many/c.yaml":                     config("c"),
		"many/d.yaml":                     config("d"),
		"many/e.yaml":                     config("e"),
		"many/f.yaml":                     config("f"),
	}
	sections := map[string]string{}
	root := workspace(t, files)
	for title, paths := range map[string][]string{
		"no paths":                  nil,
		"empty path":                {" "},
		"absent":                    {"kubernets"},
		"absent file":               {"kubernetes/deploymnt.yaml"},
		"absent below a file":       {"kubernetes/service.yaml/x.yaml"},
		"absent among many":         {"many/ff.yaml"},
		"absent in an empty folder": {"empty/x.yaml"},
		"absolute":                  {"/github/workspace/kubernetes"},
		"dot dot":                   {"../other/kubernetes"},
		"dot dot that returns":      {"kubernetes/../../kubernetes"},
		"dot dot in a glob":         {"kubernetes/../../*.yaml"},
		"url":                       {"https://example.com/x.yaml"},
		"glob without a match":      {"kubernetes/*.json"},
		"glob unclosed":             {"kubernetes/[a.yaml"},
		"empty folder":              {"empty"},
		"folder without manifests":  {"src"},
		"only comments":             {"comments"},
		"linked out":                {"links"},
		"linked out, file":          {"links/file.yaml"},
		"linked out, folder":        {"links/folder"},
		"linked out, glob":          {"links/*"},
		"linked out, two stars":     {"links/**/*.yaml"},
		"linked out, below":         {"links/folder/x.yaml"},
		"linked up":                 {"up.yaml"},
		"linked to nothing":         {"dangling.yaml"},
		"linked to itself":          {"loop.yaml"},
		"kustomization of nothing":  {"nested/deeper"},
		"kustomization below":       {"nested"},
		"kustomization, and a part": {"k", "k/a.yaml"},
		"kustomization file":        {"k/kustomization.yaml"},
		"kustomization by glob":     {"k/*.yaml"},
		"chart":                     {"chart"},
		"credentials of auth":       {"gha-creds-0123456789abcdef.json"},
		"credentials":               {"key.json"},
		"credentials by glob":       {"*.json"},
		"several at once":           {"absent", "/etc", "kubernetes"},
	} {
		_, err := Load(t.Context(), Options{Root: root, Paths: paths, Skip: func(p string) bool { return path.Base(p) == "key.json" }})
		if err == nil {
			t.Errorf("%s: no error", title)
			continue
		}
		mistakes(t, err)
		sections[title] = err.Error()
	}
	_, err := Load(t.Context(), Options{Root: workspace(t, nil), Paths: []string{"kubernetes"}})
	sections["empty workspace"] = fmt.Sprint(err)
	golden(t, "paths.golden", sections)
}

func TestLoadBounds(t *testing.T) {
	t.Parallel()
	padded := config("padded") + strings.Repeat("# padding of a file that would else be short\n", maxFile/40)
	files := map[string]string{"large/a.yaml": padded[:maxFile], "large/b.yaml": padded[:maxFile] + "\n"}
	for i := range 5 {
		files[fmt.Sprintf("total/%02d.yaml", i)] = strings.Replace(padded, "padded", fmt.Sprintf("pad%03d", i), 1)[:maxFile]
	}
	var many strings.Builder
	for i := range 1001 {
		many.WriteString("---\n" + config(fmt.Sprint("n", i)))
	}
	files["many.yaml"] = many.String()
	dense := config("dense") + "spec: [" + strings.Repeat("a,", 260_000) + "]\n"
	files["dense/a.yaml"], files["dense/b.yaml"] = dense, strings.Replace(dense, "name: dense", "name: second", 1)
	for i := range 40 { // each a MiB and a half when its aliases are written out, and 300,000 values
		files[fmt.Sprintf("expanded/%02d.yaml", i)] = config(fmt.Sprint("e", i)) + "base: &b " + strings.Repeat("x", 20_000) + "\nspec: [" + strings.Repeat("*b, ", 90) + "]\n"
		files[fmt.Sprintf("multiplied/%02d.yaml", i)] = config(fmt.Sprint("m", i)) + "base: &b [" + strings.Repeat("x,", 3_000) + "]\nspec: [" + strings.Repeat("*b, ", 90) + "]\n"
	}
	root := workspace(t, files)
	sections := map[string]string{}
	for _, item := range []string{"large", "total", "many.yaml", "dense", "expanded", "multiplied"} {
		_, err := Load(t.Context(), Options{Root: root, Paths: []string{item}})
		sections[item] = fmt.Sprint(err)
	}
	golden(t, "bounds.golden", sections)
	if _, err := Load(t.Context(), Options{Root: root, Paths: []string{"large/a.yaml"}}); err != nil {
		t.Errorf("a file of exactly 4 MiB: %v", err)
	}
}

// TestLoadSaysWhatIsHidden holds that a manifest that is left out for its name is named.
func TestLoadSaysWhatIsHidden(t *testing.T) {
	t.Parallel()
	root := workspace(t, map[string]string{
		"k/a.yaml": config("a"), "k/.b.yaml": config("b"), "k/d/.c.yml": config("c"), "k/.gitignore": "x", "k/.git/d.yaml": config("d"),
	})
	for _, tt := range []struct{ paths, want []string }{
		{[]string{"k"}, []string{"k/.b.yaml", "k/d/.c.yml"}},
		{[]string{"k/*.yaml"}, []string{"k/.b.yaml"}},
		{[]string{"k/**/*.y*ml"}, []string{"k/.b.yaml", "k/d/.c.yml"}},
		{[]string{"k/a.yaml"}, nil},
		{[]string{"k", "k/.b.yaml"}, []string{"k/d/.c.yml"}},
	} {
		set, err := Load(t.Context(), Options{Root: root, Paths: tt.paths})
		if err != nil {
			t.Fatal(err)
		}
		got := slices.Sorted(slices.Values(set.Hidden))
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q: hidden %q, want %q", tt.paths, got, tt.want)
		}
	}
}
