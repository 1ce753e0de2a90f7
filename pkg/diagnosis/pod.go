package diagnosis

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/org/deploy-model-action/pkg/workload"
)

// podState is what is known of one pod, and since when.
type podState struct {
	*corev1.Pod
	kind     string           // of the workload
	baseline map[string]int32 // restarts from before this deploy
	marked   map[string]int32 // restarts until Mark
	pulls    map[string]*pull
	events   []Event
	runs     map[string]run       // by container, of those that run
	ended    map[string]time.Time // by run, when its log was observed to end

	finding Finding
	others  []Finding // of further containers, that prove something too
	since   time.Time // when the finding's state began
}

// pull counts the attempts to pull the image of one container.
type pull struct {
	reason, message string
	attempts        int
}

// observe takes in a new state of the pod.
func (p *podState) observe(pod *corev1.Pod, now time.Time) {
	p.Pod = pod
	p.observeRuns(now)
	if p.pulls == nil {
		p.pulls = map[string]*pull{}
	}
	for _, status := range p.statuses() {
		w := status.State.Waiting
		if w == nil || (w.Reason != "ErrImagePull" && w.Reason != "ImagePullBackOff") {
			delete(p.pulls, status.Name)
			continue
		}
		known := p.pulls[status.Name]
		if known == nil {
			known = &pull{attempts: 1}
			p.pulls[status.Name] = known
		} else if w.Reason == "ErrImagePull" && known.reason == "ImagePullBackOff" {
			known.attempts++
		}
		known.reason = w.Reason
		if w.Reason == "ErrImagePull" {
			known.message = w.Message
		}
	}
	p.refresh(now)
}

// refresh evaluates the pod again; a state that goes on keeps its beginning.
func (p *podState) refresh(now time.Time) {
	f := p.evaluate()
	if f.State != p.finding.State {
		p.since = now
	}
	p.finding = f
}

// statuses are those of all containers, init containers first.
func (p *podState) statuses() []corev1.ContainerStatus {
	return slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses)
}

// spec finds the specification of a container; nil if there is none.
func (p *podState) spec(name string) *corev1.Container {
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// notBegun reports whether the pod has a node, and none of its containers began.
func (p *podState) notBegun() bool {
	if p.Spec.NodeName == "" {
		return false
	}
	for _, status := range p.statuses() {
		w := status.State.Waiting
		if w == nil || (w.Reason != "ContainerCreating" && w.Reason != "PodInitializing") {
			return false
		}
	}
	return true
}

// succeeded reports whether the pod ended well.
func (p *podState) succeeded() bool { return p.Status.Phase == corev1.PodSucceeded }

// serves reports whether nothing of the pod is waited for.
func (p *podState) serves() bool { return workload.Ready(p.Pod) || p.succeeded() }

// unready finds the container that keeps the pod from being ready, and whether it ran.
func (p *podState) unready() (container string, ran bool) {
	for _, status := range p.statuses() {
		ended := status.State.Terminated != nil && status.State.Terminated.ExitCode == 0
		if status.Ready || ended {
			continue
		}
		return status.Name, status.State.Waiting == nil || status.RestartCount > 0
	}
	return "", false
}

// restarted reports whether the run that failed is the one before the present one.
func (p *podState) restarted(container string) bool {
	for _, status := range p.statuses() {
		if status.Name == container {
			return status.RestartCount > 0 && status.State.Terminated == nil && status.LastTerminationState.Terminated != nil
		}
	}
	return false
}
