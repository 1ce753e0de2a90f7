package image

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/oauth2"

	"github.com/org/deploy-model-action/pkg/retry"
)

// client is what one call of this package knows about registries.
type client struct {
	Options
	own    name.Registry // that Username and Password are for
	budget *retry.Budget
}

func newClient(o Options) (*client, error) {
	c := &client{Options: o.withDefaults()}
	c.budget = retry.NewBudget(c.RetryFor)
	if (o.Username == "") != (o.Password == "") {
		return nil, errors.New("inputs registry_username and registry_password: only one of them is set; set both, or none to use Google's token on Google's registries")
	}
	if o.RegistryHost != "" {
		at, err := parsePlace(o.RegistryHost)
		if err != nil {
			return nil, err
		}
		c.own = at.registry
	}
	return c, nil
}

// login sends the requests about one repository with the credentials that are
// for its registry, and nothing to other hosts but the bare request. It is safe
// for concurrent use.
type login struct {
	*client
	repo   name.Repository
	scopes []string
	auth   authn.Authenticator
	google *googleToken // auth, if it is Google's
	base   http.RoundTripper

	mu     sync.Mutex
	way    http.RoundTripper // with credentials; nil before the first request
	direct bool              // way asked for no token of the registry's own
}

// login prepares requests about a repository. Nothing is sent yet.
func (c *client) login(r name.Repository, actions string, also ...string) *login {
	l := &login{client: c, repo: r, auth: authn.Anonymous, scopes: append([]string{r.Scope(actions)}, also...)}
	switch {
	case c.Username != "" && c.own.RegistryStr() == r.RegistryStr():
		l.auth = &authn.Basic{Username: c.Username, Password: c.Password}
	case c.Tokens != nil && isGoogle(r.RegistryStr()):
		l.google = &googleToken{tokens: c.Tokens}
		l.auth = l.google
	}
	l.base = &guard{
		base:     &retryTransport{base: c.Transport, budget: c.budget, silence: c.Silence},
		registry: r.Registry,
		google:   l.google != nil,
	}
	return l
}

// RoundTrip implements http.RoundTripper.
func (l *login) RoundTrip(req *http.Request) (*http.Response, error) {
	if !sameHost(req.URL.Host, l.repo.RegistryStr(), req.URL.Scheme) {
		// Where the registry keeps its layers; a signed address there refuses
		// requests that carry another credential.
		return l.base.RoundTrip(req)
	}
	way, direct, err := l.current(req.Context())
	if err != nil {
		return nil, err
	}
	resp, err := way.RoundTrip(req.Clone(req.Context()))
	if err != nil || l.google == nil || !replayable(req) {
		return resp, err
	}
	if resp.StatusCode != http.StatusUnauthorized && (!direct || resp.StatusCode != http.StatusForbidden) {
		return resp, nil
	}
	resp.Body.Close()
	if way, err = l.renew(req.Context(), way, resp.StatusCode); err != nil {
		return nil, err
	}
	again, err := replay(req)
	if err != nil {
		return nil, err
	}
	return way.RoundTrip(again)
}

// current is the way in. Google's registries take Google's token as it is, which
// saves the two round trips of asking for one of their own.
func (l *login) current(ctx context.Context) (http.RoundTripper, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.way != nil {
		return l.way, l.direct, nil
	}
	var err error
	if l.google != nil {
		l.way, err = transport.FromToken(l.repo.Registry, l.auth, l.base, &transport.Challenge{Scheme: "basic"}, nil)
		l.direct = true
	} else {
		l.way, err = transport.NewWithContext(ctx, l.repo.Registry, l.auth, l.base, l.scopes)
	}
	return l.way, l.direct, err
}

// renew replaces a way on which Google's registry refused: by its own handshake,
// and with a new token if it did not accept the one it got.
func (l *login) renew(ctx context.Context, refused http.RoundTripper, status int) (http.RoundTripper, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.way != refused {
		return l.way, nil // another request has done so
	}
	if status == http.StatusUnauthorized {
		l.google.forget()
	}
	way, err := transport.NewWithContext(ctx, l.repo.Registry, l.auth, l.base, l.scopes)
	if err != nil {
		return nil, err
	}
	l.way, l.direct = way, false
	return way, nil
}

// http sends requests of our own. A layer goes where the registry is, and to no
// other place that it may name.
func (l *login) http() *http.Client {
	return &http.Client{Transport: l, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if m := via[0].Method; len(via) >= 5 || m != http.MethodGet && m != http.MethodHead {
			return http.ErrUseLastResponse
		}
		return nil
	}}
}

// puller reads with go-containerregistry, through this login. The wrapper tells
// it that neither a login nor retries of its own are wanted.
func (l *login) puller() (*remote.Puller, error) {
	wrapper, err := transport.FromToken(l.repo.Registry, authn.Anonymous, l, &transport.Challenge{Scheme: "basic"}, nil)
	if err != nil {
		return nil, err
	}
	return remote.NewPuller(remote.WithTransport(wrapper))
}

// googleToken is Google's token as registries want it. It is asked for each time,
// so that one that ends is replaced.
type googleToken struct {
	tokens oauth2.TokenSource

	mu   sync.Mutex
	last string
}

// Authorization implements authn.Authenticator.
func (g *googleToken) Authorization() (*authn.AuthConfig, error) {
	t, err := g.tokens.Token()
	if err != nil {
		return nil, &tokenError{err}
	}
	g.mu.Lock()
	g.last = t.AccessToken
	g.mu.Unlock()
	return &authn.AuthConfig{Username: "oauth2accesstoken", Password: t.AccessToken}, nil
}

// forget has the source replace the token, if it can.
func (g *googleToken) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f, ok := g.tokens.(interface{ Forget(accessToken string) }); ok && g.last != "" {
		f.Forget(g.last)
	}
}

// tokenError is that there is no token to send, in the words of its source.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }

// who is who the registry sees.
func (l *login) who() string {
	switch {
	case l.google != nil && l.Principal != "":
		return l.Principal
	case l.google != nil:
		return "the owner of Google's token"
	case l.auth == authn.Anonymous:
		return ""
	case strings.HasPrefix(l.Username, "_json_key"):
		return "the service account of registry_password"
	}
	return l.Username
}
