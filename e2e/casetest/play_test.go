package casetest_test

import (
	"context"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/e2e/casetest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// varies is what differs from one run to the next.
var varies = regexp.MustCompile(`\(\d+\.\ds\)|took \d+\.\ds`)

// TestWhatDoesNotHold plays a case of which nothing holds: a case that cannot fail says
// nothing, so every expectation has its line here.
func TestWhatDoesNotHold(t *testing.T) {
	t.Parallel()
	all, err := casetest.Load("testdata/wrong")
	if err != nil {
		t.Fatal(err)
	}
	r := impatient(t).Play(t.Context(), all[0])
	t.Log(r.Log)
	golden(t, "testdata/wrong.golden", varies.ReplaceAllString(r.Verdict(), "(TIME)"))
}

// small are the files of a case that is played in a moment: it wants no pods.
func small() map[string]string {
	return map[string]string{"kubernetes/a.yaml": deployment("replicas: 0"), "expect.yaml": "exit: 0\noutcome: deployed\n"}
}

// deployment is a manifest with a line of its spec.
func deployment(spec string) string {
	return `apiVersion: apps/v1
kind: Deployment
metadata: {name: small}
spec:
  ` + spec + `
  selector: {matchLabels: {app: small}}
  template: {metadata: {labels: {app: small}}, spec: {containers: [{name: small, image: europe-west6-docker.pkg.dev/local-project/models/small}]}}
`
}

// TestScenes plays what is wrong with a case rather than with the action.
func TestScenes(t *testing.T) {
	t.Parallel()
	w := world(t)
	for name, tt := range map[string]struct {
		files map[string]string // beside or in place of a case that holds
		want  string            // of the report's failures
	}{
		"holds":                  {nil, ""},
		"nothing is expected":    {map[string]string{"expect.yaml": "-"}, "expect.yaml: there is none; this is what happened, to be read and written there:\nexit: 0\noutcome: deployed\n"},
		"what is expected":       {map[string]string{"expect.yaml": "-", "inputs-2.txt": "timeout=never"}, "runs:\n- exit: 0\n  outcome: deployed\n- exit: 2\n  outcome: failed\n  log:\n  - 'input timeout "},
		"a script":               {map[string]string{"before.sh": "echo because; false"}, "before.sh: exit status 1: because"},
		"a name that is not set": {map[string]string{"before.sh": `echo "$NAMSPACE"`}, "before.sh: exit status"},
		"what a script learns":   {map[string]string{"before.sh": `echo "nonsense" >> "$INPUTS"`}, `before.sh: $INPUTS: line 1: "nonsense" is neither`},
		"kubectl apply":          {map[string]string{"before.yaml": "apiVersion: v1\nkind: Nothing\nmetadata: {name: a}\n"}, `before.yaml: kubectl apply: exit status 1`},
		"its deploy":             {map[string]string{"before.yaml": "# deploy\napiVersion: v1\nkind: Nothing\nmetadata: {name: a}\n"}, "before.yaml: its deploy ended with exit code 2"},
		"a registry":             {map[string]string{"images.yaml": "quay.io/a/b:c: {}"}, "image quay.io/a/b:c: the local cloud has the registries europe-west6-docker.pkg.dev, ghcr.io,"},
		"a run that never is":    {map[string]string{"inputs-2.txt": "# when ^never", "expect.yaml": "runs: [{exit: 0}, {exit: 0}]"}, "run 2: it could not begin: no line of run 1 matches ^never"},
		"too slow":               {map[string]string{"kubernetes/a.yaml": deployment("minReadySeconds: 2"), "expect.yaml": "within: 1"}, "the run: it took "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := small()
			for file, content := range tt.files {
				if files[file] = content; content == "-" {
					delete(files, file)
				}
			}
			all, err := casetest.Parse("scene-"+strings.ReplaceAll(name, " ", "-"), files)
			if err != nil {
				t.Fatal(err)
			}
			r := w.Play(t.Context(), all[0])
			if r.Skipped != "" {
				t.Skip(r.Skipped)
			}
			if got := strings.Join(r.Failures, "\n"); (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
				t.Errorf("%q, want %q\n%s", got, tt.want, r.Log)
			}
		})
	}
}

// Two cases that want different images under one reference would depend on who is first.
func TestCasesShareTheRegistry(t *testing.T) {
	t.Parallel()
	w := world(t)
	play := func(name, labels string) *casetest.Report {
		files := small()
		files["images.yaml"] = "europe-west6-docker.pkg.dev/local-project/models/small: {}\neurope-west6-docker.pkg.dev/local-project/models/shared:tag: " + labels
		all, err := casetest.Parse(name, files)
		if err != nil {
			t.Fatal(err)
		}
		return w.Play(t.Context(), all[0])
	}
	for _, labels := range []string{`{model.status: "503"}`, `{model.status: "503"}`} {
		if r := play("shared", labels); !r.Holds() {
			t.Error(r.Verdict())
		}
	}
	if r := play("other", "{}"); !strings.Contains(r.Verdict(), "models/shared:tag: another case has another one under this reference") {
		t.Error(r.Verdict())
	}
}

// A controller that never ends is ended with the run, and all that it has started.
func TestControllersEnd(t *testing.T) {
	t.Parallel()
	files := small()
	files["controller.sh"] = "sleep 300 & sleep 300"
	all, err := casetest.Parse("controllers-end", files)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if r := world(t).Play(ctx, all[0]); r.Skipped == "" && !r.Holds() || ctx.Err() != nil {
		t.Error(r.Verdict(), ctx.Err())
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got); if it is right, write it with -update:\n%s", path, diff)
	}
}
