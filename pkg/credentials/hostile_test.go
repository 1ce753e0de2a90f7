package credentials

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf16"
)

const canary = "canary-5up3r-53cr3t"

func utf16LE(s string) string {
	var b strings.Builder
	b.WriteString("\xff\xfe")
	for _, u := range utf16.Encode([]rune(s)) {
		b.WriteByte(byte(u))
		b.WriteByte(byte(u >> 8))
	}
	return b.String()
}

// TestHostile gives what people and attackers put into credentials. Nothing may
// be contacted, the answer is one sentence with a way out, and none of what was
// given is in it.
func TestHostile(t *testing.T) {
	t.Parallel()
	source := func(changes ...any) string {
		return federationFile("credential_source", credentialSource(changes...))
	}
	cases := []struct{ name, text string }{
		{"executable source", federationFile("credential_source", map[string]any{"executable": map[string]any{"command": "/bin/" + canary}})},
		{"executable beside url", source("executable", canary)},
		{"file source", federationFile("credential_source", map[string]any{"file": "/etc/" + canary})},
		{"aws source", federationFile("credential_source", map[string]any{"environment_id": "aws1", "region_url": "http://169.254.169.254/" + canary})},
		{"certificate source", federationFile("credential_source", map[string]any{"certificate": map[string]any{"use_default_certificate_config": true}})},
		{"unknown source", source("programmatic", canary)},
		{"no source", federationFile("credential_source", nil)},
		{"source as text", federationFile("credential_source", canary)},
		{"url on another host", source("url", "https://"+canary+".example.com/token")},
		{"url by http", source("url", strings.Replace(testOIDC, "https:", "http:", 1))},
		{"url with another port", source("url", strings.Replace(testOIDC, ".com/", ".com:8443/", 1))},
		{"url with a user", source("url", strings.Replace(testOIDC, "https://", "https://"+canary+"@", 1))},
		{"url with the host as user", source("url", "https://run-actions-1-azure-eastus.actions.githubusercontent.com@"+canary+".example.com/")},
		{"url with a suffix", source("url", strings.Replace(testOIDC, ".com/", ".com."+canary+".example/", 1))},
		{"url of a file", source("url", "file:///etc/"+canary)},
		{"url missing", source("url", nil)},
		{"url as number", source("url", 1)},
		{"header of another name", source("headers", map[string]any{"X-Forwarded-For": canary})},
		{"header as object", source("headers", map[string]any{"Authorization": map[string]any{"x": canary}})},
		{"other format", source("format", map[string]any{"type": "text", "subject_token_field_name": canary})},
		{"token_url elsewhere", federationFile("token_url", "https://"+canary+".example.com/v1/token")},
		{"token_url by http", federationFile("token_url", "http://sts.googleapis.com/v1/token")},
		{"token_url with a suffix", federationFile("token_url", "https://sts.googleapis.com.example.com/v1/token")},
		{"token_url missing", federationFile("token_url", nil)},
		{"impersonation elsewhere", federationFile("service_account_impersonation_url", "https://"+canary+".example.com/v1/projects/-/serviceAccounts/a@b.iam.gserviceaccount.com:generateAccessToken")},
		{"impersonation with another path", federationFile("service_account_impersonation_url", "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/../../"+canary+":generateAccessToken")},
		{"impersonation of an ID token", federationFile("service_account_impersonation_url", strings.Replace(impersonationURL(testEmail), "AccessToken", "IdToken", 1))},
		{"impersonation by number", federationFile("service_account_impersonation_url", 12)},
		{"universe of federation", federationFile("universe_domain", canary+".example.com")},
		{"universe of key", keyFile("universe_domain", canary+".example.com")},
		{"universe as object", keyFile("universe_domain", map[string]any{"x": "googleapis.com"})},
		{"token_uri elsewhere", keyFile("token_uri", "https://"+canary+".example.com/token")},
		{"token_uri with a path", keyFile("token_uri", "https://oauth2.googleapis.com/token/../"+canary)},
		{"token_uri by http", keyFile("token_uri", "http://oauth2.googleapis.com/token")},
		{"field twice", strings.Replace(keyFile(), `"type"`, `"token_uri": "https://`+canary+`.example.com/", "type"`, 1)},
		{"field twice in another case", strings.Replace(keyFile(), `"type"`, `"TOKEN_URI": "https://`+canary+`.example.com/", "type"`, 1)},
		{"field twice by escape", strings.Replace(keyFile(), `"type"`, `"\u0074oken_uri": "https://`+canary+`.example.com/", "type"`, 1)},
		{"field twice within", strings.Replace(federationFile(), `"url"`, `"url": "https://`+canary+`.example.com/", "url"`, 1)},
		{"workforce pool", federationFile("audience", "//iam.googleapis.com/locations/global/workforcePools/"+canary+"/providers/p")},
		{"audience elsewhere", federationFile("audience", "//"+canary+".example.com/"+testProvider)},
		{"audience without service", federationFile("audience", testProvider)},
		{"aws subject", federationFile("subject_token_type", "urn:ietf:params:aws:token-type:aws4_request")},
		{"nested in federation", federationFile("info", map[string]any{"x": canary})},
		{"nested in key", keyFile("credential_source", map[string]any{"executable": canary})},
		{"deeply nested", strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)},
		{"list in it", keyFile("client_email", []string{canary})},
		{"list around it", "[" + keyFile() + "]"},
		{"ten megabytes", `{"type":"service_account","x":"` + strings.Repeat("x", 10<<20) + `"}`},
		{"many fields", manyFields()},
		{"not UTF-8", "{\"type\":\"service_account\",\"client_email\":\"" + canary + "\xff\"}"},
		{"UTF-16", utf16LE(keyFile())},
		{"base64 of another thing", base64.StdEncoding.EncodeToString([]byte("[" + keyFile() + "]"))},
		{"base64 of base64", base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(keyFile()))))},
		{"base64 of another type", base64.StdEncoding.EncodeToString([]byte(`{"type":"authorized_user","refresh_token":"` + canary + `"}`))},
		{"variable", "${GCP_" + canary + "}"},
		{"expression", "${{ secrets.GCP_KEY }}"},
		{"asterisks", "***"},
		{"path", "/home/runner/" + canary + ".json"},
		{"relative path", canary + ".json"},
		{"private key alone", "-----BEGIN PRIVATE KEY-----\n" + canary},
		{"in quotes", "'" + keyFile() + "'"},
		{"JSON in JSON", strconv.Quote(keyFile())},
		{"escaped once too often", strings.Trim(strconv.Quote(keyFile()), `"`)},
		{"single quotes", strings.ReplaceAll(keyFile(), `"`, "'")},
		{"YAML", "type: service_account\nprivate_key: " + canary},
		{"cut off", keyFile()[:200]},
		{"more after it", keyFile() + keyFile()},
		{"line break within a value", strings.ReplaceAll(keyFile(), `\n`, "\n")},
		{"missing comma", strings.Replace(keyFile(), ",", "", 1)},
		{"no type", keyFile("type", nil)},
		{"type as number", keyFile("type", 1)},
		{"unknown type", keyFile("type", canary)},
		{"person", edit(map[string]any{"type": "authorized_user", "refresh_token": canary, "client_id": "x", "client_secret": canary})},
		{"impersonated type", edit(map[string]any{"type": "impersonated_service_account", "source_credentials": map[string]any{"type": "authorized_user", "refresh_token": canary}})},
		{"appliance", edit(map[string]any{"type": "gdch_service_account", "token_uri": "https://" + canary})},
		{"OAuth client", edit(map[string]any{"installed": map[string]any{"client_secret": canary}})},
		{"access token", "ya29." + canary},
		{"no private_key", keyFile("private_key", nil)},
		{"no client_email", keyFile("client_email", nil)},
		{"neither", keyFile("client_email", "", "private_key", "")},
		{"client_email elsewhere", keyFile("client_email", canary+"@example.com")},
		{"client_email with a line break", keyFile("client_email", testEmail+"\n"+canary)},
		{"private_key not PEM", keyFile("private_key", canary)},
		{"private_key damaged", keyFile("private_key", strings.Replace(testPEM(), "MII", "MIJ", 1))},
		{"private_key of another sort", keyFile("private_key", "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n")},
		{"empty object", "{}"},
	}
	var all strings.Builder
	for _, c := range cases {
		o := jobOptions(t)
		o.JSON = c.text
		found, err := Find(t.Context(), o)
		var invalid *InvalidError
		if found != nil || !errors.As(err, &invalid) {
			t.Errorf("%s: Find = %v, %v, want an *InvalidError", c.name, found, err)
			continue
		}
		text := err.Error()
		for _, secret := range []string{canary, testPEM()[30:60], "0123456789abcdef"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: the error repeats what the file holds: %s", c.name, text)
			}
		}
		if strings.ContainsAny(text, "\r\n") {
			t.Errorf("%s: the error has several lines: %q", c.name, text)
		}
		fmt.Fprintf(&all, "%s:\n  %s\n", c.name, text)
	}
	golden(t, "hostile.golden", all.String())
}

var fourDigits = regexp.MustCompile(`\([0-9]{4} characters\)`)

func manyFields() string {
	var b strings.Builder
	b.WriteString(`{"type":"service_account"`)
	for i := range 100 {
		fmt.Fprintf(&b, `,"f%d":"x"`, i)
	}
	return b.String() + "}"
}

func wrap(s string) string {
	var b strings.Builder
	for len(s) > 76 {
		b.WriteString(s[:76] + "\n")
		s = s[76:]
	}
	return b.String() + s
}

// TestInputs is about the other inputs, and what is not there at all.
func TestInputs(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		change func(*Options)
	}{
		{"nothing", func(*Options) {}},
		{"nothing in a fork", func(o *Options) { o.Getenv = environment("GITHUB_EVENT_NAME", "pull_request") }},
		{"account alone without anything", func(o *Options) { o.ServiceAccount = testTarget }},
		{"key and provider", func(o *Options) { o.JSON, o.WorkloadIdentityProvider = keyFile(), testProvider }},
		{"provider without id-token", func(o *Options) { o.WorkloadIdentityProvider, o.Getenv = testProvider, environment() }},
		{"provider by project ID", func(o *Options) {
			o.WorkloadIdentityProvider = strings.Replace(testProvider, "123456789012", "my-project", 1)
		}},
		{"provider elsewhere", func(o *Options) { o.WorkloadIdentityProvider = "https://example.com/" + testProvider }},
		{"pool without provider", func(o *Options) { o.WorkloadIdentityProvider = strings.Split(testProvider, "/providers")[0] }},
		{"key as provider", func(o *Options) { o.WorkloadIdentityProvider = keyFile() }},
		{"account and delegates that are none", func(o *Options) {
			o.JSON, o.ServiceAccount, o.Delegates = keyFile(), "someone@example.com", []string{"me", testEmail}
		}},
		{"delegates without account", func(o *Options) { o.JSON, o.Delegates = keyFile(), []string{testEmail} }},
		{"federation file without id-token", func(o *Options) { o.JSON, o.Getenv = federationFile(), environment() }},
		{"wrong key and wrong account", func(o *Options) { o.JSON, o.ServiceAccount = "{}", "x y" }},
	}
	var all strings.Builder
	for _, c := range cases {
		o := jobOptions(t)
		c.change(&o)
		_, err := Find(t.Context(), o)
		var invalid *InvalidError
		if !errors.As(err, &invalid) {
			t.Errorf("%s: error = %v, want an *InvalidError", c.name, err)
			continue
		}
		// The key is another each time, and not always as long.
		text := fourDigits.ReplaceAllString(err.Error(), "(many characters)")
		fmt.Fprintf(&all, "%s:\n  %s\n", c.name, strings.ReplaceAll(text, "\n", "\n  "))
	}
	golden(t, "inputs.golden", all.String())
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(keyFile()))
	f.Add([]byte(federationFile()))
	f.Add([]byte(federationFile("service_account_impersonation_url", impersonationURL(testEmail))))
	f.Add([]byte(`{"type":"external_account","credential_source":{"url":"` + testOIDC + `"}}`))
	f.Add([]byte("\xef\xbb\xbf{}"))
	f.Add([]byte(`"{\"type\":1}"`))
	f.Add([]byte("{\n\"a\": \"\n\"}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		finder := newFinder(Options{
			Getenv:    environment("ACTIONS_ID_TOKEN_REQUEST_URL", testOIDC),
			Files:     fstest.MapFS{},
			Transport: refuseAll{t},
			IDToken:   func(context.Context, string) (string, error) { return "", nil },
		})
		found, err := finder.parse("credentials_json", data)
		if (found == nil) == (err == nil) {
			t.Fatalf("parse = %v, %v", found, err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("the error has several lines: %q", err)
		}
	})
}
