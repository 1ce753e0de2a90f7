package manifest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// workload is a Deployment with one thing in it.
func withField(lines string) string {
	return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: model}\nspec:\n" + lines
}

func TestPlaceholders(t *testing.T) {
	t.Parallel()
	container := func(field string) string {
		return withField("  template: {spec: {containers: [{name: model, " + field + "}]}}\n")
	}
	custom := func(kind, field string) string {
		return "apiVersion: example.com/v1\nkind: " + kind + "\nmetadata: {name: model}\nspec: {" + field + "}\n"
	}
	const image, value = "write the image there", "write its value there"
	for _, tt := range []struct{ text, field, found, says string }{
		{container(`image: "${IMAGE}"`), "spec.template.spec.containers[0].image", "${IMAGE}", image},
		{container(`image: "host/${NAME:-x}:1"`), "spec.template.spec.containers[0].image", "${NAME:-x}", image},
		{container(`image: "${{ env.IMAGE }}"`), "spec.template.spec.containers[0].image", "${{ env.IMAGE }}", image},
		{container(`image: $IMAGE`), "spec.template.spec.containers[0].image", "$IMAGE", image},
		{container(`image: $(IMAGE)`), "spec.template.spec.containers[0].image", "$(IMAGE)", image},
		{container(`image: <image>`), "spec.template.spec.containers[0].image", "<image>", image},
		{container(`image: "host/<your-image>:1"`), "spec.template.spec.containers[0].image", "<your-image>", image},
		{container(`image: "{{ .Values.image }}"`), "spec.template.spec.containers[0].image", "{{ .Values.image }}", image},
		{container(`image: <%= image %>`), "spec.template.spec.containers[0].image", "<%= image %>", image},
		{container(`image: __IMAGE__`), "spec.template.spec.containers[0].image", "__IMAGE__", image},
		{container(`image: "@IMAGE@"`), "spec.template.spec.containers[0].image", "@IMAGE@", image},
		{container(`image: "%IMAGE%"`), "spec.template.spec.containers[0].image", "%IMAGE%", image},
		{container(`image: "#{Image}#"`), "spec.template.spec.containers[0].image", "#{Image}#", image},
		{container(`image: ((image))`), "spec.template.spec.containers[0].image", "((image))", image},
		{custom("Function", `image: "${IMAGE}"`), "", "", ""}, // without a tag nobody knows that it is one
		{custom("Function", `image: "host/x:${TAG}"`), "spec.image", "${TAG}", image},
		{withField("  replicas: ${N}\n"), "spec.replicas", "${N}", value},
		{container(`resources: {limits: {memory: "${MEMORY}Gi"}}`), "spec.template.spec.containers[0].resources.limits.memory", "${MEMORY}", value},
		{"apiVersion: v1\nkind: Service\nmetadata: {name: <name>}\n", "metadata.name", "<name>", value},
		{"apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: $NAMESPACE}\n", "metadata.namespace", "$NAMESPACE", value},
		{"apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {app: '{{app}}'}}\n", "metadata.labels.app", "{{app}}", value},
		{"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {loadBalancerIP: <STATIC IP>}\n", "spec.loadBalancerIP", "<STATIC IP>", value},
		{custom("Thing", `x: 1}`+"\nstatus: {"), "", "", ""},
		{strings.Replace(custom("Thing", `x: 1`), "name: model", `name: "${NAME}"`, 1), "metadata.name", "${NAME}", value},

		// What is somebody's own language.
		{container(`image: "host/x:1", args: ["--name=$(NAME)", "${HOME}", "<x>"], command: [sh, -c, "echo {{x}}"]`), "", "", ""},
		{container(`image: "host/x:1", env: [{name: A, value: "$(B)"}, {name: C, value: "{{ x }}"}]`), "", "", ""},
		{container(`image: "host/x:1", volumeMounts: [{name: a, mountPath: /app/__pycache__, subPathExpr: $(POD)}]`), "", "", ""},
		{"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {nginx.conf: 'proxy_pass $host <x> {{y}} ${Z}'}\n", "", "", ""},
		{"apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {template: '{{ with secret }}'}}\n", "", "", ""},
		{"apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: a}\nparameters: {pathPattern: '${.PVC.namespace}'}\n", "", "", ""},
		{"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}\nspec: {rules: [{http: {paths: [{path: '/foo(/|$)(.*)'}]}}]}\n", "", "", ""},
		{"apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: a}\nspec: {schedule: '@daily'}\n", "", "", ""},
		{"apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a}\nspec: {x: '<name>'}\n", "", "", ""},
		{"apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {name: a}\nspec: {templates: [{container: {image: '{{inputs.parameters.image}}'}}]}\n", "", "", ""},
		{custom("TaskRun", `steps: [{image: "host/x:$(params.tag)"}]`), "", "", ""},
	} {
		t.Run(tt.text, func(t *testing.T) {
			t.Parallel()
			set, err := load(t, tt.text)
			if err != nil {
				t.Fatal(err)
			}
			var got, want []string
			for _, err := range set.Placeholders(func(string) bool { return false }) {
				got = append(got, err.Error())
			}
			if tt.field != "" {
				want = []string{fmt.Sprintf("%s: %q is a placeholder that nothing has filled in: %s", tt.field, tt.found, tt.says)}
				for i := range got { // the first words say it
					_, got[i], _ = strings.Cut(got[i], " ")
					got[i] = got[i][:min(len(got[i]), len(want[0]))]
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if left := set.Placeholders(func(string) bool { return true }); tt.says != value && len(left) > 0 {
				t.Errorf("refused though it will be replaced: %v", left)
			}
		})
	}
}

// TestUnfilled finds what envsubst would have filled in, and what is meant as it is.
func TestUnfilled(t *testing.T) {
	t.Parallel()
	set, err := load(t, withField(`  template: {spec: {containers: [{name: model, image: "host/x:1", args: ["${A}"], env: [{name: A, value: "${A}"}, {name: B, value: "${B}:/lib"}, {name: C, value: $(C)}]}]}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: a, annotations: {iam.gke.io/gcp-service-account: "model@${PROJECT_ID}.iam.gserviceaccount.com", script: "a ${b}", lines: "${A}\n"}}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Use{
		{0, "spec.template.spec.containers[0].env[0].value", "${A}"},
		{1, "metadata.annotations.iam.gke.io/gcp-service-account", "${PROJECT_ID}"},
	}
	if diff := cmp.Diff(want, set.Unfilled()); diff != "" {
		t.Error(diff)
	}
}
