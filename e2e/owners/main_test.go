// Package owners_test deploys over objects that others made or changed: whose
// fields become the action's, whose stay, and what happens to the number of
// replicas.
package owners_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
)

func TestMain(m *testing.M) { cloudtest.Waiting(m, 6) }

const image = localcloud.RegistryHost + "/" + cloudtest.Model

// deployment is a manifest. spec are lines of its spec, container some of its container.
func deployment(tag, spec, container string) string {
	return `apiVersion: apps/v1
kind: Deployment
metadata: {name: model, labels: {app: model}}
spec:
  ` + spec + `
  minReadySeconds: 0
  selector: {matchLabels: {app: model}}
  template:
    metadata: {labels: {app: model}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: model
          image: ` + image + ":" + tag + `
          ` + container + `
`
}

// client is how somebody writes objects.
type client struct {
	manager   string
	applies   bool // server-side; else it creates and updates
	annotates bool // as kubectl apply does, with what it applied last
}

// The clients' names in managedFields.
var (
	kubectlApply      = client{manager: "kubectl-client-side-apply", annotates: true}
	kubectlServerSide = client{manager: "kubectl", applies: true}
	helm3             = client{manager: "helm"}                // Helm 3 creates, and patches with three-way merges
	helm4             = client{manager: "helm", applies: true} // Helm 4 applies server-side
)

func (c client) write(x *cloudtest.Test, manifest string) {
	x.Helper()
	for _, o := range documents(x, manifest) {
		body, err := json.Marshal(o)
		if err != nil {
			x.Fatal(err)
		}
		if c.annotates {
			o.SetAnnotations(map[string]string{"kubectl.kubernetes.io/last-applied-configuration": string(body) + "\n"})
		}
		objects := x.Dynamic().Resource(resourceOf(o)).Namespace(x.Namespace)
		if c.applies {
			_, err = objects.Patch(x.Context(), o.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: c.manager})
		} else {
			_, err = objects.Create(x.Context(), o, metav1.CreateOptions{FieldManager: c.manager})
		}
		if err != nil {
			x.Fatal(err)
		}
	}
}

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

// patch changes the Deployment as a person's tool does, which calls itself by a
// name: `kubectl edit` is kubectl-edit, `kubectl set image` is kubectl-set.
func patch(x *cloudtest.Test, manager, body string) {
	x.Helper()
	_, err := x.Kube.AppsV1().Deployments(x.Namespace).Patch(x.Context(), "model", types.StrategicMergePatchType, []byte(body), metav1.PatchOptions{FieldManager: manager})
	if err != nil {
		x.Fatal(err)
	}
}

// scale sets replicas through the subresource, as autoscalers and `kubectl scale` do.
func scale(x *cloudtest.Test, manager, replicas string) {
	x.Helper()
	_, err := x.Kube.AppsV1().Deployments(x.Namespace).Patch(x.Context(), "model", types.MergePatchType, []byte(`{"spec": {"replicas": `+replicas+`}}`), metav1.PatchOptions{FieldManager: manager}, "scale")
	if err != nil {
		x.Fatal(err)
	}
}

// replicas is what the Deployment asks for.
func replicas(x *cloudtest.Test) int32 {
	x.Helper()
	d, err := x.Kube.AppsV1().Deployments(x.Namespace).Get(x.Context(), "model", metav1.GetOptions{})
	if err != nil {
		x.Fatal(err)
	}
	return *d.Spec.Replicas
}

// eventually waits until something holds.
func eventually(x *cloudtest.Test, what string, holds func() bool) {
	x.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			x.Fatalf("%s: it did not happen", what)
		}
	}
}
