package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/api/googleapi"
)

// TestAttempts counts the requests that reach Google.
func TestAttempts(t *testing.T) {
	t.Parallel()
	good := described("RUNNING", dnsOpen, "")
	later := func(code int, after string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", after)
			refusal(code, "UNAVAILABLE", "later")(w, r)
		}
	}
	reset := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for _, c := range []struct {
		name    string
		answers []http.HandlerFunc // the last one again and again
		want    int32
		ok      bool
		least   time.Duration
	}{
		{"well", []http.HandlerFunc{good}, 1, true, 0},
		{"out of order for a moment", []http.HandlerFunc{later(503, ""), later(500, ""), good}, 3, true, 0},
		{"cut off", []http.HandlerFunc{reset, good}, 2, true, 0},
		{"too many", []http.HandlerFunc{later(429, ""), good}, 2, true, 0},
		{"too many, with a time", []http.HandlerFunc{later(429, "1"), good}, 2, true, time.Second},
		{"too many, with a time beyond the budget", []http.HandlerFunc{later(429, "3600")}, 1, false, 0},
		{"forbidden", []http.HandlerFunc{refusal(403, "PERMISSION_DENIED", "no")}, 1, false, 0},
		{"invalid", []http.HandlerFunc{refusal(400, "INVALID_ARGUMENT", "no")}, 1, false, 0},
		{"token refused, and there is no other", []http.HandlerFunc{refusal(401, "UNAUTHENTICATED", "no")}, 1, false, 0},
		{"not JSON", []http.HandlerFunc{answer(200, "<html>")}, 1, false, 0},
		{"another JSON", []http.HandlerFunc{answer(200, `{"name":7}`)}, 1, false, 0},
		{"redirect", []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) }}, 1, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := newAPIs(t)
			var n atomic.Int32
			a.handlers[hostContainer] = func(w http.ResponseWriter, r *http.Request) {
				c.answers[min(int(n.Add(1)), len(c.answers))-1](w, r)
			}
			start := time.Now()
			_, err := Find(t.Context(), a.options(""))
			if n.Load() != c.want || (err == nil) != c.ok || time.Since(start) < c.least {
				t.Errorf("%d attempts in %v, %v; want %d", n.Load(), time.Since(start), err, c.want)
			}
		})
	}
}

// TestTokenOfTheGKEAPI has one end before the first request.
func TestTokenOfTheGKEAPI(t *testing.T) {
	t.Parallel()
	a := newAPIs(t)
	var n atomic.Int32
	a.handlers[hostContainer] = func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		if r.Header.Get("Authorization") != "Bearer token-1" {
			refusal(401, "UNAUTHENTICATED", "no")(w, r)
			return
		}
		described("RUNNING", dnsOpen, "")(w, r)
	}
	o := a.options("")
	o.Tokens = &renewable{}
	if _, err := Find(t.Context(), o); err != nil || n.Load() != 2 {
		t.Errorf("%v, %d requests", err, n.Load())
	}
}

// TestPassing has the errors that stay, and take no request to be seen.
func TestPassing(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		&tokenError{errors.New("no token")}, &strangerError{"http://elsewhere"}, &tls.CertificateVerificationError{Err: errors.New("x509")},
	} {
		if _, transient := passing(&url.Error{Op: "Get", URL: "https://" + hostContainer, Err: err}); transient {
			t.Errorf("%T: is tried again", err)
		}
	}
	if _, transient := passing(&url.Error{Op: "Get", URL: "https://" + hostContainer, Err: syscall.ECONNRESET}); !transient {
		t.Error("a lost connection is not tried again")
	}
}

// TestBudget has a server that never answers, in a bubble of time.
func TestBudget(t *testing.T) {
	t.Parallel()
	lost := &url.Error{Op: "Get", URL: "https://" + hostContainer, Err: syscall.ECONNREFUSED}
	for _, c := range []struct {
		name        string
		try         func(context.Context) error
		least, most time.Duration
		attempts    int // at least
	}{
		{"refused at once", func(context.Context) error { return lost }, 20 * time.Second, retryBudget, 6},
		{"silent", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, attemptLimit, retryBudget, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start, n := time.Now(), 0
				_, err := retry(t.Context(), func(ctx context.Context) (int, error) { n++; return 0, c.try(ctx) })
				if took := time.Since(start); err == nil || took < c.least || took > c.most || n < c.attempts {
					t.Errorf("%d attempts in %v: %v", n, took, err)
				}
			})
		})
	}
}

// TestRetryStops ends with the caller.
func TestRetryStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, stop)
		start := time.Now()
		_, err := retry(ctx, func(context.Context) (int, error) { return 0, syscall.ECONNREFUSED })
		if took := time.Since(start); err == nil || took > time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// TestUnanswered shows each sentence about Google's APIs that do not answer.
func TestUnanswered(t *testing.T) {
	t.Parallel()
	n := need{act: `read cluster "model"`, service: hostContainer, project: "my-project", permission: "container.clusters.get", role: roleDeveloper}
	var text strings.Builder
	for _, c := range []struct {
		name string
		err  error
	}{
		{"connection refused", &url.Error{Op: "Get", URL: "https://" + hostContainer + "/v1/x", Err: &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}}},
		{"no such name", &url.Error{Op: "Get", URL: "https://" + hostContainer + "/v1/x", Err: &net.DNSError{Err: "no such host", Name: hostContainer, IsNotFound: true}}},
		{"silent", &url.Error{Op: "Get", URL: "https://" + hostContainer + "/v1/x", Err: context.DeadlineExceeded}},
		{"certificate", &url.Error{Op: "Get", URL: "https://" + hostContainer + "/v1/x", Err: &tls.CertificateVerificationError{Err: errors.New("x509: certificate signed by unknown authority")}}},
		{"stopped", &url.Error{Op: "Get", URL: "https://" + hostContainer + "/v1/x", Err: context.Canceled}},
		{"broken off", errors.New("unexpected EOF")},
		{"refused without words", &googleapi.Error{Code: 400}},
	} {
		text.WriteString(c.name + ":\n" + indent(n.refused(c.err).Error()))
	}
	golden(t, "unanswered.golden", text.String())
}
