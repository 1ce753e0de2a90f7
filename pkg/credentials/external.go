package credentials

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// impersonationForm is the one address that may make tokens of an account.
var impersonationForm = regexp.MustCompile(`^https://iamcredentials\.googleapis\.com/v1/projects/-/serviceAccounts/([^/:?#]+):generateAccessToken$`)

// external validates a federation file, as google-github-actions/auth writes it.
// What it names must be what this package would do anyway: the addresses are
// compared, not used. The identity token is asked for by the step itself, and
// the file says only for which audience.
func (f *finder) external(doc object) (*identity, string) {
	const again = "let google-github-actions/auth write the file, or set workload_identity_provider"
	texts := map[string]string{}
	for _, name := range []string{"audience", "subject_token_type", "token_url", "service_account_impersonation_url", "universe_domain", "workforce_pool_user_project"} {
		value, ok := doc.text(name)
		if !ok {
			return nil, fmt.Sprintf("has a %q that is not text: %s", name, again)
		}
		texts[name] = value
	}
	for name, v := range doc {
		if _, nested := v.(object); nested && name != "credential_source" && name != "service_account_impersonation" {
			return nil, "holds an object that no federation file has: " + again
		}
	}
	switch {
	case !slices.Contains([]string{"", googleUniverse}, texts["universe_domain"]):
		return nil, "has a universe_domain that is not " + googleUniverse + ": other universes are not supported"
	case texts["token_url"] != stsURL:
		return nil, "has a token_url that is not " + stsURL + ": identity tokens are shown to Google only; " + again
	case texts["workforce_pool_user_project"] != "" || strings.Contains(texts["audience"], "/workforcePools/"):
		return nil, "is for a workforce pool, which is for people: use a workload identity pool"
	case !slices.Contains([]string{typeJWT, typeIDToken}, texts["subject_token_type"]):
		return nil, "has a subject_token_type other than that of GitHub's identity tokens, " + typeJWT + ": " + again
	}
	p, problem := parseProvider(texts["audience"])
	if problem != "" || !strings.HasPrefix(texts["audience"], "//iam.googleapis.com/") {
		return nil, "has an audience that is not //iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER: " + again
	}
	account := ""
	if address := texts["service_account_impersonation_url"]; address != "" {
		m := impersonationForm.FindStringSubmatch(address)
		if m != nil {
			account = strings.Replace(m[1], "%40", "@", 1)
		}
		if !isServiceAccount(account) {
			return nil, "has a service_account_impersonation_url that is not https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/NAME@PROJECT.iam.gserviceaccount.com:generateAccessToken: " + again
		}
	}
	audience, problem := f.credentialSource(doc, p)
	if problem != "" {
		return nil, problem
	}
	found := f.federated(p, texts["subject_token_type"], audience)
	if account == "" {
		return found, ""
	}
	return f.impersonate(found, account, nil), ""
}

// credentialSource validates where a federation file says that the identity
// token comes from, and returns the audience that it asks for.
func (f *finder) credentialSource(doc object, p provider) (audience, problem string) {
	const only = "only GitHub's identity tokens are accepted; let google-github-actions/auth write the file"
	source, ok := doc.object("credential_source")
	if !ok || source == nil {
		return "", "has no credential_source object: " + only
	}
	for _, refused := range []struct{ name, what string }{
		{"executable", "starts a program (credential_source.executable)"},
		{"file", "reads a file (credential_source.file)"},
		{"environment_id", "is for AWS (credential_source.environment_id)"},
		{"certificate", "uses a client certificate (credential_source.certificate)"},
	} {
		if _, there := source[refused.name]; there {
			return "", refused.what + ", which is never done: " + only
		}
	}
	for name := range source {
		if name != "url" && name != "headers" && name != "format" {
			return "", "has a field in credential_source that GitHub's identity tokens do not need: " + only
		}
	}
	if problem := f.format(source); problem != "" {
		return "", problem + ": " + only
	}
	if problem := f.identityTokens(); problem != "" {
		return "", problem
	}
	address, _ := source.text("url")
	asked, err := url.Parse(address)
	if err != nil || address == "" {
		return "", "has a credential_source.url that is not a URL: " + only
	}
	github, err := url.Parse(f.Getenv("ACTIONS_ID_TOKEN_REQUEST_URL"))
	if err != nil {
		return "", "cannot be checked, since ACTIONS_ID_TOKEN_REQUEST_URL is not a URL: run it on GitHub Actions"
	}
	if asked.Scheme != github.Scheme || !strings.EqualFold(asked.Host, github.Host) || asked.User != nil || asked.Fragment != "" {
		return "", "has a credential_source.url on another host than GitHub's for this job (ACTIONS_ID_TOKEN_REQUEST_URL): " + only
	}
	if audience = asked.Query().Get("audience"); audience == "" {
		audience = "https://iam.googleapis.com/" + p.String()
	}
	return audience, ""
}

// format validates headers and format, and masks the bearer token among them.
func (f *finder) format(source object) string {
	headers, ok := source.object("headers")
	if !ok {
		return "has credential_source.headers that are not an object"
	}
	for name, v := range headers {
		value, text := v.(string)
		if !text || !strings.EqualFold(name, "Authorization") {
			return "has credential_source.headers other than Authorization"
		}
		if token := strings.TrimSpace(strings.TrimPrefix(value, "Bearer ")); isToken(token) {
			f.Mask(token)
		}
	}
	format, ok := source.object("format")
	if !ok {
		return "has a credential_source.format that is not an object"
	}
	for name, want := range map[string]string{"type": "json", "subject_token_field_name": "value"} {
		if v, there := format[name]; there && v != want {
			return "has a credential_source.format other than GitHub's (json, value)"
		}
	}
	return ""
}
