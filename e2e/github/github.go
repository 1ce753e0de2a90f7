// Package github imitates the part of GitHub Actions that gives identity tokens
// to jobs: the issuer's keys, and the URL from which a job with the permission
// id-token: write asks for a token, with a bearer token of its own.
package github

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The hosts that answer, and the issuer that tokens name.
const (
	IssuerHost = "token.actions.githubusercontent.com"
	Issuer     = "https://" + IssuerHost
	JobsHost   = "pipelines.actions.githubusercontent.com"
)

// lifetime of an identity token, as on GitHub.
const lifetime = 5 * time.Minute

// Job is what the tokens of one job say. Empty fields are those of the runner's
// imitation.
type Job struct {
	Repository, Ref, SHA, Event, Workflow, Environment string
}

// GitHub is the issuer and its jobs.
type GitHub struct {
	key *rsa.PrivateKey
	id  string

	mu   sync.Mutex
	jobs map[string]Job // by request token
}

// New makes an issuer with a key of its own.
func New() (*GitHub, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("issuer of identity tokens: %w", err)
	}
	return &GitHub{key: key, id: strings.ToUpper(text(20)), jobs: map[string]Job{}}, nil
}

// Subject is whom a job's tokens are about.
func (j Job) Subject() string {
	j = j.complete()
	switch {
	case j.Environment != "":
		return "repo:" + j.Repository + ":environment:" + j.Environment
	case j.Event == "pull_request":
		return "repo:" + j.Repository + ":pull_request"
	}
	return "repo:" + j.Repository + ":ref:" + j.Ref
}

func (j Job) complete() Job {
	for _, d := range []struct {
		field *string
		value string
	}{{&j.Repository, "octocat/model"}, {&j.Ref, "refs/heads/main"}, {&j.Event, "push"}, {&j.Workflow, "MLOps"}, {&j.SHA, strings.Repeat("0", 40)}} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	return j
}

// Env is what the runner gives a job that has id-token: write; a job without it
// is given nothing.
func (g *GitHub) Env(j Job) map[string]string {
	token := "local-request-token-" + text(32)
	g.mu.Lock()
	g.jobs[token] = j.complete()
	g.mu.Unlock()
	return map[string]string{
		"ACTIONS_ID_TOKEN_REQUEST_URL":   "https://" + JobsHost + "/local/00000000-0000-0000-0000-000000000000/_apis/distributedtask/hubs/Actions/plans/1/jobs/2/idtoken?api-version=2.0",
		"ACTIONS_ID_TOKEN_REQUEST_TOKEN": token,
	}
}

// Keys answers for token.actions.githubusercontent.com.
func (g *GitHub) Keys() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{
			"issuer": Issuer, "jwks_uri": Issuer + "/.well-known/jwks", "subject_types_supported": []string{"public", "pairwise"},
			"response_types_supported": []string{"id_token"}, "id_token_signing_alg_values_supported": []string{"RS256"},
			"scopes_supported": []string{"openid"},
		})
	})
	mux.HandleFunc("GET /.well-known/jwks", func(w http.ResponseWriter, _ *http.Request) {
		encode := base64.RawURLEncoding.EncodeToString
		answer(w, http.StatusOK, map[string]any{"keys": []map[string]string{{
			"kty": "RSA", "alg": "RS256", "use": "sig", "kid": g.id,
			"n": encode(g.key.N.Bytes()), "e": encode(big.NewInt(int64(g.key.E)).Bytes()),
		}}})
	})
	return mux
}

// Jobs answers for the host of ACTIONS_ID_TOKEN_REQUEST_URL.
func (g *GitHub) Jobs() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		g.mu.Lock()
		job, ok := g.jobs[token]
		g.mu.Unlock()
		if !ok || !strings.HasSuffix(r.URL.Path, "/idtoken") {
			answer(w, http.StatusUnauthorized, map[string]any{"$id": "1", "message": "The request is not authorized.", "typeName": "GitHub.Services.WebApi.UnauthorizedRequestException", "errorCode": 0})
			return
		}
		audience := r.URL.Query().Get("audience")
		if audience == "" {
			owner, _, _ := strings.Cut(job.Repository, "/")
			audience = "https://github.com/" + owner
		}
		value, err := g.Token(job, audience)
		if err != nil {
			answer(w, http.StatusInternalServerError, map[string]any{"message": err.Error()})
			return
		}
		answer(w, http.StatusOK, map[string]any{"count": len(value), "value": value})
	})
}

// Token signs an identity token of a job.
func (g *GitHub) Token(j Job, audience string) (string, error) {
	j = j.complete()
	owner, _, _ := strings.Cut(j.Repository, "/")
	now := time.Now()
	workflow := fmt.Sprintf("%s/.github/workflows/%s.yml@%s", j.Repository, strings.ToLower(j.Workflow), j.Ref)
	claims := map[string]any{
		"jti": text(16), "sub": j.Subject(), "aud": audience, "iss": Issuer,
		"iat": now.Unix(), "nbf": now.Add(-lifetime).Unix(), "exp": now.Add(lifetime).Unix(),
		"ref": j.Ref, "ref_type": "branch", "ref_protected": "true", "sha": j.SHA, "event_name": j.Event,
		"repository": j.Repository, "repository_owner": owner, "repository_id": "1296269", "repository_owner_id": "583231", "repository_visibility": "private",
		"run_id": "16000000001", "run_number": "1", "run_attempt": "1", "actor": "octocat", "actor_id": "583231",
		"workflow": j.Workflow, "workflow_ref": workflow, "workflow_sha": j.SHA, "job_workflow_ref": workflow, "job_workflow_sha": j.SHA,
		"head_ref": "", "base_ref": "", "runner_environment": "github-hosted",
	}
	if j.Environment != "" {
		claims["environment"] = j.Environment
	}
	var parts []string
	for _, part := range []any{map[string]string{"typ": "JWT", "alg": "RS256", "kid": g.id, "x5t": g.id}, claims} {
		content, err := json.Marshal(part)
		if err != nil {
			return "", fmt.Errorf("identity token: %w", err)
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(content))
	}
	signed := strings.Join(parts, ".")
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, g.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("identity token: %w", err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func text(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, by its documentation
	return hex.EncodeToString(b)
}
