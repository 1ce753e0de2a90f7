package readiness

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

// text makes tables of states readable.
func text(s Result) string {
	var parts []string
	switch {
	case s.Outcome == Ready:
		parts = append(parts, "ready")
	case s.Outcome == NotWaitedFor:
		parts = append(parts, "skip")
	case s.Outcome == Failed && s.Failure.Final:
		parts = append(parts, "failed "+s.Failure.Reason)
	case s.Outcome == Failed:
		parts = append(parts, "failing "+s.Failure.Reason+map[bool]string{true: " lasting"}[s.Failure.Lasting]+map[bool]string{true: " at the timeout"}[s.Failure.AtTimeout])
	default:
		parts = append(parts, "waiting")
	}
	for _, part := range []string{s.Message, s.Note, s.Warning} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if s.Failure != nil {
		parts = append(parts, s.Failure.Cause)
	}
	return strings.Join(parts, " | ")
}

const exceeded = `{type: Progressing, status: "False", reason: ProgressDeadlineExceeded, lastUpdateTime: "2000-01-01T00:00:00Z", message: 'ReplicaSet "model-1" has timed out progressing.'}`

func TestWorkload(t *testing.T) {
	t.Parallel()
	deployment := func(spec, status string) string { return objecttest.Text("apps/v1", "Deployment", spec, status) }
	set := func(spec, status string) string { return objecttest.Text("apps/v1", "StatefulSet", spec, status) }
	daemon := func(spec, status string) string { return objecttest.Text("apps/v1", "DaemonSet", spec, status) }
	tests := []struct {
		name  string
		live  string
		first bool   // it did not exist before
		stale string // the status that the apply returned
		want  string
	}{
		{"deployment, done", deployment(`{replicas: 3}`, `{observedGeneration: 4, replicas: 3, updatedReplicas: 3, readyReplicas: 3, availableReplicas: 3}`), false, "", "ready | 3 of 3 updated, 3 ready, 3 available"},
		{"deployment, status of the generation before", deployment(`{replicas: 3}`, `{observedGeneration: 3, replicas: 3, updatedReplicas: 3, readyReplicas: 3, availableReplicas: 3}`), false, "", "waiting | waiting for its controller to see the change"},
		{"deployment, no status", deployment(`{replicas: 3}`, `{}`), true, "", "waiting | waiting for its controller to see the change"},
		{"deployment, replicas is 1 if nothing is said", deployment(`{}`, `{observedGeneration: 4, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1}`), false, "", "ready | 1 of 1 updated, 1 ready, 1 available"},
		{"deployment, first new pod", deployment(`{replicas: 3}`, `{observedGeneration: 4, replicas: 4, updatedReplicas: 1, readyReplicas: 3, availableReplicas: 3}`), false, "", "waiting | 1 of 3 updated, 3 ready, 3 available"},
		{"deployment, old pods left", deployment(`{replicas: 3}`, `{observedGeneration: 4, replicas: 5, updatedReplicas: 3, readyReplicas: 5, availableReplicas: 5}`), false, "", "waiting | 3 of 3 updated, 5 ready, 5 available; waiting for 2 old pods to end"},
		{"deployment, ready and not yet available (minReadySeconds)", deployment(`{replicas: 3, minReadySeconds: 10}`, `{observedGeneration: 4, replicas: 3, updatedReplicas: 3, readyReplicas: 3, availableReplicas: 2}`), false, "", "waiting | 3 of 3 updated, 3 ready, 2 available"},
		{"deployment, scaled by an autoscaler since", deployment(`{replicas: 6}`, `{observedGeneration: 4, replicas: 6, updatedReplicas: 6, readyReplicas: 5, availableReplicas: 5}`), false, "", "waiting | 6 of 6 updated, 5 ready, 5 available"},
		{"deployment, paused", deployment(`{replicas: 3, paused: true}`, `{observedGeneration: 3, replicas: 3}`), false, "", "waiting | waiting for its controller to see the change"},
		{"deployment, paused, and its controller knows", deployment(`{replicas: 3, paused: true}`, `{observedGeneration: 4, replicas: 3, readyReplicas: 3, availableReplicas: 3}`), false, "", "failing Paused | 0 of 3 updated, 3 ready, 3 available | it is paused, so that no pod gets what was deployed"},
		{"deployment, paused, and serves what it is to serve", deployment(`{replicas: 3, paused: true}`, `{observedGeneration: 4, replicas: 3, updatedReplicas: 3, readyReplicas: 3, availableReplicas: 3}`), false, "", "ready | 3 of 3 updated, 3 ready, 3 available | paused: it serves what it is to serve, and no later change before `kubectl rollout resume`"},
		{"deployment, 0 replicas", deployment(`{replicas: 0}`, `{observedGeneration: 4}`), false, "", "ready | 0 of 0 updated, 0 ready, 0 available | replicas is 0: nothing serves"},
		{"deployment, 0 replicas and old pods", deployment(`{replicas: 0}`, `{observedGeneration: 4, replicas: 1, readyReplicas: 1, availableReplicas: 1}`), false, "", "waiting | 0 of 0 updated, 1 ready, 1 available; waiting for 1 old pod to end | replicas is 0: nothing serves"},
		{"deployment, Recreate", deployment(`{replicas: 1, strategy: {type: Recreate}}`, `{observedGeneration: 4}`), false, "", "waiting | 0 of 1 updated, 0 ready, 0 available | strategy Recreate: nothing serves between the old pods' end and the new ones' readiness"},
		{"deployment, Recreate at the first deploy", deployment(`{replicas: 1, strategy: {type: Recreate}}`, `{observedGeneration: 4}`), true, "", "waiting | 0 of 1 updated, 0 ready, 0 available"},
		{"deployment, deadline exceeded", deployment(`{replicas: 1, progressDeadlineSeconds: 60}`, `{observedGeneration: 4, replicas: 1, updatedReplicas: 1, conditions: [`+exceeded+`]}`), false, `{}`, "failing ProgressDeadlineExceeded at the timeout | 1 of 1 updated, 0 ready, 0 available | it made no progress for 60 seconds, its progressDeadlineSeconds"},
		{"deployment, deadline exceeded before this deploy", deployment(`{replicas: 1}`, `{observedGeneration: 4, replicas: 1, updatedReplicas: 1, conditions: [`+exceeded+`]}`), false, `{conditions: [` + exceeded + `]}`, "waiting | 1 of 1 updated, 0 ready, 0 available"},
		{"deployment, deadline exceeded again", deployment(`{replicas: 1}`, `{observedGeneration: 4, replicas: 1, updatedReplicas: 1, conditions: [`+strings.Replace(exceeded, "00:00:00", "00:09:00", 1)+`]}`), false, `{conditions: [` + exceeded + `]}`, "failing ProgressDeadlineExceeded at the timeout | 1 of 1 updated, 0 ready, 0 available | it made no progress for 600 seconds, its progressDeadlineSeconds"},
		{"deployment, deadline exceeded and ready since", deployment(`{replicas: 1}`, `{observedGeneration: 4, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1, conditions: [`+exceeded+`]}`), false, `{}`, "ready | 1 of 1 updated, 1 ready, 1 available"},
		{"deployment, deadline of the generation before", deployment(`{replicas: 1}`, `{observedGeneration: 3, conditions: [`+exceeded+`]}`), false, `{}`, "waiting | waiting for its controller to see the change"},

		{"statefulset, done", set(`{replicas: 2, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 0}}}`, `{observedGeneration: 4, replicas: 2, readyReplicas: 2, availableReplicas: 2, updatedReplicas: 2, currentReplicas: 2, currentRevision: b, updateRevision: b}`), false, "", "ready | 2 of 2 updated, 2 ready, 2 available"},
		{"statefulset, stale", set(`{replicas: 2}`, `{observedGeneration: 3, replicas: 2, readyReplicas: 2, updatedReplicas: 2, currentRevision: b, updateRevision: b}`), false, "", "waiting | waiting for its controller to see the change"},
		{"statefulset, second of three", set(`{replicas: 3}`, `{observedGeneration: 4, replicas: 3, readyReplicas: 2, availableReplicas: 2, updatedReplicas: 1, currentRevision: a, updateRevision: b}`), false, "", "waiting | 1 of 3 updated, 2 ready, 2 available"},
		{"statefulset, revision not current yet", set(`{replicas: 2}`, `{observedGeneration: 4, replicas: 2, readyReplicas: 2, availableReplicas: 2, updatedReplicas: 2, currentRevision: a, updateRevision: b}`), false, "", "waiting | 2 of 2 updated, 2 ready, 2 available; waiting for its controller to finish the update"},
		{"statefulset, shrinking", set(`{replicas: 1}`, `{observedGeneration: 4, replicas: 2, readyReplicas: 2, availableReplicas: 2, updatedReplicas: 1, currentRevision: b, updateRevision: b}`), false, "", "waiting | 1 of 1 updated, 2 ready, 2 available; waiting for 1 pod to end"},
		{"statefulset, minReadySeconds", set(`{replicas: 1, minReadySeconds: 9}`, `{observedGeneration: 4, replicas: 1, readyReplicas: 1, updatedReplicas: 1, currentRevision: b, updateRevision: b}`), false, "", "waiting | 1 of 1 updated, 1 ready, 0 available"},
		{"statefulset, partition", set(`{replicas: 3, updateStrategy: {rollingUpdate: {partition: 2}}}`, `{observedGeneration: 4, replicas: 3, readyReplicas: 3, availableReplicas: 3, updatedReplicas: 1, currentRevision: a, updateRevision: b}`), false, "", "ready | 1 of 3 updated, 3 ready, 3 available | partition 2: 2 pods keep the earlier revision"},
		{"statefulset, partition not reached", set(`{replicas: 3, updateStrategy: {rollingUpdate: {partition: 1}}}`, `{observedGeneration: 4, replicas: 3, readyReplicas: 3, availableReplicas: 3, updatedReplicas: 1, currentRevision: a, updateRevision: b}`), false, "", "waiting | 1 of 3 updated, 3 ready, 3 available | partition 1: 1 pod keeps the earlier revision"},
		{"statefulset, partition beyond its pods", set(`{replicas: 2, updateStrategy: {rollingUpdate: {partition: 9}}}`, `{observedGeneration: 4, replicas: 2, readyReplicas: 2, availableReplicas: 2, currentRevision: a, updateRevision: b}`), false, "", "ready | 0 of 2 updated, 2 ready, 2 available | partition 9: 2 pods keep the earlier revision"},
		{"statefulset, OnDelete", set(`{replicas: 2, updateStrategy: {type: OnDelete}}`, `{observedGeneration: 4, replicas: 2, readyReplicas: 2, availableReplicas: 2, currentRevision: a, updateRevision: b}`), false, "", "skip | 0 of 2 updated, 2 ready, 2 available | updateStrategy OnDelete: 2 pods keep the earlier revision until somebody deletes it; not waited for"},
		{"statefulset, OnDelete at the first deploy", set(`{replicas: 2, updateStrategy: {type: OnDelete}}`, `{observedGeneration: 4, replicas: 1, updatedReplicas: 1, currentRevision: a, updateRevision: a}`), true, "", "waiting | 1 of 2 updated, 0 ready, 0 available"},
		{"statefulset, 0 replicas", set(`{replicas: 0}`, `{observedGeneration: 4, currentRevision: b, updateRevision: b}`), false, "", "ready | 0 of 0 updated, 0 ready, 0 available | replicas is 0: nothing serves"},

		{"daemonset, done", daemon(`{}`, `{observedGeneration: 4, desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberReady: 2, numberAvailable: 2}`), false, "", "ready | 2 of 2 updated, 2 ready, 2 available"},
		{"daemonset, stale", daemon(`{}`, `{observedGeneration: 3, desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberReady: 2, numberAvailable: 2}`), false, "", "waiting | waiting for its controller to see the change"},
		{"daemonset, half way", daemon(`{}`, `{observedGeneration: 4, desiredNumberScheduled: 2, updatedNumberScheduled: 1, numberReady: 1, numberAvailable: 1}`), false, "", "waiting | 1 of 2 updated, 1 ready, 1 available"},
		{"daemonset, no node", daemon(`{}`, `{observedGeneration: 4, desiredNumberScheduled: 0, numberReady: 0}`), true, "", "ready | 0 of 0 updated, 0 ready, 0 available | no node matches it: nothing serves"},
		{"daemonset, OnDelete", daemon(`{updateStrategy: {type: OnDelete}}`, `{observedGeneration: 4, desiredNumberScheduled: 1, numberReady: 1, numberAvailable: 1}`), false, "", "skip | 0 of 1 updated, 1 ready, 1 available | updateStrategy OnDelete: 1 pod keeps the earlier revision until somebody deletes it; not waited for"},

		{"replicaset, done", objecttest.Text("apps/v1", "ReplicaSet", `{replicas: 2}`, `{observedGeneration: 4, replicas: 2, readyReplicas: 2, availableReplicas: 2}`), false, "", "ready | 2 of 2 there, 2 ready, 2 available"},
		{"replicaset, waiting", objecttest.Text("apps/v1", "ReplicaSet", `{replicas: 2}`, `{observedGeneration: 4, replicas: 2, readyReplicas: 1}`), false, "", "waiting | 2 of 2 there, 1 ready, 0 available"},
		{"replicaset, 0 replicas", objecttest.Text("apps/v1", "ReplicaSet", `{replicas: 0}`, `{observedGeneration: 4}`), false, "", "ready | 0 of 0 there, 0 ready, 0 available | replicas is 0: nothing serves"},
		{"replicationcontroller, done", objecttest.Text("v1", "ReplicationController", `{replicas: 1}`, `{observedGeneration: 4, replicas: 1, readyReplicas: 1, availableReplicas: 1}`), false, "", "ready | 1 of 1 there, 1 ready, 1 available"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := objecttest.FromYAML(t, tt.live)
			c := Context{Applied: o, Changed: true}
			if !tt.first {
				c.Before = o
			}
			if tt.stale != "" {
				c.Previous, _ = object.ConditionOf(objecttest.FromYAML(t, deployment(`{}`, tt.stale)), "Progressing")
			}
			if got := text(Evaluate(o, c)); got != tt.want {
				t.Error(cmp.Diff(tt.want, got))
			}
		})
	}
}

func TestOthers(t *testing.T) {
	t.Parallel()
	job := func(spec, status string) string { return objecttest.Text("batch/v1", "Job", spec, status) }
	pod := func(spec, status string) string { return objecttest.Text("v1", "Pod", spec, status) }
	custom := func(status string) string {
		return objecttest.Text("example.com/v1", "Model", "{}", status)
	}
	gateway := func(status string) string {
		return objecttest.Text("gateway.networking.k8s.io/v1", "Gateway", `{gatewayClassName: gke-l7}`, status)
	}
	route := func(status string) string {
		return objecttest.Text("gateway.networking.k8s.io/v1", "HTTPRoute", `{parentRefs: [{name: front}, {name: inner, namespace: infra, sectionName: web}]}`, status)
	}
	accepted := func(parent, value string) string {
		return `{parentRef: ` + parent + `, conditions: [{type: Accepted, status: "` + value + `", reason: NotAllowedByListeners, message: "no listener allows it", observedGeneration: 4}]}`
	}
	tests := []struct {
		name, live string
		elapsed    time.Duration
		want       string
	}{
		{"job, running", job(`{completions: 2}`, `{active: 1, succeeded: 1}`), 0, "waiting | 1 of 2 completed, 1 active, 0 failed"},
		{"job, complete", job(`{}`, `{succeeded: 1, conditions: [{type: Complete, status: "True"}]}`), 0, "ready | 1 of 1 completed, 0 active, 0 failed"},
		{"job, criteria met but not complete", job(`{}`, `{succeeded: 1, conditions: [{type: SuccessCriteriaMet, status: "True"}]}`), 0, "waiting | 1 of 1 completed, 0 active, 0 failed"},
		{"job, failed", job(`{backoffLimit: 2}`, `{failed: 3, conditions: [{type: Failed, status: "True", reason: BackoffLimitExceeded, message: Job has reached the specified backoff limit}]}`), 0, "failed BackoffLimitExceeded | 0 of 1 completed, 0 active, 3 failed | its pods failed more often than its backoffLimit of 2 allows"},
		{"job, about to fail", job(`{activeDeadlineSeconds: 60}`, `{active: 1, conditions: [{type: FailureTarget, status: "True", reason: DeadlineExceeded}]}`), 0, "failed DeadlineExceeded | 0 of 1 completed, 1 active, 0 failed | it ran longer than its activeDeadlineSeconds of 60"},
		{"job, failed by a policy", job(`{}`, `{failed: 1, conditions: [{type: Failed, status: "True", reason: PodFailurePolicy, message: "Container main failed with exit code 42"}]}`), 0, "failed PodFailurePolicy | 0 of 1 completed, 0 active, 1 failed | the Job failed: PodFailurePolicy: Container main failed with exit code 42"},
		{"job, suspended", job(`{suspend: true}`, `{conditions: [{type: Suspended, status: "True"}]}`), 0, "skip | suspended: it runs nothing until somebody resumes it; not waited for"},
		{"job, suspended after it failed", job(`{suspend: true}`, `{conditions: [{type: Failed, status: "True"}]}`), 0, "failed  | 0 of 1 completed, 0 active, 0 failed | the Job failed"},

		{"cronjob", objecttest.Text("batch/v1", "CronJob", `{schedule: "0 3 * * *"}`, `{}`), 0, "ready | scheduled 0 3 * * *"},
		{"cronjob, suspended", objecttest.Text("batch/v1", "CronJob", `{suspend: true}`, `{}`), 0, "ready | suspended | suspended: it starts no Job until somebody resumes it"},

		{"pod, no status", pod(`{restartPolicy: Always}`, `{}`), 0, "waiting | pending"},
		{"pod, pending", pod(`{restartPolicy: Always}`, `{phase: Pending}`), 0, "waiting | pending"},
		{"pod, running", pod(`{restartPolicy: Always}`, `{phase: Running, conditions: [{type: Ready, status: "False"}]}`), 0, "waiting | running, not ready"},
		{"pod, ready", pod(`{restartPolicy: Always}`, `{phase: Running, conditions: [{type: Ready, status: "True"}]}`), 0, "ready | ready"},
		{"pod, a task that runs", pod(`{restartPolicy: Never}`, `{phase: Running, conditions: [{type: Ready, status: "True"}]}`), 0, "waiting | running; waiting for its end, as its restartPolicy is Never"},
		{"pod, a task that succeeded", pod(`{restartPolicy: Never}`, `{phase: Succeeded}`), 0, "ready | succeeded"},
		{"pod, failed", pod(`{restartPolicy: Never}`, `{phase: Failed, reason: Evicted, message: "The node was low on resource: memory."}`), 0, "failed PodFailed | failed | the pod failed: Evicted: The node was low on resource: memory."},

		{"claim, bound", objecttest.Text("v1", "PersistentVolumeClaim", `{volumeName: pv-1}`, `{phase: Bound}`), 0, "ready | bound to pv-1"},
		{"claim, pending", objecttest.Text("v1", "PersistentVolumeClaim", `{}`, `{phase: Pending}`), 0, "waiting | waiting for a volume"},
		{"claim, lost", objecttest.Text("v1", "PersistentVolumeClaim", `{volumeName: pv-1}`, `{phase: Lost}`), 0, `failing ClaimLost | lost | its volume "pv-1" is gone`},

		{"service, ClusterIP", objecttest.Text("v1", "Service", `{type: ClusterIP, clusterIP: 10.0.0.7}`, `{loadBalancer: {}}`), 0, "ready | cluster IP 10.0.0.7"},
		{"service, NodePort", objecttest.Text("v1", "Service", `{type: NodePort, clusterIP: 10.0.0.7}`, `{loadBalancer: {}}`), 0, "ready | cluster IP 10.0.0.7"},
		{"service, headless", objecttest.Text("v1", "Service", `{type: ClusterIP, clusterIP: None}`, `{loadBalancer: {}}`), 0, "ready | headless"},
		{"service, a name", objecttest.Text("v1", "Service", `{type: ExternalName, externalName: db.example.com}`, `{loadBalancer: {}}`), 0, "ready | a name for db.example.com"},
		{"service, no address yet", objecttest.Text("v1", "Service", `{type: LoadBalancer}`, `{loadBalancer: {}}`), 0, "waiting | waiting for an address from the load balancer"},
		{"service, IP", objecttest.Text("v1", "Service", `{type: LoadBalancer}`, `{loadBalancer: {ingress: [{ip: 203.0.113.7, ipMode: VIP}]}}`), 0, "ready | address 203.0.113.7"},
		{"service, host name", objecttest.Text("v1", "Service", `{type: LoadBalancer}`, `{loadBalancer: {ingress: [{hostname: lb.example.com}]}}`), 0, "ready | address lb.example.com"},
		{"service, an empty entry", objecttest.Text("v1", "Service", `{type: LoadBalancer}`, `{loadBalancer: {ingress: [{}]}}`), 0, "waiting | waiting for an address from the load balancer"},
		{"service, external IPs", objecttest.Text("v1", "Service", `{type: LoadBalancer, externalIPs: [198.51.100.9]}`, `{loadBalancer: {}}`), 0, "ready | address 198.51.100.9"},

		{"ingress, no address yet", objecttest.Text("networking.k8s.io/v1", "Ingress", `{}`, `{loadBalancer: {}}`), 0, "waiting | waiting for an address from the Ingress controller"},
		{"ingress, no address for long", objecttest.Text("networking.k8s.io/v1", "Ingress", `{}`, `{loadBalancer: {}}`), 180 * time.Second, "skip | it shows no address, which some Ingress controllers never write; whether it routes is not known"},
		{"ingress, two addresses", objecttest.Text("networking.k8s.io/v1", "Ingress", `{}`, `{loadBalancer: {ingress: [{ip: 203.0.113.7}, {ip: "2001:db8::7"}]}}`), 0, "ready | address 203.0.113.7, 2001:db8::7"},

		{"gateway, untouched", gateway(`{conditions: [{type: Programmed, status: Unknown, reason: Pending, message: Waiting for controller}]}`), 0, "waiting | waiting for its controller to program it"},
		{"gateway, programmed", gateway(`{addresses: [{type: IPAddress, value: 203.0.113.7}], conditions: [{type: Programmed, status: "True", observedGeneration: 4}]}`), 0, "ready | programmed, address 203.0.113.7"},
		{"gateway, programmed for an earlier generation", gateway(`{conditions: [{type: Programmed, status: "True", observedGeneration: 3}]}`), 0, "waiting | waiting for its controller to program it"},
		{"gateway, not programmed", gateway(`{conditions: [{type: Programmed, status: "False", reason: AddressNotAssigned, message: no address, observedGeneration: 4}]}`), 0, "waiting | not programmed yet: AddressNotAssigned: no address"},
		{"gateway, not accepted", gateway(`{conditions: [{type: Accepted, status: "False", reason: Invalid, message: bad listener, observedGeneration: 4}]}`), 0, "waiting | not accepted by its controller: Invalid: bad listener"},

		{"route, nobody answers", route(`{parents: []}`), 0, "waiting | waiting for Gateway front to accept it"},
		{"route, one of two", route(`{parents: [` + accepted(`{name: front}`, "True") + `]}`), 0, "waiting | waiting for Gateway inner to accept it"},
		{"route, refused", route(`{parents: [` + accepted(`{name: front, kind: Gateway, group: gateway.networking.k8s.io}`, "False") + `]}`), 0, "waiting | not accepted by Gateway front: NotAllowedByListeners: no listener allows it"},
		{"route, accepted", route(`{parents: [` + accepted(`{name: front}`, "True") + `, ` + accepted(`{name: inner, namespace: infra, sectionName: web}`, "True") + `]}`), 0, "ready | accepted"},
		{"route, accepted for another section", route(`{parents: [` + accepted(`{name: front}`, "True") + `, ` + accepted(`{name: inner, namespace: infra, sectionName: api}`, "True") + `]}`), 0, "waiting | waiting for Gateway inner to accept it"},

		{"definition, established", objecttest.Text("apiextensions.k8s.io/v1", "CustomResourceDefinition", `{}`, `{conditions: [{type: NamesAccepted, status: "True"}, {type: Established, status: "True"}]}`), 0, "ready | established"},
		{"definition, not yet", objecttest.Text("apiextensions.k8s.io/v1", "CustomResourceDefinition", `{}`, `{conditions: [{type: NamesAccepted, status: "True"}]}`), 0, "waiting | waiting to be established"},
		{"definition, names taken", objecttest.Text("apiextensions.k8s.io/v1", "CustomResourceDefinition", `{}`, `{conditions: [{type: NamesAccepted, status: "False", reason: ListKindConflict, message: '"ModelList" is already in use'}]}`), 0, `failing NamesNotAccepted | its names are not accepted | its names are not accepted: ListKindConflict: "ModelList" is already in use`},

		{"custom, no status just now", custom(`{}`), time.Second, "waiting | waiting for a first status"},
		{"custom, no status for a while", custom(`{}`), grace, "skip | " + unknown},
		{"custom, a status without a condition Ready", custom(`{observedGeneration: 4, phase: Failed}`), time.Second, "waiting | waiting for a condition Ready"},
		{"custom, a status without a condition Ready, for a while", custom(`{observedGeneration: 4, phase: Failed}`), grace, "skip | " + unknown},
		{"custom, ready", custom(`{observedGeneration: 4, conditions: [{type: Ready, status: "True"}]}`), 0, "ready | ready"},
		{"custom, ready of the generation before", custom(`{observedGeneration: 3, conditions: [{type: Ready, status: "True"}]}`), 0, "waiting | waiting for its controller to see the change"},
		{"custom, condition of the generation before", custom(`{conditions: [{type: Ready, status: "True", observedGeneration: 3}]}`), 0, "waiting | waiting for its controller to see the change"},
		{"custom, ready as before, of no generation", custom(`{conditions: [{type: Ready, status: "True"}]}`), time.Second, "waiting | waiting for its controller to see the change"},
		{"custom, ready as before, for a while", custom(`{conditions: [{type: Ready, status: "True"}]}`), grace, "ready | ready"},
		{"custom, not ready", custom(`{observedGeneration: 4, conditions: [{type: Ready, status: "False", reason: Loading, message: model is loading}]}`), 0, "waiting | not ready yet: Loading: model is loading"},
		{"custom, in progress", custom(`{observedGeneration: 4, conditions: [{type: Reconciling, status: "True"}]}`), 0, "waiting | in progress"},
		{"custom, stalled", custom(`{observedGeneration: 4, conditions: [{type: Stalled, status: "True", reason: BadSpec, message: no such runtime}]}`), 0, "failing Stalled | no such runtime | its controller gave up: no such runtime"},
		{"custom, a status of another shape", custom(`{observedGeneration: 4, conditions: none}`), grace, "skip | " + unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := objecttest.FromYAML(t, tt.live)
			got := text(Evaluate(o, Context{Applied: o, Changed: true, Elapsed: tt.elapsed}))
			if got != tt.want {
				t.Error(cmp.Diff(tt.want, got))
			}
		})
	}
}

// unknown is what is said of a kind of which nobody knows when it is ready.
const unknown = `not waited for: its status has no condition Ready, so that nobody knows when it is; say it with the annotation deploy-model-action/ready-when, or deploy-model-action/wait: "false"`

func TestRuleFor(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{
		"v1/ConfigMap": false, "v1/Secret": false, "v1/Namespace": false, "autoscaling/v2/HorizontalPodAutoscaler": false,
		"policy/v1/PodDisruptionBudget": false, "rbac.authorization.k8s.io/v1/Role": false, "networking.k8s.io/v1/NetworkPolicy": false,
		"apps/v1/Deployment": true, "networking.gke.io/v1/ManagedCertificate": true, "gateway.networking.k8s.io/v1/GatewayClass": true,
		"snapshot.storage.k8s.io/v1/VolumeSnapshot": true, "cloud.google.com/v1/BackendConfig": false, "monitoring.coreos.com/v1/PodMonitor": false,
	}
	for name, want := range tests {
		i := strings.LastIndex(name, "/")
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": name[:i], "kind": name[i+1:]}}
		if got := ruleFor(o) != nil; got != want {
			t.Errorf("%s is waited for: %v, want %v", name, got, want)
		}
	}
}

// TestAnyShape holds that no status, whatever its shape, brings a rule down.
func TestAnyShape(t *testing.T) {
	t.Parallel()
	for kind := range rules {
		for _, status := range []string{`{}`, `[]`, `7`, `{conditions: {}}`, `{conditions: [7, {type: 9}, null]}`, `{observedGeneration: "4", loadBalancer: 4, parents: [null, {conditions: 3}], addresses: [1]}`} {
			o := objecttest.FromYAML(t, objecttest.Text(kind.Group+"/v1", kind.Kind, `{replicas: many, parentRefs: [3, {name: 4}], ports: [{}]}`, status))
			o.SetGroupVersionKind(kind.WithVersion("v1"))
			_ = Evaluate(o, Context{Applied: o})
			_ = Evaluate(o, Context{})
		}
	}
}

// TestOfNobody holds that an object can be looked at as it is, whoever wrote it and
// whenever, as it is before a deploy.
func TestOfNobody(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, object, want string
	}{
		{"served", objecttest.Text("apps/v1", "Deployment", `{replicas: 1}`, `{observedGeneration: 4, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1}`), "ready | 1 of 1 updated, 1 ready, 1 available"},
		{"did not", objecttest.Text("apps/v1", "Deployment", `{replicas: 1}`, `{observedGeneration: 4, replicas: 1, updatedReplicas: 1}`), "waiting | 1 of 1 updated, 0 ready, 0 available"},
		{"had failed", objecttest.Text("apps/v1", "Deployment", `{replicas: 1}`, `{observedGeneration: 4, replicas: 1, updatedReplicas: 1, conditions: [`+exceeded+`]}`), "failing ProgressDeadlineExceeded at the timeout | 1 of 1 updated, 0 ready, 0 available | it made no progress for 600 seconds, its progressDeadlineSeconds"},
		{"nobody looks at it", objecttest.Text("example.com/v1", "Model", `{}`, `{}`), "skip | " + unknown},
		{"knows no readiness", objecttest.Text("v1", "ConfigMap", `{}`, `{}`), "skip"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := text(Evaluate(objecttest.FromYAML(t, tt.object), Context{})); got != tt.want {
				t.Error(cmp.Diff(tt.want, got))
			}
		})
	}
}

// TestPausedAndScaled holds that what is paused is scaled as ever, and waited for.
func TestPausedAndScaled(t *testing.T) {
	t.Parallel()
	deployment := func(replicas, image, status string) *unstructured.Unstructured {
		return objecttest.FromYAML(t, objecttest.Text("apps/v1", "Deployment", `{replicas: `+replicas+`, paused: true, template: {spec: {containers: [{name: m, image: `+image+`}]}}}`, status))
	}
	for name, tt := range map[string]struct{ image, status, want string }{
		"more pods of the same template": {"m:1", `{observedGeneration: 4, replicas: 2, updatedReplicas: 2, readyReplicas: 1}`, "waiting | 2 of 3 updated, 1 ready, 0 available"},
		"from none":                      {"m:1", `{observedGeneration: 4}`, "waiting | 0 of 3 updated, 0 ready, 0 available"},
		"another template":               {"m:2", `{observedGeneration: 4}`, "failing Paused | 0 of 3 updated, 0 ready, 0 available | it is paused, so that no pod gets what was deployed"},
		"with pods of an older template": {"m:1", `{observedGeneration: 4, replicas: 2, updatedReplicas: 0}`, "failing Paused | 0 of 3 updated, 0 ready, 0 available | it is paused, so that no pod gets what was deployed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := text(Evaluate(deployment("3", tt.image, tt.status), Context{Before: deployment("2", "m:1", `{}`), Changed: true}))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestPaused holds who is said to have paused a Deployment, and what to do.
func TestPaused(t *testing.T) {
	t.Parallel()
	const resume = "resume it, and deploy again: kubectl rollout resume deployment/model --namespace=default"
	for name, tt := range map[string]struct{ managed, cause, fix string }{
		"kubectl":      {`[{manager: kubectl-rollout, operation: Update, time: "2026-11-28T09:00:00Z", fieldsV1: {"f:spec": {"f:paused": {}}}}]`, `it is paused, so that no pod gets what was deployed: "kubectl-rollout" set spec.paused at 2026-11-28T09:00:00Z`, resume},
		"the manifest": {`[{manager: deploy-model-action, operation: Apply, time: "2026-11-28T09:00:00Z", fieldsV1: {"f:spec": {"f:paused": {}}}}]`, "it is paused, so that no pod gets what was deployed: its manifest says so", "take spec.paused out of the manifest"},
		"nobody knows": {`[]`, "it is paused, so that no pod gets what was deployed", resume},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := objecttest.FromYAML(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: model, namespace: default, generation: 4, managedFields: `+tt.managed+`}, spec: {paused: true}, status: {observedGeneration: 4, replicas: 1}}`)
			r := Evaluate(u, Context{})
			if r.Outcome != Failed || r.Failure.Cause != tt.cause || r.Failure.Fix != tt.fix {
				t.Errorf("%+v, failure %+v", r, r.Failure)
			}
		})
	}
}
