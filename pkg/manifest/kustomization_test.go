package manifest

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// kustomizations use what kustomize can do, one thing each.
var kustomizations = map[string]map[string]string{
	"overlay": {
		"k/kustomization.yaml":    "resources: [../base]\nnamePrefix: a-\nnameSuffix: -z\nnamespace: team\ncommonAnnotations: {note: x}\nlabels:\n- pairs: {app: model}\n  includeSelectors: true\n  includeTemplates: true\nreplicas:\n- {name: model, count: 3}\n",
		"base/kustomization.yaml": "resources: [model.yaml, service.yaml]\n",
	},
	"deprecated fields": {
		"k/kustomization.yaml":    "bases: [../base]\ncommonLabels: {app: model}\nimageTags:\n- {name: example.com/model, newTag: '2'}\npatchesStrategicMerge:\n- |-\n  apiVersion: apps/v1\n  kind: Deployment\n  metadata: {name: model}\n  spec: {replicas: 2}\n- p.yaml\npatchesJson6902:\n- target: {group: apps, version: v1, kind: Deployment, name: model}\n  patch: |-\n    - {op: add, path: /metadata/labels/x, value: new}\nvars:\n- name: SERVICE\n  objref: {apiVersion: v1, kind: Service, name: model}\n",
		"k/p.yaml":                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: model}\nspec: {template: {spec: {containers: [{name: model, env: [{name: AT, value: $(SERVICE)}]}]}}}\n",
		"base/kustomization.yaml": "resources: [model.yaml, service.yaml]\n",
	},
	"images": {
		"k/kustomization.yaml":    "resources: [../base]\nimages:\n- name: example.com/model\n  newName: europe-docker.pkg.dev/p/r/model\n  digest: sha256:24a0c4b4a4c0eb97a1aabb8e29f18e917d05abfe1b7a7c07857230879ce7d3d3\n",
		"base/kustomization.yaml": "resources: [model.yaml]\n",
	},
	"generators": {
		"k/kustomization.yaml":    "resources: [../base]\ngeneratorOptions: {labels: {a: b}, annotations: {c: d}}\nconfigMapGenerator:\n- name: settings\n  behavior: merge\n  literals: [b=2, 'c=\"3\"']\n- name: files\n  files: [labels.txt, classes=labels.txt]\n  options: {disableNameSuffixHash: true, immutable: true}\nsecretGenerator:\n- name: key\n  type: Opaque\n  envs: [key.env]\n",
		"k/labels.txt":            "cat\ndog\n",
		"k/key.env":               "\ufeffA=1\n\n# no\n  B\n",
		"base/kustomization.yaml": "resources: [model.yaml]\nconfigMapGenerator:\n- name: settings\n  literals: [a=1]\n",
	},
	"components": {
		"k/kustomization.yaml":    "resources: [../base]\ncomponents: [../gpu]\n",
		"base/kustomization.yaml": "resources: [model.yaml]\n",
		"gpu/kustomization.yaml":  "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches:\n- target: {kind: Deployment}\n  patch: |-\n    - op: add\n      path: /spec/template/spec/nodeSelector\n      value: {gpu: t4}\n",
	},
	"replacements": {
		"k/kustomization.yaml":    "resources: [../base]\nreplacements:\n- path: r.yaml\n- source: {kind: Deployment, name: model, fieldPath: metadata.name}\n  targets:\n  - select: {kind: Service}\n    fieldPaths: [spec.selector.app, metadata.annotations.of]\n    options: {create: true}\n",
		"k/r.yaml":                "source: {kind: Service, name: model, fieldPath: 'spec.ports.[name=http].port'}\ntargets:\n- select: {kind: Deployment}\n  fieldPaths: ['spec.template.spec.containers.[name=model].env.[name=AT].value']\n",
		"base/kustomization.yaml": "resources: [model.yaml, service.yaml]\n",
	},
	"annotations by a patch": {
		"k/kustomization.yaml":    "resources: [../base]\npatches:\n- target: {kind: Service}\n  patch: '[{\"op\": \"add\", \"path\": \"/metadata/annotations\", \"value\": {\"a\": \"b\"}}, {\"op\": \"copy\", \"from\": \"/metadata\", \"path\": \"/spec/metadata\"}]'\n- target: {kind: Deployment}\n  patch: |-\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata: {name: x, annotations: {c: null, d: e}}\n",
		"base/kustomization.yaml": "resources: [model.yaml, service.yaml]\n",
	},
	"metadata that are copied": {
		"k/kustomization.yaml":    "resources: [../base]\npatches:\n- target: {kind: Deployment}\n  patch: '[{\"op\": \"copy\", \"from\": \"/metadata\", \"path\": \"/spec/template/metadata\"}]'\n",
		"base/kustomization.yaml": "resources: [model.yaml]\n",
	},
	"plugins of kustomize's own": {
		"k/kustomization.yaml":          "resources: [../base]\ngenerators:\n- |-\n  apiVersion: builtin\n  kind: ConfigMapGenerator\n  metadata: {name: made}\n  literals: [a=b]\ntransformers: [transformers, t.yaml]\n",
		"k/t.yaml":                      "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: x}\npath: p.yaml\ntarget: {kind: Deployment}\n---\napiVersion: builtin\nkind: AnnotationsTransformer\nmetadata: {name: y}\nannotations: {of: us}\nfieldSpecs: [{path: metadata/annotations, create: true}]\n",
		"k/p.yaml":                      "- {op: replace, path: /spec/replicas, value: 7}\n",
		"k/transformers/kustomization":  "",
		"k/transformers/Kustomization":  "resources: [p.yaml]\n",
		"k/transformers/p.yaml":         "apiVersion: builtin\nkind: PrefixTransformer\nmetadata: {name: z}\nprefix: team-\nfieldSpecs: [{path: metadata/name}]\n",
		"base/kustomization.yaml":       "resources: [model.yaml]\n",
		"k/transformers/README.md":      "not read",
		"k/transformers/nothing/x.yaml": "{",
	},
	"several of one base": {
		"k/kustomization.yaml":       "resources: [blue, green]\n",
		"k/blue/kustomization.yaml":  "resources: [../../base]\nnameSuffix: -blue\n",
		"k/green/kustomization.yaml": "resources: [../../base]\nnameSuffix: -green\n",
		"base/kustomization.yaml":    "resources: [model.yaml, service.yaml]\n",
	},
	"links": {
		"k":                             "-> overlays/eu",
		"overlays/eu/kustomization.yml": "resources: [../../linked]\n",
		"linked":                        "-> base",
		"base/kustomization.yaml":       "resources: [again.yaml]\n",
		"base/again.yaml":               "-> ./service.yaml",
	},
	"lists, JSON and how values are written": {
		"k/kustomization.yaml": "resources: [list.yaml, one.json, odd.yaml]\nnamePrefix: a-\npatches:\n- path: p.yaml\n",
		"k/list.yaml":          "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: one}, data: {a: \"yes\", b: 'no'}}\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: two}\n",
		"k/one.json":           "{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\",\n \"metadata\": {\n  \"name\": \"three\"}}\n{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"four\"}}",
		"k/odd.yaml":           "# a comment\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata:\n  # another\n  name: &n \"five\"\n  labels:\n    app: *n\nspec:\n  maxUnavailable: 1\n  selector: {matchLabels: {app: *n}}\n---\n\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {\"annotations\": {x: \"1\"}, \"name\": six}\ndata:\n  text: |\n    a\n     b\n\n  folded: >-\n    c\n    d\n  octal: \"0777\"\n",
		"k/p.yaml":             "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: five}\nspec: {maxUnavailable: 50%}\n",
	},
	"order": {
		"k/kustomization.yaml":    "resources: [../base]\nsortOptions: {order: fifo}\nbuildMetadata: [managedByLabel, originAnnotations]\n",
		"base/kustomization.yaml": "resources: [service.yaml, model.yaml]\n",
	},
}

// Each builds to what kubectl builds of it, with a place for each object.
func TestKustomizationsBuildAsKubectlBuildsThem(t *testing.T) {
	for name, files := range kustomizations {
		t.Run(name, func(t *testing.T) {
			all := map[string]string{
				"base/model.yaml":   "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: model\n  labels: {tier: web}\nspec:\n  replicas: 1\n  selector: {matchLabels: {tier: web}}\n  template:\n    metadata: {labels: {tier: web}}\n    spec:\n      containers:\n      - name: model\n        image: example.com/model:1\n        env:\n        - {name: AT, value: here}\n        envFrom:\n        - configMapRef: {name: settings}\n",
				"base/service.yaml": "apiVersion: v1\nkind: Service\nmetadata:\n  name: model\nspec:\n  selector: {tier: web}\n  ports:\n  - {name: http, port: 80}\n",
			}
			for name, content := range files {
				all[name] = content
			}
			root := workspace(t, all)
			got, set, err := ours(t, root, "k")
			if err != nil {
				t.Fatal(err)
			}
			want, err := kubectl(filepath.Join(root.Name(), "k"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" || len(got) == 0 {
				t.Errorf("(-kubectl +ours):\n%s", diff)
			}
			for i, o := range set.Objects {
				if at := set.Position(i, ""); at.Line == 0 || all[at.File] == "" {
					t.Errorf("%s %s is from %+v", o.GetKind(), o.GetName(), at)
				}
			}
			if text := strings.Join(got, ""); strings.Contains(text, "deploy-model-action") {
				t.Errorf("a mark is left: %s", text)
			}
		})
	}
}

// Whatever a kustomization holds: it is built or refused, with a place, and nothing
// is asked of a network or a program.
func FuzzKustomization(f *testing.F) {
	for _, files := range hostile {
		f.Add(files["kustomization.yaml"], files["t.yaml"]+files["g.yaml"])
	}
	for _, files := range kustomizations {
		f.Add(files["k/kustomization.yaml"], files["k/p.yaml"])
	}
	f.Setenv("PATH", "")
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		f.Setenv(name, "http://127.0.0.1:1")
	}
	f.Fuzz(func(t *testing.T, kustomization, other string) {
		root := workspace(t, map[string]string{
			"kustomization.yaml": kustomization, "a.yaml": config("a"), "t.yaml": other, "g.yaml": other, "p.yaml": other,
			"base/kustomization.yaml": "resources: [../base2]\n", "base2/kustomization.yaml": "resources: [a.yaml]\n", "base2/a.yaml": service,
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		set, err := Load(ctx, Options{Root: root, Paths: []string{"."}})
		if ctx.Err() != nil {
			t.Fatal("kustomize goes on and on")
		}
		if err == nil {
			for i := range set.Objects {
				if at := set.Position(i, ""); at.File == "" || at.Line < 1 {
					t.Errorf("object %d is from %+v", i, at)
				}
			}
			return
		}
		for _, m := range mistakes(t, err) {
			if strings.Contains(m.Problem, "127.0.0.1:1") && !strings.Contains(kustomization+other, "127.0.0.1:1") || strings.Contains(m.Problem, "executable file") {
				t.Errorf("it was tried: %v", m)
			}
		}
	})
}
