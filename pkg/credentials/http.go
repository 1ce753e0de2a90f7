package credentials

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of one request for a token, and of all its tries.
const (
	maxReply     = 1 << 20
	attemptLimit = 10 * time.Second
	retryBudget  = 30 * time.Second
	firstWait    = 200 * time.Millisecond
	longestWait  = 5 * time.Second
)

// guard lets requests pass only to the hosts that it knows: the last line of
// defence for what a request carries. It also bounds the answers.
type guard struct {
	base   http.RoundTripper
	scheme string
	hosts  []string
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != g.scheme || !slices.Contains(g.hosts, req.URL.Host) {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, &strangerError{req.URL.Scheme + "://" + req.URL.Host}
	}
	resp, err := g.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = limited{io.LimitReader(resp.Body, maxReply), resp.Body}
	return resp, nil
}

// strangerError is a host that is sent no credentials.
type strangerError struct{ host string }

func (e *strangerError) Error() string { return fmt.Sprintf("%q is sent no credentials", e.host) }

type limited struct {
	io.Reader
	io.Closer
}

// newClient returns a client that talks to the hosts alone and follows no
// redirect: net/http would send the credential on.
func newClient(base http.RoundTripper, scheme string, hosts ...string) *http.Client {
	return &http.Client{
		Transport:     &guard{base: base, scheme: scheme, hosts: hosts},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// transientError is worth another try, after a pause that the server may name.
type transientError struct {
	err   error
	pause time.Duration
}

func (e *transientError) Error() string { return e.err.Error() }
func (e *transientError) Unwrap() error { return e.err }

// retry tries until it succeeds, is refused, or the budget is used up.
func retry[T any](ctx context.Context, try func(context.Context) (T, error)) (T, error) {
	budget, stop := context.WithTimeout(ctx, retryBudget)
	defer stop()
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		attempt, done := context.WithTimeout(budget, attemptLimit)
		v, err := try(attempt)
		done()
		var again *transientError
		if err == nil || !errors.As(err, &again) {
			return v, err
		}
		pause := max(wait/2+rand.N(wait/2), again.pause)
		if end, _ := budget.Deadline(); time.Until(end) < pause {
			return v, again.err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-budget.Done():
			timer.Stop()
			if ctx.Err() != nil {
				return v, ctx.Err()
			}
			return v, again.err
		}
	}
}

// reply is an answer that was read to its end.
type reply struct {
	status int
	header http.Header
	body   []byte
	sent   time.Time // a lifetime counts from here: later than this nothing can have been issued earlier
	read   time.Time
}

// post sends a form, and tries again as long as nobody has refused it.
func (f *finder) post(ctx context.Context, act, address string, form url.Values) (reply, error) {
	return retry(ctx, func(ctx context.Context) (reply, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
		if err != nil {
			return reply{}, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Accept", "application/json")
		return send(act, f.google, req)
	})
}

// send sends one request. Errors name the host and the cause, not what was sent.
func send(act string, client *http.Client, req *http.Request) (reply, error) {
	r := reply{sent: time.Now()}
	resp, err := client.Do(req)
	if err != nil {
		return r, unreachable(act, req.URL.Host, err)
	}
	defer resp.Body.Close()
	r.body, err = io.ReadAll(resp.Body)
	if err != nil {
		return r, unreachable(act, req.URL.Host, err)
	}
	r.status, r.header, r.read = resp.StatusCode, resp.Header, time.Now()
	switch {
	case r.status >= 300 && r.status < 400:
		return r, redirected(act, req.URL.Host, r.status)
	case r.status == http.StatusTooManyRequests || r.status >= 500:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return r, &transientError{
			err:   fmt.Errorf("%s: %s answered with status %d again and again: try later", act, req.URL.Host, r.status),
			pause: time.Duration(max(0, seconds)) * time.Second,
		}
	}
	return r, nil
}

// unreachable says which host could not be reached. A certificate that nobody
// vouches for will not be better at the next try.
func unreachable(act, host string, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	err = fmt.Errorf("%s: reach %q: %w: let the runner reach it, directly or through HTTPS_PROXY", act, host, err)
	var certificate *tls.CertificateVerificationError
	var stranger *strangerError
	if errors.As(err, &certificate) || errors.As(err, &stranger) || errors.Is(err, context.Canceled) {
		return err
	}
	return &transientError{err: err}
}

// skew is by how much the server's clock is ahead of ours; 0 if it does not say.
func (r reply) skew() time.Duration {
	date, err := http.ParseTime(r.header.Get("Date"))
	if err != nil {
		return 0
	}
	return date.Sub(r.read)
}

// grant is a token as a service gave it out.
type grant struct {
	token    string
	lifetime time.Duration
	sent     time.Time // when it was asked for
}

// grant reads a token from an answer as RFC 6749 §5.1 has it.
func (r reply) grant(act string) (grant, error) {
	var body struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	if err := json.Unmarshal(r.body, &body); err != nil || !isToken(body.AccessToken) {
		return grant{}, noToken(act)
	}
	return grant{token: body.AccessToken, lifetime: time.Duration(body.ExpiresIn * float64(time.Second)), sent: r.sent}, nil
}

// isToken is what may stand in a header.
func isToken(s string) bool {
	if s == "" || len(s) > 16<<10 {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// refusal is what a token service said: a code for programs, and a text.
type refusal struct {
	status     int
	code, text string
}

// oauthError reads an error as RFC 6749 §5.2 has it, without what was sent.
func (r reply) oauthError(secrets ...string) refusal {
	var body struct {
		Error       json.RawMessage `json:"error"`
		Description string          `json:"error_description"`
	}
	said := refusal{status: r.status}
	if json.Unmarshal(r.body, &body) == nil {
		if json.Unmarshal(body.Error, &said.code) != nil {
			var api struct{ Status, Message string } // the form of Google's other APIs
			if json.Unmarshal(body.Error, &api) == nil {
				said.code, body.Description = api.Status, api.Message
			}
		}
		said.text = phrase(body.Description, secrets...)
		said.code = phrase(said.code, secrets...)
	}
	return said
}

// words is the service's own text, to be shown in brackets.
func (s refusal) words() string {
	switch {
	case s.text != "" && s.code != "":
		return fmt.Sprintf("%s: %s", s.code, s.text)
	case s.text != "" || s.code != "":
		return s.text + s.code
	}
	return fmt.Sprintf("status %d", s.status)
}
