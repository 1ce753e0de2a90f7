package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// status is what the kubelet would report of a pod now: generateAPIPodStatus
// in pkg/kubelet/kubelet_pods.go. over tells that none of its containers will run again.
func (p *pod) status(object *corev1.Pod, over bool) corev1.PodStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := corev1.PodStatus{
		ObservedGeneration: object.Generation, HostIP: p.machine.address, HostIPs: []corev1.HostIP{{IP: p.machine.address}},
		StartTime: p.statusSent.StartTime, QOSClass: object.Status.QOSClass,
	}
	if s.StartTime == nil {
		started := now()
		s.StartTime = &started
	}
	address := p.address
	if address == "" && object.Spec.HostNetwork {
		address = p.machine.address
	}
	if address != "" {
		s.PodIP, s.PodIPs = address, []corev1.PodIP{{IP: address}}
	}
	waiting := "ContainerCreating"
	if len(p.inits) > 0 {
		waiting = "PodInitializing"
	}
	for _, c := range p.inits {
		s.InitContainerStatuses = append(s.InitContainerStatuses, c.status(object, waiting))
	}
	for _, c := range p.containers {
		s.ContainerStatuses = append(s.ContainerStatuses, c.status(object, waiting))
	}
	slices.SortFunc(s.ContainerStatuses, func(a, b corev1.ContainerStatus) int { return strings.Compare(a.Name, b.Name) })
	s.Phase = p.phase(object, s, over)
	if old := p.statusSent.Phase; old == corev1.PodFailed || old == corev1.PodSucceeded {
		s.Phase = old // for good
	}
	s.Conditions = p.conditions(object, s)
	return s
}

// status is what the kubelet would report of a container now. The caller holds the pod's mutex.
func (c *container) status(object *corev1.Pod, waiting string) corev1.ContainerStatus {
	started := c.isStarted()
	s := corev1.ContainerStatus{
		Name: c.spec.Name, Image: c.spec.Image, Ready: c.isReady(), Started: &started,
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: waiting}},
	}
	for _, v := range c.spec.VolumeMounts {
		m := corev1.VolumeMountStatus{Name: v.Name, MountPath: v.MountPath, ReadOnly: v.ReadOnly}
		if v.ReadOnly {
			disabled := corev1.RecursiveReadOnlyDisabled
			m.RecursiveReadOnly = &disabled
		}
		s.VolumeMounts = append(s.VolumeMounts, m)
	}
	if r := c.current; r != nil {
		s.Image, s.ImageID = r.shown()
		s.ContainerID, s.RestartCount = "containerd://"+r.id, r.attempt
		s.State = r.state()
		s.AllocatedResources, s.Resources = c.spec.Resources.Requests, c.spec.Resources.DeepCopy()
		if c.previous != nil {
			s.LastTerminationState = c.previous.state()
		}
	}
	// One that could not be started waits, if it is to be started at all.
	done := c.init && !c.sidecar && c.current != nil && c.current.exited && c.current.exitCode == 0
	if c.reason != "" && !done && !c.running() && object.DeletionTimestamp == nil && c.restarts(object.Spec.RestartPolicy) {
		if s.State.Terminated != nil {
			s.LastTerminationState = s.State
		}
		s.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: c.reason, Message: c.message}}
	}
	return s
}

func (r *run) state() corev1.ContainerState {
	started := metav1.NewTime(r.started).Rfc3339Copy()
	if r.started.IsZero() {
		started = metav1.Unix(0, 0) // containerd's zero, for one that never started
	}
	if !r.exited {
		return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}}
	}
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: r.exitCode, Reason: r.reason, Message: r.message, StartedAt: started,
		FinishedAt: metav1.NewTime(r.finished).Rfc3339Copy(), ContainerID: "containerd://" + r.id,
	}}
}

// phase is getPhase of pkg/kubelet/kubelet_pods.go. The caller holds mu.
func (p *pod) phase(object *corev1.Pod, s corev1.PodStatus, over bool) corev1.PodPhase {
	pending := false
	for i, c := range p.inits {
		state := s.InitContainerStatuses[i].State
		switch {
		case c.sidecar:
			pending = pending || state.Running == nil && s.InitContainerStatuses[i].LastTerminationState.Terminated == nil
		case state.Running != nil, state.Waiting != nil && s.InitContainerStatuses[i].LastTerminationState.Terminated == nil:
			pending = true
		case state.Terminated != nil && state.Terminated.ExitCode != 0 && object.Spec.RestartPolicy == corev1.RestartPolicyNever:
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
	switch policy := object.Spec.RestartPolicy; {
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

// send writes a status, if it is another one than the last. Only the kubelet's
// own part of it is written, as the kubelet does.
func (p *pod) send(ctx context.Context, s corev1.PodStatus) error {
	p.mu.Lock()
	old := p.statusSent
	p.mu.Unlock()
	if equality.Semantic.DeepEqual(old, s) {
		return nil
	}
	before, err := json.Marshal(corev1.Pod{Status: old})
	if err != nil {
		return err
	}
	after, err := json.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: p.uid}, Status: s})
	if err != nil {
		return err
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, corev1.Pod{})
	if err != nil {
		return err
	}
	if !bytes.Equal(patch, fmt.Appendf(nil, `{"metadata":{"uid":%q}}`, p.uid)) {
		_, err = p.machine.nodes.client.CoreV1().Pods(p.namespace).Patch(ctx, p.name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			if ctx.Err() == nil {
				p.machine.nodes.logf("pod %s/%s: %v", p.namespace, p.name, err)
			}
			return err
		}
	}
	p.mu.Lock()
	p.statusSent = s
	p.mu.Unlock()
	return nil
}
