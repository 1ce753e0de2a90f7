package registry

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Repository sends the requests about one repository with the credentials that are
// for its registry, and nothing to other hosts but the bare request. It is safe
// for concurrent use.
type Repository struct {
	Name name.Repository

	options Options
	scopes  []string
	auth    authn.Authenticator
	google  *googleToken // auth, if it is Google's
	base    http.RoundTripper

	turn   chan struct{}     // holds one who makes a way; the others can be cancelled while they wait
	way    http.RoundTripper // with credentials; nil before the first request
	direct bool              // way has Google's token as it is, none of the registry's own
}

// Repository prepares requests about a repository: transport.PullScope or
// PushScope, and further scopes. Nothing is sent yet.
func (c *Client) Repository(r name.Repository, actions string, also ...string) *Repository {
	repo := &Repository{Name: r, options: c.options, auth: authn.Anonymous, scopes: append([]string{r.Scope(actions)}, also...), turn: make(chan struct{}, 1)}
	switch {
	case c.options.Username != "" && !c.options.Prefix.IsZero() && c.options.Prefix.host.RegistryStr() == r.RegistryStr():
		repo.auth = &authn.Basic{Username: c.options.Username, Password: c.options.Password}
	case c.options.Tokens != nil && isGoogle(r.RegistryStr()):
		repo.google = &googleToken{tokens: c.options.Tokens}
		repo.auth = repo.google
	}
	repo.base = &hostTransport{
		base:     &retryTransport{base: c.options.Transport, budget: c.budget, silence: c.options.Silence},
		registry: r.Registry,
		google:   repo.google != nil,
	}
	return repo
}

// RoundTrip implements http.RoundTripper.
func (r *Repository) RoundTrip(req *http.Request) (*http.Response, error) {
	if !sameHost(req.URL.Host, r.Name.RegistryStr(), req.URL.Scheme) {
		// Where the registry keeps its layers; a signed address there refuses
		// requests that carry another credential.
		return r.base.RoundTrip(req)
	}
	way, direct, err := r.current(req.Context())
	if err != nil {
		return nil, err
	}
	resp, err := way.RoundTrip(req.Clone(req.Context()))
	if err != nil || r.google == nil || !replayable(req) {
		return resp, err
	}
	if resp.StatusCode != http.StatusUnauthorized && (!direct || resp.StatusCode != http.StatusForbidden) {
		return resp, nil
	}
	resp.Body.Close()
	if way, err = r.renew(req.Context(), way, resp.StatusCode); err != nil {
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
func (r *Repository) current(ctx context.Context) (http.RoundTripper, bool, error) {
	if err := r.lock(ctx); err != nil {
		return nil, false, err
	}
	defer r.unlock()
	if r.way != nil {
		return r.way, r.direct, nil
	}
	var err error
	if r.google != nil {
		r.way, err = transport.FromToken(r.Name.Registry, r.auth, r.base, &transport.Challenge{Scheme: "basic"}, nil)
		r.direct = true
	} else {
		r.way, err = transport.NewWithContext(ctx, r.Name.Registry, r.auth, r.base, r.scopes)
	}
	return r.way, r.direct, err
}

// lock waits for its turn, as a handshake may take long.
func (r *Repository) lock(ctx context.Context) error {
	select {
	case r.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Repository) unlock() { <-r.turn }

// renew replaces a way on which Google's registry refused: by its own handshake,
// and with a new token if it did not accept the one it got.
func (r *Repository) renew(ctx context.Context, refused http.RoundTripper, status int) (http.RoundTripper, error) {
	if err := r.lock(ctx); err != nil {
		return nil, err
	}
	defer r.unlock()
	if r.way != refused {
		return r.way, nil // another request has done so
	}
	if status == http.StatusUnauthorized {
		r.google.forget()
	}
	way, err := transport.NewWithContext(ctx, r.Name.Registry, r.auth, r.base, r.scopes)
	if err != nil {
		return nil, err
	}
	r.way, r.direct = way, false
	return way, nil
}

// HTTP sends requests of our own. A layer goes where the registry is, and to no
// other place that it may name.
func (r *Repository) HTTP() *http.Client {
	return &http.Client{Transport: r, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if m := via[0].Method; len(via) >= 5 || m != http.MethodGet && m != http.MethodHead {
			return http.ErrUseLastResponse
		}
		return nil
	}}
}

// Puller reads with go-containerregistry, through this login. The wrapper tells
// it that neither a login nor retries of its own are wanted.
func (r *Repository) Puller() (*remote.Puller, error) {
	wrapper, err := transport.FromToken(r.Name.Registry, authn.Anonymous, r, &transport.Challenge{Scheme: "basic"}, nil)
	if err != nil {
		return nil, err
	}
	return remote.NewPuller(remote.WithTransport(wrapper))
}

// who is who the registry sees.
func (r *Repository) who() string {
	switch {
	case r.google != nil && r.options.Principal != "":
		return r.options.Principal
	case r.google != nil:
		return "the owner of Google's token"
	case r.auth == authn.Anonymous:
		return ""
	case strings.HasPrefix(r.options.Username, "_json_key"):
		return "the service account of registry_password"
	}
	return r.options.Username
}

// IsGoogle reports whether the registry is one of Google's.
func (r *Repository) IsGoogle() bool { return isGoogle(r.Name.RegistryStr()) }

// URL is the address of something of the repository, e.g. "blobs", "sha256:…".
func (r *Repository) URL(path ...string) *url.URL {
	return &url.URL{
		Scheme: r.Name.Scheme(), Host: r.Name.RegistryStr(),
		Path: "/v2/" + r.Name.RepositoryStr() + "/" + strings.Join(path, "/"),
	}
}

// At reports whether an address is at the registry itself, which was reached by
// the scheme.
func (r *Repository) At(u *url.URL, scheme string) bool {
	return sameHost(u.Host, r.Name.RegistryStr(), scheme) && u.User == nil
}
