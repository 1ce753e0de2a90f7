// Package wire bounds what the answers of a cluster's API server may be, and
// collects what they warn of. Whoever made a connection puts Bound around it;
// what is asked, and what an answer means, is left to others.
//
// An API server is not always what answers: a proxy, a portal or an extension
// behind it may send for ever, and clients read an answer whole.
package wire

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/org/deploy-model-action/pkg/redact"
)

// How long answers may be, in bytes. etcd takes objects of up to 1.5 MiB.
const (
	objectLimit = 8 << 20  // an object, one event of a watch, or anything that is no list
	listLimit   = 32 << 20 // one page of a list
	errorLimit  = 1 << 20  // a refusal: what is beyond it is dropped
	// freeBytes are read of each answer at once; what is longer waits its turn, so
	// that many long answers at a time do not fill the memory.
	freeBytes = 512 << 10
)

// LongError is an answer that is longer than any that there may be. It never passes.
type LongError struct {
	What  string // "an object", "a list", "an event of a watch"
	Limit int    // bytes
}

func (e *LongError) Error() string {
	return fmt.Sprintf("the answer is longer than the %d MiB that %s may have", e.Limit>>20, e.What)
}

// NoWatchError is an answer to a watch that is none, whatever its status says.
type NoWatchError struct{ Type string }

func (e *NoWatchError) Error() string {
	return fmt.Sprintf("the answer to a watch is of type %q", redact.Phrase(e.Type))
}

// Bound is a transport whose answers end with a *LongError where they would be
// too long. Of an error's answer, what is too long is left out.
func Bound(base http.RoundTripper) http.RoundTripper {
	return &transport{base: base, long: make(chan struct{}, 1)}
}

type transport struct {
	base http.RoundTripper
	long chan struct{} // the one long answer that is being read
}

// RoundTrip bounds the answer.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err != nil || resp.Body == nil || resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, err
	}
	b := &body{ReadCloser: resp.Body, ctx: req.Context(), turn: t.long, limit: objectLimit, what: "an object", closed: make(chan struct{})}
	switch {
	case resp.StatusCode >= http.StatusMultipleChoices:
		b.limit, b.cut = errorLimit, true
	case req.URL.Query().Get("watch") == "true":
		// client-go (rest.Request.Watch) gives such an answer back without closing it.
		kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
		if kind != "application/json" {
			resp.Body.Close()
			return nil, &NoWatchError{Type: kind}
		}
		b.what, b.events = "an event of a watch", &events{}
	case lists(req):
		b.limit, b.what = listLimit, "a list"
	}
	if resp.ContentLength > int64(b.limit) && !b.cut && b.events == nil && req.Method != http.MethodHead {
		resp.Body.Close()
		return nil, &LongError{What: b.what, Limit: b.limit}
	}
	resp.Body = b
	return resp, nil
}

// lists reports whether a request is for a collection:
// …/api/v1[/namespaces/N]/RESOURCE or …/apis/GROUP/VERSION[/namespaces/N]/RESOURCE.
func lists(req *http.Request) bool {
	if req.Method != http.MethodGet {
		return false
	}
	path := strings.Trim(req.URL.Path, "/")
	_, rest, core := strings.Cut("/"+path, "/api/v1/")
	if !core {
		_, group, ok := strings.Cut("/"+path, "/apis/")
		parts := strings.SplitN(group, "/", 3)
		if !ok || len(parts) < 3 {
			return false
		}
		rest = parts[2]
	}
	parts := strings.Split(rest, "/")
	if len(parts) == 3 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	return len(parts) == 1
}

// body is an answer that ends at its limit.
type body struct {
	io.ReadCloser
	ctx    context.Context //nolint:containedctx // of the request: the answer ends with it
	limit  int
	what   string
	cut    bool    // it ends there without an error
	events *events // of a watch: the limit is for each; nil for all else
	read   int     // of the answer, or of the event

	turn   chan struct{}
	closed chan struct{} // when nobody reads any more
	once   sync.Once
	mu     sync.Mutex
	has    bool // the turn
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.read >= freeBytes {
		if err := b.wait(); err != nil {
			return 0, err
		}
	}
	// One byte more than there may be shows that it is too long.
	p = p[:min(len(p), b.limit+1-b.read)]
	n, err := b.ReadCloser.Read(p)
	b.read += n
	if b.events != nil {
		if rest, ended := b.events.scan(p[:n]); ended {
			b.read = rest
			b.leave()
		}
	}
	switch {
	case b.read > b.limit && b.cut:
		n, err = n-(b.read-b.limit), io.EOF
		b.read = b.limit
	case b.read > b.limit:
		n, err = 0, &LongError{What: b.what, Limit: b.limit}
		b.read = b.limit
	}
	if err != nil {
		b.leave()
	}
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.once.Do(func() { close(b.closed) })
	b.leave()
	return b.ReadCloser.Close()
}

// wait waits until no other long answer is being read.
func (b *body) wait() error {
	b.mu.Lock()
	has := b.has
	b.mu.Unlock()
	if has {
		return nil
	}
	select {
	case b.turn <- struct{}{}:
	case <-b.closed:
		return net.ErrClosed
	case <-b.ctx.Done():
		return b.ctx.Err()
	}
	b.mu.Lock()
	b.has = true
	b.mu.Unlock()
	select {
	case <-b.closed: // meanwhile: who closed has not seen the turn
		b.leave()
		return net.ErrClosed
	default:
		return nil
	}
}

// leave lets the next long answer be read.
func (b *body) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.has {
		b.has = false
		<-b.turn
	}
}

// events finds where the events of a watch end: values of JSON, one after the other.
type events struct {
	depth            int
	text, escapeNext bool
}

// scan takes in what was read. It returns how much of it belongs to an event that
// has not ended, and whether another ended before.
func (e *events) scan(p []byte) (rest int, ended bool) {
	last := -1
	for i, c := range p {
		switch {
		case e.escapeNext:
			e.escapeNext = false
		case e.text:
			e.escapeNext, e.text = c == '\\', c != '"'
		case c == '"':
			e.text = true
		case c == '{', c == '[':
			e.depth++
		case c == '}', c == ']':
			if e.depth--; e.depth <= 0 {
				e.depth, last = 0, i
			}
		}
	}
	return len(p) - 1 - last, last >= 0
}
