// Package workloadtest makes workloads, their ReplicaSets and their pods for tests.
//
// Only tests import it. What kubelets and schedulers write was recorded of real
// ones; servers that hold the objects are in kubetest.
package workloadtest

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

// Template is the pod template of workloads.
const Template = `{metadata: {labels: {app: model}}, spec: {containers: [{name: model, image: "r.example/m:v2"}]}}`

// Object is the workload "model" of generation 2, that a deploy wrote at Start.
func Object(t *testing.T, kind string, replicas int, status string, more ...string) *unstructured.Unstructured {
	t.Helper()
	group := "apps/v1"
	switch kind {
	case "Job":
		group = "batch/v1"
	case "Pod":
		group = "v1"
	}
	field := "replicas"
	if kind == "Job" {
		field = "parallelism"
	}
	return objecttest.FromYAML(t, fmt.Sprintf(`
apiVersion: %s
kind: %s
metadata:
  name: model
  namespace: default
  uid: workload
  generation: 2
  annotations: {deployment.kubernetes.io/revision: "2", deprecated.daemonset.template.generation: "2"}
  managedFields: [{manager: deploy-model-action, operation: Apply, time: %q}]
spec: {%s%s: %d, selector: {matchLabels: {app: model}}, template: %s}
status: %s
`, group, kind, objecttest.At(0), strings.Join(more, ""), field, replicas, Template, status))
}

// ReplicaSet is one of the Deployment "model".
func ReplicaSet(t *testing.T, uid, revision, template, status string) *unstructured.Unstructured {
	t.Helper()
	return objecttest.FromYAML(t, fmt.Sprintf(`
apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: model-%s
  namespace: default
  uid: %s
  creationTimestamp: %q
  annotations: {deployment.kubernetes.io/revision: %q}
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: model, uid: workload, controller: true}]
spec: {template: %s}
status: %s
`, uid, uid, objecttest.At(0), revision, strings.Replace(template, "labels: {", "labels: {pod-template-hash: "+uid+", ", 1), status))
}

// Pod is a pod in one of its states, made a second after Start.
type Pod struct {
	Name, Owner, Extra string // Extra: of metadata
	Spec, Status       string // Spec: instead of one container on a node
}

// Object is the pod as the API server sends it.
func (p Pod) Object(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	return objecttest.FromYAML(t, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata:
  name: %s
  namespace: default
  uid: %s
  creationTimestamp: %q
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: model-new, uid: %s, controller: true}]
  %s
spec: {%s}
status: %s
`, p.Name, p.Name, objecttest.At(1), p.Owner, p.Extra, cmp.Or(p.Spec, `nodeName: node-1, containers: [{name: model, image: "r.example/m:v2"}]`), p.Status))
}

// States of pods, as kubelets and schedulers write them.
const (
	PullDenied  = `{phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: ErrImagePull, message: "rpc error: code = Unknown desc = failed to authorize: failed to fetch oauth token: unexpected status: 403 Forbidden"}}}]}`
	PullBackOff = `{phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: ImagePullBackOff, message: "Back-off pulling image \"r.example/m:v2\""}}}]}`
	PullMissing = `{phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: ErrImagePull, message: "rpc error: code = NotFound desc = failed to resolve reference \"r.example/m:v2\": r.example/m:v2: not found"}}}]}`
	PullDown    = `{phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: ErrImagePull, message: "503 Service Unavailable"}}}]}`
	Creating    = `{phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: ContainerCreating}}}]}`
	NoSecret    = `{phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: CreateContainerConfigError, message: 'secret "a" not found'}}}]}`
	NoSecretB   = `{phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: CreateContainerConfigError, message: 'secret "b" not found'}}}]}`
	Crash       = `{phase: Running, containerStatuses: [{name: model, restartCount: 3, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 1, reason: Error}}}]}`
	Ready       = `{phase: Running, conditions: [{type: Ready, status: "True"}], containerStatuses: [{name: model, ready: true, state: {running: {}}}]}`
	Running     = `{phase: Running, conditions: [{type: Ready, status: "False"}], containerStatuses: [{name: model, state: {running: {}}}]}`
	InvalidName = `{phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: InvalidImageName}}}]}`
	Gpu         = `{phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."}]}`
	Evicted     = `{phase: Failed, reason: Evicted, message: "The node was low on resource: memory."}`
)
