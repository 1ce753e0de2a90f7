// Package catalogue_test plays what can go wrong in a rollout. In each case a
// version serves, the next one is broken, and then a good one follows; the
// action as it ships has to name the cause and the way out, put back what
// served, and leave nothing that is in the next deploy's way.
//
// The verdicts are golden files; kubectl, where it is installed, has to agree.
// The same on a real node is in package realnode.
package catalogue_test

import (
	"flag"
	"os"
	"testing"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	flag.Parse()
	// The cases wait for back-offs and for what has to last, and compute little;
	// but more at a time would make the cluster slower than their timeouts allow.
	if err := flag.Set("test.parallel", "24"); err != nil {
		panic(err)
	}
	cloudtest.Main(m)
}

// golden compares a text with a file of testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name + ".txt"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s: the verdict is another one; if it is right, write it with -update\n--- want\n%s--- got\n%s", path, want, got)
	}
}
