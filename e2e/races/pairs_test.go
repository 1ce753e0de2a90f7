package races_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/runner"
)

// pair is an older and a newer run of one release.
type pair struct {
	olderCrashes, newerCrashes bool
	revert                     bool // the newer one is the commit that serves already
	health                     bool // both ask the model
	newerFirst                 bool // which of them starts first
	phase                      string
	delay                      time.Duration // after the first one's phase has begun, until the second starts
	slow                       time.Duration // until a model is ready
	binary                     string        // in place of the action as it ships
}

// starts are the phases of a run in which another may start; "" is its first moment.
var starts = []string{"", "Cluster and images", "Apply", "Rollout", "Health check", "Rollback", "its end"}

// randomPair is the same for the same seed and number.
func randomPair(seed uint64, n int) pair {
	r := cloudtest.Random(seed, n)
	p := pair{health: r.IntN(2) == 0, newerFirst: r.IntN(6) == 0, slow: time.Duration(r.IntN(1200)) * time.Millisecond}
	switch n % 6 { // each kind in every sample of six
	case 1:
		p.olderCrashes = true
	case 2:
		p.newerCrashes = true
	case 3:
		p.olderCrashes, p.newerCrashes = true, true
	case 4:
		p.revert = true
	case 5:
		p.revert, p.olderCrashes = true, true
	}
	first := p.olderCrashes
	if p.newerFirst {
		first = p.newerCrashes
	}
	for p.phase = starts[r.IntN(len(starts))]; p.phase == "Rollback" && !first || p.phase == "Health check" && (first || !p.health); {
		p.phase = starts[r.IntN(len(starts))]
	}
	most := map[string]int{"": 150, "Cluster and images": 60, "Apply": 80, "Rollout": 1500, "Health check": 100, "Rollback": 1500, "its end": 50}[p.phase]
	p.delay = time.Duration(r.IntN(most*1000)) * time.Microsecond
	return p
}

func (p pair) String() string {
	does := func(crashes bool) string {
		if crashes {
			return "crashing"
		}
		return "good"
	}
	s := fmt.Sprintf("%s older, %s newer", does(p.olderCrashes), does(p.newerCrashes))
	if p.revert {
		s += " (what served before)"
	}
	if p.newerFirst {
		s += ", newer first"
	}
	return fmt.Sprintf("%s, the second %s after %q", s, p.delay.Round(time.Millisecond), p.phase)
}

// ran is what became of a run.
type ran struct {
	result     *runner.Result
	began, end time.Time
	outcome    string
}

// TestPairs races an older and a newer run over a release that serves.
//
// What has to serve in the end is the newest commit that was verified. A newer run
// that is good verifies its commit, whatever the older one does. If it crashes,
// it goes back to the older one's commit if that was verified before, which is to
// say that the older run ended as deployed, else to the first.
func TestPairs(t *testing.T) {
	t.Parallel()
	seed := cloudtest.Seed(t)
	n := cloudtest.Sample(12, 200)
	var s summary
	t.Cleanup(func() {
		cloudtest.Figure(t, "%s", s.table())
	})
	for i := range n {
		p := randomPair(seed, i)
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			t.Logf("%s", p)
			x := deployed(t)
			older, newer := p.race(x)
			s.add(p, older, newer, p.hold(x, older, newer))
		})
	}
}

// race runs both.
func (p pair) race(x *cloudtest.Test) (older, newer ran) {
	x.Helper()
	with := map[string]string{"timeout": "60s"}
	if p.health {
		with["health_path"] = "/readyz"
	}
	step := func(name string, sha string, crashes bool) runner.Step {
		labels := map[string]string{"model.ready-after": p.slow.String()}
		if crashes {
			labels = cloudtest.Crashes
		}
		if sha != x.SHA(0) {
			x.Push(sha, labels)
		}
		s := x.At(name, sha).Step(sha, with)
		s.Binary = cmp.Or(p.binary, s.Binary)
		return s
	}
	first := step("older", x.SHA(1), p.olderCrashes)
	second := step("newer", p.newest(x), p.newerCrashes)
	one, two := &older, &newer
	if p.newerFirst {
		first, second, one, two = second, first, two, one
	}
	var says phases
	says.watch(&first)
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { defer close(done); one.run(x, first) })
	running.Go(func() {
		if p.phase != "" {
			begins := says.begin(p.phase)
			select {
			case <-begins:
			case <-done:
			}
		}
		time.Sleep(p.delay) // the race's offset
		two.run(x, second)
	})
	running.Wait()
	return older, newer
}

func (r *ran) run(x *cloudtest.Test, s runner.Step) {
	var err error
	r.began = time.Now()
	if r.result, err = s.Run(x.Context()); err != nil {
		x.Error(err)
		r.result = &runner.Result{}
	}
	r.end = time.Now()
}

// newest is the newer run's commit.
func (p pair) newest(x *cloudtest.Test) string {
	if p.revert {
		return x.SHA(0)
	}
	return x.SHA(2)
}

// hold checks what has to hold, and reports whether the right commit serves.
func (p pair) hold(x *cloudtest.Test, older, newer ran) bool {
	x.LogRun("older", older.result)
	x.LogRun("newer", newer.result)
	older.outcome, newer.outcome = ended(x.T, "older", older.result), ended(x.T, "newer", newer.result)

	may := []string{"deployed", "superseded"}
	switch {
	case newer.end.Before(older.began):
		may = []string{"superseded"}
	case older.end.Before(newer.began) && p.olderCrashes:
		may = []string{"rolled-back"}
	case older.end.Before(newer.began):
		may = []string{"deployed"}
	case p.olderCrashes:
		may = []string{"rolled-back", "superseded"}
	}
	if !slices.Contains(may, older.outcome) {
		x.Errorf("the older run ended as %s, want %s", older.outcome, strings.Join(may, " or "))
	}
	may = []string{"deployed"}
	switch {
	case p.newerCrashes:
		may = []string{"rolled-back"}
	case p.revert: // whether anything had to be changed depends on how far the older one came
		may = []string{"deployed", "unchanged"}
	}
	if !slices.Contains(may, newer.outcome) {
		x.Errorf("the newer run ended as %s, want %s", newer.outcome, strings.Join(may, " or "))
	}

	want := p.newest(x)
	if p.newerCrashes {
		want = x.SHA(0)
		if older.outcome == "deployed" || older.outcome == "superseded" && p.verified(older) && x.Serving(x.SHA(1)) {
			want = x.SHA(1)
		}
	}
	right := x.WantServes(want)
	return x.NothingIsOpen() && right
}

// verified reports whether a run that was superseded had verified its commit by
// then, and only not recorded it: then both this commit and the one before are
// what was verified last.
func (p pair) verified(r ran) bool {
	return strings.Contains(r.result.Log, "deployment.apps/model: ready") && (!p.health || strings.Contains(r.result.Log, "200 OK"))
}

// summary counts pairs.
type summary struct {
	mu    sync.Mutex
	all   int
	right int
	ends  map[string]int // by what the pair was, and how its runs ended
}

func (s *summary) add(p pair, older, newer ran, right bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ends == nil {
		s.ends = map[string]int{}
	}
	s.all++
	if right {
		s.right++
	}
	phase := p.phase
	if phase == "" {
		phase = "its start"
	}
	s.ends[fmt.Sprintf("%-20s %-12s %-12s", phase, older.result.Outputs["outcome"], newer.result.Outputs["outcome"])]++
}

func (s *summary) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "newest verified serves in %d of %d\n", s.right, s.all)
	fmt.Fprintf(&b, "%-20s %-12s %-12s %5s\n", "second starts at", "older", "newer", "pairs")
	for _, k := range slices.Sorted(maps.Keys(s.ends)) {
		fmt.Fprintf(&b, "%s %5d\n", k, s.ends[k])
	}
	return b.String()
}
