// Package proxy is a forward proxy that shows its clients a whole imitated
// world: it answers for hosts by their real names, over TLS with certificates
// of the authority that each host should have, writes down every request, and
// plays faults on demand. What a host answers is its handler's business; a host
// without one is refused, and the refusal is written down too.
package proxy

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/org/deploy-model-action/e2e/controlplane"
)

// Proxy is a running forward proxy.
type Proxy struct {
	URL    string
	Faults *Faults

	listener net.Listener
	inner    *pipe // connections whose TLS ends here
	records  *records

	mu      sync.Mutex
	hosts   map[string]host
	fences  map[string]func(client string) bool
	hooks   map[string]*hooked // by client
	plain   func(host string) http.Handler
	control *http.ServeMux
}

type host struct {
	handler http.Handler
	ca      *controlplane.CA
	cert    *tls.Certificate
}

// Start listens on an address, e.g. 127.0.0.1:0, and appends a line for every
// request to the file.
func Start(listen, requestsFile string) (*Proxy, error) {
	listener, err := net.Listen("tcp", listen) //nolint:noctx // at once
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	records, err := openRecords(requestsFile)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	p := &Proxy{
		URL: "http://" + listener.Addr().String(), Faults: &Faults{}, listener: listener, records: records,
		inner: newPipe(listener.Addr()), hosts: map[string]host{}, control: http.NewServeMux(),
	}
	p.control.Handle("/faults", p.Faults)
	outer := http.Server{Handler: http.HandlerFunc(p.serveOuter), ReadHeaderTimeout: time.Minute, ErrorLog: quiet(), ConnContext: withPeer}
	inner := http.Server{
		Handler: http.HandlerFunc(p.serveInner), ReadHeaderTimeout: time.Minute, ErrorLog: quiet(), ConnContext: withPeer,
		TLSConfig: &tls.Config{NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12},
	}
	go func() { _ = outer.Serve(listener) }()
	go func() { _ = inner.Serve(p.inner) }()
	return p, nil
}

// Close stops listening. Open tunnels end with their clients.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	_ = p.inner.Close()
	p.records.close()
}

// Handle answers for https://NAME with a certificate of the authority.
func (p *Proxy) Handle(name string, ca *controlplane.CA, handler http.Handler) error {
	pair, err := ca.Server(name)
	if err != nil {
		return err
	}
	cert, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		return fmt.Errorf("certificate of %q: %w", name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hosts[name] = host{handler: handler, ca: ca, cert: &cert}
	return nil
}

// HandlePlain answers for http://HOST where find knows a handler.
func (p *Proxy) HandlePlain(find func(host string) http.Handler) { p.plain = find }

// HandleControl answers a path of the proxy itself, which is how whoever runs
// the local cloud asks it for things that a real cloud has no API for.
func (p *Proxy) HandleControl(path string, handler http.Handler) { p.control.Handle(path, handler) }

// serveOuter takes what clients ask the proxy itself.
func (p *Proxy) serveOuter(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect:
		p.connect(w, r)
	case r.URL.IsAbs():
		p.forward(w, r)
	default:
		p.control.ServeHTTP(w, r)
	}
}

// connect ends the TLS of a known host here.
func (p *Proxy) connect(w http.ResponseWriter, r *http.Request) {
	name, port, _ := net.SplitHostPort(r.Host)
	p.mu.Lock()
	known, ok := p.hosts[name]
	p.mu.Unlock()
	client := clientOf(r)
	if !ok || port != "443" {
		p.refuse(w, r, client, r.Host)
		return
	}
	if p.fenced(w, r, name, client) {
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		_ = conn.Close()
		return
	}
	server := tls.Server(&peerConn{Conn: conn, peer: peer{host: name, client: client}}, &tls.Config{
		Certificates: []tls.Certificate{*known.cert}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12,
	})
	p.inner.put(server)
}

// serveInner takes the requests inside a tunnel.
func (p *Proxy) serveInner(w http.ResponseWriter, r *http.Request) {
	from := peerOf(r.Context())
	p.mu.Lock()
	known := p.hosts[from.host]
	p.mu.Unlock()
	p.serve(w, r, from, known.handler)
}

// forward takes a request for plain HTTP.
func (p *Proxy) forward(w http.ResponseWriter, r *http.Request) {
	client := clientOf(r)
	var handler http.Handler
	if p.plain != nil {
		handler = p.plain(r.URL.Hostname())
	}
	if handler == nil {
		p.refuse(w, r, client, r.URL.Host)
		return
	}
	r.Header.Del("Proxy-Authorization")
	p.serve(w, r, peer{host: r.URL.Host, client: client}, handler)
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request, from peer, handler http.Handler) {
	recorded := &recorder{ResponseWriter: w}
	entry := newEntry(r, from)
	defer func() {
		failure := recover()
		p.records.add(entry, recorded.status)
		if failure != nil {
			if err, ok := failure.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				fmt.Fprintln(recorded, failure)
			}
			panic(http.ErrAbortHandler)
		}
	}()
	p.through(recorded, r, from, handler)
}

func (p *Proxy) refuse(w http.ResponseWriter, r *http.Request, client, target string) {
	entry := newEntry(r, peer{host: target, client: client})
	p.records.add(entry, http.StatusForbidden)
	http.Error(w, fmt.Sprintf("the local cloud has no host %s", target), http.StatusForbidden)
}

// clientOf is the user name that a client gives the proxy, or its address.
func clientOf(r *http.Request) string {
	_, encoded, _ := strings.Cut(r.Header.Get("Proxy-Authorization"), " ")
	if decoded, err := base64.StdEncoding.DecodeString(encoded); err == nil {
		if user, _, _ := strings.Cut(string(decoded), ":"); user != "" {
			return user
		}
	}
	return r.RemoteAddr
}
