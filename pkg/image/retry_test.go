package image

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/org/deploy-model-action/pkg/registry"
	"github.com/org/deploy-model-action/pkg/registry/registrytest"
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

func TestResolveRetries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		times int32
		fail  func(http.ResponseWriter, *http.Request)
		tries int32 // that failed
		works bool
	}{
		{"429", 3, registrytest.Status(429), 3, true},
		{"500", 3, registrytest.Status(500), 3, true},
		{"503", 3, registrytest.Status(503), 3, true},
		{"reset", 3, registrytest.Reset, 3, true},
		{"half an answer", 2, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			registrytest.Reset(w, r)
		}, 2, true},
		{"401", 9, registrytest.Status(401), 1, false},
		{"403", 9, registrytest.Status(403), 1, false},
		{"404", 9, registrytest.Status(404), 1, false},
		{"400", 9, registrytest.Status(400), 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := registrytest.New(t)
			shelf := registrytest.Store()
			f := &flaky{behind: shelf, times: c.times, fail: c.fail}
			w.Host("ghcr.io", f)
			registrytest.Put(t, shelf, "ghcr.io/acme/x:"+testSHA, registrytest.Small(t, "linux/amd64"))
			_, err := resolve(t.Context(), only(t, "ghcr.io/acme/x", "ghcr.io/acme", testSHA), registry.Options{Transport: w.Client})
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
	w := registrytest.New(t)
	shelf := registrytest.Store()
	w.Host("ghcr.io", &flaky{behind: shelf, times: 1, fail: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "2")
		w.WriteHeader(http.StatusTooManyRequests)
	}})
	registrytest.Put(t, shelf, "ghcr.io/acme/x:"+testSHA, registrytest.Small(t, "linux/amd64"))
	started := time.Now()
	if _, err := resolve(t.Context(), only(t, "ghcr.io/acme/x", "ghcr.io/acme", testSHA), registry.Options{Transport: w.Client}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(started); took < 2*time.Second {
		t.Errorf("asked again after %s, the registry wanted 2 s", took)
	}
	// A wait that the budget does not hold is not begun.
	w.Host("ghcr.io", &flaky{behind: shelf, times: 1, fail: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	}})
	started = time.Now()
	if _, err := resolve(t.Context(), only(t, "ghcr.io/acme/x", "ghcr.io/acme", testSHA), registry.Options{Transport: w.Client}); err == nil || time.Since(started) > 20*time.Second {
		t.Errorf("error %v after %s", err, time.Since(started))
	}
}

func TestResolveEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		fail func(http.ResponseWriter, *http.Request)
	}{
		{"always 503", registrytest.Status(503)},
		{"always reset", registrytest.Reset},
		{"silent", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := registrytest.New(t)
			w.Host("ghcr.io", &flaky{behind: registrytest.Store(), times: 1 << 20, fail: c.fail})
			matches := only(t, "ghcr.io/acme/x", "ghcr.io/acme", testSHA)
			started := time.Now()
			_, err := resolve(t.Context(), matches, registry.Options{Transport: w.Client, Limits: registry.Limits{RetryFor: 2 * time.Second, Silence: time.Second}})
			if took := time.Since(started); err == nil || took > 20*time.Second {
				t.Errorf("error %v after %s", err, took)
			}
			t.Log(err)

			// A cancelled run waits for nothing.
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(300*time.Millisecond, cancel)
			started = time.Now()
			_, err = resolve(ctx, matches, registry.Options{Transport: w.Client})
			if took := time.Since(started); !errors.Is(err, context.Canceled) || took > 10*time.Second {
				t.Errorf("cancelled: error %v after %s", err, took)
			}
		})
	}
}

func TestResolveOutage(t *testing.T) {
	t.Parallel()
	shelf := registrytest.Store()
	registrytest.Put(t, shelf, "ghcr.io/acme/x:"+testSHA, registrytest.Small(t, "linux/amd64"))
	matches := only(t, "ghcr.io/acme/x", "ghcr.io/acme", testSHA)
	for name, during := range registrytest.Outages() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				started := time.Now()
				_, err := resolve(t.Context(), matches, registry.Options{Transport: &registrytest.Outage{Behind: shelf, Lasts: time.Minute, During: during}})
				if took := time.Since(started); err != nil || took > 85*time.Second {
					t.Errorf("a minute: after %v: %v", took, err)
				}
			})
			synctest.Test(t, func(t *testing.T) {
				started := time.Now()
				_, err := resolve(t.Context(), matches, registry.Options{Transport: &registrytest.Outage{Behind: shelf, Lasts: time.Hour, During: during}})
				if took := time.Since(started); err == nil || !strings.Contains(err.Error(), ", after ") || took > retry.DefaultBudget+30*time.Second {
					t.Errorf("without end: after %v: %v", took, err)
				}
			})
		})
	}
	t.Run("no such name", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			started := time.Now()
			_, err := resolve(t.Context(), matches, registry.Options{Transport: &registrytest.Outage{Lasts: time.Hour, During: func(*http.Request) (*http.Response, error) {
				return nil, &net.DNSError{Err: "no such host", Name: "ghcr.io", IsNotFound: true}
			}}})
			if took := time.Since(started); err == nil || took != 0 {
				t.Errorf("after %v: %v", took, err)
			}
		})
	})
}
