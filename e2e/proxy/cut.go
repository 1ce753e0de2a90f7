package proxy

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// cut breaks the answer off after a while, whether or not it was complete.
func cut(w http.ResponseWriter, r *http.Request, handler http.Handler, after time.Duration) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	g := &gate{w: w}
	done := make(chan any, 1)
	go func() {
		defer func() { done <- recover() }()
		handler.ServeHTTP(g, r.WithContext(ctx))
	}()
	select {
	case failure := <-done:
		if failure != nil {
			panic(failure)
		}
	case <-time.After(after):
		g.shut()
		panic(http.ErrAbortHandler)
	}
}

// gate is a writer that can be shut while somebody still writes to it.
type gate struct {
	mu   sync.Mutex
	w    http.ResponseWriter
	over bool
}

var errShut = errors.New("the answer was cut")

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
}

// Header implements http.ResponseWriter.
func (g *gate) Header() http.Header {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return http.Header{}
	}
	return g.w.Header()
}

// WriteHeader implements http.ResponseWriter.
func (g *gate) WriteHeader(status int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.over {
		g.w.WriteHeader(status)
	}
}

// Write implements http.ResponseWriter.
func (g *gate) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return 0, errShut
	}
	return g.w.Write(b)
}

// FlushError passes on what streams.
func (g *gate) FlushError() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return errShut
	}
	return http.NewResponseController(g.w).Flush()
}
