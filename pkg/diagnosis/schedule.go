package diagnosis

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// unscheduled returns the condition of a pod that no node takes.
func (p *podState) unscheduled() *corev1.PodCondition {
	for i, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}

// warning says that pods cannot be scheduled, with what an autoscaler would need,
// and what goes on as long as the reason stays.
func (e *Evidence) warning(pods []candidate) (text, state string) {
	for _, p := range pods {
		c := p.unscheduled()
		if c == nil || c.Reason != corev1.PodReasonUnschedulable {
			continue
		}
		message := schedulerMessage(c.Message)
		// The number of nodes changes, the reasons after it stay.
		_, reasons, _ := strings.Cut(message, ": ")
		state = strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return -1
			}
			return r
		}, reasons)
		if did, fix := p.scaling(); fix != "" || did != "" && !strings.HasPrefix(did, scaleUp) {
			// That nobody helps is news, also if the scheduler says the same as before.
			state += " " + p.scaled()
			message += "; " + did
		}
		return fmt.Sprintf("pod %q cannot be scheduled: %s; it waits; %s", p.Name, message, e.advice(p, c.Message)), "unschedulable " + state
	}
	return "", ""
}

// advice is what would let a pod be scheduled.
func (e *Evidence) advice(c candidate, message string) string {
	if held := e.heldByOld(c); held != "" {
		return held
	}
	did, fix := c.scaling()
	switch {
	case fix != "":
		return fix
	case strings.HasPrefix(did, scaleUp):
		return did
	}
	return e.needs(c.Pod, schedulerMessage(message))
}

// schedulerMessage takes from the scheduler's message what it says about
// preemption and claims that others could give back: it helps nobody here.
func schedulerMessage(message string) string {
	for _, rest := range []string{" preemption: ", " no new claims to deallocate", " not found"} {
		if before, _, ok := strings.Cut(message, "."+rest); ok {
			message = before
		}
	}
	return strings.TrimSuffix(line(message), ".")
}

// missingClaim is from pkg/scheduler/framework/plugins/volumebinding.
var missingClaim = regexp.MustCompile(`persistentvolumeclaim "([^"]+)" not found`)

// needs says what would make the pod schedulable. The messages are those of
// the scheduler's plugins, pkg/scheduler/framework/plugins. What holds data is
// never to be deleted for it.
func (e *Evidence) needs(pod *corev1.Pod, message string) string {
	has := func(text string) bool { return strings.Contains(message, text) }
	switch {
	case has("unbound immediate PersistentVolumeClaims"):
		return fmt.Sprintf("check the StorageClass and the events of %s, which has to be bound first", claims(pod))
	case missingClaim.MatchString(message):
		return fmt.Sprintf("create PersistentVolumeClaim %q or add it to the manifests, or correct its name", missingClaim.FindStringSubmatch(message)[1])
	case has("didn't find available persistent volumes to bind"):
		return fmt.Sprintf("create a PersistentVolume that fits %s (size, access mode, storageClassName), or name a StorageClass that makes one; a node more does not help", claims(pod))
	case has("bound to non-existent"):
		return fmt.Sprintf("look what became of the PersistentVolume of %s: its data may be on a disk that is still there, so keep the claim until you know", claims(pod))
	case has("volume node affinity conflict"), has("ReadWriteOncePod access mode"), has("no available volume zone"):
		return fmt.Sprintf("make room on the node or zone where the volume of %s is, which cannot move", claims(pod))
	case has("free ports for the requested pod ports"):
		text := "no free node has the pod's hostPort: leave hostPort away, or free it"
		if e.older() > 0 {
			text += ", or set maxSurge: 0 or strategy: {type: Recreate}, as the pods of the earlier revision have it"
		}
		return text
	}
	text := "add a node with " + requests(pod)
	if len(pod.Spec.NodeSelector) > 0 {
		var labels []string
		for _, key := range slices.Sorted(maps.Keys(pod.Spec.NodeSelector)) {
			labels = append(labels, key+"="+pod.Spec.NodeSelector[key])
		}
		text += " and the labels " + strings.Join(labels, ", ")
	}
	if has("untolerated taint") {
		text += ", or give the pod a toleration for the nodes' taints"
	}
	return text + ", or let an autoscaler add it"
}

// older is how many pods of an earlier revision are on a node.
func (e *Evidence) older() int {
	return len(e.selected(func(pod *corev1.Pod) bool {
		return !e.revision.Includes(pod) && pod.Spec.NodeName != "" && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
	}))
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

// requests sums what the pod asks of a node, as the scheduler does: containers and
// sidecars together, or the largest init container, with the sidecars that run
// before it, if that is more (k8s.io/component-helpers/resource).
func requests(pod *corev1.Pod) string {
	sum, sidecars, most := corev1.ResourceList{}, corev1.ResourceList{}, corev1.ResourceList{}
	for _, c := range pod.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			add(sidecars, c.Resources.Requests)
			continue
		}
		both := sidecars.DeepCopy()
		add(both, c.Resources.Requests)
		raise(most, both)
	}
	for _, c := range pod.Spec.Containers {
		add(sum, c.Resources.Requests)
	}
	add(sum, sidecars)
	raise(sum, most)
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

// add adds resources to a sum.
func add(sum, more corev1.ResourceList) {
	for name, q := range more {
		total := sum[name]
		total.Add(q)
		sum[name] = total
	}
}

// raise makes each resource as large as another one's at least.
func raise(most, other corev1.ResourceList) {
	for name, q := range other {
		if has := most[name]; q.Cmp(has) > 0 {
			most[name] = q
		}
	}
}
