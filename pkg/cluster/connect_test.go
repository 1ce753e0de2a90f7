package cluster

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/oauth2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

// get reads an object, and says what the server has seen.
func get(t *testing.T, c *Client) (map[string]string, error) {
	t.Helper()
	got, err := c.Dynamic.Resource(configMaps).Namespace("models").Get(t.Context(), "m", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return got.GetAnnotations(), nil
}

func patch(t *testing.T, c *Client, body []byte) error {
	t.Helper()
	_, err := c.Dynamic.Resource(configMaps).Namespace("models").Patch(t.Context(), "m", types.ApplyYAMLPatchType, body, metav1.PatchOptions{FieldManager: "deploy-model-action"})
	return err
}

// connect returns a client of a cluster.
func connect(t *testing.T, c *Cluster, tokens oauth2.TokenSource) *Client {
	t.Helper()
	client, err := c.Connect(tokens)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.HTTP.CloseIdleConnections)
	return client
}

// TestEveryEndpoint goes from the name to an object, by each kind of endpoint.
func TestEveryEndpoint(t *testing.T) {
	t.Parallel()
	own := newCertificates("The cluster's CA")
	address := internet.address()
	const (
		inside = "10.77.0.2"
		dns    = "every.europe-west6.gke.goog"
		api    = "/api/v1/namespaces/models/configmaps/m"
		global = "/v1/projects/123456789012/locations/global/gkeMemberships/model"
		region = "/v1/projects/123456789012/locations/asia-east1/gkeMemberships/model"
	)
	seen := onlyBearer(t, object)
	at(t, address, own, seen)
	at(t, inside, own, seen)
	at(t, dns, public, seen)
	at(t, hostGateway, public, seen)
	at(t, "asia-east1-"+hostGateway, public, seen)
	all := fmt.Sprintf(`"dnsEndpointConfig":{"endpoint":%q,"allowExternalTraffic":true},"ipEndpointsConfig":{"enabled":true,"enablePublicEndpoint":true,"publicEndpoint":%q,"privateEndpoint":%q}`, dns, address, inside)
	for _, c := range []struct{ endpoint, membership, kind, path string }{
		{KindAuto, "", KindDNS, api},
		{KindPublic, "", KindPublic, api},
		{KindInternal, "", KindInternal, api},
		{KindDNS, "", KindDNS, api},
		{KindGateway, "projects/my-project/locations/global/memberships/model", KindGateway, global + api},
		{KindGateway, "projects/my-project/locations/asia-east1/memberships/model", KindGateway, region + api},
	} {
		a := newAPIs(t)
		a.handlers[hostContainer] = describedWith(own, "RUNNING", all, "")
		a.handlers[hostHub] = members(c.membership)
		a.handlers[hostProjects] = projectNumber
		found, err := Find(t.Context(), a.options(c.endpoint))
		if err != nil {
			t.Errorf("%s: %v", c.endpoint, err)
			continue
		}
		client := connect(t, found, token("right"))
		saw, err := get(t, client)
		if err != nil || found.Kind != c.kind || saw["path"] != c.path || saw["proto"] != "HTTP/2.0" {
			t.Errorf("%s: kind %q, the server saw %v, %v; want %q, %q", c.endpoint, found.Kind, saw, err, c.kind, c.path)
		}
		// What Dynamic has no words for goes the same way.
		body, err := client.REST.Get().AbsPath("/api/v1/namespaces/models/pods/p/log").DoRaw(t.Context())
		if want := strings.TrimSuffix(c.path, api) + "/api/v1/namespaces/models/pods/p/log"; err != nil || !bytes.Contains(body, []byte(`"`+want+`"`)) {
			t.Errorf("%s: REST: %s, %v, want %s", c.endpoint, body, err, want)
		}
	}
}

// TestPinning tries certificates that are not the cluster's.
func TestPinning(t *testing.T) {
	t.Parallel()
	own, imposter := newCertificates("The cluster's CA"), newCertificates("The cluster's CA")
	for _, c := range []struct {
		name   string
		kind   string
		ca     []byte
		signer *certificates
		change func(*x509.Certificate)
		want   string // part of the error; "" for none
	}{
		{"the cluster's", KindPublic, own.pem, own, nil, ""},
		{"the cluster's, inside", KindInternal, own.pem, own, nil, ""},
		{"another CA of the same name", KindPublic, own.pem, imposter, nil, "unknown authority"},
		{"another CA of the same name, inside", KindInternal, own.pem, imposter, nil, "unknown authority"},
		{"a public CA", KindPublic, own.pem, public, nil, "unknown authority"},
		{"a public CA, and no pin", KindPublic, nil, public, nil, "unable to load root certificates"},
		{"a public CA, and no pin, inside", KindInternal, []byte{}, public, nil, "unable to load root certificates"},
		{"a public CA, and a kind that is not set", "", nil, public, nil, "unable to load root certificates"},
		{"something else as the pin", KindPublic, []byte("hello"), public, nil, "unable to load root certificates"},
		{"the cluster's, for another name", KindPublic, own.pem, own, func(x *x509.Certificate) { x.IPAddresses, x.DNSNames = nil, []string{"other.example.com"} }, "another name"},
		{"the cluster's, expired", KindPublic, own.pem, own, func(x *x509.Certificate) { x.NotAfter = x.NotBefore.Add(1) }, "not valid at this time"},
		{"DNS with a public CA", KindDNS, nil, public, nil, ""},
		{"DNS with the cluster's CA", KindDNS, nil, own, nil, "unknown authority"},
		{"gateway with a public CA", KindGateway, nil, public, nil, ""},
		{"gateway with the cluster's CA", KindGateway, nil, own, nil, "unknown authority"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			host := internet.address()
			server := serveWith(t, c.signer.issue(c.change, host), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				object(w, r)
			}))
			internet.lead(host, server.Listener.Addr().String())
			cluster := &Cluster{Name: Name{"my-project", "europe-west6-a", "model"}, Kind: c.kind, Host: "https://" + host, CA: c.ca}
			client, err := cluster.Connect(token("right"))
			if err == nil {
				_, err = get(t, client)
				err = cluster.Explain(err)
			}
			switch {
			case c.want == "" && (err != nil || asked.Load() != 1):
				t.Errorf("%v, %d requests", err, asked.Load())
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || asked.Load() != 0):
				t.Errorf("%v, %d requests, want %q and none", err, asked.Load(), c.want)
			}
		})
	}
}

// TestRedirects is about where a token may not go.
func TestRedirects(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	count := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere.Add(1)
		object(w, r)
	})
	otherHost := internet.address()
	at(t, otherHost, public, count)
	plain := httptest.NewServer(count)
	t.Cleanup(plain.Close)
	for _, kind := range []string{KindDNS, KindPublic} {
		for _, code := range []int{301, 302, 303, 307, 308} {
			for _, target := range []string{"https://" + otherHost + "/api", plain.URL + "/api", "/elsewhere", "//" + otherHost + "/api"} {
				host := internet.address()
				var here atomic.Int32
				at(t, host, public, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					here.Add(1)
					http.Redirect(w, r, target, code)
				}))
				c := &Cluster{Kind: kind, Host: "https://" + host}
				if kind == KindPublic {
					c.CA = public.pem
				}
				client := connect(t, c, token("right"))
				_, err := get(t, client)
				var no *UnreachableError
				if !errors.As(c.Explain(err), &no) || !strings.Contains(no.Cause, strconv.Itoa(code)) {
					t.Errorf("%s, %d to %s: GET: %v", kind, code, target, err)
				}
				if err := patch(t, client, []byte("{}")); !errors.As(c.Explain(err), &no) {
					t.Errorf("%s, %d to %s: PATCH: %v", kind, code, target, err)
				}
				// What a workload answers through the API server is passed on, not followed.
				resp, err := client.HTTP.Get(c.Host + "/api/v1/namespaces/models/services/m/proxy/readyz")
				if err != nil || resp.StatusCode != code {
					t.Errorf("%s, %d to %s: proxy: %v, %v", kind, code, target, resp, err)
				}
				// A client that does follow is stopped too.
				transport, err := rest.TransportFor(c.Config(token("right")))
				if err != nil {
					t.Fatal(err)
				}
				for _, method := range []string{http.MethodGet, http.MethodPatch} {
					req, _ := http.NewRequest(method, c.Host+"/x/proxy/y", strings.NewReader("{}"))
					if _, err := (&http.Client{Transport: transport}).Do(req); err == nil || !strings.Contains(err.Error(), "is not followed with a token in hand") {
						t.Errorf("%s, %d to %s: %s by another client: %v", kind, code, target, method, err)
					}
				}
				if got := here.Load(); got != 5 {
					t.Errorf("%s, %d to %s: the cluster had %d requests, want 5", kind, code, target, got)
				}
			}
		}
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}

// TestOtherHosts asks a client for what is not the cluster.
func TestOtherHosts(t *testing.T) {
	t.Parallel()
	host, other := internet.address(), internet.address()
	var elsewhere atomic.Int32
	at(t, host, public, http.HandlerFunc(object))
	at(t, other, public, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	client := connect(t, &Cluster{Kind: KindDNS, Host: "https://" + host}, token("right"))
	for _, address := range []string{"https://" + other, "http://" + host, "https://" + host + ":8443", "https://" + host + ".example.com", "https://" + host + "@" + other} {
		if resp, err := client.HTTP.Get(address); err == nil {
			t.Errorf("%s: status %d", address, resp.StatusCode)
		}
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
	// Nothing is sent at all where the cluster's own host is not one over TLS.
	for _, bad := range []string{"http://" + other, "", "https://"} {
		client, err := (&Cluster{Kind: KindDNS, Host: bad}).Connect(token("right"))
		if err != nil {
			continue
		}
		if resp, err := client.HTTP.Get("https://" + other); err == nil {
			t.Errorf("Host %q: status %d", bad, resp.StatusCode)
		}
	}
}

// renewable gives out another token once the one before was forgotten.
type renewable struct {
	mu      sync.Mutex
	n       int
	forgets int
	stuck   bool // gives out the same one again
}

func (r *renewable) Token() (*oauth2.Token, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &oauth2.Token{AccessToken: fmt.Sprintf("token-%d", r.n)}, nil
}

func (r *renewable) Forget(value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgets++
	if value == fmt.Sprintf("token-%d", r.n) && !r.stuck {
		r.n++
	}
}

// received is a request as the server got it.
type received struct{ method, token, proto, body string }

// record keeps what it gets, and refuses tokens that accepts does not accept.
func record(into *[]received, mu *sync.Mutex, accepts func(token string) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(err)
		}
		value := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		mu.Lock()
		*into = append(*into, received{r.Method, value, r.Proto, string(body)})
		mu.Unlock()
		if !accepts(value) {
			kubernetesStatus(401, "Unauthorized", "Unauthorized")(w, r)
			return
		}
		object(w, r)
	}
}

// TestRenewedToken lets a token end between two requests.
func TestRenewedToken(t *testing.T) {
	t.Parallel()
	var (
		mu  sync.Mutex
		all []received
	)
	host := internet.address()
	at(t, host, public, record(&all, &mu, func(token string) bool { return token == "token-1" }))
	client := connect(t, &Cluster{Kind: KindDNS, Host: "https://" + host}, &renewable{})
	body := bytes.Repeat([]byte("0123456789abcdef"), 20_000) // more than the windows of HTTP/2 hold
	if err := patch(t, client, body); err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || all[0].token != "token-0" || all[1].token != "token-1" {
		t.Fatalf("%d requests", len(all))
	}
	for i, r := range all {
		if r.body != string(body) || r.proto != "HTTP/2.0" || r.method != http.MethodPatch {
			t.Errorf("attempt %d: %s, %s, %d bytes, want PATCH, HTTP/2.0, %d", i+1, r.method, r.proto, len(r.body), len(body))
		}
	}
	if _, err := get(t, client); err != nil || len(all) != 3 {
		t.Errorf("GET: %v, %d requests", err, len(all))
	}
}

// TestRefusedToken ends after one more try, and without one if there is no other token.
func TestRefusedToken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		tokens oauth2.TokenSource
		want   int
	}{
		{"each token is refused", &renewable{}, 2},
		{"there is no other token", &renewable{stuck: true}, 1},
		{"a source that cannot forget", token("token-0"), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var (
				mu  sync.Mutex
				all []received
			)
			host := internet.address()
			at(t, host, public, record(&all, &mu, func(string) bool { return false }))
			cluster := &Cluster{Kind: KindDNS, Host: "https://" + host, principal: "deployer@my-project.iam.gserviceaccount.com"}
			err := patch(t, connect(t, cluster, c.tokens), []byte("{}"))
			var no *UnauthorizedError
			if !errors.As(cluster.Explain(err), &no) || len(all) != c.want {
				t.Errorf("%v, %d requests, want %d", err, len(all), c.want)
			}
		})
	}
}

// TestBodyOfOnce does not send half a request again.
func TestBodyOfOnce(t *testing.T) {
	t.Parallel()
	var (
		mu  sync.Mutex
		all []received
	)
	host := internet.address()
	at(t, host, public, record(&all, &mu, func(string) bool { return false }))
	client := connect(t, &Cluster{Kind: KindDNS, Host: "https://" + host}, &renewable{})
	req, _ := http.NewRequest(http.MethodPatch, "https://"+host, io.NopCloser(strings.NewReader("{}")))
	if resp, err := client.HTTP.Do(req); err != nil || resp.StatusCode != http.StatusUnauthorized || len(all) != 1 {
		t.Errorf("%v, %v, %d requests", resp, err, len(all))
	}
}

// TestManyRenew has one token end for many requests at a time.
func TestManyRenew(t *testing.T) {
	t.Parallel()
	var (
		mu   sync.Mutex
		all  []received
		wait sync.WaitGroup
	)
	host := internet.address()
	at(t, host, public, record(&all, &mu, func(token string) bool { return token == "token-1" }))
	source := &renewable{}
	client := connect(t, &Cluster{Kind: KindDNS, Host: "https://" + host}, source)
	for range 32 {
		wait.Go(func() {
			if err := patch(t, client, []byte(`{"data":{}}`)); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if source.n != 1 {
		t.Errorf("%d tokens were given out after the first", source.n)
	}
	for _, r := range all {
		if r.body != `{"data":{}}` {
			t.Errorf("body %q", r.body)
		}
	}
}
