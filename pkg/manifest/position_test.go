package manifest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const deployment = `# a comment
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata:
    name: first
- apiVersion: apps/v1
  kind: Deployment
  metadata:
    name: classifier
    labels: {app.kubernetes.io/name: x, short: z}
    annotations:
      example.com/a.b: c
  replica: 1
  spec:
    replica: 3
    template:
      spec:
        containers:
          - name: app
            image: host/app:latest
            ports:
            - containerPort: 80
            - containerPort: 81
              protocol: UDP
            args:
            - "--x"
          - &second
            name: side
            image: host/side:latest
          - <<: *second
            name: third

`

func TestPosition(t *testing.T) {
	t.Parallel()
	text := deployment
	set, err := load(t, "---\n"+text)
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]int{
		"":                                       10,
		"spec.replica":                           19,
		".spec.replica":                          19,
		"replica":                                17,
		"spec.template.spec.containers[0].image": 24,
		"spec.template.spec.containers[1].image": 33,
		"spec.template.spec.containers[2].image": 33, // merged
		"spec.template.spec.containers[2].name":  35,
		"spec.template.spec.containers[2]":       34,
		"spec.template.spec.containers[9].image": 22,
		".spec.template.spec.containers[name=\"side\"].image":                                            33,
		".spec.template.spec.containers[name=\"none\"].image":                                            22,
		".spec.template.spec.containers[name=\"app\"].ports[containerPort=81,protocol=\"UDP\"].protocol": 28,
		".spec.template.spec.containers[name=\"app\"].ports[containerPort=80,protocol=\"TCP\"]":          26,
		".spec.template.spec.containers[name=\"app\"].args[=\"--x\"]":                                    30,
		"spec.template.spec.containers[0].resources.limits":                                              23,
		"metadata.labels.app.kubernetes.io/name":                                                         14,
		"metadata.labels[short]":                                                                         14,
		"metadata.annotations.example.com/a.b":                                                           16,
		"metadata.annotations[example.com/a.b]":                                                          16,
		"metadata.annotations[\"example.com/a.b\"]":                                                      16,
		"metadata.annotations.example.com/a":                                                             15,
		"spec.template.metadata.labels":                                                                  20,
		"status":                                                                                         10,
		"spec[":                                                                                          18,
		"[":                                                                                              10,
		"spec..replica":                                                                                  18,
		"spec.template.spec.containers[x]":                                                               22,
		"spec.template.spec.containers[-1]":                                                              22,
		"spec.replica.deeper[0]":                                                                         19,
	} {
		if got := set.Position(1, field); got.Line != want || got.File != "a.yaml" {
			t.Errorf("Position(1, %q) = %s:%d, want line %d", field, got.File, got.Line, want)
		}
	}
	for _, i := range []int{-1, 2} {
		if got := set.Position(i, "spec"); got != (Position{}) {
			t.Errorf("Position(%d) = %v", i, got)
		}
	}
}

func TestPositionInJSON(t *testing.T) {
	t.Parallel()
	set, err := load(t, "\n{\"apiVersion\": \"v1\",\n \"kind\": \"Pod\", \"metadata\": {\n  \"name\": \"x\"},\n \"spec\": {\"containers\": [\n  {\"name\": \"a\",\n   \"image\": \"b\"}]}}\n")
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]int{"": 2, "kind": 3, "metadata.name": 4, "spec.containers[0]": 6, "spec.containers[0].image": 7, "spec.nodeName": 5} {
		if got := set.Position(0, field).Line; got != want {
			t.Errorf("Position(0, %q) is line %d, want %d", field, got, want)
		}
	}
}

func TestImages(t *testing.T) {
	t.Parallel()
	set, err := load(t, `apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec:
  template:
    spec:
      initContainers:
      - {name: i, image: one}
      containers:
      - {name: c, image: two}
      - {name: d, image: one}
      - {name: none}
      - {name: number, image: 5}
      - {name: map, image: {repository: x}}
      ephemeralContainers:
      - {name: e, image: three}
      volumes:
      - {name: model, image: {reference: four, pullPolicy: Always}}
      - {name: other, configMap: {name: image}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: a}
spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: a, image: one}]}}}}}
---
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: a}
spec: {template: {spec: {containers: [{image: one}]}}}
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: a}
spec:
  predictor:
    model: {image: one, modelFormat: {name: x}}
    containers: [{name: c, image: two}]
  transformer: {containers: [{name: t, image: three}]}
---
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: a}
spec: {templates: [{name: a, container: {image: one}}, {name: b, script: {image: two}}]}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: a}
spec: {containers: [{image: one}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: b}
data:
  containers: "[{image: one}]"
  image: one
---
apiVersion: openfaas.com/v1
kind: Function
metadata: {name: a, annotations: {image: "host/x:1"}}
spec: {name: a, image: "host/x:1", initImage: "host/x@sha256:0", other: "host/x:1", repository: {image: host/x}, steps: [{image: "host/y:1"}], containers: [{image: three}]}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []Use{
		{0, "spec.template.spec.containers[0].image", "two"},
		{0, "spec.template.spec.containers[1].image", "one"},
		{0, "spec.template.spec.ephemeralContainers[0].image", "three"},
		{0, "spec.template.spec.initContainers[0].image", "one"},
		{0, "spec.template.spec.volumes[0].image.reference", "four"},
		{1, "spec.jobTemplate.spec.template.spec.containers[0].image", "one"},
		{2, "spec.template.spec.containers[0].image", "one"},
		{3, "spec.predictor.containers[0].image", "two"},
		{3, "spec.transformer.containers[0].image", "three"},
		{3, "spec.predictor.model.image", "one"},
		{4, "spec.templates[0].container.image", "one"},
		{4, "spec.templates[1].script.image", "two"},
		{7, "spec.containers[0].image", "three"},
		{7, "spec.image", "host/x:1"},
		{7, "spec.initImage", "host/x@sha256:0"},
		{7, "spec.steps[0].image", "host/y:1"},
	}
	if diff := cmp.Diff(want, set.Images()); diff != "" {
		t.Errorf("Images() (-want +got):\n%s", diff)
	}
	if got := set.Position(3, "spec.predictor.model.image").Line; got != 36 {
		t.Errorf("the image of the InferenceService is on line %d, want 36", got)
	}
	// A value that is written must not be found again.
	changed := set.SetImages(map[string]string{"one": "two", "two": "one", "three": "three", "absent": "x"})
	if changed != 9 {
		t.Errorf("SetImages() = %d, want 9", changed)
	}
	for i, use := range set.Images() {
		swapped := map[string]string{"one": "two", "two": "one"}[want[i].Value]
		if swapped == "" {
			swapped = want[i].Value
		}
		if use.Value != swapped {
			t.Errorf("%s of object %d is %q, want %q", use.Path, use.Object, use.Value, swapped)
		}
	}
}
