// Package action_test runs the action as it ships, unchanged, in the local cloud
// and holds it to what its users and the cloud see of it: log, outputs, summary
// and annotations, requests, and the objects in the cluster.
package action_test

import (
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/runner"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { cloudtest.Main(m) }

const (
	deployment = cloudtest.Model + "-deployment"
	service    = cloudtest.Model + "-service"
	image      = localcloud.RegistryHost + "/" + cloudtest.Model
)

// seed makes a place with the seed's manifests and pushes the images of n commits.
func seed(t *testing.T, n int, labels map[string]string) *cloudtest.Test {
	t.Helper()
	x := cloudtest.New(t)
	x.Testdata()
	for i := range n {
		x.Push(x.SHA(i), labels)
	}
	return x
}

// want checks how a step ended, and that the runner had nothing to complain about.
func want(t *testing.T, r *runner.Result, code int, outcome string) {
	t.Helper()
	if r.ExitCode != code || r.Outputs["outcome"] != outcome {
		t.Errorf("exit code %d, outcome %q, want %d, %q", r.ExitCode, r.Outputs["outcome"], code, outcome)
	}
	if code == 0 && len(r.Annotations) > 0 {
		t.Errorf("annotations: %+v", r.Annotations)
	}
	if len(r.Warnings) > 0 || len(r.Files) > 0 {
		t.Errorf("the runner complains: %q; files that the action wrote: %q", r.Warnings, r.Files)
	}
}

// objectLines are the lines of the log in kubectl's words.
var objectLines = regexp.MustCompile(`(?m)^\S+/\S+ (?:created|configured|unchanged)(?: .*)?$`)

// change is one object of the output `changes`.
type change struct{ Kind, Namespace, Name, Action string }

func changes(t *testing.T, r *runner.Result) []change {
	t.Helper()
	var all []change
	if err := json.Unmarshal([]byte(r.Outputs["changes"]), &all); err != nil {
		t.Fatalf("output changes %q: %v", r.Outputs["changes"], err)
	}
	return all
}

// address is that of the seed's Service.
func address(x *cloudtest.Test) string {
	x.Helper()
	s, err := x.Kube.CoreV1().Services(x.Namespace).Get(x.Context(), service, metav1.GetOptions{})
	if err != nil {
		x.Fatal(err)
	}
	if len(s.Status.LoadBalancer.Ingress) == 0 {
		x.Fatal("the Service has no address")
	}
	return s.Status.LoadBalancer.Ingress[0].IP
}

// golden compares a text with a file of testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := lineDiff(string(content), got); diff != "" {
		t.Errorf("%s (-want +got); if it is right, write it with -update:\n%s", path, diff)
	}
}

// lineDiff names the lines that only one of two texts has.
func lineDiff(want, got string) string {
	var b strings.Builder
	a, z := strings.Split(want, "\n"), strings.Split(got, "\n")
	for len(a) > 0 && len(z) > 0 && a[0] == z[0] {
		a, z = a[1:], z[1:]
	}
	for len(a) > 0 && len(z) > 0 && a[len(a)-1] == z[len(z)-1] {
		a, z = a[:len(a)-1], z[:len(z)-1]
	}
	for _, line := range a {
		b.WriteString("-" + line + "\n")
	}
	for _, line := range z {
		b.WriteString("+" + line + "\n")
	}
	return b.String()
}
