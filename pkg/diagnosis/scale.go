package diagnosis

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/workload"
)

// triggered is from the cluster autoscaler's processors/status/eventing_scale_up_processor.go:
// "pod triggered scale-up: [{https://…/instanceGroups/gke-models-gpu-1a2b-grp 0->1 (max: 3)}]".
var triggered = regexp.MustCompile(`\{(\S+) (\d+)->(\d+) \(max: (\d+)\)\}`)

// scaleUp begins what is said while an autoscaler helps.
const scaleUp = "an autoscaler is adding nodes"

// scaled is the reason of an autoscaler's last event; "" if there is none.
func (p *podState) scaled() string {
	for _, e := range slices.Backward(p.events) {
		switch e.Reason {
		case "TriggeredScaleUp", "NotTriggerScaleUp", "FailedScaleUp":
			return e.Reason
		}
	}
	return ""
}

// scaling is what an autoscaler did last about a pod that no node takes, and what
// to do about it; "" if it did nothing, or nothing is to be done.
func (p *podState) scaling() (text, fix string) {
	for _, e := range slices.Backward(p.events) {
		switch e.Reason {
		case "TriggeredScaleUp":
			if m := triggered.FindStringSubmatch(e.Message); m != nil {
				return fmt.Sprintf(scaleUp+" (%s: %s to %s, at most %s)", path.Base(m[1]), m[2], m[3], m[4]), ""
			}
			return scaleUp, ""
		case "NotTriggerScaleUp":
			_, why, ok := strings.Cut(e.Message, "scale-up: ")
			if !ok {
				why = e.Message
			}
			return "no autoscaler adds a node: " + line(why), poolLacks(why)
		case "FailedScaleUp":
			why, _, _ := strings.Cut(e.Message, " Pod is at risk")
			return "an autoscaler could not add a node: " + strings.TrimSuffix(line(why), "."), poolLacks(why)
		}
	}
	return "", ""
}

// poolLacks says what to do about an autoscaler's reason. GKE's words are those of
// its visibility events and of Compute Engine behind them.
func poolLacks(why string) string {
	low := strings.ToLower(why)
	switch {
	case strings.Contains(low, "quota"):
		return "raise the project's Compute Engine quota in that region (Console: IAM & Admin, Quotas), or ask for another accelerator"
	case strings.Contains(low, "out of resources"), strings.Contains(low, "stockout"), strings.Contains(low, "resource_pool_exhausted"):
		return "Google has no such machine free there at the moment: add a node pool in another zone or with another accelerator, reserve machines, or deploy again later"
	case strings.Contains(low, "max node group size reached"), strings.Contains(low, "max cluster"):
		return "raise the maximum number of nodes of the pool that fits"
	case strings.Contains(low, "ip space exhausted"):
		return "give the pool's subnet more addresses"
	case strings.Contains(low, "service account"):
		return "give the node pool a service account that exists and may be used"
	}
	return ""
}

// insufficient is what the scheduler's plugin noderesources says of a node.
var insufficient = regexp.MustCompile(`Insufficient (\S+?)[,.;]?(?:\s|$)`)

// heldByOld says how to update a workload whose earlier pods hold what its new ones
// wait for: an accelerator, or a volume that one node, or one pod, can have. "" if
// they hold nothing.
func (e *Evidence) heldByOld(c candidate) string {
	what := e.heldResource(c)
	if what == "" {
		what = e.heldVolume(c)
	}
	if what == "" {
		return ""
	}
	const cost = "; nothing serves in between"
	switch c.kind {
	case "Deployment":
		if object.Text(e.object, "spec", "strategy", "type") == "Recreate" {
			return ""
		}
		return "the earlier pod holds " + what + ": set strategy: {type: Recreate}, or rollingUpdate: {maxSurge: 0, maxUnavailable: 1}" + cost
	case "Rollout":
		return "the earlier pod holds " + what + ": set strategy.canary.maxSurge: 0 and maxUnavailable: 1" + cost
	case "InferenceService":
		return "the earlier pod holds " + what + ": set spec.predictor.deploymentStrategy: {type: Recreate}" + cost
	}
	return ""
}

// heldResource is an extended resource, such as nvidia.com/gpu, that the pod waits
// for and an earlier pod of the workload has.
func (e *Evidence) heldResource(c candidate) string {
	condition := c.unscheduled()
	if condition == nil {
		return ""
	}
	for _, m := range insufficient.FindAllStringSubmatch(condition.Message, -1) {
		name := corev1.ResourceName(m[1])
		if !strings.Contains(m[1], "/") { // CPU and memory are divided among many
			continue
		}
		if e.earlierPod(func(pod *corev1.Pod) bool { return asks(pod, name) }) {
			return "the " + m[1]
		}
	}
	return ""
}

// heldVolume is a claim that the pod waits for and an earlier pod of the workload uses.
func (e *Evidence) heldVolume(c candidate) string {
	held := false
	if condition := c.unscheduled(); condition != nil {
		// pkg/scheduler/framework/plugins/{volumerestrictions,volumebinding,volumezone}
		held = strings.Contains(condition.Message, "ReadWriteOncePod access mode") || strings.Contains(condition.Message, "volume node affinity conflict")
	}
	for _, event := range c.events {
		// pkg/controller/volume/attachdetach/reconciler
		held = held || event.Reason == "FailedAttachVolume" && strings.HasPrefix(event.Message, "Multi-Attach error")
	}
	if !held {
		return ""
	}
	for _, claim := range claimsOf(c.Pod) {
		if e.earlierPod(func(pod *corev1.Pod) bool { return slices.Contains(claimsOf(pod), claim) }) {
			return fmt.Sprintf("the volume of claim %q", claim)
		}
	}
	return ""
}

// earlierPod reports whether a pod of the workload that is not of its live revision
// has a node, and passes the test.
func (e *Evidence) earlierPod(test func(*corev1.Pod) bool) bool {
	for _, p := range e.states {
		if p.Spec.NodeName != "" && p.Status.Phase == corev1.PodRunning && !e.revision.Includes(p.Pod) && !workload.Displaced(p.Pod) && test(p.Pod) {
			return true
		}
	}
	return false
}

func asks(pod *corev1.Pod, name corev1.ResourceName) bool {
	return slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool {
		q := c.Resources.Requests[name]
		return !q.IsZero()
	})
}

// claimsOf are the names of the claims that a pod's volumes refer to.
func claimsOf(pod *corev1.Pod) []string {
	var names []string
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			names = append(names, v.PersistentVolumeClaim.ClaimName)
		}
	}
	return names
}
