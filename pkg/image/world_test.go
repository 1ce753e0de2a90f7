package image

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"flag"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/oauth2"
)

var update = flag.Bool("update", false, "write the golden files")

// effort is what differs from run to run.
var effort = regexp.MustCompile(`after \d+ attempts in [\d.]+m?s`)

func golden(t *testing.T, file, got string) {
	t.Helper()
	got = effort.ReplaceAllString(got, "after N attempts in T")
	file = filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), run with -update to accept:\n%s", file, diff)
	}
}

// world is an internet of few hosts, by their real names over TLS, that remembers
// who was asked what.
type world struct {
	server *httptest.Server
	client *http.Transport

	mu    sync.Mutex
	hosts map[string]http.Handler
	log   []asked
}

// asked is a request as a host got it.
type asked struct{ host, method, path, authorization string }

// authority vouches for the hosts of all worlds of a test run.
var authority = sync.OnceValues(func() (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return cert, key
})

// certificate is one for a host.
func certificate(host string) (*tls.Certificate, error) {
	ca, key := authority()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), key)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{hosts: map[string]http.Handler{}}
	w.server = httptest.NewUnstartedServer(w)
	w.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.server.TLS = &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate(h.ServerName) }}
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	ca, _ := authority()
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	plain := httptest.NewServer(w) // for who is led to plain text
	t.Cleanup(plain.Close)
	w.client = &http.Transport{
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
	t.Cleanup(w.client.CloseIdleConnections)
	return w
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
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

func (w *world) host(name string, h http.Handler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[name] = h
}

// requests are what a host was asked, as "METHOD path".
func (w *world) requests(host string) []string {
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

// authorizations are the credentials that a host got.
func (w *world) authorizations(host string) []string {
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

func (w *world) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = nil
}

// store is go-containerregistry's registry, without a door.
func store() http.Handler { return registry.New(registry.Logger(log.New(io.Discard, "", 0))) }

// put pushes an image into a store, past any door.
func put(t *testing.T, h http.Handler, reference string, image remote.Taggable) v1.Hash {
	t.Helper()
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	// Another host name, so that no door is in the way.
	w := newWorld(t)
	w.host(ref.Context().RegistryStr(), h)
	if err := remote.Push(ref, image, remote.WithTransport(w.client)); err != nil {
		t.Fatal(err)
	}
	d, err := remote.Head(ref, remote.WithTransport(w.client))
	if err != nil {
		t.Fatal(err)
	}
	return d.Digest
}

// small is an image for a platform, different each time.
func small(t *testing.T, platform string, layers ...int64) v1.Image {
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

// door is the token handshake before a registry.
type door struct {
	behind http.Handler
	realm  string                                        // default: /v2/token at the host asked
	admit  func(user, password string) bool              // who gets a token; nil: nobody
	may    func(token, method string) bool               // default: who has a token may all
	basic  bool                                          // takes Basic credentials too, as Google's registries do
	extra  func(http.ResponseWriter, *http.Request) bool // answers in its place
	refuse string                                        // body of a refusal
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.extra != nil && d.extra(w, r) {
		return
	}
	user, password, isBasic := r.BasicAuth()
	if r.URL.Path == "/v2/token" {
		if d.admit == nil || !d.admit(user, password) {
			say(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication failed")
			return
		}
		_, _ = io.WriteString(w, `{"token":"token-of-`+user+`"}`)
		return
	}
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case isBasic && d.basic && d.admit(user, password):
		token = "token-of-" + user
	case isBasic:
		token = ""
	}
	if !strings.HasPrefix(token, "token-of-") {
		realm := d.realm
		if realm == "" {
			realm = "https://" + r.Host + "/v2/token"
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="`+r.Host+`"`)
		say(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
		return
	}
	if d.may != nil && !d.may(token, r.Method) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, d.refuse)
		return
	}
	d.behind.ServeHTTP(w, r)
}

// say answers as registries do.
func say(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"errors":[{"code":"`+code+`","message":"`+strings.ReplaceAll(message, `"`, `\"`)+`"}]}`)
}

// secret is a token source whose tokens can be told from all else.
const secret = "ya29.google"

var googleSource = oauth2.StaticTokenSource(&oauth2.Token{AccessToken: secret})

func isGoogleToken(user, password string) bool {
	return user == "oauth2accesstoken" && password == secret
}

// only is the plan for one reference.
func only(t *testing.T, written, host, sha string) []Match {
	t.Helper()
	m, err := Plan([]string{written}, host, sha, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func must2(t *testing.T, reference string) name.Reference {
	t.Helper()
	return must[name.Reference](t)(name.ParseReference(reference))
}
