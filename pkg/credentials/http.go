package credentials

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/org/deploy-model-action/pkg/retry"
)

// Bounds of one request for a token.
const (
	maxReply     = 1 << 20
	attemptLimit = 10 * time.Second
	firstPause   = 200 * time.Millisecond
)

// hostTransport lets requests pass only to the hosts that it knows: the last line of
// defence for what a request carries. It also bounds the answers.
type hostTransport struct {
	base   http.RoundTripper
	scheme string
	hosts  []string
}

// RoundTrip implements http.RoundTripper.
func (t *hostTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != t.scheme || !slices.Contains(t.hosts, req.URL.Host) {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, &foreignHostError{req.URL.Scheme + "://" + req.URL.Host}
	}
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = limited{io.LimitReader(resp.Body, maxReply), resp.Body}
	return resp, nil
}

// foreignHostError is a host that is sent no credentials.
type foreignHostError struct{ host string }

func (e *foreignHostError) Error() string { return fmt.Sprintf("%q is sent no credentials", e.host) }

type limited struct {
	io.Reader
	io.Closer
}

// newClient returns a client that talks to the hosts alone and follows no
// redirect: net/http would send the credential on.
func newClient(base http.RoundTripper, scheme string, hosts ...string) *http.Client {
	return &http.Client{
		Transport:     &hostTransport{base: base, scheme: scheme, hosts: hosts},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// failure is a request that was not answered, or not well. It may pass.
type failure struct {
	act, host string
	status    int           // of the answer; 0: there was none
	words     string        // of the answer
	after     time.Duration // the pause that the server asked for
	cause     error         // why there was no answer
	effort    string        // what was done against it, for the sentence
	err       error         // of the client, or of the loop that gave up
}

func (e *failure) Error() string {
	if e.status == 0 {
		return fmt.Sprintf("%s: reach %q: %v%s: let the runner reach it, directly or through HTTPS_PROXY", e.act, e.host, e.cause, e.effort)
	}
	words := ""
	if e.words != "" {
		words = " (" + e.words + ")"
	}
	return fmt.Sprintf("%s: %s answered with status %d%s%s: run the job again later", e.act, e.host, e.status, e.effort, words)
}

func (e *failure) Unwrap() error { return e.err }

// Title says in a few words what it is.
func (e *failure) Title() string { return "Credentials not available" }

// may reports whether an error may pass.
func may(err error) retry.Verdict {
	var f *failure
	switch {
	case !errors.As(err, &f):
		return retry.Verdict{}
	case f.status == 0:
		return retry.Verdict{Again: retry.Network(f.cause)}
	}
	return retry.Verdict{Again: retry.Status(f.status), After: f.after}
}

// try makes a request until it is answered, or for so long that it must not be
// waited for. The error of the latter says what was done.
func try[T any](ctx context.Context, act string, limit time.Duration, request func(context.Context) (T, error)) (T, error) {
	got, err := retry.Do(ctx, retry.Policy{Limit: limit, Attempt: attemptLimit, First: firstPause, May: may}, request)
	return got, tired(act, err)
}

// tired words the error of a loop.
func tired(act string, err error) error {
	var (
		exhausted *retry.ExhaustedError
		ended     *retry.EndedError
		f         *failure
	)
	switch {
	case errors.As(err, &ended):
		return fmt.Errorf("%s: %w", act, ended)
	case errors.As(err, &exhausted) && errors.As(err, &f):
		worded := *f
		worded.effort, worded.err = retry.Effort(err), err
		return &worded
	}
	return err
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
	return try(ctx, act, f.limit, func(ctx context.Context) (reply, error) {
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
	case retry.Status(r.status):
		return r, &failure{act: act, host: req.URL.Host, status: r.status, after: retry.After(resp.Header)}
	}
	return r, nil
}

// unreachable says which host could not be reached, without the address: a
// query may hold what is secret.
func unreachable(act, host string, err error) error {
	cause := err
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		cause = wrapped.Err
	}
	return &failure{act: act, host: host, cause: cause, err: cause}
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
