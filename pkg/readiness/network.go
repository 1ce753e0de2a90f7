package readiness

import (
	"strings"

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

func ingress(v view) Result { return address(v, "Ingress controller") }

func address(v view, giver string) Result {
	if given := object.BalancerAddresses(v.live); len(given) > 0 {
		return Result{Outcome: Ready, Message: "address " + strings.Join(given, ", ")}
	}
	return Result{Message: "waiting for an address from the " + giver}
}
