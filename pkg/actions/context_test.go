package actions

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// idTokens serves answers one after the other, as the runner's token service
// does, and returns a step that may ask it.
func idTokens(t *testing.T, answers ...func(http.ResponseWriter)) (w *Workflow, out *strings.Builder, asked *[]string) {
	t.Helper()
	asked = new([]string)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Authorization"))
		if len(answers) == 0 {
			t.Error("asked once more")
			return
		}
		answer := answers[0]
		answers = answers[1:]
		answer(rw)
	}))
	t.Cleanup(server.Close)
	out = new(strings.Builder)
	environment := map[string]string{
		"GITHUB_ACTIONS":                 "true",
		"ACTIONS_ID_TOKEN_REQUEST_URL":   server.URL + "/idtoken?api-version=2.0",
		"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request-token",
	}
	return New(func(name string) string { return environment[name] }, out), out, asked
}

func answer(status int, body string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func cut(w http.ResponseWriter) {
	connection, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = connection.Close()
	}
}

func TestIDToken(t *testing.T) {
	t.Parallel()
	token := answer(http.StatusOK, `{"count":1,"value":"header.payload.signature"}`)
	const request = "GET /idtoken?api-version=2.0&audience=https%3A%2F%2Fiam.googleapis.com%2Fx request-token"
	for name, c := range map[string]struct {
		answers []func(http.ResponseWriter)
		err     string // "" for the token
	}{
		"at once":           {[]func(http.ResponseWriter){token}, ""},
		"after 503 and 500": {[]func(http.ResponseWriter){answer(503, "busy"), answer(500, ""), token}, ""},
		"after a cut":       {[]func(http.ResponseWriter){cut, token}, ""},
		"after 429":         {[]func(http.ResponseWriter){answer(429, ""), token}, ""},
		"after no token":    {[]func(http.ResponseWriter){answer(200, `{}`), token}, ""},
		"after no JSON":     {[]func(http.ResponseWriter){answer(200, `<html>`), token}, ""},
		"refused": {
			[]func(http.ResponseWriter){answer(403, "audience\r\n::add-mask::e not allowed "+strings.Repeat("x", 10_000))},
			`GitHub's OIDC token service: status 403 "audience ::add-mask::e not allowed ` + strings.Repeat("x", 200-len("audience ::add-mask::e not allowed ")-len("…")) + `…"`,
		},
		"redirected": {
			[]func(http.ResponseWriter){func(w http.ResponseWriter) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(http.StatusFound)
			}},
			`GitHub's OIDC token service: status 302 ""`,
		},
		"never": {
			[]func(http.ResponseWriter){answer(503, "busy"), answer(503, "busy"), answer(503, "busy"), answer(503, "still busy")},
			`GitHub's OIDC token service: status 503 "still busy"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, out, asked := idTokens(t, c.answers...)
			got, err := w.IDToken(t.Context(), "https://iam.googleapis.com/x")
			var want []string
			for range c.answers {
				want = append(want, strings.Replace(request, " request-token", " Bearer request-token", 1))
			}
			if diff := cmp.Diff(want, *asked); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			if c.err != "" {
				if err == nil || err.Error() != c.err || out.Len() > 0 {
					t.Errorf("error %v\nwant  %s\nprinted %q", err, c.err, out)
				}
				return
			}
			if err != nil || got != "header.payload.signature" {
				t.Errorf("token %q, error %v", got, err)
			}
			// It has been masked before anybody could print it.
			if out.String() != "::add-mask::header.payload.signature\n" {
				t.Errorf("printed %q", out)
			}
		})
	}
}

func TestIDTokenWithoutPermission(t *testing.T) {
	t.Parallel()
	for _, environment := range []map[string]string{
		nil,
		{"ACTIONS_ID_TOKEN_REQUEST_URL": "https://example.com"},
		{"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "x"},
	} {
		w := New(func(name string) string { return environment[name] }, new(strings.Builder))
		if _, err := w.IDToken(t.Context(), "x"); !errors.Is(err, ErrNoIDToken) || !strings.Contains(err.Error(), "id-token: write") {
			t.Errorf("with %v: %v", environment, err)
		}
	}
}

func TestIDTokenStopsWhenCancelled(t *testing.T) {
	t.Parallel()
	busy := answer(http.StatusServiceUnavailable, "")
	w, _, asked := idTokens(t, busy, busy, busy, busy)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := w.IDToken(ctx, "x"); !errors.Is(err, context.DeadlineExceeded) || len(*asked) != 1 {
		t.Errorf("error %v after %d requests", err, len(*asked))
	}
}

// The SDK's errors hold the URL of the request; ours only what went wrong.
func TestIDTokenErrorsNameNoURL(t *testing.T) {
	t.Parallel()
	w, _, _ := idTokens(t, cut, cut, cut, cut)
	_, err := w.IDToken(t.Context(), "audience-of-the-request")
	if err == nil || strings.Contains(err.Error(), "audience-of") || strings.Contains(err.Error(), "failed to") {
		t.Errorf("error %v", err)
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	environment := map[string]string{
		"GITHUB_REPOSITORY": "octocat/model", "GITHUB_SHA": "abc", "GITHUB_REF": "refs/heads/main", "GITHUB_RUN_ID": "16",
		"GITHUB_RUN_NUMBER": "7", "GITHUB_RUN_ATTEMPT": "2", "GITHUB_SERVER_URL": "https://github.com", "GITHUB_WORKFLOW": "MLOps",
		"GITHUB_JOB": "deploy", "GITHUB_ACTOR": "octocat", "GITHUB_EVENT_NAME": "push", "GITHUB_WORKSPACE": "/github/workspace",
	}
	got := New(func(name string) string { return environment[name] }, new(strings.Builder)).Run()
	want := Run{
		Repository: "octocat/model", SHA: "abc", Ref: "refs/heads/main", RunID: "16", RunNumber: "7", RunAttempt: "2",
		ServerURL: "https://github.com", Workflow: "MLOps", Job: "deploy", Actor: "octocat", EventName: "push", Workspace: "/github/workspace",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("run (-want +got):\n%s", diff)
	}
	if got := New(func(string) string { return "" }, new(strings.Builder)).Run(); got != (Run{Workspace: "."}) {
		t.Errorf("run by hand %+v", got)
	}
}
