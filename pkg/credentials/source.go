package credentials

import (
	"context"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/org/deploy-model-action/pkg/fault"
)

const (
	// earliest is how long before its end a token is replaced, if it lives long
	// enough: a quarter of its life otherwise.
	earliest = 5 * time.Minute
	// unknownLifetime is assumed of a token that does not say how long it lives.
	unknownLifetime = 5 * time.Minute
	// longestLifetime is the most that Google gives out (12 h, by exception).
	longestLifetime = 12 * time.Hour
	// refusedPause keeps a token in use for a while when its successor could not be had.
	refusedPause = 30 * time.Second
)

// source caches one token. However many ask at once, it is asked for once.
type source struct {
	fetch  func() (grant, error)
	beside func(func()) // runs a function beside what goes on
	mask   func(string)

	mu             sync.Mutex
	token          *oauth2.Token
	refresh, until time.Time // by the monotonic clock: the wall clock may jump
	flight         *flight
}

// flight is a request for a token that is under way.
type flight struct {
	done  chan struct{}
	token *oauth2.Token
	err   error
}

func (f *finder) source(ctx context.Context, fetch func(context.Context) (grant, error)) *source {
	return &source{
		fetch:  func() (grant, error) { return fetch(ctx) },
		beside: func(f func()) { fault.Go(ctx, f) },
		mask:   f.Mask,
	}
}

// Token returns a token that is good for some time yet.
func (s *source) Token() (*oauth2.Token, error) {
	s.mu.Lock()
	now := time.Now()
	current := s.token
	if current != nil && now.Before(s.refresh) {
		s.mu.Unlock()
		return clone(current), nil
	}
	if f := s.flight; f != nil {
		usable := current != nil && now.Before(s.until)
		s.mu.Unlock()
		if usable {
			return clone(current), nil
		}
		<-f.done
		return clone(f.token), f.err
	}
	f := &flight{done: make(chan struct{})}
	s.flight = f
	usable := current != nil && now.Before(s.until)
	s.mu.Unlock()
	if usable { // nobody waits for its successor, which an outage may hold up
		s.beside(func() { s.fly(f) })
		return clone(current), nil
	}
	s.fly(f)
	return clone(f.token), f.err
}

// fly asks for a token.
func (s *source) fly(f *flight) {
	got, err := s.fetch()
	if err == nil {
		s.mask(got.token)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f.token, f.err = s.land(got, err)
	s.flight = nil
	close(f.done)
}

// land keeps the token that a flight brought. If it brought none, the one before
// is used to its end.
func (s *source) land(got grant, err error) (*oauth2.Token, error) {
	if err != nil {
		left := time.Until(s.until)
		if s.token == nil || left <= 0 {
			return nil, err
		}
		s.refresh = time.Now().Add(min(refusedPause, left/2))
		return s.token, nil
	}
	lifetime := min(got.lifetime, longestLifetime)
	if lifetime <= 0 {
		lifetime = unknownLifetime
	}
	s.until = got.sent.Add(lifetime)
	s.refresh = s.until.Add(-min(earliest, lifetime/4))
	s.token = &oauth2.Token{AccessToken: got.token, TokenType: "Bearer", Expiry: s.until}
	return s.token, nil
}

// Forget drops a token that a server has refused although it should be good, so
// that the next call of Token asks for another.
func (s *source) Forget(accessToken string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token != nil && s.token.AccessToken == accessToken {
		s.token = nil
	}
}

func clone(t *oauth2.Token) *oauth2.Token {
	if t == nil {
		return nil
	}
	c := *t
	return &c
}
