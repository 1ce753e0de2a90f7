// Package stored_test holds what is stored against what manifests say, on a real API
// server: random sequences of manifests with kubectl in between, and the same
// manifests through kubectl. It starts a control plane for tests of pkg/apply, as e2e/apply does.
package stored_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

var (
	// failed matches the test that failed and what it said.
	failed  = regexp.MustCompile(`(?m)^ *(--- FAIL: .*|\w+_test\.go:\d+: .*\S.*)$`)
	figures = regexp.MustCompile(`(?m)^ *figure: (.*)$`)
)

func TestMain(m *testing.M) { cloudtest.Main(m) }

// TestRandom is the property: after any sequence of manifests and edits, the stored
// fields are the manifest's, or the deploy failed and named the field. CAMPAIGN=1 plays
// 2,000 steps; SEED=… repeats one, KIND=Deployment,Job plays these kinds only.
func TestRandom(t *testing.T) {
	t.Parallel()
	run(t, "^TestRandom$")
}

// TestSameAsKubectl sends the same manifests through `kubectl apply --server-side`.
func TestSameAsKubectl(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("kubectl"); err != nil {
		t.Skip("kubectl is not on this machine: nothing is compared with what it stores")
	}
	run(t, "^TestSameAsKubectl$")
}

func run(t *testing.T, pattern string) {
	t.Helper()
	test := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-timeout", "1h", "-run", pattern, "./pkg/apply")
	test.Dir = cloudtest.Root()
	test.Env = append(os.Environ(), "DEPLOY_MODEL_ACTION_TEST_KUBECONFIG="+cloudtest.Cloud(t).ControlPlane.Kubeconfig)
	out, err := test.CombinedOutput()
	for _, figure := range figures.FindAllStringSubmatch(string(out), -1) {
		cloudtest.Figure(t, "%s", figure[1])
	}
	if err != nil {
		name := filepath.Join(os.TempDir(), "stored-"+strings.Trim(pattern, "^$")+".log")
		_ = os.WriteFile(name, out, 0o600)
		t.Errorf("%v (all of it is in %s): %s", err, name, strings.Join(failed.FindAllString(string(out), -1), "; "))
	}
}
