package candidate

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/org/deploy-model-action/pkg/object"
)

var update = flag.Bool("update", false, "write the golden files")

const set = `apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop, labels: {app: model}, annotations: {x: "1"}}
data: {a: "2"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: same, namespace: shop}
data: {a: "1"}
---
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: shop}
stringData: {t: x}
---
apiVersion: v1
kind: Service
metadata: {name: metrics, namespace: shop}
spec: {selector: {tier: web}, ports: [{name: metrics, port: 9090}]}
---
apiVersion: v1
kind: Service
metadata: {name: model, namespace: shop}
spec: {selector: {app: model}, ports: [{name: grpc, port: 81, targetPort: 9000}, {name: http, port: 80, targetPort: web}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: model, namespace: shop}
spec:
  replicas: 3
  selector: {matchLabels: {app: model, part: own}}
  template:
    metadata: {labels: {app: model, part: own, tier: web, team: ml}, annotations: {scrape: "yes"}}
    spec:
      serviceAccountName: model
      imagePullSecrets: [{name: token}]
      terminationGracePeriodSeconds: 300
      initContainers:
        - {name: fetch, image: r/fetch, envFrom: [{configMapRef: {name: settings}}]}
      containers:
        - name: model
          image: r/model:2
          ports: [{name: web, containerPort: 3000}]
          env:
            - {name: A, valueFrom: {configMapKeyRef: {name: settings, key: a}}}
            - {name: B, valueFrom: {configMapKeyRef: {name: same, key: a}}}
            - {name: T, valueFrom: {secretKeyRef: {name: token, key: t}}}
      volumes:
        - {name: c, configMap: {name: settings}}
        - {name: s, secret: {secretName: token}}
        - {name: p, projected: {sources: [{secret: {name: token}}, {configMap: {name: settings}}, {configMap: {name: other}}]}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: train, namespace: shop}
spec: {template: {spec: {containers: [{name: t, image: r/t}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: idle, namespace: shop}
spec: {replicas: 0, selector: {matchLabels: {app: idle}}, template: {metadata: {labels: {app: idle}}, spec: {containers: [{name: t, image: r/t}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: unchanged, namespace: shop}
spec: {selector: {matchLabels: {app: u}}, template: {metadata: {labels: {app: u}}, spec: {containers: [{name: t, image: r/t}]}}}
`

func parse(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	for doc := range strings.SplitSeq(text, "\n---\n") {
		u := &unstructured.Unstructured{}
		content, err := yaml.YAMLToJSON([]byte(doc))
		if err == nil {
			err = u.UnmarshalJSON(content) // numbers as they are in manifests
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
	}
	return all
}

func options(t *testing.T, text string) Options {
	t.Helper()
	return Options{
		Objects: parse(t, text), Release: "shop", Run: "7-1", Lifetime: 600,
		Changed: func(id object.ID) bool { return id.Name != "same" && id.Name != "unchanged" },
	}
}

func TestBuild(t *testing.T) {
	t.Parallel()
	o := options(t, set)
	o.Services = parse(t, "apiVersion: v1\nkind: Service\nmetadata: {name: live, namespace: shop}\nspec: {selector: {team: ml}, ports: [{port: 80}]}")
	o.Front = parse(t, "apiVersion: v1\nkind: Service\nmetadata: {name: model, namespace: shop}\nspec: {selector: {app: model}, ports: [{name: http, port: 80, targetPort: web}]}")[0]
	built, err := Build(o)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, c := range built.Candidates {
		fmt.Fprintf(&text, "# %s is asked at port %d\n", c.Workload, c.Port)
	}
	for _, u := range built.Objects() {
		content, err := yaml.Marshal(u.Object)
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString("---\n" + string(content))
	}
	const file = "testdata/candidates.yaml"
	if *update {
		if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		t.Errorf("(-want +got), -update accepts it:\n%s", diff)
	}
	// What the golden file cannot say by itself: no Service finds it, and the set is as it was.
	pod := labels.Set(built.Candidates[0].Pod.GetLabels())
	for _, s := range append(o.Objects, o.Services...) {
		if s.GetKind() == "Service" && labels.SelectorFromSet(selectorOf(s)).Matches(pod) {
			t.Errorf("Service %s finds the candidate", s.GetName())
		}
	}
	if diff := cmp.Diff(parse(t, set), o.Objects); diff != "" {
		t.Errorf("the set was changed (-before +after):\n%s", diff)
	}
}

// TestSteady has what a manifest says of how long new pods have to run.
func TestSteady(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"": -time.Second, "minReadySeconds: 0, ": 0, "minReadySeconds: 30, ": 30 * time.Second} {
		built, err := Build(options(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: m, namespace: shop}\nspec: {"+text+"selector: {matchLabels: {app: m}}, template: {metadata: {labels: {app: m}}, spec: {containers: [{name: m, image: r/m}]}}}"))
		if err != nil || len(built.Candidates) != 1 || built.Candidates[0].Steady != want {
			t.Errorf("%q: %+v, %v", text, built.Candidates, err)
		}
	}
}

// TestNames holds that two runs never share a name, and that long ones fit.
func TestNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 62) + ".b"
	o := options(t, strings.ReplaceAll(set, "{name: model,", "{name: "+long+","))
	names := map[string]bool{}
	for _, o.Run = range []string{"7-1", "7-2", "8-1"} {
		built, err := Build(o)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range built.Objects() {
			if name := u.GetName(); names[name] || len(name) > 63 {
				t.Errorf("name %q", name)
			} else {
				names[name] = true
			}
		}
	}
	for _, release := range []string{"shop", strings.Repeat("x", 63), strings.Repeat("x", 64), strings.Repeat("x", 62) + "-y"} {
		if v := Value(release); len(v) > 63 {
			t.Errorf("release %q has label %q", release, v)
		}
	}
	if Value(strings.Repeat("x", 64)) == Value(strings.Repeat("x", 65)) {
		t.Error("two releases share a label")
	}
}

func TestObstacles(t *testing.T) {
	t.Parallel()
	deployment := func(kind, more, container, volumes string) string {
		return "apiVersion: apps/v1\nkind: " + kind + "\nmetadata: {name: model, namespace: shop}\nspec:\n  selector: {matchLabels: {app: m}}\n" + more +
			"  template: {metadata: {labels: {app: m}}, spec: {containers: [{name: m, image: r/m" + container + "}]" + volumes + "}}\n"
	}
	claim := func(mode string) string {
		return "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: weights, namespace: shop}\nspec: {accessModes: [" + mode + "]}"
	}
	node := func(gpus string) (n corev1.Node) {
		if err := yaml.Unmarshal([]byte("metadata: {name: n}\nstatus: {allocatable: {nvidia.com/gpu: \""+gpus+"\", cpu: 4}}"), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	pod := func(phase, container string) (p corev1.Pod) {
		if err := yaml.Unmarshal([]byte("spec: {nodeName: n, containers: [{name: o"+container+"}]}\nstatus: {phase: "+phase+"}"), &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	const gpu, port, volume = ", resources: {limits: {nvidia.com/gpu: 1, cpu: 8}}", ", ports: [{containerPort: 80, hostPort: 80}]", ", volumes: [{name: w, persistentVolumeClaim: {claimName: weights}}]"
	for _, c := range []struct {
		name, manifest, claim string
		node                  corev1.Node
		pod                   corev1.Pod
		elastic               bool
		want                  string // of the error; "" for none
	}{
		{name: "nothing", manifest: deployment("Deployment", "", "", "")},
		{name: "a volume of one node", manifest: deployment("Deployment", "", "", volume), claim: claim("ReadWriteOnce"), want: `claim "weights", which one node at a time can use`},
		{name: "a volume of one pod", manifest: deployment("Deployment", "", "", volume), claim: claim("ReadWriteOncePod"), want: `claim "weights"`},
		{name: "a volume of many nodes", manifest: deployment("Deployment", "", "", volume), claim: claim("ReadWriteMany")},
		{name: "a volume to read", manifest: deployment("Deployment", "", "", volume), claim: claim("ReadOnlyMany")},
		{name: "a volume that is still to be made", manifest: deployment("Deployment", "", "", volume)},
		{name: "a volume for each pod", manifest: deployment("StatefulSet", "  volumeClaimTemplates: [{metadata: {name: w}}]\n", "", ""), want: "volumeClaimTemplates"},
		{name: "a StatefulSet without", manifest: deployment("StatefulSet", "", "", "")},
		{name: "the only GPU", manifest: deployment("Deployment", "", gpu, ""), node: node("1"), pod: pod("Running", gpu), want: "needs 1 nvidia.com/gpu, and no node that it may run on has as much free"},
		{name: "the second GPU", manifest: deployment("Deployment", "", gpu, ""), node: node("2"), pod: pod("Running", gpu)},
		{name: "a GPU whose pod has ended", manifest: deployment("Deployment", "", gpu, ""), node: node("1"), pod: pod("Succeeded", gpu)},
		{name: "the only GPU of a cluster that makes nodes", manifest: deployment("Deployment", "", gpu, ""), node: node("1"), pod: pod("Running", gpu), elastic: true},
		{name: "no node has a GPU yet", manifest: deployment("Deployment", "", gpu, ""), node: node("0"), pod: pod("Running", "")},
		{name: "a port of every node", manifest: deployment("Deployment", "", port, ""), node: node("0"), pod: pod("Running", port), want: "port 80 is in use on every node"},
		{name: "another port", manifest: deployment("Deployment", "", port, ""), node: node("0"), pod: pod("Running", ", ports: [{containerPort: 81, hostPort: 81}]")},
		{name: "a port of a DaemonSet", manifest: deployment("DaemonSet", "", port, ""), node: node("0"), pod: pod("Running", ""), want: "port 80 of every node"},
	} {
		o := options(t, c.manifest)
		if c.claim != "" {
			o.Claims = parse(t, c.claim)
		}
		o.Nodes, o.Pods, o.Elastic = []corev1.Node{c.node}, []*corev1.Pod{&c.pod}, c.elastic
		built, err := Build(o)
		switch {
		case c.want == "" && (err != nil || len(built.Candidates) != 1):
			t.Errorf("%s: %d candidates, %v", c.name, len(built.Candidates), err)
		case c.want != "" && (err == nil || len(built.Candidates) != 0 || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "candidate: false")):
			t.Errorf("%s: %d candidates, %v, want %q", c.name, len(built.Candidates), err, c.want)
		}
	}
}
