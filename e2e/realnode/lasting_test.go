package realnode_test

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/realnode/record"
)

// lasting leaves it to the action how long a pod has to go on.
func lasting(manifest string) string {
	return strings.Replace(manifest, "  minReadySeconds: 0\n", "", 1)
}

// unprobed leaves out the probe: a container is ready as soon as it runs.
func unprobed(manifest string) string {
	return strings.Join(slices.DeleteFunc(strings.SplitAfter(manifest, "\n"), func(line string) bool {
		return strings.Contains(line, "readinessProbe")
	}), "")
}

// lastingScenarios are of what is ready, and does not go on; and of what takes its
// time, and does.
func lastingScenarios() []scenario {
	backOff := []string{"BackOff"}
	const license = "loading weights\nFatal: license expired"
	ends := func(name, after, manifest string) scenario {
		return scenario{
			name: name, model: words("exit-code", "1", "exit-after", after, "log", license), manifest: manifest,
			brief: true, enough: crashing, events: backOff,
		}
	}
	probed, bare := lasting(deployment()), unprobed(lasting(deployment()))
	healthy := ends("ends-after-3s-health-path", "3s", bare+service)
	healthy.with = map[string]string{"health_path": "/"}
	return []scenario{
		ends("ends-at-once-unprobed", "0s", bare),
		ends("ends-after-1s-unprobed", "1s", bare),
		ends("ends-after-3s-unprobed", "3s", bare),
		healthy,
		ends("ends-after-3s", "3s", probed),
		ends("ends-after-8s-unprobed", "8s", bare),
		ends("ends-after-8s", "8s", probed),
		ends("ends-after-20s-unprobed", "20s", unprobed(counting(deployment()))),
		ends("ends-after-20s", "20s", counting(deployment())),
		{
			name: "waits-for-its-database", model: words("log", "connecting to the database"), arrange: database, brief: true,
			manifest: probed + "        envFrom: [{configMapRef: {name: database, optional: true}}]\n",
			enough:   func(s record.Status) bool { return ready(s) && restarted(s, 2) }, events: backOff,
		},
		{
			// It is ready when it has run for longer than it has to.
			name: "loads-for-15s", model: words("start-after", "15s", "log", "loading weights"), manifest: probed, enough: ready,
			unsaid: "until its containers have run",
		},
		{
			name: "Service-that-selects-nothing", manifest: deployment() + strings.NewReplacer("name: model", "name: front", "app: model", "app: other").Replace(service),
			enough: ready, brief: true,
		},
	}
}

func restarted(s record.Status, times int32) bool {
	return len(s.Containers) > 0 && s.Containers[0].Restarts == times
}

// database is what the model ends without, until it is started for the third time.
func database(x *cloudtest.Test, r *record.Recorder) func(context.Context) {
	x.Helper()
	config := x.Kube.CoreV1().ConfigMaps(x.Namespace)
	_, err := config.Create(x.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "database"},
		Data:       map[string]string{"MODEL_EXIT_CODE": "1", "MODEL_EXIT_AFTER": "1s"},
	}, metav1.CreateOptions{})
	if err != nil {
		x.Fatal(err)
	}
	return func(ctx context.Context) {
		if err := r.Wait(ctx, func(s record.Status) bool { return waits(s, "CrashLoopBackOff", 1) }); err != nil {
			x.Error(err)
		}
		if err := config.Delete(ctx, "database", metav1.DeleteOptions{}); err != nil {
			x.Error(err)
		}
	}
}
