package proxy

import (
	"context"
	"net/http"
	"time"
)

// fenceDelay is how long the proxy waits for a host that does not answer, as a
// forward proxy does; a client without one waits for its own patience.
const fenceDelay = time.Second

// Fence lets only some clients reach a host, as a firewall in front of it does:
// to all others it does not answer, and the proxy gives up with status 504.
func (p *Proxy) Fence(name string, admits func(client string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fences == nil {
		p.fences = map[string]func(string) bool{}
	}
	p.fences[name] = admits
}

// fenced answers for a host that does not answer this client.
func (p *Proxy) fenced(w http.ResponseWriter, r *http.Request, name, client string) bool {
	p.mu.Lock()
	admits := p.fences[name]
	p.mu.Unlock()
	if admits == nil || admits(client) {
		return false
	}
	entry := newEntry(r, peer{host: name, client: client})
	select {
	case <-time.After(fenceDelay):
	case <-r.Context().Done():
	}
	p.records.add(entry, http.StatusGatewayTimeout)
	http.Error(w, "the host does not answer", http.StatusGatewayTimeout)
	return true
}

// Client is the name of the client that a request in a tunnel comes from.
func Client(ctx context.Context) string { return peerOf(ctx).client }
