package casetest_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/org/deploy-model-action/e2e/casetest"
	"github.com/org/deploy-model-action/e2e/cloudtest"
)

// Most of a case is waiting, for a rollout or for nothing to happen.
func TestMain(m *testing.M) { cloudtest.Waiting(m, 12) }

// TestCases plays the folders of e2e/cases, each with one of its variants, or in a
// campaign with all of them.
func TestCases(t *testing.T) {
	t.Parallel()
	all, err := casetest.Load("../cases")
	if err != nil {
		t.Error(err)
	}
	w := world(t)
	variants := map[string]int{} // by folder
	for _, c := range all {
		if folder, _, is := strings.Cut(c.Name, "/"); is {
			if variants[folder]++; variants[folder] > cloudtest.Sample(1, len(all)) {
				continue
			}
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			r := w.Play(t.Context(), c)
			if r.Skipped != "" {
				t.Skip(r.Skipped)
			}
			if !r.Holds() {
				t.Errorf("%s\n%s", r.Log, r.Verdict())
			}
		})
	}
}

// world is the one of the package's cloud.
func world(t *testing.T) *casetest.World {
	t.Helper()
	return worldOf(t, casetest.Options{})
}

// impatient is a world that waits little for what does not hold.
func impatient(t *testing.T) *casetest.World {
	t.Helper()
	return worldOf(t, casetest.Options{Settle: time.Second})
}

func worldOf(t *testing.T, o casetest.Options) *casetest.World {
	t.Helper()
	o.Cloud, o.Binary, o.Metadata = cloudtest.Cloud(t), cloudtest.Binary(t), filepath.Join(cloudtest.Root(), "action.yml")
	w, err := casetest.NewWorld(o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}
