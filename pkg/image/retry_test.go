package image

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/org/deploy-model-action/pkg/retry"
)

// flaky fails the first requests of each path, and then lets them through.
type flaky struct {
	behind http.Handler
	times  int32
	fail   func(http.ResponseWriter, *http.Request)
	seen   atomic.Int32 // requests that failed
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.seen.Load() < f.times && strings.Contains(r.URL.Path, "/manifests/") {
		f.seen.Add(1)
		f.fail(w, r)
		return
	}
	f.behind.ServeHTTP(w, r)
}

func status(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func reset(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.Close()
	}
}

func TestResolveRetries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		times int32
		fail  func(http.ResponseWriter, *http.Request)
		tries int32 // that failed
		works bool
	}{
		{"429", 3, status(429), 3, true},
		{"500", 3, status(500), 3, true},
		{"503", 3, status(503), 3, true},
		{"reset", 3, reset, 3, true},
		{"half an answer", 2, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			reset(w, r)
		}, 2, true},
		{"401", 9, status(401), 2, false}, // HEAD, then GET for its words
		{"403", 9, status(403), 2, false},
		{"404", 9, status(404), 2, false},
		{"400", 9, status(400), 2, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			shelf := store()
			f := &flaky{behind: shelf, times: c.times, fail: c.fail}
			w.host("ghcr.io", f)
			put(t, shelf, "ghcr.io/acme/x:"+testSHA, small(t, "linux/amd64"))
			_, err := Resolve(t.Context(), only(t, "ghcr.io/acme/x", "ghcr.io/acme", testSHA), Options{Transport: w.client})
			if (err == nil) != c.works {
				t.Errorf("error %v", err)
			}
			if n := f.seen.Load(); n != c.tries {
				t.Errorf("%d requests failed, want %d", n, c.tries)
			}
		})
	}
}

func TestResolveRetryAfter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	shelf := store()
	w.host("ghcr.io", &flaky{behind: shelf, times: 1, fail: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "2")
		w.WriteHeader(http.StatusTooManyRequests)
	}})
	put(t, shelf, "ghcr.io/acme/x:"+testSHA, small(t, "linux/amd64"))
	started := time.Now()
	if _, err := Resolve(t.Context(), only(t, "ghcr.io/acme/x", "ghcr.io/acme", testSHA), Options{Transport: w.client}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(started); took < 2*time.Second {
		t.Errorf("asked again after %s, the registry wanted 2 s", took)
	}
	// A wait that the budget does not hold is not begun.
	w.host("ghcr.io", &flaky{behind: shelf, times: 1, fail: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	}})
	started = time.Now()
	if _, err := Resolve(t.Context(), only(t, "ghcr.io/acme/x", "ghcr.io/acme", testSHA), Options{Transport: w.client}); err == nil || time.Since(started) > 20*time.Second {
		t.Errorf("error %v after %s", err, time.Since(started))
	}
}

func TestResolveEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		fail func(http.ResponseWriter, *http.Request)
	}{
		{"always 503", status(503)},
		{"always reset", reset},
		{"silent", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.host("ghcr.io", &flaky{behind: store(), times: 1 << 20, fail: c.fail})
			matches := only(t, "ghcr.io/acme/x", "ghcr.io/acme", testSHA)
			started := time.Now()
			_, err := Resolve(t.Context(), matches, Options{Transport: w.client, RetryFor: 2 * time.Second, Silence: time.Second})
			if took := time.Since(started); err == nil || took > 20*time.Second {
				t.Errorf("error %v after %s", err, took)
			}
			t.Log(err)

			// A cancelled run waits for nothing.
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(300*time.Millisecond, cancel)
			started = time.Now()
			_, err = Resolve(ctx, matches, Options{Transport: w.client})
			if took := time.Since(started); !errors.Is(err, context.Canceled) || took > 10*time.Second {
				t.Errorf("cancelled: error %v after %s", err, took)
			}
		})
	}
}

// outage is a registry that is away for a while, from the first request of a
// method on, without a network: for a bubble of time.
type outage struct {
	behind http.Handler
	method string // "" for all
	lasts  time.Duration
	during func(*http.Request) (*http.Response, error)

	once  sync.Once
	began time.Time
}

func (o *outage) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	if o.method == "" || o.method == r.Method {
		o.once.Do(func() { o.began = time.Now() })
		if time.Since(o.began) < o.lasts {
			return o.during(r)
		}
	}
	r = r.Clone(r.Context())
	if r.Body == nil {
		r.Body = http.NoBody
	}
	recorder := httptest.NewRecorder()
	o.behind.ServeHTTP(recorder, r)
	resp := recorder.Result()
	resp.Request = r
	return resp, nil
}

// outages are those that a minute of is survived.
var outages = map[string]func(*http.Request) (*http.Response, error){
	"503": func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 503, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("later")), Request: r}, nil
	},
	"resets":  func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNRESET },
	"refused": func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNREFUSED },
	"resets in the middle": func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			_, _ = io.CopyN(io.Discard, r.Body, 1000)
			return nil, syscall.ECONNRESET
		}
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF)), Request: r}, nil
	},
	"silence": func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() },
}

func TestResolveOutage(t *testing.T) {
	t.Parallel()
	shelf := store()
	put(t, shelf, "ghcr.io/acme/x:"+testSHA, small(t, "linux/amd64"))
	matches := only(t, "ghcr.io/acme/x", "ghcr.io/acme", testSHA)
	for name, during := range outages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				started := time.Now()
				_, err := Resolve(t.Context(), matches, Options{Transport: &outage{behind: shelf, lasts: time.Minute, during: during}})
				if took := time.Since(started); err != nil || took > 85*time.Second {
					t.Errorf("a minute: after %v: %v", took, err)
				}
			})
			synctest.Test(t, func(t *testing.T) {
				started := time.Now()
				_, err := Resolve(t.Context(), matches, Options{Transport: &outage{behind: shelf, lasts: time.Hour, during: during}})
				if took := time.Since(started); err == nil || !strings.Contains(err.Error(), ", after ") || took > retry.DefaultBudget+2*defaultSilence {
					t.Errorf("without end: after %v: %v", took, err)
				}
			})
		})
	}
	t.Run("no such name", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			started := time.Now()
			_, err := Resolve(t.Context(), matches, Options{Transport: &outage{lasts: time.Hour, during: func(*http.Request) (*http.Response, error) {
				return nil, &net.DNSError{Err: "no such host", Name: "ghcr.io", IsNotFound: true}
			}}})
			if took := time.Since(started); err == nil || took != 0 {
				t.Errorf("after %v: %v", took, err)
			}
		})
	})
}

func TestPublishOutage(t *testing.T) {
	t.Parallel()
	const place = "registry.example.com/models"
	matches := only(t, place+"/x", place, testSHA)
	for name, during := range outages {
		for _, method := range []string{"", http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodPut} {
			t.Run(name+" "+method, func(t *testing.T) {
				t.Parallel()
				root := workspace(t, map[string][]byte{"image.tar": savedNew(t, small(t, "linux/amd64", 50_000, 70_000), false, place+"/x:latest").tar(t)})
				synctest.Test(t, func(t *testing.T) {
					started := time.Now()
					got, err := Publish(t.Context(), matches, PublishOptions{
						Options: Options{RegistryHost: place, Transport: &outage{behind: store(), method: method, lasts: time.Minute, during: during}},
						From:    "image.tar", Workspace: root,
					})
					if err != nil || got[0].Uploaded != 2 {
						t.Errorf("after %v: %+v, %v", time.Since(started), got, err)
					}
				})
			})
		}
	}
}
