package manifest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

// worst are texts of a size, each the dearest of its kind.
var worst = map[string]func(bytes int) string{
	"definitions": func(n int) string {
		var b bytes.Buffer
		for i := 0; b.Len() < n-500; i++ {
			fmt.Fprintf(&b, "  field%d:\n    type: object\n    description: some words that describe the field\n    properties:\n      a: {type: string}\n      b:\n      - x\n      - %d\n", i, i)
		}
		return "spec:\n" + b.String()
	},
	"broken at its end": func(n int) string {
		return "spec:\n" + repeat("  - {name: some-name-of-a-thing, value: some-value-of-it}\n", n-500) + "  x: {a\n y: ]\n"
	},
	"flow list": func(n int) string { return "spec: [" + repeat("a,", min(n, 990_000/4)) + "]\n" },
	"flow maps": func(n int) string { return "spec: [" + repeat("{a: b},", min(n, 1_160_000/4)) + "]\n" },
	"list":      func(n int) string { return "spec:\n" + repeat("- a\n", min(n, 990_000/4)) },
	"comments":  func(n int) string { return repeat("# some words that describe the object below\n", n-500) },
	"text": func(n int) string {
		return "data:\n  a: |\n" + repeat("    some words of a text of many lines\n", n-500)
	},
	"quoted": func(n int) string { return "data:\n  a: \"" + repeat(`\n`, n-500) + "\"\n" },
	"anchors": func(int) string {
		return "base: &b {" + "x: " + repeat("word ", 20_000) + "}\nspec: [" + repeat("*b, ", 90*4) + "]\n"
	},
}

func repeat(s string, n int) string { return string(bytes.Repeat([]byte(s), n/len(s))) }

// TestWorst measures what the worst files under the bounds cost. It does not run
// beside other tests, since the process is what is measured.
func TestWorst(t *testing.T) {
	var most struct {
		cpu    time.Duration
		memory uint64
	}
	for name, form := range worst {
		if os.Getenv("CAMPAIGN") == "" && !slices.Contains([]string{"definitions", "broken at its end", "flow maps"}, name) {
			continue
		}
		// As many files as the bounds let pass, and the one that they do not.
		files := map[string]string{}
		for i := range 4 {
			files[fmt.Sprintf("k/%d.yaml", i)] = config(fmt.Sprint("n", i)) + form(maxFile-1000)
		}
		root := workspace(t, files)
		runtime.GC() // what the one before left
		before, memory := processor(t), objecttest.WatchHeap()
		_, err := Load(t.Context(), Options{Root: root, Paths: []string{"k"}})
		cpu, peak := processor(t)-before, memory()
		most.cpu, most.memory = max(most.cpu, cpu), max(most.memory, peak)
		said := "read"
		if err != nil {
			said = fmt.Sprintf("%.80q", err.Error())
		}
		t.Logf("%-18s %5.2f s of CPU, %3d MB: %s", name, cpu.Seconds(), peak>>20, said)
	}
	fmt.Fprintf(t.Output(), "figure: manifests: the worst 16 MiB under the bounds: at most %.1f s of CPU and %d MB of heap\n", most.cpu.Seconds(), most.memory>>20)
}

// TestLoadEndsOnCancel holds that a signal is heeded while a large file is parsed.
func TestLoadEndsOnCancel(t *testing.T) {
	files := map[string]string{}
	for i := range 3 {
		files[fmt.Sprintf("k/%d.yaml", i)] = config(fmt.Sprint("n", i)) + worst["definitions"](maxFile-1000)
	}
	root := workspace(t, files)
	for _, after := range []time.Duration{0, 20, 100, 300} {
		ctx, cancel := context.WithCancel(t.Context())
		var at time.Time
		timer := time.AfterFunc(after*time.Millisecond, func() { at = time.Now(); cancel() })
		set, err := Load(ctx, Options{Root: root, Paths: []string{"k"}})
		if timer.Stop() {
			t.Fatalf("it ended before %d ms", after)
		}
		if set != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("after %d ms: set %v, error %v", after, set != nil, err)
		}
		t.Logf("cancelled after %d ms: ended %s later", after, time.Since(at))
	}
}

func processor(t *testing.T) time.Duration {
	t.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
