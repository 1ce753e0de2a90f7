package cloudtest

import (
	"net/http"
	"strings"
	"sync"

	"github.com/org/deploy-model-action/e2e/proxy"
)

// Hold stops a client in the middle of what it does: it lets requests pass until
// one is where it is to be stopped, and from then on none, until it is released.
type Hold struct {
	Reached chan struct{} // closed when the client is there

	mu       sync.Mutex
	at       func(proxy.Request) bool
	reached  bool
	released chan struct{}
}

// Hold stops this test's client at the first request for which at is true.
func (x *Test) Hold(at func(proxy.Request) bool) *Hold {
	x.Helper()
	h := &Hold{Reached: make(chan struct{}), released: make(chan struct{}), at: at}
	x.Cloud.Proxy.SetHook(x.Client, proxy.Hook{Before: h.before})
	x.Cleanup(h.Release)
	return h
}

func (h *Hold) before(r proxy.Request) bool {
	h.mu.Lock()
	if !h.reached && h.at(r) {
		h.reached = true
		close(h.Reached)
	}
	wait := h.reached
	h.mu.Unlock()
	if wait {
		select {
		case <-h.released:
		case <-r.Gone:
		}
	}
	return true
}

// Release lets the client go on.
func (h *Hold) Release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.released:
	default:
		close(h.released)
	}
}

// Writes reports whether a request may change an object of the manifests.
func Writes(r proxy.Request) bool {
	return isAPI(r) && r.Method != http.MethodGet && !r.Dry() && !IsRecord(r) && !strings.Contains(r.Path, "/proxy")
}

// WritesRecord reports whether a request may change what the action itself keeps.
func WritesRecord(r proxy.Request) bool {
	return isAPI(r) && r.Method != http.MethodGet && !r.Dry() && IsRecord(r)
}

// IsRecord reports whether a request is about the release record or an undo log.
func IsRecord(r proxy.Request) bool {
	// The name is in the path but for a POST, which the action makes of nothing
	// else: objects of the manifests are applied.
	path, _, _ := strings.Cut(r.Path, "?")
	created := r.Method == http.MethodPost && (strings.HasSuffix(path, "/configmaps") || strings.HasSuffix(path, "/secrets"))
	return created || strings.Contains(path, "/"+recordPrefix)
}

func isAPI(r proxy.Request) bool {
	return strings.HasPrefix(r.Path, "/api/") || strings.HasPrefix(r.Path, "/apis/")
}

// The places at which a client can be held.

// AtApply is the first write of an object.
func AtApply() func(proxy.Request) bool { return Writes }

// AtRollout is the first watch.
func AtRollout() func(proxy.Request) bool { return proxy.Request.Watches }

// AtHealth is the first request to the model through the API server.
func AtHealth() func(proxy.Request) bool {
	return func(r proxy.Request) bool { return strings.Contains(r.Path, "/proxy") }
}

// AtRollback is the first write after a watch.
func AtRollback() func(proxy.Request) bool {
	watched := false
	return func(r proxy.Request) bool {
		watched = watched || r.Watches()
		return watched && Writes(r)
	}
}

// AtOutcome is the first write of the record after a watch.
func AtOutcome() func(proxy.Request) bool {
	watched := false
	return func(r proxy.Request) bool {
		watched = watched || r.Watches()
		return watched && WritesRecord(r)
	}
}

// AtLog is the deletion of an undo log after a watch, when the outcome is recorded.
func AtLog() func(proxy.Request) bool {
	outcome := AtOutcome()
	return func(r proxy.Request) bool { return outcome(r) && r.Method == http.MethodDelete }
}
