package retry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestNetwork(t *testing.T) {
	t.Parallel()
	read := func(err error) error { return &net.OpError{Op: "read", Net: "tcp", Err: err} }
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"nothing", nil, false},
		{"refused", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, true},
		{"reset", read(os.NewSyscallError("read", syscall.ECONNRESET)), true},
		{"broken pipe", read(syscall.EPIPE), true},
		{"no route", &net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}, true},
		{"no network", &net.OpError{Op: "dial", Err: syscall.ENETUNREACH}, true},
		{"timeout of the system", &net.OpError{Op: "dial", Err: syscall.ETIMEDOUT}, true},
		{"timeout of the dialer", &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, true},
		{"end", io.EOF, true},
		{"end in the middle", io.ErrUnexpectedEOF, true},
		{"closed here", read(net.ErrClosed), true},
		{"a try's own deadline", context.DeadlineExceeded, true},
		{"handshake timeout", errors.New("net/http: TLS handshake timeout"), false},
		{"timeout below other words", &url.Error{Op: "Patch", Err: fmt.Errorf("the connection hangs: %w", os.ErrDeadlineExceeded)}, true},
		{"HTTP/2 stream", errors.New("stream error: stream ID 1; INTERNAL_ERROR"), true},
		{"HTTP/2 going away", errors.New("http2: server sent GOAWAY and closed the connection"), true},
		{"proxy cannot", &net.OpError{Op: "proxyconnect", Err: errors.New("Bad Gateway")}, true},
		{"proxy refuses", &net.OpError{Op: "proxyconnect", Err: errors.New("Forbidden")}, false},
		{"cancelled", context.Canceled, false},
		{"cancelled with its connection", errors.Join(context.Canceled, io.EOF), false},
		{"no such name", &net.DNSError{Err: "no such host", IsNotFound: true}, false},
		{"name server is silent", &net.DNSError{Err: "i/o timeout", IsTimeout: true}, true},
		{"name server is broken", &net.DNSError{Err: "server misbehaving", IsTemporary: true}, true},
		{"certificate", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, false},
		{"TLS alert", &net.OpError{Op: "remote error", Err: tls.AlertError(40)}, false},
		{"no TLS", tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, false},
		{"token", errors.New("the key was deleted"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := Network(c.err); got != c.want {
				t.Errorf("Network(%v) = %v", c.err, got)
			}
			if c.err == nil {
				return
			}
			for _, wrapped := range []error{fmt.Errorf("ask: %w", c.err), &url.Error{Op: "Get", URL: "https://h.example", Err: c.err}} {
				if got := Network(wrapped); got != c.want {
					t.Errorf("Network(%v) = %v", wrapped, got)
				}
			}
		})
	}
}

// What net/http really returns of servers that behave so.
func TestNetworkOfServers(t *testing.T) {
	t.Parallel()
	cut := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(cut.Close)
	half := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("half"))
	}))
	t.Cleanup(half.Close)
	closed := httptest.NewServer(nil)
	closed.Close()
	secure := httptest.NewTLSServer(nil)
	secure.Config.ErrorLog = nil
	t.Cleanup(secure.Close)
	for name, c := range map[string]struct {
		address string
		want    bool
	}{
		"closes without an answer": {cut.URL, true},
		"ends in the middle":       {half.URL, true},
		"does not listen":          {closed.URL, true},
		"nobody vouches for it":    {secure.URL, false},
		"speaks no TLS":            {strings.Replace(half.URL, "http:", "https:", 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.address, nil)
			if err != nil {
				t.Fatal(err)
			}
			client := &http.Client{Transport: &http.Transport{}}
			resp, err := client.Do(req)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if err == nil || Network(err) != c.want {
				t.Errorf("Network(%v) = %v", err, !c.want)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	passing := map[int]bool{408: true, 429: true, 500: true, 502: true, 503: true, 504: true}
	for code := 100; code < 600; code++ {
		if got := Status(code); got != passing[code] {
			t.Errorf("Status(%d) = %v", code, got)
		}
	}
}

func TestAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().UTC()
		for value, want := range map[string]time.Duration{
			"": 0, "0": 0, "7": 7 * time.Second, "-7": 0, "99999999": time.Hour, "99999999999999999999": 0, "soon": 0, "1.5": 0,
			now.Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second,
			now.Add(-time.Minute).Format(http.TimeFormat):     0,
			now.AddDate(1, 0, 0).Format(http.TimeFormat):      time.Hour,
		} {
			if got := After(http.Header{"Retry-After": {value}}); got != want {
				t.Errorf("After(%q) = %v, want %v", value, got, want)
			}
		}
		if got := After(nil); got != 0 {
			t.Errorf("After(nil) = %v", got)
		}
	})
}
