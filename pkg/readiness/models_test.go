package readiness

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

// kindState is a state of a custom resource, and what it means.
type kindState struct {
	name, spec, status string
	elapsed            time.Duration
	want               string
}

const (
	readyNow = `{type: Ready, status: "True"}`
	kserve   = "serving.kserve.io"
	canary   = `{replicas: 2, strategy: {canary: {steps: [{setWeight: 20}, {pause: {}}, {setWeight: 60}, {pause: {duration: 10s}}]}}}`
	groups   = `{replicas: 2}`
	jobs     = `{replicatedJobs: [{name: leader, replicas: 1}, {name: worker, replicas: 2}]}`
	domains  = `{domains: [model.example.com]}`
	cluster  = `{workerGroupSpecs: [{}]}`
	parentOf = `{parentRef: {name: front, kind: Gateway, group: gateway.networking.k8s.io}, conditions: [`
)

// kindStates are the states that each custom resource goes through, in the form in
// which its controller writes them.
var kindStates = map[string][]kindState{
	kserve + "/v1beta1 InferenceService": {
		{name: "no status", status: `{}`, elapsed: time.Hour, want: "waiting | waiting for a first status from its controller"},
		{name: "ready", status: `{observedGeneration: 4, conditions: [` + readyNow + `, {type: PredictorReady, status: "True"}], modelStatus: {transitionStatus: UpToDate, states: {activeModelState: Loaded, targetModelState: Loaded}}}`, want: "ready | ready"},
		{name: "progressing", status: `{observedGeneration: 4, conditions: [{type: PredictorReady, status: "False", reason: MinimumReplicasUnavailable, message: Deployment does not have minimum availability.}, {type: Ready, status: "False", reason: MinimumReplicasUnavailable}, {type: IngressReady, status: "True"}], modelStatus: {transitionStatus: InProgress}}`, want: "waiting | not ready yet: PredictorReady: MinimumReplicasUnavailable: Deployment does not have minimum availability."},
		{name: "progressing, of an unknown state", status: `{observedGeneration: 4, conditions: [{type: Ready, status: Unknown, reason: ReplicaSetUpdated, message: still progressing}]}`, want: "waiting | not ready yet: ReplicaSetUpdated: still progressing"},
		{name: "the earlier model serves", status: `{observedGeneration: 4, conditions: [` + readyNow + `], modelStatus: {transitionStatus: InProgress, states: {activeModelState: Loaded, targetModelState: Loading}}}`, want: "waiting | the earlier model serves; of the new one: InProgress Loading"},
		{name: "the new model does not load", status: `{observedGeneration: 4, conditions: [` + readyNow + `], modelStatus: {transitionStatus: BlockedByFailedLoad, states: {activeModelState: Loaded, targetModelState: FailedToLoad}}}`, want: "waiting | the earlier model serves; of the new one: BlockedByFailedLoad FailedToLoad"},
		{name: "degraded", status: `{observedGeneration: 4, conditions: [{type: Ready, status: "False"}], modelStatus: {transitionStatus: InvalidSpec, lastFailureInfo: {reason: NoSupportingRuntime, message: No runtime found to support specified predictor model}}}`, want: "failing NoSupportingRuntime lasting | its specification is not valid | KServe cannot serve it: NoSupportingRuntime: No runtime found to support specified predictor model"},
		{name: "stale generation", status: `{observedGeneration: 3, conditions: [` + readyNow + `]}`, want: "waiting | waiting for its controller to see the change"},
		{name: "stale generation, for long", status: `{observedGeneration: 3, conditions: [` + readyNow + `]}`, elapsed: patience, want: "skip | it says that it is ready, of its generation 3 and not of 4: whether the new one serves is not known; not waited for any longer"},
		{name: "stale generation, for long, not ready", status: `{observedGeneration: 3, conditions: [{type: Ready, status: "False"}]}`, elapsed: time.Hour, want: "waiting | waiting for its controller to see the change"},
		{name: "undated, as before", status: `{conditions: [` + readyNow + `]}`, want: "waiting | waiting for its controller to see the change"},
		{name: "undated, for a while", status: `{conditions: [` + readyNow + `]}`, elapsed: grace, want: "ready | ready"},
		{name: "missing condition", status: `{observedGeneration: 4, conditions: [{type: PredictorReady, status: "True"}]}`, elapsed: time.Hour, want: "waiting | waiting for its condition Ready"},
		{name: "stopped", status: `{observedGeneration: 4, conditions: [{type: Stopped, status: "True", reason: Stopped}, {type: Ready, status: "False", reason: Stopped}]}`, want: "skip | stopped, as its annotation serving.kserve.io/stop asks: nothing serves; not waited for"},
	},
	kserve + "/v1alpha1 InferenceGraph": {
		{name: "no status", status: `{}`, elapsed: time.Hour, want: "waiting | waiting for a first status from its controller"},
		{name: "ready", status: `{observedGeneration: 4, url: "http://graph.example.com", conditions: [` + readyNow + `]}`, want: "ready | ready"},
		{name: "progressing", status: `{observedGeneration: 4, conditions: [{type: Ready, status: Unknown}]}`, want: "waiting | not ready yet"},
		{name: "degraded", status: `{observedGeneration: 4, conditions: [{type: Ready, status: "False", reason: RevisionFailed, message: no such step}]}`, want: "waiting | not ready yet: RevisionFailed: no such step"},
		{name: "stale generation", status: `{observedGeneration: 3, conditions: [` + readyNow + `]}`, want: "waiting | waiting for its controller to see the change"},
	},
	kserve + "/v1alpha1 LLMInferenceService": {
		{name: "no status", status: `{}`, elapsed: time.Hour, want: "waiting | waiting for a first status from its controller"},
		{name: "ready", status: `{observedGeneration: 4, conditions: [` + readyNow + `, {type: WorkloadsReady, status: "True"}]}`, want: "ready | ready"},
		{name: "progressing", status: `{observedGeneration: 4, conditions: [{type: Ready, status: "False", reason: WorkloadNotReady}, {type: WorkloadsReady, status: "False", reason: MinimumReplicasUnavailable, message: loading}, {type: RouterReady, status: "False", reason: GatewayNotReady, message: no address}]}`, want: "waiting | not ready yet: WorkloadsReady: MinimumReplicasUnavailable: loading, RouterReady: GatewayNotReady: no address"},
		{name: "stale generation", status: `{observedGeneration: 3, conditions: [` + readyNow + `]}`, want: "waiting | waiting for its controller to see the change"},
	},
	"serving.knative.dev/v1 Service": {
		{name: "no status", status: `{}`, elapsed: time.Hour, want: "waiting | waiting for a first status from its controller"},
		{name: "ready", status: `{observedGeneration: 4, conditions: [{type: ConfigurationsReady, status: "True"}, ` + readyNow + `]}`, want: "ready | ready"},
		{name: "progressing", status: `{observedGeneration: 4, conditions: [{type: ConfigurationsReady, status: Unknown}, {type: Ready, status: Unknown, reason: Deploying}]}`, want: "waiting | not ready yet: Deploying"},
		{name: "degraded", status: `{observedGeneration: 4, conditions: [{type: ConfigurationsReady, status: "False", reason: RevisionFailed, message: container crashed}, {type: Ready, status: "False", reason: RevisionFailed, message: container crashed}]}`, want: "failing RevisionFailed lasting | not ready yet: ConfigurationsReady: RevisionFailed: container crashed | Knative says that it failed: RevisionFailed: container crashed"},
		{name: "stale generation", status: `{observedGeneration: 3, conditions: [` + readyNow + `]}`, elapsed: time.Hour, want: "waiting | waiting for its controller to see the change"},
		{name: "stale generation, degraded", status: `{observedGeneration: 3, conditions: [{type: Ready, status: "False", reason: RevisionFailed}]}`, elapsed: time.Hour, want: "waiting | waiting for its controller to see the change"},
	},
	"argoproj.io/v1alpha1 Rollout": {
		{name: "no status", spec: canary, status: `{}`, elapsed: time.Hour, want: "waiting | waiting for a first status from its controller"},
		{name: "ready", spec: canary, status: `{observedGeneration: "4", phase: Healthy, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2, currentStepIndex: 4}`, want: "ready | 2 of 2 updated, 2 ready, 2 available, 4 of 4 steps done"},
		{name: "progressing", spec: canary, status: `{observedGeneration: "4", phase: Progressing, message: more replicas need to be updated, updatedReplicas: 1, readyReplicas: 2, availableReplicas: 2}`, want: "waiting | progressing: 1 of 2 updated, 2 ready, 2 available, 0 of 4 steps done; more replicas need to be updated"},
		{name: "degraded", spec: `{replicas: 2, strategy: {canary: {}}}`, status: `{observedGeneration: "4", phase: Degraded, message: 'ProgressDeadlineExceeded: ReplicaSet "model-6f" has timed out progressing.', updatedReplicas: 2}`, want: `failing ProgressDeadlineExceeded lasting at the timeout | 2 of 2 updated, 0 ready, 0 available; ProgressDeadlineExceeded: ReplicaSet "model-6f" has timed out progressing. | Argo Rollouts says that it is degraded: ProgressDeadlineExceeded: ReplicaSet "model-6f" has timed out progressing.`},
		{name: "degraded, aborted", spec: `{replicas: 2, strategy: {canary: {}}}`, status: `{observedGeneration: "4", phase: Degraded, abort: true, message: 'RolloutAborted: metric "latency" assessed Failed', updatedReplicas: 1}`, want: `failing RolloutAborted | 1 of 2 updated, 0 ready, 0 available; RolloutAborted: metric "latency" assessed Failed | Argo Rollouts aborted it: RolloutAborted: metric "latency" assessed Failed`},
		{name: "degraded, a reference", status: `{observedGeneration: "4", phase: Degraded, message: 'InvalidSpec: service "canary" not found'}`, want: `failing InvalidSpec lasting | 0 of 1 updated, 0 ready, 0 available; InvalidSpec: service "canary" not found | Argo Rollouts says that it is degraded: InvalidSpec: service "canary" not found`},
		{name: "stale generation", spec: canary, status: `{observedGeneration: "3", phase: Healthy}`, elapsed: time.Hour, want: "waiting | waiting for its controller to see the change"},
		{name: "stale generation, degraded", spec: canary, status: `{observedGeneration: "3", phase: Degraded, abort: true}`, elapsed: time.Hour, want: "waiting | waiting for its controller to see the change"},
		{name: "a hash for a generation, as before", status: `{observedGeneration: 6d8b5f9cc, phase: Healthy}`, want: "waiting | waiting for its controller to see the change"},
		{name: "no phase", status: `{observedGeneration: "4", updatedReplicas: 2}`, elapsed: time.Hour, want: "waiting | waiting for its phase"},
		{name: "paused at a step for a person", spec: canary, status: `{observedGeneration: "4", phase: Paused, message: CanaryPauseStep, currentStepIndex: 1, pauseConditions: [{reason: CanaryPauseStep}]}`, want: "skip | paused (CanaryPauseStep) until somebody promotes it, with `kubectl argo rollouts promote model --namespace=default`: until then the new revision serves a part at most; not waited for"},
		{name: "paused at a step for a while", spec: canary, status: `{observedGeneration: "4", phase: Paused, message: CanaryPauseStep, currentStepIndex: 3, updatedReplicas: 1, pauseConditions: [{reason: CanaryPauseStep}]}`, want: "waiting | paused (CanaryPauseStep): 1 of 2 updated, 0 ready, 0 available, 3 of 4 steps done; CanaryPauseStep"},
		{name: "paused for its analysis", spec: canary, status: `{observedGeneration: "4", phase: Paused, message: InconclusiveAnalysisRun, currentStepIndex: 1, pauseConditions: [{reason: InconclusiveAnalysisRun}]}`, want: "failing InconclusiveAnalysisRun lasting | 0 of 2 updated, 0 ready, 0 available, 1 of 4 steps done; InconclusiveAnalysisRun | its analysis came to no conclusion, and it is paused"},
		{name: "paused by its specification", spec: `{paused: true}`, status: `{observedGeneration: "4", phase: Healthy}`, want: "failed Paused | paused | it is paused: its pods stay as they are"},
		{name: "blue and green, before promotion", spec: `{strategy: {blueGreen: {autoPromotionEnabled: false}}}`, status: `{observedGeneration: "4", phase: Paused, message: BlueGreenPause, pauseConditions: [{reason: BlueGreenPause}]}`, want: "skip | paused (BlueGreenPause) until somebody promotes it, with `kubectl argo rollouts promote model --namespace=default`: until then the new revision serves a part at most; not waited for"},
		{name: "blue and green, promoted after a while", spec: `{strategy: {blueGreen: {autoPromotionSeconds: 30}}}`, status: `{observedGeneration: "4", phase: Paused, message: BlueGreenPause, pauseConditions: [{reason: BlueGreenPause}]}`, want: "waiting | paused (BlueGreenPause): 0 of 1 updated, 0 ready, 0 available; BlueGreenPause"},
	},
	"leaderworkerset.x-k8s.io/v1 LeaderWorkerSet": {
		{name: "no status", spec: groups, status: `{}`, elapsed: time.Hour, want: "waiting | waiting for a first status from its controller"},
		{name: "ready", spec: groups, status: `{observedGeneration: 4, replicas: 2, readyReplicas: 2, updatedReplicas: 2, conditions: [{type: Available, status: "True"}, {type: Progressing, status: "False"}]}`, want: "ready | 2 of 2 groups updated, 2 ready"},
		{name: "progressing", spec: groups, status: `{observedGeneration: 4, replicas: 2, readyReplicas: 1, updatedReplicas: 2, conditions: [{type: Available, status: "False"}, {type: Progressing, status: "True"}]}`, want: "waiting | 2 of 2 groups updated, 1 ready"},
		{name: "degraded", spec: groups, status: `{observedGeneration: 4, replicas: 2, conditions: [{type: Available, status: "False"}, {type: Progressing, status: "True", reason: GroupsProgressing}]}`, elapsed: time.Hour, want: "waiting | 0 of 2 groups updated, 0 ready"},
		{name: "updating, and available", spec: groups, status: `{observedGeneration: 4, replicas: 2, readyReplicas: 2, updatedReplicas: 1, conditions: [{type: Available, status: "True"}]}`, want: "waiting | 1 of 2 groups updated, 2 ready"},
		{name: "the numbers are there before the condition", spec: groups, status: `{observedGeneration: 4, replicas: 2, readyReplicas: 2, updatedReplicas: 2, conditions: [{type: Progressing, status: "True"}]}`, want: "waiting | 2 of 2 groups updated, 2 ready; waiting for its condition Available"},
		{name: "stale generation", spec: groups, status: `{observedGeneration: 3, replicas: 2, readyReplicas: 2, updatedReplicas: 2, conditions: [{type: Available, status: "True"}]}`, elapsed: time.Hour, want: "waiting | waiting for its controller to see the change"},
		{name: "undated, as before", spec: groups, status: `{replicas: 2, readyReplicas: 2, updatedReplicas: 2, conditions: [{type: Available, status: "True"}]}`, want: "waiting | waiting for its controller to see the change"},
		{name: "a partition", spec: `{replicas: 2, rolloutStrategy: {rollingUpdateConfiguration: {partition: 1}}}`, status: `{observedGeneration: 4, replicas: 2, readyReplicas: 2, updatedReplicas: 1, conditions: [{type: Available, status: "True"}, {type: UpdateInProgress, status: "True"}]}`, want: "ready | 1 of 2 groups updated, 2 ready"},
	},
	"ray.io/v1 RayService": {
		{name: "no status", status: `{}`, elapsed: time.Hour, want: "waiting | waiting for a first status from its controller"},
		{name: "ready", status: `{observedGeneration: 4, serviceStatus: Running, numServeEndpoints: 2, activeServiceStatus: {rayClusterName: a, applicationStatuses: {llm: {status: RUNNING}}}, conditions: [` + readyNow + `, {type: UpgradeInProgress, status: "False"}]}`, want: "ready | 2 endpoints"},
		{name: "progressing", status: `{observedGeneration: 4, pendingServiceStatus: {rayClusterName: a}, conditions: [{type: Ready, status: "False", reason: Initializing}]}`, want: "waiting | not ready yet: Initializing"},
		{name: "a new cluster beside the one that serves", status: `{observedGeneration: 4, activeServiceStatus: {rayClusterName: a}, pendingServiceStatus: {rayClusterName: b}, conditions: [` + readyNow + `, {type: UpgradeInProgress, status: "True"}]}`, want: "waiting | a new Ray cluster is being brought up; the earlier one serves"},
		{name: "an application is being deployed", status: `{observedGeneration: 4, activeServiceStatus: {rayClusterName: a, applicationStatuses: {llm: {status: DEPLOYING, message: loading weights}}}, conditions: [` + readyNow + `]}`, want: `waiting | waiting for application "llm": DEPLOYING loading weights`},
		{name: "degraded", status: `{observedGeneration: 4, activeServiceStatus: {applicationStatuses: {llm: {status: DEPLOY_FAILED, message: "No module named 'vllm'"}}}, conditions: [{type: Ready, status: "False"}]}`, want: `failing DeployFailed lasting | application llm failed to deploy | Ray Serve cannot deploy application "llm": No module named 'vllm'`},
		{name: "an application is unhealthy, and may heal", status: `{observedGeneration: 4, activeServiceStatus: {applicationStatuses: {llm: {status: UNHEALTHY}}}, conditions: [` + readyNow + `]}`, want: `waiting | waiting for application "llm": UNHEALTHY`},
		{name: "the new one fails beside the one that serves", status: `{observedGeneration: 4, activeServiceStatus: {rayClusterName: a, applicationStatuses: {llm: {status: RUNNING}}}, pendingServiceStatus: {rayClusterName: b, applicationStatuses: {llm: {status: DEPLOY_FAILED, message: out of memory}}}, conditions: [` + readyNow + `]}`, want: `failing DeployFailed lasting | application llm failed to deploy | Ray Serve cannot deploy application "llm": out of memory`},
		{name: "stale generation", status: `{observedGeneration: 3, conditions: [` + readyNow + `]}`, elapsed: time.Hour, want: "waiting | waiting for its controller to see the change"},
		{name: "without conditions, not running", status: `{observedGeneration: 4, serviceStatus: WaitForServeDeploymentReady}`, want: "waiting | waiting for Ray Serve: WaitForServeDeploymentReady"},
		{name: "without conditions, running", status: `{observedGeneration: 4, serviceStatus: Running, numServeEndpoints: 1}`, want: "ready | 1 endpoint"},
	},
	"ray.io/v1 RayCluster": {
		{name: "no status", spec: cluster, status: `{}`, elapsed: time.Hour, want: "waiting | waiting for a first status from its controller"},
		{name: "ready", spec: cluster, status: `{observedGeneration: 4, state: ready, desiredWorkerReplicas: 2, readyWorkerReplicas: 2, conditions: [{type: HeadPodReady, status: "True"}, {type: RayClusterProvisioned, status: "True"}]}`, want: "ready | 2 of 2 workers ready"},
		{name: "progressing", spec: cluster, status: `{observedGeneration: 4, desiredWorkerReplicas: 2, conditions: [{type: HeadPodReady, status: "False", reason: ContainersNotReady}]}`, want: "waiting | 0 of 2 workers ready; waiting for its head: ContainersNotReady"},
		{name: "provisioned once, and a worker is gone", spec: cluster, status: `{observedGeneration: 4, state: ready, desiredWorkerReplicas: 2, readyWorkerReplicas: 1, conditions: [{type: HeadPodReady, status: "True"}, {type: RayClusterProvisioned, status: "True"}]}`, want: "waiting | 1 of 2 workers ready"},
		{name: "degraded", spec: cluster, status: `{observedGeneration: 4, desiredWorkerReplicas: 2, conditions: [{type: ReplicaFailure, status: "True", reason: FailedCreateWorkerPod, message: exceeded quota}]}`, want: "waiting | 0 of 2 workers ready; FailedCreateWorkerPod: exceeded quota"},
		{name: "degraded, before conditions", spec: cluster, status: `{observedGeneration: 4, state: failed, reason: name too long}`, want: "failing RayClusterFailed lasting | 0 of 0 workers ready | KubeRay says that it failed: name too long"},
		{name: "stale generation", spec: cluster, status: `{observedGeneration: 3, state: ready}`, elapsed: time.Hour, want: "waiting | waiting for its controller to see the change"},
		{name: "no state", spec: cluster, status: `{observedGeneration: 4}`, elapsed: time.Hour, want: "waiting | 0 of 0 workers ready"},
		{name: "suspended", spec: `{suspend: true}`, status: `{}`, want: "skip | suspended: it runs no pod until somebody resumes it; not waited for"},
	},
	"ray.io/v1 RayJob": {
		{name: "no status", status: `{}`, elapsed: time.Hour, want: "waiting | waiting for a first status from its controller"},
		{name: "ready", status: `{observedGeneration: 4, jobDeploymentStatus: Complete, jobStatus: SUCCEEDED}`, want: "ready | succeeded"},
		{name: "progressing", status: `{observedGeneration: 4, jobDeploymentStatus: Running, jobStatus: RUNNING}`, want: "waiting | Running RUNNING"},
		{name: "tried again", status: `{observedGeneration: 4, jobDeploymentStatus: Retrying, jobStatus: FAILED, failed: 1}`, want: "waiting | Retrying FAILED"},
		{name: "degraded", status: `{observedGeneration: 4, jobDeploymentStatus: Failed, jobStatus: FAILED, reason: AppFailed, message: exit code 1}`, want: "failed AppFailed | Failed FAILED | the job ended as Failed FAILED: exit code 1"},
		{name: "stopped", status: `{observedGeneration: 4, jobDeploymentStatus: Complete, jobStatus: STOPPED}`, want: "failed RayJobFailed | Complete STOPPED | the job ended as Complete STOPPED"},
		{name: "stale generation", status: `{observedGeneration: 3, jobDeploymentStatus: Complete, jobStatus: SUCCEEDED}`, elapsed: time.Hour, want: "waiting | waiting for its controller to see the change"},
		{name: "suspended", spec: `{suspend: true}`, status: `{}`, want: "skip | suspended: it runs nothing until somebody resumes it; not waited for"},
	},
	"jobset.x-k8s.io/v1alpha2 JobSet": {
		{name: "no status", spec: jobs, status: `{}`, elapsed: time.Hour, want: "waiting | 0 of 3 Jobs succeeded, 0 ready, 0 failed, 0 restarts"},
		{name: "ready", spec: jobs, status: `{replicatedJobsStatus: [{name: leader, succeeded: 1}, {name: worker, succeeded: 2}], conditions: [{type: Completed, status: "True", observedGeneration: 4}]}`, want: "ready | 3 of 3 Jobs succeeded, 0 ready, 0 failed, 0 restarts"},
		{name: "progressing", spec: jobs, status: `{restarts: 1, replicatedJobsStatus: [{name: leader, ready: 1}, {name: worker, ready: 1, failed: 1}]}`, elapsed: grace, want: "waiting | 0 of 3 Jobs succeeded, 2 ready, 1 failed, 1 restart"},
		{name: "degraded", spec: jobs, status: `{restarts: 3, conditions: [{type: Failed, status: "True", reason: ReachedMaxRestarts, message: jobset failed due to reaching max number of restarts, observedGeneration: 4}]}`, want: "failed ReachedMaxRestarts | 0 of 3 Jobs succeeded, 0 ready, 0 failed, 3 restarts | the JobSet failed: ReachedMaxRestarts: jobset failed due to reaching max number of restarts"},
		{name: "stale generation", spec: jobs, status: `{conditions: [{type: Completed, status: "True", observedGeneration: 3}]}`, elapsed: time.Hour, want: "waiting | 0 of 3 Jobs succeeded, 0 ready, 0 failed, 0 restarts"},
		{name: "suspended", spec: `{suspend: true}`, status: `{}`, want: "skip | suspended: it runs nothing until somebody resumes it; not waited for"},
	},
	"gateway.networking.k8s.io/v1 Gateway": {
		{name: "no status", status: `{}`, elapsed: time.Hour, want: "waiting | waiting for its controller to program it"},
		{name: "ready", status: `{conditions: [{type: Accepted, status: "True", observedGeneration: 4}, {type: Programmed, status: "True", observedGeneration: 4}]}`, want: "ready | programmed"},
		{name: "progressing", status: `{conditions: [{type: Accepted, status: "True", observedGeneration: 4}, {type: Programmed, status: "False", reason: Pending, message: waiting, observedGeneration: 4}]}`, want: "waiting | not programmed yet: Pending: waiting"},
		{name: "degraded", status: `{conditions: [{type: Accepted, status: "False", reason: InvalidParameters, message: no such class, observedGeneration: 4}]}`, elapsed: time.Hour, want: "waiting | not accepted by its controller: InvalidParameters: no such class"},
		{name: "stale generation", status: `{conditions: [{type: Programmed, status: "True", observedGeneration: 3}]}`, elapsed: time.Hour, want: "waiting | waiting for its controller to program it"},
	},
	"gateway.networking.k8s.io/v1 HTTPRoute": {
		{name: "no status", spec: `{parentRefs: [{name: front}]}`, status: `{}`, elapsed: time.Hour, want: "waiting | waiting for Gateway front to accept it"},
		{name: "ready", spec: `{parentRefs: [{name: front}]}`, status: `{parents: [` + parentOf + `{type: Accepted, status: "True", observedGeneration: 4}, {type: ResolvedRefs, status: "True", observedGeneration: 4}]}]}`, want: "ready | accepted"},
		{name: "degraded", spec: `{parentRefs: [{name: front}]}`, status: `{parents: [` + parentOf + `{type: Accepted, status: "True", observedGeneration: 4}, {type: ResolvedRefs, status: "False", reason: BackendNotFound, message: no Service classifier, observedGeneration: 4}]}]}`, elapsed: time.Hour, want: "waiting | Gateway front cannot resolve what it leads to: BackendNotFound: no Service classifier"},
		{name: "not accepted", spec: `{parentRefs: [{name: front}]}`, status: `{parents: [` + parentOf + `{type: Accepted, status: "False", reason: NoMatchingParent, observedGeneration: 4}]}]}`, want: "waiting | not accepted by Gateway front: NoMatchingParent"},
		{name: "stale generation", spec: `{parentRefs: [{name: front}]}`, status: `{parents: [` + parentOf + `{type: Accepted, status: "True", observedGeneration: 3}, {type: ResolvedRefs, status: "True", observedGeneration: 3}]}]}`, elapsed: time.Hour, want: "waiting | waiting for Gateway front to accept it"},
		{name: "stale generation of one condition", spec: `{parentRefs: [{name: front}]}`, status: `{parents: [` + parentOf + `{type: Accepted, status: "True", observedGeneration: 4}, {type: ResolvedRefs, status: "True", observedGeneration: 3}]}]}`, elapsed: time.Hour, want: "waiting | waiting for Gateway front to accept it"},
		{name: "missing condition", spec: `{parentRefs: [{name: front}]}`, status: `{parents: [` + parentOf + `]}]}`, elapsed: time.Hour, want: "waiting | waiting for Gateway front to accept it"},
	},
	"inference.networking.k8s.io/v1 InferencePool": {
		{name: "no status", status: `{}`, want: "waiting | waiting for a Gateway to accept it"},
		{name: "no status, for long", status: `{}`, elapsed: patience, want: "skip | no Gateway has taken it up, as no route leads to it: it serves nothing; not waited for any longer"},
		{name: "a placeholder", status: `{parents: [{parentRef: {kind: Status, name: default}, conditions: [{type: Accepted, status: Unknown, reason: Pending}]}]}`, want: "waiting | waiting for a Gateway to accept it"},
		{name: "ready", status: `{parents: [` + parentOf + `{type: Accepted, status: "True", observedGeneration: 4}, {type: ResolvedRefs, status: "True", observedGeneration: 4}]}]}`, want: "ready | accepted"},
		{name: "progressing", status: `{parents: [` + parentOf + `]}]}`, elapsed: time.Hour, want: "waiting | waiting for Gateway front to accept it"},
		{name: "degraded", status: `{parents: [` + parentOf + `{type: Accepted, status: "True", observedGeneration: 4}, {type: ResolvedRefs, status: "False", reason: InvalidExtensionRef, message: no endpoint picker, observedGeneration: 4}]}]}`, elapsed: time.Hour, want: "waiting | not accepted by Gateway front: InvalidExtensionRef: no endpoint picker"},
		{name: "stale generation", status: `{parents: [` + parentOf + `{type: Accepted, status: "True", observedGeneration: 3}]}]}`, elapsed: time.Hour, want: "waiting | waiting for Gateway front to accept it"},
	},
	"networking.gke.io/v1 ManagedCertificate": {
		{name: "no status", spec: domains, status: `{}`, want: "waiting | no certificate yet, model.example.com is not part of it yet"},
		{name: "ready", spec: domains, status: `{certificateStatus: Active, domainStatus: [{domain: model.example.com, status: Active}]}`, want: "ready | active"},
		{name: "progressing", spec: domains, status: `{certificateStatus: Provisioning, domainStatus: [{domain: model.example.com, status: Provisioning}]}`, want: "waiting | certificate Provisioning, model.example.com is Provisioning"},
		{name: "progressing, for long", spec: domains, status: `{certificateStatus: Provisioning, domainStatus: [{domain: model.example.com, status: FailedNotVisible}]}`, elapsed: time.Hour, want: "skip | certificate Provisioning, model.example.com is FailedNotVisible: Google issues it when its domains lead to the load balancer, which takes up to an hour; until then https does not answer; not waited for"},
		{name: "degraded", spec: domains, status: `{certificateStatus: ProvisioningFailedPermanently, domainStatus: [{domain: model.example.com, status: FailedCaaForbidden}]}`, want: "failing ProvisioningFailedPermanently lasting | certificate ProvisioningFailedPermanently, model.example.com is FailedCaaForbidden | Google does not issue the certificate: certificate ProvisioningFailedPermanently, model.example.com is FailedCaaForbidden"},
		{name: "stale generation", spec: `{domains: [model.example.com, new.example.com]}`, status: `{certificateStatus: Active, domainStatus: [{domain: model.example.com, status: Active}]}`, want: "waiting | certificate Active, new.example.com is not part of it yet"},
	},
}

func (s kindState) object(apiVersion, kind string) string {
	spec := s.spec
	if spec == "" {
		spec = "{}"
	}
	return objecttest.Text(apiVersion, kind, spec, s.status)
}

func TestKinds(t *testing.T) {
	t.Parallel()
	for of, states := range kindStates {
		apiVersion, kind, _ := strings.Cut(of, " ")
		for _, s := range states {
			t.Run(kind+", "+s.name, func(t *testing.T) {
				t.Parallel()
				u := objecttest.FromYAML(t, s.object(apiVersion, kind))
				got := text(Evaluate(u, Context{Applied: u, Changed: true, Elapsed: s.elapsed}))
				if got != s.want {
					t.Error(cmp.Diff(s.want, got))
				}
			})
		}
	}
}

// TestKindsAreNeverReadyEarly holds of every ready state that it is not the answer
// to another generation, nor is a part of it an answer.
func TestKindsAreNeverReadyEarly(t *testing.T) {
	t.Parallel()
	undated := map[string]bool{"ManagedCertificate": true} // which says of which domains it is
	for of, states := range kindStates {
		apiVersion, kind, _ := strings.Cut(of, " ")
		ready := 0
		for _, s := range states {
			if !strings.HasPrefix(s.want, "ready") {
				continue
			}
			ready++
			t.Run(kind+", "+s.name, func(t *testing.T) {
				t.Parallel()
				u := objecttest.FromYAML(t, s.object(apiVersion, kind))
				check := func(what string, c Context) {
					t.Helper()
					c.Changed, c.Elapsed = true, s.elapsed
					if r := Evaluate(u, c); r.Outcome == Ready {
						t.Errorf("%s: %s", what, text(r))
					}
				}
				applied := u.DeepCopy()
				applied.SetGeneration(5)
				if !undated[kind] && s.elapsed == 0 {
					check("of the generation before", Context{Applied: applied})
				}
				status := u.Object["status"].(map[string]any)
				for field, value := range status {
					switch field {
					case "conditions", "phase", "state", "parents", "jobDeploymentStatus", "jobStatus", "certificateStatus":
					default:
						continue
					}
					delete(status, field)
					if kind != "RayService" && kind != "RayCluster" { // which older versions of KubeRay write without conditions
						check("without "+field, Context{Applied: u})
					}
					status[field] = value
				}
				delete(u.Object, "status")
				check("without a status", Context{Applied: u})
			})
		}
		if ready == 0 {
			t.Errorf("%s is never ready", of)
		}
	}
}

// TestKindsAreDocumented holds that users are told of every kind that is waited for
// by a rule of its own.
func TestKindsAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/gpu-and-model-servers.md")
	if err != nil {
		t.Fatal(err)
	}
	for of := range kindStates {
		if _, kind, _ := strings.Cut(of, " "); !strings.Contains(string(page), "`"+kind+"`") {
			t.Errorf("the page does not name %s", of)
		}
	}
	for kind := range rules {
		if _, known := builtIn[kind.Group]; known || strings.HasSuffix(kind.Kind, "Route") || kind.Group == "inference.networking.x-k8s.io" {
			continue
		}
		if !slices.ContainsFunc(slices.Collect(maps.Keys(kindStates)), func(of string) bool {
			return strings.HasPrefix(of, kind.Group+"/") && strings.HasSuffix(of, " "+kind.Kind)
		}) {
			t.Errorf("no state of %s is tested", kind)
		}
	}
}
