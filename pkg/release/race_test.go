package release

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/org/deploy-model-action/pkg/kube"
)

// meanwhile runs f once, when a request of that kind has come (or, with served,
// has been carried out), before anything else of its process goes on.
func (s *apiServer) meanwhile(request string, served bool, f func()) {
	var done atomic.Bool
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = func(r string, now bool, _ http.ResponseWriter) bool {
		if r == request && now == served && !done.Swap(true) {
			f()
		}
		return false
	}
}

// TestLogOfALostClaim: a log that was created beside a claim that somebody else
// made goes again, also if the next claim of the process is to have its name:
// what it holds was read before the other wrote.
func TestLogOfALostClaim(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := open(t, s.client(t, nil))
	other := open(t, s.client(t, nil))
	claim(t, other, run(1))
	c := claim(t, r, run(2), change("a", "stale"))
	if !c.Takeover || s.names("secrets") != nil {
		t.Errorf("takeover %t, logs %s", c.Takeover, s.names("secrets"))
	}
	if _, err := r.KeepLog(t.Context(), []kube.Change{change("a", "fresh")}); err != nil {
		t.Fatal(err)
	}
	next := open(t, s.client(t, nil))
	if c := claim(t, next, run(3)); show(c.Inherited) != "a=fresh" {
		t.Errorf("inherited %s", show(c.Inherited))
	}
}

// TestLogInTheWay: what a process left that was killed beside its claim is
// replaced by the log of the next one.
func TestLogInTheWay(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	killed := open(t, s.client(t, func(base http.RoundTripper) http.RoundTripper {
		return &ordered{base: killedAfter(2)(base), first: "secrets", done: make(chan struct{})}
	}))
	if _, err := killed.Claim(t.Context(), ClaimOptions{Run: run(1), Undo: []kube.Change{change("a", "of the dead")}}); err == nil {
		t.Fatal("it was not killed")
	}
	if got := s.names("secrets"); len(got) != 1 {
		t.Fatalf("logs: %s", got)
	}
	if c := claim(t, open(t, s.client(t, nil)), run(2), change("b", "1")); c.Takeover {
		t.Error("a takeover from one that never claimed")
	}
	next := open(t, s.client(t, nil))
	if c := claim(t, next, run(3)); show(c.Inherited) != "b=1" {
		t.Errorf("inherited %s", show(c.Inherited))
	}
	finish(t, next, Deployed)
	if left := s.names("secrets"); left != nil {
		t.Errorf("logs are left: %s", left)
	}
}

// TestLoserLeavesTheWinnersLog: two processes create a log of one name; the one
// whose claim is lost does not delete what has become the winner's.
func TestLoserLeavesTheWinnersLog(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	loser := open(t, s.client(t, func(base http.RoundTripper) http.RoundTripper {
		return &ordered{base: base, first: "secrets", done: make(chan struct{})}
	}))
	winner := open(t, s.client(t, nil))
	s.meanwhile("POST configmaps", false, func() {
		if c, err := winner.Claim(t.Context(), ClaimOptions{Run: run(2), Undo: []kube.Change{change("b", "winner's")}}); err != nil || c.Takeover {
			t.Errorf("%+v, %v", c, err)
		}
	})
	if _, err := loser.Claim(t.Context(), ClaimOptions{Run: run(1), Undo: []kube.Change{change("a", "loser's")}}); err == nil {
		t.Error("the older run has the record")
	}
	next := open(t, s.client(t, nil))
	if c := claim(t, next, run(3)); show(c.Inherited) != "b=winner's" {
		t.Errorf("inherited %s", show(c.Inherited))
	}
}

// TestInheritWhileTheOtherEnds: whoever reads the logs of a process that ends
// well at that moment inherits all of them, or none.
func TestInheritWhileTheOtherEnds(t *testing.T) {
	t.Parallel()
	for _, log := range []string{"1", "2"} {
		for _, served := range []bool{false, true} {
			s := newServer(t)
			claim(t, open(t, s.client(t, nil)), run(1), change("a", "1"))
			ending := open(t, s.client(t, nil))
			claim(t, ending, run(2))
			if _, err := ending.KeepLog(t.Context(), []kube.Change{change("b", "2")}); err != nil {
				t.Fatal(err)
			}
			next := open(t, s.client(t, nil))
			s.meanwhile("GET secrets/deploy-model-action.model."+log, served, func() {
				_ = ending.Finish(t.Context(), FinishOptions{Outcome: Deployed})
			})
			c := claim(t, next, run(3))
			if got := show(c.Inherited); got != "" && got != "a=1 b=2" {
				t.Errorf("inherited %s", got)
			}
			finish(t, next, Deployed)
			if left := s.names("secrets"); left != nil {
				t.Errorf("logs are left: %s", left)
			}
		}
	}
}

// TestFence shows why whoever takes over writes every object that it inherits,
// also those that are as it wants them: what an unfinished run has read and not
// yet written, it can still write as long as that object's version is the same.
func TestFence(t *testing.T) {
	t.Parallel()
	for _, noFence := range []bool{false, true} {
		s := world(t)
		older := &process{run: run(1), commit: 2, client: s.client(t, nil)}                   // changes both objects
		newer := &process{run: run(2), commit: 1, client: s.client(t, nil), noFence: noFence} // wants the second as it is
		s.meanwhile("PUT configmaps/a", true, func() { newer.deploy(t.Context()) })
		older.deploy(t.Context())
		if older.err != nil || newer.err != nil || newer.outcome != Deployed {
			t.Errorf("%v, %v, %s", older.err, newer.err, newer.outcome)
		}
		want, outcome := 1, Superseded
		if noFence {
			want = -1 // of two commits
		}
		if got := s.holds(7); got != want || older.outcome != outcome {
			t.Errorf("without the fence %t: commit %d serves, want %d; the older run: %s", noFence, got, want, older.outcome)
		}
	}
}
