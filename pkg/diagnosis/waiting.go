package diagnosis

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/redact"
)

// waiting says what the new pods wait for, at most two different things.
func (e *Evidence) waiting(pods []candidate) string {
	var order []string
	count := map[string]int{}
	for _, c := range pods {
		text := c.waiting()
		if text == "" {
			continue
		}
		if count[text] == 0 {
			order = append(order, text)
		}
		count[text]++
	}
	more := 0
	for i, text := range order {
		if i >= 2 {
			more += count[text]
		} else if n := count[text]; n > 1 {
			order[i] = fmt.Sprintf("%s (%s)", text, countOf(n, "pod"))
		}
	}
	if more > 0 {
		order = append(order[:2], countOf(more, "other pod"))
	}
	if len(order) == 0 && len(pods) == 0 && e.listed && e.pods.Kind != "Pod" && e.pods.Kind != "DaemonSet" && e.pods.Wanted > 0 {
		if e.created || e.pods.Kind == "Job" || e.pods.Kind == "ReplicaSet" {
			return "no pod yet"
		}
		return "no pod of the new revision yet"
	}
	text := strings.Join(order, "; ")
	if pod, container, ok := e.Loading(); ok && e.newest.pod == pod.UID && e.newest.text != "" && text != "" {
		text += fmt.Sprintf("; container %q says: %s", container, e.newest.text)
	}
	return text
}

// Loading is a container of a new pod that runs and is not ready, such as one that
// loads a model. What it says in its log is worth reading while nothing else is known.
func (e *Evidence) Loading() (pod PodRef, container string, ok bool) {
	for _, c := range e.candidates() {
		if c.Severity > Transient || c.serves() || c.earlier {
			continue
		}
		container, ran := c.unready()
		for _, status := range c.statuses() {
			if ran && status.Name == container && status.State.Running != nil {
				return PodRef{Namespace: c.Namespace, Name: c.Name, UID: c.UID}, container, true
			}
		}
	}
	return PodRef{}, "", false
}

// ObserveLog takes in the newest line of the log of a container that is Loading.
func (e *Evidence) ObserveLog(pod types.UID, text string) {
	e.newest.pod, e.newest.text = pod, text
}

// waiting says what the pod waits for; "" if it serves.
func (c candidate) waiting() string {
	text := c.podState.waiting()
	if c.earlier && text != "" {
		return c.blockedBy(text)
	}
	return text
}

func (p *podState) waiting() string {
	if p.finding.Severity != Healthy {
		return p.finding.Cause
	}
	if c := p.unscheduled(); c != nil {
		if c.Reason == corev1.PodReasonSchedulingGated {
			return "not to be scheduled before its scheduling gates are gone"
		}
		text := "cannot be scheduled: " + schedulerMessage(c.Message)
		if did, _ := p.scaling(); did != "" {
			text += "; " + did
		}
		return text
	}
	if p.serves() {
		return ""
	}
	if p.Spec.NodeName == "" {
		return "no node yet"
	}
	for i, status := range p.Status.InitContainerStatuses {
		spec := p.spec(status.Name)
		sidecar := spec != nil && spec.RestartPolicy != nil && *spec.RestartPolicy == corev1.ContainerRestartPolicyAlways
		if status.State.Running != nil && !sidecar {
			return fmt.Sprintf("init container %q runs (%d of %d)", status.Name, i+1, len(p.Spec.InitContainers))
		}
	}
	var texts []string
	for _, status := range p.Status.ContainerStatuses {
		if text := p.containerWaits(status); text != "" {
			texts = append(texts, text)
		}
	}
	if len(texts) > 0 {
		return strings.Join(texts, "; ")
	}
	for _, gate := range p.Spec.ReadinessGates {
		for _, c := range p.Status.Conditions {
			if c.Type == gate.ConditionType && c.Status == corev1.ConditionTrue {
				gate.ConditionType = ""
			}
		}
		if gate.ConditionType != "" {
			return fmt.Sprintf("readiness gate %s is not true yet", gate.ConditionType)
		}
	}
	if p.kind == "Job" {
		return "" // a pod of a Job need not be ready
	}
	return "not ready yet"
}

// remedy says what to do about a pod that is not ready by no fault of its own.
func (p *podState) remedy() string {
	for _, status := range p.Status.ContainerStatuses {
		if status.State.Running != nil && strings.Contains(p.containerWaits(status), " probe ") {
			return "make the container pass its probe, whose answer and log say what it lacks, or raise timeout if it only needs longer"
		}
	}
	return ""
}

// containerWaits says what a container waits for.
func (p *podState) containerWaits(status corev1.ContainerStatus) string {
	if status.Ready || p.kind == "Job" && status.State.Running != nil {
		return ""
	}
	switch {
	case status.State.Waiting != nil:
		for _, e := range slices.Backward(p.events) {
			if e.Reason == "Pulled" || e.Reason == "Created" {
				break
			}
			if e.Reason == "Pulling" {
				return fmt.Sprintf("pulling the image of container %q", status.Name)
			}
		}
		return fmt.Sprintf("container %q is being created", status.Name)
	case status.State.Running != nil:
		spec := p.spec(status.Name)
		if spec == nil {
			return ""
		}
		kind, probe := "Readiness", spec.ReadinessProbe
		if spec.StartupProbe != nil && (status.Started == nil || !*status.Started) {
			kind, probe = "Startup", spec.StartupProbe
		}
		if probe == nil {
			return ""
		}
		text := fmt.Sprintf("container %q runs and is not ready: %s probe %s", status.Name, strings.ToLower(kind), describeProbe(probe))
		if answer := p.probeAnswer(status.Name, kind); answer != "" {
			return text + " answered: " + answer
		}
		return text + " has not passed yet"
	}
	return ""
}

// describeProbe says what a probe does.
func describeProbe(p *corev1.Probe) string {
	switch {
	case p.HTTPGet != nil:
		return fmt.Sprintf("GET :%s%s", p.HTTPGet.Port.String(), p.HTTPGet.Path)
	case p.TCPSocket != nil:
		return fmt.Sprintf("TCP :%s", p.TCPSocket.Port.String())
	case p.GRPC != nil:
		return fmt.Sprintf("gRPC :%d", p.GRPC.Port)
	case p.Exec != nil:
		return fmt.Sprintf("command %q", redact.Line(strings.Join(p.Exec.Command, " "), 80))
	}
	return ""
}

// probeAnswer is what the container's probe answered last, from the kubelet's event
// (pkg/kubelet/prober/prober.go): "Readiness probe failed: HTTP probe failed with statuscode: 503".
func (p *podState) probeAnswer(container, kind string) string {
	for _, e := range slices.Backward(p.events) {
		if e.Reason != "Unhealthy" || (e.Container != "" && e.Container != container) {
			continue
		}
		for _, verb := range []string{" probe failed: ", " probe errored and resulted in "} {
			if text, ok := strings.CutPrefix(e.Message, kind+verb); ok {
				return line(text)
			}
		}
	}
	return ""
}
