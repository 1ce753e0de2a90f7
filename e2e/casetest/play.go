package casetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/runner"
)

// patience is how long a case may take; a step's own timeout is 10 minutes.
const patience = 5 * time.Minute

// Play plays a case.
func (w *World) Play(ctx context.Context, c Case) *Report {
	r := &Report{Name: c.Name, Skipped: c.missing()}
	if r.Skipped != "" {
		return r
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it was not over after %s", patience))
	defer cancel()
	start := time.Now()
	defer func() { r.Took = time.Since(start) }()
	p, err := w.place(ctx, c)
	if p != nil {
		defer p.remove()
	}
	if err == nil {
		err = (&player{place: p, Case: c, report: r}).play(ctx)
	}
	if err != nil {
		r.fail("%v", err)
	}
	return r
}

// player plays one case.
type player struct {
	*place
	Case
	report  *Report
	results []*runner.Result
}

// play does what is to be done before, and then run after run. An error is what kept
// it from playing on; what does not hold is in the report.
func (p *player) play(ctx context.Context) error {
	if err := p.publishAll(ctx); err != nil {
		return err
	}
	if err := p.prepare(ctx); err != nil {
		return err
	}
	for n := 0; n < len(p.Runs); {
		last := n + 1
		for last < len(p.Runs) && p.Runs[last].When != nil {
			last++
		}
		if err := p.group(ctx, n, last); err != nil {
			return err
		}
		n = last
	}
	if p.Expect == nil {
		p.report.fail("%s: there is none; this is what happened, to be read and written there:\n%s", expectFile, observed(p.results))
	}
	return nil
}

// sha is the commit that the n-th run deploys; the one before all is number 0.
func (p *player) sha(n int) string {
	if n > 0 {
		if sha := p.Runs[n-1].With["sha"]; sha != "" {
			return sha
		}
	}
	return commit(p.Name, n)
}

func (p *player) publishAll(ctx context.Context) error {
	var commits, hosts []string
	for n := range len(p.Runs) + 1 {
		commits = append(commits, p.sha(n))
	}
	for _, in := range p.Runs {
		hosts = append(hosts, cmp.Or(in.With["registry_host"], localcloud.RegistryHost))
	}
	slices.Sort(hosts)
	for _, host := range slices.Compact(hosts) {
		all := p.registry(host, commits)
		for _, reference := range slices.Sorted(maps.Keys(all)) {
			if err := p.publish(ctx, reference, all[reference]); err != nil {
				return err
			}
		}
	}
	return nil
}

// prepare makes what is there before the first run.
func (p *player) prepare(ctx context.Context) error {
	if p.before != "" && !p.deploys {
		out, err := p.apply(ctx, p.before)
		p.report.logged("kubectl apply -f "+beforeFile, out)
		if err != nil {
			return fmt.Errorf("%s: kubectl apply: %w: %s", beforeFile, err, out)
		}
	}
	if p.before != "" && p.deploys {
		dir := filepath.Join(p.dir, "before")
		if err := write(dir, map[string]string{manifests + beforeFile: p.before}); err != nil {
			return err
		}
		stop := p.control(ctx)
		r, err := p.step(0, p.Runs[0].place(), dir).Run(ctx)
		stop()
		if err != nil {
			return fmt.Errorf("%s: %w", beforeFile, err)
		}
		p.report.logged(fmt.Sprintf("%s, deployed: %s", beforeFile, ended(r)), r.Log)
		if r.ExitCode != 0 {
			return fmt.Errorf("%s: its deploy ended with exit code %d:\n%s", beforeFile, r.ExitCode, r.Log)
		}
	}
	if p.script == "" {
		return nil
	}
	out, err := p.run(ctx, p.script)
	p.report.logged(scriptFile, out)
	if err != nil {
		return fmt.Errorf("%s: %w: %s", scriptFile, err, out)
	}
	return p.learn()
}

// learn takes in the inputs that before.sh has appended to $INPUTS, for every run.
func (p *player) learn() error {
	content, err := os.ReadFile(p.inputs())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	more, err := ParseInputs(string(content))
	if err != nil {
		return fmt.Errorf("%s: $INPUTS: %w", scriptFile, err)
	}
	runs := slices.Clone(p.Runs)
	for n := range runs {
		runs[n].With, runs[n].Env = maps.Clone(runs[n].With), maps.Clone(runs[n].Env)
		maps.Copy(runs[n].With, more.With)
		maps.Copy(runs[n].Env, more.Env)
	}
	p.Runs = runs
	return nil
}

// control starts controller.sh, if there is one.
func (p *player) control(ctx context.Context) (stop func()) {
	if p.controller == "" {
		return func() {}
	}
	end := p.beside(ctx, p.controller)
	return func() {
		out, err := end()
		p.report.logged(controllerFile, out)
		if err != nil {
			p.report.fail("%s: %v: %s", controllerFile, err, strings.TrimSpace(out))
		}
	}
}

// group plays the runs n to last, of which each but the first begins beside the one
// before it, and then holds each against what is expected of it.
func (p *player) group(ctx context.Context, n, last int) error {
	stop := p.control(ctx)
	var all sync.WaitGroup
	results, errs := make([]*runner.Result, last-n), make([]error, last-n)
	ended := make([]chan struct{}, last-n)
	for i := n; i < last; i++ {
		step := p.step(i+1, p.Runs[i], p.workspace)
		ended[i-n] = make(chan struct{})
		var begun chan struct{}
		if i+1 < last {
			step.OnLine, begun = p.await(p.Runs[i+1].When)
		}
		all.Go(func() {
			defer close(ended[i-n])
			results[i-n], errs[i-n] = step.Run(ctx)
		})
		if begun == nil {
			continue
		}
		select {
		case <-begun:
		case <-ended[i-n]:
			p.report.fail("run %d: it could not begin: no line of run %d matches %s", i+2, i+1, p.Runs[i+1].When)
			last = i + 1
		}
	}
	all.Wait()
	stop()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i := n; i < last; i++ {
		if err := p.hold(ctx, i, results[i-n]); err != nil {
			return err
		}
	}
	return nil
}

// await returns what is to be given each line of a log, and what is closed when one matches.
func (p *player) await(when *regexp.Regexp) (onLine func(string), begun chan struct{}) {
	begun = make(chan struct{})
	var once sync.Once
	return func(line string) {
		if when.MatchString(line) {
			once.Do(func() { close(begun) })
		}
	}, begun
}

// hold holds a run against what is expected of it, and repeats it if that is.
func (p *player) hold(ctx context.Context, n int, r *runner.Result) error {
	title := fmt.Sprintf("run %d", n+1)
	if len(p.Runs) == 1 {
		title = "the run"
	}
	p.report.logged(title+": "+ended(r), r.Log)
	p.results = append(p.results, r)
	if p.Expect == nil {
		return nil
	}
	e := p.Expect[n]
	for _, failure := range append(e.check(r), e.checkObjects(ctx, p.settle, p.find(p.namespace))...) {
		p.report.fail("%s: %s", title, failure)
	}
	if e.Again == "" {
		return nil
	}
	stop := p.control(ctx)
	again, err := p.step(n+1, p.Runs[n], p.workspace).Run(ctx)
	stop()
	if err != nil {
		return err
	}
	p.report.logged(title+" again: "+ended(again), again.Log)
	if got := again.Outputs["outcome"]; got != e.Again {
		p.report.fail("%s, again: outcome %q, want %q", title, got, e.Again)
	}
	return nil
}

func ended(r *runner.Result) string {
	return fmt.Sprintf("exit %d, %s", r.ExitCode, cmp.Or(r.Outputs["outcome"], "no outcome"))
}

// hash is what GitHub names commits by; a case may deploy by another tag.
var hash = regexp.MustCompile(`^[0-9a-f]{40}$`)

// step is a step that deploys a workspace at the n-th commit.
func (p *player) step(n int, in Inputs, workspace string) runner.Step {
	with := map[string]string{
		"cluster_name": localcloud.Cluster, "zone": localcloud.Location, "registry_host": localcloud.RegistryHost,
		"namespace": p.namespace, "credentials_json": p.key, "sha": p.sha(n),
	}
	maps.Copy(with, in.With)
	env := p.cloud.Env(p.client)
	maps.Copy(env, in.Env)
	sha := p.sha(n)
	if !hash.MatchString(sha) {
		sha = commit(p.Name, n)
	}
	return runner.Step{
		Binary: p.binary, Metadata: p.metadata, With: with, Env: env, Workspace: workspace, SHA: sha, RunID: p.runID(),
	}
}
