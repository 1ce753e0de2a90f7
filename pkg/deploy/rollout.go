package deploy

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/rollout"
)

func targets(changes []kube.Change) []rollout.Target {
	targets := make([]rollout.Target, len(changes))
	for i, c := range changes {
		targets[i] = rollout.Target{
			Object: c.After, Before: c.Before, Resource: c.GroupVersionResource,
			Namespaced: c.Namespaced, Changed: c.Changed(),
		}
	}
	return targets
}

func (d *deployment) rolloutOptions() rollout.Options {
	return rollout.Options{
		Dynamic:  d.client.Dynamic,
		REST:     d.client.REST,
		HTTP:     d.runner.Transport,
		Timeout:  d.Timeout,
		FailFast: d.FailFast,
		Progress: func(line string) { d.log.Printf("%s", line) },
		Warn:     d.log.Warning,
	}
}

// wait waits for the generation that was applied.
func (d *deployment) wait(ctx context.Context) error {
	statuses, err := rollout.Wait(ctx, targets(d.changes), d.rolloutOptions())
	d.statuses = statuses
	d.recordRollouts(statuses)
	d.address = rollout.FindAddress(statuses)
	d.result.URL, d.result.Host, d.result.Internal = d.address.URL, d.address.Host, d.address.Internal
	return err
}

// health asks the model itself.
func (d *deployment) health(ctx context.Context) error {
	answer, err := rollout.Healthy(ctx, rollout.Check{Path: d.HealthPath, Statuses: d.statuses, Address: d.address}, d.rolloutOptions())
	if answer.URL != "" {
		d.result.Health = answer.String()
		d.log.Printf("%s (after %s, %d tries)", answer, answer.Took.Round(time.Millisecond), answer.Tries)
	}
	for _, note := range answer.Notes {
		d.log.Printf("%s", note)
	}
	return err
}

func (d *deployment) recordRollouts(statuses []rollout.Status) {
	for _, s := range statuses {
		if !s.Waited {
			continue
		}
		d.result.Rollouts = append(d.result.Rollouts, Rollout{
			Object: s.Object.GetKind() + " " + s.Object.GetName(), Ready: s.Ready, Message: s.Message,
			Started: s.Started, Finished: s.Finished,
		})
		if s.Failure != nil {
			d.recordFailure(*s.Failure)
		}
	}
}

func (d *deployment) recordFailure(f rollout.Failure) {
	failure := Failure{Object: f.Object, Reason: f.Reason, Cause: f.Cause, Fix: f.Fix, Logs: f.Logs, LogsOf: f.LogsOf}
	for _, e := range f.Events {
		failure.Events = append(failure.Events, e.String())
	}
	d.log.Printf("")
	d.log.Printf("Not ready: %s", f)
	for _, e := range failure.Events {
		d.log.Printf("  event: %s", e)
	}
	for _, n := range f.Notes {
		d.log.Printf("  note: %s", n)
	}
	failure.Events = append(failure.Events, f.Notes...)
	d.result.Failures = append(d.result.Failures, failure)
	if len(f.Logs) > 0 {
		d.log.Printf("  log of %s:", f.LogsOf)
	}
	for _, line := range f.Logs {
		d.log.Printf("  | %s", line)
	}
	for _, other := range f.Others {
		d.log.Printf("  also pod %s: %s; %s", other.Pod, other.Cause, other.Fix)
	}
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
