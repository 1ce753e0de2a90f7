// Package prune_test deploys sets that grow and shrink, of one release and of two in
// one namespace, and holds what is deleted and what is not.
package prune_test

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/proxy"
	"github.com/org/deploy-model-action/e2e/runner"
)

func TestMain(m *testing.M) { cloudtest.Waiting(m, 4) }

// TestSequences deploys random sets of two releases that share a namespace and some
// of their objects, with people who change things by hand in between, with deploys
// that fail, and with some that are killed while they prune: what should be there
// is there, what was left goes with the next deploy that prunes, and nothing of
// others is touched.
func TestSequences(t *testing.T) {
	t.Parallel()
	seed := cloudtest.Seed(t)
	var mu sync.Mutex
	all, right, steps, pruned, killed := 0, 0, 0, 0, 0
	t.Cleanup(func() {
		cloudtest.Figure(t, "prune: %d of %d random sequences over two releases right: %d steps, %d objects pruned, %d runs killed while they pruned", right, all, steps, pruned, killed)
	})
	for n := range cloudtest.Sample(6, 100) {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			chance := cloudtest.Random(seed, n)
			for w.step = 1; w.step <= 10 && w.right; w.step++ {
				w.play(chance)
			}
			mu.Lock()
			defer mu.Unlock()
			all, steps, pruned, killed = all+1, steps+w.step-1, pruned+w.pruned, killed+w.killed
			if w.right && !t.Failed() {
				right++
			}
		})
	}
}

// play makes one step.
func (w *world) play(chance *rand.Rand) {
	w.Helper()
	name := pool[chance.IntN(len(pool))]
	there := w.live()[name] != nil
	switch roll := chance.IntN(100); {
	case roll < 6 && there:
		w.Logf("step %d: by hand: %s is deleted", w.step, name)
		w.remove(name)
		return
	case roll < 12 && there:
		w.Logf("step %d: by hand: %s is made anew", w.step, name)
		w.remove(name)
		w.create(name)
		return
	case roll < 12:
		w.Logf("step %d: by hand: %s is made", w.step, name)
		w.create(name)
		return
	case roll < 22 && there:
		value := []string{`"false"`, `"true"`, "null"}[chance.IntN(3)]
		w.Logf("step %d: by hand: %s is annotated %s", w.step, name, value)
		w.annotate(name, value)
		return
	}
	r := w.releases[chance.IntN(len(w.releases))]
	var set []string
	for _, name := range pool {
		if chance.IntN(5) < 2 {
			set = append(set, name)
		}
	}
	p := w.prepare(r, set, chance.IntN(4) > 0, chance.IntN(7) == 0)
	if before := w.live(); p.prune && !p.fails && chance.IntN(3) == 0 && len(w.prunable(p, before)) > 0 {
		w.kill(p, chance)
		p = w.prepare(r, set, true, false) // the next run prunes the rest
	}
	w.deploy(p)
}

// deploy runs a run to its end, and wants the right things to be there.
func (w *world) deploy(p prepared) {
	w.Helper()
	w.Logf("step %d: release %s holds %s, prune %v, fails %v", w.step, p.of.name, strings.Join(p.set, " "), p.prune, p.fails)
	before := w.live()
	var want []string
	w.begin(p)
	if p.prune && !p.fails {
		want = w.prunable(p, before)
	}
	r, err := p.step.Run(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	w.LogRun("the run", r)
	after := w.live()
	w.created(p, before, after)
	w.untouched(before, after, want)
	for _, name := range want {
		if after[name] != nil {
			w.wrong("%s is still there, and was to be pruned", name)
		}
	}
	switch outcome := r.Outputs["outcome"]; {
	case p.fails:
		if outcome != "failed" && outcome != "rolled-back" {
			w.wrong("a run that fails ended as %s", outcome)
		}
		w.saysPruned(r, nil)
		return
	case outcome != "deployed" && outcome != "unchanged":
		w.wrong("the run ended as %s", outcome)
		return
	}
	w.verified(p, after)
	if p.prune {
		w.forget(p, before)
		for _, name := range want {
			delete(p.of.inv, name)
		}
	}
	w.pruned += len(want)
	w.saysPruned(r, want)
}

var ahead = regexp.MustCompile(`(?m)No longer in the manifests, and deleted when all the rest serves: (.*)$`)

// saysPruned wants log and outputs to name exactly what was pruned, and the log to
// have named it before.
func (w *world) saysPruned(r *runner.Result, want []string) {
	w.Helper()
	var changes []struct{ Name, Action string }
	if err := json.Unmarshal([]byte(r.Outputs["changes"]), &changes); err != nil {
		w.wrong("output changes: %v", err)
	}
	var got []string
	for _, c := range changes {
		if c.Action == "pruned" {
			got = append(got, c.Name)
		}
	}
	slices.Sort(got)
	sorted := slices.Sorted(slices.Values(want))
	if !slices.Equal(got, sorted) {
		w.wrong("output changes says that %v was pruned, want %v", got, sorted)
	}
	var planned []string
	if m := ahead.FindStringSubmatch(r.Log); m != nil {
		for name := range strings.SplitSeq(m[1], ", ") {
			planned = append(planned, name[strings.LastIndexByte(name, '/')+1:])
		}
	}
	slices.Sort(planned)
	if r.ExitCode == 0 && !slices.Equal(planned, sorted) {
		w.wrong("before the first write the log said that %v goes, want %v", planned, sorted)
	}
	for _, name := range want {
		if line := kind(name).line + "/" + name + " pruned"; !strings.Contains(r.Log, line) {
			w.wrong("the log does not say %q", line)
		}
	}
}

// kill starts a run, and kills it at one of its deletions.
func (w *world) kill(p prepared, chance *rand.Rand) {
	w.Helper()
	before := w.live()
	w.begin(p)
	goes := w.prunable(p, before)
	at, landed := 1+chance.IntN(len(goes)), chance.IntN(2) == 0
	w.Logf("step %d: release %s holds %s, and is killed at deletion %d of %v, which lands: %v", w.step, p.of.name, strings.Join(p.set, " "), at, goes, landed)
	var (
		mu               sync.Mutex
		end              func()
		deletions        int
		target           int
		written, reached bool
	)
	p.step.OnStart = func(kill func()) { mu.Lock(); defer mu.Unlock(); end = kill }
	w.Cloud.Proxy.SetHook(p.client.Client, proxy.Hook{
		Before: func(r proxy.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			written = written || cloudtest.WritesRecord(r)
			if !p.client.IsCluster(proxy.Entry{Path: r.Path}) {
				return true
			}
			if reached {
				return false
			}
			// Before the first write of the record they are dry runs.
			if r.Method != http.MethodDelete || !written || cloudtest.IsRecord(r) {
				return true
			}
			if deletions++; deletions == at {
				if !landed {
					reached = true
					end()
					return false
				}
				target = r.N
			}
			return true
		},
		After: func(r proxy.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			if target != 0 && r.N == target && !reached {
				reached = true
				end()
				return false
			}
			return true
		},
	})
	r, err := p.step.Run(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	w.LogRun("killed", r)
	if r.ExitCode != -1 || !reached {
		w.wrong("it was not killed: exit code %d, after %d deletions", r.ExitCode, deletions)
	}
	w.killed++
	after := w.live()
	w.created(p, before, after)
	w.verified(p, after)
	w.untouched(before, after, goes)
	if landed && !slices.ContainsFunc(goes, func(name string) bool { return after[name] == nil }) {
		w.wrong("a deletion was answered, and all of %v is there", goes)
	}
}
