package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/api/googleapi"

	"github.com/org/deploy-model-action/pkg/retry"
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
		answers []http.HandlerFunc // the last one for all that follow
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

// TestMay has the errors that stay, and take no request to be found.
func TestMay(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		&tokenError{errors.New("no token")}, &tokenError{syscall.ECONNRESET}, &foreignHostError{"http://elsewhere"}, &tls.CertificateVerificationError{Err: errors.New("x509")},
	} {
		if may(&url.Error{Op: "Get", URL: "https://" + hostContainer, Err: err}).Again {
			t.Errorf("%T: is tried again", err)
		}
	}
	if !may(&url.Error{Op: "Get", URL: "https://" + hostContainer, Err: syscall.ECONNRESET}).Again {
		t.Error("a lost connection is not tried again")
	}
}

// TestOutage has a GKE API that is away for a while, in a bubble of time.
func TestOutage(t *testing.T) {
	t.Parallel()
	answer := func(code int, body string) (*http.Response, error) {
		return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
	for _, c := range []struct {
		name   string
		lasts  time.Duration
		during func(*http.Request) (*http.Response, error)
		words  string // of the error; "": none
	}{
		{"503 for a minute", time.Minute, func(*http.Request) (*http.Response, error) {
			return answer(503, `{"error":{"code":503,"message":"Later."}}`)
		}, ""},
		{"resets for a minute, from the first try on", time.Minute, func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "read", Err: syscall.ECONNRESET}
		}, ""},
		{"refused for a minute", time.Minute, func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}, ""},
		{"silent for a minute", time.Minute, func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }, ""},
		{"503 without end", time.Hour, func(*http.Request) (*http.Response, error) {
			return answer(503, `{"error":{"code":503,"message":"Later."}}`)
		}, "Google's API is out of order, after 2"},
		{"refused without end", time.Hour, func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}, "connection refused, after 2"},
		{"no such name", time.Hour, func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: hostContainer, IsNotFound: true}}
		}, "does not exist: let"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				started := time.Now()
				o := (&apis{}).options("")
				o.Transport = transportFunc(func(r *http.Request) (*http.Response, error) {
					if time.Since(started) < c.lasts {
						return c.during(r)
					}
					recorder := httptest.NewRecorder()
					described("RUNNING", dnsOpen, "")(recorder, r)
					return recorder.Result(), nil
				})
				_, err := Find(t.Context(), o)
				switch took := time.Since(started); {
				case c.words == "" && err != nil:
					t.Errorf("lost after %v: %v", took, err)
				case c.words != "" && (err == nil || !strings.Contains(err.Error(), c.words)):
					t.Errorf("after %v: %v, want %q in it", took, err, c.words)
				case took > retry.DefaultBudget+attemptLimit:
					t.Errorf("took %v", took)
				case c.name == "no such name" && took != 0:
					t.Errorf("a name that does not exist was looked up for %v", took)
				}
			})
		})
	}
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestRetryStops ends with the caller.
func TestRetryStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, stop)
		start := time.Now()
		o := (&apis{}).options("")
		o.Transport = transportFunc(func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNREFUSED })
		_, err := Find(ctx, o)
		if took := time.Since(start); !errors.Is(err, context.Canceled) || took > time.Second {
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
