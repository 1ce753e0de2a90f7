package rollout

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// What the API server answers a controller that wants to create a pod. From
// k8s.io/apiserver/pkg/admission/plugin/{resourcequota,webhook/errors,policy/validating},
// k8s.io/pod-security-admission/admission and kubernetes/plugin/pkg/admission.
var (
	quotaExceeded  = regexp.MustCompile(`exceeded quota: ([^,\s]+), requested: (.+?), used: (.+?), limited: (\S+)`)
	quotaUnmet     = regexp.MustCompile(`failed quota: ([^:\s]+): (.+)`)
	podSecurity    = regexp.MustCompile(`violates PodSecurity "([^"]+)": (.+)`)
	webhookDenied  = regexp.MustCompile(`admission webhook "([^"]+)" denied the request(?:: (.+)| without explanation)?`)
	policyDenied   = regexp.MustCompile(`ValidatingAdmissionPolicy '([^']+)'(?: with binding '[^']+')? denied request: (.+)`)
	webhookDown    = regexp.MustCompile(`failed calling webhook "([^"]+)": (.+)`)
	noAccount      = regexp.MustCompile(`error looking up service account [^/\s]+/([^:\s]+):.*not found`)
	noPriority     = regexp.MustCompile(`no PriorityClass with name (\S+) was found`)
	noRuntimeClass = regexp.MustCompile(`RuntimeClass "([^"]+)" not found`)
	refusedBy      = regexp.MustCompile(`^(?:Error creating: |[Cc]reate Pod \S+ in StatefulSet \S+ failed error: )`) // the controllers' own words
	outOfRange     = regexp.MustCompile(`(?:maximum|minimum) \S+ usage per \S+ is .+`)
)

// refusalSymptom judges why a controller may not create pods.
func refusalSymptom(message string) symptom {
	message = refusedBy.ReplaceAllString(clean(message, messageLimit), "")
	refused := func(c class, cause, fix, key string) symptom {
		return symptom{class: c, reason: "FailedCreate", cause: cut(cause, 2*phraseLimit), fix: fix, key: "create " + key}
	}
	match := func(r *regexp.Regexp) []string { return r.FindStringSubmatch(message) }
	if m := match(quotaExceeded); m != nil {
		return refused(persisting, fmt.Sprintf("quota %q forbids more pods: requested %s, used %s, limited to %s", m[1], m[2], m[3], m[4]),
			fmt.Sprintf("raise ResourceQuota %q, free what others use, or ask for less", m[1]), m[1])
	}
	if m := match(quotaUnmet); m != nil {
		return refused(persisting, fmt.Sprintf("quota %q forbids the pods: %s", m[1], m[2]), "set those requests and limits on every container", m[1])
	}
	if m := match(podSecurity); m != nil {
		return refused(persisting, fmt.Sprintf("Pod Security Standard %q of the namespace forbids the pods: %s", m[1], m[2]),
			"set the named fields of securityContext in the manifest, or relax the namespace's label pod-security.kubernetes.io/enforce", m[1])
	}
	if m := match(webhookDenied); m != nil {
		said := m[2]
		if said == "" {
			said = "without explanation"
		}
		return refused(persisting, fmt.Sprintf("admission webhook %q denied the pods: %s", m[1], said),
			"change the manifest as the webhook asks, or ask its owner", m[1])
	}
	if m := match(policyDenied); m != nil {
		return refused(persisting, fmt.Sprintf("ValidatingAdmissionPolicy %q denied the pods: %s", m[1], m[2]),
			"change the manifest as the policy asks, or ask its owner", m[1])
	}
	if m := match(webhookDown); m != nil {
		return refused(passing, fmt.Sprintf("admission webhook %q does not answer: %s", m[1], m[2]), "", m[1])
	}
	if m := match(noAccount); m != nil {
		return refused(persisting, fmt.Sprintf("ServiceAccount %q does not exist", m[1]),
			fmt.Sprintf("create ServiceAccount %q or add it to the manifests, or correct serviceAccountName", m[1]), m[1])
	}
	if m := match(noPriority); m != nil {
		return refused(persisting, fmt.Sprintf("PriorityClass %q does not exist", m[1]),
			fmt.Sprintf("create PriorityClass %q, or correct priorityClassName", m[1]), m[1])
	}
	if m := match(noRuntimeClass); m != nil {
		return refused(persisting, fmt.Sprintf("RuntimeClass %q does not exist", m[1]),
			fmt.Sprintf("create RuntimeClass %q, or correct runtimeClassName", m[1]), m[1])
	}
	if m := match(outOfRange); m != nil {
		return refused(persisting, "a LimitRange of the namespace forbids the pods: "+m[0], "change the resources in the manifest, or the LimitRange", "range")
	}
	if strings.Contains(message, " is forbidden") || strings.Contains(message, " is invalid") {
		return refused(persisting, "the cluster forbids the pods: "+message, "change the manifest as the message asks", "forbidden")
	}
	return refused(passing, "the pods cannot be created: "+message, "", "other")
}

// refusal finds out whether the workload's controller may create its pods.
// Deployments and ReplicaSets say it in a condition, the others in events.
func (d *diagnosis) refusal(live *unstructured.Unstructured) symptom {
	switch d.kind {
	case "Deployment":
		for _, c := range conditionsOf(live) {
			// pkg/controller/deployment/sync.go; written before the generation is observed.
			updated, _ := time.Parse(time.RFC3339, c.updated)
			if c.reason == "ReplicaSetCreateError" && c.status == "False" && !updated.Before(d.since) {
				return refusalSymptom(c.message)
			}
		}
		if set := d.newReplicaSet(live); set != nil {
			return failedCreate(set)
		}
		if d.missing["replicasets"] != "" && seenByController(live) {
			return failedCreate(live)
		}
	case "ReplicaSet":
		if seenByController(live) {
			return failedCreate(live)
		}
	case "StatefulSet", "DaemonSet", "Job":
		return d.refusalEvent(live)
	}
	return symptom{}
}

func failedCreate(o *unstructured.Unstructured) symptom {
	for _, c := range conditionsOf(o) {
		if c.kind == "ReplicaFailure" && c.status == "True" && c.reason == "FailedCreate" {
			return refusalSymptom(c.message)
		}
	}
	return symptom{}
}

// refusalEvent takes the newest FailedCreate that no pod came after.
func (d *diagnosis) refusalEvent(live *unstructured.Unstructured) symptom {
	pods := d.current(live)
	if int64(len(pods)) >= wantedPods(live) {
		return symptom{}
	}
	var newest Event
	for _, e := range d.own {
		if e.Reason == "FailedCreate" && e.Last.After(newest.Last) {
			newest = e
		}
	}
	if newest.Message == "" || newest.Last.Before(d.since) {
		return symptom{}
	}
	for _, t := range pods {
		if t.pod.CreationTimestamp.After(newest.Last) {
			return symptom{}
		}
	}
	return refusalSymptom(newest.Message)
}
