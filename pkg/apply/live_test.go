package apply_test

// The tests in these files hold the write engine to a real API server: they are
// about its account of fields, versions and owners, which no imitation proves.
// They run where the variable names a kubeconfig of a cluster that is made for
// tests: e2e/apply starts one, and them.

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/org/deploy-model-action/pkg/apply"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

// kubeconfig names the variable. It is not KUBECONFIG, which on a developer's
// machine may be of a cluster that others use.
const kubeconfig = "DEPLOY_MODEL_ACTION_TEST_KUBECONFIG"

// env is a namespace, and what was logged about it.
type env struct {
	*testing.T
	dynamic   dynamic.Interface
	rest      rest.Interface
	namespace string
	name      string // of the Deployment

	mu  sync.Mutex
	log []string
}

func newEnv(t *testing.T) *env {
	t.Helper()
	config := configOf(t)
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.UnversionedRESTClientFor(dynamic.ConfigFor(config))
	if err != nil {
		t.Fatal(err)
	}
	e := &env{T: t, dynamic: objects, rest: client, name: "model"}
	namespaces := objects.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})
	made, err := namespaces.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"generateName": "apply-"},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	e.namespace = made.GetName()
	t.Cleanup(func() { _ = namespaces.Delete(context.Background(), e.namespace, metav1.DeleteOptions{}) })
	return e
}

// configOf reads the kubeconfig: one cluster, and a user with a certificate.
func configOf(t *testing.T) *rest.Config {
	t.Helper()
	name := os.Getenv(kubeconfig)
	if name == "" {
		t.Skipf("%s is not set; e2e/apply sets it", kubeconfig)
	}
	body, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Clusters []struct {
			Cluster struct {
				Server string `json:"server"`
				CA     []byte `json:"certificate-authority-data"`
			} `json:"cluster"`
		} `json:"clusters"`
		Users []struct {
			User struct {
				Certificate []byte `json:"client-certificate-data"`
				Key         []byte `json:"client-key-data"`
			} `json:"user"`
		} `json:"users"`
	}
	if err := yaml.Unmarshal(body, &file); err != nil || len(file.Clusters) != 1 || len(file.Users) != 1 {
		t.Fatalf("%s: %v", name, err)
	}
	return &rest.Config{
		Host: file.Clusters[0].Cluster.Server, QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: file.Clusters[0].Cluster.CA, CertData: file.Users[0].User.Certificate, KeyData: file.Users[0].User.Key},
	}
}

// options are those of one run of the action.
func (e *env) options(run string) apply.Options {
	client := kube.NewClient(e.dynamic, e.rest, kube.Options{Log: func(format string, args ...any) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.log = append(e.log, fmt.Sprintf(format, args...))
	}})
	return apply.Options{Client: client, Namespace: e.namespace, Mark: markOf(run)}
}

func markOf(run string) object.Mark {
	if run == "" {
		return object.Mark{}
	}
	return object.Mark{Run: run, Commit: "commit-of-" + run, Cause: "run " + run}
}

// logged empties the log.
func (e *env) logged() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	text := strings.Join(e.log, "\n")
	e.log = nil
	return text
}

// deploy applies a manifest, as one run.
func (e *env) deploy(o apply.Options, manifest string) ([]kube.Change, error) {
	e.Helper()
	plan, err := apply.NewPlan(e.Context(), e.documents(manifest), o)
	if err != nil {
		return nil, err
	}
	return plan.Write(e.Context())
}

// must applies a manifest and returns what became of the objects.
func (e *env) must(o apply.Options, manifest string) []kube.Change {
	e.Helper()
	changes, err := e.deploy(o, manifest)
	if err != nil {
		e.Fatal(err)
	}
	return changes
}

func (e *env) documents(manifest string) []*unstructured.Unstructured {
	e.Helper()
	var all []*unstructured.Unstructured
	for text := range strings.SplitSeq(manifest, "---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			e.Fatalf("%v in %s", err, text)
		}
		all = append(all, u)
	}
	return all
}

// at reaches the object of a manifest.
func (e *env) at(u *unstructured.Unstructured) dynamic.ResourceInterface {
	kind := u.GroupVersionKind()
	plural := strings.ToLower(kind.Kind) + "s"
	switch kind.Kind {
	case "NetworkPolicy":
		plural = "networkpolicies"
	case "Ingress", "PriorityClass":
		plural = strings.ToLower(kind.Kind) + "es"
	}
	resource := kind.GroupVersion().WithResource(plural)
	if slices.Contains([]string{"Namespace", "CustomResourceDefinition"}, kind.Kind) {
		return e.dynamic.Resource(resource)
	}
	return e.dynamic.Resource(resource).Namespace(e.namespace)
}

var deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

func (e *env) deployment() dynamic.ResourceInterface {
	return e.dynamic.Resource(deployments).Namespace(e.namespace)
}

func (e *env) get(u *unstructured.Unstructured) *unstructured.Unstructured {
	e.Helper()
	live, err := e.at(u).Get(e.Context(), u.GetName(), metav1.GetOptions{})
	if err != nil {
		e.Fatal(err)
	}
	return live
}

// patch changes the Deployment as another manager does by an update.
func (e *env) patch(ctx context.Context, manager, body string, subresources ...string) {
	e.Helper()
	kind := types.StrategicMergePatchType
	if len(subresources) > 0 {
		kind = types.MergePatchType
	}
	if _, err := e.deployment().Patch(ctx, e.name, kind, []byte(body), metav1.PatchOptions{FieldManager: manager}, subresources...); err != nil {
		e.Fatal(err)
	}
}

// create makes objects as a tool does: kubectl apply, kubectl apply --server-side,
// or any other that creates.
func (e *env) create(manager, operation, manifest string) {
	e.Helper()
	force := true
	for _, u := range e.documents(manifest) {
		body, err := json.Marshal(u)
		if err != nil {
			e.Fatal(err)
		}
		if operation == "Apply" {
			_, err = e.at(u).Patch(e.Context(), u.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: manager, Force: &force})
		} else {
			if manager == "kubectl-client-side-apply" {
				u.SetAnnotations(map[string]string{"kubectl.kubernetes.io/last-applied-configuration": string(body)})
			}
			_, err = e.at(u).Create(e.Context(), u, metav1.CreateOptions{FieldManager: manager})
		}
		if err != nil {
			e.Fatal(err)
		}
	}
}

// model is a Deployment whose pods are never scheduled; spec and container are
// lines that are added.
func model(image, spec, container string) string {
	return `apiVersion: apps/v1
kind: Deployment
metadata: {name: model, labels: {app: model}}
spec:
  ` + spec + `
  selector: {matchLabels: {app: model}}
  template:
    metadata: {labels: {app: model}}
    spec:
      nodeSelector: {none: none}
      containers:
        - name: model
          image: ` + image + `
          ` + container + `
`
}

// named is a manifest with the environment's name for everything called model.
func (e *env) named(manifest string) string {
	return strings.ReplaceAll(manifest, "name: model", "name: "+e.name)
}

// lines are what the changes say.
func lines(changes []kube.Change) string {
	var all []string
	for _, c := range changes {
		all = append(all, c.String())
	}
	return strings.Join(all, "\n")
}
