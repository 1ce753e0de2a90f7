package deploy

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/diagnosis"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/release"
	"github.com/org/deploy-model-action/pkg/rollout"
	"github.com/org/deploy-model-action/pkg/serving"
)

func (d *deployment) rolloutOptions() rollout.Options {
	return rollout.Options{
		Timeout:  d.Timeout,
		FailFast: d.FailFast,
		Progress: func(line string) { d.log.Printf("%s", line) },
		Warn:     d.log.Warning,

		VerifiedAt: d.verifiedAt(),
		Unverified: d.unverified,
	}
}

// wait waits for the generation that was applied.
func (d *deployment) wait(ctx context.Context) error {
	defer d.ahead.Stop()
	o := d.rolloutOptions()
	o.Ahead = d.ahead
	statuses, err := rollout.Wait(ctx, d.kube, slices.DeleteFunc(slices.Clone(d.changes), isBefore), o)
	if newer := d.overtaken(ctx, err); newer != nil {
		return newer
	}
	d.statuses = statuses
	d.recordRollouts(statuses)
	live := make([]*unstructured.Unstructured, len(statuses))
	for i, s := range statuses {
		live[i] = s.Live
	}
	d.address = serving.FindAddress(live)
	d.result.URL, d.result.Host, d.result.Internal = d.address.URL, d.address.Host, d.address.Internal
	return err
}

// overtaken is the run that took over, if that is why a wait failed: it is no
// failure of what was deployed.
func (d *deployment) overtaken(ctx context.Context, err error) error {
	var (
		failed *rollout.FailedError
		newer  *release.SupersededError
	)
	if errors.As(err, &failed) && failed.ByOthers() && errors.As(d.held(ctx), &newer) {
		return newer
	}
	return nil
}

// confirm looks once more at what serves, after it was asked.
func (d *deployment) confirm(ctx context.Context) error {
	statuses, err := rollout.Confirm(ctx, d.kube, d.statuses, d.rolloutOptions())
	if newer := d.overtaken(ctx, err); newer != nil {
		return newer
	}
	d.statuses, d.result.Rollouts = statuses, slices.Clone(d.before)
	d.recordRollouts(statuses)
	return err
}

func (d *deployment) recordRollouts(statuses []rollout.Status) {
	for _, s := range statuses {
		if !s.Waited {
			continue
		}
		d.result.Rollouts = append(d.result.Rollouts, Rollout{
			Object: s.Live.GetKind() + " " + s.Live.GetName(), Ready: s.Ready, Message: s.Message,
			Started: s.Began, Finished: s.Ended,
		})
		if s.Failure != nil {
			d.recordFailure(*s.Failure)
		}
	}
}

func (d *deployment) recordFailure(f diagnosis.Failure) {
	failure := Failure{Object: f.Object.String(), Reason: f.Reason, Cause: f.Cause, Fix: f.Fix, Logs: f.Logs, LogsOf: f.LogsOf, Earlier: f.Earlier}
	for _, e := range f.Events {
		failure.Events = append(failure.Events, e.String())
	}
	failure.Events = append(failure.Events, f.Notes...)
	d.result.Failures = append(d.result.Failures, failure)
	d.log.Printf("")
	for _, line := range f.Lines() {
		d.log.Printf("%s", line)
	}
}

// isBefore reports whether a change is of a Job that has run before the workloads were written.
func isBefore(c kube.Change) bool {
	if c.Manifest == nil {
		return false
	}
	directives, _ := object.ReadDirectives(c.Manifest) // refused when the manifest was read
	return directives.Phase == object.PhaseBefore
}

// awaitBefore waits for the Jobs that have to succeed before the workloads are written.
func (d *deployment) awaitBefore(ctx context.Context, changes []kube.Change) error {
	for _, c := range changes {
		d.log.Printf("%s has to succeed before the workloads are written", c.ID())
	}
	err := d.awaitJobs(ctx, changes)
	d.before = slices.Clone(d.result.Rollouts)
	return err
}

// runAfter writes the Jobs that begin when everything serves, and waits for them.
func (d *deployment) runAfter(ctx context.Context) error {
	changes, err := d.plan.WriteAfter(ctx)
	d.wrote(changes)
	if err != nil {
		return d.explain(err)
	}
	return d.awaitJobs(ctx, changes)
}

// awaitJobs waits for Jobs to succeed, also for those that nobody had to write: what
// was ill before is no excuse. One that is suspended never succeeds.
func (d *deployment) awaitJobs(ctx context.Context, changes []kube.Change) error {
	changes = slices.Clone(changes)
	for i := range changes {
		changes[i].Action = kube.Configured
	}
	statuses, err := rollout.Wait(ctx, d.kube, changes, d.rolloutOptions())
	if newer := d.overtaken(ctx, err); newer != nil {
		return newer
	}
	d.recordRollouts(statuses)
	for _, s := range statuses {
		if err == nil && !s.Waited {
			return &kube.ObjectError{ID: s.ID(), Field: "spec.suspend", Err: errors.New("is suspended, and has to succeed: leave spec.suspend out, or the annotation " + object.PhaseAnnotation)}
		}
	}
	return err
}

// sameFile tells whether a path inside the workspace is the file at the other
// path, whatever links lead to it.
func sameFile(root *os.Root, path, other string) bool {
	if root == nil {
		return false
	}
	if strings.HasSuffix(filepath.ToSlash(other), "/"+filepath.ToSlash(path)) {
		return true
	}
	a, err := root.Stat(path)
	if err != nil {
		return false
	}
	b, err := os.Stat(other)
	return err == nil && os.SameFile(a, b)
}
