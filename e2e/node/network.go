package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// network is where the addresses of nodes and pods are: in this process only.
// Whoever wants to reach one uses Dial.
type network struct {
	nodes    *Nodes
	kubelets *pipe
	programs *pipe
	tls      *tls.Config

	mu   sync.Mutex
	pods map[string]*pod // by address
}

func newNetwork(n *Nodes) (*network, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "system:node"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(7 * 24 * time.Hour),
	}
	// Signed by itself, as a kubelet's is that has no certificate from the cluster.
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	w := &network{
		nodes: n, kubelets: newPipe(), programs: newPipe(), pods: map[string]*pod{},
		tls: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}},
	}
	quiet := log.New(io.Discard, "", 0)
	kubelet := http.Server{Handler: n.kubelet(), ReadHeaderTimeout: time.Minute, ErrorLog: quiet}
	program := http.Server{Handler: http.HandlerFunc(serveProgram), ReadHeaderTimeout: time.Minute, ErrorLog: quiet, ConnContext: withTarget}
	go func() { _ = kubelet.Serve(w.kubelets) }()
	go func() { _ = program.Serve(w.programs) }()
	return w, nil
}

func (w *network) close() {
	_ = w.kubelets.Close()
	_ = w.programs.Close()
}

func (w *network) attach(address string, p *pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pods[address] = p
}

func (w *network) detach(address string, p *pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pods[address] == p {
		delete(w.pods, address)
	}
}

func (w *network) pod(address string) *pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pods[address]
}

// Dial connects to a node's kubelet or to a pod, as the API server does. An
// address of this machine is dialled: that is where a test's webhook listens.
func (n *Nodes) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial %q: %w", address, err)
	}
	port, err := strconv.Atoi(service)
	if err != nil {
		return nil, fmt.Errorf("dial %q: %w", address, err)
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
	refuse := &net.OpError{Op: "dial", Net: network, Addr: target(address), Err: syscall.ECONNREFUSED}
	for _, m := range n.machines {
		if m.address == host && port == kubeletPort {
			client, server := newConn(nil, 0)
			if !n.network.kubelets.put(tls.Server(server, n.network.tls)) {
				return nil, refuse
			}
			return client, nil
		}
	}
	p := n.network.pod(host)
	if p == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: target(address), Err: syscall.EHOSTUNREACH}
	}
	if p.checkTCP("", port) != "" {
		return nil, refuse
	}
	client, server := newConn(p, port)
	if !n.network.programs.put(server) {
		return nil, refuse
	}
	return client, nil
}

// target is an address of this network.
type target string

// Network is always TCP.
func (target) Network() string { return "tcp" }

// String is the address itself.
func (t target) String() string { return string(t) }

type podKey struct{}

// conn is one end of a connection; the server's end knows its pod and port.
type conn struct {
	net.Conn
	pod  *pod
	port int
}

// CloseWrite closes both ways: HTTP has no use for half a connection, and
// whoever copies through it would wait for the other half.
func (c *conn) CloseWrite() error { return c.Close() }

func newConn(p *pod, port int) (client, server net.Conn) {
	a, b := net.Pipe()
	return &conn{Conn: a}, &conn{Conn: b, pod: p, port: port}
}

func withTarget(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, podKey{}, c)
}

func serveProgram(w http.ResponseWriter, r *http.Request) {
	c, ok := r.Context().Value(podKey{}).(*conn)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	c.pod.serve(w, r, c.port)
}

// serve answers as the program in the pod that listens at the port; without
// one the connection is cut.
func (p *pod) serve(w http.ResponseWriter, r *http.Request, port int) {
	if p.predict(w, r, port) {
		return
	}
	status, body := p.answer(port, r.URL.Path)
	if status == 0 {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintln(w, body)
}

// pipe is a listener of connections that were made elsewhere.
type pipe struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipe() *pipe { return &pipe{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipe) put(c net.Conn) bool {
	select {
	case p.conns <- c:
		return true
	case <-p.closed:
		return false
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

// Addr is no real one.
func (p *pipe) Addr() net.Addr { return target("10.128.0.2:10250") }
