package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
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
			return symptom{}.is(persisting, e.Reason, fmt.Sprintf("%s, which pod %q mounts", what, t.pod.Name), fix, what)
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
