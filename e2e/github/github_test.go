package github_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/org/deploy-model-action/e2e/github"
)

// TestJobs asks for identity tokens as jobs do. What a token is good for is
// tested where it is verified, in package google.
func TestJobs(t *testing.T) {
	t.Parallel()
	g, err := github.New()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name           string
		job            github.Job
		query, bearer  string // the bearer token is the job's own if empty
		status         int
		subject, about string // claims sub and aud
	}{
		{"branch", github.Job{}, "&audience=x", "", 200, "repo:octocat/model:ref:refs/heads/main", "x"},
		{"environment", github.Job{Environment: "production"}, "&audience=x", "", 200, "repo:octocat/model:environment:production", "x"},
		{"pull request", github.Job{Repository: "a/b", Event: "pull_request"}, "&audience=x", "", 200, "repo:a/b:pull_request", "x"},
		{"no audience", github.Job{Repository: "a/b"}, "", "", 200, "repo:a/b:ref:refs/heads/main", "https://github.com/a"},
		{"another job's token", github.Job{}, "&audience=x", "other", 401, "", ""},
	} {
		env := g.Env(c.job)
		r := httptest.NewRequest(http.MethodGet, env["ACTIONS_ID_TOKEN_REQUEST_URL"]+c.query, nil)
		token := env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
		if c.bearer != "" {
			token = c.bearer
		}
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		g.Jobs().ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s: status %d, want %d: %s", c.name, w.Code, c.status, w.Body)
			continue
		}
		if c.status != http.StatusOK {
			continue
		}
		var answer struct{ Value string }
		var claims struct{ Sub, Aud, Iss string }
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(answer.Value, ".")
		content, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(content, &claims); err != nil {
			t.Fatal(err)
		}
		if claims.Sub != c.subject || claims.Aud != c.about || claims.Iss != github.Issuer {
			t.Errorf("%s: claims %+v", c.name, claims)
		}
	}
}
