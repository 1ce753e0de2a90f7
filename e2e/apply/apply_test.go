// Package apply_test starts a control plane for the tests of pkg/apply that hold
// its write engine to a real API server. This module has other versions of
// Kubernetes' libraries, so it cannot call the engine itself.
package apply_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

// failed matches the test that failed and what it said.
var failed = regexp.MustCompile(`(?m)^ *(--- FAIL: .*|\w+_test\.go:\d+: .*\S.*)$`)

func TestMain(m *testing.M) { cloudtest.Main(m) }

func TestEngine(t *testing.T) {
	t.Parallel()
	engine(t, "^TestLive")
}

// engine runs tests of pkg/apply against this cloud's API server.
func engine(t *testing.T, run string) {
	t.Helper()
	test := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-timeout", "30m", "-run", run, "./pkg/apply")
	test.Dir = cloudtest.Root()
	test.Env = append(os.Environ(), "DEPLOY_MODEL_ACTION_TEST_KUBECONFIG="+cloudtest.Cloud(t).ControlPlane.Kubeconfig)
	out, err := test.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("%v: %s", err, strings.Join(failed.FindAllString(string(out), -1), "; ")) // last, where a CI log that is cut begins
	}
}
