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

func words(pairs ...string) map[string]string {
	w := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		w[pairs[i]] = pairs[i+1]
	}
	return w
}

func container(lines string) string {
	return manifest(deployment, "CONTAINER", readiness+"\n"+lines) + service
}

func podSpec(lines string) string { return manifest(deployment, "PODSPEC", lines) + service }

func scenes() []scene {
	soon := map[string]string{"timeout": "40s"}
	rollout := []string{rolloutStatus}
	return []scene{
		{
			name: "health check", serves: true, words: words("unhealthy-path", "/predict"), with: map[string]string{"health_path": "/predict"},
			agrees: map[string]string{rolloutStatus: "successfully rolled out"},
		},
		{name: "missing tag", vanishes: true, kubectl: rollout},
		{name: "pull denied", words: words("pull", "denied"), kubectl: rollout},
		{name: "pull unauthorized", words: words("pull", "unauthorized"), kubectl: rollout},
		{name: "wrong platform", foreign: true, outcome: "failed"},
		{name: "exec format error", words: words("foreign", "true"), kubectl: rollout},
		{name: "crash at start", words: words("exit-code", "1", "log", "Traceback (most recent call last):\n  File \"serve.py\", line 3, in <module>\nValueError: cannot load weights"), kubectl: rollout},
		{
			name: "crash after ready", serves: true, bad: manifest(deployment, "SPEC", "minReadySeconds: 30") + service, kubectl: rollout,
			words: words("exit-code", "3", "exit-after", "4s", "log", "Listening on :3000\nFatal: out of file descriptors"),
		},
		{name: "out of memory", bad: container("resources: {limits: {memory: 512Mi}}"), words: words("out-of-memory", "true", "log", "loading weights"), kubectl: rollout},
		{name: "never ready", words: words("status", "503", "log", "loading weights"), with: soon, kubectl: rollout},
		{name: "never listens", words: words("port", "8080"), with: soon, kubectl: rollout},
		{
			name: "liveness", serves: true, kubectl: rollout, words: words("unhealthy-path", "/healthz"),
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
			bad: podSpec("initContainers:\n  - name: weights\n    image: IMAGE\n    env: [{name: MODEL_EXIT_CODE, value: \"7\"}, {name: MODEL_LOG, value: \"403 Forbidden: gs://weights/model.bin\"}]"),
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
          env: [{name: MODEL_EXIT_CODE, value: "1"}, {name: MODEL_LOG, value: "relation models does not exist"}]
`,
		},
		{
			name: "StatefulSet", good: manifest(statefulSet) + service, words: words("status", "500"), with: soon, stuck: "kubernetes/kubernetes#67250", repair: deleteLast,
			kubectl: []string{"rollout status statefulset/model --timeout=1s"},
		},
		{
			name: "StatefulSet that crashes", good: manifest(statefulSet) + service, stuck: "kubectl delete pod model-2", repair: deleteLast, words: words("exit-code", "1", "log", "ValueError: cannot load weights"),
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
			name: "Ingress without an address", with: map[string]string{"timeout": "15s"}, serves: true, outcome: "deployed", left: "deployed",
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
			name: "several objects", with: soon, kubectl: rollout, words: words("status", "503"), serves: true,
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
