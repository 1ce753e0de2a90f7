package catalogue_test

import (
	"strings"
	"testing"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

// scene is one case of the catalogue.
type scene struct {
	name string
	good string // manifest of the versions that serve; web if empty
	bad  string // of the broken one; good if empty
	// words say how the broken version's image acts.
	words map[string]string
	// with are inputs of the broken deploy.
	with map[string]string
	// obstacle is put in the broken version's way, and taken away by what it returns.
	obstacle func(x *cloudtest.Test) (remove func())
	// vanishes removes the broken image from the registry as soon as the action has found it.
	vanishes bool
	// serves tells that users reach the broken version for a while.
	serves bool
	// stuck is what the next deploy advises to do about a broken version that was
	// left there and that is in its way; repair does it.
	stuck  string
	repair func(x *cloudtest.Test)
	// foreign publishes an image for another processor.
	foreign bool

	// outcome with and without rollback; rolled-back and failed if empty.
	outcome, left string
	// kubectl are commands that fail while the broken version is there, and then not any more.
	kubectl []string
	// agrees are commands that show what kubectl says, and what has to be in it.
	agrees map[string]string
}

// web is a model behind a load balancer.
var web = manifest(deployment) + service

const rolloutStatus = "rollout status deployment/model --timeout=1s"

func container(lines string) string {
	return manifest(deployment, "CONTAINER", readiness+"\n"+lines) + service
}

func podSpec(lines string) string { return manifest(deployment, "PODSPEC", lines) + service }

func scenes() []scene {
	soon := map[string]string{"timeout": "40s"}
	rollout := []string{rolloutStatus}
	return []scene{
		{
			name: "health check", serves: true, words: map[string]string{"unhealthy-path": "/predict"}, with: map[string]string{"health_path": "/predict"},
			agrees: map[string]string{rolloutStatus: "successfully rolled out"},
		},
		{name: "missing tag", vanishes: true, kubectl: rollout},
		{name: "pull denied", words: cloudtest.Broken("pull-denied"), kubectl: rollout},
		{name: "pull unauthorized", words: cloudtest.Broken("pull-unauthorized"), kubectl: rollout},
		{name: "wrong platform", foreign: true, outcome: "failed"},
		{name: "exec format error", words: cloudtest.Broken("exec-format-error"), kubectl: rollout},
		{name: "crash at start", words: cloudtest.Broken("crash-at-start"), kubectl: rollout},
		{
			name: "crash after ready", serves: true, bad: manifest(deployment, "SPEC", "minReadySeconds: 30") + service, kubectl: rollout,
			words: cloudtest.Broken("crash-after-ready"),
		},
		{name: "out of memory", bad: container("resources: {limits: {memory: 512Mi}}"), words: cloudtest.Broken("out-of-memory"), kubectl: rollout},
		{name: "never ready", words: cloudtest.Broken("never-ready"), with: soon, kubectl: rollout},
		{name: "never listens", words: cloudtest.Broken("never-listens"), with: soon, kubectl: rollout},
		{
			name: "liveness", serves: true, kubectl: rollout, words: cloudtest.Broken("liveness"),
			bad: manifest(deployment, "SPEC", "minReadySeconds: 30", "CONTAINER", readiness+"\nlivenessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1, failureThreshold: 2}") + service,
		},
		{name: "missing ConfigMap", bad: container("envFrom: [{configMapRef: {name: settings}}]"), kubectl: rollout},
		{name: "missing Secret", bad: container("env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: credentials, key: token}}}]"), kubectl: rollout},
		{name: "missing key", bad: container("env: [{name: SIZE, valueFrom: {configMapKeyRef: {name: kube-root-ca.crt, key: size}}}]"), kubectl: rollout},
		{
			name: "missing volume", kubectl: rollout,
			bad: manifest(deployment, "PODSPEC", "volumes: [{name: labels, configMap: {name: labels}}]", "CONTAINER", readiness+"\nvolumeMounts: [{name: labels, mountPath: /labels}]") + service,
		},
		{name: "bad command", bad: container(`command: [/nonexistent/serve, --port=3000]`), kubectl: rollout},
		{
			name: "init container", kubectl: rollout,
			bad: podSpec("initContainers:\n  - name: weights\n    image: IMAGE\n    " + cloudtest.BrokenEnv("init-container")),
		},
		{name: "quota", obstacle: quota, kubectl: rollout},
		{name: "PodSecurity", obstacle: podSecurity, kubectl: rollout},
		{name: "webhook", obstacle: webhook, kubectl: rollout},
		{name: "GPU", bad: container(`resources: {limits: {nvidia.com/gpu: 1}}`), with: soon, kubectl: rollout},
		{
			name: "unbound claim", with: soon, kubectl: rollout,
			bad: podSpec("volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]") + `---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  storageClassName: fast
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
`,
			agrees: map[string]string{"get pvc data -o jsonpath={.status.phase}": "Pending"},
		},
		{
			name: "Job", serves: true, kubectl: []string{"wait job/migrate --for=condition=complete --timeout=1s"},
			bad: web + `---
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: migrate
          image: ` + "IMAGE" + `
          ` + cloudtest.BrokenEnv("Job") + "\n",
		},
		{
			name: "StatefulSet", good: manifest(statefulSet) + service, words: cloudtest.Broken("StatefulSet"), with: soon, stuck: "kubernetes/kubernetes#67250", repair: deleteLast,
			kubectl: []string{"rollout status statefulset/model --timeout=1s"},
		},
		{
			name: "StatefulSet that crashes", good: manifest(statefulSet) + service, stuck: "kubectl delete pod model-2", repair: deleteLast, words: cloudtest.Broken("StatefulSet-that-crashes"),
			kubectl: []string{"rollout status statefulset/model --timeout=1s"},
		},
		{
			name: "DaemonSet on no node", good: manifest(daemonSet) + service, bad: manifest(daemonSet, "PODSPEC", "nodeSelector: {disk: fast}") + service,
			outcome: "deployed", left: "deployed",
			agrees: map[string]string{"rollout status daemonset/model --timeout=1s": `daemon set "model" successfully rolled out`},
		},
		{
			name: "no address", with: soon, serves: true,
			bad:    web + strings.Replace(service, "{name: model}", "{name: canary, annotations: {localcloud/load-balancer: never}}", 1),
			agrees: map[string]string{"get service canary -o jsonpath={.status.loadBalancer}": "{}", rolloutStatus: "successfully rolled out"},
		},
		{
			// kubectl knows nothing of where a Service leads: whoever asks it gets 502.
			name: "Service that selects nothing", serves: true,
			bad:    web + strings.NewReplacer("{name: model}", "{name: front}", "app: model", "app: other", "type: LoadBalancer", "type: ClusterIP").Replace(service),
			agrees: map[string]string{rolloutStatus: "successfully rolled out", "get service front -o jsonpath={.spec.type}": "ClusterIP"},
		},
		{
			name: "port that no container has", serves: true,
			bad:    web + strings.NewReplacer("{name: model}", "{name: front}", "targetPort: http", "targetPort: web", "type: LoadBalancer", "type: ClusterIP").Replace(service),
			agrees: map[string]string{"get service front -o jsonpath={.spec.type}": "ClusterIP"},
		},
		{
			// kubectl wait would wait for an address for ever.
			name: "Ingress without an address", with: soon, serves: true, outcome: "deployed", left: "deployed",
			bad: web + `---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: model}
spec:
  ingressClassName: traefik
  rules: [{host: model.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: model, port: {number: 80}}}}]}}]
`,
			agrees: map[string]string{"get ingress model -o jsonpath={.status.loadBalancer}": "{}", rolloutStatus: "successfully rolled out"},
		},
		{
			name: "several objects", with: soon, kubectl: rollout, words: map[string]string{"status": "503"}, serves: true,
			bad: web + "---\n" + strings.NewReplacer("name: model}", "name: batch}", "app: model", "app: batch", "replicas: 3", "replicas: 1").Replace(manifest(deployment)) +
				strings.Replace(service, "{name: model}", "{name: canary, annotations: {localcloud/load-balancer: never}}", 1),
		},
	}
}

func TestScenesHaveNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range scenes() {
		if seen[s.name] {
			t.Errorf("two scenes are called %q", s.name)
		}
		seen[s.name] = true
	}
}
