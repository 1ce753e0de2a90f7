package kinds_test

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
)

// kind is a kind of custom resource: how it is written, and what its controller
// writes in each state. In all texts VERSION is the number of the deploy, GEN the
// generation that the object has, and IMAGE the model's.
type kind struct {
	group, version, kind, plural string
	spec                         string
	progressing, ready, degraded string // statuses
	says                         string // of what is degraded
	noSubresource                bool
	ends                         bool // as a Job does
}

const image = localcloud.RegistryHost + "/" + cloudtest.Model + ":latest"

const (
	containers = `containers: [{name: model, image: IMAGE, command: [serve]}]`
	template   = `{metadata: {labels: {app: model}}, spec: {` + containers + `}}`
	ray        = `{headGroupSpec: {rayStartParams: {}, template: {spec: {containers: [{name: ray-head, image: IMAGE}]}}}, workerGroupSpecs: [{groupName: gpu, replicas: 1, minReplicas: 0, maxReplicas: 2, rayStartParams: {}, template: {spec: {containers: [{name: ray-worker, image: IMAGE}]}}}]}`
	front      = `parentRef: {group: gateway.networking.k8s.io, kind: Gateway, name: front}, controllerName: example.com/gateway`
)

var kinds = []kind{
	{
		group: "serving.kserve.io", version: "v1beta1", kind: "InferenceService", plural: "inferenceservices",
		spec:        `{predictor: {containers: [{name: kserve-container, image: IMAGE}]}}`,
		progressing: `{observedGeneration: GEN, conditions: [{type: PredictorReady, status: Unknown, reason: ReplicaSetUpdated}, {type: Ready, status: Unknown, reason: ReplicaSetUpdated}], modelStatus: {transitionStatus: InProgress}}`,
		ready:       `{observedGeneration: GEN, url: "http://model-default.models.example.com", address: {url: "http://model.default.svc.cluster.local"}, conditions: [{type: PredictorReady, status: "True"}, {type: Ready, status: "True"}], modelStatus: {transitionStatus: UpToDate}}`,
		degraded:    `{observedGeneration: GEN, conditions: [{type: PredictorReady, status: "False", reason: MinimumReplicasUnavailable, message: Deployment does not have minimum availability.}, {type: Ready, status: "False", reason: MinimumReplicasUnavailable}], modelStatus: {transitionStatus: BlockedByFailedLoad}}`,
		says:        "Deployment does not have minimum availability",
	},
	{
		group: "serving.kserve.io", version: "v1alpha1", kind: "InferenceGraph", plural: "inferencegraphs",
		spec:        `{nodes: {root: {routerType: Sequence, steps: [{serviceUrl: "http://vVERSION.example.com"}]}}}`,
		progressing: `{observedGeneration: GEN, conditions: [{type: Ready, status: Unknown, reason: Deploying}]}`,
		ready:       `{observedGeneration: GEN, conditions: [{type: Ready, status: "True"}]}`,
		degraded:    `{observedGeneration: GEN, conditions: [{type: Ready, status: "False", reason: RevisionFailed, message: the router does not start}]}`,
		says:        "the router does not start",
	},
	{
		group: "serving.kserve.io", version: "v1alpha2", kind: "LLMInferenceService", plural: "llminferenceservices",
		spec:        `{model: {uri: "hf://org/model", name: model}, template: {` + containers + `}}`,
		progressing: `{observedGeneration: GEN, conditions: [{type: WorkloadsReady, status: "False", reason: Loading}, {type: Ready, status: "False", reason: Loading}]}`,
		ready:       `{observedGeneration: GEN, conditions: [{type: WorkloadsReady, status: "True"}, {type: Ready, status: "True"}]}`,
		degraded:    `{observedGeneration: GEN, conditions: [{type: RouterReady, status: "False", reason: GatewayNotReady, message: the gateway has no address}, {type: Ready, status: "False", reason: GatewayNotReady}]}`,
		says:        "the gateway has no address",
	},
	{
		group: "serving.knative.dev", version: "v1", kind: "Service", plural: "services",
		spec:        `{template: {spec: {containers: [{image: IMAGE}]}}}`,
		progressing: `{observedGeneration: GEN, conditions: [{type: ConfigurationsReady, status: Unknown}, {type: Ready, status: Unknown, reason: Deploying}]}`,
		ready:       `{observedGeneration: GEN, latestCreatedRevisionName: model-VERSION, latestReadyRevisionName: model-VERSION, conditions: [{type: ConfigurationsReady, status: "True"}, {type: RoutesReady, status: "True"}, {type: Ready, status: "True"}]}`,
		degraded:    `{observedGeneration: GEN, conditions: [{type: ConfigurationsReady, status: "False", reason: RevisionFailed, message: the container exited}, {type: Ready, status: "False", reason: RevisionFailed, message: the container exited}]}`,
		says:        "the container exited",
	},
	{
		group: "argoproj.io", version: "v1alpha1", kind: "Rollout", plural: "rollouts",
		spec:        `{replicas: 2, selector: {matchLabels: {app: rollout}}, strategy: {canary: {steps: [{setWeight: 50}, {pause: {duration: 1s}}]}}, template: {metadata: {labels: {app: rollout}}, spec: {` + containers + `}}}`,
		progressing: `{observedGeneration: "GEN", phase: Progressing, message: more replicas need to be updated, replicas: 2, updatedReplicas: 1, readyReplicas: 2, availableReplicas: 2}`,
		ready:       `{observedGeneration: "GEN", phase: Healthy, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2, currentStepIndex: 2}`,
		degraded:    `{observedGeneration: "GEN", phase: Degraded, abort: true, message: "RolloutAborted: the error rate is too high", replicas: 2}`,
		says:        "the error rate is too high",
	},
	{
		group: "leaderworkerset.x-k8s.io", version: "v1", kind: "LeaderWorkerSet", plural: "leaderworkersets",
		spec:        `{replicas: 2, leaderWorkerTemplate: {size: 2, workerTemplate: ` + template + `}}`,
		progressing: `{observedGeneration: GEN, replicas: 2, readyReplicas: 1, updatedReplicas: 1, conditions: [{type: Available, status: "False"}, {type: Progressing, status: "True"}, {type: UpdateInProgress, status: "True"}]}`,
		ready:       `{observedGeneration: GEN, replicas: 2, readyReplicas: 2, updatedReplicas: 2, conditions: [{type: Available, status: "True"}, {type: Progressing, status: "False"}, {type: UpdateInProgress, status: "False"}]}`,
		degraded:    `{observedGeneration: GEN, replicas: 2, readyReplicas: 0, updatedReplicas: 2, conditions: [{type: Available, status: "False"}, {type: Progressing, status: "True"}]}`,
		says:        "2 of 2 groups updated, 0 ready",
	},
	{
		group: "ray.io", version: "v1", kind: "RayService", plural: "rayservices",
		spec:        `{serveConfigV2: "applications: []", rayClusterConfig: ` + ray + `}`,
		progressing: `{observedGeneration: GEN, activeServiceStatus: {rayClusterName: model-a}, pendingServiceStatus: {rayClusterName: model-b}, conditions: [{type: Ready, status: "True"}, {type: UpgradeInProgress, status: "True"}]}`,
		ready:       `{observedGeneration: GEN, serviceStatus: Running, numServeEndpoints: 2, activeServiceStatus: {rayClusterName: model-b, applicationStatuses: {llm: {status: RUNNING}}}, conditions: [{type: Ready, status: "True"}, {type: UpgradeInProgress, status: "False"}]}`,
		degraded:    `{observedGeneration: GEN, activeServiceStatus: {rayClusterName: model-b, applicationStatuses: {llm: {status: DEPLOY_FAILED, message: "No module named vllm"}}}, conditions: [{type: Ready, status: "False"}]}`,
		says:        "No module named vllm",
	},
	{
		group: "ray.io", version: "v1", kind: "RayCluster", plural: "rayclusters",
		spec:        ray,
		progressing: `{observedGeneration: GEN, desiredWorkerReplicas: 1, conditions: [{type: HeadPodReady, status: "False", reason: ContainersNotReady}]}`,
		ready:       `{observedGeneration: GEN, state: ready, desiredWorkerReplicas: 1, readyWorkerReplicas: 1, conditions: [{type: HeadPodReady, status: "True"}, {type: RayClusterProvisioned, status: "True"}]}`,
		degraded:    `{observedGeneration: GEN, desiredWorkerReplicas: 1, conditions: [{type: ReplicaFailure, status: "True", reason: FailedCreateWorkerPod, message: the quota is exceeded}]}`,
		says:        "the quota is exceeded",
	},
	{
		group: "ray.io", version: "v1", kind: "RayJob", plural: "rayjobs", ends: true,
		spec:        `{entrypoint: "python train.py", rayClusterSpec: ` + ray + `}`,
		progressing: `{observedGeneration: GEN, jobDeploymentStatus: Running, jobStatus: RUNNING}`,
		ready:       `{observedGeneration: GEN, jobDeploymentStatus: Complete, jobStatus: SUCCEEDED}`,
		degraded:    `{observedGeneration: GEN, jobDeploymentStatus: Failed, jobStatus: FAILED, reason: AppFailed, message: the loss is not a number}`,
		says:        "the loss is not a number",
	},
	{
		group: "jobset.x-k8s.io", version: "v1alpha2", kind: "JobSet", plural: "jobsets", ends: true,
		spec:        `{replicatedJobs: [{name: worker, replicas: 2, template: {spec: {template: {spec: {restartPolicy: Never, ` + containers + `}}}}}]}`,
		progressing: `{restarts: 1, replicatedJobsStatus: [{name: worker, ready: 1, succeeded: 1, failed: 0, active: 1, suspended: 0}]}`,
		ready:       `{restarts: 1, replicatedJobsStatus: [{name: worker, ready: 0, succeeded: 2, failed: 0, active: 0, suspended: 0}], conditions: [{type: Completed, status: "True", observedGeneration: GEN}]}`,
		degraded:    `{restarts: 3, conditions: [{type: Failed, status: "True", reason: ReachedMaxRestarts, message: it was restarted too often, observedGeneration: GEN}]}`,
		says:        "it was restarted too often",
	},
	{
		group: "gateway.networking.k8s.io", version: "v1", kind: "Gateway", plural: "gateways",
		spec:        `{gatewayClassName: gke-l7, listeners: [{name: http, protocol: HTTP, port: 80VERSION}]}`,
		progressing: `{conditions: [{type: Accepted, status: "True", observedGeneration: GEN}, {type: Programmed, status: "False", reason: Pending, observedGeneration: GEN}]}`,
		ready:       `{addresses: [{type: IPAddress, value: 203.0.113.99}], conditions: [{type: Accepted, status: "True", observedGeneration: GEN}, {type: Programmed, status: "True", observedGeneration: GEN}]}`,
		degraded:    `{conditions: [{type: Accepted, status: "False", reason: InvalidParameters, message: the class has no such parameters, observedGeneration: GEN}]}`,
		says:        "the class has no such parameters",
	},
	{
		group: "gateway.networking.k8s.io", version: "v1", kind: "HTTPRoute", plural: "httproutes",
		spec:        `{parentRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: front}], hostnames: [vVERSION.example.com], rules: [{backendRefs: [{group: "", kind: Service, name: model, port: 80, weight: 1}], matches: [{path: {type: PathPrefix, value: /}}]}]}`,
		progressing: `{parents: []}`,
		ready:       `{parents: [{` + front + `, conditions: [{type: Accepted, status: "True", observedGeneration: GEN}, {type: ResolvedRefs, status: "True", observedGeneration: GEN}]}]}`,
		degraded:    `{parents: [{` + front + `, conditions: [{type: Accepted, status: "True", observedGeneration: GEN}, {type: ResolvedRefs, status: "False", reason: BackendNotFound, message: no Service has that name, observedGeneration: GEN}]}]}`,
		says:        "no Service has that name",
	},
	{
		group: "inference.networking.k8s.io", version: "v1", kind: "InferencePool", plural: "inferencepools",
		spec:        `{selector: {matchLabels: {app: vVERSION}}, targetPorts: [{number: 8000}], endpointPickerRef: {group: "", kind: Service, name: picker, port: {number: 9002}, failureMode: FailClose}}`,
		progressing: `{parents: []}`,
		ready:       `{parents: [{` + front + `, conditions: [{type: Accepted, status: "True", observedGeneration: GEN}, {type: ResolvedRefs, status: "True", observedGeneration: GEN}]}]}`,
		degraded:    `{parents: [{` + front + `, conditions: [{type: Accepted, status: "True", observedGeneration: GEN}, {type: ResolvedRefs, status: "False", reason: InvalidExtensionRef, message: there is no endpoint picker, observedGeneration: GEN}]}]}`,
		says:        "there is no endpoint picker",
	},
	{
		group: "networking.gke.io", version: "v1", kind: "ManagedCertificate", plural: "managedcertificates", noSubresource: true,
		spec:        `{domains: [vVERSION.example.com]}`,
		progressing: `{certificateStatus: Provisioning, domainStatus: [{domain: vVERSION.example.com, status: Provisioning}]}`,
		ready:       `{certificateStatus: Active, domainStatus: [{domain: vVERSION.example.com, status: Active}]}`,
		degraded:    `{certificateStatus: ProvisioningFailedPermanently, domainStatus: [{domain: vVERSION.example.com, status: FailedCaaForbidden}]}`,
		says:        "FailedCaaForbidden",
	},
}

func (k kind) resource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: k.group, Version: k.version, Resource: k.plural}
}

// name is the object as the log names it.
func (k kind) name() string { return strings.ToLower(k.kind) + "." + k.group + "/model" }

// manifest writes the object.
func (k kind) manifest(version string) string {
	return "apiVersion: " + k.group + "/" + k.version + "\nkind: " + k.kind + "\nmetadata: {name: model}\nspec: " +
		strings.NewReplacer("IMAGE", image, "VERSION", version).Replace(k.spec) + "\n"
}

// definition is a small one, which takes any object.
func (k kind) definition() *unstructured.Unstructured {
	version := map[string]any{
		"name": k.version, "served": true, "storage": true,
		"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
	}
	if !k.noSubresource {
		version["subresources"] = map[string]any{"status": map[string]any{}}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{
			"name": k.plural + "." + k.group,
			// Names under k8s.io are kept for reviewed APIs, which these are.
			"annotations": map[string]any{"api-approved.kubernetes.io": "unapproved, for tests only"},
		},
		"spec": map[string]any{
			"group": k.group, "scope": "Namespaced", "versions": []any{version},
			"names": map[string]any{"kind": k.kind, "listKind": k.kind + "List", "plural": k.plural, "singular": strings.ToLower(k.kind)},
		},
	}}
}
