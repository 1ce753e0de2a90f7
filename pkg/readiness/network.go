package readiness

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
)

// service waits for a load balancer's address. All other Services are
// ready as soon as they exist.
func service(v view) Result {
	switch object.Text(v.live, "spec", "type") {
	case "LoadBalancer":
	case "ExternalName":
		return Result{Outcome: Ready, Message: "a name for " + line(object.Text(v.live, "spec", "externalName"))}
	default:
		switch ip := object.Text(v.live, "spec", "clusterIP"); ip {
		case "":
			return Result{Outcome: Ready}
		case "None":
			return Result{Outcome: Ready, Message: "headless"}
		default:
			return Result{Outcome: Ready, Message: "cluster IP " + line(ip)}
		}
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
