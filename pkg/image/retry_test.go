package image

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
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
			_, err := Resolve(t.Context(), matches, Options{Transport: w.client, Patience: 2 * time.Second})
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
