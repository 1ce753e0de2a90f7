package image

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Waits between the tries of one request.
const (
	firstWait   = 200 * time.Millisecond
	longestWait = 5 * time.Second
	// commitLimit is how long a registry may work on a PUT: some copy the layer
	// within their storage before they answer.
	commitLimit = 5 * time.Minute
)

// retry sends a request again while the registry is overloaded, broken or out of
// reach, until patience ends. go-containerregistry can do so itself, but sleeps
// on when the context is done, knows no Retry-After, and counts tries, not time;
// so it is told not to (once), and this does it below the login, whose requests
// need it too.
//
// A PATCH is not sent again: what becomes of it depends on how much the registry
// has got.
type retry struct {
	base     http.RoundTripper
	patience time.Duration
}

// RoundTrip implements http.RoundTripper.
func (r *retry) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if req.Method == http.MethodPatch {
		return r.base.RoundTrip(req)
	}
	end := time.Now().Add(r.patience)
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		resp, err := r.try(req)
		if !transient(resp, err) || ctx.Err() != nil || !replayable(req) {
			return resp, err
		}
		pause := max(wait/2+rand.N(wait/2), retryAfter(resp))
		if time.Until(end) < pause {
			return resp, err
		}
		if resp != nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection is used again
			resp.Body.Close()
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
		if req, err = replay(req); err != nil {
			return nil, err
		}
	}
}

// try sends the request once, and does not wait for a silent server for ever.
func (r *retry) try(req *http.Request) (*http.Response, error) {
	limit := r.patience / 2
	if req.Method == http.MethodPut {
		limit = commitLimit
	}
	ctx, cancel := context.WithCancel(req.Context())
	silent := time.AfterFunc(limit, cancel)
	resp, err := r.base.RoundTrip(req.WithContext(ctx))
	if !silent.Stop() && req.Context().Err() == nil && err != nil {
		err = &silentError{limit}
	}
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Body = &cancelling{resp.Body, cancel}
	return resp, nil
}

// silentError is a server that took a request and did not answer.
type silentError struct{ after time.Duration }

func (e *silentError) Error() string { return "no answer within " + e.after.String() }

// cancelling ends the context of a request with its answer.
type cancelling struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (c *cancelling) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}

// transient tells whether another try may do better.
func transient(resp *http.Response, err error) bool {
	if err == nil {
		switch resp.StatusCode {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	var (
		certificate *tls.CertificateVerificationError
		dns         *net.DNSError
		stranger    *StrangerError
	)
	switch {
	case errors.As(err, &certificate), errors.As(err, &stranger), errors.Is(err, errTooLarge):
		return false
	case errors.As(err, &dns) && dns.IsNotFound: // a wrong name stays wrong
		return false
	case errors.Is(err, context.Canceled):
		return false
	}
	return true
}

func retryAfter(resp *http.Response) time.Duration {
	if resp == nil {
		return 0
	}
	value := resp.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(max(0, min(seconds, 3600))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

func replayable(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

// replay is the same request for another try.
func replay(req *http.Request) (*http.Request, error) {
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		again.Body = body
	}
	return again, nil
}

// sleep waits, unless the context is done first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
