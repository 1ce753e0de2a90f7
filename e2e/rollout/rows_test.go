package rollout_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/proxy"
)

// What kubectl does not look at, said in each row where we differ because of it.
const (
	instant  = "kubectl is content with pods that were ready for an instant; they have to go on for 10 s, or minReadySeconds"
	traffic  = "kubectl looks at the pods only, and whoever asks the Service gets no answer"
	unwatch  = "kubectl has no verdict on this kind: it has no status viewer"
	asksNone = "kubectl asks nobody whether the model answers"
)

// simple is a Deployment of one pod that need not run for 10 s.
func simple(spec, template string) string {
	return workload("Deployment", strings.TrimSuffix("replicas: 1\n  "+spec, "\n  "), template)
}

func says(text string) map[string]string {
	return map[string]string{"model.exit-code": "1", "model.exit-after": "3s", "model.log": text}
}

const keras = "Traceback (most recent call last):\nModuleNotFoundError: No module named 'keras'"

// second is another object of the manifest.
func second(text string) string { return "---\n" + text + "\n" }

// needs is one more container, that needs a Secret which does not exist.
func needs(secret string, port int) string {
	return fmt.Sprintf("        - {name: %s, image: %s/%s:latest, env: [{name: MODEL_PORT, value: \"%d\"}], envFrom: [{secretRef: {name: %s}}]}\n", secret, localcloud.RegistryHost, cloudtest.Model, port, secret)
}

// ill is a workload beside the model, which no node takes.
func ill() string {
	text := strings.NewReplacer("name: model, labels: {app: model}", "name: ill", "app: model", "app: ill", localcloud.RegistryHost+"/"+cloudtest.Model+":latest", localcloud.RegistryHost+"/ill:latest").Replace(simple("", ""))
	return strings.Replace(text, "spec:\n      terminationGracePeriodSeconds: 0", "spec:\n      nodeSelector: {disk: none}\n      terminationGracePeriodSeconds: 0", 1)
}

// rows are the table, by the review's paragraphs.
func rows() []row {
	return slices.Concat(verdictRows(), healthRows(), wordRows())
}

func verdictRows() []row {
	short := map[string]string{"timeout": "30s"}
	once := unprobed(lasting("Deployment", "replicas: 1"))
	both := map[string]string{"timeout": "30s", "images": cloudtest.Model + "\nill=" + localcloud.RegistryHost + "/ill:v1"}
	silent := proxy.Fault{Path: "allowWatchBookmarks=true", DelayMS: 600_000}
	custom := func(api, kind, spec string) string {
		return "apiVersion: " + api + "\nkind: " + kind + "\nmetadata: {name: model}\nspec: " + spec + "\n"
	}
	containers := `{containers: [{name: model, image: ` + localcloud.RegistryHost + "/" + cloudtest.Model + `:latest}]}`
	template := `{metadata: {labels: {app: model}}, spec: ` + containers + `}`
	return []row{
		{line: "C1", name: "ends after 3 s, no probe", manifest: once, labels: says(keras), outcome: "failed", why: instant, sample: true},
		{line: "C1", name: "ends after 3 s, health_path", manifest: once + exposed, labels: says(keras), with: map[string]string{"health_path": "/"}, outcome: "failed", why: instant},
		{line: "C1", name: "StatefulSet whose command ends", manifest: unprobed(lasting("StatefulSet", "replicas: 1\n  serviceName: model")), labels: says(keras), kubectl: "rollout status statefulset/model", outcome: "failed", why: instant},
		{line: "C2", name: "Service that selects nothing", manifest: simple("", "") + front(`{selector: {app: other}, ports: [{port: 80, targetPort: 3000}]}`), outcome: "failed", why: traffic, sample: true},
		{line: "C2", name: "Service that selects nothing, and little time", manifest: simple("", "") + front(`{selector: {app: other}, ports: [{port: 80, targetPort: 3000}]}`), with: map[string]string{"timeout": "9s"}, outcome: "failed", why: traffic},
		{line: "C2", name: "Service with a wrong targetPort", manifest: simple("", "") + front(`{selector: {app: model}, ports: [{port: 80, targetPort: web}]}`), outcome: "failed", why: traffic},
		{
			line: "C3", name: "Argo Rollout that is Degraded", outcome: "failed", kubectl: "rollout status rollout.argoproj.io/model", arrange: define, sample: true,
			manifest: custom("argoproj.io/v1alpha1", "Rollout", `{replicas: 2, selector: {matchLabels: {app: rollout}}, template: `+template+`}`),
			status:   `{observedGeneration: "1", phase: Degraded, abort: true, message: "RolloutAborted: the error rate is too high", replicas: 2}`,
		},
		{
			line: "C3", name: "LeaderWorkerSet with 0 groups ready", outcome: "failed", kubectl: "wait --for=condition=Available leaderworkerset/model", arrange: define, with: short,
			manifest: custom("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", `{replicas: 2, leaderWorkerTemplate: {size: 2, workerTemplate: `+template+`}}`),
			status:   `{observedGeneration: 1, replicas: 2, readyReplicas: 0, updatedReplicas: 2, conditions: [{type: Available, status: "False", reason: NotReady, message: no groups, lastTransitionTime: "2026-01-01T00:00:00Z"}]}`,
		},
		{
			line: "C3", name: "kind without a Ready condition", outcome: "deployed", shows: ".*not waited for.*", kubectl: "rollout status oracle.example.com/model", arrange: define,
			manifest: custom("example.com/v1", "Oracle", `{template: {spec: `+containers+`}}`), status: `{phase: Failed}`,
			why: unwatch + "; what no agreement of the kind tells is neither said to serve nor to fail",
		},
		{
			line: "C4", name: "object that is being deleted", before: simple("", "") + settings, arrange: deletes, manifest: simple("", "") + settings, outcome: "failed",
			why: "kubectl looks at the workload only; what its pods read goes away",
		},
		{line: "C4", name: "paused Deployment", before: simple("", ""), arrange: pauses, manifest: simple("", ""), outcome: "failed", sample: true},
		{line: "C5", name: "model that waits for its database", arrange: database, manifest: lasting("Deployment", "replicas: 1") + "          envFrom: [{configMapRef: {name: database}}]\n", outcome: "deployed", shows: `container "model" crashed with exit code 1`},
		{
			line: "C6", name: "quota while the old pod ends", outcome: "deployed", arrange: quota, old: map[string]string{"model.stop-after": "8s"},
			before:   strings.Replace(simple("strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}", ""), "Seconds: 0\n      ", "Seconds: 30\n      ", 1),
			manifest: strings.Replace(simple("strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}", ""), "Seconds: 0\n      ", "Seconds: 30\n      ", 1),
		},
		{
			line: "C6", name: "progress deadline before the timeout", manifest: simple("progressDeadlineSeconds: 5", ""), labels: map[string]string{"model.start-after": "12s"}, outcome: "deployed",
			why: "kubectl gives up at progressDeadlineSeconds; whoever deploys has said with timeout how long it may take, and it came up",
		},
		{
			line: "C6", name: "image for arm64, pinned to a pool of size 0", arrange: forArm, built: true, with: short, outcome: "failed",
			manifest: simple("", `affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/arch, operator: In, values: [arm64]}]}]}}}`),
		},
		{
			line: "C7", name: "Ingress without an address", with: short, outcome: "deployed",
			manifest: simple("", "") + front(`{selector: {app: model}, ports: [{port: 80, targetPort: http}]}`) + second("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: model}\nspec: {ingressClassName: traefik, defaultBackend: {service: {name: front, port: {number: 80}}}}"),
		},
		{
			line: "C7", name: "Job that trains for hours", outcome: "deployed", shows: ".*not waited for.*", kubectl: "wait --for=condition=complete job/train",
			manifest: simple("", "") + second(`apiVersion: batch/v1
kind: Job
metadata: {name: train, annotations: {deploy-model-action/wait: "false"}}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: train, image: `+localcloud.RegistryHost+"/"+cloudtest.Model+`:latest}]}}}`),
			why: "its manifest says that nobody waits for it: the release is the model",
		},
		{
			line: "C7", name: "ill before, and not changed", arrange: illBefore, manifest: ill() + "---\n" + simple("", ""), with: both, outcome: "deployed", kubectl: "rollout status deployment/ill",
			why: "it did not serve before either, and to put back the model that does heals nothing: a warning",
		},
		{line: "C8", name: "watches that say nothing", manifest: simple("", ""), labels: map[string]string{"model.start-after": "2s"}, faults: []proxy.Fault{silent}, outcome: "deployed", sample: true},
		{
			line: "C9", name: "test pod of a chart", outcome: "deployed", shows: ".*helm.sh/hook.*",
			manifest: simple("", "") + second("apiVersion: v1\nkind: Pod\nmetadata: {name: try, annotations: {helm.sh/hook: test}}\nspec: {containers: [{name: try, image: busybox, command: [wget, model]}]}"),
		},
		{line: "C10", name: "30 workloads", manifest: simple("", "") + idle(30), outcome: "deployed", shows: "deployment.apps/model created"},
	}
}

func healthRows() []row {
	ask := map[string]string{"health_path": "/readyz", "health_timeout": "5s"}
	inside := front(`{selector: {app: model}, ports: [{port: 80, targetPort: http}]}`)
	refusal := func(code int, message string) []proxy.Fault {
		return []proxy.Fault{{Path: "/services/front:80/proxy", Status: code, Body: `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "message": "` + message + `"}`}}
	}
	return []row{
		{line: "D1", name: "health_path that is no path", manifest: simple("", "") + inside, with: map[string]string{"health_path": "/%zz"}, outcome: "failed", kubectl: "-"},
		{line: "D1", name: "no Service to ask", manifest: simple("", ""), with: ask, outcome: "failed", kubectl: "-"},
		{line: "D1", name: "no right on services/proxy", manifest: simple("", "") + inside, with: ask, outcome: "deployed", faults: refusal(403, "no right on services/proxy")},
		{line: "D1", name: "cluster whose proxy is closed", manifest: simple("", "") + inside, with: ask, outcome: "deployed", faults: refusal(503, "error trying to reach service: dial tcp 10.4.0.7:3000: i/o timeout")},
		{
			line: "D2", name: "crash while the health is asked", manifest: unprobed(simple("", "")) + exposed, outcome: "failed", why: asksNone, with: map[string]string{"health_path": "/healthz"},
			labels: map[string]string{"model.unhealthy-path": "/healthz", "model.unhealthy-status": "503", "model.exit-code": "1", "model.exit-after": "4s", "model.log": keras},
		},
		{
			line: "D2", name: "crash while the health is asked, and little time", manifest: unprobed(simple("", "")) + inside, outcome: "failed", why: asksNone, with: map[string]string{"health_path": "/healthz", "health_timeout": "6s"},
			labels: map[string]string{"model.unhealthy-path": "/healthz", "model.unhealthy-status": "503", "model.exit-code": "1", "model.exit-after": "4s", "model.log": keras},
		},
		{
			line: "D3", name: "headless Service first", with: ask, outcome: "deployed", shows: "Health check",
			manifest: simple("", "") + strings.Replace(front(`{clusterIP: None, selector: {app: model}, ports: [{port: 9090, targetPort: 9090}]}`), "name: front", "name: a", 1) + exposed,
		},
	}
}

func wordRows() []row {
	short := map[string]string{"timeout": "30s"}
	initial := `initContainers: [{name: weights, image: ` + localcloud.RegistryHost + "/" + cloudtest.Model + `:latest, env: [{name: MODEL_EXIT_CODE, value: "7"}, {name: MODEL_LOG, value: "403 Forbidden: gs://weights/model.bin"}]}]`
	claim := second("apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {storageClassName: \"\", accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}")
	sidecar := "        - {name: proxy, image: " + localcloud.RegistryHost + "/" + cloudtest.Model + ":latest, env: [{name: MODEL_PORT, value: \"3001\"}], readinessProbe: {httpGet: {path: /readyz, port: 4000}, periodSeconds: 1}}\n"
	return []row{
		{line: "E1", name: "module that is missing", manifest: simple("", ""), labels: map[string]string{"model.exit-code": "1", "model.log": keras}, outcome: "failed", sample: true},
		{line: "E2", name: "init container that fails", manifest: simple("", initial), outcome: "failed"},
		{line: "E2", name: "two probes that fail", manifest: simple("", "") + sidecar, labels: map[string]string{"model.status": "503"}, with: short, outcome: "failed", sample: true},
		{
			line: "E2", name: "three Secrets that are missing", outcome: "failed", with: map[string]string{"timeout": "30s"},
			manifest: simple("", "") + "          envFrom: [{secretRef: {name: one}}]\n" + needs("two", 3001) + needs("three", 3002),
		},
		{line: "E3", name: "claim without a volume", manifest: simple("", "volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]") + claim, with: short, outcome: "failed"},
		{line: "E4", name: "ready counts old pods", before: simple("", ""), manifest: simple("", ""), labels: map[string]string{"model.status": "503"}, with: short, outcome: "failed", sample: true},
		{
			line: "E4", name: "quota", before: simple("", ""), arrange: quota, manifest: simple("", ""), with: map[string]string{"timeout": "75s"}, outcome: "failed",
		},
		{line: "E4", name: "port of another manager", before: simple("", "") + exposed, arrange: foreignPort, manifest: simple("", "") + exposed, outcome: "failed", kubectl: "-", sample: true},
		{
			line: "E5", name: "GPU that no pool has", with: short, outcome: "failed",
			manifest: simple("", "") + "          resources: {limits: {nvidia.com/gpu: 1}}\n",
		},
		{
			line: "E5", name: "room for a container and its sidecar", with: short, outcome: "failed",
			manifest: simple("", `initContainers: [{name: proxy, restartPolicy: Always, image: `+localcloud.RegistryHost+"/"+cloudtest.Model+`:latest, resources: {requests: {cpu: 60}}}]`) + "          resources: {requests: {cpu: 50}}\n",
		},
	}
}
