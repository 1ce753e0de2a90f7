package deploy

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/org/deploy-model-action/pkg/diff"
	"github.com/org/deploy-model-action/pkg/image"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/release"
)

// The values of the input dry_run.
const (
	dryRunAuto  = "auto"
	dryRunTrue  = "true"
	dryRunFalse = "false"
)

// unmerged are the events of what is not merged yet: it must not serve.
var unmerged = []string{"pull_request", "pull_request_review", "pull_request_review_comment", "merge_group"}

// plans reports whether nothing is to be written.
func (o Options) plans(getenv func(string) string) bool {
	return o.DryRun == dryRunTrue || o.DryRun == dryRunAuto && slices.Contains(unmerged, getenv("GITHUB_EVENT_NAME"))
}

// withoutSecrets reports whether there cannot be any credentials: GitHub gives
// none to what a stranger proposes, nor to Dependabot.
func (d *deployment) withoutSecrets() bool {
	event := d.runner.Getenv("GITHUB_EVENT_NAME")
	return d.planning && d.CredentialsJSON == "" && strings.HasPrefix(event, "pull_request") &&
		(d.runner.Fork || d.runner.Getenv("GITHUB_ACTOR") == "dependabot[bot]")
}

// foretell finds out what a deploy would do: all of one up to its claim, and
// nothing is written.
func (d *deployment) foretell(ctx context.Context) error {
	if d.offline {
		d.result.Offline = true
		d.notice("Manifests checked only", "GitHub gives this run no secrets, as it is for a pull request of a fork or of Dependabot: the manifests were checked, and what a deploy would do is not known until somebody who may pushes the branch to this repository")
		return nil
	}
	if err := d.phase(ctx, "Cluster and images", d.connect); err != nil {
		return err
	}
	return d.phase(ctx, "Plan", d.intend)
}

// intend dry-runs every object, and shows what would become of it.
func (d *deployment) intend(ctx context.Context) error {
	if d.Push != "" {
		d.log.Printf("Of push %q: a plan publishes nothing", d.Push)
	}
	if err := d.observe(ctx); err != nil {
		return err
	}
	d.foreseen = d.plan.Planned()
	for _, f := range d.fated {
		switch {
		case f.Prune:
			d.foreseen = append(d.foreseen, kube.Change{Ref: f.Ref, Before: f.Live, Action: kube.Pruned})
		case f.Why != "":
			d.log.Printf("%s", f)
		}
	}
	defer d.showDiffs()
	for _, c := range d.foreseen {
		intent := d.intentOf(c)
		d.result.Plan = append(d.result.Plan, intent)
		d.log.Printf("%s (planned)", intent.Line)
		for _, note := range intent.Notes {
			d.log.Printf("%s: %s", c.ID(), note)
		}
	}
	return nil
}

func (d *deployment) intentOf(c kube.Change) Intent {
	intent := Intent{Change: d.changeOf(c), Notes: c.Notes, Restarts: c.Restarts}
	if c.Changed() {
		intent.Diff = diff.Lines(c.Before, c.After, c.Manifest)
	}
	return intent
}

// showDiffs shows what would change of each object in a group of its own.
func (d *deployment) showDiffs() {
	for _, i := range d.result.Plan {
		if len(i.Diff) == 0 {
			continue
		}
		d.log.EndGroup()
		d.log.Group("Difference: " + i.Line)
		for _, line := range i.Diff {
			d.log.Printf("%s", line)
		}
	}
}

// unbuilt leaves what is wrong with images besides that they are not built yet: that
// of a pull request is, as a rule, when it is merged. Their tags stand for them.
func (d *deployment) unbuilt(err error) error {
	var rest []error
	for _, e := range leaves(err) {
		var missing *image.NotFoundError
		if !errors.As(e, &missing) || missing.Tag == "" {
			rest = append(rest, e)
			continue
		}
		d.notice("Image not built yet", "image \""+missing.Reference+"\" is not in the registry: the plan names it by its tag; a deploy needs it to be there")
	}
	return errors.Join(rest...)
}

// foreseeSuperseded says that a deploy of this run would end at once.
func (d *deployment) foreseeSuperseded() {
	var newer *release.SupersededError
	if errors.As(d.record.Check(d.run), &newer) {
		d.notice("Superseded", "a deploy of this run would change nothing: it is "+newer.Error())
	}
}

// notice tells what is worth knowing and no mistake.
func (d *deployment) notice(title, message string) {
	d.log.Printf("%s: %s", title, message)
	d.result.Notices = append(d.result.Notices, Problem{Title: title, Message: message})
}
