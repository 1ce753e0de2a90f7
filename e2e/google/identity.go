package google

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"
)

// identity is somebody whom policies can name.
type identity struct {
	id       string
	members  []string                  // every name that policies have for it; the first is its own
	keys     map[string]*rsa.PublicKey // of a service account, by key id
	lifetime time.Duration             // of its tokens; 0: the cloud's
	disabled bool
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
	a := c.identity(email, "serviceAccount:"+email)
	if a.keys == nil {
		a.keys = map[string]*rsa.PublicKey{}
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

// Gcloud's own client, which is public: it stands in every installation.
const (
	gcloudClientID     = "764086051850-6qr4p6gpi6hn506pt8ejuq83di341hur.apps.googleusercontent.com"
	gcloudClientSecret = "local-client-secret"
)

// CreateUser makes a person with roles on the project and returns the file that
// `gcloud auth application-default login` leaves for them.
func (c *Cloud) CreateUser(email string, roles ...string) ([]byte, error) {
	token := "1//local-" + randomHex(32)
	c.mu.Lock()
	c.identity(email, "user:"+email)
	c.refresh[token] = email
	c.mu.Unlock()
	c.SetRoles(email, roles...)
	return json.MarshalIndent(map[string]string{
		"account":          "",
		"client_id":        gcloudClientID,
		"client_secret":    gcloudClientSecret,
		"quota_project_id": c.Project,
		"refresh_token":    token,
		"type":             "authorized_user",
		"universe_domain":  "googleapis.com",
	}, "", "  ")
}

// identity returns the identity, made if it is new. The lock is held.
func (c *Cloud) identity(principal string, members ...string) *identity {
	i := c.identities[principal]
	if i == nil {
		i = &identity{id: "1" + digits(20)}
		c.identities[principal] = i
	}
	for _, m := range members {
		if !slices.Contains(i.members, m) {
			i.members = append(i.members, m)
		}
	}
	return i
}

// membersOf is every name that policies have for the principal. The lock is held.
func (c *Cloud) membersOf(principal string) []string {
	if i := c.identities[principal]; i != nil {
		return i.members
	}
	return nil
}

// DeleteKeys makes every key of the account invalid, as deleting them does.
func (c *Cloud) DeleteKeys(email string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.identities[email]; a != nil {
		clear(a.keys)
	}
}

// DeleteAccount removes the account; policies keep its name, as Google's do.
func (c *Cloud) DeleteAccount(email string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.identities, email)
}

// DisableAccount makes the account's keys and impersonation useless.
func (c *Cloud) DisableAccount(email string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.identities[email]; a != nil {
		a.disabled = true
	}
}

// SetLifetime says how long tokens of the principal live, which may be unknown yet.
func (c *Cloud) SetLifetime(principal string, lifetime time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.identity(principal).lifetime = lifetime
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
	a := c.identities[k.ClientEmail]
	return k.ClientEmail, a != nil && a.keys[k.PrivateKeyID] != nil
}

func (c *Cloud) id(principal string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.identities[principal]; a != nil {
		return a.id
	}
	return ""
}
