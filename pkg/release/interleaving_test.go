package release

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var (
	firstSeed = flag.Uint64("seed", 1, "first seed of the interleavings")
	seeds     = flag.Uint64("seeds", 100, "how many interleavings")
)

// TestInterleavings runs two or three processes at once, some of which crash,
// some of which are killed, then one that must get on whatever they left. A seed
// says all of it but which of two requests comes first that a process sends at once.
func TestInterleavings(t *testing.T) {
	t.Parallel()
	happened := map[string]int{}
	for seed := *firstSeed; seed < *firstSeed+*seeds && !t.Failed(); seed++ {
		story, what, problems := interleaving(t, seed)
		happened[what]++
		if len(problems) > 0 {
			t.Errorf("seed %d: %s\n%s", seed, strings.Join(problems, "; "), story)
		}
	}
	t.Logf("how it ended: %v", happened)
	if len(happened) < 5 {
		t.Errorf("too little happened: %v", happened)
	}
}

// interleaving plays the story of one seed, and returns it with what happened and
// what is wrong with that.
func interleaving(t *testing.T, seed uint64) (story, what string, problems []string) {
	t.Helper()
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	random := rand.New(rand.NewPCG(seed, 2))
	s := world(t)
	defer s.Close()
	s.watchNewest(t)
	var processes []*process
	var lives []int
	for i := range 2 + random.IntN(2) {
		p := &process{run: run(int64(i + 1)), commit: i + 1, fails: random.IntN(3) == 0}
		switch random.IntN(8) {
		case 0: // a person goes back
			p.run = attempt(int64(i+1), 2)
		case 1: // two jobs of one run
			p.run = run(1)
		case 2:
			p.run = Run{}
		}
		life := -1
		if random.IntN(3) == 0 {
			life = random.IntN(14)
		}
		processes, lives = append(processes, p), append(lives, life)
	}
	interleave(t, s, seed, processes, lives)

	var all strings.Builder
	var outcomes []string
	for i, p := range processes {
		fmt.Fprintf(&all, "  run %s, commit %d, fails %t, killed after %d requests: %s, verified %t, %v\n", p.run, p.commit, p.fails, lives[i], p.outcome, p.verified, p.err)
		if p.err != nil {
			problem("run %s met %v", p.run, p.err)
		}
		outcomes = append(outcomes, p.outcome)
	}
	for _, request := range s.requests() {
		all.WriteString("    " + request + "\n")
	}
	if !slices.ContainsFunc(lives, func(n int) bool { return n >= 0 }) {
		settled(t, s, processes, problem)
	}
	final(t, s, processes, random.IntN(3), problem)
	fmt.Fprintf(&all, "  at the end: %v, logs %s\n", s.data("model"), s.names("secrets"))
	return all.String(), strings.Join(outcomes, "|"), problems
}

// settled checks what processes leave that all have ended by themselves.
func settled(t *testing.T, s *apiServer, processes []*process, problem func(string, ...any)) {
	t.Helper()
	newest, pushes := 0, true
	for i, p := range processes {
		pushes = pushes && p.run.ID == int64(i+1) && p.run.Attempt == 1
		if p.outcome == Deployed || p.outcome == Unchanged {
			newest = p.commit
		}
	}
	holds := s.holds(7)
	if holds < 0 || !verifiedBySomebody(processes, holds) {
		problem("commit %d serves, which nobody verified", holds)
	}
	if pushes && holds < newest {
		problem("commit %d serves, and %d was deployed", holds, newest)
	}
	if left := s.names("secrets"); left != nil {
		problem("logs are left: %s", left)
	}
	for _, e := range open(t, s.client(t, nil)).Releases() {
		if e.Outcome == "" {
			problem("run %s ended, and the record does not know how", e.Run)
		}
	}
}

func verifiedBySomebody(processes []*process, commit int) bool {
	return commit == 0 || slices.ContainsFunc(processes, func(p *process) bool { return p.verified && p.commit == commit })
}

// final runs one more process, alone, and checks what it leaves.
func final(t *testing.T, s *apiServer, processes []*process, kind int, problem func(string, ...any)) {
	t.Helper()
	last := processes[len(processes)-1]
	p := &process{run: run(100), commit: 7, client: s.client(t, nil)}
	switch kind {
	case 0: // the last one is run again
		if p.run, p.commit = last.run, last.commit; !p.run.byHand() {
			p.run.Attempt = 9
		}
	case 1:
		p.fails = true
	}
	p.deploy(t.Context())
	if p.err != nil || p.outcome == Superseded || p.outcome == "" {
		problem("the last run, %s, is blocked: %q, %v", p.run, p.outcome, p.err)
	}
	holds := s.holds(7)
	if !p.fails && holds != p.commit {
		problem("commit %d serves after the last run, of commit %d", holds, p.commit)
	}
	if p.fails {
		if !verifiedBySomebody(processes, holds) {
			problem("commit %d serves after the last run has failed; nobody verified it", holds)
		}
		if want := newestVerified(t, s); want > 0 && holds != want && !laterVerified(processes, holds) {
			problem("commit %d serves after the last run has failed; the last that the record knows as verified is %d", holds, want)
		}
	}
	if p.outcome == Unchanged && s.names("secrets") != nil {
		// A killed process had sent a log beside a claim that it lost, and the request
		// was on its way for longer than somebody else's whole deploy. The next log
		// wants the same name.
		next := &process{run: run(101), commit: 6, client: s.client(t, nil)}
		next.deploy(t.Context())
	}
	if left := s.names("secrets"); left != nil {
		problem("logs are left: %s", left)
	}
}

// newestVerified is the commit that serves, as the record has it; 0 if it knows none.
func newestVerified(t *testing.T, s *apiServer) int {
	t.Helper()
	serving, ok := Serving(open(t, s.client(t, nil)).Releases())
	if !ok || serving.ID == 100 {
		return 0
	}
	var commit int
	_, _ = fmt.Sscanf(serving.Commit, "%x", &commit)
	return commit
}

// laterVerified reports whether a process verified that commit and was killed, or
// overtaken, before it could say so.
func laterVerified(processes []*process, commit int) bool {
	for _, p := range processes {
		if p.commit == commit && p.verified && p.outcome != Deployed && p.outcome != Unchanged {
			return true
		}
	}
	return false
}
