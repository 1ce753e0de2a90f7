package credentials

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
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
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

const (
	testEmail    = "deployer@my-project.iam.gserviceaccount.com"
	testTarget   = "model-owner@other-project.iam.gserviceaccount.com"
	testProvider = "projects/123456789012/locations/global/workloadIdentityPools/github-pool/providers/github-provider"
	testOIDC     = "https://run-actions-1-azure-eastus.actions.githubusercontent.com/1/idtoken/2/3?api-version=2.0"
)

// testKey is made once; what it signs is thrown away.
var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func testPEM() string {
	der, err := x509.MarshalPKCS8PrivateKey(testKey())
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// keyFile is a service account key as Google gives it out, with changes.
func keyFile(changes ...any) string {
	return edit(map[string]any{
		"type":                        "service_account",
		"project_id":                  "my-project",
		"private_key_id":              "0123456789abcdef0123456789abcdef01234567",
		"private_key":                 testPEM(),
		"client_email":                testEmail,
		"client_id":                   "100000000000000000001",
		"auth_uri":                    "https://accounts.google.com/o/oauth2/auth",
		"token_uri":                   "https://oauth2.googleapis.com/token",
		"auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
		"client_x509_cert_url":        "https://www.googleapis.com/robot/v1/metadata/x509/deployer%40my-project.iam.gserviceaccount.com",
		"universe_domain":             "googleapis.com",
	}, changes...)
}

// federationFile is what google-github-actions/auth writes, with changes.
func federationFile(changes ...any) string {
	return edit(map[string]any{
		"universe_domain":    "googleapis.com",
		"type":               "external_account",
		"audience":           "//iam.googleapis.com/" + testProvider,
		"subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
		"token_url":          "https://sts.googleapis.com/v1/token",
		"credential_source":  credentialSource(),
	}, changes...)
}

func credentialSource(changes ...any) map[string]any {
	source := map[string]any{
		"url":     testOIDC + "&audience=https%3A%2F%2Fiam.googleapis.com%2F" + strings.ReplaceAll(testProvider, "/", "%2F"),
		"headers": map[string]any{"Authorization": "Bearer canary-request-token"},
		"format":  map[string]any{"type": "json", "subject_token_field_name": "value"},
	}
	return change(source, changes...)
}

func impersonationURL(email string) string {
	return "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + email + ":generateAccessToken"
}

// change sets name, value pairs; nil removes.
func change(o map[string]any, changes ...any) map[string]any {
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == nil {
			delete(o, changes[i].(string))
			continue
		}
		o[changes[i].(string)] = changes[i+1]
	}
	return o
}

func edit(o map[string]any, changes ...any) string {
	text, err := json.MarshalIndent(change(o, changes...), "", "  ")
	if err != nil {
		panic(err)
	}
	return string(text)
}

// services stand in for Google's token services: a real server over TLS, reached
// under Google's names.
type services struct {
	*httptest.Server
	mu     sync.Mutex
	events []string // requests and masks, in the order they happened
	answer func(w http.ResponseWriter, r *http.Request, form map[string]string)
	count  int
}

func newServices(t *testing.T) *services {
	t.Helper()
	g := &services{}
	g.Server = httptest.NewTLSServer(http.HandlerFunc(g.serve))
	t.Cleanup(g.Close)
	return g
}

func (g *services) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	form := map[string]string{"body": string(body), "authorization": r.Header.Get("Authorization")}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	_ = r.ParseForm()
	for name, values := range r.Form {
		form[name] = values[0]
	}
	g.mu.Lock()
	g.count++
	n := g.count
	g.events = append(g.events, "request "+r.Host+r.URL.Path)
	g.mu.Unlock()
	if g.answer != nil {
		g.answer(w, r, form)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	switch {
	case r.Host == hostOAuth && r.URL.Path == "/token":
		fmt.Fprintf(w, `{"access_token":"ya29.c.key-%d","expires_in":3599,"token_type":"Bearer"}`, n)
	case r.Host == hostSTS && r.URL.Path == "/v1/token":
		fmt.Fprintf(w, `{"access_token":"ya29.d.federated-%d","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":3599}`, n)
	case r.Host == hostIAM && strings.HasSuffix(r.URL.Path, ":generateAccessToken"):
		fmt.Fprintf(w, `{"accessToken":"ya29.c.impersonated-%d","expireTime":"2030-01-01T01:00:00Z"}`, n)
	default:
		http.Error(w, "no such host", http.StatusNotFound)
	}
}

func (g *services) note(event string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events = append(g.events, event)
}

// transport leads every name to the server.
func (g *services) transport() http.RoundTripper {
	pool := x509.NewCertPool()
	pool.AddCert(g.Certificate())
	return &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, g.Listener.Addr().String())
		},
		TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "example.com", MinVersion: tls.VersionTLS12},
	}
}

// options are those of a job with `permissions: id-token: write`.
func (g *services) options(t *testing.T) Options {
	t.Helper()
	o := jobOptions(t)
	o.Transport = g.transport()
	o.Mask = func(secret string) { g.note("mask " + strings.SplitN(secret, "\n", 2)[0]) }
	return o
}

func jobOptions(t *testing.T) Options {
	t.Helper()
	return Options{
		Getenv: environment("ACTIONS_ID_TOKEN_REQUEST_URL", testOIDC, "GITHUB_REPOSITORY", "acme/models"),
		Files:  os.DirFS(t.TempDir()),
		IDToken: func(_ context.Context, audience string) (string, error) {
			return "github-token-for:" + audience, nil
		},
		Transport: refuseAll{t},
	}
}

func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// refuseAll fails the test when anything is contacted.
type refuseAll struct{ t *testing.T }

func (r refuseAll) RoundTrip(req *http.Request) (*http.Response, error) {
	r.t.Errorf("a request left for %s", req.URL.Host)
	return nil, fmt.Errorf("nothing may be contacted")
}
