package node

import (
	"fmt"
	"slices"
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

// phase is getPhase of pkg/kubelet/kubelet_pods.go.
func phase(object *corev1.Pod, s corev1.PodStatus, over bool) corev1.PodPhase {
	pending, policy := false, object.Spec.RestartPolicy
	for i, c := range s.InitContainerStatuses {
		ran := c.LastTerminationState.Terminated != nil
		switch {
		case isSidecar(object.Spec.InitContainers[i]):
			pending = pending || c.State.Running == nil && !ran || c.State.Running != nil && !isTrue(c.Started)
		case c.State.Running != nil, c.State.Waiting != nil && !ran:
			pending = true
		case c.State.Terminated != nil && c.State.Terminated.ExitCode != 0 && policy == corev1.RestartPolicyNever:
			return corev1.PodFailed
		}
	}
	waiting, running, stopped, succeeded := 0, 0, 0, 0
	for _, c := range s.ContainerStatuses {
		switch {
		case c.State.Running != nil:
			running++
		case c.State.Terminated != nil:
			stopped++
			if c.State.Terminated.ExitCode == 0 {
				succeeded++
			}
		case c.LastTerminationState.Terminated != nil:
			stopped++
		default:
			waiting++
		}
	}
	switch {
	case pending || waiting > 0:
		return corev1.PodPending
	case running > 0:
		return corev1.PodRunning
	case over && stopped == succeeded:
		return corev1.PodSucceeded
	case over:
		return corev1.PodFailed
	case policy == corev1.RestartPolicyAlways:
		return corev1.PodRunning
	case stopped == succeeded:
		return corev1.PodSucceeded
	case policy == corev1.RestartPolicyNever:
		return corev1.PodFailed
	}
	return corev1.PodRunning
}

func isSidecar(c corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// conditions are the kubelet's: pkg/kubelet/status/generate.go.
func (p *pod) conditions(object *corev1.Pod, s corev1.PodStatus) []corev1.PodCondition {
	sandbox := corev1.PodCondition{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionFalse}
	if s.PodIP != "" && !object.Spec.HostNetwork || len(s.ContainerStatuses) > 0 && s.ContainerStatuses[0].ContainerID != "" {
		sandbox.Status = corev1.ConditionTrue
	}
	containersReady := containersReady(object, s)
	ready := containersReady
	ready.Type = corev1.PodReady
	if ready.Status == corev1.ConditionTrue {
		ready = gates(object, ready)
	}
	conditions := []corev1.PodCondition{sandbox, initialised(object, s), ready, containersReady}
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

func initialised(object *corev1.Pod, s corev1.PodStatus) corev1.PodCondition {
	condition := corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue}
	var incomplete []string
	for i, c := range s.InitContainerStatuses {
		sidecar := isSidecar(object.Spec.InitContainers[i])
		if sidecar && !isTrue(c.Started) || !sidecar && !c.Ready {
			incomplete = append(incomplete, c.Name)
		}
	}
	begun := slices.ContainsFunc(s.ContainerStatuses, func(c corev1.ContainerStatus) bool { return c.ContainerID != "" })
	switch {
	case s.Phase == corev1.PodSucceeded:
		condition.Reason = "PodCompleted"
	case len(incomplete) > 0 && !begun:
		condition.Status, condition.Reason = corev1.ConditionFalse, "ContainersNotInitialized"
		condition.Message = fmt.Sprintf("containers with incomplete status: %s", incomplete)
	}
	return condition
}

func containersReady(object *corev1.Pod, s corev1.PodStatus) corev1.PodCondition {
	condition := corev1.PodCondition{Type: corev1.ContainersReady, Status: corev1.ConditionFalse}
	switch s.Phase {
	case corev1.PodSucceeded:
		condition.Reason = "PodCompleted"
		return condition
	case corev1.PodFailed:
		condition.Reason = "PodFailed"
		return condition
	}
	ready := map[string]bool{}
	for _, c := range slices.Concat(s.InitContainerStatuses, s.ContainerStatuses) {
		ready[c.Name] = c.Ready
	}
	var unready []string
	for _, c := range slices.Concat(object.Spec.InitContainers, object.Spec.Containers) {
		counts := isSidecar(c) || slices.ContainsFunc(object.Spec.Containers, func(x corev1.Container) bool { return x.Name == c.Name })
		if counts && !ready[c.Name] {
			unready = append(unready, c.Name)
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
