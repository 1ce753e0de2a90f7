package rollout

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

// TestCustomWarnings holds that what a controller says in events about its custom
// resource is shown, also of a kind whose pods are followed.
func TestCustomWarnings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cluster := objecttest.Text("ray.io/v1", "RayCluster", `{}`, `{observedGeneration: 4}`)
		w := newWorld(t, []moment{{at: 1, object: storyEvent("RayCluster", "model", "u1", "FailedToCreateHeadPod", "the quota is exceeded", 1)}})
		told := &kubetest.Recorder{}
		_, err := Wait(t.Context(), kubetest.Serve(t, w).Client, []kube.Change{changeOf(objecttest.FromYAML(t, cluster))}, Options{FailFast: true, Timeout: 20 * time.Second, Progress: told.Line})
		if err == nil || !strings.Contains(told.String(), "FailedToCreateHeadPod: the quota is exceeded") {
			t.Errorf("%v\n%s", err, told)
		}
	})
}
