// Package outage_test takes hosts away from the action: for a minute, in every
// phase, or for the one moment in which an answer is on its way. No deploy may be
// lost for that, and what was written may not be forgotten.
package outage_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/runner"
)

func TestMain(m *testing.M) { cloudtest.Waiting(m, 24) }

// deployed makes a namespace in which commit 0 serves, and an image of commit 1.
func deployed(t *testing.T, crashes bool) *cloudtest.Test {
	t.Helper()
	x := cloudtest.New(t)
	x.Push(x.SHA(0), nil)
	if r := x.At("first", x.SHA(0)).Deploy(x.SHA(0), nil); r.Outputs["outcome"] != "deployed" {
		t.Fatalf("the first deploy ended as %s", r.Outputs["outcome"])
	}
	next(x, crashes)
	return x
}

func next(x *cloudtest.Test, crashes bool) {
	labels := map[string]string{}
	if crashes {
		labels = cloudtest.Crashes
	}
	x.Push(x.SHA(1), labels)
}

// wantChanges wants the output changes to name these objects and actions.
func wantChanges(t *testing.T, r *runner.Result, want map[string]string) {
	t.Helper()
	var all []struct{ Kind, Name, Action string }
	if err := json.Unmarshal([]byte(r.Outputs["changes"]), &all); err != nil {
		t.Errorf("output changes %q: %v", r.Outputs["changes"], err)
		return
	}
	got := map[string]string{}
	for _, c := range all {
		got[c.Kind+" "+c.Name] = c.Action
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("output changes (-want +got):\n%s", diff)
	}
}
