package races_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

// TestWayBackOptsOut holds that what opts out of running for a while does so on the
// way back as well: its manifest says `minReadySeconds: 0`.
func TestWayBackOptsOut(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	x.Push(x.SHA(0), nil)
	x.Push(x.SHA(1), cloudtest.Crashes)
	ended(t, "first", x.At("first", x.SHA(0)).Deploy(x.SHA(0), nil))
	r := x.At("second", x.SHA(1)).Deploy(x.SHA(1), nil)
	if outcome := ended(t, "second", r); outcome != "rolled-back" {
		t.Errorf("outcome %q", outcome)
	}
	if strings.Contains(r.Log, "have run for 10s") {
		t.Error("the way back waited for pods that need not go on")
	}
	if want := "; Service " + x.Namespace + "/model, Deployment " + x.Namespace + "/model serve again."; !strings.Contains(r.Log, want) {
		t.Errorf("the log does not say %q", want)
	}
}

// TestCancelledBeforeItServes cancels a run whose way back has put all back: it says
// that nobody knows whether that serves.
func TestCancelledBeforeItServes(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	x.Push(x.SHA(0), nil)
	x.Push(x.SHA(1), cloudtest.Crashes)
	ended(t, "first", x.At("first", x.SHA(0)).Deploy(x.SHA(0), nil))
	y := x.At("second", x.SHA(1))
	s := y.Step(x.SHA(1), nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.OnLine = func(line string) {
		if strings.HasPrefix(line, "deployment.apps/model restored") {
			cancel()
		}
	}
	r, err := s.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	x.LogRun("cancelled", r)
	name := "Deployment " + x.Namespace + "/model"
	for _, want := range []string{
		"The run was cancelled: whether " + name + " serves again was not waited for",
		"; the run was cancelled before it was known whether " + name + " serves again.",
	} {
		if !strings.Contains(r.Log, want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	if !strings.Contains(r.Summary, "before it was known whether") || !strings.Contains(r.Summary, "not waited for") {
		t.Errorf("the summary does not say it:\n%s", r.Summary)
	}
	record, err := json.Marshal(x.Record().Data)
	if err != nil {
		t.Fatal(err)
	}
	if want := "all was put back, and nobody waited until it serves again: " + name; !strings.Contains(string(record), want) {
		t.Errorf("the record does not say %q: %s", want, record)
	}
	if outcome := r.Outputs["outcome"]; outcome != "rolled-back" && outcome != "cancelled" {
		t.Errorf("outcome %q", outcome)
	}
}
