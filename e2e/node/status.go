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

// report makes the pod's status and sends it. over tells that none of its
// containers will run again. It returns the phase that the containers' states
// mean, which is not told before all of them ended.
func (p *pod) report(ctx context.Context, object *corev1.Pod, over bool) (corev1.PodPhase, error) {
	p.reporting.Lock()
	defer p.reporting.Unlock()
	s := p.status(object, over)
	phase := s.Phase
	if ended(phase) && !ended(p.statusSent.Phase) && !over {
		s.Phase = p.statusSent.Phase
	}
	if err := p.send(ctx, s); err != nil {
		return phase, err
	}
	p.askReadiness()
	return phase, nil
}

// reportSandbox tells that the pod has its network: OnPodSandboxReady of the kubelet.
func (p *pod) reportSandbox(ctx context.Context) error {
	p.reporting.Lock()
	defer p.reporting.Unlock()
	s := *p.statusSent.DeepCopy()
	for i := range s.Conditions {
		if c := &s.Conditions[i]; c.Type == corev1.PodReadyToStartContainers {
			c.Status, c.LastTransitionTime = corev1.ConditionTrue, now()
		}
	}
	return p.send(ctx, s)
}

// reportProbe tells the result of a probe at once: SetContainerReadiness and
// SetContainerStartup of pkg/kubelet/status.
func (p *pod) reportProbe(ctx context.Context, r *run, kind string, result bool) {
	p.reporting.Lock()
	defer p.reporting.Unlock()
	s := *p.statusSent.DeepCopy()
	changed := false
	for _, list := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses} {
		for i := range list {
			c := &list[i]
			if c.ContainerID != "containerd://"+r.id {
				continue
			}
			if kind == startup {
				changed = isTrue(c.Started) != result
				c.Started = &result
			} else {
				changed = c.Ready != result
				c.Ready = result
			}
		}
	}
	if !changed || ended(s.Phase) {
		return
	}
	s.Conditions = p.conditions(p.object(), s)
	_ = p.send(ctx, s) // the next report sends it again
}

// status is what the kubelet would report of a pod now: generateAPIPodStatus
// in pkg/kubelet/kubelet_pods.go. The caller holds reporting.
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
	for _, c := range p.inits {
		s.InitContainerStatuses = append(s.InitContainerStatuses, c.status(object))
	}
	for _, c := range p.containers {
		s.ContainerStatuses = append(s.ContainerStatuses, c.status(object))
	}
	for _, c := range p.all() {
		c.shown, c.shownRunning = c.current, c.running()
	}
	slices.SortFunc(s.ContainerStatuses, func(a, b corev1.ContainerStatus) int { return strings.Compare(a.Name, b.Name) })
	s.Phase = phase(object, s, over)
	if ended(p.statusSent.Phase) {
		s.Phase = p.statusSent.Phase // for good
	}
	s.Conditions = p.conditions(object, s)
	if !over {
		return s
	}
	for i := range s.Conditions {
		if c := &s.Conditions[i]; c.Type == corev1.PodReadyToStartContainers && c.Status == corev1.ConditionTrue {
			c.Status, c.LastTransitionTime = corev1.ConditionFalse, now() // its network is gone
		}
	}
	return s
}

// status is what the kubelet would report of a container now. The caller holds the pod's mutex.
func (c *container) status(object *corev1.Pod) corev1.ContainerStatus {
	waiting := "ContainerCreating"
	if len(c.pod.inits) > 0 {
		waiting = "PodInitializing"
	}
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
	done := c.init && !c.sidecar && c.succeeded()
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

// send writes a status, if it is another one than the last. Only the kubelet's
// own part of it is written, as the kubelet does. The caller holds reporting.
func (p *pod) send(ctx context.Context, s corev1.PodStatus) error {
	old := p.statusSent
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
	p.statusSent = s
	return nil
}
