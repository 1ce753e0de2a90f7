package cluster

import (
	"fmt"
	"io"
	"net/http"
	"slices"

	"golang.org/x/oauth2"
)

// tokenTransport adds a token to requests to the hosts that it knows, and sends no
// request anywhere else. net/http follows redirects through the same transport,
// so a transport that adds the token to all would give it to whoever is named
// in an answer; a pinned CA does not help, as the redirect may be to plain http.
type tokenTransport struct {
	base   http.RoundTripper
	tokens oauth2.TokenSource
	hosts  []string
}

// forgetter is a source that can be told that its token was refused.
type forgetter interface{ Forget(accessToken string) }

// foreignHostError is a host that is sent nothing.
type foreignHostError struct{ host string }

func (e *foreignHostError) Error() string {
	return fmt.Sprintf("an answer leads to %q, which is not followed with a token in hand", e.host)
}

// tokenError is a token that could not be had, for reasons that its source explains.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }

// RoundTrip sends the request with a token, and with another one if that was refused.
func (t *tokenTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" || !slices.Contains(t.hosts, req.URL.Host) || req.Response != nil {
		closeBody(req)
		return nil, &foreignHostError{req.URL.Scheme + "://" + req.URL.Host}
	}
	token, err := t.tokens.Token()
	if err != nil {
		closeBody(req)
		return nil, &tokenError{err}
	}
	resp, err := t.base.RoundTrip(authorized(req, token))
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	again, token := t.renewed(req, token)
	if again == nil {
		return resp, nil
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // lets the connection be used again
	resp.Body.Close()
	return t.base.RoundTrip(authorized(again, token))
}

// renewed is the same request for a second try with another token; nil if there
// is no other, or if what was sent cannot be sent again.
func (t *tokenTransport) renewed(req *http.Request, old *oauth2.Token) (*http.Request, *oauth2.Token) {
	source, ok := t.tokens.(forgetter)
	if !ok || (req.Body != nil && req.GetBody == nil) {
		return nil, nil
	}
	source.Forget(old.AccessToken)
	token, err := t.tokens.Token()
	if err != nil || token.AccessToken == old.AccessToken {
		return nil, nil
	}
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		// The body was consumed by the first try; over HTTP/2 nothing rewinds it.
		if again.Body, err = req.GetBody(); err != nil {
			return nil, nil
		}
	}
	return again, token
}

func authorized(req *http.Request, token *oauth2.Token) *http.Request {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+token.AccessToken)
	return req
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// noRedirect lets a redirect be the answer.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
