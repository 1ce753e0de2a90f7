// Package races_test runs two and three runs of one release at once. Whatever
// their timing, the newest commit that was verified has to serve in the end.
package races_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/runner"
)

func TestMain(m *testing.M) { cloudtest.Waiting(m, 6) }

// deployed makes a namespace in which commit 0 serves.
func deployed(t *testing.T) *cloudtest.Test {
	t.Helper()
	x := cloudtest.New(t)
	x.Push(x.SHA(0), nil)
	first := x.At("first", x.SHA(0))
	r := first.Deploy(x.SHA(0), nil)
	if r.Outputs["outcome"] != "deployed" {
		t.Fatalf("the first deploy: %s", r.Outputs["outcome"])
	}
	return x
}

// phases are what a run says that it does.
type phases struct {
	mu   sync.Mutex
	seen map[string]chan struct{}
}

// begin is closed when the phase begins, which may be never.
func (p *phases) begin(name string) <-chan struct{} { return p.of(name) }

func (p *phases) of(name string) chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[string]chan struct{}{}
	}
	if p.seen[name] == nil {
		p.seen[name] = make(chan struct{})
	}
	return p.seen[name]
}

// watch notes the phases of a step.
func (p *phases) watch(s *runner.Step) {
	s.OnLine = func(line string) {
		if name, ok := strings.CutPrefix(line, "::group::"); ok {
			select {
			case <-p.of(name):
			default:
				close(p.of(name))
			}
		}
	}
}

// ended reports how a run ended, and whether its exit code is the one of that outcome.
func ended(t *testing.T, name string, r *runner.Result) string {
	t.Helper()
	outcome := r.Outputs["outcome"]
	code, known := map[string]int{"deployed": 0, "unchanged": 0, "superseded": 0, "rolled-back": 1, "failed": 1, "cancelled": 3}[outcome]
	if !known || code != r.ExitCode {
		t.Errorf("%s: exit code %d with outcome %q", name, r.ExitCode, outcome)
	}
	return outcome
}
