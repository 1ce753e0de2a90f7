package proxy

import (
	"bytes"
	"maps"
	"net/http"
	"strings"
)

// Request is what a hook learns of a request.
type Request struct {
	N                  int // of the client's requests that the hook was asked about, from 1
	Host, Method, Path string
	Gone               <-chan struct{} // closed when the client's connection ends
}

// Dry reports whether the API server was asked to change nothing.
func (r Request) Dry() bool { return strings.Contains(r.Path, "dryRun=All") }

// Watches reports whether the answer has no end of its own.
func (r Request) Watches() bool { return strings.Contains(r.Path, "watch=true") }

// Hook is Go code between a client and its hosts, for what a Fault cannot say:
// it may wait, count, kill the client, and decide by what it saw before. It is
// called by many requests at once. A fault that matches comes after Before.
type Hook struct {
	// Before is called before the host learns of a request; if it returns false,
	// the connection breaks and the host never does. Default, every request passes.
	Before func(Request) bool
	// After is called when the host has done what was asked and the client has no
	// answer yet; if it returns false, the connection breaks. It is not called for
	// watches. Default, every answer passes.
	After func(Request) bool
}

// hooked is a client's hook and how often it was asked.
type hooked struct {
	Hook
	asked int
}

// SetHook puts a hook between a client and everything that it asks, in place of
// an earlier one. Hook{} takes it away.
func (p *Proxy) SetHook(client string, h Hook) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hooks == nil {
		p.hooks = map[string]*hooked{}
	}
	p.hooks[client] = &hooked{Hook: h}
}

// hook is what a request has to pass.
func (p *Proxy) hook(r *http.Request, from peer) (Hook, Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hooks[from.client]
	if h == nil {
		return Hook{}, Request{}
	}
	h.asked++
	return h.Hook, Request{N: h.asked, Host: from.host, Method: r.Method, Path: r.URL.RequestURI(), Gone: r.Context().Done()}
}

// through lets a request pass its client's hook and the faults.
func (p *Proxy) through(w http.ResponseWriter, r *http.Request, from peer, handler http.Handler) {
	hook, request := p.hook(r, from)
	if hook.Before != nil && !hook.Before(request) {
		reset(r)
	}
	if hook.After == nil || request.Watches() {
		p.Faults.play(w, r, from, handler)
		return
	}
	held := &answer{header: http.Header{}, status: http.StatusOK}
	p.Faults.play(held, r, from, handler)
	if !hook.After(request) {
		reset(r)
	}
	maps.Copy(w.Header(), held.header)
	w.WriteHeader(held.status)
	_, _ = w.Write(held.body.Bytes())
}

// answer is kept until it may go.
type answer struct {
	header http.Header
	status int
	set    bool
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if !a.set && status >= http.StatusOK {
		a.status, a.set = status, true
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	a.set = true
	return a.body.Write(b)
}

// FlushError does nothing: there is nobody yet who reads.
func (a *answer) FlushError() error { return nil }
