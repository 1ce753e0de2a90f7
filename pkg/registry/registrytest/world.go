// Package registrytest is an internet of registries for tests: hosts by their real
// names over TLS, that remember who was asked what and who was sent which
// credentials, with go-containerregistry's own registry behind a door that wants
// tokens as real ones do.
//
// Only tests import it.
package registrytest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// World is an internet of few hosts, by their real names over TLS, that remembers
// who was asked what.
type World struct {
	// Client leads every name into the world.
	Client *http.Transport

	server    *httptest.Server
	authority *authority

	mu    sync.Mutex
	hosts map[string]http.Handler
	log   []asked
}

// asked is a request as a host got it.
type asked struct{ host, method, path, authorization string }

// authority vouches for the hosts of a world.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{certificate, key}
}

// issue makes a certificate for a host.
func (a *authority) issue(host string) (*tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, a.key.Public(), a.key)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}, err
}

// New returns a world without hosts.
func New(t *testing.T) *World {
	t.Helper()
	w := &World{hosts: map[string]http.Handler{}, authority: newAuthority(t)}
	w.server = httptest.NewUnstartedServer(w)
	w.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	w.server.TLS = &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return w.authority.issue(h.ServerName) }}
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	pool := x509.NewCertPool()
	pool.AddCert(w.authority.certificate)
	plain := httptest.NewServer(w) // for who is led to plain text
	t.Cleanup(plain.Close)
	w.Client = &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			to := w.server
			if strings.HasSuffix(address, ":80") {
				to = plain
			}
			return (&net.Dialer{}).DialContext(ctx, network, to.Listener.Addr().String())
		},
		TLSClientConfig:     &tls.Config{RootCAs: pool},
		MaxIdleConnsPerHost: 20,
	}
	t.Cleanup(w.Client.CloseIdleConnections)
	return w
}

// ServeHTTP leads a request to its host.
func (w *World) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.log = append(w.log, asked{r.Host, r.Method, r.URL.Path, r.Header.Get("Authorization")})
	h := w.hosts[r.Host]
	w.mu.Unlock()
	if h == nil {
		http.Error(rw, "no such host", http.StatusBadGateway)
		return
	}
	h.ServeHTTP(rw, r)
}

// Host has a host answer.
func (w *World) Host(name string, h http.Handler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[name] = h
}

// Requests are what a host was asked, as "METHOD path".
func (w *World) Requests(host string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, a := range w.log {
		if a.host == host {
			all = append(all, a.method+" "+a.path)
		}
	}
	return all
}

// Authorizations are the credentials that a host got.
func (w *World) Authorizations(host string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, a := range w.log {
		if a.host == host && a.authorization != "" && !slices.Contains(all, a.authorization) {
			all = append(all, a.authorization)
		}
	}
	return all
}

// Forget drops what was asked so far.
func (w *World) Forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = nil
}

// Store is go-containerregistry's registry, without a door.
func Store() http.Handler {
	return ggcr.New(ggcr.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)))
}

// Put pushes an image into a store, past any door.
func Put(t *testing.T, h http.Handler, reference string, image remote.Taggable) v1.Hash {
	t.Helper()
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	// Another host name, so that no door is in the way.
	w := New(t)
	w.Host(ref.Context().RegistryStr(), h)
	if err := remote.Push(ref, image, remote.WithTransport(w.Client)); err != nil {
		t.Fatal(err)
	}
	d, err := remote.Head(ref, remote.WithTransport(w.Client))
	if err != nil {
		t.Fatal(err)
	}
	return d.Digest
}

// Small is an image for a platform, different each time.
func Small(t *testing.T, platform string, layers ...int64) v1.Image {
	t.Helper()
	if len(layers) == 0 {
		layers = []int64{256}
	}
	image, err := random.Image(layers[0], 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range layers[1:] {
		l, err := random.Layer(size, "application/vnd.docker.image.rootfs.diff.tar.gzip")
		if err != nil {
			t.Fatal(err)
		}
		if image, err = mutate.AppendLayers(image, l); err != nil {
			t.Fatal(err)
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, _ = strings.Cut(platform, "/")
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

// Door is the token handshake before a registry.
type Door struct {
	Behind http.Handler
	Realm  string                                        // default: /v2/token at the host asked
	Admit  func(user, password string) bool              // who gets a token; nil: nobody
	May    func(token, method string) bool               // default: who has a token may all
	Basic  bool                                          // takes Basic credentials too, as Google's registries do
	Extra  func(http.ResponseWriter, *http.Request) bool // answers in its place
	Refuse string                                        // body of a refusal
}

// ServeHTTP asks for a token, and gives them out.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.Extra != nil && d.Extra(w, r) {
		return
	}
	user, password, isBasic := r.BasicAuth()
	if r.URL.Path == "/v2/token" {
		if d.Admit == nil || !d.Admit(user, password) {
			Say(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication failed")
			return
		}
		_, _ = io.WriteString(w, `{"token":"token-of-`+user+`"}`)
		return
	}
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case isBasic && d.Basic && d.Admit(user, password):
		token = "token-of-" + user
	case isBasic:
		token = ""
	}
	if !strings.HasPrefix(token, "token-of-") {
		realm := d.Realm
		if realm == "" {
			realm = "https://" + r.Host + "/v2/token"
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="`+r.Host+`"`)
		Say(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
		return
	}
	if d.May != nil && !d.May(token, r.Method) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, d.Refuse)
		return
	}
	d.Behind.ServeHTTP(w, r)
}

// Say answers as registries do.
func Say(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"errors":[{"code":"`+code+`","message":"`+strings.ReplaceAll(message, `"`, `\"`)+`"}]}`)
}
