package cluster

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares a text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got)\n%s", path, diff)
	}
}

// certificates are issued by one authority.
type certificates struct {
	pem  []byte
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newCertificates(name string) *certificates {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	return &certificates{pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key: key, cert: must(x509.ParseCertificate(der))}
}

// issue makes a server certificate for names and addresses.
func (c *certificates) issue(change func(*x509.Certificate), hosts ...string) tls.Certificate {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: hosts[0]},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	if change != nil {
		change(template)
	}
	der := must(x509.CreateCertificate(rand.Reader, template, c.cert, key.Public(), c.key))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// The tests' internet: who has a public certificate, and a proxy behind which
// names and addresses lead to the tests' servers. The product finds both as it
// does on a runner, through SSL_CERT_FILE and HTTPS_PROXY.
var (
	public   = newCertificates("Public CA of the tests")
	internet = &forwarder{hosts: map[string]string{}}
)

func TestMain(m *testing.M) {
	flag.Parse()
	dir := must(os.MkdirTemp("", "cluster"))
	roots := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(roots, public.pem, 0o600); err != nil {
		panic(err)
	}
	proxy := httptest.NewServer(internet)
	for name, value := range map[string]string{
		"SSL_CERT_FILE": roots, "SSL_CERT_DIR": dir, "HTTPS_PROXY": proxy.URL, "https_proxy": "", "NO_PROXY": "", "no_proxy": "",
	} {
		os.Setenv(name, value)
	}
	code := m.Run()
	proxy.Close()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// forwarder is a proxy that knows CONNECT only.
type forwarder struct {
	mu    sync.Mutex
	hosts map[string]string // "host:port" to the address of a server, or a status
	next  int
}

func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	to := f.hosts[r.Host]
	f.mu.Unlock()
	var status int
	switch _, err := fmt.Sscanf(to, "status %d", &status); {
	case err == nil:
		http.Error(w, "no", status)
		return
	case to == "" || r.Method != http.MethodConnect:
		http.Error(w, "no such host", http.StatusBadGateway)
		return
	}
	server, err := net.Dial("tcp", to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer server.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	fmt.Fprint(client, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() {
		_, _ = io.Copy(server, io.MultiReader(bufio.NewReader(buffered.Reader), client))
		server.Close()
	}()
	_, _ = io.Copy(client, server)
}

// lead lets a host (a name or an address, on port 443) lead to an address.
func (f *forwarder) lead(host, to string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hosts[net.JoinHostPort(host, "443")] = to
}

// address is one that no other test has.
func (f *forwarder) address() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	return fmt.Sprintf("198.18.%d.%d", f.next/256, f.next%256)
}

// serve starts a TLS server that has the hosts in its certificate.
func serve(t *testing.T, ca *certificates, handler http.Handler, hosts ...string) *httptest.Server {
	t.Helper()
	return serveWith(t, ca.issue(nil, hosts...), handler)
}

func serveWith(t *testing.T, certificate tls.Certificate, handler http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// at starts a server that the tests' internet has at the host.
func at(t *testing.T, host string, ca *certificates, handler http.Handler) {
	t.Helper()
	internet.lead(host, serve(t, ca, handler, host).Listener.Addr().String())
}

// apis are Google's hosts for one test, by their real names.
type apis struct {
	mu       sync.Mutex
	handlers map[string]http.HandlerFunc
	requests []*http.Request
	// transport reaches them and nothing else.
	transport *http.Transport
}

func newAPIs(t *testing.T) *apis {
	t.Helper()
	a := &apis{handlers: map[string]http.HandlerFunc{}}
	server := serve(t, public, a, "*.googleapis.com", "googleapis.com")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(public.pem)
	a.transport = &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
		},
	}
	t.Cleanup(a.transport.CloseIdleConnections)
	return a
}

func (a *apis) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.requests = append(a.requests, r)
	handler := a.handlers[r.Host]
	a.mu.Unlock()
	if handler == nil {
		http.Error(w, "unexpected host "+r.Host, http.StatusTeapot)
		return
	}
	handler(w, r)
}

// asked lists what was asked, as "METHOD host/path".
func (a *apis) asked() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []string
	for _, r := range a.requests {
		all = append(all, r.Method+" "+r.Host+r.URL.Path)
	}
	return all
}

func (a *apis) options(endpoint string) Options {
	return Options{
		Name:     Name{"my-project", "europe-west6-a", "model"},
		Endpoint: endpoint, Tokens: token("right"), Principal: "deployer@my-project.iam.gserviceaccount.com", Transport: a.transport,
	}
}

// token is a source of one token.
func token(value string) oauth2.TokenSource {
	return oauth2.StaticTokenSource(&oauth2.Token{AccessToken: value})
}

// answer answers with JSON.
func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// refusal is the error body of Google's APIs.
func refusal(code int, status, message string, details ...string) http.HandlerFunc {
	return answer(code, fmt.Sprintf(`{"error":{"code":%d,"message":%q,"status":%q,"details":[%s]}}`, code, message, status, strings.Join(details, ",")))
}

func disabledInfo(service string) string {
	return fmt.Sprintf(`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"SERVICE_DISABLED","domain":"googleapis.com","metadata":{"service":%q,"consumer":"projects/123456789012"}}`, service)
}

func reasonInfo(reason, project string) string {
	return fmt.Sprintf(`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":%q,"domain":"googleapis.com","metadata":{"service":%q,"consumer":"projects/%s"}}`, reason, hostContainer, project)
}

// kubernetesStatus is the API server's error body.
func kubernetesStatus(code int, reason, message string) http.HandlerFunc {
	return answer(code, fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":%q,"reason":%q,"details":{},"code":%d}`, message, reason, code))
}

// object answers like an API server that has every object.
func object(w http.ResponseWriter, r *http.Request) {
	answer(http.StatusOK, fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"seen","annotations":{"path":%q,"proto":%q}}}`, r.URL.Path, r.Proto))(w, r)
}

// onlyBearer refuses requests without the right token.
func onlyBearer(t *testing.T, next http.HandlerFunc) http.HandlerFunc {
	t.Helper()
	return func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer right" {
			t.Errorf("Authorization = %q at %s", got, r.Host)
		}
		next(w, r)
	}
}

func indent(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") + "\n" }

// catch returns what is written to a file such as os.Stderr while f runs.
func catch(t *testing.T, file **os.File, f func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	was := *file
	*file = w
	defer func() { *file = was }()
	done := make(chan string)
	go func() {
		var b bytes.Buffer
		_, _ = io.Copy(&b, r)
		done <- b.String()
	}()
	f()
	w.Close()
	return <-done
}
