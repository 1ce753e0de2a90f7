package rollout_test

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

// exposed is a Service of the model behind a load balancer.
const exposed = `---
apiVersion: v1
kind: Service
metadata: {name: model}
spec: {type: LoadBalancer, selector: {app: model}, ports: [{port: 80, targetPort: 3000}]}
`

// unprobed takes the readiness probe out of a workload.
func unprobed(manifest string) string {
	var kept []string
	for line := range strings.Lines(manifest) {
		if !strings.Contains(line, "readinessProbe") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// lasting is the workload of a manifest that says nothing of minReadySeconds.
func lasting(kind, spec string) string {
	return strings.Replace(workload(kind, spec, ""), "\n  minReadySeconds: 0", "", 1)
}

// TestServes deploys over a model that serves one that ends some time after it
// was ready, and those that come up late: who ends is red and rolled back, with
// the reason, and who only begins late is green.
func TestServes(t *testing.T) {
	t.Parallel()
	replicas := func(more string) string { return lasting("Deployment", "replicas: 2"+more) }
	type scene struct {
		name     string
		manifest string
		words    map[string]string
		with     map[string]string
		outcome  string
	}
	var scenes []scene
	for _, after := range []string{"0s", "1s", "3s", "8s"} {
		for _, probe := range []string{"", ", probed"} {
			for _, health := range []string{"", ", asked"} {
				s := scene{name: "ends after " + after + probe + health, manifest: replicas(""), outcome: "rolled-back", words: map[string]string{
					"model.exit-code": "3", "model.exit-after": after, "model.log": "no weights",
				}}
				if probe == "" {
					s.manifest = unprobed(s.manifest)
				}
				if health != "" {
					s.with = map[string]string{"health_path": "/readyz"}
				}
				scenes = append(scenes, s)
			}
		}
	}
	scenes = append(scenes,
		scene{name: "ends after 20s of 30", manifest: unprobed(replicas("\n  minReadySeconds: 30")), outcome: "rolled-back", words: map[string]string{
			"model.exit-code": "3", "model.exit-after": "20s", "model.log": "no weights",
		}},
		scene{name: "a StatefulSet that ends after 3s", manifest: unprobed(lasting("StatefulSet", "replicas: 1\n  serviceName: model")), outcome: "rolled-back", words: map[string]string{
			"model.exit-code": "3", "model.exit-after": "3s", "model.log": "no weights",
		}},
		scene{name: "serves", manifest: unprobed(replicas("")), outcome: "deployed"},
	)
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			x := cloudtest.New(t)
			good := strings.Replace(s.manifest, "replicas:", "minReadySeconds: 0\n  replicas:", 1)
			if strings.Contains(s.manifest, "minReadySeconds") {
				good = s.manifest
			}
			want(x, deploy(x, 1, strings.Replace(good, "minReadySeconds: 30", "minReadySeconds: 0", 1)+exposed, nil, nil), "deployed")
			says := []string{`container "model" crashed with exit code 3`, "no weights"}
			if s.outcome == "deployed" {
				says = []string{"waiting until its containers have run for 10s"}
			}
			with := map[string]string{"timeout": "4m"}
			maps.Copy(with, s.with)
			r := deploy(x, 2, s.manifest+exposed, s.words, with)
			want(x, r, s.outcome, says...)
			if s.outcome == "rolled-back" && (len(r.Annotations) == 0 || !strings.Contains(r.Annotations[0].Message, "crashed with exit code 3")) {
				t.Errorf("the first annotation does not say the cause: %+v", r.Annotations)
			}
			cloudtest.Figure(t, "%s: %s after %.0f s", s.name, r.Outputs["outcome"], r.Duration.Seconds())
		})
	}
}

// TestLoads holds that a model which takes longer to load than pods have to run is
// green as soon as it is ready, without those 10 s on top.
func TestLoads(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	r := deploy(x, 1, lasting("Deployment", "replicas: 1"), map[string]string{"model.start-after": "15s"}, nil)
	ended := time.Now()
	want(x, r, "deployed")
	for _, c := range pods(x)[0].Status.Conditions {
		if c.Type == "Ready" {
			cloudtest.Figure(t, "a model that loads for 15 s: ended %.1f s after it was ready, by a clock of whole seconds", ended.Sub(c.LastTransitionTime.Time).Seconds())
		}
	}
	if strings.Contains(r.Log, "have run for") {
		t.Error("it was waited for after it was ready")
	}
}

// TestDatabase holds that a model which ends twice, until its database is there, is
// green.
func TestDatabase(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	settings := x.Kube.CoreV1().ConfigMaps(x.Namespace)
	database := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "database"}, Data: map[string]string{"MODEL_EXIT_CODE": "1", "MODEL_EXIT_AFTER": "2s"}}
	if _, err := settings.Create(t.Context(), database, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	comes := make(chan struct{})
	go func() {
		defer close(comes)
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			if all := pods(x); len(all) > 0 && len(all[0].Status.ContainerStatuses) > 0 && all[0].Status.ContainerStatuses[0].RestartCount >= 1 {
				break
			}
		}
		database.Data = nil
		_, _ = settings.Update(context.WithoutCancel(t.Context()), database, metav1.UpdateOptions{})
	}()
	manifest := lasting("Deployment", "replicas: 1") + "          envFrom: [{configMapRef: {name: database}}]\n"
	want(x, deploy(x, 1, manifest, nil, nil), "deployed", "crashed with exit code 1")
	<-comes
	if n := pods(x)[0].Status.ContainerStatuses[0].RestartCount; n < 1 || n > 2 {
		t.Errorf("%d restarts", n)
	}
}

// pods are those of the model, as they are now.
func pods(x *cloudtest.Test) []corev1.Pod {
	x.Helper()
	list, err := x.Kube.CoreV1().Pods(x.Namespace).List(context.WithoutCancel(x.Context()), metav1.ListOptions{LabelSelector: "app=model"})
	if err != nil {
		x.Error(err)
		return nil
	}
	return list.Items
}
