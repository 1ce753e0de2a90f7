package google_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/org/deploy-model-action/e2e/github"
	"github.com/org/deploy-model-action/e2e/google"
	"github.com/org/deploy-model-action/e2e/internal/inproc"
)

const (
	project = "local-project"
	number  = "123456789012"
)

// call asks a service and returns the status and the body, or a part of it.
func call(t *testing.T, h http.Handler, method, path, token, body string) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if strings.HasPrefix(body, "grant_type=") {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%s %s: status %d, %v: %s", method, path, w.Code, err, w.Body)
	}
	return w.Code, answer
}

// at reads a field of an answer by its path.
func at(answer map[string]any, path ...string) string {
	var v any = answer
	for _, name := range path {
		o, _ := v.(map[string]any)
		v = o[name]
	}
	return fmt.Sprint(v)
}

func newCloud(t *testing.T) (*google.Cloud, *github.GitHub) {
	t.Helper()
	g, err := github.New()
	if err != nil {
		t.Fatal(err)
	}
	c := google.New(project, number)
	c.Issuers = inproc.Transport{Handler: g.Keys()}
	return c, g
}

// token makes an account with the roles and returns a token of it.
func token(t *testing.T, c *google.Cloud, name string, roles ...string) string {
	t.Helper()
	email, _, err := c.CreateServiceAccount(name, roles...)
	if err != nil {
		t.Fatal(err)
	}
	value, _ := c.Issue(email)
	return value
}

func TestFederation(t *testing.T) {
	t.Parallel()
	c, g := newCloud(t)
	other, err := github.New()
	if err != nil {
		t.Fatal(err)
	}
	open := google.Provider{Pool: "github-pool", ID: "open", Issuer: github.Issuer}
	mine := google.Provider{Pool: "github-pool", ID: "mine", Issuer: github.Issuer, Condition: "assertion.repository == 'octocat/model' && attribute.ref == 'refs/heads/main'"}
	gitlab := google.Provider{Pool: "github-pool", ID: "gitlab", Issuer: "https://gitlab.com"}
	closed := google.Provider{Pool: "github-pool", ID: "closed", Issuer: github.Issuer, Disabled: true}
	for _, p := range []google.Provider{open, mine, gitlab, closed} {
		c.AddProvider(p)
	}
	name := c.ProviderName
	fork := github.Job{Repository: "stranger/model"}
	for _, x := range []struct {
		test     string
		provider google.Provider
		job      github.Job
		issuer   *github.GitHub
		audience string
		code     string
		text     string
	}{
		{"let in", open, fork, g, "", "", ""},
		{"condition holds", mine, github.Job{}, g, "", "", ""},
		{"condition refuses", mine, fork, g, "", "unauthorized_client", "The given credential is rejected by the attribute condition."},
		{"other branch", mine, github.Job{Ref: "refs/heads/x"}, g, "", "unauthorized_client", "The given credential is rejected by the attribute condition."},
		{"other issuer", gitlab, fork, g, "", "invalid_grant", "The issuer in ID Token https://token.actions.githubusercontent.com does not match the expected one in config: https://gitlab.com."},
		{"other audience", open, fork, g, "https://github.com/octocat", "invalid_grant", "The audience in ID Token [https://github.com/octocat] does not match the expected audience."},
		{"signed by nobody", open, fork, other, "", "invalid_grant", "Error connecting to the given credential's issuer."},
		{"disabled", closed, fork, g, "", "invalid_target", `The target service indicated by the "audience" parameters is invalid. This might either be because the pool or provider is disabled or deleted or because it doesn't exist.`},
		{"long subject", open, github.Job{Ref: "refs/heads/" + strings.Repeat("x", 120)}, g, "", "invalid_request", "The size of mapped attribute google.subject exceeds the 127 bytes limit."},
	} {
		audience := x.audience
		if audience == "" {
			audience = "https://iam.googleapis.com/" + name(x.provider)
		}
		identity, err := x.issuer.Token(x.job, audience)
		if err != nil {
			t.Fatal(err)
		}
		status, answer := call(t, c.STS(), http.MethodPost, "/v1/token", "", exchange(name(x.provider), identity))
		if x.code == "" {
			who, ok := c.Lookup(at(answer, "access_token"))
			if want := c.Subject("github-pool", x.job.Subject()); status != http.StatusOK || !ok || who.Principal != want {
				t.Errorf("%s: status %d, principal %q, want 200 and %q: %v", x.test, status, who.Principal, want, answer)
			}
			// No longer than the identity token, which lives five minutes.
			if in := time.Until(who.Expires); in > 5*time.Minute || in < 4*time.Minute {
				t.Errorf("%s: the token lives %s", x.test, in)
			}
			continue
		}
		if status != http.StatusBadRequest || at(answer, "error") != x.code || !strings.HasPrefix(at(answer, "error_description"), x.text) {
			t.Errorf("%s: status %d, %v, want 400, %s: %s", x.test, status, answer, x.code, x.text)
		}
	}

	forged, err := g.Token(github.Job{}, "https://iam.googleapis.com/"+name(open))
	if err != nil {
		t.Fatal(err)
	}
	_, answer := call(t, c.STS(), http.MethodPost, "/v1/token", "", exchange(name(open), forged[:len(forged)-8]+"AAAAAAAA"))
	if got := at(answer, "error_description"); got != "Unable to verify the ID Token signature." {
		t.Errorf("forged signature: %q", got)
	}
}

func exchange(provider, token string) string {
	return "grant_type=" + url.QueryEscape("urn:ietf:params:oauth:grant-type:token-exchange") + "&" + url.Values{
		"requested_token_type": {"urn:ietf:params:oauth:token-type:access_token"}, "audience": {"//iam.googleapis.com/" + provider},
		"scope": {"https://www.googleapis.com/auth/cloud-platform"}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}, "subject_token": {token},
	}.Encode()
}

func TestImpersonation(t *testing.T) {
	t.Parallel()
	c, g := newCloud(t)
	target, _, err := c.CreateServiceAccount("target")
	if err != nil {
		t.Fatal(err)
	}
	middle, _, err := c.CreateServiceAccount("middle")
	if err != nil {
		t.Fatal(err)
	}
	p := google.Provider{Pool: "github-pool", ID: "github", Issuer: github.Issuer}
	c.AddProvider(p)
	identity, err := g.Token(github.Job{}, "https://iam.googleapis.com/"+c.ProviderName(p))
	if err != nil {
		t.Fatal(err)
	}
	_, federated := call(t, c.STS(), http.MethodPost, "/v1/token", "", exchange(c.ProviderName(p), identity))
	workflow, stranger, first := at(federated, "access_token"), token(t, c, "stranger"), token(t, c, "first")
	c.Bind(target, google.RoleFederated, c.PrincipalSet("github-pool", "repository", "octocat/model"))
	c.Bind(target, google.RoleTokenCreator, "serviceAccount:"+middle)
	c.Bind(middle, google.RoleTokenCreator, "serviceAccount:first@"+project+".iam.gserviceaccount.com")

	const scope = `"scope":["https://www.googleapis.com/auth/cloud-platform"]`
	chain := `{"delegates":["projects/-/serviceAccounts/` + middle + `"],` + scope + `}`
	denied := "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."
	for _, x := range []struct {
		test, token, account, body string
		status                     int
		message                    string
	}{
		{"repository of the binding", workflow, target, `{` + scope + `}`, 200, ""},
		{"nobody", "", target, `{` + scope + `}`, 401, "Request had invalid authentication credentials."},
		{"somebody else", stranger, target, `{` + scope + `}`, 403, denied},
		{"through a delegate", first, target, chain, 200, ""},
		{"past the delegate", first, target, `{` + scope + `}`, 403, denied},
		{"delegate of somebody else", stranger, target, chain, 403, "Permission 'iam.serviceAccounts.implicitDelegation' denied on resource (or it may not exist)."},
		{"no such account", workflow, "nobody@x.iam.gserviceaccount.com", `{` + scope + `}`, 404, "Not found; Gaia id not found for email nobody@x.iam.gserviceaccount.com"},
		{"too long", workflow, target, `{` + scope + `,"lifetime":"7200s"}`, 400, "Access tokens can not have lifetimes of more than 1 hour."},
		{"no scope", workflow, target, `{}`, 400, "Request contains an invalid argument."},
	} {
		status, answer := call(t, c.IAMCredentials(), http.MethodPost, "/v1/projects/-/serviceAccounts/"+x.account+":generateAccessToken", x.token, x.body)
		if status != x.status || x.message != "" && !strings.HasPrefix(at(answer, "error", "message"), x.message) {
			t.Errorf("%s: status %d, %v, want %d and %q", x.test, status, answer, x.status, x.message)
			continue
		}
		if who, ok := c.Lookup(at(answer, "accessToken")); status == http.StatusOK && (!ok || who.Principal != target) {
			t.Errorf("%s: a token of %q", x.test, who.Principal)
		}
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	c, _ := newCloud(t)
	for _, x := range []struct {
		account, path, flavor string
		status                int
		body                  string
	}{
		{"me@x", "instance/service-accounts/default/email", "Google", 200, "me@x"},
		{"me@x", "project/project-id", "Google", 200, project},
		{"me@x", "instance/service-accounts/default/email", "", 403, ""},
		{"", "instance/service-accounts/default/token", "Google", 404, ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "/computeMetadata/v1/"+x.path, nil)
		r.Header.Set("Metadata-Flavor", x.flavor)
		w := httptest.NewRecorder()
		c.Metadata(x.account).ServeHTTP(w, r)
		if w.Code != x.status || x.body != "" && w.Body.String() != x.body {
			t.Errorf("%+v: status %d, body %q", x, w.Code, w.Body)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/computeMetadata/v1/instance/service-accounts/default/token", nil)
	r.Header.Set("Metadata-Flavor", "Google")
	w := httptest.NewRecorder()
	c.Metadata("me@x").ServeHTTP(w, r)
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	if who, ok := c.Lookup(at(answer, "access_token")); !ok || who.Principal != "me@x" {
		t.Errorf("token of %q: %v", who.Principal, answer)
	}
}

// TestUse tells of a secret before it counts, and once.
func TestUse(t *testing.T) {
	t.Parallel()
	c, _ := newCloud(t)
	value := token(t, c, "me", google.RoleDeveloper)
	var seen []string
	c.WatchUse("me@"+project+".iam.gserviceaccount.com", func(secret string) { seen = append(seen, secret) })
	for range 2 {
		call(t, c.Container(), http.MethodGet, "/v1/projects/local-project/locations/-/clusters", value, "")
	}
	if len(seen) != 1 || seen[0] != value {
		t.Errorf("seen %q", seen)
	}
}

func TestPerson(t *testing.T) {
	t.Parallel()
	c, _ := newCloud(t)
	file, err := c.CreateUser("admin@example.com", google.RoleIAMAdmin)
	if err != nil {
		t.Fatal(err)
	}
	var login map[string]string
	if err := json.Unmarshal(file, &login); err != nil {
		t.Fatal(err)
	}
	form := func(refresh string) string {
		return "grant_type=refresh_token&" + url.Values{"client_id": {login["client_id"]}, "client_secret": {login["client_secret"]}, "refresh_token": {refresh}}.Encode()
	}
	_, answer := call(t, c.OAuth(), http.MethodPost, "/token", "", form(login["refresh_token"]))
	if who, ok := c.Lookup(at(answer, "access_token")); !ok || who.Principal != "admin@example.com" {
		t.Errorf("token of %q: %v", who.Principal, answer)
	}
	status, answer := call(t, c.OAuth(), http.MethodPost, "/token", "", form("1//other"))
	if status != http.StatusBadRequest || at(answer, "error_description") != "Token has been expired or revoked." {
		t.Errorf("other refresh token: status %d, %v", status, answer)
	}
}
