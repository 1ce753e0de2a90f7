package deploy

import (
	"testing"

	"github.com/org/deploy-model-action/pkg/release"
)

// TestLeftUnverified holds whose objects nobody has seen serve: of runs after the
// one that was verified last.
func TestLeftUnverified(t *testing.T) {
	t.Parallel()
	entry := func(id int64, outcome Outcome) release.Entry {
		return release.Entry{Run: release.Run{ID: id, Attempt: 1}, Outcome: string(outcome)}
	}
	releases := []release.Entry{entry(9, ""), entry(8, Cancelled), entry(7, Failed), entry(0, RolledBack), entry(5, Deployed), entry(4, "")}
	for run, want := range map[string][2]bool{
		"9-1":          {true, false}, // killed
		"8-1":          {true, false},
		"7-1":          {true, true},
		byHand + "abc": {true, true},
		"5-1":          {false, false},
		"4-1":          {false, false}, // a later run was verified
		"9-2":          {false, false},
		"":             {false, false}, // somebody else
	} {
		if unverified, ended := leftUnverified(releases, run); unverified != want[0] || ended != want[1] {
			t.Errorf("%q: unverified %v, ended %v, want %v", run, unverified, ended, want)
		}
	}
	if unverified, _ := leftUnverified(nil, "9-1"); unverified {
		t.Error("a record that remembers nothing")
	}
}

// TestAuthorOf holds whose run marked an object: a record forgets its oldest runs, so
// that only one that is no older than those it knows is certainly another's.
func TestAuthorOf(t *testing.T) {
	t.Parallel()
	entry := func(id int64, attempt int) release.Entry {
		return release.Entry{Run: release.Run{ID: id, Attempt: attempt}}
	}
	numbered := []release.Entry{entry(5, 2), entry(9, 1), entry(7, 1)}
	byHandToo := append([]release.Entry{entry(0, 0)}, numbered...)
	for _, c := range []struct {
		releases     []release.Entry
		run          string
		own, foreign bool
	}{
		{numbered, "9-1", true, false},
		{numbered, "5-2", true, false}, // gone back to
		{numbered, "9-2", false, true},
		{numbered, "8-1", false, true},
		{numbered, "7-2", false, true},
		{numbered, "6-1", false, false}, // may be forgotten
		{numbered, byHand + "x", false, true},
		{byHandToo, byHand + "x", true, false},
		{byHandToo, "8-1", false, true},
		{numbered, "theirs", false, true},
		{nil, "8-1", false, true},
	} {
		if own, foreign := authorOf(c.releases, c.run); own != c.own || foreign != c.foreign {
			t.Errorf("%q: own %v, foreign %v, want %v %v", c.run, own, foreign, c.own, c.foreign)
		}
	}
}
