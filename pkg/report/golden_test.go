package report

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/pkg/actions"
	"github.com/org/deploy-model-action/pkg/deploy"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(file, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), run with -update to accept:\n%s", file, diff)
	}
}

const (
	testSHA      = "8e2d7a6b5c4f3e2d1c0b9a8f7e6d5c4b3a291807"
	testDigest   = "sha256:5f0e4a9c1b7d2e8f3a6c5d4b9e8f7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c2d1e0f"
	testRegistry = "europe-west6-docker.pkg.dev/my-project/models"
	deployment   = "celestial-bodies-classifier-deployment"
	service      = "celestial-bodies-classifier-service"
)

// start is when every deploy of the tests began.
var start = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

// at is a time after the start, in seconds.
func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

var testRun = actions.Run{
	Repository: "octocat/celestial-bodies", SHA: testSHA, RunID: "16000000042", RunNumber: "42",
	RunAttempt: "1", ServerURL: "https://github.com", Workflow: "MLOps", Actor: "octocat", Workspace: ".",
}

// connected is a result as it stands when cluster and image are known.
func connected(seconds float64) *deploy.Result {
	name := testRegistry + "/celestial-bodies-classifier:" + testSHA
	return &deploy.Result{
		Namespace: "default",
		Started:   start, Finished: at(seconds),
		Cluster: deploy.Cluster{Project: "my-project", Location: "europe-west6-a", Name: "mlops-cluster", Endpoint: "https://34.65.10.20", EndpointKind: "public"},
		Images: []deploy.Image{{
			Written:   testRegistry + "/celestial-bodies-classifier:latest",
			Reference: name, Digest: testDigest, Pinned: name + "@" + testDigest,
		}},
		Phases: []deploy.Phase{
			{Name: "Manifests", Started: at(0), Finished: at(0.004)},
			{Name: "Cluster and images", Started: at(0.004), Finished: at(0.61)},
		},
	}
}

// applied adds the outcome for both objects.
func applied(r *deploy.Result, first, second string) {
	r.Phases = append(r.Phases, deploy.Phase{Name: "Apply", Started: at(0.61), Finished: at(0.92)})
	r.Changes = []deploy.Change{
		{Kind: "Service", Namespace: "default", Name: service, Action: second, Line: "service/" + service + " " + second, File: "kubernetes/service.yaml", FileLine: 1, Started: at(0.7), Took: 84 * time.Millisecond},
		{Kind: "Deployment", Namespace: "default", Name: deployment, Action: first, Line: "deployment.apps/" + deployment + " " + first, File: "kubernetes/deployment.yaml", FileLine: 1, Started: at(0.8), Took: 112 * time.Millisecond},
	}
}

// rolledOut adds the wait for both.
func rolledOut(r *deploy.Result, seconds float64, ready bool, message string) {
	r.Phases = append(r.Phases, deploy.Phase{Name: "Rollout", Started: at(0.92), Finished: at(seconds), Failed: !ready})
	r.Rollouts = []deploy.Rollout{
		{Object: "Service " + service, Ready: true, Message: "address 34.65.72.12", Started: at(0.92), Finished: at(min(seconds, 3.4))},
		{Object: "Deployment " + deployment, Ready: ready, Message: message, Started: at(0.92), Finished: at(seconds)},
	}
	r.URL, r.Host = "http://34.65.72.12", "34.65.72.12"
}

func deployed() *deploy.Result {
	r := connected(38.9)
	applied(r, "created", "created")
	rolledOut(r, 37.2, true, "3 of 3 updated, 3 ready, 3 available")
	r.Phases = append(r.Phases, deploy.Phase{Name: "Health check", Started: at(37.2), Finished: at(38.9)})
	r.Outcome, r.ExitCode = deploy.Deployed, deploy.ExitOK
	r.Serving = []string{r.Images[0].Pinned}
	r.Health, r.Answers = "GET http://34.65.72.12/readyz: 200 OK", true
	return r
}

// plannedResult is a plan for a pull request, whose image is not built yet.
func plannedResult() *deploy.Result {
	r := connected(1.4)
	r.Outcome, r.ExitCode, r.DryRun = deploy.Planned, deploy.ExitOK, true
	r.URL, r.Host = "", ""
	r.Images[0].Digest, r.Images[0].Pinned = "", r.Images[0].Reference
	intent := func(kind, name, action, line string, diff ...string) deploy.Intent {
		return deploy.Intent{Change: deploy.Change{Kind: kind, Namespace: "models", Name: name, Action: action, Line: line + " " + action}, Diff: diff}
	}
	r.Plan = []deploy.Intent{
		intent("ConfigMap", "settings", "configured", "configmap/settings", " data:", "-  level: info", "+  level: '``` </details> <b>@octocat</b>'"),
		intent("Secret", "pin", "unchanged", "secret/pin"),
		intent("Deployment", "model", "configured", "deployment.apps/model", " spec:", "-  replicas: 1", "+  replicas: 2"),
		intent("Service", "old", "pruned", "service/old", "-kind: Service"),
	}
	r.Plan[2].Restarts = []string{"ConfigMap/settings"}
	r.Plan[2].Notes = []string{"its pods are replaced, as they read what has changed: ConfigMap settings"}
	r.Notices = []deploy.Problem{{Title: "Image not built yet", Message: "image is not in the registry"}}
	return r
}

// asked is a deploy whose model answered a smoke test.
func asked() *deploy.Result {
	r := deployed()
	r.Smoke = []deploy.Reply{
		{
			Name: "a picture of Earth", Asked: "POST http://34.65.72.12/predict", Expected: []string{"any 2xx", "{.prediction} == Earth", "{.probabilities[2]} >= 0.9", "within 2s"},
			Got: `200 OK: {"prediction":"Earth","probabilities":[0.01,0.02,0.97]}`, Right: true, Times: 5,
			Fastest: 41 * time.Millisecond, Median: 44 * time.Millisecond, Slowest: 1203 * time.Millisecond,
		},
		{Name: "GET /readyz", Asked: "GET http://34.65.72.12/readyz", Expected: []string{"204 No Content"}, Got: "204 No Content", Right: true, Times: 1, Slowest: 3 * time.Millisecond},
	}
	return r
}

// wrong is one whose model answered wrongly.
func wrong() *deploy.Result {
	r := rolledBack()
	r.Smoke = []deploy.Reply{{
		Name: "a picture of Earth", Asked: "POST http://34.65.72.12/predict", Expected: []string{"any 2xx", "{.prediction} == Earth"},
		Got: `expected {.prediction} == Earth, got Mars | <b>bold</b>: {"prediction":"Mars | <b>bold</b>"}`,
	}}
	return r
}

// unasked is one that nobody could ask, and whose address is silent.
func unasked() *deploy.Result {
	r := deployed()
	r.Health, r.Answers, r.Silent = "", false, "no connection within 3s"
	r.Unasked = `health check "/readyz": the model was not asked: GET http://34.65.72.12/readyz: no connection within 5s; let the runner reach the address (loadBalancerSourceRanges, firewalls, DNS)`
	return r
}

const (
	earlierSHA   = "1c9b8a7f6e5d4c3b2a190807f6e5d4c3b2a19080"
	earlierImage = testRegistry + "/celestial-bodies-classifier:" + earlierSHA + "@sha256:0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9"
)

// second is a deploy of a release that was deployed before.
func second(r *deploy.Result) *deploy.Result {
	r.Release = "celestial-bodies"
	r.From = deploy.From{Commit: earlierSHA, RunURL: "https://github.com/octocat/celestial-bodies/actions/runs/15999999999", Image: earlierImage}
	return r
}

func deployedAgain() *deploy.Result {
	r := second(deployed())
	r.Changes[0].Action, r.Changes[1].Action = "configured", "unchanged"
	return r
}

// superseded is a run that a newer one overtook while it waited for its rollout.
func superseded() *deploy.Result {
	r := second(connected(4.2))
	applied(r, "configured", "unchanged")
	rolledOut(r, 4.2, false, "1 of 3 updated, 3 ready, 3 available")
	r.Outcome, r.ExitCode = deploy.Superseded, deploy.ExitOK
	r.Newer = &deploy.Newer{Run: "16000000057", URL: "https://github.com/octocat/celestial-bodies/actions/runs/16000000057", Commit: "9f0e1d2c3b4a59687766554433221100ffeeddcc"}
	return r
}

// supersededAtOnce is one that found a newer claim before it wrote anything.
func supersededAtOnce() *deploy.Result {
	r := superseded()
	r.Changes, r.Rollouts, r.URL, r.Host = nil, nil, "", ""
	r.Phases = r.Phases[:2]
	return r
}

// publishedToo is a deploy that brought its image along.
func publishedToo() *deploy.Result {
	r := deployed()
	r.Published = []deploy.Published{
		{Reference: r.Images[0].Reference, Tags: []string{"latest", "v1.4.0"}, Digest: testDigest, Source: "docker", Why: "by name and commit", Uploaded: 3, There: 8, Mounted: 1, Bytes: 431 << 20, Took: 14200 * time.Millisecond},
		{Reference: testRegistry + "/tokenizer:" + testSHA, Source: "image.tar", Why: "by name and commit"},
	}
	return r
}

func unchanged() *deploy.Result {
	r := connected(1.1)
	applied(r, "unchanged", "unchanged")
	rolledOut(r, 1.1, true, "3 of 3 updated, 3 ready, 3 available")
	r.Outcome, r.ExitCode = deploy.Unchanged, deploy.ExitOK
	r.Serving = []string{r.Images[0].Pinned}
	r.Answers = true
	return r
}

const crash = `container "celestial-bodies-classifier" crashed with exit code 1, restarted 3 times: ModuleNotFoundError: No module named 'keras'`

// crashed is a rollout whose new pods do not start.
func crashed() *deploy.Result {
	r := connected(74.3)
	applied(r, "configured", "unchanged")
	rolledOut(r, 74.3, false, "1 of 3 updated, 3 ready, 3 available")
	r.Outcome, r.ExitCode = deploy.Failed, deploy.ExitRefused
	r.Serving = []string{r.Images[0].Pinned}
	fix := "read its log; the last version serves on until it starts"
	r.Failures = []deploy.Failure{{
		Object: "Deployment default/" + deployment, Reason: "CrashLoopBackOff", Cause: crash, Fix: fix,
		Events: []string{
			"Pod " + deployment + "-6d5f7c9b8-x2x4q BackOff: Back-off restarting failed container celestial-bodies-classifier in pod " + deployment + "-6d5f7c9b8-x2x4q_default(1f0c…) (6 times)",
			"Pod " + deployment + "-6d5f7c9b8-x2x4q Unhealthy: Readiness probe failed: Get \"http://10.4.1.17:3000/readyz\": dial tcp 10.4.1.17:3000: connect: connection refused (4 times)",
		},
		Logs: []string{
			"2026-03-14T09:27:51+0000 [INFO] [cli] Environ for worker 0: set CPU thread count to 2",
			"2026-03-14T09:27:53+0000 [ERROR] [runner:celestial_bodies_classifier:1] Traceback (most recent call last):",
			`  File "/usr/local/lib/python3.13/site-packages/starlette/routing.py", line 732, in lifespan`,
			"    async with self.lifespan_context(app) as maybe_state:",
			`  File "/home/bentoml/bento/src/serve.py", line 12, in <module>`,
			"    import keras",
			"ModuleNotFoundError: No module named 'keras'",
			"",
			"2026-03-14T09:27:53+0000 [ERROR] [runner:celestial_bodies_classifier:1] Application startup failed. Exiting.",
		},
		LogsOf:  `pod "` + deployment + `-6d5f7c9b8-x2x4q", container "celestial-bodies-classifier", run before the last restart`,
		Earlier: 3,
	}}
	r.Problems = []deploy.Problem{{Title: "Rollout failed", Message: "Deployment default/" + deployment + ": " + crash + "; " + fix}}
	return r
}

func rolledBack() *deploy.Result {
	r := second(crashed())
	r.Outcome = deploy.RolledBack
	r.Serving = []string{earlierImage}
	r.Changes[1].Action = "restored"
	r.Finished = at(81.6)
	r.Phases = append(r.Phases, deploy.Phase{Name: "Rollback", Started: at(74.3), Finished: at(81.6)})
	r.Restored = []deploy.Restored{{
		Object: "Deployment default/" + deployment, Action: "restored", Message: `left to others: spec.replicas (held by "kube-controller-manager")`,
		Waited: true, Ready: true, WasReady: true,
	}}
	r.Answers = true
	return r
}

// unwaited is a rollback of two objects that was cancelled when both were restored.
func unwaited() *deploy.Result {
	r := rolledBack()
	r.Restored[0].Waited, r.Restored[0].Ready, r.Restored[0].Unwaited = false, false, true
	r.Restored = append([]deploy.Restored{{Object: "ConfigMap default/settings", Action: "restored"}}, r.Restored...)
	return r
}

// illBefore is a rollback to what did not serve before either.
func illBefore() *deploy.Result {
	r := rolledBack()
	r.Restored[0].Ready, r.Restored[0].WasReady = false, false
	return r
}

// notRolledBack is a rollback that did not work either.
func notRolledBack() *deploy.Result {
	r := rolledBack()
	r.Outcome = deploy.Failed
	r.Phases[len(r.Phases)-1].Failed = true
	r.Serving = nil
	r.Changes[1].Action = "configured"
	r.Restored[0] = deploy.Restored{Object: "Deployment default/" + deployment, Action: "left", Message: "somebody changed it since; left as it is"}
	r.Restored = append(r.Restored,
		deploy.Restored{Object: "ConfigMap default/settings", Action: "left", Message: "this deploy created it, so there is nothing to go back to; left for inspection"},
		deploy.Restored{Object: "Service default/" + service, Action: "not restored", Message: "the API server does not answer"})
	r.Problems[0].Message += "\nrestore Service default/" + service + ": the API server does not answer"
	return r
}

// firstFailed is a first deploy: there is nothing to go back to.
func firstFailed() *deploy.Result {
	r := rolledBack()
	r.Outcome = deploy.Failed
	r.Serving, r.From, r.Changes[1].Action = nil, deploy.From{}, "created"
	r.Restored = []deploy.Restored{{Object: "Deployment default/" + deployment, Action: "left", Message: "this deploy created it, so there is nothing to go back to; left for inspection"}}
	return r
}

func cancelled() *deploy.Result {
	r := connected(0.9)
	applied(r, "configured", "configured")
	r.Changes = r.Changes[:1]
	r.Phases[2].Failed = true
	r.Outcome, r.ExitCode = deploy.Cancelled, deploy.ExitCancelled
	r.Problems = []deploy.Problem{{Title: "Cancelled", Message: `the run was cancelled in the phase "Apply"; what was applied stays as it is: run the job again to finish, or run an earlier one again to go back`}}
	return r
}

func mistaken() *deploy.Result {
	return &deploy.Result{
		Outcome: deploy.Failed, ExitCode: deploy.ExitInput, Namespace: "default", Started: start, Finished: at(0.012),
		Phases: []deploy.Phase{{Name: "Manifests", Started: at(0), Finished: at(0.012), Failed: true}},
		Problems: []deploy.Problem{
			{Title: "Wrong input", Message: strings.Join([]string{
				`input timeout "10": not a duration; use a number with a unit, e.g. 90s or 10m`,
				"input cluster_name: required; give the cluster's name, as `gcloud container clusters list` shows it",
				`inputs zone "europe-west6-a" and location "europe-west6": two names for one thing with two values; give one of them`,
			}, "\n")},
			{Title: "Manifest", Message: "kubernetes/deployment.yaml:12: key \"replica\": did not find expected ':'; correct the line", File: "kubernetes/deployment.yaml", Line: 12},
			{Title: "Manifest", Message: "kubernetes/old: is empty; add an object, or remove the file", File: "kubernetes/old"},
		},
	}
}

// thousand is a deploy of 1,000 objects, of which 250 were changed.
func thousand() *deploy.Result {
	r := connected(9.4)
	r.Outcome = deploy.Deployed
	r.Phases = append(r.Phases, deploy.Phase{Name: "Apply", Started: at(0.61), Finished: at(9)}, deploy.Phase{Name: "Rollout", Started: at(9), Finished: at(9.4)})
	for i := range 1000 {
		c := deploy.Change{Kind: "ConfigMap", Namespace: "models", Name: fmt.Sprintf("settings-%d", i), Action: "unchanged", Took: 12 * time.Millisecond}
		if i%4 == 3 {
			c.Action = "configured"
		}
		if i%100 == 3 {
			c.Kind = "Deployment"
			r.Rollouts = append(r.Rollouts, deploy.Rollout{Object: "Deployment " + c.Name, Ready: true, Message: "1 of 1 updated, 1 ready, 1 available", Started: at(9), Finished: at(9 + float64(i)/2500)})
		}
		r.Changes = append(r.Changes, c)
	}
	return r
}

func TestSummary(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]*deploy.Result{
		"deployed-again": deployedAgain(), "superseded": superseded(), "superseded-at-once": supersededAtOnce(), "ill-before": illBefore(),
		"deployed": deployed(), "unchanged": unchanged(), "planned": plannedResult(), "asked": asked(), "wrong": wrong(), "unasked": unasked(), "crashed": crashed(), "rolled-back": rolledBack(), "unwaited": unwaited(),
		"not-rolled-back": notRolledBack(), "first": firstFailed(), "cancelled": cancelled(), "mistaken": mistaken(), "thousand": thousand(), "published": publishedToo(),
	} {
		golden(t, name+".md", Summary(r, testRun))
	}
	golden(t, "by-hand.md", Summary(deployed(), actions.Run{Workspace: "."}))
}
