package readiness

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
)

// service waits for a load balancer's address. All other Services are
// ready as soon as they exist.
func service(v view) Result {
	kind := object.Text(v.live, "spec", "type")
	if kind != "LoadBalancer" {
		return Result{Outcome: Ready, Message: kind}
	}
	if outside, _, _ := unstructured.NestedStringSlice(v.live.Object, "spec", "externalIPs"); len(outside) > 0 {
		return Result{Outcome: Ready, Message: "address " + strings.Join(outside, ", ")}
	}
	return address(v, "load balancer")
}

// addressGrace is how long an Ingress is waited for: Google's load balancers take
// a minute or two.
const addressGrace = 3 * time.Minute

// ingress waits for an address for a while: some controllers route and never
// write one, such as Traefik and nginx without a published service.
func ingress(v view) Result {
	r := address(v, "Ingress controller")
	if r.Outcome == Ready {
		return r
	}
	r.Optional = "it shows no address, which some Ingress controllers never write; whether it routes is not known"
	left := addressGrace - v.Elapsed
	switch {
	case v.Before != nil && len(object.BalancerAddresses(v.Before)) == 0, left <= 0:
		return Result{Outcome: NotWaitedFor, Warning: r.Optional}
	}
	r.RecheckAfter = left
	return r
}

func address(v view, giver string) Result {
	if given := object.BalancerAddresses(v.live); len(given) > 0 {
		return Result{Outcome: Ready, Message: "address " + strings.Join(given, ", ")}
	}
	return Result{Message: "waiting for an address from the " + giver}
}

// gateway waits until the data plane was told of the Gateway.
func gateway(v view) Result {
	c, ok := v.condition("Programmed")
	if ok && c.Status == "True" && c.About(v.generation()) {
		message := "programmed"
		if given := object.GatewayAddresses(v.live); len(given) > 0 {
			message += ", address " + strings.Join(given, ", ")
		}
		return Result{Outcome: Ready, Message: message}
	}
	if accepted, _ := v.condition("Accepted"); accepted.Status == "False" && accepted.About(v.generation()) {
		return Result{Message: "not accepted by its controller: " + because(accepted)}
	}
	if ok && c.Status == "False" && c.About(v.generation()) {
		return Result{Message: "not programmed yet: " + because(c)}
	}
	return Result{Message: "waiting for its controller to program it"}
}

// route waits until every parent that the route names accepts it.
func route(v view) Result {
	parents := object.List(v.live.Object, "spec", "parentRefs")
	answers := object.List(v.live.Object, "status", "parents")
	for _, parent := range parents {
		ref, _ := parent.(map[string]any)
		name := fmt.Sprintf("%s %v", refKind(ref), ref["name"])
		c, answered := v.acceptance(ref, answers)
		switch {
		case !answered:
			return Result{Message: "waiting for " + name + " to accept it"}
		case c.Status != "True":
			return Result{Message: "not accepted by " + name + ": " + because(c)}
		}
	}
	return Result{Outcome: Ready, Message: "accepted"}
}

// acceptance finds what a parent says about the generation that counts.
func (v view) acceptance(ref map[string]any, answers []any) (object.Condition, bool) {
	for _, item := range answers {
		answer, _ := item.(map[string]any)
		parent, _ := answer["parentRef"].(map[string]any)
		if !v.sameParent(ref, parent) {
			continue
		}
		list, _ := answer["conditions"].([]any)
		if c, ok := object.FindCondition(object.ReadConditions(list), "Accepted"); ok && c.About(v.generation()) {
			return c, true
		}
	}
	return object.Condition{}, false
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
