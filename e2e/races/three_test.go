package races_test

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/proxy"
	"github.com/org/deploy-model-action/e2e/runner"
)

// TestThree starts three runs at once: what serves in the end is the commit of
// the newest one that ended as deployed, and that is the newest one that is good
// unless a newer one that crashes took over from it.
func TestThree(t *testing.T) {
	t.Parallel()
	seed := cloudtest.Seed(t)
	var mu sync.Mutex
	rows := make([]string, cloudtest.Sample(3, 30))
	t.Cleanup(func() {
		cloudtest.Figure(t, "three at once: run 1, run 2, run 3, what serves\n%s", strings.Join(rows, "\n"))
	})
	for i := range rows {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			r := cloudtest.Random(seed, i)
			x := deployed(t)
			var all [3]ran
			var steps [3]runner.Step
			var crashes [3]bool
			var running sync.WaitGroup
			for n := range steps {
				labels := map[string]string{"model.ready-after": fmt.Sprintf("%dms", r.IntN(800))}
				if crashes[n] = i%3 > 0 && r.IntN(3) == 0; crashes[n] {
					labels = cloudtest.Crashes
				}
				x.Push(x.SHA(n+1), labels)
				steps[n] = x.At(fmt.Sprint("run", n+1), x.SHA(n+1)).Step(x.SHA(n+1), map[string]string{"timeout": "60s"})
			}
			for n := range steps {
				offset := time.Duration(r.IntN(600)) * time.Millisecond
				running.Go(func() {
					time.Sleep(offset)
					all[n].run(x, steps[n])
				})
			}
			running.Wait()
			want, row := x.SHA(0), strings.Builder{}
			for n := range all {
				x.LogRun(fmt.Sprint("run ", n+1), all[n].result)
				outcome := ended(t, fmt.Sprint("run ", n+1), all[n].result)
				may := []string{"deployed", "superseded"}
				switch {
				case n == 2 && crashes[n]:
					may = []string{"rolled-back"}
				case n == 2:
					may = []string{"deployed"}
				case crashes[n]:
					may = []string{"rolled-back", "superseded"}
				}
				if !slices.Contains(may, outcome) {
					t.Errorf("run %d ended as %s, want %s", n+1, outcome, strings.Join(may, " or "))
				}
				if outcome == "deployed" {
					want = x.SHA(n + 1)
				}
				fmt.Fprintf(&row, "%-8s %-12s ", map[bool]string{true: "crashing", false: "good"}[crashes[n]], outcome)
			}
			x.WantServes(want)
			x.NothingIsOpen()
			mu.Lock()
			defer mu.Unlock()
			rows[i] = row.String() + " serves: run " + x.Short(want)
		})
	}
}

// TestRerun lets a person run an old run again while a new push is under way.
// Attempt 2 of an old run may go back, also behind a newer one; it does not make
// older runs newer, and the next push wins over it.
func TestRerun(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var rows []string
	for _, tt := range []struct {
		name   string
		held   string // which of them is stopped until the other has ended; "" for none, which is a race
		at     func() func(proxy.Request) bool
		serves int // -1: of the one that ended last as deployed
	}{
		{"the push is stopped in its apply", "push", cloudtest.AtApply, 0},
		{"the push is stopped in its rollout", "push", cloudtest.AtRollout, 0},
		{"the rerun is stopped in its apply", "rerun", cloudtest.AtApply, 3},
		{"the rerun is stopped in its rollout", "rerun", cloudtest.AtRollout, 3},
		{"both at once", "", nil, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := cloudtest.New(t)
			for n := range 5 {
				x.Push(x.SHA(n), nil)
			}
			old := x.At("rerun", x.SHA(0))
			first := old.Step(x.SHA(0), nil)
			if outcome := ended(t, "the old run", old.Run(first)); outcome != "deployed" {
				t.Fatalf("the old run ended as %s", outcome)
			}
			late := x.At("late", x.SHA(2)).Step(x.SHA(2), nil) // older than run 1, and started after it
			if outcome := ended(t, "run 1", x.At("run1", x.SHA(1)).Deploy(x.SHA(1), nil)); outcome != "deployed" {
				t.Fatalf("run 1 ended as %s", outcome)
			}
			first.Attempt = "2"
			new := x.At("push", x.SHA(3))
			steps := map[string]runner.Step{"rerun": first, "push": new.Step(x.SHA(3), nil)}
			places := map[string]*cloudtest.Test{"rerun": old, "push": new}
			all := map[string]*ran{"rerun": {}, "push": {}}
			var running sync.WaitGroup
			if tt.held != "" {
				held := places[tt.held].Hold(tt.at())
				running.Go(func() { all[tt.held].run(x, steps[tt.held]) })
				select {
				case <-held.Reached:
				case <-time.After(time.Minute):
					t.Fatal("it never came to where it is held")
				}
				other := map[string]string{"push": "rerun", "rerun": "push"}[tt.held]
				all[other].run(x, steps[other])
				held.Release()
			} else {
				for name := range steps {
					running.Go(func() { all[name].run(x, steps[name]) })
				}
			}
			running.Wait()
			for name, r := range all {
				x.LogRun(name, r.result)
				r.outcome = ended(t, name, r.result)
				want := []string{"deployed", "superseded"}
				if tt.held == name {
					want = []string{"superseded"}
				} else if tt.held != "" {
					want = []string{"deployed"}
				}
				if !slices.Contains(want, r.outcome) {
					t.Errorf("the %s ended as %s, want %s", name, r.outcome, strings.Join(want, " or "))
				}
			}
			commits := map[string]string{"rerun": x.SHA(0), "push": x.SHA(3)}
			serves, err := x.Serves()
			if err != nil {
				t.Error(err)
			}
			want := x.SHA(max(tt.serves, 0))
			if tt.serves < 0 {
				last := slices.MaxFunc([]string{"rerun", "push"}, func(a, b string) int {
					return cmp.Or(strings.Compare(all[b].outcome, all[a].outcome), all[a].end.Compare(all[b].end)) // deployed before superseded
				})
				want = commits[last]
			}
			if serves != want {
				t.Errorf("commit %s serves, want %s", x.Short(serves), x.Short(want))
			}
			x.NothingIsOpen()
			mu.Lock()
			rows = append(rows, fmt.Sprintf("%-36s rerun %-12s push %-12s serves commit %s", tt.name, all["rerun"].outcome, all["push"].outcome, x.Short(serves)))
			mu.Unlock()

			// Neither makes an old first attempt newer, and the next push wins.
			if outcome := ended(t, "a late run", x.At("late2", x.SHA(2)).Run(late)); outcome != "superseded" {
				t.Errorf("a run older than the newest claim ended as %s", outcome)
			}
			x.WantServes(serves)
			if outcome := ended(t, "the next push", x.At("next", x.SHA(4)).Deploy(x.SHA(4), nil)); outcome != "deployed" {
				t.Errorf("the next push ended as %s", outcome)
			}
			x.WantServes(x.SHA(4))
			x.NothingIsOpen()
		})
	}
	t.Cleanup(func() {
		slices.Sort(rows)
		cloudtest.Figure(t, "a rerun of an old run beside a push\n%s", strings.Join(rows, "\n"))
	})
}
