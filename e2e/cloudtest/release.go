package cloudtest

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/runner"
)

// Crashes are the labels of an image that does not work.
var Crashes = map[string]string{"model.exit-code": "3", "model.log": "no weights"}

// releaseManifests carry the commit in every object, so that objects of two
// commits can be told apart.
const releaseManifests = `apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {commit: "%[1]s"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: model}
spec:
  replicas: 2
  minReadySeconds: 0 # that pods go on is held by package rollout
  selector: {matchLabels: {app: model}}
  template:
    metadata: {labels: {app: model}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: model
          image: %[2]s:latest
          env: [{name: COMMIT, value: "%[1]s"}]
          ports: [{name: http, containerPort: 3000}]
          readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: model, annotations: {commit: "%[1]s"}}
spec: {selector: {app: model}, ports: [{port: 80, targetPort: http}]}
`

// Release writes the manifests of a commit into the workspace: a ConfigMap, a
// Deployment of two pods and a Service. Its image has to be pushed.
func (x *Test) Release(sha string) {
	x.Helper()
	x.Write("kubernetes/all.yaml", fmt.Sprintf(releaseManifests, sha, localcloud.RegistryHost+"/"+Model))
}

// At is the same namespace with a workspace that holds the commit's release, and
// a client of its own.
func (x *Test) At(client, sha string) *Test {
	x.Helper()
	y := *x
	y.Client, y.Workspace = x.Namespace+"."+client, x.TempDir()
	y.Release(sha)
	return &y
}

// LogRun logs a run as a user sees it.
func (x *Test) LogRun(name string, r *runner.Result) {
	x.Helper()
	x.Logf("%s: exit %d, %s after %s\n%s", name, r.ExitCode, r.Outputs["outcome"], r.Duration.Round(1e6), r.Log)
}

// Serves waits until the release's Deployment has come to rest, and returns the
// commit that serves: of all objects, and of all pods. If there is no such
// commit, the error says what there is.
func (x *Test) Serves() (string, error) {
	x.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		var commit string
		if commit, err = x.serves(); err == nil || time.Now().After(deadline) || x.Context().Err() != nil {
			return commit, err
		}
	}
}

// CommitOf is which commit each object of the release carries; the image of the
// Deployment's pods counts as one of them.
func (x *Test) CommitOf() []struct{ Name, Commit string } {
	x.Helper()
	ctx := x.Context()
	all := []struct{ Name, Commit string }{{"ConfigMap settings", ""}, {"Service model", ""}, {"Deployment model", ""}, {"its image", ""}}
	settings, err := x.Kube.CoreV1().ConfigMaps(x.Namespace).Get(ctx, "settings", metav1.GetOptions{})
	if err == nil {
		all[0].Commit = settings.Data["commit"]
	}
	service, err2 := x.Kube.CoreV1().Services(x.Namespace).Get(ctx, "model", metav1.GetOptions{})
	if err2 == nil {
		all[1].Commit = service.Annotations["commit"]
	}
	d, err3 := x.Kube.AppsV1().Deployments(x.Namespace).Get(ctx, "model", metav1.GetOptions{})
	if err3 == nil {
		all[2].Commit, all[3].Commit = d.Spec.Template.Spec.Containers[0].Env[0].Value, tagOf(d.Spec.Template.Spec.Containers[0].Image)
	}
	for _, err := range []error{err, err2, err3} {
		if err != nil && !apierrors.IsNotFound(err) {
			x.Fatal(err)
		}
	}
	return all
}

// Commit is the one that all objects of the release carry, whatever their pods do.
func (x *Test) Commit() (string, error) {
	x.Helper()
	all := x.CommitOf()
	for _, o := range all {
		if o.Commit != all[0].Commit || o.Commit == "" {
			var each []string
			for _, o := range all {
				each = append(each, o.Name+" "+x.Short(o.Commit))
			}
			return "", fmt.Errorf("objects of two commits: %s", strings.Join(each, ", "))
		}
	}
	return all[0].Commit, nil
}

func (x *Test) serves() (string, error) {
	ctx := x.Context()
	commit, err := x.Commit()
	if err != nil {
		return "", err
	}
	d, err := x.Kube.AppsV1().Deployments(x.Namespace).Get(ctx, "model", metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	if s := d.Status; s.ObservedGeneration != d.Generation || s.Replicas != *d.Spec.Replicas || s.UpdatedReplicas != s.Replicas || s.ReadyReplicas != s.Replicas {
		return "", fmt.Errorf("the Deployment is of commit %s, and its pods are not: %d of %d updated, %d ready", x.Short(commit), s.UpdatedReplicas, s.Replicas, s.ReadyReplicas)
	}
	pods, err := x.Kube.CoreV1().Pods(x.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=model"})
	if err != nil {
		return "", err
	}
	for _, p := range pods.Items {
		if p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning && tagOf(p.Spec.Containers[0].Image) != commit {
			return "", fmt.Errorf("pod %s runs %s beside commit %s", p.Name, p.Spec.Containers[0].Image, x.Short(commit))
		}
	}
	return commit, nil
}

// Serving reports whether all objects of the release are of a commit.
func (x *Test) Serving(sha string) bool {
	x.Helper()
	commit, err := x.Commit()
	return err == nil && commit == sha
}

// WantServes wants a commit to serve, and reports whether it does.
func (x *Test) WantServes(sha string) bool {
	x.Helper()
	serves, err := x.Serves()
	switch {
	case err != nil:
		x.Errorf("commit %s does not serve: %v", x.Short(sha), err)
	case serves != sha:
		x.Errorf("commit %s serves, want %s", x.Short(serves), x.Short(sha))
	}
	return err == nil && serves == sha
}

// Short names a commit by its number in the test.
func (x *Test) Short(sha string) string {
	for n := range 10 {
		if sha == x.SHA(n) {
			return strconv.Itoa(n)
		}
	}
	return fmt.Sprintf("%q", sha)
}

// tagOf is the tag of HOST/NAME:TAG@DIGEST.
func tagOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	return image[strings.LastIndex(image, ":")+1:]
}
