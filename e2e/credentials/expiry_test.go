package credentials_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/proxy"
	"github.com/org/deploy-model-action/e2e/runner"
)

const (
	// shortLife is how long tokens live in TestExpiry, and pullTime how long the
	// rollout takes at least.
	shortLife = 20 * time.Second
	pullTime  = "120s"
	// cutAfter ends a watch, as API servers and what is in between do, so that
	// the rollout needs its token again and again.
	cutAfter = 7 * time.Second
	// patience is how long a service waits for the mask of a secret that it was shown.
	patience = 10 * time.Second
)

// TestExpiry has rollouts that last much longer than their tokens: each kind of
// credentials renews them in time, and masks each before anybody is shown it.
func TestExpiry(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes two minutes")
	}
	// Some more of those that most people use.
	all := append(append([]way{}, ways...), ways[0], ways[4])
	renewed := make([]int, len(all))
	var running sync.WaitGroup
	for i, w := range all {
		x := place(t, map[string]string{"model.pull-after": pullTime})
		s, principals := step(x, w, map[string]string{"timeout": "5m"})
		for _, p := range principals {
			x.Cloud.Google.SetLifetime(p, shortLife)
		}
		t.Cleanup(x.Cloud.Proxy.Faults.Add(proxy.Fault{Client: x.Client, Path: "watch=true", CutAfterMS: int(cutAfter.Milliseconds())}))
		masks := watchMasks(x, &s, principals)
		running.Go(func() {
			r, err := s.Run(x.Context())
			if err != nil {
				t.Error(err)
				return
			}
			deployed(x, r)
			asked(x, "192.0.2.10")
			if took := r.Duration; took < 2*time.Minute {
				t.Errorf("%s: the rollout took %s only", w.name, took)
			}
			masks.check(r)
			for _, p := range principals {
				renewed[i] += x.Cloud.Google.Tokens(p) - 1
			}
			if t.Failed() {
				t.Logf("%s:\n%s", w.name, r.Log)
			}
		})
	}
	running.Wait()
	total := 0
	for i, w := range all {
		total += renewed[i]
		t.Logf("%-40s %d tokens after the first", w.name, renewed[i])
	}
	if total < 50 {
		t.Errorf("%d tokens were renewed, want at least 50", total)
	}
}

// masks holds the secrets of a step against the masks in its log. A service that
// is shown a secret does nothing until the mask was printed: a program that
// masks too late waits in vain, and is found out.
type masks struct {
	*cloudtest.Test
	mu      sync.Mutex
	printed map[string]bool
	news    chan struct{} // closed and replaced when something was printed
	used    []string
	late    []string
}

func watchMasks(x *cloudtest.Test, s *runner.Step, principals []string) *masks {
	m := &masks{Test: x, printed: map[string]bool{}, news: make(chan struct{})}
	s.OnLine = func(line string) {
		if secret, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "::add-mask::"); ok {
			m.mu.Lock()
			m.printed[secret] = true
			close(m.news)
			m.news = make(chan struct{})
			m.mu.Unlock()
		}
	}
	for _, p := range principals {
		x.Cloud.Google.WatchUse(p, m.shown)
	}
	return m
}

// shown is called when a service is shown a secret for the first time.
func (m *masks) shown(secret string) {
	deadline := time.After(patience)
	for {
		m.mu.Lock()
		done, news := m.printed[secret], m.news
		if done {
			m.used = append(m.used, secret)
		}
		m.mu.Unlock()
		if done {
			return
		}
		select {
		case <-news:
		case <-deadline:
			m.mu.Lock()
			m.late = append(m.late, secret)
			m.mu.Unlock()
			return
		}
	}
}

// check looks at the raw log: each secret that was shown has its mask there, and
// stands nowhere else.
func (m *masks) check(r *runner.Result) {
	m.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.used) == 0 || len(m.late) > 0 {
		m.Errorf("%d secrets were masked before they were used, and %d were not", len(m.used), len(m.late))
	}
	for _, secret := range m.used {
		mask := "::add-mask::" + secret
		if !strings.Contains(r.Raw, mask) || strings.Contains(strings.ReplaceAll(r.Raw, mask, ""), secret) {
			m.Errorf("a secret that begins with %.12s is in the raw log without its mask", secret)
		}
	}
}
