package google

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"
)

// OAuth answers for oauth2.googleapis.com: a token for a correctly signed JWT
// of a known service account (RFC 7523), and Google's errors for any other.
func (c *Cloud) OAuth() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		if got := r.PostFormValue("grant_type"); got != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
			oauthError(w, "unsupported_grant_type", "Invalid grant_type: "+got)
			return
		}
		email, err := c.verify(r.PostFormValue("assertion"), time.Now())
		if err != nil {
			oauthError(w, "invalid_grant", err.Error())
			return
		}
		token, lifetime := c.Issue(email)
		writeJSON(w, http.StatusOK, map[string]any{
			"access_token": token, "expires_in": int(lifetime.Seconds()), "token_type": "Bearer",
		})
	})
	return mux
}

func oauthError(w http.ResponseWriter, code, description string) {
	writeJSON(w, http.StatusBadRequest, map[string]string{"error": code, "error_description": description})
}

// verify checks a JWT and returns the account it speaks for. The errors are Google's.
func (c *Cloud) verify(assertion string, now time.Time) (string, error) {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return "", errors.New("Bad Request")
	}
	var header struct{ Alg, Kid string }
	var claims struct {
		Iss, Aud, Scope string
		Iat, Exp        int64
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || decode(parts[0], &header) != nil || decode(parts[1], &claims) != nil || header.Alg != "RS256" {
		return "", errors.New("Bad Request")
	}
	c.mu.Lock()
	a := c.accounts[claims.Iss]
	var keys []*rsa.PublicKey
	if a != nil {
		for id, key := range a.keys {
			if header.Kid == "" || header.Kid == id {
				keys = append(keys, key)
			}
		}
	}
	c.mu.Unlock()
	if a == nil {
		return "", errors.New("Invalid grant: account not found")
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	valid := false
	for _, key := range keys {
		valid = valid || rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
	}
	issued, expires := time.Unix(claims.Iat, 0), time.Unix(claims.Exp, 0)
	switch {
	case !valid:
		return "", errors.New("Invalid JWT Signature.")
	case claims.Aud != "https://oauth2.googleapis.com/token" && claims.Aud != "https://www.googleapis.com/oauth2/v4/token":
		return "", errors.New("Invalid JWT: Failed audience check.")
	case issued.After(now.Add(10*time.Minute)) || expires.Before(now.Add(-10*time.Minute)) || expires.Sub(issued) > time.Hour+time.Minute:
		return "", errors.New("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.")
	case claims.Scope == "":
		return "", errors.New("Empty or missing scope not allowed.")
	}
	return claims.Iss, nil
}

func decode(part string, into any) error {
	content, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(content, into)
}

// TokenReview answers the API server's question whose token it is, as GKE's
// authenticator does: the user's name is the account's e-mail.
func (c *Cloud) TokenReview() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Spec       struct {
				Token string `json:"token"`
			} `json:"spec"`
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		status := map[string]any{"authenticated": false}
		if t, ok := c.Lookup(review.Spec.Token); ok {
			status = map[string]any{"authenticated": true, "user": map[string]any{
				"username": t.Email, "uid": c.id(t.Email), "groups": []string{"system:authenticated"},
			}}
		}
		writeJSON(w, http.StatusOK, map[string]any{"apiVersion": review.APIVersion, "kind": review.Kind, "status": status})
	})
}

func (c *Cloud) id(email string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.accounts[email]; a != nil {
		return a.id
	}
	return ""
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(body)
}
