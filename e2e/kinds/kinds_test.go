package kinds_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/runner"
)

// verdicts are what a run said of each kind.
type verdicts struct {
	ready, waited map[string]bool
}

// of reads the verdicts from the log.
func of(r *runner.Result, all []kind) verdicts {
	v := verdicts{map[string]bool{}, map[string]bool{}}
	for _, k := range all {
		for line := range strings.Lines(r.Log) {
			if said, ok := strings.CutPrefix(strings.TrimSpace(line), k.name()+": "); ok {
				v.waited[k.name()] = true
				v.ready[k.name()] = v.ready[k.name()] || said == "ready" || strings.HasPrefix(said, "ready ") || strings.HasPrefix(said, "ready:")
			}
		}
	}
	return v
}

// TestStates takes one object of each kind through all states that its controller
// can write, one deploy a state. In each deploy all of them are waited for at once.
func TestStates(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	c := newController(x, kinds)
	progressing := func(k kind) string { return k.progressing }
	ready := func(k kind) string { return k.ready }
	degraded := func(k kind) string { return k.degraded }
	unwell := func(k kind) string { // what has ended does not heal
		if k.ends {
			return k.progressing
		}
		return k.degraded
	}

	states := []struct {
		name  string
		steps []step
		ready bool
		says  func(kind) string
	}{
		{name: "no status"},
		{name: "progressing, then ready", steps: []step{{0, progressing}, {1500 * time.Millisecond, ready}}, ready: true},
		{name: "stale generation"}, // what is there is the status of the deploy before
		{name: "progressing", steps: []step{{0, progressing}}},
		{name: "degraded", steps: []step{{0, degraded}}, says: func(k kind) string { return k.says }},
		{name: "healed", steps: []step{{0, unwell}, {2 * time.Second, progressing}, {time.Second, ready}}, ready: true},
		{name: "ready, then degraded", steps: []step{{0, degraded}}},
	}
	greens, reds, looks := 0, 0, 0
	for i, state := range states {
		version := strconv.Itoa(10 + i)
		var all []string
		for _, k := range kinds {
			all = append(all, k.manifest(version))
		}
		x.Write("kubernetes/models.yaml", strings.Join(all, "---\n"))
		x.Push(x.SHA(i), nil)
		stop := c.play(version, state.steps...)
		// Longer than what has no generation is left alone, shorter than what may
		// never be answered is waited for.
		r := x.Deploy(x.SHA(i), map[string]string{"timeout": "12s", "fail_fast": "false", "rollback": "false"})
		stop()
		said := of(r, kinds)
		for _, k := range kinds {
			looks++
			switch got := said.ready[k.name()]; {
			case !said.waited[k.name()]:
				t.Errorf("%s: nothing is said of %s", state.name, k.name())
			case got && !state.ready:
				greens++
				t.Errorf("%s: %s is said to be ready", state.name, k.name())
			case !got && state.ready:
				reds++
				t.Errorf("%s: %s is not said to be ready", state.name, k.name())
			}
			if state.says != nil && !strings.Contains(r.Log, state.says(k)) {
				t.Errorf("%s: the log does not say %q of %s", state.name, state.says(k), k.name())
			}
		}
		if green := r.ExitCode == 0; green != state.ready {
			t.Errorf("%s: exit code %d, outcome %q", state.name, r.ExitCode, r.Outputs["outcome"])
		}
		if state.ready && r.Outputs["url"] != "http://model-default.models.example.com" {
			t.Errorf("%s: url %q", state.name, r.Outputs["url"])
		}
	}
	cloudtest.Figure(t, "%d kinds in %d states: %d false greens, %d false reds of %d", len(kinds), len(states), greens, reds, looks)
}

// TestFailsWithItsMessage holds that what its controller has given up fails the
// deploy with the controller's own words, long before the timeout.
func TestFailsWithItsMessage(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		if !k.ends && k.kind != "Rollout" { // which its controller aborted
			continue
		}
		t.Run(k.kind, func(t *testing.T) {
			t.Parallel()
			x := cloudtest.New(t)
			c := newController(x, []kind{k})
			x.Write("kubernetes/model.yaml", k.manifest("1"))
			x.Push(x.SHA(1), nil)
			stop := c.play("1", step{time.Second, func(k kind) string { return k.progressing }}, step{time.Second, func(k kind) string { return k.degraded }})
			began := time.Now()
			r := x.Deploy(x.SHA(1), map[string]string{"timeout": "2m"})
			stop()
			if took := time.Since(began); r.ExitCode != 1 || !strings.Contains(r.Log, k.says) || took > time.Minute {
				t.Errorf("exit code %d after %s; want 1 at once, and %q", r.ExitCode, took, k.says)
			}
		})
	}
}

// TestKindsOfNobody holds what becomes of kinds that the action does not know.
func TestKindsOfNobody(t *testing.T) {
	t.Parallel()
	const (
		unknown = "not waited for: its status has no condition Ready"
		when    = `    deploy-model-action/ready-when: '{.status.phase} == Running'` + "\n"
	)
	phase := func(text string) func(kind) string {
		return func(kind) string { return `{observedGeneration: GEN, phase: ` + text + `}` }
	}
	for _, tt := range []struct {
		name, annotations string
		steps             []step
		exit              int
		says              string
	}{
		{name: "no status", exit: 0, says: unknown},
		{name: "a phase", steps: []step{{0, phase("Failed")}}, exit: 0, says: unknown},
		{name: "ready when", annotations: when, steps: []step{{0, phase("Loading")}, {7 * time.Second, phase("Running")}}, exit: 0, says: "/model: ready after"},
		{name: "never ready", annotations: when, steps: []step{{0, phase("Loading")}}, exit: 1, says: "waiting for {.status.phase} == Running: it is Loading"},
		{name: "nobody waits", annotations: `    deploy-model-action/wait: "false"` + "\n", exit: 0, says: "not waited for, as its annotation deploy-model-action/wait asks"},
		{name: "a wrong annotation", annotations: `    deploy-model-action/ready-when: '{.status.phase} = Running'` + "\n", exit: 2, says: `kubernetes/model.yaml:6: metadata.annotations: the value "{.status.phase} = Running" of deploy-model-action/ready-when: compares by =; write == for a comparison`},
		{name: "a condition", steps: []step{
			{0, func(kind) string { return `{conditions: [{type: Ready, status: "False"}]}` }},
			{7 * time.Second, func(kind) string { return `{conditions: [{type: Ready, status: "True"}]}` }},
		}, exit: 0, says: "/model: ready after"},
		{name: "given up", steps: []step{{0, func(kind) string {
			return `{conditions: [{type: Stalled, status: "True", message: no accelerators left}]}`
		}}}, exit: 1, says: "its controller gave up: no accelerators left"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := cloudtest.New(t)
			k := kind{group: x.Namespace + ".example.com", version: "v1", kind: "Model", plural: "models", spec: `{template: {spec: {` + containers + `}}}`}
			if _, err := x.Dynamic().Resource(definitions).Create(x.Context(), k.definition(), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			c := newController(x, []kind{k})
			served(x, k)
			manifest := k.manifest("1")
			if tt.annotations != "" {
				manifest = strings.Replace(manifest, "metadata: {name: model}\n", "metadata:\n  name: model\n  annotations:\n"+tt.annotations, 1)
			}
			x.Write("kubernetes/model.yaml", manifest)
			x.Push(x.SHA(1), nil)
			stop := c.play("1", tt.steps...)
			r := x.Deploy(x.SHA(1), map[string]string{"timeout": "15s"})
			stop()
			if r.ExitCode != tt.exit || !strings.Contains(r.Log, tt.says) {
				t.Errorf("exit code %d, want %d, and %q in the log", r.ExitCode, tt.exit, tt.says)
			}
			if called := strings.Contains(r.Log, "/model: ready"); called && !strings.Contains(tt.says, "ready after") {
				t.Error("it is called ready")
			}
		})
	}
}
