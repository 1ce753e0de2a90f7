package publish

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/org/deploy-model-action/pkg/registry/registrytest"
)

// engineCerts is an authority, and a folder with what it gave to a client.
func engineCerts(t *testing.T) (server *tls.Config, dir string) {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "engine"}, IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	dir = t.TempDir()
	put := func(name, kind string, content []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("ca.pem", "CERTIFICATE", der)
	put("cert.pem", "CERTIFICATE", der)
	put("key.pem", "EC PRIVATE KEY", must[[]byte](t)(x509.MarshalECPrivateKey(key)))
	pool := x509.NewCertPool()
	pool.AddCert(must[*x509.Certificate](t)(x509.ParseCertificate(der)))
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}, dir
}

// TestEngineTLS publishes from an engine that lets in only whom it knows, and holds
// that nobody can pretend to be it.
func TestEngineTLS(t *testing.T) {
	t.Parallel()
	image := registrytest.Small(t, "linux/amd64", 3000)
	behind := strings.TrimPrefix(engineWith(t, []lying{{what: image, names: []string{testImage + ":" + testSHA}}}, classicWith, configOf), "unix://")
	config, dir := engineCerts(t)
	_, others := engineCerts(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		socket := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", behind)
		}, DisableKeepAlives: true}
		r.URL.Scheme, r.URL.Host = "http", "docker"
		resp, err := socket.RoundTrip(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		_, _ = io.Copy(w, resp.Body)
	}))
	server.TLS, server.Config.ErrorLog = config, slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	server.StartTLS()
	t.Cleanup(server.Close)
	address := "tcp://" + server.Listener.Addr().String()
	incomplete, broken, fifo := t.TempDir(), t.TempDir(), t.TempDir()
	for _, name := range []string{"ca.pem", "cert.pem", "key.pem"} {
		content := must[[]byte](t)(os.ReadFile(filepath.Join(dir, name)))
		err := os.WriteFile(filepath.Join(fifo, name), content, 0o600)
		if name != "key.pem" {
			err = errors.Join(err, os.WriteFile(filepath.Join(incomplete, name), content, 0o600))
		}
		if err = errors.Join(err, os.WriteFile(filepath.Join(broken, name), []byte("no PEM"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Remove(filepath.Join(fifo, "ca.pem")), syscall.Mkfifo(filepath.Join(fifo, "ca.pem"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		host, certs string
		tls         bool
		want        string // of the error; "": none
	}{
		"known":            {address, dir, true, ""},
		"https":            {strings.Replace(address, "tcp", "https", 1), dir, false, ""},
		"plain":            {address, "", false, "speaks TLS only; set DOCKER_TLS_VERIFY"},
		"another engine":   {address, others, true, "certificate signed by unknown authority"},
		"no folder named":  {address, "", true, "not set, and DOCKER_TLS_VERIFY asks for TLS"},
		"no such folder":   {address, filepath.Join(dir, "gone"), true, "no such file or directory; have ca.pem"},
		"no key":           {address, incomplete, true, "key.pem does not exist"},
		"nothing in it":    {address, broken, true, "cert.pem and key.pem: tls: failed to find any PEM data"},
		"what never ends":  {address, fifo, true, "ca.pem is neither a file nor a folder"},
		"the name differs": {strings.Replace(address, "127.0.0.1", "localhost", 1), dir, true, "name in DOCKER_HOST the host that its certificate is for"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPublishing(t)
			o := p.options(nil, FromDocker)
			o.DockerHost, o.DockerTLS, o.DockerCerts = c.host, c.tls, c.certs
			got, err := run(t.Context(), only(t, testImage, testSHA), o)
			switch {
			case c.want == "" && (err != nil || got[0].Uploaded != 1):
				t.Errorf("%+v, %v", got, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%+v, %v, want %q", got, err, c.want)
			}
		})
	}
}

// TestEngineBreaksOff holds that the reason of an export that fails in the middle is
// said: the engine has sent status 200 by then.
func TestEngineBreaksOff(t *testing.T) {
	t.Parallel()
	image := registrytest.Small(t, "linux/amd64", 100_000)
	full := savedOld(t, image, testImage+":"+testSHA).tar(t)
	const reason = `{"errorDetail":{"message":"write /var/lib/docker/tmp/x: no space left on device"},"error":"write /var/lib/docker/tmp/x: no space left on device"}` + "\r\n"
	config := must[*v1.ConfigFile](t)(image.ConfigFile())
	for name, cut := range map[string]int{"in a layer": 40_000, "in a header": 512 + 100, "at the start": 0, "between files": 1024} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPublishing(t)
			o := p.options(nil, FromDocker)
			o.DockerHost = listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/images/json":
					_, _ = io.WriteString(w, `[{"Id":"`+configOf(t, lying{what: image})+`","RepoTags":["`+testImage+":"+testSHA+`"]}]`)
				case "/images/get":
					_, _ = w.Write(append(full[:cut:cut], reason...))
				default:
					_, _ = io.WriteString(w, `{"Os":"`+config.OS+`","Architecture":"amd64"}`)
				}
			}))
			got, err := run(t.Context(), only(t, testImage, testSHA), o)
			if err == nil || !strings.Contains(err.Error(), "it broke off: write /var/lib/docker/tmp/x: no space left on device; look at its log") {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}
