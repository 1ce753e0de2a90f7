package diagnosis

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
	"github.com/org/deploy-model-action/pkg/workload"
	"github.com/org/deploy-model-action/pkg/workload/workloadtest"
)

// TestScaling holds what is said of a pod that no node takes: what an autoscaler
// did about it, and what has to be done; and that the pod which holds the only
// accelerator or volume is said to.
func TestScaling(t *testing.T) {
	t.Parallel()
	const (
		gpu       = `containers: [{name: model, image: "r.example/m:v2", resources: {requests: {nvidia.com/gpu: "1"}, limits: {nvidia.com/gpu: "1"}}}]`
		claim     = `containers: [{name: model, image: "r.example/m:v2"}], volumes: [{name: weights, persistentVolumeClaim: {claimName: weights}}]`
		lacksGPU  = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
		lacksCPU  = "0/3 nodes are available: 3 Insufficient cpu."
		cannot    = "cannot be scheduled: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu"
		add       = "add a node with 1 nvidia.com/gpu free, or let an autoscaler add it"
		recreate  = "the earlier pod holds the nvidia.com/gpu: set strategy: {type: Recreate}, or rollingUpdate: {maxSurge: 0, maxUnavailable: 1}; nothing serves in between"
		onNode    = `nodeName: node-1, `
		triggered = `pod triggered scale-up: [{https://www.googleapis.com/compute/v1/projects/p/zones/europe-west4-a/instanceGroups/gke-models-gpu-1a2b-grp 0->1 (max: 3)}]`
		adding    = "an autoscaler is adding nodes (gke-models-gpu-1a2b-grp: 0 to 1, at most 3)"
	)
	for _, tt := range []struct {
		name, strategy  string
		spec, lacks     string // of the new pod
		old             string // spec of a pod of the revision before; "": none
		reason, message string // of the newest event about the new pod
		waiting, advice string
	}{
		{name: "nobody says anything", spec: gpu, lacks: lacksGPU, waiting: cannot, advice: add},
		{name: "a node is coming", spec: gpu, lacks: lacksGPU, reason: "TriggeredScaleUp", message: triggered, waiting: cannot + "; " + adding, advice: adding},
		{name: "a node is coming, in other words", spec: gpu, lacks: lacksGPU, reason: "TriggeredScaleUp", message: "scale-up", waiting: cannot + "; an autoscaler is adding nodes", advice: "an autoscaler is adding nodes"},
		{name: "no pool fits", spec: gpu, lacks: lacksGPU, reason: "NotTriggerScaleUp", message: "pod didn't trigger scale-up: 2 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint {team: a}", waiting: cannot + "; no autoscaler adds a node: 2 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint {team: a}", advice: add},
		{name: "the pool is as large as it may be", spec: gpu, lacks: lacksGPU, reason: "NotTriggerScaleUp", message: "pod didn't trigger scale-up: 1 max node group size reached, 2 Insufficient nvidia.com/gpu", waiting: cannot + "; no autoscaler adds a node: 1 max node group size reached, 2 Insufficient nvidia.com/gpu", advice: "raise the maximum number of nodes of the pool that fits"},
		{name: "the project's quota", spec: gpu, lacks: lacksGPU, reason: "FailedScaleUp", message: "Node scale up in zones europe-west4-a associated with this pod failed: GCE quota exceeded. Pod is at risk of not being scheduled.", waiting: cannot + "; an autoscaler could not add a node: Node scale up in zones europe-west4-a associated with this pod failed: GCE quota exceeded", advice: "raise the project's Compute Engine quota in that region (Console: IAM & Admin, Quotas), or ask for another accelerator"},
		{name: "no machine is free", spec: gpu, lacks: lacksGPU, reason: "FailedScaleUp", message: "Node scale up in zones europe-west4-a associated with this pod failed: GCE out of resources. Pod is at risk of not being scheduled.", waiting: cannot + "; an autoscaler could not add a node: Node scale up in zones europe-west4-a associated with this pod failed: GCE out of resources", advice: "Google has no such machine free there at the moment: add a node pool in another zone or with another accelerator, reserve machines, or deploy again later"},
		{name: "the only accelerator", spec: gpu, lacks: lacksGPU, old: onNode + gpu, waiting: cannot, advice: recreate},
		{name: "the only accelerator, of a pool that is full", spec: gpu, lacks: lacksGPU, old: onNode + gpu, reason: "NotTriggerScaleUp", message: "pod didn't trigger scale-up: 1 max node group size reached", waiting: cannot + "; no autoscaler adds a node: 1 max node group size reached", advice: recreate},
		{name: "an earlier pod without one", spec: gpu, lacks: lacksGPU, old: onNode + claim, waiting: cannot, advice: add},
		{name: "an earlier pod without a node", spec: gpu, lacks: lacksGPU, old: gpu, waiting: cannot, advice: add},
		{name: "Recreate already", strategy: `strategy: {type: Recreate}, `, spec: gpu, lacks: lacksGPU, old: onNode + gpu, waiting: cannot, advice: add},
		{name: "what is divided among many", spec: gpu, lacks: lacksCPU, old: onNode + gpu, waiting: "cannot be scheduled: 0/3 nodes are available: 3 Insufficient cpu", advice: add},
		{name: "the only volume", spec: claim, lacks: "0/1 nodes are available: 1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode.", old: onNode + claim, waiting: "cannot be scheduled: 0/1 nodes are available: 1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode", advice: `the earlier pod holds the volume of claim "weights": set strategy: {type: Recreate}, or rollingUpdate: {maxSurge: 0, maxUnavailable: 1}; nothing serves in between`},
		{name: "the only volume, of another node", spec: onNode + claim, old: onNode + claim, reason: "FailedAttachVolume", message: `Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) old`, waiting: `pod "new" cannot mount its volumes: Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) old`, advice: `the earlier pod holds the volume of claim "weights": set strategy: {type: Recreate}, or rollingUpdate: {maxSurge: 0, maxUnavailable: 1}; nothing serves in between`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			now := objecttest.Start().Add(10 * time.Second)
			u := workloadtest.Object(t, "Deployment", 1, `{observedGeneration: 2}`, tt.strategy)
			e := NewEvidence(kube.Change{Before: u, After: u, Action: kube.Configured}, now)
			e.ObserveObject(u, now)
			status := `{phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: ContainerCreating}}}]}`
			if tt.lacks != "" {
				status = `{phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: "` + tt.lacks + `"}]}`
			}
			pods := []unstructured.Unstructured{*workloadtest.Pod{Name: "new", Owner: "new", Spec: tt.spec, Status: status}.Object(t)}
			if tt.old != "" {
				pods = append(pods, *workloadtest.Pod{Name: "old", Owner: "old", Spec: tt.old, Status: workloadtest.Ready}.Object(t))
			}
			for resource, list := range map[kube.Resource][]unstructured.Unstructured{
				kube.ReplicaSets: {*workloadtest.ReplicaSet(t, "new", "2", workloadtest.Template, `{}`)}, kube.Pods: pods,
			} {
				e.Observe(Source{kube.Selection{Resource: resource}}, kube.ListUpdate{Listed: true, All: list}, now)
			}
			if tt.reason != "" {
				e.ObservePodEvents("new", []Event{{First: now, Last: now, Reason: tt.reason, Message: tt.message}}, nil, now)
			}
			r := Evaluate(e, now, Options{})
			if diff := cmp.Diff(tt.waiting, r.Waiting); diff != "" {
				t.Error(diff)
			}
			if tt.lacks != "" && !strings.HasSuffix(r.Warning, "; it waits; "+tt.advice) {
				t.Errorf("warning %q", r.Warning)
			}
			if all, _ := e.affected(&Failure{}); len(all) != 1 || all[0].Fix != tt.advice {
				t.Errorf("%d pods; advice %q", len(all), all[0].Fix)
			}
		})
	}
}

// TestRequests holds that sidecars are counted with the containers, as the scheduler does.
func TestRequests(t *testing.T) {
	t.Parallel()
	const always = `restartPolicy: Always, `
	cpu := func(name, more, n string) string {
		return `{name: ` + name + `, ` + more + `resources: {requests: {cpu: "` + n + `"}}}`
	}
	for _, tt := range []struct{ name, init, containers, want string }{
		{"containers", "", cpu("a", "", "1") + ", " + cpu("b", "", "2"), "3 cpu free"},
		{"a sidecar", cpu("s", always, "1"), cpu("a", "", "2"), "3 cpu free"},
		{"a large init container", cpu("i", "", "7"), cpu("a", "", "2"), "7 cpu free"},
		{"a large init container behind a sidecar", cpu("s", always, "1") + ", " + cpu("i", "", "7"), cpu("a", "", "2"), "8 cpu free"},
		{"a large init container before a sidecar", cpu("i", "", "7") + ", " + cpu("s", always, "1"), cpu("a", "", "2"), "7 cpu free"},
		{"a small init container behind a sidecar", cpu("s", always, "1") + ", " + cpu("i", "", "1"), cpu("a", "", "2"), "3 cpu free"},
		{"nothing", "", `{name: a}`, "room for a pod"},
	} {
		pod := workloadtest.Pod{Name: "a", Owner: "b", Spec: `initContainers: [` + tt.init + `], containers: [` + tt.containers + `]`, Status: `{}`}.Object(t)
		if got := requests(workload.ToPods([]unstructured.Unstructured{*pod})[0]); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
