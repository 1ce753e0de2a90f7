package kinds_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

// behind is what each controller makes of its object, with its own labels. IMAGE is
// the model's, as the object holds it.
var behind = map[string]struct {
	status string // that names it
	made   string
}{
	"InferenceService": {made: `
apiVersion: apps/v1
kind: Deployment
metadata: {name: model-predictor}
spec:
  selector: {matchLabels: {app: isvc.model-predictor}}
  template:
    metadata: {labels: {app: isvc.model-predictor, component: predictor, serving.kserve.io/inferenceservice: model}}
    spec: {containers: [{name: kserve-container, image: IMAGE}]}
`},
	"Service": {status: `{observedGeneration: GEN, latestCreatedRevisionName: model-00001, conditions: [{type: Ready, status: Unknown}]}`, made: `
apiVersion: apps/v1
kind: Deployment
metadata: {name: model-00001-deployment}
spec:
  selector: {matchLabels: {serving.knative.dev/revision: model-00001}}
  template:
    metadata: {labels: {serving.knative.dev/revision: model-00001, serving.knative.dev/service: model}}
    spec: {containers: [{name: user-container, image: IMAGE}]}
`},
	"Rollout": {status: `{observedGeneration: "GEN", phase: Progressing, currentPodHash: 5f6d}`, made: `
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: model-5f6d, labels: {app: rollout, rollouts-pod-template-hash: 5f6d}}
spec:
  replicas: 2
  selector: {matchLabels: {app: rollout, rollouts-pod-template-hash: 5f6d}}
  template:
    metadata: {labels: {app: rollout, rollouts-pod-template-hash: 5f6d}}
    spec: {containers: [{name: model, image: IMAGE}]}
`},
	"LeaderWorkerSet": {made: `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: model}
spec:
  selector: {matchLabels: {leaderworkerset.sigs.k8s.io/name: model, leaderworkerset.sigs.k8s.io/worker-index: "0"}}
  serviceName: model
  template:
    metadata: {labels: {leaderworkerset.sigs.k8s.io/name: model, leaderworkerset.sigs.k8s.io/worker-index: "0"}}
    spec: {containers: [{name: leader, image: IMAGE}]}
`},
	"RayService": {status: `{observedGeneration: GEN, pendingServiceStatus: {rayClusterName: model-abcde}, conditions: [{type: Ready, status: "False", reason: Initializing}]}`, made: `
apiVersion: v1
kind: Pod
metadata: {name: model-abcde-head, labels: {ray.io/cluster: model-abcde, ray.io/is-ray-node: "yes", ray.io/group: headgroup}}
spec: {containers: [{name: ray-head, image: IMAGE}]}
`},
	"RayCluster": {made: `
apiVersion: v1
kind: Pod
metadata: {name: model-head, labels: {ray.io/cluster: model, ray.io/is-ray-node: "yes", ray.io/group: headgroup}}
spec: {containers: [{name: ray-head, image: IMAGE}]}
`},
	"JobSet": {made: `
apiVersion: batch/v1
kind: Job
metadata: {name: model-worker-0}
spec:
  backoffLimit: 6
  template:
    metadata: {labels: {jobset.sigs.k8s.io/jobset-name: model, jobset.sigs.k8s.io/replicatedjob-name: worker}}
    spec: {restartPolicy: OnFailure, containers: [{name: worker, image: IMAGE}]}
`},
}

// TestPodsBehind holds that a model that crashes behind a custom resource fails the
// deploy with its own words, although the custom resource says nothing of it.
func TestPodsBehind(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		made, ok := behind[k.kind]
		if !ok {
			continue
		}
		t.Run(k.kind, func(t *testing.T) {
			t.Parallel()
			x := cloudtest.New(t)
			k.progressing = made.status
			c := newController(x, []kind{k})
			x.Write("kubernetes/model.yaml", k.manifest("1"))
			x.Push(x.SHA(1), map[string]string{"model.exit-code": "3", "model.log": "no weights in gs://models"})
			stop := c.play("1", step{0, func(k kind) string {
				create(c, k, made.made)
				return made.status
			}})
			began := time.Now()
			r := x.Deploy(x.SHA(1), map[string]string{"timeout": "2m"})
			stop()
			took := time.Since(began)
			for _, says := range []string{"crashed with exit code 3", "no weights in gs://models"} {
				if !strings.Contains(r.Log, says) {
					t.Errorf("the log does not say %q", says)
				}
			}
			if r.ExitCode != 1 || took > 100*time.Second {
				t.Errorf("exit code %d after %s, want 1 before the timeout", r.ExitCode, took)
			}
		})
	}
}

// create makes what a controller makes of an object, with the image that it holds.
func create(c *controller, k kind, manifest string) {
	u := &unstructured.Unstructured{}
	image := imageOf(c.get(context.Background(), k).Object)
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(manifest, "IMAGE", image)), &u.Object); err != nil {
		c.Error(err)
		return
	}
	kind := u.GroupVersionKind()
	resource := schema.GroupVersionResource{Group: kind.Group, Version: kind.Version, Resource: strings.ToLower(kind.Kind) + "s"}
	if _, err := c.Dynamic().Resource(resource).Namespace(c.Namespace).Create(context.Background(), u, metav1.CreateOptions{}); err != nil {
		c.Error(err)
	}
}

// imageOf finds the first image anywhere in an object.
func imageOf(in any) string {
	switch in := in.(type) {
	case map[string]any:
		if image, ok := in["image"].(string); ok {
			return image
		}
		for _, value := range in {
			if image := imageOf(value); image != "" {
				return image
			}
		}
	case []any:
		for _, value := range in {
			if image := imageOf(value); image != "" {
				return image
			}
		}
	}
	return ""
}

// TestOnlyGPU holds what is said when the only accelerator is held by the model that
// is to be replaced, and what an autoscaler's events add to it.
func TestOnlyGPU(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	gpu := x.Namespace + ".example.com/gpu" // which only this test asks for
	list, err := x.Kube.CoreV1().Nodes().List(x.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) == 0 {
		t.Fatal(err)
	}
	node := list.Items[0].Name
	patch := fmt.Appendf(nil, `{"status": {"capacity": {%q: "1"}, "allocatable": {%[1]q: "1"}}}`, gpu)
	stop := keep(x, func() {
		_, _ = x.Kube.CoreV1().Nodes().Patch(context.Background(), node, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	})
	defer stop()

	manifest := `apiVersion: apps/v1
kind: Deployment
metadata: {name: model}
spec:
  selector: {matchLabels: {app: model}}
  template:
    metadata: {labels: {app: model}}
    spec:
      containers:
        - {name: model, image: "` + image + `", resources: {limits: {"` + gpu + `": 1}}}
`
	x.Write("kubernetes/model.yaml", manifest)
	x.Push(x.SHA(1), nil)
	if r := x.Deploy(x.SHA(1), nil); r.ExitCode != 0 {
		t.Fatal("the first model does not start")
	}
	x.Push(x.SHA(2), nil)
	stopEvents := keep(x, func() { announce(x) })
	r := x.Deploy(x.SHA(2), map[string]string{"timeout": "20s"})
	stopEvents()
	if r.ExitCode != 1 || r.Outputs["outcome"] != "rolled-back" {
		t.Errorf("exit code %d, outcome %q", r.ExitCode, r.Outputs["outcome"])
	}
	for _, says := range []string{
		"set strategy: {type: Recreate}, or rollingUpdate: {maxSurge: 0, maxUnavailable: 1}",
		"no autoscaler adds a node: 1 max node group size reached",
	} {
		if !strings.Contains(r.Log, says) {
			t.Errorf("the log does not say %q", says)
		}
	}
}

// announce writes the event that GKE's autoscaler writes about pods without a node.
func announce(x *cloudtest.Test) {
	pods, err := x.Kube.CoreV1().Pods(x.Namespace).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		return
	}
	for _, pod := range pods.Items {
		if pod.Spec.NodeName != "" {
			continue
		}
		now := metav1.Now()
		_, _ = x.Kube.CoreV1().Events(x.Namespace).Create(context.Background(), &corev1.Event{
			ObjectMeta: metav1.ObjectMeta{Name: pod.Name + ".scale"}, FirstTimestamp: now, LastTimestamp: now, Count: 1,
			InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
			Type:           corev1.EventTypeNormal, Reason: "NotTriggerScaleUp", Source: corev1.EventSource{Component: "cluster-autoscaler"},
			Message: "pod didn't trigger scale-up: 1 max node group size reached",
		}, metav1.CreateOptions{})
	}
}

// keep does something every half second until it is stopped.
func keep(x *cloudtest.Test, do func()) (stop func()) {
	ctx, cancel := context.WithCancel(x.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for do(); sleep(ctx, 500*time.Millisecond); do() {
		}
	}()
	return func() { cancel(); <-done }
}
