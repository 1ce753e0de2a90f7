package manifest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const service = "apiVersion: v1\nkind: Service\nmetadata:\n  name: model\n"

// builtinPlugin is a generator or transformer of kustomize's own.
func builtinPlugin(kind, fields string) string {
	return "apiVersion: builtin\nkind: " + kind + "\nmetadata:\n  name: x\n" + fields + "\n"
}

// hostile are kustomizations that want what they must not have, or more than there
// is. URL is the address of a server, and OUTSIDE a folder beside the workspace.
var hostile = map[string]map[string]string{
	// Other places.
	"resource by http":                  {"kustomization.yaml": "resources: [URL/x.yaml]"},
	"resource by https in capitals":     {"kustomization.yaml": "resources:\n- a.yaml\n- HTTPS://127.0.0.1/x.yaml", "a.yaml": config("a")},
	"resource by http, one slash":       {"kustomization.yaml": "resources: ['http:/127.0.0.1/x.yaml']"},
	"resource behind a blank":           {"kustomization.yaml": "resources: [' URL/x.yaml']"},
	"resource at GitHub":                {"kustomization.yaml": "resources: ['github.com/org/repo?ref=v1']"},
	"resource at GitHub in capitals":    {"kustomization.yaml": "resources: ['GitHub.com:org/repo']"},
	"resource by scp":                   {"kustomization.yaml": "resources: ['git@example.com:org/repo.git']"},
	"resource by ssh":                   {"kustomization.yaml": "resources: ['ssh://git@example.com/org/repo']"},
	"resource by git::":                 {"kustomization.yaml": "resources: ['git::github.com/org/repo']"},
	"resource of a local repository":    {"kustomization.yaml": "resources: ['file://OUTSIDE/repo']"},
	"resource by git, two lines":        {"kustomization.yaml": "resources: [\"https://127.0.0.1/org/repo\\n\"]"},
	"base by git":                       {"kustomization.yaml": "bases: ['git@github.com:org/repo//base']"},
	"component by git":                  {"kustomization.yaml": "components: ['https://127.0.0.1/org/repo']"},
	"base whose base is remote":         {"kustomization.yaml": "resources: [base]", "base/kustomization.yaml": "resources: ['URL/x.yaml']"},
	"configurations by http":            {"kustomization.yaml": "configurations: ['URL/x.yaml']"},
	"crds by http":                      {"kustomization.yaml": "crds: ['URL/x.json']"},
	"openapi by http":                   {"kustomization.yaml": "openapi: {path: 'URL/x.json'}"},
	"patch by http":                     {"kustomization.yaml": "resources: [a.yaml]\npatches:\n- path: URL/x.yaml", "a.yaml": config("a")},
	"json patch by http":                {"kustomization.yaml": "patchesJson6902:\n- path: URL/x.yaml\n  target: {version: v1, kind: ConfigMap, name: a}"},
	"merge patch by http":               {"kustomization.yaml": "patchesStrategicMerge: ['URL/x.yaml']"},
	"replacements by http":              {"kustomization.yaml": "replacements:\n- path: URL/x.yaml"},
	"configMapGenerator by http":        {"kustomization.yaml": "configMapGenerator:\n- name: x\n  files: ['URL/x']"},
	"configMapGenerator by http, named": {"kustomization.yaml": "configMapGenerator:\n- name: x\n  files: ['a=URL/x']"},
	"secretGenerator envs by http":      {"kustomization.yaml": "secretGenerator:\n- name: x\n  envs: ['URL/x']"},
	"secretGenerator env by http":       {"kustomization.yaml": "secretGenerator:\n- name: x\n  env: URL/x"},
	"generator by http":                 {"kustomization.yaml": "generators: ['URL/x.yaml']"},
	"transformer by git, two lines":     {"kustomization.yaml": "transformers: [\"https://127.0.0.1/org/repo\\n\"]"},
	"validator by http":                 {"kustomization.yaml": "validators: ['URL/x.yaml']"},
	"letters that differ":               {"kustomization.yaml": "Resources: ['URL/x.yaml']\nresources: [a.yaml]", "a.yaml": config("a")},
	"other letters":                     {"kustomization.yaml": "RESOURCES: ['URL/x.yaml']"},
	"patch of a transformer by http":    {"kustomization.yaml": "transformers: [t.yaml]", "t.yaml": config("first") + "---\n" + builtinPlugin("PatchTransformer", "path: URL/x.yaml")},
	"patch of a plugin by http":         {"kustomization.yaml": "resources: [a.yaml]\ntransformers: [t.yaml]", "a.yaml": config("a"), "t.yaml": builtinPlugin("PatchTransformer", "path: URL/x.yaml")},
	"patch of an inline plugin":         {"kustomization.yaml": "transformers:\n- |-\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: x}\n  PATH: URL/x.yaml"},
	"plugin in a list":                  {"kustomization.yaml": "generators: [g.yaml]", "g.yaml": "apiVersion: v1\nkind: XList\nitems:\n- {apiVersion: builtin, kind: ConfigMapGenerator, metadata: {name: x}, files: [URL/x]}"},
	"paths of a merge plugin":           {"kustomization.yaml": "transformers: [t.yaml]", "t.yaml": builtinPlugin("PatchStrategicMergeTransformer", "paths: [URL/x.yaml]")},
	"replacements of a plugin":          {"kustomization.yaml": "transformers: [t.yaml]", "t.yaml": builtinPlugin("ReplacementTransformer", "replacements:\n- path: URL/x.yaml")},
	"targets of a plugin":               {"kustomization.yaml": "transformers: [t.yaml]", "t.yaml": builtinPlugin("ValueAddTransformer", "value: x\ntargetFilePath: URL/x.yaml")},
	"plugin made by a patch": {
		"kustomization.yaml": "resources: [a.yaml]\ntransformers: [t]", "a.yaml": config("a"),
		"t/kustomization.yaml": "resources: [t.yaml]\npatches:\n- target: {kind: PatchTransformer}\n  patch: '[{op: replace, path: /path, value: URL/x.yaml}]'",
		"t/t.yaml":             builtinPlugin("PatchTransformer", "path: a.yaml"),
	},
	// Other files.
	"absolute resource":               {"kustomization.yaml": "resources: [OUTSIDE/secret.yaml]"},
	"absolute file":                   {"kustomization.yaml": "secretGenerator:\n- name: x\n  files: [OUTSIDE/secret.yaml]"},
	"resource above":                  {"kustomization.yaml": "resources: [../secret.yaml]"},
	"resource far above":              {"deep/kustomization.yaml": "resources: [../../outside]", "kustomization.yaml": "resources: [deep]"},
	"file above, named":               {"kustomization.yaml": "configMapGenerator:\n- name: x\n  files: [passwd=../../../../../../../etc/passwd]"},
	"file of a sibling":               {"kustomization.yaml": "resources: [a]", "a/kustomization.yaml": "configMapGenerator:\n- name: x\n  files: [../b/x]", "b/x": "CANARY"},
	"linked file":                     {"kustomization.yaml": "resources: [a.yaml]", "a.yaml": "-> OUTSIDE/secret.yaml"},
	"linked file, relative":           {"kustomization.yaml": "resources: [a.yaml]", "a.yaml": "-> ../outside/secret.yaml"},
	"linked folder":                   {"kustomization.yaml": "resources: [base]", "base": "-> ../outside"},
	"folder linked twice":             {"kustomization.yaml": "configMapGenerator:\n- name: x\n  files: [b/secret.yaml]", "b": "-> c/d", "c": "-> ../outside/..", "d": "-> outside"},
	"linked kustomization":            {"kustomization.yaml": "-> OUTSIDE/kustomization.yaml"},
	"link to itself":                  {"kustomization.yaml": "resources: [a]", "a": "-> b", "b": "-> a"},
	"link through a sibling":          {"kustomization.yaml": "resources: [a]", "a/kustomization.yaml": "configMapGenerator:\n- name: x\n  files: [l/x]", "a/l": "-> ../b", "b/x": "CANARY"},
	"credentials in a generator":      {"kustomization.yaml": "secretGenerator:\n- name: x\n  files: [gha-creds-1.json]", "gha-creds-1.json": "CANARY"},
	"pipe":                            {"kustomization.yaml": "configMapGenerator:\n- name: x\n  files: [pipe]"},
	"device":                          {"kustomization.yaml": "configMapGenerator:\n- name: x\n  files: [zero]", "zero": "-> /dev/zero"},
	"environment that is none":        {"kustomization.yaml": "secretGenerator:\n- name: x\n  envs: [key.pem]", "key.pem": "A=1\nCANARY/a line of a key\n"},
	"literal that is none":            {"kustomization.yaml": "secretGenerator:\n- name: x\n  literals: [CANARY]"},
	"patch that is none":              {"kustomization.yaml": "resources: [a.yaml]\npatches:\n- patch: 'CANARY'", "a.yaml": config("a")},
	"patch of a secret for nothing":   {"kustomization.yaml": "resources: [a.yaml]\npatches:\n- patch: |-\n    apiVersion: v1\n    kind: Secret\n    metadata: {name: b}\n    data: {a: CANARY}", "a.yaml": config("a")},
	"object that is none, in a list":  {"kustomization.yaml": "resources: [a.yaml]", "a.yaml": "kind: List\napiVersion: v1\nitems: CANARY\n"},
	"the same secret in two bases":    {"kustomization.yaml": "resources: [a.yaml, b.yaml]", "a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: b}\ndata: {a: CANARY}", "b.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: b}\ndata: {a: CANARY}"},
	"target that could be two things": {"kustomization.yaml": "resources: [a.yaml]\nreplacements:\n- source: {kind: Secret, name: b, fieldPath: data}\n  targets:\n  - select: {kind: Secret}\n    fieldPaths: [data.a.b.c]", "a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: b}\ndata: {a: CANARY}"},
	// Programs.
	"helm chart":                {"kustomization.yaml": "helmCharts:\n- name: x\n  repo: URL"},
	"helm chart, older":         {"kustomization.yaml": "helmChartInflationGenerator:\n- chartName: x"},
	"helm chart as a generator": {"kustomization.yaml": "generators: [g.yaml]", "g.yaml": builtinPlugin("HelmChartInflationGenerator", "name: x\nrepo: URL")},
	"program as a generator":    {"kustomization.yaml": "generators: [g.yaml]", "g.yaml": "apiVersion: v1\nkind: Run\nmetadata:\n  name: x\n  annotations:\n    config.kubernetes.io/function: 'exec: {path: ./run.sh}'", "run.sh": "#!/bin/sh\n"},
	"container as a function":   {"kustomization.yaml": "transformers: [g.yaml]", "g.yaml": config("a") + "  annotations:\n    config.kubernetes.io/function: 'container: {image: example.com/x, network: true, mounts: [{type: bind, src: /, dst: /x}]}'"},
	"container in a builtin":    {"kustomization.yaml": "generators: [g.yaml]", "g.yaml": "apiVersion: builtin/v1\nkind: ConfigMapGenerator\nmetadata: {name: x}"},
	"plugin by its name":        {"kustomization.yaml": "validators: [g.yaml]", "g.yaml": "apiVersion: someteam.example.com/v1\nkind: Validator\nmetadata: {name: x}"},
	"plugin inline":             {"kustomization.yaml": "transformers:\n- '{apiVersion: a/v1, kind: Program, metadata: {name: x}}'"},
	// More than there is.
	"base above":              {"kustomization.yaml": "resources: [a]", "a/kustomization.yaml": "resources: [..]"},
	"bases in a circle":       {"kustomization.yaml": "resources: [a]", "a/kustomization.yaml": "resources: [../b]", "b/kustomization.yaml": "resources: [../a]"},
	"base of itself":          {"kustomization.yaml": "resources: ['.']"},
	"transformers of itself":  {"kustomization.yaml": "resources: [a.yaml]\ntransformers: [t]", "a.yaml": config("a"), "t/kustomization.yaml": "resources: [../t]"},
	"ten thousand objects":    {"kustomization.yaml": "resources: [a.yaml]", "a.yaml": strings.Repeat("---\n"+service, 10_000)},
	"one file many times":     {"kustomization.yaml": "resources:\n" + strings.Repeat("- a.yaml\n", 10_000), "a.yaml": config("a")},
	"ten thousand generators": {"kustomization.yaml": "configMapGenerator:\n" + strings.Repeat("- {name: a}\n", 10_000)},
	"large file":              {"kustomization.yaml": "configMapGenerator:\n- name: x\n  files: [large]", "large": strings.Repeat("x", maxFile+1)},
	"large files":             {"kustomization.yaml": "configMapGenerator:\n- name: x\n  files:\n" + strings.Repeat("  - a=large\n", 100), "large": strings.Repeat("x", maxFile)},
	"aliases":                 {"kustomization.yaml": "resources: [a.yaml]", "a.yaml": bomb()},
	"aliases in a patch":      {"kustomization.yaml": "resources: [a.yaml]\npatches:\n- path: p.yaml", "a.yaml": config("a"), "p.yaml": bomb()},
	"aliases in a text":       {"kustomization.yaml": "resources: [a.yaml]\npatches:\n- patch: |-\n    " + strings.ReplaceAll(bomb(), "\n", "\n    "), "a.yaml": config("a")},
	"aliases in itself":       {"kustomization.yaml": bomb()},
	"definitions in a circle": {"kustomization.yaml": "resources: [a.yaml]\ncrds: [c.json]", "a.yaml": config("a"), "c.json": `{"x.A": {"Schema": {"properties": {"kind": {}, "apiVersion": {}, "metadata": {}, "spec": {"$ref": "x.A"}}}}}`},
	"schema that is none":     {"kustomization.yaml": "resources: [a.yaml]\nopenapi: {path: o.json}", "a.yaml": "apiVersion: x/v1\nkind: X\nmetadata: {name: a}", "o.json": `{"definitions": {"A": {"type": {"CANARY": 1}}}}`},
	"schema in a circle":      {"kustomization.yaml": "resources: [a.yaml]\nopenapi: {path: o.json, version: v1.21.2}", "a.yaml": config("a"), "o.json": `{"definitions": {"A": {"$ref": "#/definitions/A"}}}`},
	// What speaks to the runner.
	"workflow command as a path":  {"kustomization.yaml": "resources: [\"\\n::set-output name=image::x\\n\"]"},
	"workflow command as a field": {"kustomization.yaml": "\"\\n::error::x\": y"},
	"workflow command as a name":  {"kustomization.yaml": "resources: [a.yaml]\npatches:\n- patch: |-\n    apiVersion: v1\n    kind: \"\\n::error::x\"\n    metadata: {name: \"\\n##[error]x\"}\n", "a.yaml": config("a")},
	"two kustomizations":          {"kustomization.yaml": "resources: []", "Kustomization": "resources: [URL/x.yaml]"},
	"two documents":               {"kustomization.yaml": "resources: [a.yaml]\n---\nresources: [URL/x.yaml]", "a.yaml": config("a")},
	"nothing":                     {"kustomization.yaml": "# nothing\n"},
	"no map":                      {"kustomization.yaml": "- a\n"},
	"another type":                {"kustomization.yaml": "resources: a.yaml\n", "a.yaml": config("a")},
	"an unknown field":            {"kustomization.yaml": "namePrefix: a-\nresource: [a.yaml]\n", "a.yaml": config("a")},
	"a file that is not there":    {"kustomization.yaml": "resources:\n- a.yaml\n- b.yaml\n", "a.yaml": config("a")},
	"a component as a resource":   {"kustomization.yaml": "resources: [c]", "c/kustomization.yaml": "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\nnamePrefix: a-\n"},
}

// bomb is YAML that is a gigabyte when its aliases are written out.
func bomb() string {
	var text strings.Builder
	text.WriteString(config("a") + "a: &a [xxxxxxxxxxxxxxxx]\n")
	for i := 'b'; i < 'j'; i++ {
		fmt.Fprintf(&text, "%c: &%c [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", i-1), 10), ", "))
	}
	return text.String()
}

// trap is a world in which nothing may be touched: programs that leave a trace, a
// server that counts, and files beside the workspace.
type trap struct {
	dir, url string
	requests atomic.Int32
}

func setTrap(t *testing.T) *trap {
	t.Helper()
	trap := &trap{dir: t.TempDir()}
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { trap.requests.Add(1) }))
	t.Cleanup(server.Close)
	trap.url = server.URL
	for _, program := range []string{"git", "helm", "helmV3", "docker", "podman", "sh", "bash", "go"} {
		script := fmt.Sprintf("#!/bin/sh\necho %s \"$@\" >> %s/started\n", program, trap.dir)
		if err := os.WriteFile(filepath.Join(trap.dir, program), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", trap.dir)
	t.Setenv("HOME", trap.dir)
	return trap
}

// in makes a workspace with files beside it.
func (trap *trap) in(t *testing.T, files map[string]string) *os.Root {
	t.Helper()
	top := t.TempDir()
	outside := filepath.Join(top, "outside")
	if err := os.MkdirAll(filepath.Join(top, "workspace"), 0o755); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for name, content := range files {
		all["workspace/"+name] = strings.NewReplacer("URL", trap.url, "OUTSIDE", outside).Replace(content)
	}
	all["secret.yaml"] = config("CANARY")
	all["outside/secret.yaml"] = config("CANARY")
	all["outside/kustomization.yaml"] = "resources: [secret.yaml]\n"
	fill(t, top, all)
	if strings.Contains(files["kustomization.yaml"], "[pipe]") {
		if err := syscall.Mkfifo(filepath.Join(top, "workspace/pipe"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(filepath.Join(top, "workspace"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// Each is refused with what to do, reads nothing outside of the workspace, starts
// nothing, asks nothing of any network, and says nothing of what files hold.
func TestHostileKustomizations(t *testing.T) {
	trap := setTrap(t)
	sections := map[string]string{}
	for name, files := range hostile {
		t.Run(name, func(t *testing.T) {
			root := trap.in(t, files)
			started := time.Now()
			set, err := Load(t.Context(), Options{Root: root, Paths: []string{"."}})
			if took := time.Since(started); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
			if err == nil {
				t.Fatalf("no error, but %d objects", len(set.Objects))
			}
			for _, m := range mistakes(t, err) {
				if m.File == "" || m.Line < 0 {
					t.Errorf("no place: %v", m)
				}
			}
			if strings.Contains(err.Error(), "CANARY") {
				t.Errorf("it says what a file holds: %v", err)
			}
			text := strings.NewReplacer(trap.url, "URL", filepath.Dir(root.Name()), "TOP").Replace(err.Error())
			sections[name] = text
		})
	}
	if n := trap.requests.Load(); n > 0 {
		t.Errorf("%d requests", n)
	}
	if started, err := os.ReadFile(filepath.Join(trap.dir, "started")); err == nil {
		t.Errorf("programs were started:\n%s", started)
	}
	if t.Failed() {
		return
	}
	golden(t, "hostile.golden", sections)
}

// A build that kustomize would go on with for long is left within a second.
func TestCancelledKustomizationEnds(t *testing.T) {
	var objects strings.Builder
	for i := range maxObjects {
		objects.WriteString("---\n" + config(fmt.Sprint("c", i)))
	}
	root := workspace(t, map[string]string{"kustomization.yaml": "resources: [a.yaml]\nnamePrefix: a-\nreplacements:\n" + strings.Repeat("- source: {kind: ConfigMap, name: c1}\n  targets:\n  - select: {kind: ConfigMap}\n    fieldPaths: [metadata.name]\n", 1000), "a.yaml": objects.String()})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(500*time.Millisecond, cancel)
	started := time.Now()
	_, err := Load(ctx, Options{Root: root, Paths: []string{"."}})
	if took := time.Since(started); took > 5*time.Second || !errors.Is(err, context.Canceled) {
		t.Errorf("%v after %v", err, took)
	}
}
