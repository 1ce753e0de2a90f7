package rollout

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// state is what an object's own status tells.
type state struct {
	ready   bool
	skip    bool          // it is not waited for, and warning says why
	message string        // what is there, and what is missing
	note    string        // said once
	warning string        // said once, loudly
	failure *Failure      // it cannot become ready, as its controller says
	final   bool          // and no time heals it
	again   time.Duration // when to judge again without a change; 0: only on change
}

// view is what a state is judged by.
type view struct {
	live    *unstructured.Unstructured
	target  Target
	elapsed time.Duration // since the wait began
	// stale is the condition Progressing of before this rollout.
	stale condition
}

// rules judge the built-in kinds that have a notion of ready.
var rules = map[schema.GroupKind]func(view) state{
	{Group: "apps", Kind: "Deployment"}:                               deploymentState,
	{Group: "apps", Kind: "StatefulSet"}:                              statefulSetState,
	{Group: "apps", Kind: "DaemonSet"}:                                daemonSetState,
	{Group: "apps", Kind: "ReplicaSet"}:                               replicaSetState,
	{Kind: "ReplicationController"}:                                   replicaSetState,
	{Group: "batch", Kind: "Job"}:                                     jobState,
	{Group: "batch", Kind: "CronJob"}:                                 cronJobState,
	{Kind: "Pod"}:                                                     podState,
	{Kind: "PersistentVolumeClaim"}:                                   claimState,
	{Kind: "Service"}:                                                 serviceState,
	{Group: "networking.k8s.io", Kind: "Ingress"}:                     ingressState,
	{Group: "gateway.networking.k8s.io", Kind: "Gateway"}:             gatewayState,
	{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute"}:           routeState,
	{Group: "gateway.networking.k8s.io", Kind: "GRPCRoute"}:           routeState,
	{Group: "gateway.networking.k8s.io", Kind: "TLSRoute"}:            routeState,
	{Group: "gateway.networking.k8s.io", Kind: "TCPRoute"}:            routeState,
	{Group: "gateway.networking.k8s.io", Kind: "UDPRoute"}:            routeState,
	{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}: definitionState,
}

// builtIn are the API groups whose other kinds are ready as soon as they exist.
var builtIn = map[string]bool{
	"": true, "apps": true, "batch": true, "autoscaling": true, "policy": true, "extensions": true,
	"admissionregistration.k8s.io": true, "apiextensions.k8s.io": true, "apiregistration.k8s.io": true,
	"authentication.k8s.io": true, "authorization.k8s.io": true, "certificates.k8s.io": true,
	"coordination.k8s.io": true, "discovery.k8s.io": true, "events.k8s.io": true,
	"flowcontrol.apiserver.k8s.io": true, "internal.apiserver.k8s.io": true, "networking.k8s.io": true,
	"node.k8s.io": true, "rbac.authorization.k8s.io": true, "resource.k8s.io": true,
	"scheduling.k8s.io": true, "storage.k8s.io": true, "storagemigration.k8s.io": true,
}

// ruleFor finds how a kind is judged; nil if it knows no readiness.
func ruleFor(o *unstructured.Unstructured) func(view) state {
	kind := o.GroupVersionKind().GroupKind()
	if rule, ok := rules[kind]; ok {
		return rule
	}
	if builtIn[kind.Group] {
		return nil
	}
	return customState
}

// generation is the oldest that counts: ours, or what somebody, such as an
// autoscaler, made of it since.
func (v view) generation() int64 {
	return max(v.target.Object.GetGeneration(), v.live.GetGeneration())
}

// observed tells whether the status is about the generation that counts.
func (v view) observed() bool {
	return v.status("observedGeneration") >= v.generation()
}

// notObserved is the state until then.
var notObserved = state{message: "waiting for its controller to see the change"}

// status reads a number of the status; 0 if it is not there, as controllers leave zeros out.
func (v view) status(field string) int64 {
	return number(v.live, 0, "status", field)
}

// spec reads a number of the specification.
func (v view) spec(otherwise int64, path ...string) int64 {
	return number(v.live, otherwise, append([]string{"spec"}, path...)...)
}

func number(o *unstructured.Unstructured, otherwise int64, path ...string) int64 {
	if n, ok, err := unstructured.NestedInt64(o.Object, path...); ok && err == nil {
		return n
	}
	return otherwise
}

// text reads a string anywhere in the object.
func (v view) text(path ...string) string {
	s, _, _ := unstructured.NestedString(v.live.Object, path...)
	return s
}

// flag reads a boolean anywhere in the object.
func (v view) flag(path ...string) bool {
	b, _, _ := unstructured.NestedBool(v.live.Object, path...)
	return b
}

// fail makes the failure that an object's own status proves.
func (v view) fail(reason, cause, fix string) *Failure {
	return &Failure{Object: kindAndName(v.target.Object), Reason: reason, Cause: cause, Fix: fix}
}

// condition is one condition of a status, as its text.
type condition struct {
	kind, status, reason, message string
	updated, changed              string
	generation                    int64
	seen                          bool // generation was there
}

// condition finds a condition of the object.
func (v view) condition(kind string) (condition, bool) {
	return findCondition(conditionsOf(v.live), kind)
}

// conditionsOf reads the conditions of an object's status.
func conditionsOf(o *unstructured.Unstructured) []condition {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	return readConditions(list)
}

func readConditions(list []any) []condition {
	var all []condition
	for _, item := range list {
		m, _ := item.(map[string]any)
		text := func(key string) string { s, _ := m[key].(string); return s }
		c := condition{
			kind: text("type"), status: text("status"), reason: text("reason"), message: text("message"),
			updated: text("lastUpdateTime"), changed: text("lastTransitionTime"),
		}
		c.generation, c.seen = m["observedGeneration"].(int64)
		all = append(all, c)
	}
	return all
}

func findCondition(all []condition, kind string) (condition, bool) {
	i := slices.IndexFunc(all, func(c condition) bool { return c.kind == kind })
	if i < 0 {
		return condition{}, false
	}
	return all[i], true
}

// about tells whether the condition is of a generation that counts; old
// controllers do not say of which it is.
func (c condition) about(generation int64) bool {
	return !c.seen || c.generation >= generation
}

// because is the reason and message of a condition as a phrase.
func (c condition) because() string {
	reason, message := clean(c.reason, phraseLimit), clean(c.message, phraseLimit)
	switch {
	case message == "":
		return reason
	case reason == "":
		return message
	}
	return fmt.Sprintf("%s: %s", reason, message)
}
