package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/retry"
	"github.com/org/deploy-model-action/pkg/rollout"
	"github.com/org/deploy-model-action/pkg/serving"
)

// observeEvery is how often the pods are looked at while the model is asked.
const observeEvery = time.Second

// questions names what the model is asked; "" if it is asked nothing.
func (o Options) questions() string {
	switch {
	case o.HealthPath != "" && o.SmokeTest != "":
		return "Health check and smoke test"
	case o.HealthPath != "":
		return "Health check"
	case o.SmokeTest != "":
		return "Smoke test"
	}
	return ""
}

// loadSmokeTest reads the smoke test, and all that it sends.
func (d *deployment) loadSmokeTest(ctx context.Context) error {
	if d.SmokeTest == "" {
		return nil
	}
	skip := func(string) bool { return false }
	if d.credentials != nil && d.credentials.File != "" {
		file := d.credentials.File
		skip = func(path string) bool { return sameFile(d.runner.Workspace, path, file) }
	}
	var err error
	d.smokeTest, err = serving.ParseSmokeTest(ctx, d.runner.Workspace, d.SmokeTest, skip)
	return err
}

// checkAskable finds offline that nobody could be asked.
func (d *deployment) checkAskable() error {
	if d.questions() == "" || d.manifests == nil || serving.Askable(d.manifests.Objects) {
		return nil
	}
	input, value := "health_path", d.HealthPath
	if value == "" {
		input, value = "smoke_test", d.SmokeTest
	}
	return fmt.Errorf("input %s %q: the manifests hold no Service with a TCP port, so nobody could be asked; add the Service in front of the model, or leave %s empty", input, value, input)
}

// foresee finds that whoever deploys has no right to ask what is to be asked, before
// anything is written. It is no error: nothing is known against the model.
func (d *deployment) foresee(ctx context.Context) {
	if d.questions() == "" {
		return
	}
	o := serving.Options{Path: d.HealthPath, SmokeTest: d.smokeTest}
	for _, u := range d.manifests.Objects {
		if u.GetNamespace() == "" {
			u = u.DeepCopy()
			u.SetNamespace(d.Namespace)
		}
		o.Changes = append(o.Changes, kube.Change{After: u, Action: kube.Configured})
	}
	d.refused = serving.Refused(ctx, d.kube, o, d.Candidate)
}

// ask asks the model itself.
func (d *deployment) ask(ctx context.Context) error {
	started := time.Now()
	report, statuses, err := d.question(ctx, d.askOptions(), d.statuses)
	d.recordAnswers(report, time.Since(started))
	if len(statuses) == 0 {
		return err
	}
	if newer := d.overtaken(ctx, err); newer != nil {
		return newer
	}
	d.statuses, d.result.Rollouts = statuses, slices.Clone(d.before)
	d.recordRollouts(statuses)
	return err
}

// question asks, and watches the pods meanwhile: asking is what ends some. Where
// one has failed, that is the error, and what became of the objects is returned.
func (d *deployment) question(ctx context.Context, o serving.Options, of []rollout.Status) (serving.Report, []rollout.Status, error) {
	asking, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var (
		statuses []rollout.Status
		failed   error
		ended    = make(chan struct{})
	)
	go func() {
		defer close(ended)
		defer fault.Catch(ctx)
		if statuses, failed = d.observePods(asking, of); failed != nil {
			stop(failed)
		}
	}()
	report, err := serving.Check(asking, d.kube, o)
	stop(nil)
	<-ended
	var unhealthy *serving.UnhealthyError
	if failed == nil && errors.As(err, &unhealthy) {
		// One that crashes has not failed for certain before it did so three times, and is
		// the cause all the same when there is no time left.
		statuses, failed = rollout.Crashed(ctx, d.kube, of)
	}
	if failed != nil {
		return report, statuses, failed
	}
	return report, nil, err
}

// observePods looks at new pods again and again, and returns when one has failed for certain.
func (d *deployment) observePods(ctx context.Context, of []rollout.Status) ([]rollout.Status, error) {
	for retry.Sleep(ctx, observeEvery) == nil {
		statuses, err := rollout.Confirm(ctx, d.kube, of, d.rolloutOptions())
		if err != nil && ctx.Err() == nil {
			return statuses, err
		}
	}
	return nil, nil
}

func (d *deployment) askOptions() serving.Options {
	changes := make([]kube.Change, len(d.statuses))
	for i, s := range d.statuses {
		changes[i] = s.Change
		changes[i].After = s.Live
	}
	return serving.Options{
		Path: d.HealthPath, SmokeTest: d.smokeTest, Changes: changes, Address: d.address, HTTP: d.runner.Transport, Timeout: d.HealthTimeout,
		Progress: func(line string) { d.log.Printf("%s", line) },
	}
}

// recordAnswers tells what the model answered, and warns of what it was not asked.
func (d *deployment) recordAnswers(report serving.Report, took time.Duration) {
	if a := report.Health; a != nil && a.Tries > 0 {
		d.result.Health = a.String()
		d.log.Printf("%s (after %s, %d tries)", a, took.Round(time.Millisecond), a.Tries)
	}
	d.result.Smoke = nil
	for _, r := range report.Replies {
		d.result.Smoke = append(d.result.Smoke, Reply{
			Name: r.Name, Asked: r.Asked(), Expected: r.Expected, Got: r.Got(), Right: r.Wrong == "", Times: r.Right,
			Fastest: r.Fastest, Median: r.Median, Slowest: r.Slowest,
		})
		d.log.Printf("%s", r)
	}
	for _, note := range report.Notes {
		d.log.Printf("%s", note)
	}
	d.reached = report.Reached
	if report.Unasked != nil {
		d.result.Unasked = report.Unasked.Error()
		warn := d.log.Warning
		if strings.Contains(d.refused, "the model will not be asked") { // which was warned of
			warn = func(text string) { d.log.Printf("%s", text) }
		}
		warn(report.Unasked.Error() + ". What was deployed stays: nothing is known against it.")
	}
}

// reach finds out whether the address answers, beside what is written meanwhile.
// The function that it returns waits for that.
func (d *deployment) reach(ctx context.Context) (wait func()) {
	r := d.result
	switch {
	case r.URL == "" || r.Outcome != Deployed && r.Outcome != Unchanged && r.Outcome != RolledBack:
		return func() {}
	case r.Outcome != RolledBack && d.reached == r.URL:
		r.Answers = true
		return func() {}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer fault.Catch(ctx)
		r.Answers, r.Silent = serving.Reach(ctx, d.runner.Transport, d.address)
	}()
	return func() { <-ended }
}
