package rollout_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/registry"
)

// front is a Service of the model.
func front(spec string) string {
	return "---\napiVersion: v1\nkind: Service\nmetadata: {name: front}\nspec: " + spec + "\n"
}

// TestServices deploys Services that lead to the model, and such that lead nowhere,
// and deploys the latter once more: what is as it was is no better for it.
func TestServices(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ spec, outcome, says string }{
		"selects nothing":             {`{selector: {app: other}, ports: [{port: 80, targetPort: 3000}]}`, "failed", "it selects no pod: its selector is app=other, and the pods of what was deployed have the labels app=model"},
		"a port that nobody declares": {`{selector: {app: model}, ports: [{port: 80, targetPort: web}]}`, "failed", `its port 80 leads to targetPort "web", which no container of its pods declares (declared: http 3000)`},
		"another number":              {`{selector: {app: model}, ports: [{port: 80, targetPort: 8080}]}`, "deployed", "its port 80 leads to targetPort 8080, which no container of its pods declares"},
		"leads to the model":          {`{selector: {app: model}, ports: [{port: 80, targetPort: http}]}`, "deployed", ""},
		"headless":                    {`{clusterIP: None, selector: {app: model}, ports: [{port: 80, targetPort: http}]}`, "deployed", ""},
		"headless without ports":      {`{clusterIP: None, selector: {app: model}}`, "deployed", ""},
		"addresses before ready":      {`{clusterIP: None, publishNotReadyAddresses: true, selector: {app: model}, ports: [{port: 80, targetPort: http}]}`, "deployed", ""},
		"ExternalName":                {`{type: ExternalName, externalName: db.example.com}`, "deployed", ""},
		"no selector":                 {`{ports: [{port: 80}]}`, "deployed", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := cloudtest.New(t)
			want(x, deploy(x, 1, workload("Deployment", "replicas: 1", "")+front(tt.spec), nil, nil), tt.outcome, tt.says)
			again := map[string]string{"deployed": "unchanged", "failed": "failed"}[tt.outcome]
			want(x, x.Deploy(x.SHA(1), nil), again, "service/front unchanged")
		})
	}
}

// TestServiceOfUnawaited deploys a Service in front of a workload that is not waited
// for and never serves: the Service says so, as often as it is deployed.
func TestServiceOfUnawaited(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	manifest := strings.Replace(workload("Deployment", "replicas: 1", ""), "name: model, labels", `name: model, annotations: {deploy-model-action/wait: "false"}, labels`, 1) +
		front(`{selector: {app: model}, ports: [{port: 80, targetPort: http}]}`)
	short := map[string]string{"timeout": "15s"}
	const says = "none of its pods is ready to be sent requests (1 of them)"
	want(x, deploy(x, 1, manifest, map[string]string{"model.status": "503"}, short), "failed", says)
	want(x, x.Deploy(x.SHA(1), short), "failed", "deployment.apps/model unchanged", "service/front unchanged", says)
}

// TestPaused deploys over a Deployment that somebody paused.
func TestPaused(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	manifest := workload("Deployment", "replicas: 1", "")
	want(x, deploy(x, 1, manifest, nil, nil), "deployed")
	pause := func(paused string) {
		_, err := x.Kube.AppsV1().Deployments(x.Namespace).Patch(t.Context(), "model", types.StrategicMergePatchType, []byte(`{"spec": {"paused": `+paused+`}}`), metav1.PatchOptions{FieldManager: "kubectl-rollout"})
		if err != nil {
			t.Fatal(err)
		}
	}
	pause("true")
	want(x, deploy(x, 2, manifest, nil, nil), "rolled-back", `it is paused, so that no pod gets what was deployed: "kubectl-rollout" set spec.paused at 20`, "kubectl rollout resume deployment/model --namespace="+x.Namespace)
	pause("null")
	want(x, deploy(x, 3, manifest, nil, nil), "deployed")
	want(x, deploy(x, 4, strings.Replace(manifest, "replicas: 1", "replicas: 1\n  paused: true", 1), nil, nil), "rolled-back", "its manifest says so; take spec.paused out of the manifest")
}

// TestBeingDeleted deploys a ConfigMap that somebody is deleting.
func TestBeingDeleted(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	manifest := workload("Deployment", "replicas: 1", "") + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, finalizers: [example.com/keep]}\ndata: {a: \"1\"}\n"
	want(x, deploy(x, 1, manifest, nil, nil), "deployed")
	maps := x.Kube.CoreV1().ConfigMaps(x.Namespace)
	if err := maps.Delete(t.Context(), "settings", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = maps.Patch(t.Context(), "settings", types.MergePatchType, []byte(`{"metadata": {"finalizers": null}}`), metav1.PatchOptions{})
	})
	want(x, x.Deploy(x.SHA(1), nil), "failed", "configmap/settings unchanged", "it is being deleted")
	want(x, deploy(x, 2, manifest, nil, nil), "rolled-back", "it is being deleted")
}

// TestAnotherProcessor deploys an image for Arm nodes, of which there is none yet:
// its pod is what an autoscaler would make one for.
func TestAnotherProcessor(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	image, err := registry.Image(nil, "arm64")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Cloud.Registry.PushImage(t.Context(), localcloud.RegistryHost+"/"+cloudtest.Model+":"+x.SHA(1), image); err != nil {
		t.Fatal(err)
	}
	x.Write("kubernetes/model.yaml", workload("Deployment", "replicas: 1", `affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/arch, operator: In, values: [arm64]}]}]}}}`))
	want(x, x.Deploy(x.SHA(1), map[string]string{"timeout": "20s"}), "failed", "deployment.apps/model created", "cannot be scheduled")
}

// TestIllBefore deploys something else beside a workload that does not serve.
func TestIllBefore(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	ill := strings.NewReplacer("name: model, labels: {app: model}", "name: ill", "app: model", "app: ill", localcloud.RegistryHost+"/"+cloudtest.Model+":latest", localcloud.RegistryHost+"/ill:latest").Replace(workload("Deployment", "replicas: 1", ""))
	ill = strings.Replace(ill, "spec:\n      terminationGracePeriodSeconds: 0", "spec:\n      nodeSelector: {disk: none}\n      terminationGracePeriodSeconds: 0", 1)
	if _, err := x.Cloud.Registry.Push(t.Context(), localcloud.RegistryHost+"/ill:v1", nil); err != nil {
		t.Fatal(err)
	}
	with := map[string]string{"timeout": "30s", "images": cloudtest.Model + "\nill=" + localcloud.RegistryHost + "/ill:v1"}
	manifest := ill + "---\n" + workload("Deployment", "replicas: 1", "")
	want(x, deploy(x, 1, manifest, nil, with), "failed", "cannot be scheduled")
	want(x, deploy(x, 2, manifest, nil, with), "deployed", "it was not ready before this deploy, which changed nothing of it")
	again := x.Deploy(x.SHA(2), with)
	want(x, again, "failed", "cannot be scheduled")
	if again.Duration > 2*time.Minute {
		t.Errorf("it took %s", again.Duration)
	}
}

// TestIngress deploys an Ingress whose controller writes no address, over a model
// that serves.
func TestIngress(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	manifest := workload("Deployment", "replicas: 1", "") + front(`{selector: {app: model}, ports: [{port: 80, targetPort: http}]}`)
	want(x, deploy(x, 1, manifest, nil, nil), "deployed")
	manifest += `---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: model}
spec:
  ingressClassName: traefik
  rules: [{host: model.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: front, port: {number: 80}}}}]}}]
`
	want(x, deploy(x, 2, manifest, nil, map[string]string{"timeout": "30s"}), "deployed", "it shows no address, which some Ingress controllers never write")
	again := deploy(x, 3, manifest, nil, nil)
	want(x, again, "deployed", "it shows no address")
	if again.Duration > 2*time.Minute { // which it is waited for longer than
		t.Errorf("it was waited for again: %s", again.Duration)
	}
}
