package credentials

import (
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// TestWaysIn goes every way in to its token, and looks at who was asked, and
// whether each secret was masked before it was used or handed out.
func TestWaysIn(t *testing.T) {
	t.Parallel()
	type want struct {
		Kind, Principal, ProjectID, File, Token string
		Events                                  []string
	}
	const repository = "principalSet://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/github-pool/attribute.repository/acme/models"
	file := func(text string) func(t *testing.T, o *Options) {
		return func(t *testing.T, o *Options) {
			t.Helper()
			o.Workspace = workspace(t, map[string]string{"gha-creds-0011223344556677.json": text})
			path := filepath.Join(o.Workspace.Name(), "gha-creds-0011223344556677.json")
			rest := o.Getenv
			o.Getenv = func(name string) string {
				if name == "GOOGLE_GHA_CREDS_PATH" {
					return path
				}
				return rest(name)
			}
		}
	}
	cases := []struct {
		name   string
		change func(t *testing.T, o *Options)
		want   want
	}{
		{
			"key", func(_ *testing.T, o *Options) { o.JSON = "\n" + keyFile() + "\n" },
			want{Kind: "service account key", Principal: testEmail, ProjectID: "my-project", Token: "ya29.c.key-1", Events: []string{
				"mask -----BEGIN PRIVATE KEY-----", "mask JWT", "request oauth2.googleapis.com/token", "mask ya29.c.key-1",
			}},
		},
		{
			"key as base64, in lines", func(_ *testing.T, o *Options) { o.JSON = wrap(base64.StdEncoding.EncodeToString([]byte(keyFile()))) },
			want{Kind: "service account key", Principal: testEmail, ProjectID: "my-project", Token: "ya29.c.key-1", Events: []string{
				"mask -----BEGIN PRIVATE KEY-----", "mask JWT", "request oauth2.googleapis.com/token", "mask ya29.c.key-1",
			}},
		},
		{
			"key with escaped line breaks and an old token_uri", func(_ *testing.T, o *Options) {
				o.JSON = "\ufeff" + keyFile("private_key", strings.ReplaceAll(testPEM(), "\n", `\n`), "token_uri", oldTokenURI, "project_id", nil)
			},
			want{Kind: "service account key", Principal: testEmail, ProjectID: "my-project", Token: "ya29.c.key-1", Events: []string{
				"mask -----BEGIN PRIVATE KEY-----", "mask JWT", "request oauth2.googleapis.com/token", "mask ya29.c.key-1",
			}},
		},
		{
			"key impersonating", func(_ *testing.T, o *Options) { o.JSON, o.ServiceAccount = keyFile(), testTarget },
			want{Kind: "service account key, impersonating a service account", Principal: testTarget, ProjectID: "other-project", Token: "ya29.c.impersonated-2", Events: []string{
				"mask -----BEGIN PRIVATE KEY-----", "mask JWT", "request oauth2.googleapis.com/token", "mask ya29.c.key-1",
				"request iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + testTarget + ":generateAccessToken", "mask ya29.c.impersonated-2",
			}},
		},
		{
			"key of the account itself", func(_ *testing.T, o *Options) { o.JSON, o.ServiceAccount = keyFile(), testEmail },
			want{Kind: "service account key", Principal: testEmail, ProjectID: "my-project", Token: "ya29.c.key-1", Events: []string{
				"mask -----BEGIN PRIVATE KEY-----", "mask JWT", "request oauth2.googleapis.com/token", "mask ya29.c.key-1",
			}},
		},
		{
			"provider", func(_ *testing.T, o *Options) {
				o.WorkloadIdentityProvider = "//iam.googleapis.com/" + testProvider
			},
			want{Kind: "workload identity federation", Principal: repository, Token: "ya29.d.federated-1", Events: []string{
				"mask github-token-for:https://iam.googleapis.com/" + testProvider, "request sts.googleapis.com/v1/token", "mask ya29.d.federated-1",
			}},
		},
		{
			"provider impersonating", func(_ *testing.T, o *Options) {
				o.WorkloadIdentityProvider, o.ServiceAccount = testProvider, testTarget
			},
			want{Kind: "workload identity federation, impersonating a service account", Principal: testTarget, ProjectID: "other-project", Token: "ya29.c.impersonated-2", Events: []string{
				"mask github-token-for:https://iam.googleapis.com/" + testProvider, "request sts.googleapis.com/v1/token", "mask ya29.d.federated-1",
				"request iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + testTarget + ":generateAccessToken", "mask ya29.c.impersonated-2",
			}},
		},
		{
			"file of a job with a container, which names it by the path that it has there", func(t *testing.T, o *Options) {
				t.Helper()
				file(keyFile())(t, o)
				rest := o.Getenv
				o.Getenv = func(name string) string {
					return strings.Replace(rest(name), o.Workspace.Name(), "/__w/model/model", 1)
				}
			},
			want{Kind: "service account key", Principal: testEmail, ProjectID: "my-project", File: "gha-creds-0011223344556677.json", Token: "ya29.c.key-1", Events: []string{
				"mask -----BEGIN PRIVATE KEY-----", "mask JWT", "request oauth2.googleapis.com/token", "mask ya29.c.key-1",
			}},
		},
		{
			"file with a key", file(keyFile()),
			want{Kind: "service account key", Principal: testEmail, ProjectID: "my-project", File: "WORKSPACE/gha-creds-0011223344556677.json", Token: "ya29.c.key-1", Events: []string{
				"mask -----BEGIN PRIVATE KEY-----", "mask JWT", "request oauth2.googleapis.com/token", "mask ya29.c.key-1",
			}},
		},
		{
			"file with federation", file(federationFile()),
			want{Kind: "workload identity federation", Principal: repository, File: "WORKSPACE/gha-creds-0011223344556677.json", Token: "ya29.d.federated-1", Events: []string{
				"mask canary-request-token", "mask github-token-for:https://iam.googleapis.com/" + testProvider, "request sts.googleapis.com/v1/token", "mask ya29.d.federated-1",
			}},
		},
		{
			"file with federation and an account", file(federationFile("service_account_impersonation_url", impersonationURL(testTarget))),
			want{Kind: "workload identity federation, impersonating a service account", Principal: testTarget, ProjectID: "other-project", File: "WORKSPACE/gha-creds-0011223344556677.json", Token: "ya29.c.impersonated-2", Events: []string{
				"mask canary-request-token", "mask github-token-for:https://iam.googleapis.com/" + testProvider, "request sts.googleapis.com/v1/token", "mask ya29.d.federated-1",
				"request iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + testTarget + ":generateAccessToken", "mask ya29.c.impersonated-2",
			}},
		},
		{
			"file outside the workspace", func(t *testing.T, o *Options) {
				t.Helper()
				o.Workspace = workspace(t, nil)
				o.Files = fstest.MapFS{"github/runner_temp/key.json": {Data: []byte(keyFile())}}
				o.Getenv = environment("GOOGLE_APPLICATION_CREDENTIALS", "/github/runner_temp/key.json")
			},
			want{Kind: "service account key", Principal: testEmail, ProjectID: "my-project", File: "/github/runner_temp/key.json", Token: "ya29.c.key-1", Events: []string{
				"mask -----BEGIN PRIVATE KEY-----", "mask JWT", "request oauth2.googleapis.com/token", "mask ya29.c.key-1",
			}},
		},
	}
	assertion := regexp.MustCompile(`^mask eyJ[\w-]+\.[\w-]+\.[\w-]+$`)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := newServices(t)
			o := g.options(t)
			c.change(t, &o)
			found, err := Find(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			token, err := found.Tokens.Token()
			if err != nil {
				t.Fatal(err)
			}
			got := want{Kind: found.Kind, Principal: found.Principal, ProjectID: found.ProjectID, File: found.File, Token: token.AccessToken}
			if o.Workspace != nil {
				got.File = strings.Replace(got.File, o.Workspace.Name(), "WORKSPACE", 1)
			}
			for _, e := range g.events {
				got.Events = append(got.Events, assertion.ReplaceAllString(e, "mask JWT"))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func workspace(t *testing.T, files map[string]string) *os.Root {
	t.Helper()
	folder := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// TestFiles is about files that are not what the environment says.
func TestFiles(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(outside, []byte(keyFile()), 0o600); err != nil {
		t.Fatal(err)
	}
	root := workspace(t, map[string]string{"empty.json": "", "big.json": strings.Repeat(" ", maxSize) + keyFile()})
	folder := root.Name()
	for from, to := range map[string]string{"link.json": outside, "up.json": "../" + filepath.Base(outside), "device.json": "/dev/zero"} {
		if err := os.Symlink(to, filepath.Join(folder, from)); err != nil {
			t.Fatal(err)
		}
	}
	cases := []struct{ path, want string }{
		{"gone.json", "is not there"},
		{"link.json", "symbolic link out of"},
		{"up.json", "symbolic link out of"},
		{"device.json", "symbolic link out of"},
		{".", "not a regular file"},
		{"empty.json", "is empty"},
		{"big.json", "more than 64 KiB"},
	}
	for _, c := range cases {
		o := jobOptions(t)
		o.Workspace = root
		o.Getenv = environment("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(folder, c.path))
		_, err := Find(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error = %v, want one with %q", c.path, err, c.want)
		}
	}
}

// TestIdentityTokenByHTTP accepts what the runner itself says, and nothing else.
func TestIdentityTokenByHTTP(t *testing.T) {
	t.Parallel()
	const url = "http://127.0.0.1:4443/token?x=1"
	for _, c := range []struct {
		url  string
		fine bool
	}{{url + "&audience=abc", true}, {"https://127.0.0.1:4443/token", false}, {"http://127.0.0.1/token", false}} {
		o := jobOptions(t)
		o.Getenv = environment("ACTIONS_ID_TOKEN_REQUEST_URL", url)
		o.JSON = federationFile("credential_source", credentialSource("url", c.url))
		if _, err := Find(t.Context(), o); (err == nil) != c.fine {
			t.Errorf("%s: error = %v", c.url, err)
		}
	}
}

// TestAudienceOfFile asks for the audience that the file names.
func TestAudienceOfFile(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		testOIDC + "&audience=my-own": "my-own",
		testOIDC:                      "https://iam.googleapis.com/" + testProvider,
	} {
		o := newServices(t).options(t)
		var asked string
		o.IDToken = func(_ context.Context, audience string) (string, error) {
			asked = audience
			return "x", nil
		}
		o.JSON = federationFile("credential_source", credentialSource("url", url))
		found, err := Find(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := found.Tokens.Token(); err != nil || asked != want {
			t.Errorf("audience = %q, %v, want %q", asked, err, want)
		}
	}
}
