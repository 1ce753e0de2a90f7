package credentials

import (
	"sync"
	"time"

	"golang.org/x/oauth2"
)

// audienceGKE is who a self-signed token speaks to: the default host of the API,
// as its service definition names it (https://google.aip.dev/auth/4111).
const audienceGKE = "https://container.googleapis.com/"

// selfSigned is the token source of a service account key for one of Google's
// APIs: the key signs a JWT that the API takes in place of an access token, so
// that nobody waits for the token service first. An API that refuses it, because
// the runner's clock is wrong or an organisation's policy wants otherwise, is
// given access tokens from then on.
type selfSigned struct {
	key   *serviceAccountKey
	mask  func(string)
	other oauth2.TokenSource // of access tokens

	mu      sync.Mutex
	token   *oauth2.Token
	refused bool
}

// Token returns a JWT that is good for some time yet, or an access token if a JWT
// was refused.
func (s *selfSigned) Token() (*oauth2.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused {
		return s.other.Token()
	}
	now := time.Now()
	if s.token == nil || s.token.Expiry.Before(now.Add(earliest)) {
		signed, expires, err := s.key.sign(now, map[string]any{"sub": s.key.email, "aud": audienceGKE})
		if err != nil {
			return nil, err
		}
		s.mask(signed)
		s.token = &oauth2.Token{AccessToken: signed, TokenType: "Bearer", Expiry: expires}
	}
	return clone(s.token), nil
}

// Forget drops a token that was refused.
func (s *selfSigned) Forget(accessToken string) {
	s.mu.Lock()
	own := s.token != nil && s.token.AccessToken == accessToken
	s.refused = s.refused || own
	s.mu.Unlock()
	if source, ok := s.other.(interface{ Forget(string) }); ok && !own {
		source.Forget(accessToken)
	}
}
