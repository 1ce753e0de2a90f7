package proxy

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
)

// peer says who asks which host.
type peer struct{ host, client string }

type (
	peerKey struct{}
	connKey struct{}
)

// peerConn remembers its peer below the TLS connection.
type peerConn struct {
	net.Conn
	peer peer
}

func withPeer(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		if p, ok := t.NetConn().(*peerConn); ok {
			ctx = context.WithValue(ctx, peerKey{}, p.peer)
			c = p.Conn
		}
	}
	return context.WithValue(ctx, connKey{}, c)
}

func peerOf(ctx context.Context) peer {
	p, _ := ctx.Value(peerKey{}).(peer)
	return p
}

// reset breaks the request's connection, as a firewall or a node that goes away
// does: over HTTP/2 everything else that is under way on it breaks too.
func reset(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(*net.TCPConn); ok {
		_ = c.SetLinger(0) // RST, not FIN
		_ = c.Close()
	}
	panic(http.ErrAbortHandler)
}

// pipe is a listener of connections that were accepted elsewhere.
type pipe struct {
	address net.Addr
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newPipe(address net.Addr) *pipe {
	return &pipe{address: address, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pipe) put(c net.Conn) {
	select {
	case p.conns <- c:
	case <-p.closed:
		_ = c.Close()
	}
}

// Accept returns the next connection.
func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (p *pipe) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr is that of the proxy.
func (p *pipe) Addr() net.Addr { return p.address }

// quiet drops what http.Server says of clients that hang up: tests do it on purpose.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
