package catalogue_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAgreesWithRealNode holds the verdicts to those that were written down where a
// real node played the same cases: a golden file is true only if it is true there.
func TestAgreesWithRealNode(t *testing.T) {
	t.Parallel()
	verdicts, err := filepath.Glob("../realnode/testdata/verdicts/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	both := 0
	for _, path := range verdicts {
		golden, err := os.ReadFile(filepath.Join("testdata", filepath.Base(path)))
		if os.IsNotExist(err) {
			continue
		}
		verdict, err2 := os.ReadFile(path)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		both++
		// Of a workload that served before, the catalogue has a warning more; and the
		// real node's ends with the outcome, as nothing was there before.
		var errs strings.Builder
		for line := range strings.Lines(string(golden)) {
			if !strings.HasPrefix(line, "warning, ") {
				errs.WriteString(line)
			}
		}
		if !strings.HasPrefix(string(verdict), errs.String()) {
			t.Errorf("%s: the catalogue says\n%son a real node it is\n%s", filepath.Base(path), errs.String(), verdict)
		}
	}
	if both < 16 {
		t.Errorf("%d cases are played in both", both)
	}
}
