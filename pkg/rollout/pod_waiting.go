package rollout

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// waiting says what the new pods wait for, at most two different things.
func (d *diagnosis) waiting(live *unstructured.Unstructured, pods []suspect) string {
	var order []string
	count := map[string]int{}
	for _, s := range pods {
		text := s.waiting()
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
	if len(order) == 0 && len(pods) == 0 && d.listed && d.kind != "Pod" && d.kind != "DaemonSet" && wantedPods(live) > 0 {
		if d.target.Before == nil || d.kind == "Job" || d.kind == "ReplicaSet" {
			return "no pod yet"
		}
		return "no pod of the new revision yet"
	}
	return strings.Join(order, "; ")
}

// waiting says what the pod waits for; "" if it serves.
func (s suspect) waiting() string {
	text := s.track.waiting()
	if s.earlier && text != "" {
		return s.blockedBy(text)
	}
	return text
}

func (t *track) waiting() string {
	if t.symptom.class != healthy {
		return t.symptom.cause
	}
	if c := t.unscheduled(); c != nil {
		if c.Reason == corev1.PodReasonSchedulingGated {
			return "not to be scheduled before its scheduling gates are gone"
		}
		return "cannot be scheduled: " + schedulerSaid(c.Message)
	}
	if t.ready() || t.pod.Status.Phase == corev1.PodSucceeded {
		return ""
	}
	if t.pod.Spec.NodeName == "" {
		return "no node yet"
	}
	for i, status := range t.pod.Status.InitContainerStatuses {
		spec := t.container(status.Name)
		sidecar := spec != nil && spec.RestartPolicy != nil && *spec.RestartPolicy == corev1.ContainerRestartPolicyAlways
		if status.State.Running != nil && !sidecar {
			return fmt.Sprintf("init container %q runs (%d of %d)", status.Name, i+1, len(t.pod.Spec.InitContainers))
		}
	}
	for _, status := range t.pod.Status.ContainerStatuses {
		if text := t.containerWaits(status); text != "" {
			return text
		}
	}
	for _, gate := range t.pod.Spec.ReadinessGates {
		for _, c := range t.pod.Status.Conditions {
			if c.Type == gate.ConditionType && c.Status == corev1.ConditionTrue {
				gate.ConditionType = ""
			}
		}
		if gate.ConditionType != "" {
			return fmt.Sprintf("readiness gate %s is not true yet", gate.ConditionType)
		}
	}
	if t.kind == "Job" {
		return "" // a pod of a Job need not be ready
	}
	return "not ready yet"
}

// remedy says what to do about a pod that is not ready by no fault of its own.
func (t *track) remedy() string {
	if c := t.unscheduled(); c != nil && c.Reason == corev1.PodReasonUnschedulable {
		return needs(t.pod, c.Message)
	}
	for _, status := range t.pod.Status.ContainerStatuses {
		if status.State.Running != nil && strings.Contains(t.containerWaits(status), " probe ") {
			return "make the container pass its probe, whose answer and log say what it lacks, or raise timeout if it only needs longer"
		}
	}
	return ""
}

// containerWaits says what a container waits for.
func (t *track) containerWaits(status corev1.ContainerStatus) string {
	if status.Ready || t.kind == "Job" && status.State.Running != nil {
		return ""
	}
	switch {
	case status.State.Waiting != nil:
		for _, e := range slices.Backward(t.events) {
			if e.Reason == "Pulled" || e.Reason == "Created" {
				break
			}
			if e.Reason == "Pulling" {
				return fmt.Sprintf("pulling the image of container %q", status.Name)
			}
		}
		return fmt.Sprintf("container %q is being created", status.Name)
	case status.State.Running != nil:
		spec := t.container(status.Name)
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
		text := fmt.Sprintf("container %q runs and is not ready: %s probe %s", status.Name, strings.ToLower(kind), asks(probe))
		if answer := t.answer(status.Name, kind); answer != "" {
			return text + " answered: " + answer
		}
		return text + " has not passed yet"
	}
	return ""
}

// asks describes what a probe does.
func asks(p *corev1.Probe) string {
	switch {
	case p.HTTPGet != nil:
		return fmt.Sprintf("GET :%s%s", p.HTTPGet.Port.String(), p.HTTPGet.Path)
	case p.TCPSocket != nil:
		return fmt.Sprintf("TCP :%s", p.TCPSocket.Port.String())
	case p.GRPC != nil:
		return fmt.Sprintf("gRPC :%d", p.GRPC.Port)
	case p.Exec != nil:
		return fmt.Sprintf("command %q", clean(strings.Join(p.Exec.Command, " "), 80))
	}
	return ""
}

// answer is what the container's probe said last, from the kubelet's event
// (pkg/kubelet/prober/prober.go): "Readiness probe failed: HTTP probe failed with statuscode: 503".
func (t *track) answer(container, kind string) string {
	for _, e := range slices.Backward(t.events) {
		if e.Reason != "Unhealthy" || (e.Container != "" && e.Container != container) {
			continue
		}
		for _, verb := range []string{" probe failed: ", " probe errored and resulted in "} {
			if text, ok := strings.CutPrefix(e.Message, kind+verb); ok {
				return clean(text, phraseLimit)
			}
		}
	}
	return ""
}

// unscheduled returns the condition of a pod that no node takes.
func (t *track) unscheduled() *corev1.PodCondition {
	for i, c := range t.pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return &t.pod.Status.Conditions[i]
		}
	}
	return nil
}

// warning tells once, and again when the reason is another one, that pods
// cannot be scheduled, with what an autoscaler would need.
func (d *diagnosis) warning(pods []suspect) string {
	for _, t := range pods {
		c := t.unscheduled()
		if c == nil || c.Reason != corev1.PodReasonUnschedulable {
			continue
		}
		message := schedulerSaid(c.Message)
		// The number of nodes changes, the reasons after it stay.
		_, reasons, _ := strings.Cut(message, ": ")
		key := strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return -1
			}
			return r
		}, reasons)
		if d.warned[key] {
			return ""
		}
		d.warned[key] = true
		return fmt.Sprintf("%s: pod %q cannot be scheduled: %s; it waits; %s", kindAndName(d.target.Object), t.pod.Name, message, needs(t.pod, message))
	}
	return ""
}

// schedulerSaid takes from the scheduler's message what it says about
// preemption and claims that others could give back: it helps nobody here.
func schedulerSaid(message string) string {
	for _, rest := range []string{" preemption: ", " no new claims to deallocate", " not found"} {
		if before, _, ok := strings.Cut(message, "."+rest); ok {
			message = before
		}
	}
	return strings.TrimSuffix(clean(message, phraseLimit), ".")
}

// missingClaim is from pkg/scheduler/framework/plugins/volumebinding.
var missingClaim = regexp.MustCompile(`persistentvolumeclaim "([^"]+)" not found`)

// needs says what would make the pod schedulable. The messages are those of
// the scheduler's plugins, pkg/scheduler/framework/plugins.
func needs(pod *corev1.Pod, message string) string {
	switch {
	case strings.Contains(message, "unbound immediate PersistentVolumeClaims"):
		return fmt.Sprintf("check the StorageClass and the events of %s, which has to be bound first", claims(pod))
	case missingClaim.MatchString(message):
		return fmt.Sprintf("create PersistentVolumeClaim %q or add it to the manifests, or correct its name", missingClaim.FindStringSubmatch(message)[1])
	}
	text := "add a node with " + requests(pod)
	if len(pod.Spec.NodeSelector) > 0 {
		var labels []string
		for _, key := range slices.Sorted(maps.Keys(pod.Spec.NodeSelector)) {
			labels = append(labels, key+"="+pod.Spec.NodeSelector[key])
		}
		text += " and the labels " + strings.Join(labels, ", ")
	}
	if strings.Contains(message, "untolerated taint") {
		text += ", or give the pod a toleration for the nodes' taints"
	}
	return text + ", or let an autoscaler add it"
}

func claims(pod *corev1.Pod) string {
	var names []string
	for _, v := range pod.Spec.Volumes {
		switch {
		case v.PersistentVolumeClaim != nil:
			names = append(names, fmt.Sprintf("%q", v.PersistentVolumeClaim.ClaimName))
		case v.Ephemeral != nil:
			names = append(names, fmt.Sprintf("%q", pod.Name+"-"+v.Name))
		}
	}
	return "PersistentVolumeClaim " + strings.Join(names, ", ")
}

// requests sums what the pod asks of a node, as the scheduler does: containers
// together, or the largest init container if it asks for more.
func requests(pod *corev1.Pod) string {
	sum := corev1.ResourceList{}
	for _, c := range pod.Spec.Containers {
		for name, q := range c.Resources.Requests {
			total := sum[name]
			total.Add(q)
			sum[name] = total
		}
	}
	for _, c := range pod.Spec.InitContainers {
		for name, q := range c.Resources.Requests {
			if total := sum[name]; q.Cmp(total) > 0 {
				sum[name] = q
			}
		}
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(sum)) {
		q := sum[name]
		if q.Cmp(resource.Quantity{}) > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", q.String(), name))
		}
	}
	if len(parts) == 0 {
		return "room for a pod"
	}
	return strings.Join(parts, ", ") + " free"
}
