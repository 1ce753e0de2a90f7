package workload

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

const podReads = `
      imagePullSecrets: [{name: registry}]
      initContainers:
        - {name: fetch, envFrom: [{secretRef: {name: token}, prefix: T_}]}
      containers:
        - name: a
          env:
            - {name: LEVEL, valueFrom: {configMapKeyRef: {name: settings, key: level, optional: true}}}
            - {name: MODE, valueFrom: {configMapKeyRef: {name: settings, key: mode}}}
            - {name: HOST, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
            - {name: PASSWORD, valueFrom: {secretKeyRef: {name: db, key: password}}}
          envFrom: [{configMapRef: {name: all}}]
        - {name: b, env: [{name: LEVEL, valueFrom: {configMapKeyRef: {name: all, key: level}}}]}
      volumes:
        - {name: labels, configMap: {name: labels}}
        - {name: tls, secret: {secretName: tls, items: [{key: tls.crt, path: a}]}}
        - name: both
          projected:
            sources:
              - configMap: {name: labels, items: [{key: a, path: a}]}
              - secret: {name: tls, items: [{key: tls.key, path: b}]}
              - serviceAccountToken: {path: t}
        - {name: disk, csi: {driver: d, nodePublishSecretRef: {name: disk}}}
        - {name: none, emptyDir: {}}
`

func TestReads(t *testing.T) {
	t.Parallel()
	want := []Read{
		{"ConfigMap", "all", nil},
		{"ConfigMap", "labels", nil},
		{"ConfigMap", "settings", []string{"level", "mode"}},
		{"Secret", "db", []string{"password"}},
		{"Secret", "tls", []string{"tls.crt", "tls.key"}},
		{"Secret", "token", nil},
	}
	for name, text := range map[string]string{
		"Deployment":      "apiVersion: apps/v1\nkind: Deployment\nspec:\n  template:\n    spec:" + podReads,
		"CronJob":         "apiVersion: batch/v1\nkind: CronJob\nspec:\n jobTemplate:\n  spec:\n   template:\n    spec:" + podReads,
		"LeaderWorkerSet": "apiVersion: leaderworkerset.x-k8s.io/v1\nkind: LeaderWorkerSet\nspec:\n leaderWorkerTemplate:\n  workerTemplate:\n    spec:" + podReads,
		"Pod":             "apiVersion: v1\nkind: Pod\nspec:" + podReads,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(want, Reads(parse(t, text))); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("a model server's own container", func(t *testing.T) {
		t.Parallel()
		u := parse(t, `
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
spec:
  predictor:
    model:
      env: [{name: A, valueFrom: {secretKeyRef: {name: hub, key: token}}}]
`)
		if diff := cmp.Diff([]Read{{"Secret", "hub", []string{"token"}}}, Reads(u)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a ConfigMap with a manifest in it", func(t *testing.T) {
		t.Parallel()
		if got := Reads(parse(t, "apiVersion: v1\nkind: ConfigMap\nspec: {envFrom: [{configMapRef: {name: all}}]}")); got != nil {
			t.Error(got)
		}
	})
}

func TestTemplateAnnotations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][][]string{
		"{apiVersion: apps/v1, kind: Deployment, spec: {template: {spec: {}}}}":                                                {{"spec", "template", "metadata", "annotations"}},
		"{apiVersion: apps/v1, kind: ReplicaSet, spec: {template: {spec: {}}}}":                                                nil,
		"{apiVersion: batch/v1, kind: Job, spec: {template: {spec: {}}}}":                                                      nil,
		"{apiVersion: argoproj.io/v1alpha1, kind: Rollout, spec: {workloadRef: {name: x}}}":                                    nil,
		"{apiVersion: other.dev/v1, kind: Deployment, spec: {template: {spec: {}}}}":                                           nil,
		"{apiVersion: serving.knative.dev/v1, kind: Service, spec: {template: {spec: {}}}}":                                    {{"spec", "template", "metadata", "annotations"}},
		"{apiVersion: serving.knative.dev/v1, kind: Service, spec: {template: {metadata: {name: x-1}}}}":                       nil,
		"{apiVersion: serving.kserve.io/v1beta1, kind: InferenceService, spec: {predictor: {model: {}}}}":                      {{"spec", "predictor", "annotations"}},
		"{apiVersion: leaderworkerset.x-k8s.io/v1, kind: LeaderWorkerSet, spec: {leaderWorkerTemplate: {workerTemplate: {}}}}": {{"spec", "leaderWorkerTemplate", "workerTemplate", "metadata", "annotations"}},
		"{apiVersion: ray.io/v1, kind: RayService, spec: {rayClusterConfig: {headGroupSpec: {template: {}}}}}":                 {{"spec", "rayClusterConfig", "headGroupSpec", "template", "metadata", "annotations"}},
	} {
		if diff := cmp.Diff(want, TemplateAnnotations(parse(t, text))); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

func TestVersionsAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	v := Versions{"Secret/b": "2", "ConfigMap/a.b-c": "1"}
	if got := v.String(); got != "ConfigMap/a.b-c=1,Secret/b=2" {
		t.Error(got)
	}
	if diff := cmp.Diff(v, ParseVersions(v.String())); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Versions{}, ParseVersions("what somebody wrote, by hand")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Secret/b"}, v.News(Versions{"ConfigMap/a.b-c": "1", "Secret/b": "1", "Secret/c": "1"})); diff != "" {
		t.Error(diff)
	}
}
