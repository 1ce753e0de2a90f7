package action_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/container"
	"github.com/org/deploy-model-action/e2e/localcloud"
)

// jobImage is what act runs the job's own steps in.
const jobImage = "deploy-model-action-job:e2e"

// tool finds a program that Makefile's `tools` builds, or skips the test.
func tool(t *testing.T, name string) string {
	t.Helper()
	local := filepath.Join(cloudtest.Root(), "bin", name)
	if _, err := os.Stat(local); err == nil {
		return local
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is neither in bin/ (make tools) nor in PATH", name)
	}
	return path
}

// TestWorkflow runs a workflow that says `uses: ./` through act: the action is
// built from its Dockerfile, deploys, and a later step reads its outputs.
func TestWorkflow(t *testing.T) {
	t.Parallel()
	act := tool(t, "act")
	buildImage(t) // the same layers, once for all tests
	if err := container.Shell(t.Context(), jobImage, os.Stderr); err != nil {
		t.Skip(err)
	}
	x := cloudtest.New(t)
	sha := repository(x)
	digest := x.Push(sha, nil)

	args := []string{
		"push", "--platform", "ubuntu-latest=" + jobImage, "--pull=false", "--bind", "--rm", "--no-cache-server",
		"--action-cache-path", x.TempDir(), "--var", "NAMESPACE=" + x.Namespace,
		"--secret", "GCP_K8S_CLUSTER_NAME=" + localcloud.Cluster, "--secret", "GCP_K8S_CLUSTER_ZONE=" + localcloud.Location,
		"--secret", "GCP_CONTAINER_REGISTRY_HOST=" + localcloud.RegistryHost, "--secret", "GOOGLE_SERVICE_ACCOUNT_KEY",
	}
	for name, value := range x.Cloud.Env(x.Client) {
		if name == "SSL_CERT_FILE" {
			value = filepath.Join(x.Workspace, ".cloud", "ca.crt") // which the action's container can see
		}
		args = append(args, "--env", name+"="+value)
	}
	home := x.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".actrc"), nil, 0o644); err != nil { // or act asks for one
		t.Fatal(err)
	}
	key, err := os.ReadFile(x.Cloud.CredentialsFile)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), act, args...)
	cmd.Dir = x.Workspace
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_CACHE_HOME=" + home, "GOOGLE_SERVICE_ACCOUNT_KEY=" + string(key)}
	start := time.Now()
	out, err := cmd.CombinedOutput()
	t.Logf("act: %s\n%s", time.Since(start).Round(time.Second), out)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "deployment.apps/"+deployment+" created") {
		t.Errorf("the log has no line of the Deployment")
	}
	if leaks := x.Leaks(string(out)); len(leaks) > 0 {
		t.Errorf("the log holds %s", strings.Join(leaks, ", "))
	}

	content, err := os.ReadFile(filepath.Join(x.Workspace, "outputs.json"))
	if err != nil {
		t.Fatal(err)
	}
	var outputs map[string]string
	if err := json.Unmarshal(content, &outputs); err != nil {
		t.Fatalf("%v: %s", err, content)
	}
	delete(outputs, "changes")
	pinned := image + ":" + sha + "@" + digest
	if diff := cmp.Diff(map[string]string{
		"outcome": "deployed", "image": pinned, "digest": digest, "images": fmt.Sprintf("[%q]", pinned),
		"url": "http://" + address(x), "external_ip": address(x), "changed": "true", "previous": "", "plan": "",
	}, outputs); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
}

// repository makes the workspace a checkout of the action with manifests and a
// workflow, and returns its commit.
func repository(x *cloudtest.Test) string {
	x.Helper()
	x.Testdata()
	for _, name := range []string{"action.yml", "Dockerfile", ".dockerignore", "go.mod", "go.sum", "main.go"} {
		content, err := os.ReadFile(filepath.Join(cloudtest.Root(), name))
		if os.IsNotExist(err) {
			continue
		} else if err != nil {
			x.Fatal(err)
		}
		x.Write(name, string(content))
	}
	if err := os.CopyFS(filepath.Join(x.Workspace, "pkg"), os.DirFS(filepath.Join(cloudtest.Root(), "pkg"))); err != nil {
		x.Fatal(err)
	}
	for from, to := range map[string]string{
		"testdata/workflow/deploy.yml": ".github/workflows/deploy.yml", x.Cloud.CAFile: ".cloud/ca.crt",
	} {
		content, err := os.ReadFile(from)
		if err != nil {
			x.Fatal(err)
		}
		x.Write(to, string(content))
	}
	git := func(args ...string) string {
		cmd := exec.CommandContext(x.Context(), "git", args...)
		cmd.Dir = x.Workspace
		cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=test", "GIT_AUTHOR_EMAIL=test@example.com", "GIT_COMMITTER_NAME=test", "GIT_COMMITTER_EMAIL=test@example.com", "GIT_CONFIG_GLOBAL=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			x.Fatalf("git %s: %v: %s", args[0], err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "--initial-branch=main")
	git("remote", "add", "origin", "https://github.com/octocat/model.git")
	git("add", ".")
	git("commit", "--quiet", "--message=Deploy")
	return git("rev-parse", "HEAD")
}
