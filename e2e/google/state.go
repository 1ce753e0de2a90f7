// Package google imitates the parts of Google Cloud that a deploy talks to:
// service accounts with keys and roles, access tokens, and the GKE API. Its
// answers and errors have the real services' JSON. Who reaches it under which
// host name is left to others.
package google

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// The roles that something here asks for.
const (
	RoleDeveloper = "roles/container.developer"
	RoleReader    = "roles/artifactregistry.reader"
	RoleWriter    = "roles/artifactregistry.writer"
)

// Cloud is the state that the imitated services share.
type Cloud struct {
	Project string
	// Lifetime of an access token; an hour if zero, as on Google.
	Lifetime time.Duration
	// OnRoles is told when an account's roles change.
	OnRoles func(email string, roles []string)

	mu       sync.Mutex
	accounts map[string]*account // by e-mail
	tokens   map[string]Token
	clusters []Cluster
}

type account struct {
	id    string
	roles []string
	keys  map[string]*rsa.PublicKey // by key id
}

// Token is an access token that was issued.
type Token struct {
	Email   string
	Expires time.Time
}

// New returns a cloud with one project and nothing in it.
func New(project string) *Cloud {
	return &Cloud{Project: project, accounts: map[string]*account{}, tokens: map[string]Token{}}
}

// CreateServiceAccount makes an account with roles on the project and returns
// its e-mail and the JSON of a key, as the console downloads it.
func (c *Cloud) CreateServiceAccount(name string, roles ...string) (email string, key []byte, err error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", nil, fmt.Errorf("service account %q: %w", name, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", nil, fmt.Errorf("service account %q: %w", name, err)
	}
	email = name + "@" + c.Project + ".iam.gserviceaccount.com"
	keyID := randomHex(20)
	c.mu.Lock()
	a, ok := c.accounts[email]
	if !ok {
		a = &account{id: "1" + digits(20), keys: map[string]*rsa.PublicKey{}}
		c.accounts[email] = a
	}
	a.keys[keyID] = &private.PublicKey
	c.mu.Unlock()
	c.SetRoles(email, roles...)
	key, err = json.MarshalIndent(map[string]string{
		"type":                        "service_account",
		"project_id":                  c.Project,
		"private_key_id":              keyID,
		"private_key":                 string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email":                email,
		"client_id":                   a.id,
		"auth_uri":                    "https://accounts.google.com/o/oauth2/auth",
		"token_uri":                   "https://oauth2.googleapis.com/token",
		"auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
		"client_x509_cert_url":        "https://www.googleapis.com/robot/v1/metadata/x509/" + strings.ReplaceAll(email, "@", "%40"),
		"universe_domain":             "googleapis.com",
	}, "", "  ")
	return email, key, err
}

// SetRoles replaces the account's roles on the project.
func (c *Cloud) SetRoles(email string, roles ...string) {
	c.mu.Lock()
	if a := c.accounts[email]; a != nil {
		a.roles = slices.Clone(roles)
	}
	c.mu.Unlock()
	if c.OnRoles != nil {
		c.OnRoles(email, roles)
	}
}

// DeleteKeys makes every key of the account invalid, as deleting them does.
func (c *Cloud) DeleteKeys(email string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.accounts[email]; a != nil {
		clear(a.keys)
	}
}

// HasRole tells whether the account has one of the roles.
func (c *Cloud) HasRole(email string, roles ...string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.accounts[email]
	return a != nil && slices.ContainsFunc(roles, func(r string) bool { return slices.Contains(a.roles, r) })
}

// Issue makes an access token.
func (c *Cloud) Issue(email string) (token string, lifetime time.Duration) {
	lifetime = c.Lifetime
	if lifetime == 0 {
		lifetime = time.Hour
	}
	token = "ya29.local-" + randomHex(32)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens[token] = Token{Email: email, Expires: time.Now().Add(lifetime)}
	return token, lifetime
}

// Lookup returns whose token it is, if it is one and has not ended.
func (c *Cloud) Lookup(token string) (Token, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.tokens[token]
	return t, ok && time.Now().Before(t.Expires)
}

// RevokeTokens ends every token now.
func (c *Cloud) RevokeTokens() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.tokens)
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

// KeyOwner returns whose key a JSON is, if the key is valid.
func (c *Cloud) KeyOwner(key []byte) (string, bool) {
	var k struct {
		PrivateKeyID string `json:"private_key_id"`
		ClientEmail  string `json:"client_email"`
	}
	if json.Unmarshal(key, &k) != nil {
		return "", false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.accounts[k.ClientEmail]
	return k.ClientEmail, a != nil && a.keys[k.PrivateKeyID] != nil
}
