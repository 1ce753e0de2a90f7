package deploy

import (
	"testing"

	"sigs.k8s.io/yaml"
)

func TestPodSpec(t *testing.T) {
	t.Parallel()
	var objects struct{ Deployment, Pod, CronJob, Custom, Broken map[string]any }
	if err := yaml.Unmarshal([]byte(`
deployment: {spec: {template: {spec: {nodeSelector: {a: deployment}, containers: [{name: m}]}}}}
pod: {spec: {nodeSelector: {a: pod}}}
cronJob: {spec: {jobTemplate: {spec: {template: {spec: {nodeSelector: {a: cronjob}}}}}}}
custom: {spec: {predictors: [{spec: {nodeSelector: {a: custom}}}]}}
broken: {spec: {template: {spec: {nodeSelector: [a]}}}}
`), &objects); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		object map[string]any
		path   string
		want   string // the selector; "" for no pod
	}{
		{objects.Deployment, "spec.template.spec.containers[0].image", "deployment"},
		{objects.Deployment, "spec.template.spec.initContainers[12].image", "deployment"},
		{objects.Deployment, "spec.template.spec.ephemeralContainers[0].image", "deployment"},
		{objects.Pod, "spec.containers[0].image", "pod"},
		{objects.CronJob, "spec.jobTemplate.spec.template.spec.containers[0].image", "cronjob"},
		{objects.Custom, "spec.predictors[0].spec.containers[0].image", ""},
		{objects.Custom, "spec.image", ""},
		{objects.Broken, "spec.template.spec.containers[0].image", ""},
		{objects.Pod, "spec.template.spec.containers[0].image", ""},
	} {
		got := ""
		if pod := podSpec(c.object, c.path); pod != nil {
			got = pod.NodeSelector["a"]
		}
		if got != c.want {
			t.Errorf("%s: the pod of %q, want %q", c.path, got, c.want)
		}
	}
}
