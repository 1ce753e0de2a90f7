// Package rollout_test holds the action as it ships to a real API server where
// the wait and the restore depend on what that keeps account of: who owns which
// field, what it fills in by itself, which status belongs to which generation,
// and what its watches do when they break.
//
// What can go wrong inside of pods is package catalogue's.
package rollout_test

import (
	"encoding/json"
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/runner"
)

func TestMain(m *testing.M) {
	// Nearly all of it is waiting for containers that go on, or that end again and again.
	_ = flag.Set("test.parallel", "12")
	cloudtest.Main(m)
}

// workload writes a Deployment or StatefulSet of the seed's model; spec and
// template are lines that are added to it.
func workload(kind, spec, template string) string {
	if !strings.Contains(spec, "minReadySeconds") {
		spec += "\n  minReadySeconds: 0" // what serves is held by TestServes
	}
	return `apiVersion: apps/v1
kind: ` + kind + `
metadata: {name: model, labels: {app: model}}
spec:
  ` + spec + `
  selector: {matchLabels: {app: model}}
  template:
    metadata: {labels: {app: model}}
    spec:
      terminationGracePeriodSeconds: 0
      ` + template + `
      containers:
        - name: model
          image: ` + localcloud.RegistryHost + "/" + cloudtest.Model + `:latest
          ports: [{name: http, containerPort: 3000}]
          readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1}
`
}

// deploy publishes an image that acts as the labels say, and deploys it.
func deploy(x *cloudtest.Test, version int, manifest string, labels, with map[string]string) *runner.Result {
	x.Helper()
	x.Push(x.SHA(version), labels)
	x.Write("kubernetes/model.yaml", manifest)
	return x.Deploy(x.SHA(version), with)
}

// want ends the test if a step came to another outcome.
func want(x *cloudtest.Test, r *runner.Result, outcome string, says ...string) {
	x.Helper()
	code := map[string]int{"deployed": 0, "unchanged": 0}
	expected, ok := code[outcome]
	if !ok {
		expected = 1
	}
	if r.ExitCode != expected || r.Outputs["outcome"] != outcome {
		x.Fatalf("exit code %d, outcome %q, want %q", r.ExitCode, r.Outputs["outcome"], outcome)
	}
	for _, s := range says {
		if !strings.Contains(r.Log, s) {
			x.Errorf("the log does not say %q", s)
		}
	}
}

// crashes are the labels of an image that does not work.
var crashes = map[string]string{"model.exit-code": "3", "model.log": "no weights"}

// documents splits a manifest.
func documents(x *cloudtest.Test, manifest string) []*unstructured.Unstructured {
	x.Helper()
	var all []*unstructured.Unstructured
	for _, text := range strings.Split(manifest, "---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
			x.Fatal(err)
		}
		o.SetNamespace(x.Namespace)
		all = append(all, o)
	}
	return all
}

func resourceOf(o *unstructured.Unstructured) schema.GroupVersionResource {
	return o.GroupVersionKind().GroupVersion().WithResource(strings.ToLower(o.GetKind()) + "s")
}

// state is everything of some objects that a restore has to give back.
func state(x *cloudtest.Test, manifest string) map[string]any {
	x.Helper()
	all := map[string]any{}
	for _, o := range documents(x, manifest) {
		live, err := x.Dynamic().Resource(resourceOf(o)).Namespace(x.Namespace).Get(x.Context(), o.GetName(), metav1.GetOptions{})
		if err != nil {
			x.Fatal(err)
		}
		delete(live.Object, "status")
		metadata := live.Object["metadata"].(map[string]any)
		for _, key := range []string{"managedFields", "resourceVersion", "generation"} {
			delete(metadata, key)
		}
		annotations := live.GetAnnotations()
		delete(annotations, "deployment.kubernetes.io/revision") // counts up
		live.SetAnnotations(annotations)
		all[o.GetKind()] = live.Object
	}
	return all
}

// same checks that objects are what they were.
func same(x *cloudtest.Test, before map[string]any, manifest string) {
	x.Helper()
	if diff := cmp.Diff(before, state(x, manifest)); diff != "" {
		x.Errorf("what is there is not what was there (-before +after):\n%s", diff)
	}
}

// kubectlApply creates objects as kubectl apply does, client-side.
func kubectlApply(x *cloudtest.Test, manifest string) {
	x.Helper()
	for _, o := range documents(x, manifest) {
		last, err := json.Marshal(o)
		if err != nil {
			x.Fatal(err)
		}
		o.SetAnnotations(map[string]string{"kubectl.kubernetes.io/last-applied-configuration": string(last) + "\n"})
		if _, err := x.Dynamic().Resource(resourceOf(o)).Namespace(x.Namespace).Create(x.Context(), o, metav1.CreateOptions{FieldManager: "kubectl-client-side-apply"}); err != nil {
			x.Fatal(err)
		}
	}
}

// takeOver lets another manager apply fields, by force.
func takeOver(x *cloudtest.Test, manager, manifest string) {
	x.Helper()
	force := true
	for _, o := range documents(x, manifest) {
		body, err := json.Marshal(o)
		if err != nil {
			x.Fatal(err)
		}
		if _, err := x.Dynamic().Resource(resourceOf(o)).Namespace(x.Namespace).Patch(x.Context(), o.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: manager, Force: &force}); err != nil {
			x.Fatal(err)
		}
	}
}

// scale sets replicas as an autoscaler does.
func scale(x *cloudtest.Test, replicas string) {
	x.Helper()
	if _, err := x.Kube.AppsV1().Deployments(x.Namespace).Patch(x.Context(), "model", types.MergePatchType, []byte(`{"spec": {"replicas": `+replicas+`}}`), metav1.PatchOptions{FieldManager: "horizontal-pod-autoscaler"}, "scale"); err != nil {
		x.Fatal(err)
	}
}

// eventually waits until something holds.
func eventually(x *cloudtest.Test, what string, holds func() bool) {
	x.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			x.Fatalf("%s: it did not happen", what)
		}
	}
}

// ready waits for the Deployment's pods.
func ready(x *cloudtest.Test, replicas int32) {
	x.Helper()
	eventually(x, "ready pods", func() bool {
		d, err := x.Kube.AppsV1().Deployments(x.Namespace).Get(x.Context(), "model", metav1.GetOptions{})
		if err != nil {
			x.Fatal(err)
		}
		return d.Status.ObservedGeneration == d.Generation && d.Status.ReadyReplicas == replicas && d.Status.Replicas == replicas
	})
}
