package realnode_test

import (
	"strings"

	"github.com/org/deploy-model-action/e2e/realnode"
	"github.com/org/deploy-model-action/e2e/realnode/record"
)

// scenario is something that can happen to a model on a node.
type scenario struct {
	name     string
	model    realnode.Model
	manifest string
	// index publishes the image inside an index that names its platform.
	index bool
	// private publishes it where the nodes may not read.
	private bool
	// vanishes removes it from the registry as soon as the action has found it.
	vanishes bool
	// timeout of the deploy; the catalogue's if empty.
	timeout string
	// enough tells when the node has shown all there is to see; event is the
	// reason of an event that has to be seen as well.
	enough func(record.Status) bool
	event  string
	// serves is true where the deploy succeeds.
	serves bool
}

const deploymentHead = `apiVersion: apps/v1
kind: Deployment
metadata: {name: model}
spec:
  replicas: 1
  selector: {matchLabels: {app: model}}
  template:
    metadata: {labels: {app: model}}
    spec:
      terminationGracePeriodSeconds: 1
`

const container = `      containers:
      - name: model
        image: IMAGE
        ports: [{name: http, containerPort: 3000}]
        readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 2}
`

const job = `apiVersion: batch/v1
kind: Job
metadata: {name: model}
spec:
  backoffLimit: 1
  template:
    spec:
      restartPolicy: Never
      containers: [{name: model, image: IMAGE}]
`

// deployment is one of a single container, with lines added to it.
func deployment(lines ...string) string {
	return deploymentHead + container + indent(lines)
}

func indent(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString("        " + line + "\n")
	}
	return b.String()
}

// crashing waits for the second CrashLoopBackOff, which is all there is to see.
func crashing(s record.Status) bool { return waits(s, "CrashLoopBackOff", 2) }

func waiting(reason string) func(record.Status) bool {
	return func(s record.Status) bool { return waits(s, reason, 0) }
}

func waits(s record.Status, reason string, restarts int32) bool {
	for _, all := range [][]record.Container{s.InitContainers, s.Containers} {
		for _, c := range all {
			if c.State.Reason == reason && c.Restarts >= restarts {
				return true
			}
		}
	}
	return false
}

func ready(s record.Status) bool {
	for _, c := range s.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True"
		}
	}
	return false
}

func running(s record.Status) bool {
	return len(s.Containers) > 0 && s.Containers[0].State.State == "running"
}

func failed(s record.Status) bool { return s.Phase == "Failed" }

func words(pairs ...string) realnode.Model {
	m := realnode.Model{Words: map[string]string{}}
	for i := 0; i < len(pairs); i += 2 {
		m.Words[pairs[i]] = pairs[i+1]
	}
	return m
}

// catalogue is played on both kinds of nodes.
func catalogue() []scenario {
	const traceback = "Traceback (most recent call last):\nValueError: no weights at /models/latest"
	return []scenario{
		{name: "serves", model: words("log", "loading\nserving"), manifest: deployment(), enough: ready, serves: true},
		{
			name: "init-serves", model: words("log", "serving"), enough: ready, serves: true,
			manifest: deploymentHead + "      initContainers:\n      - name: weights\n        image: IMAGE\n        env: [{name: MODEL_EXIT_CODE, value: \"0\"}, {name: MODEL_EXIT_AFTER, value: 2s}]\n" + container,
		},
		{name: "image-missing", model: words(), manifest: deployment(), vanishes: true, enough: waiting("ImagePullBackOff")},
		{name: "pull-denied", model: words("pull", "denied"), manifest: deployment(), private: true, enough: waiting("ImagePullBackOff")},
		{name: "wrong-platform", model: realnode.Model{Foreign: true}, manifest: deployment(), enough: crashing},
		{name: "wrong-platform-index", model: realnode.Model{Foreign: true}, manifest: deployment(), index: true, enough: waiting("ImagePullBackOff")},
		{name: "crash-at-start", model: words("exit-code", "1", "log", traceback), manifest: deployment(), enough: crashing},
		{name: "crash-after-ready", model: words("exit-code", "3", "exit-after", "5s", "log", "serving"), manifest: deployment(), enough: crashing},
		{name: "exits", model: words("exit-code", "0", "log", "done"), manifest: deployment(), enough: crashing},
		{name: "out-of-memory", model: words("out-of-memory", "true", "log", "loading"), manifest: deployment("resources: {limits: {memory: 64Mi}}"), enough: crashing},
		{name: "never-ready", model: words("status", "503", "log", "loading"), manifest: deployment(), timeout: "20s", enough: running, event: "Unhealthy"},
		{name: "never-listens", model: words("port", "3001", "log", "loading"), manifest: deployment(), timeout: "20s", enough: running, event: "Unhealthy"},
		{
			name: "liveness", model: words("unhealthy-path", "/healthz", "log", "serving"), enough: crashing,
			manifest: deployment("livenessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 2, failureThreshold: 2, initialDelaySeconds: 2}"),
		},
		{name: "configmap-missing", model: words(), manifest: deployment("envFrom: [{configMapRef: {name: settings}}]"), enough: waiting("CreateContainerConfigError")},
		{name: "secret-missing", model: words(), manifest: deployment("env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: token, key: value}}}]"), enough: waiting("CreateContainerConfigError")},
		{name: "key-missing", model: words(), manifest: deployment("env: [{name: TOKEN, valueFrom: {configMapKeyRef: {name: kube-root-ca.crt, key: token}}}]"), enough: waiting("CreateContainerConfigError")},
		{
			name: "volume-secret-missing", model: words(), enough: waiting("ContainerCreating"), event: "FailedMount",
			manifest: deployment("volumeMounts: [{name: token, mountPath: /token}]") + "      volumes: [{name: token, secret: {secretName: token}}]\n",
		},
		{
			name: "volume-key-missing", model: words(), enough: waiting("ContainerCreating"), event: "FailedMount",
			manifest: deployment("volumeMounts: [{name: settings, mountPath: /settings}]") + "      volumes: [{name: settings, configMap: {name: kube-root-ca.crt, items: [{key: token, path: token}]}}]\n",
		},
		{name: "command-missing", model: words(), manifest: deployment("command: [/nonexistent/serve]"), enough: crashing},
		{name: "command-unknown", model: words("commands", "/model"), manifest: deployment("command: [bentoml, serve]"), enough: crashing},
		{name: "root-refused", model: words("user", "root"), manifest: deployment("securityContext: {runAsNonRoot: true}"), enough: waiting("CreateContainerConfigError")},
		{
			name: "init-crashes", model: words("log", "loading"), enough: crashing,
			manifest: deploymentHead + "      initContainers:\n      - name: weights\n        image: IMAGE\n        env: [{name: MODEL_EXIT_CODE, value: \"2\"}, {name: MODEL_LOG, value: no such bucket}]\n" + container,
		},
		{name: "job-fails", model: words("exit-code", "1", "exit-after", "1s", "log", "migrating"), manifest: job, enough: failed},
		{
			name: "statefulset-stuck", model: words("status", "500", "log", "loading"), timeout: "20s", enough: running, event: "Unhealthy",
			manifest: strings.NewReplacer("kind: Deployment", "kind: StatefulSet", "replicas: 1", "replicas: 2\n  serviceName: model").Replace(deployment()),
		},
	}
}
