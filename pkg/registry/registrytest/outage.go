package registrytest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing/iotest"
	"time"
)

// Outage is a registry that is away for a while, from the first request of a
// method on, without a network: for a bubble of time.
type Outage struct {
	Behind http.Handler
	Method string // "" for all
	Lasts  time.Duration
	During func(*http.Request) (*http.Response, error)

	once  sync.Once
	began time.Time
}

// RoundTrip answers, or does not.
func (o *Outage) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	if o.Method == "" || o.Method == r.Method {
		o.once.Do(func() { o.began = time.Now() })
		if time.Since(o.began) < o.Lasts {
			return o.During(r)
		}
	}
	r = r.Clone(r.Context())
	if r.Body == nil {
		r.Body = http.NoBody
	}
	recorder := httptest.NewRecorder()
	o.Behind.ServeHTTP(recorder, r)
	resp := recorder.Result()
	resp.Request = r
	return resp, nil
}

// Outages are ways to be away, of which a minute is survived.
func Outages() map[string]func(*http.Request) (*http.Response, error) {
	return map[string]func(*http.Request) (*http.Response, error){
		"503": func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("later")), Request: r}, nil
		},
		"resets":  func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNRESET },
		"refused": func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNREFUSED },
		"resets in the middle": func(r *http.Request) (*http.Response, error) {
			if r.Body != nil {
				_, _ = io.CopyN(io.Discard, r.Body, 1000)
				return nil, syscall.ECONNRESET
			}
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF)), Request: r}, nil
		},
		"silence": func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() },
	}
}

// Status answers with nothing but a status.
func Status(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// Reset closes the connection without an answer.
func Reset(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		conn.Close()
	}
}
