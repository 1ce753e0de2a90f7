package realnode_test

import (
	"context"
	"slices"
	"strings"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/realnode"
	"github.com/org/deploy-model-action/e2e/realnode/record"
)

// scenario is something that can happen to a model on a node.
type scenario struct {
	// name is also that of the catalogue's golden file, where there is one; what the
	// verdicts have to have in common is held there.
	name     string
	model    realnode.Model
	manifest string
	// repository is where the image is published. Default, models.
	repository string
	// index publishes the image inside an index, as one for another platform.
	index bool
	// unchecked creates the object without the action, which would refuse it.
	unchecked bool
	// vanishes removes it from the registry as soon as the action has found it.
	vanishes bool
	// with are further inputs of the step.
	with map[string]string
	// arrange prepares something before the deploy, and returns what to do meanwhile.
	arrange func(x *cloudtest.Test, r *record.Recorder) (meanwhile func(context.Context))
	// brief says that a container starts or ends at once: what it was before is
	// not seen by everybody.
	brief bool
	// unsaid is what the step's log must not say.
	unsaid string
	// enough tells when the node has shown all there is to see; events are parts
	// of events that have to be seen as well.
	enough func(record.Status) bool
	events []string
}

const head = `apiVersion: apps/v1
kind: Deployment
metadata: {name: model}
spec:
  replicas: 1
  minReadySeconds: 0
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
        readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1}
`

const service = `---
apiVersion: v1
kind: Service
metadata: {name: model}
spec:
  selector: {app: model}
  ports: [{name: http, port: 80, targetPort: http}]
`

var job = `apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: migrate
        image: IMAGE
        ` + cloudtest.BrokenEnv("Job") + "\n"

// deployment is one of a single container, with lines added to it.
func deployment(lines ...string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString("        " + line + "\n")
	}
	return head + container + b.String()
}

// initContainer comes before the model, with these variables.
func initContainer(env string) string {
	return head + "      initContainers:\n      - name: weights\n        image: IMAGE\n        " + env + "\n" + container
}

func volume(v string) string {
	return deployment("volumeMounts: [{name: files, mountPath: /files}]") + "      volumes: [{name: files, " + v + "}]\n"
}

// counting makes a pod count only when it has been ready for a while.
func counting(manifest string) string {
	return strings.Replace(manifest, "minReadySeconds: 0", "minReadySeconds: 30", 1)
}

func statefulSet(manifest string) string {
	return strings.NewReplacer("kind: Deployment", "kind: StatefulSet", "replicas: 1", "replicas: 2\n  serviceName: model").Replace(manifest)
}

func words(pairs ...string) realnode.Model {
	m := realnode.Model{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

// crashing is seen when a container waits for the second time to be started again.
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

func over(s record.Status) bool { return s.Phase == "Failed" }

// refused is the answer of a port that nobody listens on.
const refused = "connect: connection refused"

// scenarios are played on both kinds of nodes.
func scenarios() []scenario {
	backOff, failed := []string{"BackOff"}, []string{"Failed"}
	soon := map[string]string{"timeout": "55s"}
	return slices.Concat(lastingScenarios(), []scenario{
		{
			name: "serves", model: words("log", "loading weights\nlistening on :3000"), manifest: deployment() + service,
			with: map[string]string{"health_path": "/readyz"}, enough: ready, brief: true,
		},
		{name: "init-serves", model: words("log", "listening on :3000"), manifest: initContainer(`env: [{name: MODEL_EXIT_CODE, value: "0"}, {name: MODEL_EXIT_AFTER, value: 2s}]`), enough: ready, brief: true},

		{name: "missing-tag", manifest: deployment(), vanishes: true, enough: waiting("ImagePullBackOff"), events: backOff},
		{name: "pull-denied", model: cloudtest.Broken("pull-denied"), manifest: deployment(), repository: denied, enough: waiting("ImagePullBackOff"), events: backOff},
		{name: "pull-unauthorized", model: cloudtest.Broken("pull-unauthorized"), manifest: deployment(), repository: unknown, enough: waiting("ImagePullBackOff"), events: backOff},
		{name: "other-platform", manifest: deployment(), index: true, unchecked: true, enough: waiting("ImagePullBackOff"), events: backOff},
		{name: "never-pulled", manifest: deployment("imagePullPolicy: Never"), unchecked: true, enough: waiting("ErrImageNeverPull"), events: []string{"ErrImageNeverPull"}},

		{name: "exec-format-error", model: cloudtest.Broken("exec-format-error"), manifest: deployment(), enough: crashing, events: backOff},
		{
			name: "crash-at-start", model: cloudtest.Broken("crash-at-start"),
			manifest: deployment(), enough: crashing, events: backOff,
		},
		{
			name: "crash-after-ready", model: cloudtest.Broken("crash-after-ready"),
			manifest: counting(deployment()), enough: crashing, events: backOff,
		},
		{name: "exits", model: words("exit-code", "0", "log", "done"), manifest: deployment(), enough: crashing, events: backOff},
		{
			name: "out-of-memory", model: cloudtest.Broken("out-of-memory"),
			manifest: deployment("resources: {limits: {memory: 512Mi}}"), enough: crashing, events: backOff,
		},
		{name: "never-becomes-ready", model: cloudtest.Broken("never-ready"), manifest: deployment(), with: soon, enough: running, events: []string{"statuscode: 503"}},
		{name: "listens-elsewhere", model: cloudtest.Broken("never-listens"), manifest: deployment(), with: soon, enough: running, events: []string{refused}},
		{
			name: "liveness", model: cloudtest.Broken("liveness"), enough: crashing, events: backOff,
			manifest: counting(deployment("livenessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1, failureThreshold: 2}")),
		},

		{name: "missing-ConfigMap", manifest: deployment("envFrom: [{configMapRef: {name: settings}}]"), enough: waiting("CreateContainerConfigError"), events: failed},
		{name: "missing-Secret", manifest: deployment("env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: credentials, key: token}}}]"), enough: waiting("CreateContainerConfigError"), events: failed},
		{name: "missing-key", manifest: deployment("env: [{name: SIZE, valueFrom: {configMapKeyRef: {name: kube-root-ca.crt, key: size}}}]"), enough: waiting("CreateContainerConfigError"), events: failed},
		{name: "missing-volume", manifest: volume("configMap: {name: labels}"), enough: waiting("ContainerCreating"), events: []string{"FailedMount"}},
		{name: "missing-secret-volume", manifest: volume("secret: {secretName: credentials}"), enough: waiting("ContainerCreating"), events: []string{"FailedMount"}},
		{name: "missing-key-volume", manifest: volume("configMap: {name: kube-root-ca.crt, items: [{key: size, path: size}]}"), enough: waiting("ContainerCreating"), events: []string{"FailedMount"}},

		{name: "bad-command", manifest: deployment("command: [/nonexistent/serve, --port=3000]"), enough: crashing, events: backOff},
		{name: "unknown-command", model: words("commands", "/model"), manifest: deployment("command: [bentoml, serve]"), enough: crashing, events: backOff},
		{name: "no-command", model: words("entrypoint", "none"), manifest: deployment(), enough: waiting("CreateContainerError"), events: failed},
		{name: "refused-root", model: words("user", "0"), manifest: deployment("securityContext: {runAsNonRoot: true}"), enough: waiting("CreateContainerConfigError"), events: failed},
		{
			name: "init-container", manifest: initContainer(cloudtest.BrokenEnv("init-container")),
			enough: crashing, events: backOff,
		},

		{name: "Job", manifest: job, enough: over, brief: true},
		{name: "stuck-StatefulSet", model: cloudtest.Broken("StatefulSet"), manifest: statefulSet(deployment()), with: soon, enough: running, events: []string{"statuscode: 500"}},
		{
			name: "StatefulSet-that-crashes", model: cloudtest.Broken("StatefulSet-that-crashes"),
			manifest: statefulSet(deployment()), enough: crashing, events: backOff,
		},
	})
}

// The repositories that images are published in: the nodes' service account may
// not read the second, and the nodes have none for the third.
const (
	models  = localcloud.RegistryHost
	denied  = localcloud.Registry + "/" + localcloud.Project + "/denied"
	unknown = localcloud.Registry + "/" + localcloud.Project + "/unknown"
)
