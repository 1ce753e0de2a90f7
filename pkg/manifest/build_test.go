package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/org/deploy-model-action/pkg/kustomize"
)

// kubectl is what `kubectl kustomize` builds of a folder: kustomize on the disk
// itself.
func kubectl(dir string) (objects []string, err error) {
	defer func() {
		if r := recover(); r != nil { // as it does on a schema that is none
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionUnspecified
	all, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, err
	}
	for _, r := range all.Resources() {
		text, err := r.MarshalJSON()
		if err != nil {
			return nil, err
		}
		objects = append(objects, compact(text))
	}
	return objects, nil
}

func compact(text []byte) string {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return err.Error()
	}
	text, _ = json.Marshal(value)
	return string(text)
}

// ours is what Load makes of it.
func ours(t *testing.T, root *os.Root, dir string) ([]string, *Set, error) {
	t.Helper()
	set, err := Load(t.Context(), Options{Root: root, Paths: []string{dir}})
	if err != nil {
		return nil, nil, err
	}
	var objects []string
	for _, o := range set.Objects {
		text, err := json.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, compact(text))
	}
	return objects, set, nil
}

// The kustomizations of a folder, such as a checkout of kustomize's own examples,
// build to what kubectl builds. KUSTOMIZATIONS names it.
func TestPublicKustomizations(t *testing.T) {
	top := os.Getenv("KUSTOMIZATIONS")
	if top == "" {
		t.Skip("KUSTOMIZATIONS names no folder with kustomizations to compare")
	}
	same, bothRefuse, foreign, strict := 0, 0, 0, 0
	objects, lost := 0, 0
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !kustomize.Named(name) {
			return err
		}
		rel, _ := filepath.Rel(top, filepath.Dir(name))
		workspace, dir, _ := strings.Cut(rel, "/")
		root, err := os.OpenRoot(filepath.Join(top, workspace))
		if err != nil {
			return err
		}
		defer root.Close()
		got, set, gotErr := ours(t, root, path.Join(".", dir))
		if wants(gotErr, " is remote", "no program is started", "none is started here") {
			foreign++
			t.Logf("%s: %s", rel, strings.ReplaceAll(gotErr.Error(), "\n", " "))
			return nil
		}
		want, wantErr := kubectl(filepath.Dir(name))
		switch {
		case wantErr == nil && (wants(gotErr, "apiVersion is missing", "is there twice") || len(want) == 0 && wants(gotErr, "holds no manifests")):
			// What no API server takes, a key of which the first value would be lost, and
			// nothing at all.
			strict++
		case gotErr != nil && wantErr != nil:
			bothRefuse++
			t.Logf("%s: both refuse: %v\n\t%v", rel, gotErr, wantErr)
		case gotErr != nil || wantErr != nil:
			t.Errorf("%s: error %v, kubectl's %v", rel, gotErr, wantErr)
		case !cmp.Equal(want, got):
			t.Errorf("%s (-kubectl +ours):\n%s", rel, cmp.Diff(want, got))
		default:
			same++
			for i := range set.Objects {
				objects++
				if at := set.Position(i, ""); kustomize.Named(at.File) && set.sources[i].node.Line <= 3 {
					lost++
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d build to the same objects, %d neither builds, %d want programs or the network, %d hold what is refused of every manifest; %d objects, of which %d lost their origin", same, bothRefuse, foreign, strict, objects, lost)
}

func wants(err error, any ...string) bool {
	for _, text := range any {
		if err != nil && strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

// Objects of a build lead to where they are written, whatever was done to them
// since.
func TestBuiltObjectsHavePositions(t *testing.T) {
	deployment := "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: model\nspec:\n  template:\n    spec:\n      containers:\n      - name: app\n        image: example.com/app:1\n"
	files := map[string]string{
		"k8s/base/kustomization.yaml":   "resources:\n- all.yaml\n- one.json\n- list.yaml\nconfigMapGenerator:\n- name: first\n  literals: [a=b]\n- name: settings\n  files: [a.txt]\nsecretGenerator:\n- name: key\n  envs: [key.env]\n",
		"k8s/base/all.yaml":             config("a") + "---\n" + deployment + "---\n" + config("b") + "  annotations:\n    x: y\n",
		"k8s/base/one.json":             "{\n  \"apiVersion\": \"v1\",\n  \"kind\": \"Service\", \"metadata\": {\"name\": \"é\", \"namespace\": \"x\"}}\n",
		"k8s/base/list.yaml":            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ServiceAccount\n  metadata: {labels: {}, name: one}\n- apiVersion: v1\n  kind: ServiceAccount\n  metadata: &m\n    name: two\n",
		"k8s/base/a.txt":                "hello",
		"k8s/base/key.env":              "# a key\nKEY=x\n",
		"k8s/prod/kustomization.yaml":   "resources: [../linked, ns.yaml]\nnamePrefix: prod-\npatches:\n- path: side.yaml\n- target: {kind: ConfigMap, name: a}\n  patch: |-\n    - {op: add, path: /metadata/annotations, value: {new: b}}\n",
		"k8s/prod/side.yaml":            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: model\nspec:\n  template:\n    spec:\n      containers:\n      - name: side\n        image: example.com/side:1\n",
		"k8s/prod/ns.yaml":              "kind: Namespace\napiVersion: v1\nmetadata:\n  annotations: {}\n  name: ns\n",
		"k8s/linked":                    "-> base",
		"k8s/nothing/kustomization.yml": "namePrefix: a-\n",
	}
	root := workspace(t, files)
	_, set, err := ours(t, root, "k8s/prod")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for i, o := range set.Objects {
		at := set.Position(i, "")
		got[o.GetKind()+" "+o.GetName()] = fmt.Sprintf("%s:%d %v", at.File, at.Line, o.GetAnnotations())
	}
	want := map[string]string{
		"ConfigMap prod-a":                   "k8s/base/all.yaml:1 map[new:b]", // the patch took the mark
		"ConfigMap prod-b":                   "k8s/base/all.yaml:17 map[x:y]",
		"ConfigMap prod-first-4h2mbtbbt6":    "k8s/base/kustomization.yaml:6 map[]",
		"ConfigMap prod-settings-69k8h624h4": "k8s/base/kustomization.yaml:8 map[]",
		"Secret prod-key-6tkm5f54f7":         "k8s/base/kustomization.yaml:11 map[]",
		"Deployment prod-model":              "k8s/base/all.yaml:6 map[]",
		"Service prod-é":                     "k8s/base/one.json:1 map[]",
		"ServiceAccount prod-one":            "k8s/base/list.yaml:4 map[]",
		"ServiceAccount prod-two":            "k8s/base/list.yaml:7 map[]",
		"Namespace ns":                       "k8s/prod/ns.yaml:1 map[]", // there is no place for a mark
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for i, o := range set.Objects {
		if o.GetKind() != "Deployment" {
			continue
		}
		for field, line := range map[string]int{
			"spec.template.spec.containers[1].image":               15, // app, which is first in the file
			".spec.template.spec.containers[name=\"app\"].image":   15,
			"spec.template.spec.containers[0].image":               13, // of the patch
			"spec.template.spec.containers[1].resources.limits[x]": 14,
			"metadata.namespace":                                   8,
		} {
			if at := set.Position(i, field); at.File != "k8s/base/all.yaml" || at.Line != line {
				t.Errorf("%s: %+v, want line %d", field, at, line)
			}
		}
	}
	want2, err := kubectl(filepath.Join(root.Name(), "k8s/prod"))
	if err != nil {
		t.Fatal(err)
	}
	if got, _, _ := ours(t, root, "k8s/prod"); !cmp.Equal(want2, got) {
		t.Errorf("(-kubectl +ours):\n%s", cmp.Diff(want2, got))
	}
}
