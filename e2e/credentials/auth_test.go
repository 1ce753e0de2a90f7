package credentials_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

// TestAuth runs google-github-actions/auth itself, where AUTH_ACTION names a
// checkout of it and Node.js is there: the local cloud takes what it sends, the
// files that it writes are the ones that the other tests imitate, and they
// deploy.
func TestAuth(t *testing.T) {
	t.Parallel()
	script := filepath.Join(os.Getenv("AUTH_ACTION"), "dist", "main", "index.js")
	if os.Getenv("AUTH_ACTION") == "" {
		t.Skip("AUTH_ACTION does not name a checkout of google-github-actions/auth")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no Node.js")
	}
	for _, w := range ways[1:4] {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			x := place(t, nil)
			s, _ := step(x, w, nil)
			imitation := s.Env["GOOGLE_GHA_CREDS_PATH"]
			imitated, err := os.ReadFile(imitation)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(imitation); err != nil {
				t.Fatal(err)
			}
			written, variables := runAuth(x, []string{node, script}, s.Env, string(imitated))
			content, err := os.ReadFile(written)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(imitated), string(content)); diff != "" {
				t.Errorf("the file (-imitated +written):\n%s", diff)
			}
			for name, value := range s.Env {
				if value == imitation {
					s.Env[name] = written
				}
			}
			for _, name := range []string{"CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_GHA_CREDS_PATH", "GCLOUD_PROJECT", "GOOGLE_CLOUD_PROJECT"} {
				if !strings.Contains(variables, name+"<<") || !strings.Contains(variables, "\n"+s.Env[name]+"\n") {
					t.Errorf("auth does not leave %s=%s:\n%s", name, s.Env[name], variables)
				}
			}
			deployed(x, x.Run(s))
		})
	}
}

// runAuth runs the action with the inputs that lead to the file, and returns the
// file that it wrote and the text that it left in GITHUB_ENV.
func runAuth(x *cloudtest.Test, program []string, env map[string]string, file string) (written, variables string) {
	x.Helper()
	inputs := map[string]string{"project_id": x.Cloud.Google.Project}
	if strings.Contains(file, "private_key") {
		inputs["credentials_json"] = file
	} else {
		inputs["workload_identity_provider"] = x.Cloud.ProviderName()
		_, account, _ := strings.Cut(file, "/serviceAccounts/")
		inputs["service_account"], _, _ = strings.Cut(account, ":")
	}
	left := filepath.Join(x.TempDir(), "env")
	cmd := exec.CommandContext(x.Context(), program[0], program[1:]...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "GITHUB_WORKSPACE=" + x.Workspace, "GITHUB_ENV=" + left, "GITHUB_OUTPUT=" + left + ".out", "NODE_EXTRA_CA_CERTS=" + x.Cloud.CAFile,
		"INPUT_CREATE_CREDENTIALS_FILE=true", "INPUT_EXPORT_ENVIRONMENT_VARIABLES=true", "INPUT_UNIVERSE=googleapis.com", "INPUT_CLEANUP_CREDENTIALS=true",
		"INPUT_ACCESS_TOKEN_LIFETIME=3600s", "INPUT_ACCESS_TOKEN_SCOPES=https://www.googleapis.com/auth/cloud-platform", "INPUT_ID_TOKEN_INCLUDE_EMAIL=false",
	}
	for name, value := range env {
		if strings.HasPrefix(name, "ACTIONS_") || strings.HasSuffix(strings.ToUpper(name), "_PROXY") {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	for name, value := range inputs {
		cmd.Env = append(cmd.Env, "INPUT_"+strings.ToUpper(name)+"="+value)
	}
	for _, name := range []string{left, left + ".out"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			x.Fatal(err)
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		x.Fatalf("auth: %v\n%s", err, out)
	}
	files, err := filepath.Glob(filepath.Join(x.Workspace, "gha-creds-????????????????.json"))
	if err != nil || len(files) != 1 {
		x.Fatalf("auth left %q, %v", files, err)
	}
	content, err := os.ReadFile(left)
	if err != nil {
		x.Fatal(err)
	}
	return files[0], string(content)
}
