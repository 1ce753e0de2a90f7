package release

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

// A run that is killed while it deletes what left the release leaves a verified
// release, a record that the next one takes over, and no way back to before.
func TestVerifiedBeforeTheEnd(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := open(t, s.client(t, nil))
	held := []Object{objectNamed("a", "1"), objectNamed("old", "2")}
	if _, err := r.Claim(t.Context(), ClaimOptions{Run: run(1), Inventory: held}); err != nil {
		t.Fatal(err)
	}
	if err := r.Finish(t.Context(), FinishOptions{Outcome: Deployed}); err != nil {
		t.Fatal(err)
	}
	r = open(t, s.client(t, nil))
	claimed, err := r.Claim(t.Context(), ClaimOptions{Run: run(2), Inventory: held[:1], Undo: []kube.Change{change("a", "1")}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Object{objectNamed("old", "2")}, claimed.Leaving); diff != "" {
		t.Error(diff)
	}
	if err := r.Verify(t.Context(), FinishOptions{Outcome: Deployed}); err != nil {
		t.Fatal(err)
	}
	if now := open(t, s.client(t, nil)); !now.Releases()[0].Good() || !now.last().heldBy(r.nonce) || !now.last().inherits() || s.names("secrets") != nil {
		t.Errorf("verified: %+v, logs %v", now.last().state, s.names("secrets"))
	}
	next := open(t, s.client(t, nil))
	claimed, err = next.Claim(t.Context(), ClaimOptions{Run: run(3), Inventory: held[:1]})
	if err != nil || !claimed.Takeover || len(claimed.Inherited) > 0 || claimed.Previous == nil || claimed.Previous.Run != *claimed.Before || len(claimed.Leaving) > 0 {
		t.Errorf("%+v, %v", claimed, err)
	}
	// What the killed run would record now is nobody's any more.
	var newer *SupersededError
	if err := r.Verify(t.Context(), FinishOptions{Outcome: Deployed}); !errors.As(err, &newer) {
		t.Errorf("verified after a takeover: %v", err)
	}
	if err := next.Finish(t.Context(), FinishOptions{Outcome: Deployed, Removed: []object.ID{held[1].ID}, Pruned: []object.ID{held[1].ID}}); err != nil {
		t.Fatal(err)
	}
	now := open(t, s.client(t, nil))
	if diff := cmp.Diff(held[:1], now.Inventory()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Deployment models/old"}, now.Releases()[0].Pruned); diff != "" {
		t.Error(diff)
	}
	if got := columns(now.Releases()[0])[2]; got != "deployed, 1 pruned" {
		t.Errorf("history: %q", got)
	}
}

// A release that failed may go back to what it held: until one is verified without an
// object, it holds it.
func TestAFailedReleaseLetsNothingGo(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	held := []Object{objectNamed("a", "1"), objectNamed("b", "2")}
	for i, outcome := range []string{Deployed, RolledBack} {
		r := open(t, s.client(t, nil))
		if _, err := r.Claim(t.Context(), ClaimOptions{Run: run(int64(i + 1)), Inventory: held[:2-i]}); err != nil {
			t.Fatal(err)
		}
		if err := r.Finish(t.Context(), FinishOptions{Outcome: outcome}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(held, open(t, s.client(t, nil)).Inventory()); diff != "" {
		t.Error(diff)
	}
}
