// Package apply_test starts a control plane for the tests of pkg/apply that hold
// its write engine to a real API server. This module has other versions of
// Kubernetes' libraries, so it cannot call the engine itself.
package apply_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

func TestMain(m *testing.M) { cloudtest.Main(m) }

func TestEngine(t *testing.T) {
	t.Parallel()
	test := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-run", "^TestLive", "./pkg/apply")
	test.Dir = cloudtest.Root()
	test.Env = append(os.Environ(), "DEPLOY_MODEL_ACTION_TEST_KUBECONFIG="+cloudtest.Cloud(t).ControlPlane.Kubeconfig)
	out, err := test.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
