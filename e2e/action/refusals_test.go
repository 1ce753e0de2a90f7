package action_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/google"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/runner"
)

// commit is the tag of the refusals, for the golden file; no other test has it.
const commit = "6f1d0c2b7a9e4d5f8c3b2a190e7f6d5c4b3a2918"

// refusal is a deploy that must end with a sentence, and change nothing.
type refusal struct {
	name string
	code int
	// arrange prepares workspace and cloud, and returns the inputs to replace.
	arrange func(x *cloudtest.Test) map[string]string
	// step changes what is not an input.
	step func(x *cloudtest.Test, s *runner.Step)
	// never is what no place may show.
	never string
	// contacted says that a mistake that is seen without any contact is not the
	// point of this one.
	contacted bool
	// annotations that there must be; 1 if zero
	annotations int
}

func with(name, value string) func(*cloudtest.Test) map[string]string {
	return func(*cloudtest.Test) map[string]string { return map[string]string{name: value} }
}

// file replaces a file of the seed's manifests.
func file(name, content string) func(*cloudtest.Test) map[string]string {
	return func(x *cloudtest.Test) map[string]string {
		x.Write(name, content)
		return nil
	}
}

// edited replaces a text in the seed's Deployment.
func edited(old, replacement string) func(*cloudtest.Test) map[string]string {
	return func(x *cloudtest.Test) map[string]string {
		path := filepath.Join(x.Workspace, "kubernetes", "deployment.yaml")
		content, err := os.ReadFile(path)
		if err != nil {
			x.Fatal(err)
		}
		if !strings.Contains(string(content), old) {
			x.Fatalf("the manifest has no %q", old)
		}
		x.Write("kubernetes/deployment.yaml", strings.Replace(string(content), old, replacement, 1))
		return nil
	}
}

// account gives the step the key of an account with these roles.
func account(name string, roles ...string) func(*cloudtest.Test) map[string]string {
	return func(x *cloudtest.Test) map[string]string {
		_, key, err := x.Cloud.Google.CreateServiceAccount(name, roles...)
		if err != nil {
			x.Fatal(err)
		}
		return map[string]string{"credentials_json": string(key)}
	}
}

const marker = "do-not-show-5c1e7a"

var refusals = []refusal{
	{name: "no cluster_name", code: 2, arrange: with("cluster_name", "")},
	{name: "no zone", code: 2, arrange: with("zone", "")},
	{name: "two wrong inputs", code: 2, arrange: func(*cloudtest.Test) map[string]string {
		return map[string]string{"timeout": "soon", "rollback": "yes"}
	}},
	{name: "wrong inputs and wrong manifests at once", code: 2, annotations: 2, arrange: func(x *cloudtest.Test) map[string]string {
		edited("kind: Deployment", "kind: [Deployment")(x)
		return map[string]string{"cluster_name": "", "timeout": "0s", "namespace": "Not A Namespace", "health_path": "readyz"}
	}},
	{name: "event pull_request_target", code: 2, step: func(_ *cloudtest.Test, s *runner.Step) { s.Event = "pull_request_target" }},

	{name: "key that is not JSON", code: 2, arrange: with("credentials_json", marker), never: marker},
	{name: "key that is cut off", code: 2, arrange: func(x *cloudtest.Test) map[string]string {
		key := x.Step("", nil).With["credentials_json"]
		return map[string]string{"credentials_json": key[:len(key)/2]}
	}},
	{name: "key without private key", code: 2, never: marker, arrange: func(x *cloudtest.Test) map[string]string {
		var key map[string]string
		if err := json.Unmarshal([]byte(x.Step("", nil).With["credentials_json"]), &key); err != nil {
			x.Fatal(err)
		}
		delete(key, "private_key")
		key["private_key_id"] = marker
		content, err := json.Marshal(key)
		if err != nil {
			x.Fatal(err)
		}
		return map[string]string{"credentials_json": string(content)}
	}},
	{name: "no credentials", code: 2, arrange: with("credentials_json", ""), contacted: true},

	{name: "manifests that do not exist", code: 2, arrange: with("manifests", "kubernets")},
	{name: "manifests that are empty", code: 2, arrange: func(x *cloudtest.Test) map[string]string {
		if err := os.Mkdir(filepath.Join(x.Workspace, "empty"), 0o755); err != nil {
			x.Fatal(err)
		}
		return map[string]string{"manifests": "empty"}
	}},
	{name: "manifest without an object", code: 2, arrange: func(x *cloudtest.Test) map[string]string {
		x.Write("comments.yaml", "# nothing\n---\n")
		return map[string]string{"manifests": "comments.yaml"}
	}},
	{name: "kustomization that doubles with each step", code: 2, arrange: func(x *cloudtest.Test) map[string]string {
		var copies strings.Builder
		copies.WriteString("resources: [a.yaml]\npatches:\n- target: {kind: ConfigMap}\n  patch: |-\n")
		for i := range 12 {
			fmt.Fprintf(&copies, "    - {op: copy, from: /data, path: /data/x%d}\n", i)
		}
		x.Write("doubles/kustomization.yaml", copies.String())
		x.Write("doubles/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: "+strings.Repeat("x", 1_000_000)+"}\n")
		return map[string]string{"manifests": "doubles"}
	}},
	{name: "manifests outside by ..", code: 2, arrange: with("manifests", "../outside")},
	{name: "manifests outside by an absolute path", code: 2, arrange: with("manifests", "/etc/kubernetes")},
	{name: "manifests outside by a symbolic link", code: 2, arrange: func(x *cloudtest.Test) map[string]string {
		outside := x.TempDir()
		if err := os.WriteFile(filepath.Join(outside, "secret.yaml"), []byte(marker), 0o644); err != nil {
			x.Fatal(err)
		}
		if err := os.Symlink(outside, filepath.Join(x.Workspace, "link")); err != nil {
			x.Fatal(err)
		}
		return map[string]string{"manifests": "link"}
	}, never: marker},
	{name: "manifest outside by a symbolic link in the folder", code: 2, arrange: func(x *cloudtest.Test) map[string]string {
		if err := os.Symlink("/etc/passwd", filepath.Join(x.Workspace, "kubernetes", "passwd.yaml")); err != nil {
			x.Fatal(err)
		}
		return nil
	}},
	{name: "YAML that does not parse", code: 2, arrange: edited("  replicas: 3", "  replicas: [3")},
	{name: "YAML with a tab", code: 2, arrange: edited("  replicas: 3", "\treplicas: 3")},
	{name: "object without kind", code: 2, arrange: edited("kind: Deployment\n", "")},
	{name: "object twice", code: 2, arrange: file("kubernetes/other/service.yaml",
		"apiVersion: v1\nkind: Service\nmetadata:\n  name: "+service+"\nspec:\n  ports: [{port: 80}]\n")},
	{name: "no image matches", code: 2, arrange: edited(image, "europe-west6-docker.pkg.dev/local-project/model/"+cloudtest.Model)},
	{name: "input images names none", code: 2, arrange: with("images", "celestial-body-classifier")},

	{name: "unknown field", code: 1, arrange: edited("  replicas: 3", "  replica: 3")},
	{name: "unknown fields and a wrong value in two files", code: 1, annotations: 3, arrange: func(x *cloudtest.Test) map[string]string {
		edited("  replicas: 3", "  replica: 3")(x)
		edited("          readinessProbe", "          readynessProbe")(x)
		x.Write("kubernetes/service.yaml", "apiVersion: v1\nkind: Service\nmetadata:\n  name: "+service+"\nspec:\n  ports:\n    - name: http\n      port: 80\n      protocol: TPC\n")
		return nil
	}},
	{name: "kind that the cluster does not have", code: 1, arrange: file("kubernetes/model.yaml",
		"apiVersion: serving.example.com/v1\nkind: InferenceService\nmetadata:\n  name: model\nspec: {}\n")},
	{name: "namespace that does not exist", code: 1, arrange: with("namespace", "not-there")},
	{name: "immutable field", code: 1, arrange: func(x *cloudtest.Test) map[string]string {
		edited("    matchLabels:\n      app: celestial-bodies-classifier", "    matchLabels:\n      app: classifier")(x)
		return edited("      labels:\n        app: celestial-bodies-classifier", "      labels:\n        app: classifier")(x)
	}},

	{name: "cluster that does not exist", code: 1, arrange: with("cluster_name", "mlops-clutser")},
	{name: "zone where it is not", code: 1, arrange: with("zone", "europe-west6-b")},
	{name: "zone that is none", code: 2, arrange: with("zone", "zurich")},
	{name: "project that is not ours", code: 1, arrange: with("project_id", "another-project")},
	{name: "cluster that is being deleted", code: 1, arrange: with("cluster_name", "leaving-cluster")},
	{name: "cluster that is being created", code: 1, arrange: with("cluster_name", "coming-cluster")},
	{name: "cluster that is broken", code: 1, arrange: with("cluster_name", "broken-cluster")},

	{name: "account without the cluster's role", code: 1, arrange: account("no-cluster-role", google.RoleReader)},
	{name: "account without the registry's role", code: 1, arrange: account("no-registry-role", google.RoleDeveloper)},
	{name: "account without any role", code: 1, annotations: 2, arrange: account("no-role")},
	{name: "key that was deleted", code: 1, arrange: func(x *cloudtest.Test) map[string]string {
		inputs := account("deleted-key", google.RoleDeveloper, google.RoleReader)(x)
		x.Cloud.Google.DeleteKeys("deleted-key@" + localcloud.Project + ".iam.gserviceaccount.com")
		return inputs
	}},

	{name: "tag that is not in the registry", code: 1, arrange: func(x *cloudtest.Test) map[string]string {
		for _, tag := range []string{"v1", "v2", "latest"} {
			if _, err := x.Cloud.Registry.Push(x.Context(), localcloud.RegistryHost+"/tagged:"+tag, nil); err != nil {
				x.Fatal(err)
			}
		}
		return edited(image, localcloud.RegistryHost+"/tagged")(x)
	}},
	{name: "image that is not in the registry", code: 1, arrange: edited(image, localcloud.RegistryHost+"/never-pushed")},
}

// TestRefusals holds every sentence to the golden file, which is what users read.
func TestRefusals(t *testing.T) { //nolint:tparallel // the group ends before what it left is looked at
	t.Parallel()
	x := cloudtest.New(t)
	x.Testdata()
	x.Push(commit, nil)
	want(t, x.Deploy(commit, nil), 0, "deployed")
	before := x.Settled()

	var mu sync.Mutex
	shown := map[string]string{}
	t.Run("all", func(t *testing.T) {
		for _, test := range refusals {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				got := test.run(x.Sub(t))
				mu.Lock()
				defer mu.Unlock()
				shown[test.name] = got
			})
		}
	})
	if diff := cmp.Diff(before, x.Versions()); diff != "" {
		t.Errorf("a refusal changed the cluster (-before +after):\n%s", diff)
	}
	if len(shown) < len(refusals) {
		return // -run chose some of them
	}
	var b strings.Builder
	for _, test := range refusals {
		fmt.Fprintf(&b, "=== %s\n%s\n", test.name, shown[test.name])
	}
	golden(t, "refusals.golden", b.String())
}

// run returns what a user sees of the refusal.
func (test refusal) run(x *cloudtest.Test) string {
	x.Testdata()
	inputs := map[string]string{}
	if test.arrange != nil {
		inputs = test.arrange(x)
	}
	s := x.Step(commit, inputs)
	if test.step != nil {
		test.step(x, &s)
	}
	r := x.Run(s)
	want(x.T, r, test.code, "failed")
	if wanted := max(test.annotations, 1); len(r.Annotations) != wanted {
		x.Errorf("%d annotations, want %d", len(r.Annotations), wanted)
	}
	if diff := cmp.Diff("[]", r.Outputs["changes"]); diff != "" {
		x.Errorf("output changes (-want +got):\n%s", diff)
	}
	everywhere := r.Raw + r.Summary + fmt.Sprint(r.Outputs)
	if test.never != "" && strings.Contains(everywhere, test.never) {
		x.Errorf("%q is shown", test.never)
	}
	if leaks := x.Leaks(unmasked(r.Raw)+r.Summary+fmt.Sprint(r.Outputs), []byte(s.With["credentials_json"])); len(leaks) > 0 {
		x.Errorf("shown: %s", strings.Join(leaks, ", "))
	}
	if test.code == 2 && !test.contacted && len(x.Requests()) > 0 {
		x.Errorf("was contacted: %+v", x.Requests())
	}
	for _, e := range x.Requests() {
		if x.IsWrite(e) {
			x.Errorf("was written: %s %s", e.Method, e.Path)
		}
	}
	return normalise(x, annotations(r))
}

// annotations are what GitHub shows of them: beside the run, and beside a line.
func annotations(r *runner.Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "exit code %d\n", r.ExitCode)
	for _, a := range r.Annotations {
		where := ""
		if a.File != "" {
			where = " at " + a.File
		}
		if a.Line > 0 {
			where += fmt.Sprintf(":%d", a.Line)
		}
		fmt.Fprintf(&b, "[%s] %s%s\n%s\n", a.Level, a.Title, where, a.Message)
	}
	return b.String()
}

// unmasked is what is printed and is not for the runner's ears only.
func unmasked(raw string) string {
	return regexp.MustCompile(`(?m)^::add-mask::.*$`).ReplaceAllString(raw, "")
}

var variable = []struct {
	pattern *regexp.Regexp
	fixed   string
}{
	{regexp.MustCompile(`sha256:[0-9a-f]{64}`), "sha256:DIGEST"},
	{regexp.MustCompile(`203\.0\.113\.\d+`), "ADDRESS"},
	{regexp.MustCompile(`\b\d+(\.\d+)?(ms|µs)\b`), "TIME"},
}

// normalise replaces what is different in every run.
func normalise(x *cloudtest.Test, text string) string {
	text = strings.ReplaceAll(text, x.Namespace, "NAMESPACE")
	text = strings.ReplaceAll(text, x.Workspace, "WORKSPACE")
	for _, v := range variable {
		text = v.pattern.ReplaceAllString(text, v.fixed)
	}
	return text
}

// TestTimeout is a rollout that does not finish in its time: what was there
// before is there again, and serves. On a busy machine it takes some seconds until
// every pod has been asked by its probe, and said so.
func TestTimeout(t *testing.T) {
	t.Parallel()
	x := seed(t, 1, nil)
	want(t, x.Deploy(x.SHA(0), nil), 0, "deployed")
	before := specs(x)
	x.Push(x.SHA(1), map[string]string{"model.ready-after": "10m"})
	r := x.Deploy(x.SHA(1), map[string]string{"timeout": "20s"})
	want(t, r, 1, "rolled-back")
	golden(t, "timeout.golden", normalise(x, strings.ReplaceAll(annotations(r), x.SHA(1), "SHA")))
	if diff := cmp.Diff(before, specs(x)); diff != "" {
		t.Errorf("specs (-before +after):\n%s", diff)
	}
	if got := ask(x, "http://"+address(x)); !strings.Contains(got, x.SHA(0)) && !strings.Contains(got, cloudtest.Model) {
		t.Errorf("the model answers %q", got)
	}
	// The next deploy meets no conflict.
	x.Push(x.SHA(2), nil)
	want(t, x.Deploy(x.SHA(2), nil), 0, "deployed")

	// Without an earlier version, what was applied stays and is named.
	y := seed(t, 1, map[string]string{"model.ready-after": "10m"})
	r = y.Deploy(y.SHA(0), map[string]string{"timeout": "20s"})
	want(t, r, 1, "failed")
	golden(t, "timeout-first.golden", normalise(y, strings.ReplaceAll(annotations(r), y.SHA(0), "SHA")))
	if len(changes(t, r)) != 2 {
		t.Errorf("output changes: %s", r.Outputs["changes"])
	}
}

// specs are the specs of the seed's objects.
func specs(x *cloudtest.Test) map[string]any {
	x.Helper()
	specs := map[string]any{}
	for name, object := range x.Objects() {
		if strings.HasPrefix(name, "deployments ") || strings.HasPrefix(name, "services ") {
			specs[name] = object.Object["spec"]
		}
	}
	return specs
}

// TestSentences keeps what only programmers read out of the golden files.
func TestSentences(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(content), "\n") {
			for _, bad := range []string{"failed to", "%!", "<nil>", "map[", "&{", "context deadline exceeded", "<!doctype", "runtime error", "unstructured"} {
				if strings.Contains(strings.ToLower(line), bad) {
					t.Errorf("%s:%d: %q in a sentence for people", name, i+1, bad)
				}
			}
		}
	}
}
