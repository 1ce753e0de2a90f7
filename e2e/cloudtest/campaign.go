package cloudtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Campaign reports whether everything is to be played (`make campaign`), and not
// only a sample of it (`make test`).
func Campaign() bool { return os.Getenv("CAMPAIGN") != "" }

// Sample is how much of something is played.
func Sample(some, all int) int {
	if Campaign() {
		return all
	}
	return some
}

// Seed is where a test's chance begins: SEED, or the time. It is printed, so that
// what happened can happen again.
func Seed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano()) & (1<<32 - 1)
	if s := os.Getenv("SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("SEED: %v", err)
		}
	}
	Figure(t, "%s: SEED=%d", t.Name(), seed)
	return seed
}

// Random is chance that is the same for the same seed and number.
func Random(seed uint64, n int) *rand.Rand {
	var key [32]byte // of a cipher: numbers that are next to each other have nothing in common
	copy(key[:], fmt.Sprintf("%d %d", seed, n))
	return rand.New(rand.NewChaCha8(key)) //nolint:gosec // it has to be repeatable
}

// Figure prints what a test has measured, also when it passes: `make test` shows
// all of them at its end. Each line stands for itself.
func Figure(t *testing.T, format string, args ...any) {
	t.Helper()
	for line := range strings.SplitSeq(strings.TrimRight(fmt.Sprintf(format, args...), "\n"), "\n") {
		fmt.Fprintln(t.Output(), "figure: "+line)
	}
}
