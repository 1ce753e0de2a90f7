package action_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
)

// left is what google-github-actions/auth leaves for later steps (src/main.ts):
// a file in the workspace, and the variables that lead to it.
func left(x *cloudtest.Test) (file string, env map[string]string) {
	x.Helper()
	file = filepath.Join(x.Workspace, "gha-creds-5f0c7a1b2d3e4f60.json")
	key, err := os.ReadFile(x.Cloud.CredentialsFile)
	if err != nil {
		x.Fatal(err)
	}
	if err := os.WriteFile(file, key, 0o640); err != nil {
		x.Fatal(err)
	}
	return file, map[string]string{
		"CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE": file, "GOOGLE_APPLICATION_CREDENTIALS": file, "GOOGLE_GHA_CREDS_PATH": file,
		"CLOUDSDK_CORE_PROJECT": localcloud.Project, "CLOUDSDK_PROJECT": localcloud.Project, "GCLOUD_PROJECT": localcloud.Project,
		"GCP_PROJECT": localcloud.Project, "GOOGLE_CLOUD_PROJECT": localcloud.Project,
	}
}

// TestAuthAction deploys with what an earlier step left, wherever the manifests
// are: the file is JSON, and would pass for one of them.
func TestAuthAction(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		manifests string
		without   []string // variables that are not there
	}{
		"folder":        {"kubernetes", nil},
		"the workspace": {".", nil},
		"a glob":        {"*.json\nkubernetes/*.yaml", nil},
		"any folder":    {"**/*.*", nil},
		"export_environment_variables: false": {"kubernetes", []string{
			"CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE", "GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CORE_PROJECT", "CLOUDSDK_PROJECT", "GCLOUD_PROJECT", "GCP_PROJECT", "GOOGLE_CLOUD_PROJECT",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := seed(t, 1, nil)
			file, env := left(x)
			for _, name := range test.without {
				delete(env, name)
			}
			if name == "a glob" {
				x.Write("config.json", `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "from-json"}}`)
			}
			s := x.Step(x.SHA(0), map[string]string{"credentials_json": "", "manifests": test.manifests})
			maps.Copy(s.Env, env)
			r := x.Run(s)
			want(t, r, 0, "deployed")
			if leaks := x.Leaks(unmasked(r.Raw) + r.Summary + fmt.Sprint(r.Outputs)); len(leaks) > 0 {
				t.Errorf("shown: %s", strings.Join(leaks, ", "))
			}
			if strings.Contains(r.Log, filepath.Base(file)) {
				t.Errorf("the log names the credentials file among the manifests")
			}
		})
	}
}

// TestForeignCredentialsFile has a file of another step in the workspace, which
// this one does not use: it is no manifest either.
func TestForeignCredentialsFile(t *testing.T) {
	t.Parallel()
	x := seed(t, 1, nil)
	left(x)
	r := x.Deploy(x.SHA(0), map[string]string{"manifests": "."})
	want(t, r, 0, "deployed")
}

// TestCredentialsFileNamed is the file in the list of manifests, by its own name.
func TestCredentialsFileNamed(t *testing.T) {
	t.Parallel()
	x := seed(t, 1, nil)
	file, env := left(x)
	s := x.Step(x.SHA(0), map[string]string{"credentials_json": "", "manifests": filepath.Base(file)})
	maps.Copy(s.Env, env)
	r := x.Run(s)
	want(t, r, 2, "failed")
	if leaks := x.Leaks(unmasked(r.Raw) + r.Summary); len(leaks) > 0 {
		t.Errorf("shown: %s", strings.Join(leaks, ", "))
	}
	if len(r.Annotations) != 1 || !strings.Contains(r.Annotations[0].Message, "is the credentials file of the run") {
		t.Errorf("annotations: %+v", r.Annotations)
	}
}
