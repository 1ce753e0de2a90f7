package node

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// ownCondition tells whether a condition is the kubelet's; the scheduler and
// others write their own.
func ownCondition(kind corev1.PodConditionType) bool {
	switch kind {
	case corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady:
		return true
	}
	return false
}

// conditions are the kubelet's: pkg/kubelet/status/generate.go. The caller holds mu.
func (p *pod) conditions(object *corev1.Pod, s corev1.PodStatus) []corev1.PodCondition {
	sandbox := corev1.PodCondition{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionFalse}
	ended := s.Phase == corev1.PodSucceeded || s.Phase == corev1.PodFailed
	if p.address != "" && !ended {
		sandbox.Status = corev1.ConditionTrue
	}
	containersReady := p.containersReady(s)
	ready := containersReady
	ready.Type = corev1.PodReady
	if ready.Status == corev1.ConditionTrue {
		ready = gates(object, ready)
	}
	conditions := []corev1.PodCondition{sandbox, p.initialised(s), ready, containersReady}
	for i := range conditions {
		c := &conditions[i]
		c.ObservedGeneration, c.LastTransitionTime = object.Generation, now()
		for _, old := range p.statusSent.Conditions {
			if old.Type == c.Type && old.Status == c.Status {
				c.LastTransitionTime = old.LastTransitionTime
			}
		}
	}
	return conditions
}

func (p *pod) initialised(s corev1.PodStatus) corev1.PodCondition {
	condition := corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue}
	var incomplete []string
	for i, c := range p.inits {
		status := s.InitContainerStatuses[i]
		if c.sidecar && !isTrue(status.Started) || !c.sidecar && !status.Ready {
			incomplete = append(incomplete, status.Name)
		}
	}
	begun := false
	for _, c := range p.containers {
		begun = begun || c.current != nil
	}
	switch {
	case s.Phase == corev1.PodSucceeded:
		condition.Reason = "PodCompleted"
	case len(incomplete) > 0 && !begun:
		condition.Status, condition.Reason = corev1.ConditionFalse, "ContainersNotInitialized"
		condition.Message = fmt.Sprintf("containers with incomplete status: %s", incomplete)
	}
	return condition
}

func (p *pod) containersReady(s corev1.PodStatus) corev1.PodCondition {
	condition := corev1.PodCondition{Type: corev1.ContainersReady, Status: corev1.ConditionFalse}
	switch s.Phase {
	case corev1.PodSucceeded:
		condition.Reason = "PodCompleted"
		return condition
	case corev1.PodFailed:
		condition.Reason = "PodFailed"
		return condition
	}
	var unready []string
	for i, c := range p.inits {
		if c.sidecar && !s.InitContainerStatuses[i].Ready {
			unready = append(unready, c.spec.Name)
		}
	}
	for _, c := range p.containers {
		if !c.isReady() {
			unready = append(unready, c.spec.Name)
		}
	}
	if len(unready) == 0 {
		condition.Status = corev1.ConditionTrue
		return condition
	}
	condition.Reason, condition.Message = "ContainersNotReady", fmt.Sprintf("containers with unready status: %s", unready)
	return condition
}

// gates applies the pod's readiness gates.
func gates(object *corev1.Pod, ready corev1.PodCondition) corev1.PodCondition {
	var missing []string
	for _, gate := range object.Spec.ReadinessGates {
		found := false
		for _, c := range object.Status.Conditions {
			if c.Type != gate.ConditionType {
				continue
			}
			found = true
			if c.Status != corev1.ConditionTrue {
				missing = append(missing, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", gate.ConditionType, c.Status))
			}
		}
		if !found {
			missing = append(missing, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate.ConditionType))
		}
	}
	if len(missing) > 0 {
		ready.Status, ready.Reason, ready.Message = corev1.ConditionFalse, "ReadinessGatesNotReady", strings.Join(missing, ", ")
	}
	return ready
}
