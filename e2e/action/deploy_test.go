package action_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/proxy"
	"github.com/org/deploy-model-action/e2e/runner"
)

func TestDeploy(t *testing.T) {
	t.Parallel()
	pipeline(t, func(*cloudtest.Test, *runner.Step) {})
}

// pipeline is the seed's: a first deploy, the same commit again, and a new
// commit. adapt says how each step is run.
func pipeline(t *testing.T, adapt func(*cloudtest.Test, *runner.Step)) {
	t.Helper()
	x := cloudtest.New(t)
	x.Testdata()
	digests := []string{x.Push(x.SHA(0), nil), x.Push(x.SHA(1), nil)}
	run := func(commit int) *runner.Result {
		t.Helper()
		s := x.Step(x.SHA(commit), nil)
		adapt(x, &s)
		return x.Run(s)
	}

	previous := "" // the image that served before
	check := func(r *runner.Result, commit int, outcome string, deploymentAction, serviceAction string) {
		t.Helper()
		want(t, r, 0, outcome)
		lines := objectLines.FindAllString(r.Log, -1)
		slices.Sort(lines)
		if diff := cmp.Diff([]string{"deployment.apps/" + deployment + " " + deploymentAction, "service/" + service + " " + serviceAction}, lines); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
		pinned := image + ":" + x.SHA(commit) + "@" + digests[commit]
		outputs := maps.Clone(r.Outputs)
		delete(outputs, "changes") // in any order, below
		if diff := cmp.Diff(map[string]string{
			"outcome": outcome, "image": pinned, "digest": digests[commit], "images": fmt.Sprintf("[%q]", pinned),
			"url": "http://" + address(x), "external_ip": address(x), "changed": strconv.FormatBool(outcome == "deployed"), "previous": previous, "plan": "",
		}, outputs); diff != "" {
			t.Errorf("outputs (-want +got):\n%s", diff)
		}
		previous = pinned
		all := changes(t, r)
		slices.SortFunc(all, func(a, b change) int { return strings.Compare(a.Kind, b.Kind) })
		if diff := cmp.Diff([]change{{"Deployment", x.Namespace, deployment, deploymentAction}, {"Service", x.Namespace, service, serviceAction}}, all); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
		for kind, row := range map[string]string{"Deployment": deploymentAction, "Service": serviceAction} {
			if !regexp.MustCompile(`(?m)^\|.*\b` + row + `\b.*\| ` + kind + ` \[.*\|$`).MatchString(r.Summary) {
				t.Errorf("the summary has no row of the %s, %s:\n%s", kind, row, r.Summary)
			}
		}
		if got := ask(x, r.Outputs["url"]); !strings.Contains(got, digests[commit]) && !strings.Contains(got, x.SHA(commit)) {
			t.Errorf("%s answers %q, which does not name the image of commit %d", r.Outputs["url"], got, commit)
		}
	}

	check(run(0), 0, "deployed", "created", "created")
	before := x.Settled()
	check(run(0), 0, "unchanged", "unchanged", "unchanged")
	if diff := cmp.Diff(before, x.Versions(), cmpopts.IgnoreMapEntries(func(name, _ string) bool { return name == "configmaps deploy-model-action.model" })); diff != "" {
		t.Errorf("the second deploy changed more than the record (-before +after):\n%s", diff)
	}
	check(run(1), 1, "deployed", "configured", "unchanged")
	managed(x)
}

// ask is what a client on the internet gets.
func ask(x *cloudtest.Test, address string) string {
	x.Helper()
	through, err := url.Parse(x.Cloud.Proxy.URL)
	if err != nil {
		x.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(through)}, Timeout: 10 * time.Second}
	request, err := http.NewRequestWithContext(x.Context(), http.MethodGet, address, nil)
	if err != nil {
		x.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		x.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		x.Fatalf("%s: %s %v: %s", address, response.Status, err, body)
	}
	return string(body)
}

// managed checks how the Deployment is written and by whom, as a client of the
// API and as kubectl show it.
func managed(x *cloudtest.Test) {
	x.Helper()
	d, err := x.Kube.AppsV1().Deployments(x.Namespace).Get(x.Context(), deployment, metav1.GetOptions{})
	if err != nil {
		x.Fatal(err)
	}
	wantManaged(x.T, "client-go", d.ManagedFields)
	tagged := regexp.MustCompile(`^` + regexp.QuoteMeta(image) + `:[0-9a-f]{40}@sha256:[0-9a-f]{64}$`)
	if written := d.Spec.Template.Spec.Containers[0].Image; !tagged.MatchString(written) {
		x.Errorf("image %q", written)
	}
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		x.Logf("not asked: %v", err)
		return
	}
	cmd := exec.CommandContext(x.Context(), kubectl, "--kubeconfig", x.Cloud.Kubeconfig, "--namespace", x.Namespace,
		"get", "deployment", deployment, "-o", "yaml", "--show-managed-fields")
	out, err := cmd.CombinedOutput()
	if err != nil {
		x.Fatalf("%v: %s", err, out)
	}
	var shown struct {
		Metadata struct{ ManagedFields []metav1.ManagedFieldsEntry }
		Spec     struct {
			Template struct {
				Spec struct{ Containers []struct{ Image string } }
			}
		}
	}
	if err := yaml.Unmarshal(out, &shown); err != nil {
		x.Fatal(err)
	}
	wantManaged(x.T, "kubectl", shown.Metadata.ManagedFields)
	if len(shown.Spec.Template.Spec.Containers) != 1 || !tagged.MatchString(shown.Spec.Template.Spec.Containers[0].Image) {
		x.Errorf("kubectl shows the containers %+v", shown.Spec.Template.Spec.Containers)
	}
}

// wantManaged wants spec to be one manager's, by one entry.
func wantManaged(t *testing.T, by string, entries []metav1.ManagedFieldsEntry) {
	t.Helper()
	var ours, spec []string
	for _, e := range entries {
		var fields map[string]any
		if e.FieldsV1 != nil {
			if err := json.Unmarshal(e.FieldsV1.GetRawBytes(), &fields); err != nil {
				t.Fatal(err)
			}
		}
		entry := fmt.Sprintf("%s %s %q", e.Manager, e.Operation, e.Subresource)
		if e.Manager == "deploy-model-action" {
			ours = append(ours, entry)
		}
		if fields["f:spec"] != nil {
			spec = append(spec, entry)
		}
	}
	only := []string{`deploy-model-action Apply ""`}
	if diff := cmp.Diff(only, ours); diff != "" {
		t.Errorf("%s: entries of our manager (-want +got):\n%s", by, diff)
	}
	if diff := cmp.Diff(only, spec); diff != "" {
		t.Errorf("%s: entries for spec (-want +got):\n%s", by, diff)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	cancelled(t, func(*cloudtest.Test, *runner.Step) {})
}

// cancelled stops a deploy in the middle of its rollout, as a person does who
// looks at the job.
func cancelled(t *testing.T, adapt func(*cloudtest.Test, *runner.Step)) {
	t.Helper()
	x := seed(t, 1, map[string]string{"model.ready-after": "10m"})
	ctx, cancel := context.WithCancel(x.Context())
	defer cancel()
	var asked time.Time
	s := x.Step(x.SHA(0), nil)
	adapt(x, &s)
	s.OnLine = func(line string) {
		// The first line of the rollout that says what it waits for.
		if asked.IsZero() && strings.Contains(line, "of 3") {
			asked = time.Now()
			cancel()
		}
	}
	r, err := s.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(asked)
	t.Logf("exit %d, %s after SIGINT\n%s", r.ExitCode, took, r.Log)
	if asked.IsZero() || took > 5*time.Second {
		t.Errorf("it ended after %s, want 5 s at most", took)
	}
	want(t, r, 3, "cancelled")
	sentence := `the run was cancelled in the phase "Rollout"; what was applied stays as it is: run the job again to finish, or run an earlier one again to go back`
	if diff := cmp.Diff([]runner.Annotation{{Level: "error", Title: "Cancelled", Message: sentence}}, r.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	all := changes(t, r)
	slices.SortFunc(all, func(a, b change) int { return strings.Compare(a.Kind, b.Kind) })
	if diff := cmp.Diff([]change{{"Deployment", x.Namespace, deployment, "created"}, {"Service", x.Namespace, service, "created"}}, all); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if !strings.Contains(r.Log, "Cancelled after") || !strings.Contains(r.Log, "Changed before that, and not put back: Service "+x.Namespace+"/"+service+", Deployment "+x.Namespace+"/"+deployment) {
		t.Errorf("the log does not say what was applied")
	}
	if !strings.Contains(r.Summary, "Cancelled") || !strings.Contains(r.Summary, deployment) {
		t.Errorf("the summary does not say what was applied:\n%s", r.Summary)
	}
}

// TestByHand is the image without the runner: as little as there can be in the
// environment.
func TestByHand(t *testing.T) {
	t.Parallel()
	x := seed(t, 1, nil)
	s := x.Step(x.SHA(0), nil)
	cmd := exec.CommandContext(x.Context(), s.Binary)
	cmd.Dir = x.Workspace
	for name, value := range x.Cloud.Env(x.Client) {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Env = append(cmd.Env, "INPUT_CLUSTER_NAME=projects/"+localcloud.Project+"/locations/"+localcloud.Location+"/clusters/"+localcloud.Cluster,
		"INPUT_REGISTRY_HOST="+localcloud.RegistryHost, "INPUT_SHA="+x.SHA(0), "INPUT_NAMESPACE="+x.Namespace,
		"GOOGLE_APPLICATION_CREDENTIALS="+x.Cloud.CredentialsFile)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "deployment.apps/"+deployment+" created") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestCancelMidway stops a deploy between two writes: what was not applied is
// named, and is not applied later either.
func TestCancelMidway(t *testing.T) {
	t.Parallel()
	x := seed(t, 1, nil)
	t.Cleanup(x.Cloud.Proxy.Faults.Add(proxy.Fault{
		Client: x.Client, Method: http.MethodPatch, Path: "/deployments/" + deployment + "?fieldManager=", DelayMS: 60_000,
	}))
	ctx, cancel := context.WithCancel(x.Context())
	defer cancel()
	s := x.Step(x.SHA(0), nil)
	s.OnLine = func(line string) {
		if line == "service/"+service+" created" {
			cancel()
		}
	}
	r, err := s.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("exit %d after %s\n%s", r.ExitCode, r.Duration, r.Log)
	want(t, r, 3, "cancelled")
	if r.Duration > 10*time.Second {
		t.Errorf("it ended after %s", r.Duration)
	}
	wantChanges := []change{{"Service", x.Namespace, service, "created"}, {"Deployment", x.Namespace, deployment, "uncertain"}}
	if diff := cmp.Diff(wantChanges, changes(t, r)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if len(r.Annotations) != 1 || !strings.Contains(r.Annotations[0].Message, "these were being written and may have been applied: Deployment "+deployment+": run the job again") {
		t.Errorf("annotations: %+v", r.Annotations)
	}
	if _, err := x.Kube.AppsV1().Deployments(x.Namespace).Get(x.Context(), deployment, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the Deployment: %v", err)
	}
}
