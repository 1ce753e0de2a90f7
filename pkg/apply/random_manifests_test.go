package apply_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// randomKind is a kind of which manifests are made by chance.
type randomKind struct {
	name     string
	resource schema.GroupVersionResource
	typed    any // for strategic merge patches; nil for a custom resource
	make     func(*choices) tree
	image    bool // its pods' template is at spec.template
}

var randomKinds = []randomKind{
	{"Deployment", appsv1.SchemeGroupVersion.WithResource("deployments"), appsv1.Deployment{}, randomDeployment, true},
	{"StatefulSet", appsv1.SchemeGroupVersion.WithResource("statefulsets"), appsv1.StatefulSet{}, randomStatefulSet, true},
	{"DaemonSet", appsv1.SchemeGroupVersion.WithResource("daemonsets"), appsv1.DaemonSet{}, randomDaemonSet, true},
	{"Job", batchv1.SchemeGroupVersion.WithResource("jobs"), batchv1.Job{}, randomJob, false},
	{"CronJob", batchv1.SchemeGroupVersion.WithResource("cronjobs"), batchv1.CronJob{}, randomCronJob, false},
	{"Service", corev1.SchemeGroupVersion.WithResource("services"), corev1.Service{}, randomService, false},
	{"ConfigMap", corev1.SchemeGroupVersion.WithResource("configmaps"), corev1.ConfigMap{}, randomConfigMap, false},
	{"Secret", corev1.SchemeGroupVersion.WithResource("secrets"), corev1.Secret{}, randomSecret, false},
	{"Ingress", networkingv1.SchemeGroupVersion.WithResource("ingresses"), networkingv1.Ingress{}, randomIngress, false},
	{"HorizontalPodAutoscaler", autoscalingv2.SchemeGroupVersion.WithResource("horizontalpodautoscalers"), autoscalingv2.HorizontalPodAutoscaler{}, randomAutoscaler, false},
	{"PodDisruptionBudget", policyv1.SchemeGroupVersion.WithResource("poddisruptionbudgets"), policyv1.PodDisruptionBudget{}, randomBudget, false},
	{"NetworkPolicy", networkingv1.SchemeGroupVersion.WithResource("networkpolicies"), networkingv1.NetworkPolicy{}, randomPolicy, false},
	{"Widget", schema.GroupVersionResource{Group: "random.example.com", Version: "v1", Resource: "widgets"}, nil, randomWidget, false},
}

type tree = map[string]any

// choices are how the optional parts of a manifest are. What was not chosen yet is
// chosen by chance.
type choices struct {
	r  *rand.Rand
	of map[string]int
}

func (c *choices) pick(name string, options ...any) any {
	n, ok := c.of[name]
	if !ok {
		n = c.r.IntN(len(options))
		c.of[name] = n
	}
	return options[n%len(options)]
}

// changed are choices of which some are made anew.
func (c *choices) changed(n int) *choices {
	other := &choices{c.r, maps.Clone(c.of)}
	names := slices.Sorted(maps.Keys(other.of))
	for range min(n, len(names)) {
		delete(other.of, names[c.r.IntN(len(names))])
	}
	return other
}

// fields are a map of those that are there.
func fields(pairs ...any) tree {
	out := tree{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != nil {
			out[pairs[i].(string)] = pairs[i+1]
		}
	}
	return out
}

// items are a list of those that are there; nil if there are none.
func items(all ...any) any {
	all = slices.DeleteFunc(all, func(v any) bool { return v == nil })
	if len(all) == 0 {
		return nil
	}
	return all
}

func texts(all ...string) []any {
	var out []any
	for _, s := range all {
		out = append(out, s)
	}
	return out
}

func (c *choices) metadata() tree {
	return fields("name", "model",
		"labels", c.pick("labels", nil, tree{"app": "model"}, tree{"app": "model", "tier": "a"}, tree{"tier": "b"}),
		"annotations", c.pick("annotations", nil, nil, tree{"note": "a"}, tree{"note": "b", "more": "c"}))
}

func (c *choices) env(at, name string) any {
	of := func(more ...any) tree { return fields(append([]any{"name", name}, more...)...) }
	return c.pick(at+" env "+name, nil, nil, of("value", "a"), of("value", "b"), of(),
		of("valueFrom", tree{"fieldRef": tree{"fieldPath": "metadata.name"}}),
		of("valueFrom", tree{"secretKeyRef": tree{"name": "s", "key": "k", "optional": true}}),
		of("valueFrom", tree{"configMapKeyRef": tree{"name": "c", "key": "k", "optional": true}}),
		of("valueFrom", tree{"resourceFieldRef": tree{"resource": "limits.cpu"}}))
}

func (c *choices) probe(name string) any {
	return c.pick(name, nil, nil,
		tree{"httpGet": tree{"port": int64(3000), "path": "/"}},
		tree{"httpGet": tree{"port": int64(3000), "path": "/ready", "scheme": "HTTPS"}, "periodSeconds": int64(3)},
		tree{"tcpSocket": tree{"port": int64(3000)}, "failureThreshold": int64(5)},
		tree{"exec": tree{"command": texts("true")}},
		tree{"grpc": tree{"port": int64(3000)}})
}

// container is one of a pod, with ports from first on.
func (c *choices) container(name string, first int64, volumes ...string) tree {
	at := name
	var mounts []any
	for _, v := range volumes {
		mounts = append(mounts, c.pick(at+" mount "+v, nil, tree{"name": v, "mountPath": "/" + v}, tree{"name": v, "mountPath": "/" + v, "readOnly": true}))
	}
	port := func(n int64, protocol string) any {
		return c.pick(fmt.Sprint(at, " port ", n), nil, tree{"containerPort": n},
			fields("containerPort", n, "name", fmt.Sprint("p", n), "protocol", protocol), fields("containerPort", n, "protocol", protocol))
	}
	lifecycle := c.pick(at+" lifecycle", nil, nil, tree{"preStop": tree{"exec": tree{"command": texts("true")}}},
		tree{"preStop": tree{"httpGet": tree{"port": int64(80)}}}, tree{"preStop": tree{"sleep": tree{"seconds": int64(1)}}})
	liveness, readiness := c.probe(at+" liveness"), c.probe(at+" readiness")
	if name == "prepare" { // it ends before the others begin
		lifecycle, liveness, readiness = nil, nil, nil
	}
	return fields("name", name,
		"image", c.pick(at+" image", "r/m:1", "r/m:2", "r/m:latest", "r/m", "r/m:2@sha256:2222222222222222222222222222222222222222222222222222222222222222"),
		"imagePullPolicy", c.pick(at+" pull", nil, nil, nil, "Always", "IfNotPresent"),
		"command", c.pick(at+" command", nil, nil, texts("a"), texts("a", "b")),
		"env", items(c.env(at, "A"), c.env(at, "B"), c.env(at, "C")),
		"envFrom", c.pick(at+" envFrom", nil, nil, []any{tree{"configMapRef": tree{"name": "c", "optional": true}}}),
		"ports", items(port(first, "TCP"), port(first+1, "UDP")),
		"resources", c.pick(at+" resources", nil, tree{"limits": tree{"memory": "1Gi"}}, tree{"limits": tree{"memory": "512Mi", "cpu": "1000m"}},
			tree{"limits": tree{"memory": "2048Mi"}, "requests": tree{"memory": "1Gi", "cpu": "0.5"}}, tree{"requests": tree{"cpu": int64(1)}}),
		"livenessProbe", liveness,
		"readinessProbe", readiness,
		"lifecycle", lifecycle,
		"volumeMounts", items(mounts...),
		"securityContext", c.pick(at+" security", nil, nil, tree{"runAsUser": int64(7)}, tree{"capabilities": tree{"drop": texts("ALL")}}),
		"terminationMessagePolicy", c.pick(at+" termination", nil, nil, "FallbackToLogsOnError"))
}

func (c *choices) volume(name string) any {
	of := func(kind string, v tree) tree { return tree{"name": name, kind: v} }
	return c.pick("volume "+name, of("emptyDir", tree{}), of("emptyDir", tree{"medium": "Memory", "sizeLimit": "1Gi"}),
		of("configMap", tree{"name": "c", "optional": true}), of("configMap", tree{"name": "d", "defaultMode": int64(256), "items": []any{tree{"key": "k", "path": "p"}}}),
		of("secret", tree{"secretName": "s", "optional": true}), of("hostPath", tree{"path": "/tmp"}),
		of("projected", tree{"sources": []any{tree{"configMap": tree{"name": "c", "optional": true}}}}),
		of("downwardAPI", tree{"items": []any{tree{"path": "l", "fieldRef": tree{"fieldPath": "metadata.labels"}}}}),
		of("persistentVolumeClaim", tree{"claimName": "p"}))
}

// template is that of pods, which no node runs.
func (c *choices) template(restart any) tree {
	var init, sidecar any
	if c.pick("init", false, false, true) == true {
		init = []any{c.container("prepare", 4000, "v")}
	}
	if c.pick("sidecar", false, false, true) == true {
		sidecar = c.container("proxy", 5000, "v")
	}
	return tree{
		"metadata": fields("labels", c.pick("pod labels", tree{"app": "model"}, tree{"app": "model", "version": "1"}, tree{"app": "model", "tier": "a"}),
			"annotations", c.pick("pod annotations", nil, nil, tree{"scrape": "true"}, tree{"scrape": "false", "port": "9"})),
		"spec": fields("nodeSelector", c.pick("nodes", tree{"none": "none"}, tree{"none": "none", "more": "x"}),
			"restartPolicy", restart,
			"serviceAccountName", c.pick("account", nil, nil, "a", "b"),
			"automountServiceAccountToken", c.pick("automount", nil, false, true),
			"hostNetwork", c.pick("host network", nil, nil, nil, true, false),
			"terminationGracePeriodSeconds", c.pick("grace", nil, int64(5), int64(60)),
			"dnsPolicy", c.pick("dns", nil, nil, "Default"),
			"priorityClassName", c.pick("priority", nil, nil, "system-node-critical"),
			"securityContext", c.pick("security", nil, tree{}, tree{"runAsNonRoot": true}, tree{"fsGroup": int64(5), "seccompProfile": tree{"type": "RuntimeDefault"}}),
			"tolerations", c.pick("tolerations", nil, nil, []any{tree{"key": "gpu", "operator": "Exists"}}, []any{tree{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}, tree{"key": "b", "value": "c"}}),
			"imagePullSecrets", c.pick("pull secrets", nil, nil, []any{tree{"name": "x"}}, []any{tree{"name": "y"}, tree{"name": "x"}}),
			"hostAliases", c.pick("aliases", nil, nil, []any{tree{"ip": "10.0.0.1", "hostnames": texts("a")}}, []any{tree{"ip": "10.0.0.2", "hostnames": texts("b")}, tree{"ip": "10.0.0.1", "hostnames": texts("a", "c")}}),
			"topologySpreadConstraints", c.pick("spread", nil, nil, []any{tree{"maxSkew": int64(1), "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": tree{"matchLabels": tree{"app": "model"}}}}),
			"affinity", c.pick("affinity", nil, nil, tree{"podAntiAffinity": tree{"requiredDuringSchedulingIgnoredDuringExecution": []any{tree{"topologyKey": "zone", "labelSelector": tree{"matchLabels": tree{"app": "model"}}}}}}),
			"volumes", items(c.volume("v"), c.pick("volume w?", nil, c.volume("w"))),
			"initContainers", init,
			"containers", items(sidecar, c.container("model", 3000, "v"))),
	}
}

func (c *choices) workload(version, kind string, spec tree) tree {
	return tree{"apiVersion": version, "kind": kind, "metadata": c.metadata(), "spec": spec}
}

func randomDeployment(c *choices) tree {
	return c.workload("apps/v1", "Deployment", fields("selector", tree{"matchLabels": tree{"app": "model"}}, "template", c.template(nil),
		"replicas", c.pick("replicas", nil, int64(1), int64(2), int64(0)),
		"minReadySeconds", c.pick("min ready", nil, int64(0), int64(5)),
		"paused", c.pick("paused", nil, nil, true),
		"revisionHistoryLimit", c.pick("history", nil, int64(3)),
		"progressDeadlineSeconds", c.pick("deadline", nil, int64(900)),
		"strategy", c.pick("strategy", nil, tree{"type": "Recreate"}, tree{"type": "RollingUpdate"}, tree{"rollingUpdate": tree{"maxSurge": int64(1)}},
			tree{"type": "RollingUpdate", "rollingUpdate": tree{"maxSurge": "0%", "maxUnavailable": int64(1)}})))
}

func randomStatefulSet(c *choices) tree {
	return c.workload("apps/v1", "StatefulSet", fields("selector", tree{"matchLabels": tree{"app": "model"}}, "template", c.template(nil),
		"serviceName", c.pick("service", "model", "model", "model", "model", "model", "other"),
		"replicas", c.pick("replicas", nil, int64(1), int64(2), int64(0)),
		"minReadySeconds", c.pick("min ready", nil, int64(5)),
		"ordinals", c.pick("ordinals", nil, nil, tree{"start": int64(1)}),
		"persistentVolumeClaimRetentionPolicy", c.pick("claims", nil, nil, tree{"whenScaled": "Delete"}, tree{"whenDeleted": "Delete", "whenScaled": "Retain"}),
		"updateStrategy", c.pick("strategy", nil, tree{"type": "OnDelete"}, tree{"type": "RollingUpdate"}, tree{"type": "RollingUpdate", "rollingUpdate": tree{"partition": int64(1)}})))
}

func randomDaemonSet(c *choices) tree {
	return c.workload("apps/v1", "DaemonSet", fields("selector", tree{"matchLabels": tree{"app": "model"}}, "template", c.template(nil),
		"minReadySeconds", c.pick("min ready", nil, int64(5)),
		"updateStrategy", c.pick("strategy", nil, tree{"type": "OnDelete"}, tree{"type": "RollingUpdate"}, tree{"rollingUpdate": tree{"maxUnavailable": "10%"}},
			tree{"type": "RollingUpdate", "rollingUpdate": tree{"maxSurge": int64(1), "maxUnavailable": int64(0)}})))
}

func randomJob(c *choices) tree {
	// Of the template nothing can be changed while it runs: its choices stay, but for one.
	template := tree{"spec": tree{"nodeSelector": tree{"none": "none"}, "restartPolicy": "Never", "containers": []any{
		tree{"name": "model", "image": c.pick("image", "r/m:1", "r/m:1", "r/m:1", "r/m:1", "r/m:1", "r/m:1", "r/m:2")},
	}}}
	return c.workload("batch/v1", "Job", fields("template", template,
		"parallelism", c.pick("parallelism", nil, int64(1), int64(2), int64(0)),
		"suspend", c.pick("suspend", nil, true, false),
		"backoffLimit", c.pick("backoff", nil, int64(3), int64(9)),
		"activeDeadlineSeconds", c.pick("deadline", nil, int64(3600), int64(7200)),
		"ttlSecondsAfterFinished", c.pick("ttl", nil, int64(3600))))
}

func randomCronJob(c *choices) tree {
	return c.workload("batch/v1", "CronJob", fields("schedule", c.pick("schedule", "0 0 1 1 *", "0 1 1 1 *"),
		"jobTemplate", tree{"spec": fields("template", c.template("OnFailure"), "backoffLimit", c.pick("backoff", nil, int64(3)), "parallelism", c.pick("parallelism", nil, int64(2)))},
		"concurrencyPolicy", c.pick("concurrency", nil, "Forbid", "Replace"),
		"suspend", c.pick("suspend", nil, true),
		"timeZone", c.pick("zone", nil, nil, "Etc/UTC"),
		"startingDeadlineSeconds", c.pick("starting", nil, int64(60)),
		"successfulJobsHistoryLimit", c.pick("history", nil, int64(1), int64(0))))
}

func randomService(c *choices) tree {
	kind := c.pick("type", nil, nil, "ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
	port := func(name string, n int64) any {
		return c.pick("port "+name, nil, tree{"name": name, "port": n}, tree{"name": name, "port": n, "targetPort": int64(3000)}, tree{"name": name, "port": n, "targetPort": "http", "appProtocol": "http"})
	}
	var policy, ranges, external, single, affinity, affinityConfig, class any
	if kind == "NodePort" || kind == "LoadBalancer" {
		policy = c.pick("external policy", nil, "Local", "Cluster")
	}
	if kind == "LoadBalancer" {
		ranges = c.pick("ranges", nil, texts("10.0.0.0/8"), texts("10.0.0.0/8", "192.168.0.0/16"))
		class = c.pick("node ports", nil, false, true)
	}
	if kind == "ExternalName" {
		external = c.pick("external name", "example.com", "example.org")
	} else {
		affinity = c.pick("affinity", nil, "None", "ClientIP")
	}
	if kind == nil || kind == "ClusterIP" {
		single = c.pick("headless", nil, nil, nil, nil, "None")
	}
	if affinity == "ClientIP" {
		affinityConfig = c.pick("affinity timeout", nil, tree{"clientIP": tree{"timeoutSeconds": int64(60)}})
	}
	return c.workload("v1", "Service", fields("type", kind, "externalName", external, "clusterIP", single,
		"ports", items(tree{"name": "main", "port": int64(80)}, port("https", 443), port("metrics", 9090), c.pick("dns", nil, tree{"name": "dns", "port": int64(53), "protocol": "UDP"})),
		"selector", c.pick("selector", nil, tree{"app": "model"}, tree{"app": "model", "tier": "a"}),
		"sessionAffinity", affinity, "sessionAffinityConfig", affinityConfig,
		"externalTrafficPolicy", policy, "loadBalancerSourceRanges", ranges, "allocateLoadBalancerNodePorts", class,
		"internalTrafficPolicy", c.pick("internal policy", nil, nil, "Local"),
		"publishNotReadyAddresses", c.pick("not ready", nil, true)))
}

func randomConfigMap(c *choices) tree {
	data := fields("a", c.pick("a", nil, "x", "y"), "b.yaml", c.pick("b", nil, "x: 1\n", "y: 2"), "c", c.pick("c", nil, "", "z"))
	out := tree{"apiVersion": "v1", "kind": "ConfigMap", "metadata": c.metadata()}
	if len(data) > 0 {
		out["data"] = data
	}
	if v := c.pick("binary", nil, nil, tree{"d": "eA=="}, tree{"d": "eQ==", "e": "eA=="}); v != nil {
		out["binaryData"] = v
	}
	return out
}

func randomSecret(c *choices) tree {
	out := tree{"apiVersion": "v1", "kind": "Secret", "metadata": c.metadata()}
	for _, field := range []string{"data", "stringData"} {
		values := fields()
		for _, key := range []string{"a", "b", "c"} {
			if v := c.pick(field+" "+key, nil, nil, "eA==", "eQ=="); v != nil {
				values[key] = v
			}
		}
		if len(values) > 0 {
			out[field] = values
		}
	}
	return out
}

func randomIngress(c *choices) tree {
	backend := func(name string, port any) tree { return tree{"service": tree{"name": name, "port": port}} }
	path := func(p, kind string) tree {
		return tree{"path": p, "pathType": kind, "backend": backend("model", tree{"number": int64(80)})}
	}
	rules := c.pick("rules", nil, []any{tree{"host": "a.example.com", "http": tree{"paths": []any{path("/", "Prefix")}}}},
		[]any{tree{"host": "a.example.com", "http": tree{"paths": []any{path("/", "Prefix"), path("/b", "Exact")}}}, tree{"host": "b.example.com", "http": tree{"paths": []any{path("/", "Prefix")}}}})
	other := c.pick("default", nil, backend("model", tree{"name": "http"}), backend("other", tree{"number": int64(8080)}), tree{"resource": tree{"apiGroup": "x.example.com", "kind": "Bucket", "name": "b"}})
	if rules == nil && other == nil {
		other = backend("model", tree{"number": int64(80)})
	}
	return c.workload("networking.k8s.io/v1", "Ingress", fields("rules", rules, "defaultBackend", other, "ingressClassName", c.pick("class", nil, "a", "b"),
		"tls", c.pick("tls", nil, []any{tree{"hosts": texts("a.example.com"), "secretName": "s"}}, []any{tree{"secretName": "t"}})))
}

func randomAutoscaler(c *choices) tree {
	cpu := tree{"type": "Resource", "resource": tree{"name": "cpu", "target": tree{"type": "Utilization", "averageUtilization": int64(50)}}}
	memory := tree{"type": "Resource", "resource": tree{"name": "memory", "target": tree{"type": "AverageValue", "averageValue": "1Gi"}}}
	return c.workload("autoscaling/v2", "HorizontalPodAutoscaler", fields("scaleTargetRef", tree{"apiVersion": "apps/v1", "kind": "Deployment", "name": c.pick("target", "none", "nobody")},
		"maxReplicas", c.pick("max", int64(5), int64(9)), "minReplicas", c.pick("min", nil, int64(1), int64(2)),
		"metrics", c.pick("metrics", nil, []any{cpu}, []any{cpu, memory}, []any{memory}),
		"behavior", c.pick("behavior", nil, tree{"scaleDown": tree{"stabilizationWindowSeconds": int64(60)}}, tree{"scaleUp": tree{"policies": []any{tree{"type": "Pods", "value": int64(2), "periodSeconds": int64(30)}}}},
			tree{"scaleDown": tree{"selectPolicy": "Disabled"}, "scaleUp": tree{"stabilizationWindowSeconds": int64(5)}})))
}

func randomBudget(c *choices) tree {
	spec := c.pick("bound", tree{"minAvailable": int64(1)}, tree{"minAvailable": "50%"}, tree{"maxUnavailable": int64(1)}, tree{"maxUnavailable": "10%"}).(tree)
	spec = maps.Clone(spec)
	spec["selector"] = c.pick("selector", tree{"matchLabels": tree{"app": "model"}}, tree{"matchLabels": tree{"app": "model", "tier": "a"}}, tree{"matchExpressions": []any{tree{"key": "app", "operator": "Exists"}}})
	if v := c.pick("unhealthy", nil, "AlwaysAllow", "IfHealthyBudget"); v != nil {
		spec["unhealthyPodEvictionPolicy"] = v
	}
	return c.workload("policy/v1", "PodDisruptionBudget", spec)
}

func randomPolicy(c *choices) tree {
	from := []any{tree{"podSelector": tree{"matchLabels": tree{"app": "x"}}}}
	return c.workload("networking.k8s.io/v1", "NetworkPolicy", fields("podSelector", c.pick("pods", tree{}, tree{"matchLabels": tree{"app": "model"}}),
		"ingress", c.pick("ingress", nil, []any{tree{}}, []any{tree{"from": from}}, []any{tree{"from": from, "ports": []any{tree{"port": int64(80)}}}, tree{"ports": []any{tree{"port": "http", "protocol": "TCP"}}}}),
		"egress", c.pick("egress", nil, nil, []any{tree{}}, []any{tree{"to": []any{tree{"ipBlock": tree{"cidr": "10.0.0.0/8", "except": texts("10.1.0.0/16")}}}}}),
		"policyTypes", c.pick("types", nil, nil, nil, texts("Ingress"), texts("Ingress", "Egress"))))
}

func randomWidget(c *choices) tree {
	return c.workload("random.example.com/v1", "Widget", fields("mode", c.pick("mode", nil, "a", "b"),
		"parts", items(c.pick("part a", nil, tree{"name": "a"}, tree{"name": "a", "size": int64(2)}), c.pick("part b", nil, tree{"name": "b", "size": int64(3)}, tree{"name": "b", "tags": texts("x", "y")}), c.pick("part c", nil, tree{"name": "c"})),
		"tags", c.pick("tags", nil, texts("a"), texts("a", "b"), texts("c")),
		"list", c.pick("list", nil, []any{tree{"name": "a"}, tree{"name": "b"}}, []any{}),
		"settings", c.pick("settings", nil, tree{"a": "b"}, tree{"a": "c", "d": "e"}, tree{}),
		"source", c.pick("source", nil, tree{"git": tree{"url": "x"}}, tree{"bucket": tree{"name": "y"}})))
}

// widgets defines the custom resource: with defaults, and lists of each kind.
const widgets = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.random.example.com}
spec:
  group: random.example.com
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties:
                mode: {type: string, default: c}
                tags: {type: array, x-kubernetes-list-type: set, items: {type: string}}
                list: {type: array, x-kubernetes-list-type: atomic, items: {type: object, properties: {name: {type: string}, size: {type: integer, default: 1}}}}
                parts:
                  type: array
                  x-kubernetes-list-type: map
                  x-kubernetes-list-map-keys: [name]
                  items: {type: object, required: [name], properties: {name: {type: string}, size: {type: integer, default: 1}, tags: {type: array, items: {type: string}}}}
                settings: {type: object, additionalProperties: {type: string}}
                source:
                  type: object
                  properties:
                    git: {type: object, properties: {url: {type: string}, branch: {type: string, default: main}}}
                    bucket: {type: object, properties: {name: {type: string}}}
`
