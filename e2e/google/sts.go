package google

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Provider is one of a workload identity pool: it trusts an issuer's tokens.
type Provider struct {
	Pool, ID string
	// Issuer is the URL that tokens must name, whose keys are fetched from it.
	Issuer string
	// Audiences are the ones allowed. Default, the provider's own name.
	Audiences []string
	// Condition is the attribute condition, in CEL over assertion, attribute and
	// google. Default, everybody is let in.
	Condition string
	Disabled  bool
}

// skew is by how much Google lets clocks differ.
const skew = time.Minute

// AddProvider makes a provider known, or replaces the one of that pool and ID.
func (c *Cloud) AddProvider(p Provider) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.providers = slices.DeleteFunc(c.providers, func(x Provider) bool { return x.Pool == p.Pool && x.ID == p.ID })
	c.providers = append(c.providers, p)
}

// ProviderName is what workload_identity_provider is set to.
func (c *Cloud) ProviderName(p Provider) string {
	return fmt.Sprintf("projects/%s/locations/global/workloadIdentityPools/%s/providers/%s", c.Number, p.Pool, p.ID)
}

// Subject is the principal of a federated identity.
func (c *Cloud) Subject(pool, subject string) string {
	return fmt.Sprintf("principal://iam.googleapis.com/projects/%s/locations/global/workloadIdentityPools/%s/subject/%s", c.Number, pool, subject)
}

// PrincipalSet is the member that stands for all identities with the attribute.
func (c *Cloud) PrincipalSet(pool, attribute, value string) string {
	return fmt.Sprintf("principalSet://iam.googleapis.com/projects/%s/locations/global/workloadIdentityPools/%s/attribute.%s/%s", c.Number, pool, attribute, value)
}

// STS answers for sts.googleapis.com: an access token for an identity token of
// an issuer that the provider trusts (RFC 8693).
func (c *Cloud) STS() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/token", func(w http.ResponseWriter, r *http.Request) {
		principal, longest, refused := c.exchange(r)
		if refused != nil {
			oauthError(w, refused.code, refused.description)
			return
		}
		token, lifetime := c.issue(principal, longest)
		writeJSON(w, http.StatusOK, map[string]any{
			"access_token": token, "issued_token_type": typeAccessToken, "token_type": "Bearer", "expires_in": int(lifetime.Seconds()),
		})
	})
	return mux
}

const typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"

// oauthRefusal is an error as RFC 6749 has it.
type oauthRefusal struct{ code, description string }

func badGrant(format string, args ...any) *oauthRefusal {
	return &oauthRefusal{"invalid_grant", fmt.Sprintf(format, args...)}
}

func (c *Cloud) exchange(r *http.Request) (principal string, longest time.Duration, refused *oauthRefusal) {
	form, err := fields(r)
	if err != nil {
		return "", 0, &oauthRefusal{"invalid_request", "Invalid JSON payload received."}
	}
	switch {
	case form("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange":
		return "", 0, &oauthRefusal{"unsupported_grant_type", "Invalid value for \"grant_type\"."}
	case form("requested_token_type") != typeAccessToken:
		return "", 0, &oauthRefusal{"invalid_request", "Invalid value for \"requested_token_type\"."}
	case form("subject_token_type") != "urn:ietf:params:oauth:token-type:jwt" && form("subject_token_type") != "urn:ietf:params:oauth:token-type:id_token":
		return "", 0, &oauthRefusal{"invalid_request", "Invalid value for \"subject_token_type\"."}
	case form("scope") == "":
		return "", 0, &oauthRefusal{"invalid_scope", "Empty or missing scope not allowed."}
	}
	p, refused := c.provider(form("audience"))
	if refused != nil {
		return "", 0, refused
	}
	claims, refused := c.trusted(r.Context(), p, form("subject_token"))
	if refused != nil {
		return "", 0, refused
	}
	subject, _ := claims["sub"].(string)
	principal = c.Subject(p.Pool, subject)
	c.use(principal, form("subject_token"))
	if len(subject) > 127 {
		return "", 0, &oauthRefusal{"invalid_request", "The size of mapped attribute google.subject exceeds the 127 bytes limit. Either modify your attribute mapping or the incoming assertion to produce a mapped attribute that is less than 127 bytes."}
	}
	attributes := map[string]any{}
	members := []string{principal, fmt.Sprintf("principalSet://iam.googleapis.com/projects/%s/locations/global/workloadIdentityPools/%s/*", c.Number, p.Pool)}
	for _, name := range []string{"repository", "repository_owner", "ref", "actor", "workflow", "environment", "event_name"} {
		if value, ok := claims[name].(string); ok && value != "" {
			attributes[name] = value
			members = append(members, c.PrincipalSet(p.Pool, name, value))
		}
	}
	if p.Condition != "" && !holds(p.Condition, map[string]any{"assertion": claims, "attribute": attributes, "google": map[string]any{"subject": subject}}) {
		return "", 0, &oauthRefusal{"unauthorized_client", "The given credential is rejected by the attribute condition."}
	}
	c.mu.Lock()
	c.identity(principal, members...)
	c.mu.Unlock()
	c.tell()
	return principal, min(time.Hour, time.Until(number(claims["exp"]))), nil
}

// fields reads a form, or the same as JSON with names in camel case, which
// google-github-actions/auth sends.
func fields(r *http.Request) (func(name string) string, error) {
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); kind != "application/json" {
		return r.PostFormValue, nil
	}
	var body map[string]string
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&body); err != nil {
		return nil, err
	}
	values := map[string]string{}
	for name, value := range body {
		values[strings.ToLower(strings.ReplaceAll(name, "_", ""))] = value
	}
	return func(name string) string { return values[strings.ReplaceAll(name, "_", "")] }, nil
}

// provider finds the provider that an audience names.
func (c *Cloud) provider(audience string) (Provider, *oauthRefusal) {
	name, ok := strings.CutPrefix(audience, "//iam.googleapis.com/")
	if !ok || strings.Count(name, "/") != 7 {
		return Provider{}, &oauthRefusal{"invalid_request", "Invalid value for \"audience\". This value should be the full resource name of the Identity Provider. See https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token for the list of possible formats."}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.providers {
		if c.ProviderName(p) == name && !p.Disabled {
			return p, nil
		}
	}
	return Provider{}, &oauthRefusal{"invalid_target", "The target service indicated by the \"audience\" parameters is invalid. This might either be because the pool or provider is disabled or deleted or because it doesn't exist."}
}

// trusted verifies an identity token as Google does, in its order and words.
func (c *Cloud) trusted(ctx context.Context, p Provider, token string) (claims map[string]any, refused *oauthRefusal) {
	var header struct{ Alg, Kid string }
	parts := strings.Split(token, ".")
	if len(parts) != 3 || decode(parts[0], &header) != nil || decode(parts[1], &claims) != nil {
		return nil, badGrant("Unable to parse the ID Token.")
	}
	if issuer, _ := claims["iss"].(string); strings.TrimSuffix(issuer, "/") != strings.TrimSuffix(p.Issuer, "/") {
		return nil, badGrant("The issuer in ID Token %s does not match the expected one in config: %s.", issuer, p.Issuer)
	}
	allowed := p.Audiences
	if len(allowed) == 0 {
		allowed = []string{"//iam.googleapis.com/" + c.ProviderName(p), "https://iam.googleapis.com/" + c.ProviderName(p)}
	}
	if audience, _ := claims["aud"].(string); !slices.Contains(allowed, audience) {
		return nil, badGrant("The audience in ID Token [%s] does not match the expected audience.", audience)
	}
	now := time.Now()
	if issued := number(claims["iat"]); issued.After(now.Add(skew)) || number(claims["exp"]).Before(now.Add(-skew)) {
		return nil, badGrant("ID Token issued at %d is stale to sign-in.", issued.Unix())
	}
	key, err := c.issuerKey(ctx, p.Issuer, header.Kid)
	if err != nil {
		return nil, badGrant("Error connecting to the given credential's issuer.")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err != nil || header.Alg != "RS256" || rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) != nil {
		return nil, badGrant("Unable to verify the ID Token signature.")
	}
	return claims, nil
}

func number(claim any) time.Time {
	n, _ := claim.(float64)
	return time.Unix(int64(n), 0)
}

// issuerKey fetches an issuer's key by OpenID Connect discovery.
func (c *Cloud) issuerKey(ctx context.Context, issuer, id string) (*rsa.PublicKey, error) {
	var discovery struct {
		URL string `json:"jwks_uri"`
	}
	if err := c.fetch(ctx, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", &discovery); err != nil {
		return nil, err
	}
	var set struct {
		Keys []struct{ Kid, N, E string }
	}
	if err := c.fetch(ctx, discovery.URL, &set); err != nil {
		return nil, err
	}
	for _, k := range set.Keys {
		if k.Kid == id {
			n, err := base64.RawURLEncoding.DecodeString(k.N)
			e, err2 := base64.RawURLEncoding.DecodeString(k.E)
			return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}, errors.Join(err, err2)
		}
	}
	return nil, fmt.Errorf("issuer %q: no key %q", issuer, id)
}

func (c *Cloud) fetch(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	if c.Issuers == nil {
		return errors.New("no issuer can be reached")
	}
	resp, err := c.Issuers.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("get %q: status %d", address, resp.StatusCode)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(into)
}
