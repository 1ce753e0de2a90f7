// Package google imitates the parts of Google Cloud that a deploy talks to: IAM
// with its accounts, pools and policies, the services that give out access
// tokens, the GKE API, fleets and the doors to their clusters. Its answers and
// errors have the real services' JSON; one file holds one service.
//
// Who reaches a service under which host name, and what is behind a cluster's
// door, is left to others.
package google

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"sync"
	"time"
)

// Cloud is the state that the imitated services share.
type Cloud struct {
	// Project and Number are the ID and the number of the only project.
	Project, Number string
	// Lifetime of an access token; an hour if zero, as on Google.
	Lifetime time.Duration
	// OnRoles is told when an identity's roles on the project change.
	OnRoles func(principal string, roles []string)
	// Issuers leads to the issuers of identity tokens, for their keys.
	Issuers http.RoundTripper

	mu         sync.Mutex
	identities map[string]*identity // by principal
	tokens     map[string]Token
	refresh    map[string]string // user by refresh token
	used       map[string]bool
	watchers   map[string][]func(secret string)
	policies   map[string]Policy // by resource
	providers  []Provider
	clusters   []Cluster
	members    []Membership

	telling sync.Mutex // keeps what OnRoles is told in order
	told    map[string]string
}

// Token is an access token that was issued.
type Token struct {
	Principal string // e-mail address, or principal://…
	Expires   time.Time
}

// New returns a cloud with one project and nothing in it.
func New(project, number string) *Cloud {
	return &Cloud{
		Project: project, Number: number,
		identities: map[string]*identity{}, tokens: map[string]Token{}, refresh: map[string]string{}, used: map[string]bool{},
		watchers: map[string][]func(string){}, policies: map[string]Policy{}, told: map[string]string{},
	}
}

// Issue makes an access token, which lives as long as the identity's tokens do.
func (c *Cloud) Issue(principal string) (token string, lifetime time.Duration) {
	return c.issue(principal, 12*time.Hour)
}

// issue makes a token that does not outlive longest.
func (c *Cloud) issue(principal string, longest time.Duration) (token string, lifetime time.Duration) {
	token = "ya29.local-" + randomHex(32)
	c.mu.Lock()
	defer c.mu.Unlock()
	lifetime = c.Lifetime
	if i := c.identities[principal]; i != nil && i.lifetime > 0 {
		lifetime = i.lifetime
	}
	if lifetime == 0 {
		lifetime = time.Hour
	}
	lifetime = min(lifetime, longest)
	c.tokens[token] = Token{Principal: principal, Expires: time.Now().Add(lifetime)}
	return token, lifetime
}

// Lookup returns whose token it is, if it is one and has not ended.
func (c *Cloud) Lookup(token string) (Token, bool) {
	c.mu.Lock()
	t, ok := c.tokens[token]
	c.mu.Unlock()
	if ok {
		c.use(t.Principal, token)
	}
	return t, ok && time.Now().Before(t.Expires)
}

// RevokeTokens ends every token now.
func (c *Cloud) RevokeTokens() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.tokens)
}

// Tokens counts the tokens that the principal was given so far.
func (c *Cloud) Tokens(principal string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, t := range c.tokens {
		if t.Principal == principal {
			n++
		}
	}
	return n
}

// WatchUse calls f when a secret of the principal is shown to any service for
// the first time, before the service acts on it: an access token, a signed
// assertion or an identity token.
func (c *Cloud) WatchUse(principal string, f func(secret string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers[principal] = append(c.watchers[principal], f)
}

func (c *Cloud) use(principal, secret string) {
	c.mu.Lock()
	first := !c.used[secret]
	c.used[secret] = true
	watchers := c.watchers[principal]
	c.mu.Unlock()
	if first {
		for _, f := range watchers {
			f(secret)
		}
	}
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, by its documentation
	return hex.EncodeToString(b)
}

func digits(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	for i := range b {
		b[i] = '0' + b[i]%10
	}
	return string(b)
}
