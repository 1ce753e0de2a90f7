package credentials

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// loginFile is what `gcloud auth application-default login` leaves, with changes.
func loginFile(changes ...any) string {
	return edit(map[string]any{
		"account":          "",
		"client_id":        "764086051850-6qr4p6gpi6hn506pt8ejuq83di341hur.apps.googleusercontent.com",
		"client_secret":    "local-client-secret",
		"quota_project_id": "quota-project",
		"refresh_token":    "1//" + canary,
		"type":             "authorized_user",
		"universe_domain":  "googleapis.com",
	}, changes...)
}

// TestPeople finds the login of a person, where that is asked for.
func TestPeople(t *testing.T) {
	t.Parallel()
	type want struct {
		Kind, Principal, Quota, Token string
		Personal                      bool
	}
	person := want{Kind: "login of a person", Quota: "quota-project", Token: "ya29.c.key-1", Personal: true}
	for _, c := range []struct {
		name  string
		env   []string
		files map[string]string
		want  want
	}{
		{"token", []string{"GOOGLE_OAUTH_ACCESS_TOKEN", " ya29.mine\n", "HOME", "/root"}, map[string]string{"root/.config/gcloud/" + adc: loginFile()}, want{Kind: "access token", Token: "ya29.mine", Personal: true}},
		{"mounted at home", []string{"HOME", "/root"}, map[string]string{"root/.config/gcloud/" + adc: loginFile()}, person},
		{"mounted elsewhere", []string{"HOME", "/root", "CLOUDSDK_CONFIG", "/gcloud"}, map[string]string{"gcloud/" + adc: loginFile()}, person},
		{"named", []string{"HOME", "/root", "GOOGLE_APPLICATION_CREDENTIALS", "/login.json"}, map[string]string{"login.json": loginFile()}, person},
		{"named key before login", []string{"HOME", "/root", "GOOGLE_APPLICATION_CREDENTIALS", "/key.json"}, map[string]string{"key.json": keyFile(), "root/.config/gcloud/" + adc: loginFile()}, want{Kind: "service account key", Principal: testEmail, Token: "ya29.c.key-1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			files := fstest.MapFS{}
			for name, content := range c.files {
				files[name] = &fstest.MapFile{Data: []byte(content)}
			}
			g := newServices(t)
			o := g.options(t)
			o.People, o.Files, o.Getenv = true, files, environment(c.env...)
			found, err := Find(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			token, err := found.Tokens.Token()
			if err != nil {
				t.Fatal(err)
			}
			got := want{found.Kind, found.Principal, found.QuotaProject, token.AccessToken, found.Personal}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestPeopleRefused shows what is wrong with a login, without what it holds.
func TestPeopleRefused(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for _, c := range []struct{ name, text string }{
		{"client elsewhere", loginFile("client_id", canary+".example.com")},
		{"no refresh token", loginFile("refresh_token", nil)},
		{"refresh token with a line break", loginFile("refresh_token", canary+"\nX-Header: x")},
		{"secret as number", loginFile("client_secret", 1)},
		{"other universe", loginFile("universe_domain", canary+".example.com")},
		{"quota project that is none", loginFile("quota_project_id", canary+"\nx")},
		{"impersonated", edit(map[string]any{"type": "impersonated_service_account"})},
	} {
		o := jobOptions(t)
		o.People, o.JSON = true, c.text
		_, err := Find(t.Context(), o)
		var invalid *InvalidError
		if !errors.As(err, &invalid) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: error = %v, want an *InvalidError that repeats nothing", c.name, err)
			continue
		}
		fmt.Fprintf(&all, "%s:\n  %s\n", c.name, err)
	}
	o := jobOptions(t)
	o.People, o.Getenv = true, environment("HOME", "/root")
	_, err := Find(t.Context(), o)
	fmt.Fprintf(&all, "nothing:\n  %v\n", err)
	o.Getenv = environment("GOOGLE_OAUTH_ACCESS_TOKEN", "a b")
	_, err = Find(t.Context(), o)
	fmt.Fprintf(&all, "no token:\n  %v\n", err)

	g := newServices(t)
	o = g.options(t)
	o.People, o.JSON = true, loginFile()
	said(g, hostOAuth, http.StatusBadRequest, `{"error":"invalid_grant","error_description":"Token has been expired or revoked."}`)
	fmt.Fprintf(&all, "login that ended:\n  %s\n", refused(t, o))
	golden(t, "people.golden", all.String())
}
