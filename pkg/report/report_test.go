package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/pkg/actions"
	"github.com/org/deploy-model-action/pkg/deploy"
)

// written is all that Write left: the end of the log, the outputs, the summary.
type written struct {
	log, summary string
	outputs      map[string]string
	names        []string
}

func write(t *testing.T, r *deploy.Result) written {
	t.Helper()
	dir := t.TempDir()
	environment := map[string]string{
		"GITHUB_OUTPUT": filepath.Join(dir, "output"), "GITHUB_STEP_SUMMARY": filepath.Join(dir, "summary"),
		"GITHUB_SHA": testSHA, "GITHUB_REPOSITORY": testRun.Repository, "GITHUB_SERVER_URL": testRun.ServerURL,
		"GITHUB_RUN_ID": testRun.RunID, "GITHUB_RUN_NUMBER": testRun.RunNumber, "GITHUB_RUN_ATTEMPT": testRun.RunAttempt,
		"GITHUB_WORKFLOW": testRun.Workflow, "GITHUB_ACTOR": testRun.Actor,
	}
	var log strings.Builder
	if err := Write(actions.New(func(name string) string { return environment[name] }, &log), r); err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		content, err := os.ReadFile(environment[name])
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	w := written{log: log.String(), summary: read("GITHUB_STEP_SUMMARY"), outputs: map[string]string{}}
	for _, m := range regexp.MustCompile(`(?m)^([a-z_]+)<<(ghadelimiter_\w+)\n(.*)\nghadelimiter_\w+\n`).FindAllStringSubmatch(read("GITHUB_OUTPUT"), -1) {
		w.outputs[m[1]] = m[3]
		w.names = append(w.names, m[1])
	}
	return w
}

func TestWrite(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for _, c := range []struct {
		name   string
		result *deploy.Result
	}{
		{"deployed", deployed()},
		{"unchanged", unchanged()},
		{"planned", plannedResult()},
		{"deployed again", deployedAgain()},
		{"superseded", superseded()},
		{"superseded at once", supersededAtOnce()},
		{"crashed", crashed()},
		{"rolled back", rolledBack()},
		{"not rolled back", notRolledBack()},
		{"cancelled", cancelled()},
		{"mistaken", mistaken()},
	} {
		w := write(t, c.result)
		fmt.Fprintf(&all, "== %s\n%s-- outputs\n", c.name, w.log)
		for _, name := range w.names {
			fmt.Fprintf(&all, "%s=%s\n", name, w.outputs[name])
		}
		if w.summary != Summary(c.result, testRun) {
			t.Errorf("%s: the job summary is not Summary's", c.name)
		}
	}
	golden(t, "written.txt", all.String())
}

// A step that failed sets every output too: a later step must not read what an
// earlier step with the same id had set.
func TestEveryOutputIsSet(t *testing.T) {
	t.Parallel()
	want := []string{"outcome", "image", "digest", "images", "url", "external_ip", "changed", "changes", "previous", "plan"}
	for _, r := range []*deploy.Result{deployed(), mistaken(), {Outcome: deploy.Failed}} {
		w := write(t, r)
		if diff := cmp.Diff(want, w.names); diff != "" {
			t.Errorf("outputs (-want +got):\n%s", diff)
		}
		for _, name := range []string{"images", "changes"} {
			var list []any
			if err := json.Unmarshal([]byte(w.outputs[name]), &list); err != nil || list == nil {
				t.Errorf("%s=%s is no JSON list", name, w.outputs[name])
			}
		}
	}
}

func TestInternalAddressIsSaid(t *testing.T) {
	t.Parallel()
	r := deployed()
	r.Internal = true
	w := write(t, r)
	for _, s := range []string{w.log, w.summary} {
		if !strings.Contains(s, "(internal: reachable from inside the network only)") {
			t.Errorf("not said in\n%s", s)
		}
	}
}

// What cannot be written is an error, after everything else was.
func TestWriteErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var log strings.Builder
	err := Write(actions.New(func(string) string { return dir }, &log), crashed())
	if err == nil || !strings.Contains(err.Error(), `output "outcome"`) || !strings.Contains(err.Error(), "job summary") {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(log.String(), "::error title=Rollout failed::") {
		t.Errorf("printed %s", log.String())
	}
}

func TestConsoleLinks(t *testing.T) {
	t.Parallel()
	c := deploy.Cluster{Project: "p", Location: "europe-west6", Name: "c"}
	const base = "https://console.cloud.google.com/kubernetes/"
	for kind, want := range map[string]string{
		"Deployment":  base + "deployment/europe-west6/c/ns/x/overview?project=p",
		"Service":     base + "service/europe-west6/c/ns/x/overview?project=p",
		"StatefulSet": base + "statefulset/europe-west6/c/ns/x/details?project=p",
		"DaemonSet":   base + "daemonset/europe-west6/c/ns/x/details?project=p",
		"Job":         base + "job/europe-west6/c/ns/x/details?project=p",
		"CronJob":     base + "cronjob/europe-west6/c/ns/x/details?project=p",
		"Ingress":     base + "ingress/europe-west6/c/ns/x/details?project=p",
		"Pod":         base + "pod/europe-west6/c/ns/x/details?project=p",
		"ConfigMap":   "",
		"Gateway":     "",
	} {
		if got := objectURL(c, deploy.Change{Kind: kind, Namespace: "ns", Name: "x"}); got != want {
			t.Errorf("%s: %s", kind, got)
		}
	}
	if got := objectURL(deploy.Cluster{}, deploy.Change{Kind: "Pod", Name: "x"}); got != "" {
		t.Errorf("without a cluster: %s", got)
	}
}

func TestImageLinks(t *testing.T) {
	t.Parallel()
	for pinned, want := range map[string]string{
		"europe-west6-docker.pkg.dev/p/models/m:1@" + testDigest: "https://europe-west6-docker.pkg.dev/p/models/m@" + testDigest,
		"gcr.io/p/m:1@" + testDigest:                             "https://gcr.io/p/m@" + testDigest,
		"eu.gcr.io/p/m@" + testDigest:                            "https://eu.gcr.io/p/m@" + testDigest,
		"ghcr.io/o/m:1@" + testDigest:                            "",
		"localhost:5000/m:1@" + testDigest:                       "",
		"evilgcr.io/m:1@" + testDigest:                           "",
		"m:1":                                                    "",
	} {
		if got := imageURL(deploy.Image{Pinned: pinned, Digest: testDigest}); got != want {
			t.Errorf("%s: %q", pinned, got)
		}
	}
}
