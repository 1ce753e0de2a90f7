package apply_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/jsonpath"

	"github.com/org/deploy-model-action/pkg/kube"
)

// workloadOf is a Deployment or StatefulSet with lines in its spec, its pods' spec
// and its container.
func workloadOf(kind, spec, pod, container string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: %s
metadata: {name: model}
spec:
  selector: {matchLabels: {app: model}}
  %s
  template:
    metadata: {labels: {app: model}}
    spec:
      nodeSelector: {none: none}
      %s
      containers:
        - name: model
          image: r/m:1
          %s
`, kind, spec, pod, container)
}

func deployed(spec, pod, container string) string {
	return workloadOf("Deployment", spec, pod, container)
}

func secretOf(fields string) string {
	return "apiVersion: v1\nkind: Secret\nmetadata: {name: model}\n" + fields
}

func serviceOf(spec string) string {
	return "apiVersion: v1\nkind: Service\nmetadata: {name: model}\nspec: " + spec
}

func policyOf(spec string) string {
	return "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: model}\nspec: " + spec
}

const tcpProbe = "readinessProbe: {failureThreshold: 5, tcpSocket: {port: 3000}}"

// handlers is a patch of fields of the container.
func handlers(fields string) string {
	return `{"spec":{"template":{"spec":{"containers":[{"name":"model",` + fields + `}]}}}}`
}

const container = "{.spec.template.spec.containers[0]."

// TestLiveStored is what an object holds after a deploy over what was there before:
// what the manifest says, and nothing any more of what an earlier one said.
func TestLiveStored(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name          string
		by            string // who made what was before: ours, kubectl, kubectl --server-side, or another tool
		before        string
		manager, edit string // what somebody changed in between
		manifest      string
		force         bool
		want          map[string]string // JSONPath → value
		says, mustNot string            // in the log
		refused       string
	}{
		{
			name: "Recreate", before: deployed("", "", ""), manifest: deployed("strategy: {type: Recreate}", "", ""),
			want: map[string]string{"{.spec.strategy}": `{"type":"Recreate"}`},
		},
		{
			name: "Recreate after kubectl", by: "kubectl", before: deployed("", "", ""), manifest: deployed("strategy: {type: Recreate}", "", ""),
			want: map[string]string{"{.spec.strategy}": `{"type":"Recreate"}`},
		},
		{
			name: "Recreate after kubectl --server-side", by: "kubectl --server-side", before: deployed("", "", ""), manifest: deployed("strategy: {type: Recreate}", "", ""),
			want: map[string]string{"{.spec.strategy}": `{"type":"Recreate"}`},
		},
		{
			name: "back from Recreate", before: deployed("strategy: {type: Recreate}", "", ""), manifest: deployed("", "", ""),
			want: map[string]string{"{.spec.strategy.type}": "RollingUpdate"},
		},
		{
			name: "OnDelete", before: workloadOf("StatefulSet", "serviceName: model", "", ""), manifest: workloadOf("StatefulSet", "serviceName: model\n  updateStrategy: {type: OnDelete}", "", ""),
			want: map[string]string{"{.spec.updateStrategy}": `{"type":"OnDelete"}`},
		},
		{
			name: "no service account any more", before: deployed("", "serviceAccountName: legacy", ""), manifest: deployed("", "", ""),
			want: map[string]string{"{.spec.template.spec.serviceAccountName}": "", "{.spec.template.spec.serviceAccount}": ""},
		},
		{
			name: "another service account", before: deployed("", "serviceAccountName: legacy", ""), manifest: deployed("", "serviceAccountName: model", ""),
			want: map[string]string{"{.spec.template.spec.serviceAccountName}": "model", "{.spec.template.spec.serviceAccount}": "model"},
		},
		{
			name: "a key of stringData goes", before: secretOf("stringData: {a: x, c: v}"), manifest: secretOf("stringData: {a: z}"),
			want: map[string]string{"{.data}": `{"a":"eg=="}`},
		},
		{
			name: "all of stringData goes", before: secretOf("stringData: {a: x, c: v}"), manifest: secretOf("data: {c: eg==}"),
			want: map[string]string{"{.data}": `{"c":"eg=="}`},
		},
		{
			name: "from data to stringData", before: secretOf("data: {a: eA==, c: eA==}"), manifest: secretOf("stringData: {c: z}"),
			want: map[string]string{"{.data}": `{"c":"eg=="}`},
		},
		{
			name: "stringData after kubectl", by: "kubectl", before: secretOf("stringData: {a: x, c: v}"), manifest: secretOf("stringData: {a: z}"),
			want: map[string]string{"{.data}": `{"a":"eg=="}`},
		},
		{
			name: "stringData after kubectl --server-side", by: "kubectl --server-side", before: secretOf("stringData: {a: x, c: v}"), manifest: secretOf("stringData: {a: z}"),
			want: map[string]string{"{.data}": `{"a":"eg=="}`},
		},
		{
			name: "a key that a person added to a Secret stays", before: secretOf("stringData: {a: x}"), manager: "kubectl-edit", edit: `{"data":{"mine":"eA=="}}`, manifest: secretOf("stringData: {a: z}"),
			want: map[string]string{"{.data}": `{"a":"eg==","mine":"eA=="}`},
		},
		{
			name: "a key of an immutable Secret", before: secretOf("immutable: true\nstringData: {a: x, c: v}"), manifest: secretOf("immutable: true\nstringData: {a: x}"),
			refused: "data: cannot be changed",
		},
		{
			name: "rules for what leaves", before: policyOf("{podSelector: {}, ingress: [{}]}"), manifest: policyOf("{podSelector: {}, ingress: [{}], egress: [{}]}"),
			want: map[string]string{"{.spec.policyTypes}": `["Ingress","Egress"]`},
		},
		{
			name: "no rules any more for what leaves", before: policyOf("{podSelector: {}, ingress: [{}], egress: [{}]}"), manifest: policyOf("{podSelector: {}, ingress: [{}]}"),
			want: map[string]string{"{.spec.policyTypes}": `["Ingress"]`},
		},
		{
			name: "no host network any more", before: deployed("", "hostNetwork: true", "ports: [{containerPort: 3000}]"), manifest: deployed("", "", "ports: [{containerPort: 3000}]"),
			want: map[string]string{container + "ports[0].hostPort}": "", "{.spec.template.spec.hostNetwork}": ""},
		},
		{
			name: "from latest to a version", before: strings.Replace(deployed("", "", ""), "r/m:1", "r/m:latest", 1), manifest: deployed("", "", ""),
			want: map[string]string{container + "imagePullPolicy}": "IfNotPresent"},
		},
		{
			name: "from a version to latest", before: deployed("", "", ""), manifest: strings.Replace(deployed("", "", ""), "r/m:1", "r/m", 1),
			want: map[string]string{container + "imagePullPolicy}": "Always"},
		},
		{
			name: "no affinity any more", before: serviceOf("{ports: [{port: 80}], sessionAffinity: ClientIP}"), manifest: serviceOf("{ports: [{port: 80}], sessionAffinity: None}"),
			want: map[string]string{"{.spec.sessionAffinity}": "None", "{.spec.sessionAffinityConfig}": ""},
		},
		{
			name: "affinity left out", before: serviceOf("{ports: [{port: 80}], sessionAffinity: ClientIP}"), manifest: serviceOf("{ports: [{port: 80}]}"),
			want: map[string]string{"{.spec.sessionAffinity}": "None", "{.spec.sessionAffinityConfig}": ""},
		},
		{
			name: "headless no more", before: serviceOf("{ports: [{port: 80}], clusterIP: None}"), manifest: serviceOf("{ports: [{port: 80}]}"),
			refused: "spec.clusterIP",
		},
		{
			name: "from load balancer to cluster IP", before: serviceOf("{ports: [{port: 80}], type: LoadBalancer, externalTrafficPolicy: Local}"), manifest: serviceOf("{ports: [{port: 80}]}"),
			want: map[string]string{"{.spec.type}": "ClusterIP", "{.spec.externalTrafficPolicy}": "", "{.spec.ports[0].nodePort}": ""},
		},
		{
			name: "to an external name", before: serviceOf("{ports: [{port: 80}]}"), manifest: serviceOf("{type: ExternalName, externalName: example.com}"),
			want: map[string]string{"{.spec}": `{"externalName":"example.com","sessionAffinity":"None","type":"ExternalName"}`},
		},
		{
			name: "another kind of volume", before: deployed("", "volumes: [{name: v, configMap: {name: a}}]", ""), manifest: deployed("", "volumes: [{name: v, secret: {secretName: a}}]", ""),
			want: map[string]string{"{.spec.template.spec.volumes}": `[{"name":"v","secret":{"defaultMode":420,"secretName":"a"}}]`},
		},
		{
			name: "another kind of probe", before: deployed("", "", "livenessProbe: {httpGet: {port: 80, path: /}}"), manifest: deployed("", "", "livenessProbe: {tcpSocket: {port: 80}}"),
			want: map[string]string{container + "livenessProbe.httpGet}": "", container + "livenessProbe.tcpSocket}": `{"port":80}`},
		},
		{
			name: "from a field to a value", before: deployed("", "", "env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]"), manifest: deployed("", "", "env: [{name: A, value: b}]"),
			want: map[string]string{container + "env}": `[{"name":"A","value":"b"}]`},
		},
		{
			name: "no behaviour any more", before: hpa("behavior: {scaleDown: {stabilizationWindowSeconds: 60}}"), manifest: hpa(""),
			want: map[string]string{"{.spec.behavior}": ""},
		},
		{
			name: "a workload of kubectl create", by: "kubectl-create", before: strings.Replace(deployed("", "", ""), "name: model\n          image", "name: other\n          image", 1), manifest: deployed("", "", ""),
			want: map[string]string{"{.spec.template.spec.containers[*].name}": "model"}, says: `containers[name="other"] is removed, which "kubectl-create" had put there`,
		},
		{
			name: "kubectl set env", before: deployed("", "", "env: [{name: A, value: a}]"), manager: "kubectl-set", edit: `{"spec":{"template":{"spec":{"containers":[{"name":"model","env":[{"name":"B","value":"b"}]}]}}}}`, manifest: deployed("", "", "env: [{name: A, value: c}]"),
			want: map[string]string{container + "env[*].name}": "B A"}, says: `env[name="B"] stays, which is managed by "kubectl-set", and not in the manifest`,
		},
		{
			name: "kubectl set env beside no list", before: deployed("", "", ""), manager: "kubectl-set", edit: `{"spec":{"template":{"spec":{"containers":[{"name":"model","env":[{"name":"B","value":"b"}]}]}}}}`, manifest: deployed("minReadySeconds: 1", "", ""),
			want: map[string]string{container + "env}": `[{"name":"B","value":"b"}]`}, mustNot: "removed",
		},
		{
			name: "what a person set as well", before: deployed("", "", ""), manager: "kubectl-edit", edit: `{"spec":{"minReadySeconds":5}}`, manifest: deployed("minReadySeconds: 5", "", ""),
			want: map[string]string{"{.spec.minReadySeconds}": "5"}, mustNot: "removed",
		},
		{
			name: "the handler of a probe, patched", before: deployed("", "", tcpProbe), manager: "kubectl-patch", edit: handlers(`"readinessProbe":{"tcpSocket":null,"httpGet":{"path":"/","port":3000}}`), manifest: deployed("", "", tcpProbe),
			want: map[string]string{container + "readinessProbe.tcpSocket.port}": "3000", container + "readinessProbe.httpGet}": ""},
		},
		{
			name: "the handler of a probe, patched, and more changed", before: deployed("", "", tcpProbe), manager: "kubectl-patch", edit: handlers(`"readinessProbe":{"tcpSocket":null,"failureThreshold":null,"httpGet":{"path":"/","port":3000,"scheme":"HTTPS"},"periodSeconds":3}`),
			manifest: deployed("minReadySeconds: 5", "automountServiceAccountToken: false", tcpProbe+"\n          env: [{name: A}]"),
			want:     map[string]string{container + "readinessProbe.tcpSocket.port}": "3000", container + "readinessProbe.httpGet}": ""},
		},
		{
			name: "the handler of a hook, edited", before: deployed("", "", "lifecycle: {preStop: {httpGet: {port: 80}}}"), manager: "kubectl-edit", edit: handlers(`"lifecycle":{"preStop":{"httpGet":null,"exec":{"command":["a"]}}}`), manifest: deployed("", "", "lifecycle: {preStop: {httpGet: {port: 80}}}"),
			want: map[string]string{container + "lifecycle.preStop.httpGet.port}": "80", container + "lifecycle.preStop.exec}": ""},
		},
		{
			name: "the kind of a volume, edited", before: deployed("", "volumes: [{name: v, emptyDir: {}}]", ""), manager: "kubectl-edit", edit: `{"spec":{"template":{"spec":{"volumes":[{"name":"v","emptyDir":null,"secret":{"secretName":"s"}}]}}}}`, manifest: deployed("", "volumes: [{name: v, emptyDir: {}}]", ""),
			want: map[string]string{"{.spec.template.spec.volumes[0].secret}": "", "{.spec.template.spec.volumes[0].emptyDir}": "{}"},
		},
		{
			name: "Helm's container", by: "helm", before: strings.Replace(deployed("", "", ""), "name: model\n          image", "name: other\n          image", 1), manifest: deployed("", "", ""),
			refused: `managed by "helm", and would stay beside`,
		},
		{
			name: "Helm's container by force", by: "helm", force: true, before: strings.Replace(deployed("", "", ""), "name: model\n          image", "name: other\n          image", 1), manifest: deployed("", "", ""),
			want: map[string]string{"{.spec.template.spec.containers[*].name}": "model"}, says: "is removed",
		},
		{
			name: "a controller's container", before: deployed("", "", ""), manager: "sidecar-operator", edit: `{"spec":{"template":{"spec":{"containers":[{"name":"proxy","image":"r/p"}]}}}}`, manifest: deployed("minReadySeconds: 1", "", ""),
			want: map[string]string{"{.spec.template.spec.containers[*].name}": "proxy model"}, says: `containers[name="proxy"] stays, which is managed by "sidecar-operator"`,
		},
		{
			name: "a name twice, made by kubectl", by: "kubectl", before: deployed("", "", "env: [{name: A, value: a}, {name: A, value: b}]"), manifest: deployed("", "", "env: [{name: A, value: c}]"),
			want: map[string]string{container + "env}": `[{"name":"A","value":"c"}]`},
		},
		{
			name: "a name twice, and none now", by: "kubectl", before: deployed("", "", "env: [{name: A, value: a}, {name: A, value: b}]"), manifest: deployed("", "", ""),
			want: map[string]string{container + "env}": ""},
		},
		{
			name: "a name twice, made by kubectl create", by: "kubectl-create", before: deployed("", "", "env: [{name: A, value: a}, {name: A, value: b}]"), manifest: deployed("", "", "env: [{name: A, value: c}]"),
			want: map[string]string{container + "env}": `[{"name":"A","value":"c"}]`},
		},
		{
			name: "a name twice in the manifest", manifest: deployed("", "", "env: [{name: A, value: a}, {name: A, value: b}]"),
			refused: "env[1]",
		},
		{
			name: "a port twice in the manifest", before: deployed("", "", ""), manifest: deployed("", "", "ports: [{containerPort: 80, name: a}, {containerPort: 80, name: b}]"),
			refused: "ports[1]",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			first := e.documents(tc.manifest)[0]
			switch tc.by {
			case "":
				if tc.before != "" {
					e.must(e.options("1-1"), tc.before)
				}
			case "kubectl":
				e.create("kubectl-client-side-apply", "Update", tc.before)
			case "kubectl --server-side":
				e.create("kubectl", "Apply", tc.before)
			default:
				e.create(tc.by, "Update", tc.before)
			}
			if tc.edit != "" {
				e.patchAt(t.Context(), first, tc.manager, tc.edit)
			}
			e.logged()
			o := e.options("2-1")
			o.ForceConflicts = tc.force
			began := time.Now()
			_, err := e.deploy(o, tc.manifest)
			log := e.logged()
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
			if (err != nil) != (tc.refused != "") || err != nil && !strings.Contains(err.Error(), tc.refused) {
				t.Fatalf("error %v\n%s", err, log)
			}
			if err != nil {
				t.Logf("refused: %v", err)
				return
			}
			t.Logf("log: %s", log)
			if !strings.Contains(log, tc.says) || tc.mustNot != "" && strings.Contains(log, tc.mustNot) {
				t.Errorf("the log says:\n%s", log)
			}
			e.wantStored(first, tc.want)
			o = e.options("3-1")
			o.ForceConflicts = tc.force
			changes, err := e.deploy(o, tc.manifest)
			if err != nil || len(changes) != 1 || changes[0].Action != kube.Unchanged {
				t.Errorf("a second time: %v, %v", lines(changes), err)
			}
			e.wantStored(first, tc.want)
		})
	}
}

func hpa(more string) string {
	return `apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: model}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: model}
  maxReplicas: 20
  ` + more + "\n"
}

// wantStored compares fields of what is stored.
func (e *env) wantStored(u *unstructured.Unstructured, want map[string]string) {
	e.Helper()
	live := e.get(u)
	got := map[string]string{}
	for path := range want {
		got[path] = valueAt(e, live.Object, path)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		e.Errorf("stored, -want +got:\n%s", diff)
	}
}

// valueAt is what a JSONPath finds, as JSON, or as text if it is one.
func valueAt(e *env, object map[string]any, path string) string {
	e.Helper()
	p := jsonpath.New("").AllowMissingKeys(true)
	if err := p.Parse(path); err != nil {
		e.Fatal(err)
	}
	results, err := p.FindResults(object)
	if err != nil {
		e.Fatal(err)
	}
	var all []string
	for _, r := range results {
		for _, v := range r {
			if text, ok := v.Interface().(string); ok {
				all = append(all, text)
				continue
			}
			body, err := json.Marshal(v.Interface())
			if err != nil {
				e.Fatal(err)
			}
			all = append(all, string(body))
		}
	}
	return strings.Join(all, " ")
}

// patchAt changes an object as another manager does by an update.
func (e *env) patchAt(ctx context.Context, u *unstructured.Unstructured, manager, body string) {
	e.Helper()
	if _, err := e.at(u).Patch(ctx, u.GetName(), types.StrategicMergePatchType, []byte(body), metav1.PatchOptions{FieldManager: manager}); err != nil {
		e.Fatal(err)
	}
}

// TestLiveSiblings: a dry run is refused for what the set itself brings a moment later.
func TestLiveSiblings(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	class := "class-of-" + e.namespace // a cluster has one of a name
	set := fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: model}
spec: {priorityClassName: %[1]s, nodeSelector: {none: none}, serviceAccountName: robot, containers: [{name: model, image: r/m:1}]}
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: %[1]s}
value: 1000
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot}
`, class)
	t.Cleanup(func() {
		_ = e.dynamic.Resource(schema.GroupVersionResource{Group: "scheduling.k8s.io", Version: "v1", Resource: "priorityclasses"}).Delete(context.Background(), class, metav1.DeleteOptions{})
	})
	if got := lines(e.must(e.options("1-1"), set)); strings.Count(got, "created") != 3 {
		t.Error(got)
	}
	if got := lines(e.must(e.options("2-1"), set)); strings.Count(got, "unchanged") != 3 {
		t.Errorf("a second time:\n%s", got)
	}
}

// TestLiveRemovedAPI: a version that is not served any more is called so, and is not
// taken for a role that is missing.
func TestLiveRemovedAPI(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for _, version := range []string{"extensions/v1beta1", "apps/v1beta1"} {
		began := time.Now()
		_, err := e.deploy(e.options("1-1"), strings.Replace(deployed("", "", ""), "apps/v1", version, 1))
		if err == nil || !strings.Contains(err.Error(), "does not serve") || !strings.Contains(err.Error(), version) || strings.Contains(err.Error(), "grant") || time.Since(began) > 10*time.Second {
			t.Errorf("%s: %v", version, err)
		}
	}
}
