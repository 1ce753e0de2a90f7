package action_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
)

// client is a real client of Google or Kubernetes, which holds the imitation to
// what it expects of the real one.
type client struct {
	*cloudtest.Test
	path string
	env  []string
}

// newClient finds the program, or skips the test.
func newClient(x *cloudtest.Test, name string) *client {
	x.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		x.Skip(err)
	}
	home := x.TempDir()
	c := &client{Test: x, path: path, env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "KUBECONFIG=" + filepath.Join(home, "kubeconfig"),
		"CLOUDSDK_CONFIG=" + filepath.Join(home, "gcloud"), "CLOUDSDK_CORE_DISABLE_PROMPTS=1", "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING=1",
		"CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK=1", "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE=" + x.Cloud.CAFile, "REQUESTS_CA_BUNDLE=" + x.Cloud.CAFile,
		"CLOUDSDK_CORE_PROJECT=" + localcloud.Project,
	}}
	for name, value := range x.Cloud.Env(x.Client) {
		c.env = append(c.env, name+"="+value)
	}
	return c
}

// run returns what the program prints, and whether it was content.
func (c *client) run(args ...string) (stdout, stderr string, ok bool) {
	c.Helper()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(c.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, &out, &errs
	err := cmd.Run()
	c.Logf("%s %s: %v\n%s", filepath.Base(c.path), strings.Join(args, " "), err, errs.String())
	return out.String(), errs.String(), err == nil
}

// must is run for what has to work.
func (c *client) must(args ...string) string {
	c.Helper()
	out, _, ok := c.run(args...)
	if !ok {
		c.Fatalf("%s %s", filepath.Base(c.path), args[0])
	}
	return out
}

func TestGcloud(t *testing.T) {
	t.Parallel()
	x := seed(t, 1, nil)
	c := newClient(x, "gcloud")
	c.must("auth", "activate-service-account", "--key-file="+x.Cloud.CredentialsFile)

	var list []struct{ Name, Location, Status, Endpoint string }
	decode(t, c.must("container", "clusters", "list", "--format=json"), &list)
	found := ""
	for _, cluster := range list {
		if cluster.Name == localcloud.Cluster {
			found = cluster.Location + " " + cluster.Status
		}
	}
	if found != localcloud.Location+" RUNNING" || len(list) < 2 {
		t.Errorf("clusters list: %+v", list)
	}

	var cluster struct {
		Endpoint, CurrentMasterVersion string
		MasterAuth                     struct{ ClusterCaCertificate string }
	}
	decode(t, c.must("container", "clusters", "describe", localcloud.Cluster, "--location="+localcloud.Location, "--format=json"), &cluster)
	if cluster.Endpoint == "" || cluster.MasterAuth.ClusterCaCertificate == "" || !strings.Contains(cluster.CurrentMasterVersion, "gke") {
		t.Errorf("clusters describe: %+v", cluster)
	}
	if _, said, ok := c.run("container", "clusters", "describe", "no-such-cluster", "--location="+localcloud.Location); ok || !strings.Contains(said, "Not found: projects/"+localcloud.Project) {
		t.Errorf("of a cluster that does not exist: %s", said)
	}

	// The address and the authority that get-credentials writes are those that the
	// action takes without writing them.
	c.must("container", "clusters", "get-credentials", localcloud.Cluster, "--zone="+localcloud.Location)
	content, err := os.ReadFile(value(c.env, "KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Clusters []struct {
			Cluster struct {
				Server string `json:"server"`
				CA     string `json:"certificate-authority-data"`
			}
		}
	}
	if err := yaml.Unmarshal(content, &config); err != nil || len(config.Clusters) != 1 {
		t.Fatalf("%v: %s", err, content)
	}
	got := config.Clusters[0].Cluster
	if got.Server != "https://"+cluster.Endpoint || got.CA != cluster.MasterAuth.ClusterCaCertificate {
		t.Errorf("get-credentials: %+v", got)
	}
	r := x.Deploy(x.SHA(0), nil)
	if !strings.Contains(r.Log, got.Server) {
		t.Errorf("the action takes another endpoint than %s", got.Server)
	}

	// gcloud's token is good for the cluster, as the action's is.
	kubectl := newClient(x, "kubectl")
	ca, err := base64.StdEncoding.DecodeString(got.CA)
	if err != nil {
		t.Fatal(err)
	}
	x.Write("cluster.crt", string(ca))
	as := func(token string, args ...string) []string {
		return append([]string{"--server=" + got.Server, "--certificate-authority=" + filepath.Join(x.Workspace, "cluster.crt"), "--token=" + token, "--namespace=" + x.Namespace}, args...)
	}
	token := strings.TrimSpace(c.must("auth", "print-access-token"))
	if out := kubectl.must(as(token, "get", "deployment", deployment, "-o", "name")...); strings.TrimSpace(out) != "deployment.apps/"+deployment {
		t.Errorf("kubectl with gcloud's token: %s", out)
	}
	if _, said, ok := kubectl.run(as(cloudtest.TokenPrefix+"none", "get", "pods")...); ok || !strings.Contains(said, "Unauthorized") && !strings.Contains(said, "logged in") {
		t.Errorf("kubectl with a wrong token: %s", said)
	}
	if _, said, ok := kubectl.run(as(token, "create", "clusterrole", "x-"+x.Namespace, "--verb=get", "--resource=pods")...); ok || !strings.Contains(said, "forbidden") {
		t.Errorf("roles/container.developer may make roles: %s", said)
	}
}

func TestKubectl(t *testing.T) {
	t.Parallel()
	x := seed(t, 1, map[string]string{"model.log": "loading weights\nlistening on 3000"})
	want(t, x.Deploy(x.SHA(0), nil), 0, "deployed")
	c := newClient(x, "kubectl")
	c.env = append(c.env, "KUBECONFIG="+x.Cloud.Kubeconfig)
	in := "--namespace=" + x.Namespace

	if out := c.must("version", "--output=json"); !strings.Contains(out, `"gitVersion": "v1.36`) {
		t.Errorf("version: %s", out)
	}
	if out := c.must(in, "get", "nodes", "--no-headers"); strings.Count(out, " Ready ") != 2 {
		t.Errorf("get nodes: %s", out)
	}
	if out := c.must(in, "get", "deployment", deployment, "--no-headers"); !strings.Contains(out, "3/3") {
		t.Errorf("get: %s", out)
	}
	if out := c.must(in, "get", "service", service, "--no-headers"); !strings.Contains(out, address(x)) {
		t.Errorf("get service: %s", out)
	}
	if out := c.must(in, "rollout", "status", "deployment/"+deployment, "--timeout=5s"); !strings.Contains(out, "successfully rolled out") {
		t.Errorf("rollout status: %s", out)
	}
	if out := c.must(in, "logs", "deployment/"+deployment); out != "loading weights\nlistening on 3000\n" {
		t.Errorf("logs: %q", out)
	}

	// What we applied is what kubectl would have applied, and it is ours.
	manifests := filepath.Join(x.Workspace, "kubernetes")
	if _, said, ok := c.run(in, "apply", "--server-side", "--dry-run=server", "--filename="+manifests); ok || !strings.Contains(said, `with "deploy-model-action"`) || !strings.Contains(said, "image") {
		t.Errorf("apply of another image by another manager: %s", said)
	}
	for _, name := range []string{"deployment.yaml", "service.yaml"} {
		content, err := os.ReadFile(filepath.Join(manifests, name))
		if err != nil {
			t.Fatal(err)
		}
		pinned := image + ":" + x.SHA(0) + "@" + digestOf(x)
		x.Write("kubernetes/"+name, strings.ReplaceAll(string(content), image+":latest", pinned))
	}
	before := x.Versions()
	out := c.must(in, "apply", "--server-side", "--dry-run=server", "--field-manager=deploy-model-action", "--filename="+manifests)
	if diff := cmp.Diff("deployment.apps/"+deployment+" serverside-applied (server dry run)\nservice/"+service+" serverside-applied (server dry run)\n", out); diff != "" {
		t.Errorf("apply (-want +got):\n%s", diff)
	}
	// kubectl ends with 1 where there is a difference: the marks of the run.
	marks := regexp.MustCompile(`^[-+] +(deploy-model-action/(run|commit)|kubernetes\.io/change-cause|annotations|generation): ?|/actions/runs/|^(---|\+\+\+) `)
	found, _, _ := c.run(in, "diff", "--server-side", "--field-manager=deploy-model-action", "--filename="+manifests)
	for line := range strings.SplitSeq(found, "\n") {
		if (strings.HasPrefix(line, "-") || strings.HasPrefix(line, "+")) && !marks.MatchString(line) {
			t.Errorf("diff: %s", line)
		}
	}
	if diff := cmp.Diff(before, x.Versions()); diff != "" {
		t.Errorf("a dry run changed (-before +after):\n%s", diff)
	}
}

// digestOf is the digest that the seed's Deployment runs.
func digestOf(x *cloudtest.Test) string {
	x.Helper()
	for name, object := range x.Objects() {
		if name == "deployments "+deployment {
			content, err := object.MarshalJSON()
			if err != nil {
				x.Fatal(err)
			}
			_, rest, _ := strings.Cut(string(content), image+":"+x.SHA(0)+"@")
			digest, _, _ := strings.Cut(rest, `"`)
			return digest
		}
	}
	x.Fatal("no Deployment")
	return ""
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

// value is the last one that an environment has for a name.
func value(env []string, name string) string {
	found := ""
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			found = v
		}
	}
	return found
}
