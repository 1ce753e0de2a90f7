package deploy

import (
	"errors"
	"testing"

	"github.com/org/deploy-model-action/pkg/image"
)

// What is not merged is planned, unless somebody says otherwise.
func TestWhatIsPlanned(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dryRun, event string
		want          bool
	}{
		{"auto", "", false},
		{"auto", "push", false},
		{"auto", "workflow_dispatch", false},
		{"auto", "schedule", false},
		{"auto", "release", false},
		{"auto", "workflow_run", false},
		{"auto", "pull_request", true},
		{"auto", "pull_request_review", true},
		{"auto", "pull_request_review_comment", true},
		{"auto", "merge_group", true},
		{"true", "push", true},
		{"true", "", true},
		{"false", "pull_request", false},
		{"false", "push", false},
	} {
		o := Options{DryRun: c.dryRun}
		if got := o.plans(func(string) string { return c.event }); got != c.want {
			t.Errorf("dry_run %s on %q: planned %t", c.dryRun, c.event, got)
		}
	}
}

// Without secrets, manifests are checked and nobody is asked; what is wrong with
// them is said as ever.
func TestWithoutSecrets(t *testing.T) {
	t.Parallel()
	stranger := map[string]string{"GITHUB_EVENT_NAME": "pull_request", "GITHUB_ACTOR": "mallory"}
	bot := map[string]string{"GITHUB_EVENT_NAME": "pull_request", "GITHUB_ACTOR": "dependabot[bot]"}
	push := map[string]string{"GITHUB_EVENT_NAME": "push"}
	good, bad := map[string]string{"kubernetes/deployment.yaml": model}, map[string]string{"kubernetes/deployment.yaml": "kind: ["}
	none := func() Options {
		o := Defaults()
		o.SHA = "0123abc" // variables are no more there than secrets
		return o
	}
	given := func() Options {
		o := right()
		o.CredentialsJSON, o.Push, o.RegistryUsername = "", "image.tar", "octocat"
		return o
	}
	for _, c := range []struct {
		name        string
		o           Options
		environment map[string]string
		files       map[string]string
		fork        bool
		outcome     Outcome
		notices     int
	}{
		{"of a fork", none(), stranger, good, true, Planned, 1},
		{"of a fork, with inputs", given(), stranger, good, true, Planned, 1},
		{"of a bot", none(), bot, good, false, Planned, 1},
		{"wrong manifests of a fork", none(), stranger, bad, true, Failed, 0},
		{"no image of a fork that matches", func() Options { o := given(); o.RegistryHost = "ghcr.io/none"; return o }(), stranger, good, true, Failed, 0},
		{"of this repository", given(), stranger, good, false, Failed, 0},
		{"a push", none(), push, good, true, Failed, 0},
	} {
		r, log := offline(t, c.o, c.environment, c.files, c.fork)
		if r.Outcome != c.outcome || len(r.Notices) != c.notices || (r.ExitCode == ExitOK) != (c.outcome == Planned) || r.Offline != (c.outcome == Planned) {
			t.Errorf("%s: %s, exit code %d, notices %v, problems %v\n%v", c.name, r.Outcome, r.ExitCode, r.Notices, r.Problems, log.all)
		}
	}
}

// Of images only what may be built later is no mistake of a plan.
func TestUnbuilt(t *testing.T) {
	t.Parallel()
	d := &deployment{log: &lines{}, result: &Result{}}
	tag, digest, other := &image.NotFoundError{Reference: "r/m:1", Tag: "1"}, &image.NotFoundError{Reference: "r/m@sha256:1"}, errors.New("refused")
	err := d.unbuilt(errors.Join(tag, digest, other))
	if errors.Is(err, tag) || !errors.Is(err, digest) || !errors.Is(err, other) || len(d.result.Notices) != 1 {
		t.Errorf("%v, notices %v", err, d.result.Notices)
	}
	if err := d.unbuilt(nil); err != nil {
		t.Error(err)
	}
}
