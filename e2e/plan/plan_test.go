// Package plan_test asks what a deploy would do: what the step says of it, that it
// is what the deploy then does, and that asking writes nothing.
package plan_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/runner"
)

func TestMain(m *testing.M) { cloudtest.Waiting(m, 6) }

const image = localcloud.RegistryHost + "/" + cloudtest.Model

// set is a Deployment that reads a ConfigMap and a Secret, a Service in front of it,
// and a Job that has its image.
func set(level string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {level: %q}
---
apiVersion: v1
kind: Secret
metadata: {name: pin}
stringData: {pin: pin-of-the-test}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: model}
spec:
  minReadySeconds: 0
  selector: {matchLabels: {app: model}}
  template:
    metadata: {labels: {app: model}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: model
          image: %[2]s:latest
          envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: pin}}]
          readinessProbe: {httpGet: {path: /readyz, port: 3000}, periodSeconds: 1}
---
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: job
          image: %[2]s:latest
          env: [{name: MODEL_EXIT_CODE, value: "0"}]
`, level, image)
}

const secret = `---
apiVersion: v1
kind: Secret
metadata: {name: pin}
stringData: {pin: pin-of-the-test}
`

const service = `---
apiVersion: v1
kind: Service
metadata: {name: model}
spec: {selector: {app: model}, ports: [{port: 80, targetPort: 3000}]}
`

// payload is what GitHub says of a pull request of a repository.
func payload(from string) string {
	return fmt.Sprintf(`{"number":7,"pull_request":{"number":7,"head":{"repo":{"full_name":%q}}},"repository":{"full_name":"octocat/model"}}`, from)
}

// plan runs the step for a pull request of this repository.
func plan(x *cloudtest.Test, sha string, with map[string]string) *runner.Result {
	x.Helper()
	step := x.Step(sha, with)
	step.Event, step.Payload = "pull_request", payload("octocat/model")
	return x.Run(step)
}

// wroteNothing runs something, and compares all objects before and after it, and
// looks at each request that it made.
func wroteNothing(x *cloudtest.Test, run func()) {
	x.Helper()
	before, asked := x.Settled(), len(x.Requests())
	run()
	if diff := cmp.Diff(before, x.Versions()); diff != "" {
		x.Errorf("a plan changed objects (-before +after):\n%s", diff)
	}
	verbs := map[string]int{}
	for _, e := range x.Requests()[asked:] {
		verbs[e.Method]++
		dry, review := strings.Contains(e.Path, "dryRun=All"), strings.HasPrefix(e.Path, "/apis/authorization.k8s.io/")
		token := strings.HasPrefix(e.Host, "oauth2.googleapis.com")
		if e.Method != http.MethodGet && e.Method != http.MethodHead && e.Method != http.MethodConnect && !dry && !review && !token {
			x.Errorf("a plan wrote: %s %s%s", e.Method, e.Host, e.Path)
		}
	}
	x.Logf("requests: %v", verbs)
}

// wantLines looks for lines of a log, and for those that must not be there.
func wantLines(x *cloudtest.Test, log string, want, not []string) {
	x.Helper()
	for _, line := range want {
		if !strings.Contains(log, line) {
			x.Errorf("the log does not say %q", line)
		}
	}
	for _, line := range not {
		if strings.Contains(log, line) {
			x.Errorf("the log says %q", line)
		}
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	x.Write("kubernetes/set.yaml", set("info"))
	x.Push(x.SHA(1), nil)

	// The first one, of a release that does not exist yet and an image that is not built.
	wroteNothing(x, func() {
		r := plan(x, x.SHA(2), map[string]string{"health_path": "", "push": "docker"})
		if r.ExitCode != 0 || r.Outputs["outcome"] != "planned" || r.Outputs["changed"] != "false" || r.Outputs["changes"] != "[]" {
			t.Errorf("exit %d, outputs %v", r.ExitCode, r.Outputs)
		}
		want := "configmap/settings created, secret/pin created, deployment.apps/model created, job.batch/migrate created"
		if r.Outputs["plan"] != want {
			t.Errorf("plan %q, want %q", r.Outputs["plan"], want)
		}
		wantLines(x, r.Log, []string{
			"configmap/settings created (planned)", "deployment.apps/model created (planned)", image + ":" + x.SHA(2),
			"is not in the registry: the plan names it by its tag", "a plan publishes nothing", "Nothing was changed.",
		}, []string{"@sha256:"})
	})
	if x.Record() != nil || len(x.UndoLogs()) > 0 {
		t.Error("a plan left a record")
	}

	if r := x.Deploy(x.SHA(1), nil); r.Outputs["outcome"] != "deployed" {
		t.Fatalf("outcome %s", r.Outputs["outcome"])
	}
	// Nothing has changed.
	wroteNothing(x, func() {
		r := plan(x, x.SHA(1), nil)
		if r.ExitCode != 0 || r.Outputs["plan"] != "nothing; 4 objects unchanged" || !strings.Contains(r.Outputs["image"], x.SHA(1)+"@sha256:") {
			t.Errorf("exit %d, outputs %v", r.ExitCode, r.Outputs)
		}
	})
	// Another image, another value, and one object more.
	x.Push(x.SHA(3), nil)
	x.Write("kubernetes/set.yaml", set("debug")+service+strings.Replace(secret, "pin}", "pin-2}", 1))
	want := map[string]string{"ConfigMap": "configured", "Secret": "unchanged", "Deployment": "configured", "Job": "replaced", "Service": "created", "Secret pin-2": "created"}
	wroteNothing(x, func() {
		r := plan(x, x.SHA(3), nil)
		wantLines(x, r.Log, []string{
			"configmap/settings configured (planned)", "secret/pin unchanged (planned)", "deployment.apps/model configured (planned)",
			"its pods are replaced, as they read what has changed: ConfigMap settings", "job.batch/migrate replaced (planned)", "service/model created (planned)",
		}, nil)
		for _, shown := range []string{r.Log, r.Summary} {
			wantLines(x, shown, []string{"-  level: info\n+  level: debug", "+  pin: hidden"}, []string{"pin-of-the-test", "cGluLW9mLXRoZS10ZXN0"})
		}
		if !strings.Contains(r.Summary, "```diff") || !strings.Contains(r.Summary, "**replaced**") {
			t.Errorf("summary:\n%s", r.Summary)
		}
		// The image that the objects name is still the one before.
		if !strings.Contains(r.Outputs["image"], x.SHA(1)+"@sha256:") {
			t.Errorf("image %s", r.Outputs["image"])
		}
	})
	r := x.Deploy(x.SHA(3), nil)
	got := map[string]string{}
	var changes []struct{ Kind, Name, Action string }
	if err := json.Unmarshal([]byte(r.Outputs["changes"]), &changes); err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		if c.Name == "pin-2" {
			c.Kind += " " + c.Name
		}
		got[c.Kind] = c.Action
	}
	if diff := cmp.Diff(want, got); diff != "" || r.Outputs["outcome"] != "deployed" {
		t.Errorf("%s: the deploy did something else (-planned +done):\n%s", r.Outputs["outcome"], diff)
	}
}

// Every trigger has its way.
func TestTriggers(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	x.Write("kubernetes/set.yaml", set("info"))
	x.Push(x.SHA(1), nil)
	older := x.Step(x.SHA(1), nil)
	for _, c := range []struct {
		name, event, payload, dryRun string
		outcome                      string
		exit                         int
		says                         string
	}{
		{"merge group", "merge_group", "", "auto", "planned", 0, "Planned in"},
		{"push, dry", "push", "", "true", "planned", 0, "Planned in"},
		{"pull request of a fork, with secrets", "pull_request", payload("mallory/model"), "auto", "planned", 0, "configmap/settings created (planned)"},
		{"pull_request_target", "pull_request_target", payload("mallory/model"), "true", "failed", 2, "event pull_request_target: refused"},
		{"workflow_run of a fork", "workflow_run", `{"workflow_run":{"head_repository":{"full_name":"mallory/model"}},"repository":{"full_name":"octocat/model"}}`, "auto", "failed", 2, "event workflow_run: refused"},
		{"comment on a pull request", "issue_comment", `{"issue":{"number":7,"pull_request":{}},"repository":{"full_name":"octocat/model"}}`, "auto", "failed", 2, "event issue_comment: refused"},
		{"pull request, not dry", "pull_request", payload("octocat/model"), "false", "deployed", 0, "Deployed in"},
		{"dispatch", "workflow_dispatch", "", "auto", "unchanged", 0, "Unchanged"},
	} {
		step := x.Step(x.SHA(1), map[string]string{"dry_run": c.dryRun})
		step.Event, step.Payload = c.event, c.payload
		run := func() {
			r := x.Run(step)
			if r.Outputs["outcome"] != c.outcome || r.ExitCode != c.exit {
				t.Errorf("%s: %s, exit %d", c.name, r.Outputs["outcome"], r.ExitCode)
			}
			wantLines(x, r.Log, []string{c.says}, nil)
		}
		if c.outcome == "deployed" || c.outcome == "unchanged" {
			run()
		} else {
			wroteNothing(x, run)
		}
	}
	// A run that is older than the one that deployed.
	older.With["dry_run"] = "true"
	wroteNothing(x, func() {
		r := x.Run(older)
		wantLines(x, r.Log, []string{"a deploy of this run would change nothing: it is superseded by run", "nothing; 4 objects unchanged"}, nil)
		if r.Outputs["outcome"] != "planned" || r.ExitCode != 0 {
			t.Errorf("older: %s, exit %d", r.Outputs["outcome"], r.ExitCode)
		}
	})
}

// What the cluster refuses is red, at its line, as in a deploy.
func TestPlanRefused(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	x.Push(x.SHA(1), nil)
	x.Write("kubernetes/set.yaml", set("info")+strings.Replace(service, "port: 80,", "port: 99999,", 1))
	wroteNothing(x, func() {
		r := plan(x, x.SHA(1), nil)
		if r.ExitCode != 1 || r.Outputs["outcome"] != "failed" || len(r.Annotations) == 0 || r.Annotations[0].File != "kubernetes/set.yaml" || !strings.Contains(r.Summary, "A deploy would fail") {
			t.Errorf("exit %d, %s, annotations %+v", r.ExitCode, r.Outputs["outcome"], r.Annotations)
		}
		want := maps.Clone(r.Outputs)
		d := x.Deploy(x.SHA(1), nil)
		if diff := cmp.Diff(r.Annotations, d.Annotations); diff != "" || want["plan"] != "" {
			t.Errorf("annotations of the plan and of the deploy:\n%s", diff)
		}
	})
}

// A fork has no secrets, and no variables: nobody is asked.
func TestPlanOfAFork(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	x.Write("kubernetes/set.yaml", set("info"))
	step := x.Step(x.SHA(1), map[string]string{"credentials_json": "", "cluster_name": "", "zone": "", "registry_host": ""})
	step.Event, step.Payload = "pull_request", payload("mallory/model")
	r := x.Run(step)
	if r.ExitCode != 0 || r.Outputs["outcome"] != "planned" || len(r.Annotations) != 1 || r.Annotations[0].Level != "notice" {
		t.Errorf("exit %d, %s, annotations %+v", r.ExitCode, r.Outputs["outcome"], r.Annotations)
	}
	for _, e := range x.Requests() {
		if x.IsCluster(e) || strings.Contains(e.Host, "pkg.dev") || strings.Contains(e.Host, "github") {
			t.Errorf("asked %s %s%s", e.Method, e.Host, e.Path)
		}
	}
	x.Write("kubernetes/set.yaml", "kind: [")
	if r := x.Run(step); r.ExitCode != 2 || len(r.Annotations) != 1 || r.Annotations[0].File != "kubernetes/set.yaml" {
		t.Errorf("wrong manifests: exit %d, annotations %+v", r.ExitCode, r.Annotations)
	}
}
