package owners_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/runner"
)

// first deploys version 0.
func first(t *testing.T, manifest func(tag string) string) *cloudtest.Test {
	t.Helper()
	x := cloudtest.New(t)
	x.Push(x.SHA(0), nil)
	x.Push(x.SHA(1), nil)
	x.Write("kubernetes/model.yaml", manifest("latest"))
	if r := x.Deploy(x.SHA(0), nil); r.Outputs["outcome"] != "deployed" {
		t.Fatalf("the first deploy ended as %s", r.Outputs["outcome"])
	}
	return x
}

func plain(tag string) string {
	return deployment(tag, "replicas: 1", "ports: [{containerPort: 3000}]")
}

// live is the Deployment's container.
type live struct {
	Image  string
	Limits map[string]string
	Env    map[string]string
	Ours   bool // the image is ours alone
}

func read(x *cloudtest.Test) live {
	x.Helper()
	d, err := x.Kube.AppsV1().Deployments(x.Namespace).Get(x.Context(), "model", metav1.GetOptions{})
	if err != nil {
		x.Fatal(err)
	}
	c := d.Spec.Template.Spec.Containers[0]
	l := live{Image: c.Image, Limits: map[string]string{}, Env: map[string]string{}}
	for name, quantity := range c.Resources.Limits {
		l.Limits[string(name)] = quantity.String()
	}
	for _, e := range c.Env {
		l.Env[e.Name] = e.Value
	}
	var owners []string
	for _, m := range d.ManagedFields {
		if m.FieldsV1 != nil && strings.Contains(string(m.FieldsV1.GetRawBytes()), `"f:image"`) {
			owners = append(owners, fmt.Sprintf("%s %s", m.Manager, m.Operation))
		}
	}
	l.Ours = len(owners) == 1 && owners[0] == "deploy-model-action Apply"
	if !l.Ours {
		x.Logf("the image is owned by %s", strings.Join(owners, ", "))
	}
	return l
}

// wantDeployed wants version 1 to be deployed, with an image that is ours.
func wantDeployed(x *cloudtest.Test, r *runner.Result) live {
	x.Helper()
	if r.Outputs["outcome"] != "deployed" {
		x.Errorf("the deploy ended as %s", r.Outputs["outcome"])
	}
	l := read(x)
	if !strings.Contains(l.Image, ":"+x.SHA(1)+"@sha256:") || !l.Ours {
		x.Errorf("image %s, ours: %t", l.Image, l.Ours)
	}
	return l
}

const edit = `{"spec": {"template": {"spec": {"containers": [{"name": "model", "image": "%s:edited", "resources": {"limits": {"memory": "2Gi"}}, "env": [{"name": "DEBUG", "value": "1"}]}]}}}}`

// TestEdit deploys over what a person changed by hand during an incident: what the
// manifest holds is the manifest's again, and named; what it does not hold stays.
func TestEdit(t *testing.T) {
	t.Parallel()
	for _, manager := range []string{"kubectl-edit", "kubectl-patch", "kubectl-set", "GoogleCloudConsole"} {
		t.Run(manager, func(t *testing.T) {
			t.Parallel()
			x := first(t, plain)
			x.Push("edited", nil)
			patch(x, manager, fmt.Sprintf(edit, image))
			r := x.Deploy(x.SHA(1), nil)
			l := wantDeployed(x, r)
			if l.Limits["memory"] != "2Gi" || l.Env["DEBUG"] != "1" {
				t.Errorf("what %s set besides the image did not stay: limits %v, env %v", manager, l.Limits, l.Env)
			}
			if !mentions(r.Log, "image", manager) {
				t.Errorf("the log does not say that the image was %s's", manager)
			}
			if r := x.Deploy(x.SHA(1), nil); r.Outputs["outcome"] != "unchanged" {
				t.Errorf("the same commit again ended as %s", r.Outputs["outcome"])
			}
		})
	}
}

// TestEditOfHeldFields gives back a field that the manifest holds, and names it.
func TestEditOfHeldFields(t *testing.T) {
	t.Parallel()
	x := first(t, func(tag string) string {
		return deployment(tag, "replicas: 1", "resources: {limits: {memory: 1Gi}}")
	})
	patch(x, "kubectl-edit", fmt.Sprintf(edit, image))
	r := x.Deploy(x.SHA(1), nil)
	if l := wantDeployed(x, r); l.Limits["memory"] != "1Gi" {
		t.Errorf("limits %v", l.Limits)
	}
	if !mentions(r.Log, "memory", "kubectl-edit") || !mentions(r.Log, "image", "kubectl-edit") {
		t.Error("the log does not name both fields")
	}
}

// TestSetImageBetweenCheckAndWrite is `kubectl set image` in the second in which
// the deploy has decided, and has not written.
func TestSetImageBetweenCheckAndWrite(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(*cloudtest.Test){
		"deployed by us": func(x *cloudtest.Test) {
			x.Push(x.SHA(0), nil)
			if r := x.Deploy(x.SHA(0), nil); r.Outputs["outcome"] != "deployed" {
				x.Fatalf("the first deploy ended as %s", r.Outputs["outcome"])
			}
		},
		"applied by kubectl": func(x *cloudtest.Test) { x.Push("latest", nil); kubectlApply.write(x, plain("latest")) },
		"applied by kubectl --server-side": func(x *cloudtest.Test) {
			x.Push("latest", nil)
			kubectlServerSide.write(x, plain("latest"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := cloudtest.New(t)
			x.Write("kubernetes/model.yaml", plain("latest"))
			x.Push(x.SHA(1), nil)
			before(x)
			held := x.Hold(cloudtest.AtApply())
			done := make(chan *runner.Result, 1)
			s := x.Step(x.SHA(1), nil)
			go func() {
				r, err := s.Run(x.Context())
				if err != nil {
					t.Error(err)
				}
				done <- r
			}()
			select {
			case <-held.Reached:
			case r := <-done:
				t.Fatalf("it never came to its write:\n%s", r.Log)
			}
			patch(x, "kubectl-set", fmt.Sprintf(`{"spec": {"template": {"spec": {"containers": [{"name": "model", "image": "%s:edited"}]}}}}`, image))
			held.Release()
			r := <-done
			x.LogRun("deploy", r)
			wantDeployed(x, r)
		})
	}
}

// TestKubectlServerSideBefore is case 21: the pipeline that this action replaces
// applied server-side, and what it held and the manifest does not is to go.
func TestKubectlServerSideBefore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]client{"kubectl --server-side": kubectlServerSide, "kubectl": kubectlApply} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := cloudtest.New(t)
			x.Push("old", nil)
			x.Push(x.SHA(1), nil)
			c.write(x, deployment("old", "replicas: 1", `env: [{name: OLD_FLAG, value: "1"}]`))
			x.Write("kubernetes/model.yaml", plain("latest"))
			if l := wantDeployed(x, x.Deploy(x.SHA(1), nil)); len(l.Env) > 0 {
				t.Errorf("env %v is still there", l.Env)
			}
		})
	}
}

// TestExportedManifest is case 33: the manifest is what `kubectl get -o yaml`
// printed. It is refused before anything is contacted, or does what it says; it is
// never applied by half.
func TestExportedManifest(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	x.Push("latest", nil)
	x.Push(x.SHA(1), nil)
	kubectlApply.write(x, plain("latest"))
	d, err := x.Kube.AppsV1().Deployments(x.Namespace).Get(t.Context(), "model", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d.APIVersion, d.Kind, d.ManagedFields = "apps/v1", "Deployment", nil
	delete(d.Annotations, "kubectl.kubernetes.io/last-applied-configuration")
	exported, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if exported, err = yaml.JSONToYAML(exported); err != nil {
		t.Fatal(err)
	}
	x.Write("kubernetes/model.yaml", string(exported)+"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b}\n")
	r := x.Deploy(x.SHA(1), nil)
	if r.ExitCode == 2 {
		if n := len(x.Requests()); n > 0 {
			t.Errorf("refused as wrong input after %d requests", n)
		}
		for _, field := range []string{"resourceVersion", "uid"} {
			if !strings.Contains(r.Log, field) {
				t.Errorf("the log does not name %s", field)
			}
		}
		return
	}
	wantDeployed(x, r)
}
