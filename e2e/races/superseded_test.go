package races_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/proxy"
	"github.com/org/deploy-model-action/e2e/runner"
)

// inBackground runs a step; the channel gets what became of it.
func inBackground(x *cloudtest.Test, s runner.Step) <-chan *runner.Result {
	done := make(chan *runner.Result, 1)
	go func() {
		r, err := s.Run(x.Context())
		if err != nil {
			x.Error(err)
			r = &runner.Result{}
		}
		done <- r
	}()
	return done
}

// TestSuperseded stops an older run in each of its phases, lets a newer one do
// all of its work, and lets the older one go on: it has to see that it lost, to
// say to whom, and to leave everything as it is.
func TestSuperseded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		phase        string
		at           func() func(proxy.Request) bool
		olderCrashes bool
		or           string // another right outcome of the older run
		verified     bool   // its commit was, so that a newer run that fails may go back to it, if the record says so
		with         map[string]string
	}{
		{phase: "apply", at: cloudtest.AtApply},
		{phase: "apply of a crashing image", at: cloudtest.AtApply, olderCrashes: true},
		{phase: "rollout", at: cloudtest.AtRollout},
		{phase: "rollout of a crashing image", at: cloudtest.AtRollout, olderCrashes: true},
		{phase: "health check", at: cloudtest.AtHealth, with: map[string]string{"health_path": "/readyz"}},
		{phase: "rollback", at: cloudtest.AtRollback, olderCrashes: true},
		{phase: "record of the outcome", at: cloudtest.AtOutcome},
		{phase: "deletion of the log", at: cloudtest.AtLog, verified: true, or: "deployed"},                               // which it recorded
		{phase: "record of the outcome after a rollback", at: cloudtest.AtOutcome, olderCrashes: true, or: "rolled-back"}, // which it had
	} {
		for newer, newerCrashes := range map[string]bool{"good": false, "crashing": true} {
			t.Run(tt.phase+"/newer is "+newer, func(t *testing.T) {
				t.Parallel()
				x := deployed(t)
				labels := map[bool]map[string]string{true: cloudtest.Crashes, false: {}}
				x.Push(x.SHA(1), labels[tt.olderCrashes])
				x.Push(x.SHA(2), labels[newerCrashes])
				o := x.At("older", x.SHA(1))
				older := o.Step(x.SHA(1), tt.with)
				n := x.At("newer", x.SHA(2))
				second := n.Step(x.SHA(2), tt.with)

				held := o.Hold(tt.at())
				done := inBackground(o, older)
				var r *runner.Result
				select {
				case <-held.Reached:
				case r = <-done:
					x.LogRun("older", r)
					t.Fatal("the older run ended before it came to the place at which it is held")
				}
				rn := n.Run(second)
				released := time.Now()
				held.Release()
				r = <-done
				x.LogRun("older", r)

				outcome := ended(t, "older", r)
				if outcome != "superseded" && outcome != tt.or {
					t.Errorf("the older run ended as %s", outcome)
				}
				if link := "/actions/runs/" + second.RunID; outcome != tt.or && !strings.Contains(r.Log+r.Summary, link) {
					t.Errorf("neither log nor summary names the newer run, %s", link)
				}
				wantNoWrites(o, released)
				want, serve := "deployed", x.SHA(2)
				if newerCrashes {
					want, serve = "rolled-back", x.SHA(0)
					if tt.verified && x.Serving(x.SHA(1)) {
						serve = x.SHA(1)
					}
				}
				if outcome := ended(t, "newer", rn); outcome != want {
					t.Errorf("the newer run ended as %s, want %s", outcome, want)
				}
				x.WantServes(serve)
				x.NothingIsOpen()
			})
		}
	}
}

// TestSupersededBefore begins an older run after a newer one has ended, as when a
// queue of jobs is out of order: it changes nothing.
func TestSupersededBefore(t *testing.T) {
	t.Parallel()
	x := deployed(t)
	x.Push(x.SHA(1), nil)
	x.Push(x.SHA(2), nil)
	o, n := x.At("older", x.SHA(1)), x.At("newer", x.SHA(2))
	older := o.Step(x.SHA(1), nil)
	if outcome := ended(t, "newer", n.Deploy(x.SHA(2), nil)); outcome != "deployed" {
		t.Errorf("the newer run ended as %s", outcome)
	}
	before := time.Now()
	r := o.Run(older)
	if outcome := ended(t, "older", r); outcome != "superseded" || r.Outputs["changed"] != "false" {
		t.Errorf("the older run ended as %s, changed %q", outcome, r.Outputs["changed"])
	}
	wantNoWrites(o, before)
	for _, e := range o.Requests() {
		if o.IsWrite(e) && e.Status < 300 {
			t.Errorf("it wrote: %s %s: %d", e.Method, e.Path, e.Status)
		}
	}
	x.WantServes(x.SHA(2))
	x.NothingIsOpen()
}

// wantNoWrites wants no object of the manifests to be changed by a client since.
func wantNoWrites(x *cloudtest.Test, since time.Time) {
	x.Helper()
	for _, e := range x.Requests() {
		r := proxy.Request{Method: e.Method, Path: e.Path}
		// A request that was held was noted when it came.
		ended := e.Time.Add(time.Duration(e.DurationMS * float64(time.Millisecond)))
		if ended.After(since) && cloudtest.Writes(r) && e.Status < http.StatusMultipleChoices {
			x.Errorf("an older run wrote over a newer one: %s %s: %d", e.Method, e.Path, e.Status)
		}
	}
}
