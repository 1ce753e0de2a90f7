package outage_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/proxy"
)

// objects are the release's, as the log calls them, in the order of an apply.
var objects = []string{"configmap/settings", "service/model", "deployment.apps/model"}

var names = map[string]string{"configmap/settings": "ConfigMap settings", "service/model": "Service model", "deployment.apps/model": "Deployment model"}

// path is a part of the path of requests about an object.
func path(object string) string {
	kind, name, _ := strings.Cut(object, "/")
	kind, _, _ = strings.Cut(kind, ".")
	return "/" + kind + "s/" + name + "?"
}

// TestAnswerLost loses the answer to one write that the API server has done. The
// deploy has to find out what became of it, and to count it like any other.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name            string
		before, crashes bool
		nth             int // write of the object: 1 of the apply, 2 of the rollback
		outcome, action string
		serves          int
	}{
		{"first deploy", false, false, 1, "deployed", "created", 1},
		{"changed deploy", true, false, 1, "deployed", "configured", 1},
		{"deploy that goes back", true, true, 1, "rolled-back", "", 0},
		{"rollback", true, true, 2, "rolled-back", "", 0},
	} {
		for _, object := range append([]string{"record", "undo log"}, objects...) {
			t.Run(tt.name+"/"+object, func(t *testing.T) {
				t.Parallel()
				x := cloudtest.New(t)
				if tt.before {
					x = deployed(t, tt.crashes)
				} else {
					next(x, tt.crashes)
				}
				y := x.At("run", x.SHA(1))
				var writes atomic.Int64
				x.Cloud.Proxy.SetHook(y.Client, proxy.Hook{After: func(r proxy.Request) bool {
					is := cloudtest.Writes(r) && strings.Contains(r.Path, path(object))
					switch object {
					case "record":
						is = cloudtest.WritesRecord(r) && strings.Contains(r.Path, "/configmaps")
					case "undo log":
						is = cloudtest.WritesRecord(r) && strings.Contains(r.Path, "/secrets")
					}
					return !is || writes.Add(1) != int64(tt.nth)
				}})
				r := y.Deploy(x.SHA(1), nil)
				if writes.Load() < int64(tt.nth) {
					t.Errorf("%s was written %d times only", object, writes.Load())
				}
				if r.Outputs["outcome"] != tt.outcome {
					t.Errorf("outcome %s, want %s", r.Outputs["outcome"], tt.outcome)
				}
				if tt.action != "" {
					wantChanges(t, r, map[string]string{"ConfigMap settings": tt.action, "Service model": tt.action, "Deployment model": tt.action})
				}
				x.WantServes(x.SHA(tt.serves))
				x.NothingIsOpen()
			})
		}
	}
}

// TestLostUntilTheBudgetEnds commits a write, and from then on cuts off that
// object's writes, or the whole host, until the action gives up: the write that
// nobody answered has to be found, undone, named and counted.
func TestLostUntilTheBudgetEnds(t *testing.T) {
	t.Parallel()
	type lost struct {
		object string
		all    bool // all requests to the API server are lost from then on, else the object's writes
	}
	cases := []lost{{objects[0], true}, {objects[2], true}, {objects[0], false}, {objects[1], true}, {objects[1], false}, {objects[2], false}}
	var restored, deploys atomic.Int64
	n := cloudtest.Sample(1, len(cases))
	t.Cleanup(func() {
		cloudtest.Figure(t, "writes without an answer until the budget ended: %d of %d found, named and right", restored.Load(), deploys.Load())
	})
	for _, l := range cases[:n] {
		t.Run(fmt.Sprintf("%s/all %t", l.object, l.all), func(t *testing.T) {
			t.Parallel()
			x := deployed(t, false)
			y := x.At("run", x.SHA(1))
			var mu sync.Mutex
			committed, back := false, false
			is := func(r proxy.Request) bool { return cloudtest.Writes(r) && strings.Contains(r.Path, path(l.object)) }
			x.Cloud.Proxy.SetHook(y.Client, proxy.Hook{
				Before: func(r proxy.Request) bool {
					mu.Lock()
					defer mu.Unlock()
					return back || !committed || !is(r) && (!l.all || !y.IsCluster(proxy.Entry{Path: r.Path}))
				},
				After: func(r proxy.Request) bool {
					mu.Lock()
					defer mu.Unlock()
					if is(r) && !committed {
						committed = true
						return false
					}
					return back || !committed || !l.all || !y.IsCluster(proxy.Entry{Path: r.Path})
				},
			})
			s := y.Step(x.SHA(1), nil)
			s.OnLine = func(line string) {
				mu.Lock()
				defer mu.Unlock()
				back = back || line == "::group::Rollback"
			}
			r := y.Run(s)
			deploys.Add(1)
			switch outcome := r.Outputs["outcome"]; {
			case outcome == "deployed" && !l.all: // the object could be read, so that it was known to be written
				wantChanges(t, r, map[string]string{"ConfigMap settings": "configured", "Service model": "configured", "Deployment model": "configured"})
				if x.WantServes(x.SHA(1)) {
					restored.Add(1)
				}
			case outcome != "rolled-back":
				t.Errorf("outcome %s, want rolled-back", outcome)
			default:
				named := false
				for line := range strings.Lines(r.Log) {
					named = named || strings.Contains(line, "restored") && (strings.Contains(line, l.object) || strings.Contains(line, names[l.object]))
				}
				if !named {
					t.Errorf("the log does not say that %s was restored", l.object)
				}
				if !strings.Contains(r.Summary, strings.Fields(names[l.object])[1]) || !strings.Contains(r.Summary, "restored") {
					t.Errorf("the summary does not say that %s was restored:\n%s", l.object, r.Summary)
				}
				if x.WantServes(x.SHA(0)) && named {
					restored.Add(1)
				}
			}
			x.NothingIsOpen()
		})
	}
}
