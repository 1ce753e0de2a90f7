package rollout_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/registry"
)

// settings is a ConfigMap that stays until somebody takes its finalizer away.
const settings = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, finalizers: [example.com/keep]}\ndata: {a: \"1\"}\n"

// deletes has somebody delete the settings.
func deletes(x *cloudtest.Test) {
	x.Helper()
	maps := x.Kube.CoreV1().ConfigMaps(x.Namespace)
	if err := maps.Delete(x.Context(), "settings", metav1.DeleteOptions{}); err != nil {
		x.Fatal(err)
	}
	x.Cleanup(func() {
		_, _ = maps.Patch(context.Background(), "settings", types.MergePatchType, []byte(`{"metadata": {"finalizers": null}}`), metav1.PatchOptions{})
	})
}

// patched has another manager change an object.
func patched(x *cloudtest.Test, resource schema.GroupVersionResource, kind types.PatchType, manager, patch string) {
	x.Helper()
	if _, err := x.Dynamic().Resource(resource).Namespace(x.Namespace).Patch(x.Context(), "model", kind, []byte(patch), metav1.PatchOptions{FieldManager: manager}); err != nil {
		x.Fatal(err)
	}
}

func pauses(x *cloudtest.Test) {
	x.Helper()
	patched(x, schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, types.MergePatchType, "kubectl-rollout", `{"spec": {"paused": true}}`)
}

// foreignPort has somebody else open a port of the Service.
func foreignPort(x *cloudtest.Test) {
	x.Helper()
	patched(x, schema.GroupVersionResource{Version: "v1", Resource: "services"}, types.StrategicMergePatchType, "mesh", `{"spec": {"ports": [{"name": "", "port": 80, "targetPort": 15001}]}}`)
}

// database is what the model ends without, until it restarts.
func database(x *cloudtest.Test) {
	x.Helper()
	config := x.Kube.CoreV1().ConfigMaps(x.Namespace)
	data := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "database"}, Data: map[string]string{"MODEL_EXIT_CODE": "1", "MODEL_EXIT_AFTER": "2s"}}
	if _, err := config.Create(x.Context(), data, metav1.CreateOptions{}); err != nil {
		x.Fatal(err)
	}
	go func() {
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			list, err := x.Kube.CoreV1().Pods(x.Namespace).List(context.Background(), metav1.ListOptions{})
			if err == nil && len(list.Items) > 0 && len(list.Items[0].Status.ContainerStatuses) > 0 && list.Items[0].Status.ContainerStatuses[0].RestartCount >= 1 {
				break
			}
		}
		data.Data = nil
		_, _ = config.Update(context.Background(), data, metav1.UpdateOptions{})
	}()
}

// quota lets one pod in.
func quota(x *cloudtest.Test) {
	x.Helper()
	_, err := x.Kube.CoreV1().ResourceQuotas(x.Namespace).Create(x.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "team"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("1")}},
	}, metav1.CreateOptions{})
	if err != nil {
		x.Fatal(err)
	}
}

// forArm publishes the version for another processor.
func forArm(x *cloudtest.Test) {
	x.Helper()
	image, err := registry.Image(nil, "arm64")
	if err != nil {
		x.Fatal(err)
	}
	if _, err := x.Cloud.Registry.PushImage(x.Context(), localcloud.RegistryHost+"/"+cloudtest.Model+":"+x.SHA(2), image); err != nil {
		x.Fatal(err)
	}
}

// illBefore deploys a workload that no node takes.
func illBefore(x *cloudtest.Test) {
	x.Helper()
	if _, err := x.Cloud.Registry.Push(x.Context(), localcloud.RegistryHost+"/ill:v1", nil); err != nil {
		x.Fatal(err)
	}
	with := map[string]string{"timeout": "20s", "rollback": "false", "images": cloudtest.Model + "\nill=" + localcloud.RegistryHost + "/ill:v1"}
	want(x, deploy(x, 1, ill()+"---\n"+simple("", ""), nil, with), "failed")
}

// idle are workloads that want no pods.
func idle(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("---\n" + strings.NewReplacer("name: model, labels: {app: model}", fmt.Sprintf("name: idle-%d", i), "app: model", fmt.Sprintf("app: idle-%d", i), "replicas: 1", "replicas: 0").Replace(simple("", "")))
	}
	return b.String()
}

// define makes the kinds of the table known to the cluster, by small definitions
// without a schema.
func define(x *cloudtest.Test) {
	x.Helper()
	for _, d := range []struct{ group, version, kind, plural string }{
		{"argoproj.io", "v1alpha1", "Rollout", "rollouts"},
		{"leaderworkerset.x-k8s.io", "v1", "LeaderWorkerSet", "leaderworkersets"},
		{"example.com", "v1", "Oracle", "oracles"},
	} {
		u := &unstructured.Unstructured{}
		text := `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: ` + d.plural + `.` + d.group + `, annotations: {api-approved.kubernetes.io: unapproved}}, spec: {group: ` + d.group +
			`, scope: Namespaced, names: {kind: ` + d.kind + `, plural: ` + d.plural + `, singular: ` + strings.ToLower(d.kind) + `}, versions: [{name: ` + d.version +
			`, served: true, storage: true, subresources: {status: {}}, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}}`
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			x.Fatal(err)
		}
		definitions := x.Dynamic().Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
		if _, err := definitions.Create(x.Context(), u, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			x.Fatal(err)
		}
		eventually(x, d.kind, func() bool {
			list, err := x.Kube.Discovery().ServerResourcesForGroupVersion(d.group + "/" + d.version)
			return err == nil && len(list.APIResources) > 0
		})
	}
}

// controls writes the status of the manifest's only object as soon as that is there,
// as its controller does; it ends when stop is called.
func controls(x *cloudtest.Test, manifest, status string) (stop func()) {
	x.Helper()
	o := documents(x, manifest)[0]
	objects := x.Dynamic().Resource(resourceOf(o)).Namespace(x.Namespace)
	body, err := yaml.YAMLToJSON([]byte("status: " + status))
	if err != nil {
		x.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if _, err := objects.Patch(ctx, "model", types.MergePatchType, body, metav1.PatchOptions{FieldManager: "controller"}, "status"); err == nil {
				return
			}
			time.Sleep(200 * time.Millisecond)
		}
	}()
	return func() { cancel(); <-done }
}
