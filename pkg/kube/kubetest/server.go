// Package kubetest is an API server for tests: real HTTP on a network in memory,
// as synctest's virtual time wants it, whose answers are scripted. It shows what
// a server does that is hard to bring about for real: watches that are cut,
// places that are lost, answers that never come.
//
// Only tests import it. What can run against a real control plane is in e2e.
package kubetest

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/org/deploy-model-action/pkg/kube"
)

// Server is an API server, and the clients of it.
type Server struct {
	Client  *kube.Client
	Dynamic dynamic.Interface
	REST    rest.Interface
	HTTP    http.RoundTripper // without credentials

	handler http.Handler
	mu      sync.Mutex
	asked   []string
}

// Serve lets h be the API server, and whatever else is asked, until the test ends.
func Serve(t *testing.T, h http.Handler) *Server {
	t.Helper()
	s := &Server{handler: h}
	network := &memory{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: s, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), ReadHeaderTimeout: time.Hour}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(network)
	}()
	transport := &http.Transport{DialContext: network.dial}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		<-ended
	})

	core := schema.GroupVersion{Version: "v1"}
	known := runtime.NewScheme()
	metav1.AddToGroupVersion(known, core) // Status
	config := &rest.Config{Host: "http://api.example", QPS: -1, BearerToken: "secret"}
	config.GroupVersion, config.NegotiatedSerializer = &core, serializer.NewCodecFactory(known).WithoutConversion()
	authorised := &http.Client{Transport: bearer{transport}}
	var err error
	if s.Dynamic, err = dynamic.NewForConfigAndClient(config, authorised); err != nil {
		t.Fatal(err)
	}
	if s.REST, err = rest.RESTClientForConfigAndClient(config, authorised); err != nil {
		t.Fatal(err)
	}
	s.Client, s.HTTP = kube.NewClient(s.Dynamic, s.REST, kube.Options{}), transport
	return s
}

// ServeHTTP remembers the request and lets the handler answer.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.Method+" "+r.URL.RequestURI())
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	s.handler.ServeHTTP(w, r)
}

// Requests are method and URL of all that was asked.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// bearer adds the credentials that only the API server may see.
type bearer struct{ http.RoundTripper }

// RoundTrip sends the request with the credentials.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer secret")
	return b.RoundTripper.RoundTrip(r)
}

// memory is a network in memory.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case m.conns <- there:
		return here, nil
	case <-m.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept waits for a client.
func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

// Close lets nobody in any more.
func (m *memory) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

// Addr is of no use.
func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }
