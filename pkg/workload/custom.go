package workload

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/org/deploy-model-action/pkg/object"
)

// custom is how the controller of a custom kind marks the pods that it has made,
// directly or by Deployments, StatefulSets, Jobs and other custom resources.
type custom struct {
	// labels are those of its pods; nil: its own selector's.
	labels func(u *unstructured.Unstructured) map[string]string
	// revision is the label that tells the live revision's pods, and the value of
	// it, "" while that is not known. nil: the pods that were made since the object
	// was written.
	revision func(u *unstructured.Unstructured) (label, value string)
	// role is the label that tells pods with different tasks: one task that fails
	// is a failure, whatever the others do.
	role string
	// replicaSets says that Deployments or ReplicaSets make the pods.
	replicaSets bool
}

// customs are the kinds that serve models. The labels are in their projects' APIs.
var customs = map[schema.GroupKind]custom{
	{Group: "argoproj.io", Kind: "Rollout"}: {
		revision:    status("rollouts-pod-template-hash", "currentPodHash"),
		replicaSets: true,
	},
	{Group: "serving.kserve.io", Kind: "InferenceService"}: {
		labels: named("serving.kserve.io/inferenceservice"), role: "component", replicaSets: true,
	},
	{Group: "serving.kserve.io", Kind: "InferenceGraph"}: {
		labels: named("serving.kserve.io/inferencegraph"), replicaSets: true,
	},
	{Group: "serving.kserve.io", Kind: "LLMInferenceService"}: {
		labels: named("app.kubernetes.io/name", "app.kubernetes.io/part-of", "llminferenceservice"), role: "app.kubernetes.io/component", replicaSets: true,
	},
	{Group: "serving.knative.dev", Kind: "Service"}: {
		labels:      named("serving.knative.dev/service"),
		revision:    status("serving.knative.dev/revision", "latestCreatedRevisionName"),
		replicaSets: true,
	},
	{Group: "leaderworkerset.x-k8s.io", Kind: "LeaderWorkerSet"}: {
		labels: named("leaderworkerset.sigs.k8s.io/name"), role: "leaderworkerset.sigs.k8s.io/worker-index",
	},
	{Group: "ray.io", Kind: "RayCluster"}: {labels: named("ray.io/cluster"), role: "ray.io/group"},
	// Of the clusters that these make only their status knows the names.
	{Group: "ray.io", Kind: "RayService"}: {labels: everyRay, role: "ray.io/group", revision: func(u *unstructured.Unstructured) (label, value string) {
		for _, which := range []string{"pendingServiceStatus", "activeServiceStatus"} {
			if name := object.Text(u, "status", which, "rayClusterName"); name != "" {
				return "ray.io/cluster", name
			}
		}
		return "ray.io/cluster", ""
	}},
	{Group: "ray.io", Kind: "RayJob"}: {labels: everyRay, role: "ray.io/group", revision: status("ray.io/cluster", "rayClusterName")},
	{Group: "jobset.x-k8s.io", Kind: "JobSet"}: {
		labels: named("jobset.sigs.k8s.io/jobset-name"), role: "jobset.sigs.k8s.io/replicatedjob-name",
	},
}

func customOf(u *unstructured.Unstructured) (custom, bool) {
	c, ok := customs[object.Of(u).GroupKind()]
	return c, ok
}

// named is a label with the object's name, and further ones, each with its value.
func named(label string, more ...string) func(*unstructured.Unstructured) map[string]string {
	return func(u *unstructured.Unstructured) map[string]string {
		all := map[string]string{label: u.GetName()}
		for i := 0; i+1 < len(more); i += 2 {
			all[more[i]] = more[i+1]
		}
		return all
	}
}

// everyRay are the labels of any pod of Ray.
func everyRay(*unstructured.Unstructured) map[string]string {
	return map[string]string{"ray.io/is-ray-node": "yes"}
}

// status is a label whose value for the live revision is in a field of the status.
func status(label, field string) func(*unstructured.Unstructured) (string, string) {
	return func(u *unstructured.Unstructured) (string, string) { return label, object.Text(u, "status", field) }
}

// selector selects the pods of the custom resource.
func (c custom) selector(u *unstructured.Unstructured) string {
	if c.labels == nil {
		return selector(u)
	}
	return labels.SelectorFromSet(c.labels(u)).String()
}

// includes is the test for the pods of the live revision; nil while none is known.
func (c custom) includes(u *unstructured.Unstructured) func(*corev1.Pod) bool {
	if c.revision != nil {
		label, value := c.revision(u)
		if value == "" {
			return nil
		}
		return func(pod *corev1.Pod) bool { return pod.Labels[label] == value }
	}
	since := appliedAt(u)
	return func(pod *corev1.Pod) bool { return !pod.CreationTimestamp.Time.Before(since) }
}

// replicaSet is the newest of the custom resource's live revision; nil if it is not known.
func (c custom) replicaSet(u *unstructured.Unstructured, sets []*unstructured.Unstructured) *unstructured.Unstructured {
	includes := c.includes(u)
	if !c.replicaSets || includes == nil {
		return nil
	}
	var newest *unstructured.Unstructured
	for _, set := range sets {
		like := &corev1.Pod{}
		like.Labels, like.CreationTimestamp = set.GetLabels(), set.GetCreationTimestamp()
		if set.GetDeletionTimestamp() == nil && includes(like) && (newest == nil || earlier(newest, set)) {
			newest = set
		}
	}
	return newest
}

// appliedAt is when a deploy wrote the object last, by the server's clock, to the
// second; zero if none did.
func appliedAt(u *unstructured.Unstructured) time.Time {
	for _, entry := range u.GetManagedFields() {
		if entry.Manager == object.FieldManager && entry.Subresource == "" && entry.Time != nil {
			return entry.Time.Time
		}
	}
	return time.Time{}
}
