package credentials

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"
)

func metadataServerFor(t *testing.T, status int, flavor string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Metadata-Flavor") != "Google" {
			http.Error(w, "missing header", http.StatusForbidden)
			return
		}
		w.Header().Set("Metadata-Flavor", flavor)
		w.WriteHeader(status)
		switch r.URL.Path {
		case "/computeMetadata/v1/instance/service-accounts/default/email":
			fmt.Fprint(w, "runner@my-project.iam.gserviceaccount.com")
		case "/computeMetadata/v1/project/project-id":
			fmt.Fprint(w, "my-project")
		case "/computeMetadata/v1/instance/service-accounts/default/token":
			fmt.Fprint(w, `{"access_token":"ya29.c.machine","expires_in":1799,"token_type":"Bearer"}`)
		}
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	o := jobOptions(t)
	o.Transport = http.DefaultTransport
	o.Getenv = environment("GCE_METADATA_HOST", metadataServerFor(t, http.StatusOK, "Google"))
	found, err := Find(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if found.Principal != "runner@my-project.iam.gserviceaccount.com" || found.ProjectID != "my-project" {
		t.Errorf("found = %+v", found)
	}
	token, err := found.Tokens.Token()
	if err != nil || token.AccessToken != "ya29.c.machine" {
		t.Errorf("Token = %v, %v", token, err)
	}
}

// TestMetadataElsewhere finds nothing, and says so soon, where the server is not Google's.
func TestMetadataElsewhere(t *testing.T) {
	t.Parallel()
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(20 * time.Second):
		}
	}))
	t.Cleanup(hanging.Close)
	for name, host := range map[string]string{
		"another server": metadataServerFor(t, http.StatusOK, "Other"),
		"no account":     metadataServerFor(t, http.StatusNotFound, "Google"),
		"nobody":         "127.0.0.1:1",
		"hanging":        strings.TrimPrefix(hanging.URL, "http://"),
		"not a host":     "169.254.169.254/x?y",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := jobOptions(t)
			o.Transport = http.DefaultTransport
			o.Getenv = environment("GCE_METADATA_HOST", host)
			if _, err := Find(t.Context(), o); err == nil || !strings.Contains(err.Error(), "none were found") {
				t.Errorf("error = %v", err)
			}
		})
	}
}

// TestMetadataOutOfOrder takes a server that answers, only not well, for one:
// what it says after the outage counts, and if there is no end, that is said.
func TestMetadataOutOfOrder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		lasts       time.Duration
		refused     time.Duration // before that, as in a pod that has just started
		find, token string        // the errors; "" for none
		least       time.Duration
	}{
		{name: "one 503", lasts: time.Nanosecond},
		{name: "a minute", lasts: time.Minute, least: 50 * time.Second},
		{name: "without end", lasts: time.Hour, token: "answered with status 503, after "},
		{name: "refused for a second", refused: time.Second},
		{name: "refused", refused: time.Hour, find: "none were found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				started := time.Now()
				o := jobOptions(t)
				o.Files = fstest.MapFS{product: {Data: []byte("Google")}}
				asked := map[string]int{}
				var mu sync.Mutex
				o.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
					mu.Lock()
					defer mu.Unlock()
					asked[r.URL.Path]++
					if time.Since(started) < c.refused {
						return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
					}
					status, body := http.StatusOK, map[string]string{"email": testEmail, "project-id": "my-project", "token": `{"access_token":"t","expires_in":1799}`}[path.Base(r.URL.Path)]
					if time.Since(started) < c.lasts || c.lasts > 0 && asked[r.URL.Path] == 1 && path.Base(r.URL.Path) != "token" {
						status, body = http.StatusServiceUnavailable, ""
					}
					return &http.Response{StatusCode: status, Header: http.Header{"Metadata-Flavor": {"Google"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
				})
				check := func(what string, err error, want string) {
					t.Helper()
					if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
						t.Errorf("%s: %v, want %q", what, err, want)
					}
				}
				found, err := Find(t.Context(), o)
				if check("Find", err, c.find); err != nil {
					return
				}
				_, err = found.Tokens.Token()
				check("Token", err, c.token)
				if c.token == "" && (found.Principal != testEmail || found.ProjectID != "my-project") {
					t.Errorf("found %+v", found)
				}
				if took := time.Since(started); took < c.least || took > 3*time.Minute {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// TestMachine asks a metadata server only on a machine of Google's.
func TestMachine(t *testing.T) {
	t.Parallel()
	for name, asked := range map[string]bool{"Google Compute Engine\n": true, "Virtual Machine\n": false} {
		o := jobOptions(t)
		o.Files = fstest.MapFS{product: {Data: []byte(name)}}
		var hosts []string
		o.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			hosts = append(hosts, r.URL.Host)
			return nil, fmt.Errorf("no route to host")
		})
		if _, err := Find(t.Context(), o); err == nil {
			t.Error("something was found")
		}
		if got := len(hosts) > 0; got != asked {
			t.Errorf("%q: asked %q", name, hosts)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
