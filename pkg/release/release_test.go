package release

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

// run is the first attempt of a run that deploys a commit of its own.
func run(id int64) Run { return attempt(id, 1) }

func attempt(id int64, n int) Run {
	return Run{
		ID: id, Attempt: n, Commit: fmt.Sprintf("%07d%033d", id, id), URL: fmt.Sprintf("https://github.com/acme/model/actions/runs/%d/attempts/%d", id, n),
		Repository: "acme/model", Actor: "octocat", Event: "push", Workflow: "deploy",
	}
}

// change is an object that was as value says before; "" if it did not exist.
func change(name, value string) kube.Change {
	c := kube.Change{Ref: kube.Ref{
		Resource: kube.Resource{GroupVersionResource: schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, Namespaced: true},
		Kind:     "ConfigMap", Namespace: space, Name: name,
	}}
	if value != "" {
		c.Before = &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name, "namespace": space}, "data": map[string]any{"value": value},
		}}
	}
	return c
}

// show is a log for comparing.
func show(changes []kube.Change) string {
	var all []string
	for _, c := range changes {
		value := "absent"
		if c.Before != nil {
			value = object.Text(c.Before, "data", "value")
		}
		all = append(all, c.Name+"="+value)
	}
	return strings.Join(all, " ")
}

func open(t *testing.T, client *kube.Client) *Record {
	t.Helper()
	r, err := Open(t.Context(), client, space, "model")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func claim(t *testing.T, r *Record, run Run, undo ...kube.Change) *Claimed {
	t.Helper()
	c, err := r.Claim(t.Context(), ClaimOptions{Run: run, Undo: undo})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func finish(t *testing.T, r *Record, outcome string) {
	t.Helper()
	if err := r.Finish(t.Context(), FinishOptions{Outcome: outcome}); err != nil {
		t.Fatal(err)
	}
}

// outcomes are those that the record has, the newest first.
func outcomes(t *testing.T, s *apiServer) string {
	t.Helper()
	var all []string
	for _, e := range open(t, s.client(t, nil)).Releases() {
		all = append(all, e.String()+" "+e.Outcome)
	}
	return strings.Join(all, ", ")
}

// TestRequests counts what a record costs.
func TestRequests(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, tt := range []struct {
		name string
		undo []kube.Change
		want []string
	}{
		{"first, which writes", []kube.Change{change("a", "")}, []string{
			"DELETE secrets/deploy-model-action.model.1", "GET configmaps/deploy-model-action.model", "POST configmaps", "POST secrets", "PUT configmaps/deploy-model-action.model",
		}},
		{"unchanged", nil, []string{
			"GET configmaps/deploy-model-action.model", "PUT configmaps/deploy-model-action.model", "PUT configmaps/deploy-model-action.model",
		}},
		{"changed", []kube.Change{change("a", "1")}, []string{
			"DELETE secrets/deploy-model-action.model.1", "DELETE secrets/deploy-model-action.model.2", // the first has nothing left to delete
			"GET configmaps/deploy-model-action.model", "POST secrets",
			"PUT configmaps/deploy-model-action.model", "PUT configmaps/deploy-model-action.model",
		}},
		{"changed again, which forgets what is deleted", []kube.Change{change("a", "2")}, []string{
			"DELETE secrets/deploy-model-action.model.1", "DELETE secrets/deploy-model-action.model.2",
			"GET configmaps/deploy-model-action.model", "POST secrets",
			"PUT configmaps/deploy-model-action.model", "PUT configmaps/deploy-model-action.model",
		}},
	} {
		r := open(t, s.client(t, nil))
		c := claim(t, r, run(1), tt.undo...)
		if c.Takeover || c.Inherited != nil {
			t.Errorf("%s: a takeover, of nobody: %+v", tt.name, c)
		}
		if got := len(s.names("secrets")); (got > 0) != (tt.undo != nil) {
			t.Errorf("%s: %d logs after the claim", tt.name, got)
		}
		finish(t, r, Deployed)
		got := s.requests()
		slices.Sort(got)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: requests (-want +got):\n%s", tt.name, diff)
		}
	}
	if left := s.names("secrets"); left != nil {
		t.Errorf("logs are left: %s", left)
	}
}

// TestOrder is who may claim after whom.
func TestOrder(t *testing.T) {
	t.Parallel()
	elsewhere := run(3)
	elsewhere.URL = "https://github.example.com/acme/model/actions/runs/3"
	hand := Run{Commit: "abc", Actor: "ann"}
	for _, tt := range []struct {
		name   string
		before []Run
		run    Run
		by     string // who supersedes it; "" if nobody does
		newest string
	}{
		{"first", nil, run(5), "", "5-1"},
		{"newer", []Run{run(5)}, run(6), "", "6-1"},
		{"older", []Run{run(6)}, run(5), "6-1", "6-1"},
		{"same run, another job", []Run{run(5)}, run(5), "", "5-1"},
		{"person goes back", []Run{run(5), run(6)}, attempt(5, 2), "", "6-1"},
		{"older push beside a person who went back", []Run{run(5), run(7), attempt(5, 2)}, run(6), "7-1", "7-1"},
		{"newer push after a person went back", []Run{run(5), run(7), attempt(5, 2)}, run(8), "", "8-1"},
		{"the newest push once more after a person went back", []Run{run(5), run(7), attempt(5, 2)}, run(7), "", "7-1"},
		{"second attempt of the newest", []Run{run(5)}, attempt(5, 2), "", "5-2"},
		{"first attempt after the second", []Run{run(5), attempt(5, 2)}, run(5), "5-2", "5-2"},
		{"second attempt after the third", []Run{run(5), attempt(5, 3)}, attempt(5, 2), "5-3", "5-3"},
		{"second attempt of an old one after its third", []Run{run(5), run(9), attempt(5, 3)}, attempt(5, 2), "5-3", "9-1"},
		{"by hand", []Run{run(5)}, hand, "", "5-1 and by hand"},
		{"by hand, first of all", nil, hand, "", "0-0 and by hand"},
		{"same run after one by hand", []Run{run(5), hand}, run(5), "by hand", "5-1 and by hand"},
		{"same run again after one by hand", []Run{run(5), hand}, attempt(5, 2), "", "5-2"},
		{"older after one by hand", []Run{run(5), hand}, run(4), "5-1", "5-1 and by hand"},
		{"newer after one by hand", []Run{run(5), hand}, run(6), "", "6-1"},
		{"after one by hand, first of all", []Run{hand}, run(1), "", "1-1"},
		{"another GitHub", []Run{run(5)}, elsewhere, "", "3-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			for _, b := range tt.before {
				r := open(t, s.client(t, nil))
				claim(t, r, b)
				finish(t, r, Deployed)
			}
			r := open(t, s.client(t, nil))
			s.requests()
			offline := r.Check(tt.run)
			_, err := r.Claim(t.Context(), ClaimOptions{Run: tt.run})
			by := ""
			if superseded, ok := errors.AsType[*SupersededError](err); ok {
				by = superseded.By.String()
				if got := s.requests(); len(got) != 0 {
					t.Errorf("a superseded run sent %s", got)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if by != tt.by || (offline != nil) != (tt.by != "") {
				t.Errorf("superseded by %q, want %q; offline: %v", by, tt.by, offline)
			}
			now := open(t, s.client(t, nil)).current
			newest := fmt.Sprintf("%d-%d", now.newest.ID, now.newest.Attempt)
			if now.newest.Hand != nil {
				newest += " and by hand"
			}
			if newest != tt.newest {
				t.Errorf("the newest is %s, want %s", newest, tt.newest)
			}
		})
	}
}

// TestHeld: whoever claimed last holds the record; the one before learns of it,
// and its log stays until the new holder has ended.
func TestHeld(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := open(t, s.client(t, nil))
	claim(t, a, run(1), change("a", "old"))
	if err := a.Held(t.Context()); err != nil {
		t.Errorf("the holder: %v", err)
	}
	b := open(t, s.client(t, nil))
	c := claim(t, b, run(2), change("a", "half"))
	if !c.Takeover || show(c.Inherited) != "a=old" || c.Before.ID != 1 {
		t.Errorf("takeover %v from %v, inherited %s", c.Takeover, c.Before, show(c.Inherited))
	}
	superseded, ok := errors.AsType[*SupersededError](a.Held(t.Context()))
	if !ok || superseded.By.ID != 2 {
		t.Fatalf("the holder before: %v", superseded)
	}
	want := "superseded by run 2 of commit 0000002: https://github.com/acme/model/actions/runs/2/attempts/1"
	if superseded.Error() != want || superseded.Title() != "Superseded" {
		t.Errorf("%q, want %q", superseded, want)
	}
	if _, err := b.KeepLog(t.Context(), []kube.Change{change("a", "half"), change("b", "")}); err != nil {
		t.Fatal(err)
	}
	if _, ok := errors.AsType[*SupersededError](a.Finish(t.Context(), FinishOptions{Outcome: Superseded})); !ok {
		t.Error("it finished as if it were the holder")
	}
	if got := s.names("secrets"); len(got) != 2 {
		t.Errorf("logs: %s", got)
	}
	finish(t, b, RolledBack)
	if got := s.names("secrets"); got != nil {
		t.Errorf("logs are left: %s", got)
	}
	if got := outcomes(t, s); got != "2-1 rolled-back, 1-1 superseded" {
		t.Error(got)
	}
}

// TestTakeoverOldest: of one object, what was before the first of several
// unfinished runs counts.
func TestTakeoverOldest(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	claim(t, open(t, s.client(t, nil)), run(1), change("a", "verified"))
	b := open(t, s.client(t, nil))
	claim(t, b, run(2))
	if _, err := b.KeepLog(t.Context(), []kube.Change{change("a", "of 1"), change("b", "")}); err != nil {
		t.Fatal(err)
	}
	c := open(t, s.client(t, nil))
	got := claim(t, c, run(3))
	if show(got.Inherited) != "a=verified b=absent" {
		t.Errorf("inherited %s", show(got.Inherited))
	}
	if omitted, err := c.KeepLog(t.Context(), []kube.Change{change("b", "of 2"), change("c", "x")}); err != nil || omitted != nil {
		t.Fatal(omitted, err)
	}
	d := open(t, s.client(t, nil))
	if got := claim(t, d, run(4)); show(got.Inherited) != "a=verified b=absent c=x" {
		t.Errorf("inherited %s", show(got.Inherited))
	}
	finish(t, d, Deployed)
	if left := s.names("secrets"); left != nil {
		t.Errorf("logs are left: %s", left)
	}
	if e := open(t, s.client(t, nil)); claim(t, e, run(5)).Takeover {
		t.Error("a takeover from one that finished")
	}
}

// TestLeft: what a run left broken is known to the next one.
func TestLeft(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := open(t, s.client(t, nil))
	claim(t, a, run(1), change("a", "old"))
	if err := a.Finish(t.Context(), FinishOptions{Outcome: "failed", Left: true}); err != nil {
		t.Fatal(err)
	}
	b := open(t, s.client(t, nil))
	if got := claim(t, b, run(2), change("a", "broken")); !got.Takeover || show(got.Inherited) != "a=old" {
		t.Errorf("takeover %v, inherited %s", got.Takeover, show(got.Inherited))
	}
	// It has not written yet, and what run 1 left is still there.
	if err := b.Finish(t.Context(), FinishOptions{Outcome: "cancelled"}); err != nil {
		t.Fatal(err)
	}
	c := open(t, s.client(t, nil))
	if got := claim(t, c, run(3)); !got.Takeover || show(got.Inherited) != "a=old" {
		t.Errorf("takeover %v, inherited %s", got.Takeover, show(got.Inherited))
	}
	if _, err := c.KeepLog(t.Context(), []kube.Change{change("a", "broken"), change("c", "")}); err != nil {
		t.Fatal(err)
	}
	if err := c.Finish(t.Context(), FinishOptions{Outcome: "failed", Left: true}); err != nil {
		t.Fatal(err)
	}
	if got := s.names("secrets"); len(got) != 1 {
		t.Errorf("one log stands for all: %s", got)
	}
	d := open(t, s.client(t, nil))
	if got := claim(t, d, run(4)); show(got.Inherited) != "a=old c=absent" {
		t.Errorf("inherited %s", show(got.Inherited))
	}
	finish(t, d, RolledBack)
	if left := s.names("secrets"); left != nil {
		t.Errorf("logs are left: %s", left)
	}
	if got := outcomes(t, s); got != "4-1 rolled-back, 3-1 failed, 2-1 cancelled, 1-1 failed" {
		t.Error(got)
	}
}

// TestLostAnswers: whatever was carried out and not answered is looked at.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	for _, lost := range []string{"POST configmaps", "POST secrets", "PUT configmaps/deploy-model-action.model", "DELETE secrets/deploy-model-action.model.1"} {
		t.Run(lost, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			n := 0
			s.fault = func(request string, served bool, _ http.ResponseWriter) bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				if request != lost || !served {
					return false
				}
				if n++; n == 1 {
					panic(http.ErrAbortHandler)
				}
				return false
			}
			r := open(t, s.client(t, nil))
			if c := claim(t, r, run(1), change("a", "")); c.Takeover {
				t.Error("it took over from itself")
			}
			finish(t, r, Deployed)
			if n == 0 {
				t.Fatal("nothing was lost")
			}
			if left := s.names("secrets"); left != nil {
				t.Errorf("logs are left: %s", left)
			}
			if got := outcomes(t, s); got != "1-1 deployed" {
				t.Error(got)
			}
		})
	}
}
