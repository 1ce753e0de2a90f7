package credentials_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/github"
	"github.com/org/deploy-model-action/e2e/google"
	"github.com/org/deploy-model-action/e2e/proxy"
	"github.com/org/deploy-model-action/e2e/runner"
)

// refusal is credentials that are not taken.
type refusal struct {
	name string
	code int
	// set changes the step, which deploys without credentials otherwise.
	set func(x *cloudtest.Test, s *runner.Step)
}

const (
	target   = "refused-target"
	provider = "projects/123456789012/locations/global/workloadIdentityPools/github-pool/providers/"
)

// federated asks through a provider, as a job of the repository.
func federated(x *cloudtest.Test, s *runner.Step, p google.Provider, job github.Job) {
	x.Helper()
	p.Pool, p.Issuer = "github-pool", or(p.Issuer, github.Issuer)
	x.Cloud.Google.AddProvider(p)
	s.With["workload_identity_provider"] = provider + p.ID
	s.Env = join(s.Env, x.Cloud.GitHub.Env(job))
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

var refusals = []refusal{
	{"no credentials at all", 2, func(*cloudtest.Test, *runner.Step) {}},
	{"no credentials in a fork", 2, func(_ *cloudtest.Test, s *runner.Step) { s.Event = "pull_request" }},
	{"secret that is not there", 2, func(_ *cloudtest.Test, s *runner.Step) { s.With["credentials_json"] = "***" }},
	{"no id-token: write", 2, func(_ *cloudtest.Test, s *runner.Step) {
		s.With["workload_identity_provider"] = provider + "github-provider"
	}},
	{"no id-token in a fork", 2, func(_ *cloudtest.Test, s *runner.Step) {
		s.Event = "pull_request"
		s.With["workload_identity_provider"] = provider + "github-provider"
	}},
	{"federation file without id-token: write", 2, func(x *cloudtest.Test, s *runner.Step) {
		job, _ := workflow(x)
		s.Env = join(s.Env, authLeaves(x, federationFile(x, job, "")))
	}},
	{"deleted key", 1, func(x *cloudtest.Test, s *runner.Step) {
		email, key := account(x, "refused-key", deployRoles...)
		x.Cloud.Google.DeleteKeys(email)
		s.With["credentials_json"] = key
	}},
	{"deleted account", 1, func(x *cloudtest.Test, s *runner.Step) {
		email, key := account(x, "refused-account", deployRoles...)
		x.Cloud.Google.DeleteAccount(email)
		s.With["credentials_json"] = key
	}},
	{"disabled account", 1, func(x *cloudtest.Test, s *runner.Step) {
		email, key := account(x, "refused-disabled", deployRoles...)
		x.Cloud.Google.DisableAccount(email)
		s.With["credentials_json"] = key
	}},
	{"condition of the provider", 1, func(x *cloudtest.Test, s *runner.Step) {
		federated(x, s, google.Provider{ID: "only-main", Condition: "assertion.ref == 'refs/heads/main'"}, github.Job{Ref: "refs/heads/x"})
	}},
	{"disabled provider", 1, func(x *cloudtest.Test, s *runner.Step) {
		federated(x, s, google.Provider{ID: "disabled", Disabled: true}, github.Job{})
	}},
	{"provider with another audience", 1, func(x *cloudtest.Test, s *runner.Step) {
		federated(x, s, google.Provider{ID: "audience", Audiences: []string{"https://github.com/octocat"}}, github.Job{})
	}},
	{"provider with another issuer", 1, func(x *cloudtest.Test, s *runner.Step) {
		federated(x, s, google.Provider{ID: "issuer", Issuer: "https://gitlab.com"}, github.Job{})
	}},
	{"long subject", 1, func(x *cloudtest.Test, s *runner.Step) {
		federated(x, s, google.Provider{ID: "subject"}, github.Job{Ref: "refs/heads/" + strings.Repeat("x", 120)})
	}},
	{"GitHub gives no token", 1, func(x *cloudtest.Test, s *runner.Step) {
		federated(x, s, google.Provider{ID: "github-provider"}, github.Job{})
		s.Env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = "of-another-job"
	}},
	{"impersonation without the role", 1, func(x *cloudtest.Test, s *runner.Step) {
		federated(x, s, google.Provider{ID: "github-provider"}, github.Job{})
		s.With["service_account"], _ = account(x, target, deployRoles...)
	}},
	{"impersonation of nobody", 1, func(x *cloudtest.Test, s *runner.Step) {
		federated(x, s, google.Provider{ID: "github-provider"}, github.Job{})
		s.With["service_account"] = "nobody@local-project.iam.gserviceaccount.com"
	}},
	{"impersonation through a delegate without the role", 1, func(x *cloudtest.Test, s *runner.Step) {
		_, key := account(x, "refused-first")
		middle, _ := account(x, "refused-middle")
		last, _ := account(x, target, deployRoles...)
		s.With["credentials_json"], s.With["service_account"] = key, middle+"\n"+last
	}},
	{"impersonation with the API disabled", 1, func(x *cloudtest.Test, s *runner.Step) {
		federated(x, s, google.Provider{ID: "github-provider"}, github.Job{})
		s.With["service_account"], _ = account(x, target, deployRoles...)
		x.Cleanup(x.Cloud.Proxy.Faults.Add(proxy.Fault{Client: x.Client, Host: "iamcredentials.googleapis.com", Status: 403, Body: google.DisabledBody("iamcredentials.googleapis.com", "IAM Service Account Credentials API", "123456789012")}))
	}},
	{"machine without an account", 2, func(x *cloudtest.Test, s *runner.Step) {
		host, stop := x.Cloud.Metadata("")
		x.Cleanup(stop)
		s.Env["GCE_METADATA_HOST"] = host
	}},
	{"nothing but a redirect", 1, func(x *cloudtest.Test, s *runner.Step) {
		_, s.With["credentials_json"] = account(x, "refused-redirect", deployRoles...)
		x.Cleanup(x.Cloud.Proxy.Faults.Add(proxy.Fault{Client: x.Client, Host: "oauth2.googleapis.com", Status: 302}))
	}},
}

// TestRefused shows each refusal exactly as a user sees it, and that nothing of
// the cluster was asked.
func TestRefused(t *testing.T) {
	t.Parallel()
	x := place(t, nil)
	said := make([]string, len(refusals))
	t.Cleanup(func() { golden(t, "refused.golden", strings.Join(said, "")) }) // the parts are done by then
	for i, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			y := x.Sub(t)
			y.Write("kubernetes/model.yaml", model)
			s := y.Step(x.SHA(0), map[string]string{"credentials_json": "", "project_id": "local-project"})
			c.set(y, &s)
			r := y.Run(s)
			if r.ExitCode != c.code || r.Outputs["outcome"] != "failed" {
				t.Errorf("exit code %d, outcome %q, want %d and failed", r.ExitCode, r.Outputs["outcome"], c.code)
			}
			for _, e := range y.Requests() {
				if y.IsCluster(e) || c.code == 2 {
					t.Errorf("%s %s%s was asked", e.Method, e.Host, e.Path)
				}
			}
			if found := y.Leaks(r.Log+r.Summary, []byte(s.With["credentials_json"])); len(found) > 0 {
				t.Errorf("secrets are shown: %q", found)
			}
			said[i] = c.name + ":\n  " + strings.NewReplacer("\n", "\n  ", y.Workspace, "WORKSPACE").Replace(message(t, r)) + "\n"
		})
	}
}

// TestDelegates impersonates through a chain of accounts.
func TestDelegates(t *testing.T) {
	t.Parallel()
	x := place(t, nil)
	first, key := account(x, unique(x, "first"))
	middle, _ := account(x, unique(x, "middle"))
	last, _ := account(x, unique(x, "last"), deployRoles...)
	x.Cloud.Google.Bind(middle, google.RoleTokenCreator, "serviceAccount:"+first)
	x.Cloud.Google.Bind(last, google.RoleTokenCreator, "serviceAccount:"+middle)
	r := x.Deploy(x.SHA(0), map[string]string{"credentials_json": key, "service_account": fmt.Sprintf("%s\n%s", middle, last)})
	deployed(x, r)
	asked(x, "192.0.2.10")
}
