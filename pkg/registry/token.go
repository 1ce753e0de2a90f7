package registry

import (
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/oauth2"
)

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
