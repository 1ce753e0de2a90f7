package proxy_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/org/deploy-model-action/e2e/controlplane"
	"github.com/org/deploy-model-action/e2e/proxy"
)

const host = "container.googleapis.com"

// world is a proxy with one host, and one for plain HTTP.
type world struct {
	*proxy.Proxy
	t        *testing.T
	requests string // the file
	roots    *x509.CertPool
	asked    atomic.Int64 // requests that reached the host
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, requests: filepath.Join(t.TempDir(), "requests.jsonl"), roots: x509.NewCertPool()}
	var err error
	if w.Proxy, err = proxy.Start("127.0.0.1:0", w.requests); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	ca, err := controlplane.NewCA("test")
	if err != nil {
		t.Fatal(err)
	}
	w.roots.AppendCertsFromPEM(ca.PEM)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(rw http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		_, _ = io.WriteString(rw, r.Proto+" "+r.Host+" "+r.URL.Path)
	})
	mux.HandleFunc("/watch", func(rw http.ResponseWriter, r *http.Request) {
		for {
			if _, err := io.WriteString(rw, "event\n"); err != nil {
				return
			}
			_ = http.NewResponseController(rw).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	if err := w.Handle(host, ca, mux); err != nil {
		t.Fatal(err)
	}
	w.HandlePlain(func(name string) http.Handler {
		if name != "203.0.113.10" {
			return nil
		}
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(rw, "served "+r.URL.Path+" "+r.Header.Get("Proxy-Authorization"))
		})
	})
	return w
}

// client is one that calls itself by the name and speaks HTTP/2 or not.
func (w *world) client(name string, http2 bool) *http.Client {
	w.t.Helper()
	through, err := url.Parse(w.URL)
	if err != nil {
		w.t.Fatal(err)
	}
	if name != "" {
		through.User = url.User(name)
	}
	transport := &http.Transport{
		Proxy: http.ProxyURL(through), TLSClientConfig: &tls.Config{RootCAs: w.roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: http2,
	}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func (w *world) entries() []proxy.Entry {
	w.t.Helper()
	f, err := os.Open(w.requests)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	var all []proxy.Entry
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var e proxy.Entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			w.t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func get(c *http.Client, address string) (int, string, error) {
	resp, err := c.Get(address)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func TestHosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, test := range []struct {
		http2         bool
		address, want string
	}{
		{true, "https://" + host + "/v1?a=b", "HTTP/2.0 " + host + " /v1"},
		{false, "https://" + host + "/v1?a=b", "HTTP/1.1 " + host + " /v1"},
		{false, "http://203.0.113.10/predict", "served /predict "},
	} {
		if status, body, err := get(w.client("me", test.http2), test.address); err != nil || status != http.StatusOK || body != test.want {
			t.Errorf("%s: %d %q %v, want %q", test.address, status, body, err, test.want)
		}
	}
	// What is not there is refused, whatever way it is asked for.
	c := w.client("me", true)
	for _, address := range []string{"https://example.com/", "https://" + host + ":8443/", "http://203.0.113.11/"} {
		if status, body, err := get(c, address); err == nil && (status != http.StatusForbidden || !strings.Contains(body, "the local cloud has no host")) {
			t.Errorf("%s: %d %q", address, status, body)
		}
	}
	want := []proxy.Entry{
		{Client: "me", Host: host, Method: "GET", Path: "/v1?a=b", Status: 200},
		{Client: "me", Host: host, Method: "GET", Path: "/v1?a=b", Status: 200},
		{Client: "me", Host: "203.0.113.10", Method: "GET", Path: "/predict", Status: 200},
		{Client: "me", Host: "example.com:443", Method: "CONNECT", Status: 403},
		{Client: "me", Host: host + ":8443", Method: "CONNECT", Status: 403},
		{Client: "me", Host: "203.0.113.11", Method: "GET", Path: "/", Status: 403},
	}
	if diff := cmp.Diff(want, w.entries(), cmpopts.IgnoreFields(proxy.Entry{}, "Time", "DurationMS")); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestRecordsHoldNoToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+host+"/v1", strings.NewReader("assertion=secret-3"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer secret-1")
	r.Header.Set("Cookie", "secret-2")
	resp, err := w.client("me", true).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	all := w.entries()
	if len(all) != 1 || !all[0].Authorization || all[0].Method != http.MethodPost {
		t.Errorf("requests: %+v", all)
	}
	if content, err := os.ReadFile(w.requests); err != nil || strings.Contains(string(content), "secret-") {
		t.Errorf("%v: %s", err, content)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		fault      proxy.Fault
		wantStatus int
		wantReset  bool
		wantAsked  int64 // requests that reach the host while the fault is in force
		least      time.Duration
	}{
		{"nothing that matches", proxy.Fault{Status: 500, Path: "/other", Times: 1}, 200, false, 1, 0},
		{"another client's", proxy.Fault{Status: 500, Client: "you", Times: 1}, 200, false, 1, 0},
		{"another host's", proxy.Fault{Status: 500, Host: "googleapis.com", Times: 1}, 200, false, 1, 0},
		{"another method's", proxy.Fault{Status: 500, Method: "PATCH", Times: 1}, 200, false, 1, 0},
		{"status", proxy.Fault{Status: 503, Client: "me", Host: host, Method: "GET", Path: "/v1?q=", Times: 1}, 503, false, 0, 0},
		{"delay", proxy.Fault{DelayMS: 200, Times: 1}, 200, false, 1, 200 * time.Millisecond},
		{"delay and status", proxy.Fault{DelayMS: 200, Status: 429, Times: 1}, 429, false, 0, 200 * time.Millisecond},
		{"reset before", proxy.Fault{ResetBefore: true, Times: 1}, 0, true, 0, 0},
		{"reset after", proxy.Fault{ResetAfter: true, Times: 1}, 0, true, 1, 0},
	} {
		for _, http2 := range []bool{false, true} {
			name := test.name + " over HTTP/1.1"
			if http2 {
				name = test.name + " over HTTP/2"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				remove := w.Faults.Add(test.fault)
				c := w.client("me", http2)
				start := time.Now()
				// POST: net/http would repeat a GET by itself after a reset.
				method := http.MethodPost
				if test.fault.Method != "" {
					method = http.MethodGet
				}
				r, err := http.NewRequestWithContext(t.Context(), method, "https://"+host+"/v1?q=1", nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := c.Do(r)
				status := 0
				if err == nil {
					status = resp.StatusCode
					resp.Body.Close()
				}
				if broken := err != nil && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)); broken != test.wantReset {
					t.Errorf("error %v, want a reset: %t", err, test.wantReset)
				}
				if status != test.wantStatus || w.asked.Load() != test.wantAsked || time.Since(start) < test.least {
					t.Errorf("status %d, %d requests reached the host, after %s", status, w.asked.Load(), time.Since(start))
				}
				remove()
				if status, _, err := get(c, "https://"+host+"/v1"); err != nil || status != http.StatusOK {
					t.Errorf("afterwards: %d %v", status, err)
				}
			})
		}
	}
}

func TestFaultTimes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client("me", true)
	w.Faults.Add(proxy.Fault{Status: 429, RetryAfter: 7, Body: "slow down", Times: 2})
	var statuses []int
	for range 3 {
		resp, err := c.Get("https://" + host + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		statuses = append(statuses, resp.StatusCode)
		if resp.StatusCode == http.StatusTooManyRequests && (resp.Header.Get("Retry-After") != "7" || string(body) != "slow down") {
			t.Errorf("%v %s", resp.Header, body)
		}
	}
	if diff := cmp.Diff([]int{429, 429, 200}, statuses); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}

func TestCutWatch(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		w := newWorld(t)
		w.Faults.Add(proxy.Fault{Path: "/watch", CutAfterMS: 300})
		start := time.Now()
		status, body, err := get(w.client("me", http2), "https://"+host+"/watch")
		if took := time.Since(start); status != http.StatusOK || err == nil || strings.Count(body, "event\n") < 5 || took < 250*time.Millisecond || took > 5*time.Second {
			t.Errorf("HTTP/2 %t: %d, %d events, %v, after %s", http2, status, strings.Count(body, "event\n"), err, took)
		}
		// An answer that is complete before is not cut.
		w.Faults.Add(proxy.Fault{CutAfterMS: 2000, Path: "/v1"})
		if _, _, err := get(w.client("me", http2), "https://"+host+"/v1"); err != nil {
			t.Error(err)
		}
	}
}

func TestFaultsAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client("me", true)
	ask := func(method, body string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, w.URL+"/faults", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	expect := func(want int) {
		t.Helper()
		if status, _, err := get(c, "https://"+host+"/v1"); err != nil || status != want {
			t.Errorf("status %d %v, want %d", status, err, want)
		}
	}
	if got := ask(http.MethodPost, `{"host": "container.googleapis.com", "status": 503}`); got != http.StatusOK {
		t.Errorf("POST: %d", got)
	}
	expect(503)
	expect(503)
	if got := ask(http.MethodDelete, ""); got != http.StatusOK {
		t.Errorf("DELETE: %d", got)
	}
	expect(200)
	for method, body := range map[string]string{http.MethodPost: `{"stauts": 503}`, http.MethodPut: `{}`} {
		if got := ask(method, body); got/100 != 4 {
			t.Errorf("%s %s: %d", method, body, got)
		}
	}
}

// TestREADME holds the table of faults to what there is.
func TestREADME(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	fault := reflect.TypeFor[proxy.Fault]()
	for i := range fault.NumField() {
		name, _, _ := strings.Cut(fault.Field(i).Tag.Get("json"), ",")
		if !strings.Contains(string(content), "`"+name+"`") {
			t.Errorf("README.md does not name the field %s of a fault", name)
		}
	}
}
