package rollout

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// serviceState waits for a load balancer's address. All other Services are
// ready as soon as they exist.
func serviceState(v view) state {
	kind := v.text("spec", "type")
	if kind != "LoadBalancer" {
		return state{ready: true, message: kind}
	}
	if outside, _, _ := unstructured.NestedStringSlice(v.live.Object, "spec", "externalIPs"); len(outside) > 0 {
		return state{ready: true, message: "address " + strings.Join(outside, ", ")}
	}
	return addressState(v, "load balancer")
}

func ingressState(v view) state { return addressState(v, "Ingress controller") }

func addressState(v view, giver string) state {
	if given := ingressAddresses(v.live); len(given) > 0 {
		return state{ready: true, message: "address " + strings.Join(given, ", ")}
	}
	return state{message: "waiting for an address from the " + giver}
}

// ingressAddresses are the addresses that a load balancer gave: IP, or else host name.
func ingressAddresses(o *unstructured.Unstructured) []string {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "loadBalancer", "ingress")
	var all []string
	for _, item := range list {
		m, _ := item.(map[string]any)
		if ip, _ := m["ip"].(string); ip != "" {
			all = append(all, ip)
		} else if host, _ := m["hostname"].(string); host != "" {
			all = append(all, host)
		}
	}
	return all
}

// gatewayState waits until the data plane was told of the Gateway.
func gatewayState(v view) state {
	c, ok := v.condition("Programmed")
	if ok && c.status == "True" && c.about(v.generation()) {
		message := "programmed"
		if given := gatewayAddresses(v.live); len(given) > 0 {
			message += ", address " + strings.Join(given, ", ")
		}
		return state{ready: true, message: message}
	}
	if accepted, _ := v.condition("Accepted"); accepted.status == "False" && accepted.about(v.generation()) {
		return state{message: "not accepted by its controller: " + accepted.because()}
	}
	if ok && c.status == "False" && c.about(v.generation()) {
		return state{message: "not programmed yet: " + c.because()}
	}
	return state{message: "waiting for its controller to program it"}
}

func gatewayAddresses(o *unstructured.Unstructured) []string {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "addresses")
	var all []string
	for _, item := range list {
		m, _ := item.(map[string]any)
		if value, _ := m["value"].(string); value != "" {
			all = append(all, value)
		}
	}
	return all
}

// routeState waits until every parent that the route names accepts it.
func routeState(v view) state {
	parents, _, _ := unstructured.NestedSlice(v.live.Object, "spec", "parentRefs")
	answers, _, _ := unstructured.NestedSlice(v.live.Object, "status", "parents")
	for _, parent := range parents {
		ref, _ := parent.(map[string]any)
		name := fmt.Sprintf("%s %v", refKind(ref), ref["name"])
		c, said := v.acceptance(ref, answers)
		switch {
		case !said:
			return state{message: "waiting for " + name + " to accept it"}
		case c.status != "True":
			return state{message: "not accepted by " + name + ": " + c.because()}
		}
	}
	return state{ready: true, message: "accepted"}
}

// acceptance finds what a parent says about the generation that counts.
func (v view) acceptance(ref map[string]any, answers []any) (condition, bool) {
	for _, item := range answers {
		answer, _ := item.(map[string]any)
		parent, _ := answer["parentRef"].(map[string]any)
		if !v.sameParent(ref, parent) {
			continue
		}
		list, _ := answer["conditions"].([]any)
		if c, ok := findCondition(readConditions(list), "Accepted"); ok && c.about(v.generation()) {
			return c, true
		}
	}
	return condition{}, false
}

func (v view) sameParent(a, b map[string]any) bool {
	namespace := func(m map[string]any) any {
		if m["namespace"] == nil {
			return v.live.GetNamespace()
		}
		return m["namespace"]
	}
	return b != nil && refKind(a) == refKind(b) && a["name"] == b["name"] && namespace(a) == namespace(b) &&
		a["sectionName"] == b["sectionName"] && a["port"] == b["port"]
}

func refKind(ref map[string]any) string {
	if kind, ok := ref["kind"].(string); ok {
		return kind
	}
	return "Gateway"
}
