// Package kill_test ends the action without a word, as when the runner's machine
// goes away, at every request that it makes of the cluster. Whatever was done by
// then, the next run has to come to the right end.
package kill_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/proxy"
	"github.com/org/deploy-model-action/e2e/runner"
)

func TestMain(m *testing.M) { cloudtest.Waiting(m, 6) }

// killed are runs that are killed.
type killed struct {
	name    string
	before  bool // commit 0 was deployed before
	crashes bool // its model does, so that it goes back
}

// nexts are the runs that follow. Each is of a new commit, but the rerun.
var nexts = []string{"rerun", "newer", "newer that fails"}

// TestKill kills a deploy of commit 1 at each boundary.
func TestKill(t *testing.T) {
	t.Parallel()
	var all tally
	t.Cleanup(func() {
		cloudtest.Figure(t, "%s", all.String())
	})
	for _, k := range []killed{
		{name: "a first deploy"},
		{name: "a changed deploy", before: true},
		{name: "a deploy that goes back", before: true, crashes: true},
	} {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			n := k.requests(t)
			t.Logf("%d requests", n)
			for i, every := 1, cloudtest.Sample(5, 1); i <= n; i += every {
				for j, committed := range []bool{false, true} {
					for h, next := range nexts {
						if !cloudtest.Campaign() && (i/every+h)%2 != j {
							continue // the sample alternates
						}
						b := boundary{at: i, committed: committed}
						t.Run(fmt.Sprintf("%s/%s", b, next), func(t *testing.T) {
							t.Parallel()
							d := k.kill(t, b)
							if !d.reached {
								return // not every deploy makes as many requests
							}
							all.add(k.name+", then a "+next, k.follow(d, next))
						})
					}
				}
			}
		})
	}
}

// boundary is between two requests.
type boundary struct {
	at        int
	committed bool // the request was done by the API server, and its answer does not arrive; else it does not go out
}

func (b boundary) String() string {
	if b.committed {
		return fmt.Sprintf("after request %d", b.at)
	}
	return fmt.Sprintf("before request %d", b.at)
}

// place makes a namespace, and a step of the run that is to be killed.
func (k killed) place(t *testing.T) (x, y *cloudtest.Test, s runner.Step) {
	t.Helper()
	x = cloudtest.New(t)
	if k.before {
		x.Push(x.SHA(0), nil)
		if r := x.At("first", x.SHA(0)).Deploy(x.SHA(0), nil); r.Outputs["outcome"] != "deployed" {
			t.Fatalf("the deploy before: %s", r.Outputs["outcome"])
		}
	}
	labels := map[string]string{}
	if k.crashes {
		labels = cloudtest.Crashes
	}
	x.Push(x.SHA(1), labels)
	y = x.At("killed", x.SHA(1))
	return x, y, y.Step(x.SHA(1), nil)
}

// requests counts the cluster's requests of such a run when nobody kills it.
func (k killed) requests(t *testing.T) int {
	t.Helper()
	_, y, s := k.place(t)
	y.Run(s)
	n := 0
	for _, e := range y.Requests() {
		if y.IsCluster(e) {
			n++
		}
	}
	if n < 8 {
		t.Fatalf("%d requests", n)
	}
	return n
}

// dead is what a killed run leaves.
type dead struct {
	*cloudtest.Test
	step     runner.Step
	recorded bool // its outcome had been written
	reached  bool // it came to where it was to be killed
}

// kill kills the run at the boundary.
func (k killed) kill(t *testing.T, b boundary) dead {
	t.Helper()
	x, y, s := k.place(t)
	var mu sync.Mutex
	var end func()
	recorded, reached := false, false
	asked, watched, target := 0, false, 0
	s.OnStart = func(kill func()) { mu.Lock(); defer mu.Unlock(); end = kill }
	die := func() bool {
		reached = true
		end()
		return false
	}
	x.Cloud.Proxy.SetHook(y.Client, proxy.Hook{
		Before: func(r proxy.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			if !y.IsCluster(proxy.Entry{Path: r.Path}) {
				return true
			}
			if reached {
				return false // it is dead; what is still on its way does not arrive
			}
			asked++
			watched = watched || r.Watches()
			if asked < b.at {
				return true
			}
			if !b.committed || r.Watches() {
				return asked > b.at || die()
			}
			if asked == b.at {
				target = r.N
			}
			return true
		},
		After: func(r proxy.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			if watched && cloudtest.WritesRecord(r) && r.Method != http.MethodDelete && strings.Contains(r.Path, "/configmaps/") {
				recorded = true
			}
			if target != 0 && r.N == target {
				return die()
			}
			return true
		},
	})
	r, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	x.LogRun("killed "+b.String(), r)
	if reached && r.ExitCode != -1 {
		t.Logf("it ended before the signal: exit code %d", r.ExitCode)
	}
	s.OnStart = nil
	return dead{Test: x, step: s, recorded: recorded, reached: reached}
}

// follow starts the next run, and reports whether it came to the right end.
func (k killed) follow(x dead, next string) bool {
	good := 1 // the commit that has to serve if the next run is good, and what it says
	outcomes := []string{"deployed", "unchanged"}
	sha, labels := x.SHA(2), map[string]string{}
	verified := x.recorded && !k.crashes // commit 1 was
	switch {
	case next == "rerun" && k.crashes:
		good, outcomes = 0, []string{"rolled-back"}
	case next == "newer":
		good, outcomes = 2, []string{"deployed"}
	case next == "newer that fails" && verified:
		outcomes = []string{"rolled-back"}
	case next == "newer that fails" && k.before:
		good, outcomes = 0, []string{"rolled-back"}
	case next == "newer that fails": // there is nothing to go back to
		good, outcomes = -1, []string{"failed"}
	}
	if next == "newer that fails" {
		labels = cloudtest.Crashes
	}
	x.Cloud.Proxy.SetHook(x.Namespace+".killed", proxy.Hook{})
	s := x.step
	if s.Attempt = "2"; next != "rerun" {
		x.Push(sha, labels)
		s = x.At("newer", sha).Step(sha, nil)
	}
	r, err := s.Run(x.Context())
	if err != nil {
		x.Error(err)
		return false
	}
	x.LogRun(next, r)
	ok := true
	if !slices.Contains(outcomes, r.Outputs["outcome"]) {
		x.Errorf("the next run ended as %s, want %s", r.Outputs["outcome"], strings.Join(outcomes, " or "))
		ok = false
	}
	if good >= 0 {
		ok = x.WantServes(x.SHA(good)) && ok
	} else if commit, err := x.Commit(); err != nil || commit != sha {
		x.Errorf("the objects are of commit %s (%v), want the one that failed: it created them", x.Short(commit), err)
		ok = false
	}
	// Where a deploy failed and there was nothing to go back to, its log says so to
	// the next that fails; it goes with the next that is good.
	if good >= 0 {
		ok = x.NothingIsOpen() && ok
	}
	if next == "newer that fails" {
		// It blocks nobody.
		x.Push(x.SHA(3), nil)
		r := x.At("last", x.SHA(3)).Deploy(x.SHA(3), nil)
		if r.Outputs["outcome"] != "deployed" {
			x.Errorf("the run after it ended as %s", r.Outputs["outcome"])
			ok = false
		}
		ok = x.WantServes(x.SHA(3)) && x.NothingIsOpen() && ok
	}
	return ok
}

// tally counts what went right.
type tally struct {
	mu         sync.Mutex
	right, all map[string]int
}

func (t *tally) add(what string, right bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all, t.right = map[string]int{}, map[string]int{}
	}
	t.all[what]++
	if right {
		t.right[what]++
	}
}

func (t *tally) String() string {
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(t.all)) {
		fmt.Fprintf(&b, "SIGKILL in %s: %d of %d converge\n", what, t.right[what], t.all[what])
	}
	return b.String()
}
