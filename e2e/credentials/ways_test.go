package credentials_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/github"
)

// way is a kind of credentials: it sets them up for a place, with an identity of
// the place's own that has the roles.
type way struct {
	name string
	// set returns the step's inputs and the environment that earlier steps left,
	// and whose tokens will be used.
	set func(x *cloudtest.Test, roles []string) (with, env map[string]string, principals []string)
}

// ways are all kinds.
var ways = []way{
	{"key as input", func(x *cloudtest.Test, roles []string) (with, env map[string]string, principals []string) {
		email, key := account(x, unique(x, "key"), roles...)
		return map[string]string{"credentials_json": key}, nil, []string{email}
	}},
	{"key left by auth", func(x *cloudtest.Test, roles []string) (with, env map[string]string, principals []string) {
		email, key := account(x, unique(x, "left"), roles...)
		return nil, authLeaves(x, compact(x, key)), []string{email}
	}},
	{"federation left by auth", func(x *cloudtest.Test, roles []string) (with, env map[string]string, principals []string) {
		job, principal := workflow(x)
		x.Cloud.Google.SetRoles(principal, roles...)
		return nil, join(job, authLeaves(x, federationFile(x, job, ""))), []string{principal}
	}},
	{"federation with account left by auth", func(x *cloudtest.Test, roles []string) (with, env map[string]string, principals []string) {
		job, principal := workflow(x)
		email := impersonated(x, principal, roles)
		return nil, join(job, authLeaves(x, federationFile(x, job, email))), []string{principal, email}
	}},
	{"federation", func(x *cloudtest.Test, roles []string) (with, env map[string]string, principals []string) {
		job, principal := workflow(x)
		x.Cloud.Google.SetRoles(principal, roles...)
		return map[string]string{"workload_identity_provider": x.Cloud.ProviderName(), "project_id": x.Cloud.Google.Project}, job, []string{principal}
	}},
	{"federation with account", func(x *cloudtest.Test, roles []string) (with, env map[string]string, principals []string) {
		job, principal := workflow(x)
		email := impersonated(x, principal, roles)
		return map[string]string{"workload_identity_provider": x.Cloud.ProviderName(), "service_account": email}, job, []string{principal, email}
	}},
	{"metadata server", func(x *cloudtest.Test, roles []string) (with, env map[string]string, principals []string) {
		email, _ := account(x, unique(x, "machine"), roles...)
		host, stop := x.Cloud.Metadata(email)
		x.Cleanup(stop)
		return nil, map[string]string{"GCE_METADATA_HOST": host}, []string{email}
	}},
}

// workflow is a job of a repository of the place's own that may ask for identity
// tokens, and the principal that Google makes of it.
func workflow(x *cloudtest.Test) (env map[string]string, principal string) {
	job := github.Job{Repository: "octocat/" + unique(x, "model")}
	env = x.Cloud.GitHub.Env(job)
	env["GITHUB_REPOSITORY"] = job.Repository
	return env, x.Cloud.Google.Subject("github-pool", job.Subject())
}

// impersonated makes an account with the roles that the principal may impersonate.
func impersonated(x *cloudtest.Test, principal string, roles []string) string {
	x.Helper()
	email, _ := account(x, unique(x, "target"), roles...)
	x.Cloud.Google.Bind(email, "roles/iam.workloadIdentityUser", principal)
	return email
}

// authLeaves writes a credentials file as google-github-actions/auth v3 does,
// and returns the environment that it leaves for the steps after it.
func authLeaves(x *cloudtest.Test, content string) map[string]string {
	x.Helper()
	name := filepath.Join(x.Workspace, "gha-creds-0123456789abcdef.json")
	if err := os.WriteFile(name, []byte(content), 0o640); err != nil {
		x.Fatal(err)
	}
	project := x.Cloud.Google.Project
	return map[string]string{
		"CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE": name, "GOOGLE_APPLICATION_CREDENTIALS": name, "GOOGLE_GHA_CREDS_PATH": name,
		"CLOUDSDK_CORE_PROJECT": project, "CLOUDSDK_PROJECT": project, "GCLOUD_PROJECT": project, "GCP_PROJECT": project, "GOOGLE_CLOUD_PROJECT": project,
	}
}

// federationFile is the file that auth writes for a job, byte by byte.
func federationFile(x *cloudtest.Test, job map[string]string, email string) string {
	x.Helper()
	address, err := url.Parse(job["ACTIONS_ID_TOKEN_REQUEST_URL"])
	if err != nil {
		x.Fatal(err)
	}
	address.RawQuery += "&audience=" + url.QueryEscape("https://iam.googleapis.com/"+x.Cloud.ProviderName())
	file := fmt.Sprintf(`{"type":"external_account","audience":%q,"subject_token_type":"urn:ietf:params:oauth:token-type:jwt","token_url":"https://sts.googleapis.com/v1/token",`+
		`"credential_source":{"url":%q,"headers":{"Authorization":%q},"format":{"type":"json","subject_token_field_name":"value"}}`,
		"//iam.googleapis.com/"+x.Cloud.ProviderName(), address, "Bearer "+job["ACTIONS_ID_TOKEN_REQUEST_TOKEN"])
	if email != "" {
		file += fmt.Sprintf(`,"service_account_impersonation_url":"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/%s:generateAccessToken"`, email)
	}
	return file + "}"
}

// compact is JSON on one line, as auth writes a key.
func compact(x *cloudtest.Test, text string) string {
	x.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		x.Fatal(err)
	}
	line, err := json.Marshal(v)
	if err != nil {
		x.Fatal(err)
	}
	return string(line)
}

// join puts environments together; what comes later counts.
func join(all ...map[string]string) map[string]string {
	env := map[string]string{}
	for _, e := range all {
		maps.Copy(env, e)
	}
	return env
}
