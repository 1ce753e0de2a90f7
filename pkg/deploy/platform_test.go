package deploy

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

func TestDecodeNodes(t *testing.T) {
	t.Parallel()
	arm := corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"kubernetes.io/arch": "arm64"}},
		Spec:       corev1.NodeSpec{Taints: []corev1.Taint{{Key: "kubernetes.io/arch", Value: "arm64", Effect: corev1.TaintEffectNoSchedule}}},
	}
	node := `{"metadata":{"name":"a","labels":{"kubernetes.io/arch":"arm64"}},
		"spec":{"taints":[{"key":"kubernetes.io/arch","value":"arm64","effect":"NoSchedule"}]},"status":{"images":[{"names":["x"]}]}}`
	for _, tt := range []struct {
		name, list string
		want       []corev1.Node
		broken     bool
	}{
		{"list", `{"kind":"NodeList","metadata":{"continue":"a"},"items":[` + node + "," + node + `],"x":[]}`, []corev1.Node{arm, arm}, false},
		{"none", `{"items":[]}`, nil, false},
		{"null", `{"items":null,"kind":"NodeList"}`, nil, false},
		{"cut", `{"items":[` + node, nil, true},
		{"no JSON", `<html>`, nil, true},
		{"another form", `{"items":[{"metadata":1}]}`, nil, true},
		{"empty", ``, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := decodeNodes(strings.NewReader(tt.list))
			if (err != nil) != tt.broken {
				t.Errorf("error %v, want one: %t", err, tt.broken)
			}
			if diff := cmp.Diff(tt.want, got); err == nil && diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What is kept of 500 nodes of 40 kB is what is needed of them.
func TestDecodeNodesKeepsLittle(t *testing.T) {
	item := fmt.Sprintf(`{"metadata":{"labels":{"kubernetes.io/arch":"amd64"}},"status":{"images":[{"names":[%q]}]}}`, strings.Repeat("x", 40_000))
	list := `{"items":[` + strings.Repeat(item+",", 499) + item + `]}`
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	nodes, err := decodeNodes(strings.NewReader(list))
	if err != nil || len(nodes) != 500 {
		t.Fatalf("%d nodes, %v", len(nodes), err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	kept := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d bytes are kept of %d", kept, len(list))
	if kept > 2<<20 {
		t.Errorf("%d bytes are kept of a list of %d", kept, len(list))
	}
	runtime.KeepAlive(nodes)
}
