package races_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/runner"
)

// edit is a change of the action's source.
type edit struct{ file, from, to string }

// unguarded takes out what keeps an older run from writing over a newer one. An
// edit whose text is no longer there fails the test: follow the guard to where
// it went.
var unguarded = []edit{
	// Nobody is older than anybody.
	{"pkg/release/state.go", "func (s state) check(run Run) *SupersededError {\n", "func (s state) check(run Run) *SupersededError {\n\tif run.Attempt >= 0 {\n\t\treturn nil\n\t}\n"},
	// Whoever claimed once may write.
	{"pkg/release/release.go", "if now.object == nil || now.heldBy(r.nonce) {", "if now.object == nil || now.holder != nil {"},
}

// without builds the action with some edits: a build of this test's own, of
// which nothing is in the source tree.
func without(t *testing.T, edits []edit) string {
	t.Helper()
	dir := t.TempDir()
	contents, replace := map[string]string{}, map[string]string{}
	for _, e := range edits {
		path := filepath.Join(cloudtest.Root(), filepath.FromSlash(e.file))
		if _, ok := contents[path]; !ok {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			contents[path] = string(content)
		}
		if n := strings.Count(contents[path], e.from); n != 1 {
			t.Fatalf("%s holds %d times, want once:\n%s", e.file, n, e.from)
		}
		contents[path] = strings.Replace(contents[path], e.from, e.to, 1)
	}
	for path, content := range contents {
		replace[path] = filepath.Join(dir, fmt.Sprint(len(replace), ".go"))
		if err := os.WriteFile(replace[path], []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	binary, err := runner.BuildAction(t.Context(), cloudtest.Root(), dir, "-overlay", filepath.Join(dir, "overlay.json"))
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// TestPairsWithoutGuard shows that the pairs are real races: without the guard,
// older runs win some of them.
func TestPairsWithoutGuard(t *testing.T) {
	t.Parallel()
	binary := without(t, unguarded)
	seed := cloudtest.Seed(t)
	n := cloudtest.Sample(6, 60)
	var mu sync.Mutex
	older := 0
	t.Cleanup(func() {
		cloudtest.Figure(t, "with the guard taken out, the newest does not serve in %d of %d pairs", older, n)
		if older == 0 {
			t.Error("without its guard the older run never won: these pairs show nothing, or something else guards")
		}
	})
	for i := range n {
		// Both good, and the older one stopped in its apply in every second.
		p := randomPair(seed, 6*i)
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			x := deployed(t)
			if i%2 == 0 {
				p.stopped(x, binary)
			} else {
				p.binary = binary
				p.race(x)
			}
			serves, err := x.Serves()
			t.Logf("commit %s serves (%v)", x.Short(serves), err)
			if serves != x.SHA(2) {
				mu.Lock()
				defer mu.Unlock()
				older++
			}
		})
	}
}

// stopped lets the newer run do all of its work between the older one's check and
// its first write.
func (p pair) stopped(x *cloudtest.Test, binary string) {
	x.Helper()
	x.Push(x.SHA(1), nil)
	x.Push(x.SHA(2), nil)
	o, n := x.At("older", x.SHA(1)), x.At("newer", x.SHA(2))
	first, second := o.Step(x.SHA(1), nil), n.Step(x.SHA(2), nil)
	first.Binary, second.Binary = binary, binary
	held := o.Hold(cloudtest.AtApply())
	done := inBackground(o, first)
	select {
	case <-held.Reached:
	case r := <-done:
		x.LogRun("older", r)
		x.Fatal("the older run never came to its apply")
	}
	x.LogRun("newer", n.Run(second))
	held.Release()
	x.LogRun("older", <-done)
}
