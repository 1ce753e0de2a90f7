package rollout

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// restartBudget is how many restarts a container of a new pod may have without
// being ready: a database that comes up a moment later costs one or two.
const restartBudget = 3

// track is what is known of one pod, and since when.
type track struct {
	pod      *corev1.Pod
	kind     string           // of the workload
	baseline map[string]int32 // restarts from before this deploy
	pulls    map[string]*pull
	events   []Event
	asked    time.Time // when events were read

	symptom symptom
	since   time.Time // when the symptom began
}

// pull counts the attempts to pull the image of one container.
type pull struct {
	reason, message string
	attempts        int
}

// see takes in a new state of the pod.
func (t *track) see(pod *corev1.Pod, now time.Time) {
	t.pod = pod
	if t.pulls == nil {
		t.pulls = map[string]*pull{}
	}
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		w := status.State.Waiting
		if w == nil || (w.Reason != "ErrImagePull" && w.Reason != "ImagePullBackOff") {
			delete(t.pulls, status.Name)
			continue
		}
		p := t.pulls[status.Name]
		if p == nil {
			p = &pull{attempts: 1}
			t.pulls[status.Name] = p
		} else if w.Reason == "ErrImagePull" && p.reason == "ImagePullBackOff" {
			p.attempts++
		}
		p.reason = w.Reason
		if w.Reason == "ErrImagePull" {
			p.message = w.Message
		}
	}
	t.refresh(now)
}

// refresh judges the pod again; a symptom that goes on keeps its beginning.
func (t *track) refresh(now time.Time) {
	s := t.diagnose()
	if s.key != t.symptom.key {
		t.since = now
	}
	t.symptom = s
}

// diagnose finds the worst that is wrong with the pod; init containers first,
// since nothing else begins before they end.
func (t *track) diagnose() symptom {
	var worst symptom
	take := func(s symptom) {
		if s.class > worst.class {
			worst = s
		}
	}
	for _, status := range t.pod.Status.InitContainerStatuses {
		take(t.judge(status, true))
	}
	for _, status := range t.pod.Status.ContainerStatuses {
		take(t.judge(status, false))
	}
	if worst.class > passing {
		return worst
	}
	if t.created() {
		if s := t.startSymptom(); s.class > worst.class {
			worst = s
		}
	}
	return worst
}

// created tells that the pod has a node, and none of its containers began.
func (t *track) created() bool {
	if t.pod.Spec.NodeName == "" {
		return false
	}
	for _, status := range slices.Concat(t.pod.Status.InitContainerStatuses, t.pod.Status.ContainerStatuses) {
		if status.State.Waiting == nil || (status.State.Waiting.Reason != "ContainerCreating" && status.State.Waiting.Reason != "PodInitializing") {
			return false
		}
	}
	return true
}

// startSymptom finds a volume that cannot be mounted, or a network that cannot
// be had. The pod's status says ContainerCreating only; the reason is in an event
// of the kubelet, pkg/volume/util/operationexecutor/operation_generator.go.
func (t *track) startSymptom() symptom {
	for _, e := range slices.Backward(t.events) {
		switch e.Reason {
		case "Pulling", "Pulled":
			return symptom{} // this comes after them
		case "FailedCreatePodSandBox":
			return symptom{}.is(passing, e.Reason, fmt.Sprintf("pod %q cannot be started on its node: %s", t.pod.Name, clean(e.Message, phraseLimit)), "", "sandbox")
		case "FailedMount", "FailedAttachVolume":
		default:
			continue
		}
		if what, fix, ok := missing(t.pod, e.Message); ok {
			return symptom{}.is(persisting, e.Reason, fmt.Sprintf("%s, which pod %q mounts", strings.TrimSuffix(what, ","), t.pod.Name), fix, what)
		}
		return symptom{}.is(passing, e.Reason, fmt.Sprintf("pod %q cannot mount its volumes: %s", t.pod.Name, clean(e.Message, phraseLimit)), "", "mount")
	}
	return symptom{}
}

// container finds the specification of a container.
func (t *track) container(name string) *corev1.Container {
	for _, list := range [][]corev1.Container{t.pod.Spec.InitContainers, t.pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// final tells that the pod ended for good and was not a success.
func (t *track) final() bool { return t.pod.Status.Phase == corev1.PodFailed }

// ready tells whether the pod serves.
func (t *track) ready() bool {
	for _, c := range t.pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// displaced tells that the pod ended, or is about to, for a reason that is not
// its own: evicted, preempted, its node shut down.
func displaced(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	switch pod.Status.Reason {
	case "Evicted", "Preempting", "Preempted", "NodeShutdown", "Shutdown", "Terminated", "NodeLost", "NodeAffinity", "UnexpectedAdmissionError":
		return true
	}
	// Admission by the kubelet: OutOfcpu, OutOfmemory, OutOfnvidia.com/gpu.
	return strings.HasPrefix(pod.Status.Reason, "OutOf")
}

// current returns the pods that this deploy made, oldest first. Those of
// earlier revisions, those being deleted and those that were displaced do not count.
func (d *diagnosis) current(live *unstructured.Unstructured) []*track {
	made := d.revision(live)
	var found []*track
	for _, t := range d.pods {
		pod := t.pod
		if pod.DeletionTimestamp != nil || displaced(pod) || !made(pod) {
			continue
		}
		// Controllers replace a pod that ended, and do not count it any more.
		ended := pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
		if ended && d.kind != "Job" && d.kind != "Pod" {
			continue
		}
		found = append(found, t)
	}
	slices.SortFunc(found, func(a, b *track) int {
		if c := a.pod.CreationTimestamp.Compare(b.pod.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(a.pod.Name, b.pod.Name)
	})
	return found
}

// revision returns the test whether a pod is of the revision that is live.
// While the controller has not seen that revision yet, no pod is.
func (d *diagnosis) revision(live *unstructured.Unstructured) func(*corev1.Pod) bool {
	none := func(*corev1.Pod) bool { return false }
	owned := func(uid types.UID) func(*corev1.Pod) bool {
		return func(pod *corev1.Pod) bool {
			owner := metav1.GetControllerOf(pod)
			return owner != nil && owner.UID == uid
		}
	}
	switch d.kind {
	case "Pod":
		return func(pod *corev1.Pod) bool { return pod.UID == live.GetUID() }
	case "Job", "ReplicaSet":
		return owned(live.GetUID())
	case "Deployment":
		if set := d.newReplicaSet(live); set != nil {
			return owned(set.GetUID())
		}
		// Without the right to see ReplicaSets, the Deployment's own word has to do.
		if name := namedReplicaSet(live); name != "" && d.missing["replicasets"] != "" {
			return func(pod *corev1.Pod) bool {
				owner := metav1.GetControllerOf(pod)
				return owner != nil && owner.Kind == "ReplicaSet" && owner.Name == name
			}
		}
		return none
	case "StatefulSet":
		hash, _, _ := unstructured.NestedString(live.Object, "status", "updateRevision")
		if !seenByController(live) || hash == "" {
			return none
		}
		mine := owned(live.GetUID())
		return func(pod *corev1.Pod) bool { return mine(pod) && pod.Labels["controller-revision-hash"] == hash }
	case "DaemonSet":
		// The server counts the versions of the template in an annotation, and the
		// controller copies the number to each pod: pkg/controller/daemon/util, IsPodUpdated.
		generation := live.GetAnnotations()["deprecated.daemonset.template.generation"]
		mine := owned(live.GetUID())
		return func(pod *corev1.Pod) bool {
			return mine(pod) && generation != "" && pod.Labels["pod-template-generation"] == generation
		}
	}
	return none
}

// newReplicaSet finds the ReplicaSet of the live template, as the controller
// does (FindNewReplicaSet in pkg/controller/deployment/util): the oldest whose
// template equals the Deployment's. A webhook may have changed it, so the
// revision's number is the second way.
func (d *diagnosis) newReplicaSet(live *unstructured.Unstructured) *unstructured.Unstructured {
	var byTemplate, byRevision *unstructured.Unstructured
	revision := live.GetAnnotations()["deployment.kubernetes.io/revision"]
	template := bareTemplate(live)
	for _, uid := range slices.Sorted(maps.Keys(d.sets)) {
		set := d.sets[uid]
		owner := metav1.GetControllerOf(set)
		if owner == nil || owner.UID != live.GetUID() || set.GetDeletionTimestamp() != nil {
			continue
		}
		if equality.Semantic.DeepEqual(bareTemplate(set), template) && (byTemplate == nil || earlier(set, byTemplate)) {
			byTemplate = set
		}
		if seenByController(live) && revision != "" && set.GetAnnotations()["deployment.kubernetes.io/revision"] == revision {
			byRevision = set
		}
	}
	if byTemplate != nil {
		return byTemplate
	}
	return byRevision
}

func earlier(a, b *unstructured.Unstructured) bool {
	first, second := a.GetCreationTimestamp(), b.GetCreationTimestamp()
	return first.Time.Before(second.Time)
}

// bareTemplate is a workload's pod template without what its controller adds.
func bareTemplate(o *unstructured.Unstructured) map[string]any {
	template, _, _ := unstructured.NestedMap(o.Object, "spec", "template")
	unstructured.RemoveNestedField(template, "metadata", "labels", "pod-template-hash")
	unstructured.RemoveNestedField(template, "metadata", "creationTimestamp")
	return template
}

// namedReplicaSet reads the new ReplicaSet's name from the Progressing
// condition, whose messages are those of pkg/controller/deployment/{progress,sync}.go.
func namedReplicaSet(live *unstructured.Unstructured) string {
	if !seenByController(live) {
		return ""
	}
	for _, c := range statusConditions(live) {
		if c.kind != "Progressing" {
			continue
		}
		_, after, _ := strings.Cut(c.message, `"`)
		if name, _, ok := strings.Cut(after, `"`); ok && strings.HasPrefix(name, live.GetName()+"-") {
			return name
		}
	}
	return ""
}

// seenByController tells whether the controller has seen the live generation.
func seenByController(live *unstructured.Unstructured) bool {
	seen, _, _ := unstructured.NestedInt64(live.Object, "status", "observedGeneration")
	return seen >= live.GetGeneration()
}

type statusCondition struct {
	kind, status, reason, message string
	updated                       time.Time
}

// statusConditions reads an object's status conditions.
func statusConditions(o *unstructured.Unstructured) []statusCondition {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	var all []statusCondition
	for _, item := range list {
		m, _ := item.(map[string]any)
		text := func(key string) string { s, _ := m[key].(string); return s }
		updated, _ := time.Parse(time.RFC3339, text("lastUpdateTime"))
		all = append(all, statusCondition{text("type"), text("status"), text("reason"), text("message"), updated})
	}
	return all
}

// wantedPods is how many pods the workload wants; 1 where it does not say.
func wantedPods(live *unstructured.Unstructured) int64 {
	field := "replicas"
	if live.GetKind() == "Job" {
		field = "parallelism"
	}
	if n, ok, err := unstructured.NestedInt64(live.Object, "spec", field); ok && err == nil {
		return n
	}
	if live.GetKind() == "DaemonSet" {
		n, _, _ := unstructured.NestedInt64(live.Object, "status", "desiredNumberScheduled")
		return n
	}
	return 1
}

func countOf(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}
