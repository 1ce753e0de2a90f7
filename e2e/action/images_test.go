package action_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
)

const starter = `apiVersion: apps/v1
kind: Deployment
metadata: {name: starter}
spec:
  replicas: 0
  selector: {matchLabels: {app: starter}}
  template:
    metadata: {labels: {app: starter}}
    spec:
      containers:
      - name: model
        image: IMAGE
        env:
        - {name: SIDE, value: "SIDE_IMAGE"}
        - {name: BUCKET, value: "${BUCKET}"}
`

// TestPlaceholders deploys manifests in which another tool was to fill in the image:
// refused with the place, and deployed as soon as the input images says what it is.
func TestPlaceholders(t *testing.T) {
	t.Parallel()
	for placeholder, item := range map[string]string{
		"LOCATION-docker.pkg.dev/PROJECT_ID/REPOSITORY/IMAGE:TAG": "LOCATION-docker.pkg.dev/PROJECT_ID/REPOSITORY/IMAGE",
		"${REGISTRY}/model:${TAG}":                                "${REGISTRY}/model",
		"<%= image %>":                                            "<%= image %>",
	} {
		t.Run(item, func(t *testing.T) {
			t.Parallel()
			x := cloudtest.New(t)
			side := localcloud.RegistryHost + "/side:v1"
			x.Write("kubernetes/model.yaml", strings.NewReplacer("SIDE_IMAGE", side, "IMAGE", placeholder).Replace(starter))
			x.Push(x.SHA(0), nil)
			const model = localcloud.RegistryHost + "/celestial-bodies-classifier"

			r := x.Deploy(x.SHA(0), nil)
			if r.ExitCode != 2 || len(r.Annotations) != 1 || r.Annotations[0].File != "kubernetes/model.yaml" || r.Annotations[0].Line != 12 || !strings.Contains(r.Log, "=HOST/NAME") {
				t.Errorf("exit code %d, annotations %+v", r.ExitCode, r.Annotations)
			}
			r = x.Deploy(x.SHA(0), map[string]string{"images": item + "=" + model})
			if r.ExitCode != 0 {
				t.Fatalf("exit code %d", r.ExitCode)
			}
			live, err := x.Kube.AppsV1().Deployments(x.Namespace).Get(t.Context(), "starter", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := live.Spec.Template.Spec.Containers[0].Image; !strings.HasPrefix(got, model+":"+x.SHA(0)+"@sha256:") {
				t.Errorf("deployed %s", got)
			}
			warned := map[int]string{}
			for _, a := range r.Annotations {
				if a.File != "" { // else it is about the replicas
					warned[a.Line] = a.Level + " " + a.Message
				}
			}
			if !strings.Contains(warned[15], "${BUCKET}") || len(warned) != 1 {
				t.Errorf("annotations %v", warned)
			}
		})
	}
}

// TestOnlyOneWasBuilt deploys two images of which one has a tag of its own.
func TestOnlyOneWasBuilt(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	x.Push(x.SHA(0), nil)
	x.Testdata()
	x.Write("kubernetes/starter.yaml", strings.NewReplacer("SIDE_IMAGE", localcloud.RegistryHost+"/side:v1", "IMAGE", localcloud.RegistryHost+"/not-built:v1.4.2").Replace(starter))
	r := x.Deploy(x.SHA(0), nil)
	if r.ExitCode != 1 || !strings.Contains(r.Log, "if it is not one that this commit builds, name those that are in the input images") {
		t.Errorf("exit code %d", r.ExitCode)
	}
	side := 0
	for _, a := range r.Annotations {
		if a.Level == "warning" && a.File == "kubernetes/starter.yaml" && a.Line == 14 && strings.Contains(a.Message, "/side:v1") {
			side++
		}
	}
	if side != 1 {
		t.Errorf("annotations %+v", r.Annotations)
	}
}
