package diagnosis

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/redact"
	"github.com/org/deploy-model-action/pkg/workload"
)

// refusedBy are the controllers' own words before those of the API server.
var refusedBy = regexp.MustCompile(`^(?:Error creating: |[Cc]reate Pod \S+ in StatefulSet \S+ failed error: )`)

// refusalRule is what the API server answers a controller that wants to create a
// pod, and what it means; m are what was found, and its groups.
type refusalRule struct {
	find    *regexp.Regexp
	finding func(m []string) Finding
}

// refusalRules are tried in this order. The sentences are from
// k8s.io/apiserver/pkg/admission/plugin/{resourcequota,webhook/errors,policy/validating},
// k8s.io/pod-security-admission/admission and kubernetes/plugin/pkg/admission.
var refusalRules = []refusalRule{
	{regexp.MustCompile(`exceeded quota: ([^,\s]+), requested: (.+?), used: (.+?), limited: (\S+)`), func(m []string) Finding {
		return Finding{
			Severity: Persistent, State: m[1], Freed: true, Cause: fmt.Sprintf("quota %q forbids more pods: requested %s, used %s, limited to %s", m[1], m[2], m[3], m[4]),
			Fix: fmt.Sprintf("raise ResourceQuota %q, free what others use, or ask for less", m[1]),
		}
	}},
	{regexp.MustCompile(`failed quota: ([^:\s]+): (.+)`), func(m []string) Finding {
		return Finding{
			Severity: Persistent, State: m[1], Cause: fmt.Sprintf("quota %q forbids the pods: %s", m[1], m[2]),
			Fix: "set those requests and limits on every container",
		}
	}},
	{regexp.MustCompile(`violates PodSecurity "([^"]+)": (.+)`), func(m []string) Finding {
		return Finding{
			Severity: Persistent, State: m[1], Cause: fmt.Sprintf("Pod Security Standard %q of the namespace forbids the pods: %s", m[1], m[2]),
			Fix: "set the named fields of securityContext in the manifest, or relax the namespace's label pod-security.kubernetes.io/enforce",
		}
	}},
	{regexp.MustCompile(`admission webhook "([^"]+)" denied the request(?:: (.+)| without explanation)?`), func(m []string) Finding {
		message := m[2]
		if message == "" {
			message = "without explanation"
		}
		return Finding{
			Severity: Persistent, State: m[1], Cause: fmt.Sprintf("admission webhook %q denied the pods: %s", m[1], message),
			Fix: "change the manifest as the webhook asks, or ask its owner",
		}
	}},
	{regexp.MustCompile(`ValidatingAdmissionPolicy '([^']+)'(?: with binding '[^']+')? denied request: (.+)`), func(m []string) Finding {
		return Finding{
			Severity: Persistent, State: m[1], Cause: fmt.Sprintf("ValidatingAdmissionPolicy %q denied the pods: %s", m[1], m[2]),
			Fix: "change the manifest as the policy asks, or ask its owner",
		}
	}},
	{regexp.MustCompile(`failed calling webhook "([^"]+)": (.+)`), func(m []string) Finding {
		return Finding{Severity: Transient, State: m[1], Cause: fmt.Sprintf("admission webhook %q does not answer: %s", m[1], m[2])}
	}},
	{regexp.MustCompile(`error looking up service account [^/\s]+/([^:\s]+):.*not found`), func(m []string) Finding {
		return Finding{
			Severity: Persistent, State: m[1], Cause: fmt.Sprintf("ServiceAccount %q does not exist", m[1]),
			Fix: fmt.Sprintf("create ServiceAccount %q or add it to the manifests, or correct serviceAccountName", m[1]),
		}
	}},
	{regexp.MustCompile(`no PriorityClass with name (\S+) was found`), func(m []string) Finding {
		return Finding{
			Severity: Persistent, State: m[1], Cause: fmt.Sprintf("PriorityClass %q does not exist", m[1]),
			Fix: fmt.Sprintf("create PriorityClass %q, or correct priorityClassName", m[1]),
		}
	}},
	{regexp.MustCompile(`RuntimeClass "([^"]+)" not found`), func(m []string) Finding {
		return Finding{
			Severity: Persistent, State: m[1], Cause: fmt.Sprintf("RuntimeClass %q does not exist", m[1]),
			Fix: fmt.Sprintf("create RuntimeClass %q, or correct runtimeClassName", m[1]),
		}
	}},
	{regexp.MustCompile(`(?:maximum|minimum) \S+ usage per \S+ is .+`), func(m []string) Finding {
		return Finding{
			Severity: Persistent, State: "range", Cause: "a LimitRange of the namespace forbids the pods: " + m[0],
			Fix: "change the resources in the manifest, or the LimitRange",
		}
	}},
}

// refusalOf finds why a controller may not create pods.
func refusalOf(message string) Finding {
	message = refusedBy.ReplaceAllString(redact.Line(message, messageLimit), "")
	f := Finding{Severity: Transient, State: "other", Cause: "the pods cannot be created: " + message}
	if strings.Contains(message, " is forbidden") || strings.Contains(message, " is invalid") {
		f = Finding{Severity: Persistent, State: "forbidden", Cause: "the cluster forbids the pods: " + message, Fix: "change the manifest as the message asks"}
	}
	for _, rule := range refusalRules {
		if m := rule.find.FindStringSubmatch(message); m != nil {
			f = rule.finding(m)
			break
		}
	}
	f.Reason, f.State, f.Cause = "FailedCreate", "create "+f.State, redact.Line(f.Cause, 2*phraseLimit)
	return f
}

// refusal finds out whether the workload's controller may create its pods, and
// how much of a quota all of them need.
func (e *Evidence) refusal() Finding {
	f := e.forbidden()
	if m := perPod.FindStringSubmatch(f.Cause); m != nil && e.pods.Wanted > 1 {
		var all []string
		for _, one := range strings.Split(m[1], ",") {
			name, amount, _ := strings.Cut(one, "=")
			q, err := resource.ParseQuantity(amount)
			if err != nil || !q.Mul(e.pods.Wanted) {
				return f
			}
			all = append(all, name+"="+q.String())
		}
		f.Cause += fmt.Sprintf("; its %d pods need %s in all", e.pods.Wanted, strings.Join(all, ","))
		if n := e.older(); n > 0 {
			f.Cause += fmt.Sprintf(", beside %d of the earlier revision", n)
			f.Fix += ", or set maxSurge: 0"
		}
	}
	return f
}

// perPod is what one pod asks of a quota, in our own sentence.
var perPod = regexp.MustCompile(`^quota .* forbids more pods: requested (\S+), used `)

// forbidden finds what the controller says about it.
// Deployments and ReplicaSets say it in a condition, the others in events.
func (e *Evidence) forbidden() Finding {
	switch e.pods.Kind {
	case "Deployment":
		for _, c := range object.Conditions(e.object) {
			// pkg/controller/deployment/sync.go; written before the generation is observed.
			updated, _ := time.Parse(time.RFC3339, c.Updated)
			if c.Reason == "ReplicaSetCreateError" && c.Status == "False" && !updated.Before(e.since) {
				return refusalOf(c.Message)
			}
		}
		if set := e.revision.ReplicaSet(); set != nil {
			return failedCreate(set)
		}
		if e.denied["replicasets"] != "" && workload.Observed(e.object) {
			return failedCreate(e.object)
		}
	case "ReplicaSet":
		if workload.Observed(e.object) {
			return failedCreate(e.object)
		}
	case "StatefulSet", "DaemonSet", "Job":
		return e.refusalEvent()
	default:
		if set := e.revision.ReplicaSet(); set != nil {
			return failedCreate(set)
		}
	}
	return Finding{}
}

func failedCreate(u *unstructured.Unstructured) Finding {
	for _, c := range object.Conditions(u) {
		if c.Type == "ReplicaFailure" && c.Status == "True" && c.Reason == "FailedCreate" {
			return refusalOf(c.Message)
		}
	}
	return Finding{}
}

// refusalEvent takes the newest FailedCreate that no pod came after.
func (e *Evidence) refusalEvent() Finding {
	var newest Event
	for _, event := range e.events {
		if event.Reason == "FailedCreate" && event.Last.After(newest.Last) {
			newest = event
		}
	}
	if newest.Message == "" || newest.Last.Before(e.since) {
		return Finding{}
	}
	pods := int64(0)
	for _, c := range e.candidates() {
		if c.earlier {
			continue
		}
		if pods++; c.CreationTimestamp.After(newest.Last) {
			return Finding{}
		}
	}
	if pods >= e.pods.Wanted {
		return Finding{}
	}
	return refusalOf(newest.Message)
}
