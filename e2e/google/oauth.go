package google

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// OAuth answers for oauth2.googleapis.com: a token for a correctly signed JWT
// of a known service account (RFC 7523) or for a person's refresh token, and
// Google's errors for any other.
func (c *Cloud) OAuth() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		var principal, refused string
		switch got := r.PostFormValue("grant_type"); got {
		case "urn:ietf:params:oauth:grant-type:jwt-bearer":
			principal, refused = c.verify(r.PostFormValue("assertion"), claimsFor{audiences: audiencesOAuth, scope: true}, time.Now())
		case "refresh_token":
			principal, refused = c.person(r.PostFormValue("client_id"), r.PostFormValue("client_secret"), r.PostFormValue("refresh_token"))
		default:
			oauthError(w, "unsupported_grant_type", "Invalid grant_type: "+got)
			return
		}
		if refused != "" {
			oauthError(w, "invalid_grant", refused)
			return
		}
		token, lifetime := c.Issue(principal)
		writeJSON(w, http.StatusOK, map[string]any{
			"access_token": token, "expires_in": int(lifetime.Seconds()), "token_type": "Bearer",
		})
	})
	return mux
}

func oauthError(w http.ResponseWriter, code, description string) {
	writeJSON(w, http.StatusBadRequest, map[string]string{"error": code, "error_description": description})
}

// person checks a refresh token and returns whose it is.
func (c *Cloud) person(client, secret, token string) (principal, refused string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	email, ok := c.refresh[token]
	if !ok || client != gcloudClientID || secret != gcloudClientSecret {
		return "", "Token has been expired or revoked."
	}
	return email, ""
}

var audiencesOAuth = []string{"https://oauth2.googleapis.com/token", "https://www.googleapis.com/oauth2/v4/token"}

// claimsFor is what a JWT has to claim.
type claimsFor struct {
	audiences []string
	scope     bool // what it is good for
	subject   bool // its issuer once more
}

// verify checks a JWT and returns the account it speaks for, or Google's error.
func (c *Cloud) verify(assertion string, want claimsFor, now time.Time) (email, refused string) {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return "", "Bad Request"
	}
	var header struct{ Alg, Kid string }
	var claims struct {
		Iss, Sub, Aud, Scope string
		Iat, Exp             int64
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || decode(parts[0], &header) != nil || decode(parts[1], &claims) != nil || header.Alg != "RS256" {
		return "", "Bad Request"
	}
	c.mu.Lock()
	a := c.identities[claims.Iss]
	disabled := a != nil && a.disabled
	var keys []*rsa.PublicKey
	if a != nil {
		for id, key := range a.keys {
			if header.Kid == "" || header.Kid == id {
				keys = append(keys, key)
			}
		}
	}
	c.mu.Unlock()
	c.use(claims.Iss, assertion)
	if a == nil {
		return "", "Invalid grant: account not found"
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	valid := false
	for _, key := range keys {
		valid = valid || rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
	}
	issued, expires := time.Unix(claims.Iat, 0), time.Unix(claims.Exp, 0)
	switch {
	case disabled:
		return "", "Invalid grant: account is disabled."
	case !valid:
		return "", "Invalid JWT Signature."
	case !slices.Contains(want.audiences, claims.Aud) || want.subject && claims.Sub != claims.Iss:
		return "", "Invalid JWT: Failed audience check."
	case issued.After(now.Add(10*time.Minute)) || expires.Before(now.Add(-10*time.Minute)) || expires.Sub(issued) > time.Hour+time.Minute:
		return "", "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim."
	case want.scope && claims.Scope == "":
		return "", "Empty or missing scope not allowed."
	}
	return claims.Iss, ""
}

func decode(part string, into any) error {
	content, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(content, into)
}
