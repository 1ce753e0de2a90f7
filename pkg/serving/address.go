// Package serving finds where what was deployed answers, and asks it whether it
// is well: the best address among the objects, and a check of the Service in
// front of the workload, once no pod of an earlier revision can answer.
//
// It changes nothing. Whether the objects are ready is left to rollout, which has
// to be over.
package serving

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
)

// Address is where what was deployed answers. It is empty if nothing that was
// applied has an address outside the cluster.
type Address struct {
	// URL is where people find it, e.g. "http://203.0.113.7" or "https://model.example.com/v1".
	URL string
	// Host is the address that the load balancer gave: an IP, or a host name. It is
	// empty if none did, such as for an Ingress with a host and no address yet.
	Host string
	// Internal says that only the cluster's network reaches it, and Why says how that is known.
	Internal bool
	Why      string
	// Object has the address, and Service is the applied one behind it.
	Object, Service object.ID

	rank int // the less, the better
}

// Ranks of addresses: a name that somebody chose is better than a number that
// the cloud gave, and what serves by itself better than what routes to others.
const (
	rankIngressHost = iota
	rankRouteHost
	rankStatus // of a custom resource
	rankService
	rankIngress
	rankRoute
	rankCluster
)

// FindAddress finds the best address among objects, as they are by now.
func FindAddress(all []*unstructured.Unstructured) Address {
	var found []Address
	for _, o := range all {
		switch object.Of(o).GroupKind().String() {
		case "Service":
			found = append(found, serviceAddress(o)...)
		case "Ingress.networking.k8s.io":
			found = append(found, findIngress(o, all)...)
		case "HTTPRoute.gateway.networking.k8s.io", "GRPCRoute.gateway.networking.k8s.io":
			found = append(found, findRoute(o, all)...)
		default:
			found = append(found, findCustom(o)...)
		}
	}
	slices.SortStableFunc(found, func(a, b Address) int {
		if a.rank == b.rank && a.Internal != b.Internal {
			if a.Internal {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.rank, b.rank)
	})
	if len(found) == 0 {
		return Address{}
	}
	return found[0]
}

// find finds an object; nil if it is not among them.
func find(all []*unstructured.Unstructured, id object.ID) *unstructured.Unstructured {
	for _, o := range all {
		if object.Of(o) == id {
			return o
		}
	}
	return nil
}

// serviceID is the identity of a Service.
func serviceID(namespace, name string) object.ID {
	return object.ID{Kind: "Service", Namespace: namespace, Name: name}
}

// serviceAddress is the address of a Service of type LoadBalancer.
func serviceAddress(service *unstructured.Unstructured) []Address {
	given := object.BalancerAddresses(service)
	port, ok := choosePort(service)
	if object.Text(service, "spec", "type") != "LoadBalancer" || len(given) == 0 || !ok {
		return nil
	}
	a := Address{
		Host: given[0], URL: join(port.scheme, given[0], port.number, ""),
		Object: object.Of(service), Service: object.Of(service), rank: rankService,
	}
	if key := internalBy(service); key != "" {
		a.Internal, a.Why = true, fmt.Sprintf("its annotation %s is %q: only the cluster's network reaches it", key, service.GetAnnotations()[key])
	}
	return []Address{a.orPrivate()}
}

// internalBy is the annotation by which a Service asks for an internal load
// balancer; "" if it asks for none.
func internalBy(service *unstructured.Unstructured) string {
	found := ""
	for _, key := range []string{"networking.gke.io/load-balancer-type", "cloud.google.com/load-balancer-type"} {
		if strings.EqualFold(service.GetAnnotations()[key], "Internal") {
			found = key
		}
	}
	return found
}

// orPrivate marks an address as internal that no public network routes.
func (a Address) orPrivate() Address {
	ip, err := netip.ParseAddr(a.Host)
	if err != nil || a.Internal {
		return a
	}
	ip = ip.Unmap()
	if ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || netip.MustParsePrefix("100.64.0.0/10").Contains(ip) {
		a.Internal, a.Why = true, fmt.Sprintf("%s is a private address: only the cluster's network reaches it", a.Host)
	}
	return a
}

// port is a port of a Service, and what it speaks.
type port struct {
	name, scheme string
	speaks       string // its appProtocol
	number       int64
}

// tcpPorts are the ports of a Service that speak TCP.
func tcpPorts(service *unstructured.Unstructured) []port {
	list, _, _ := unstructured.NestedSlice(service.Object, "spec", "ports")
	var ports []port
	for _, item := range list {
		m, _ := item.(map[string]any)
		number, _ := m["port"].(int64)
		if protocol, _ := m["protocol"].(string); number == 0 || protocol != "" && protocol != "TCP" {
			continue
		}
		name, _ := m["name"].(string)
		speaks, _ := m["appProtocol"].(string)
		p := port{name: name, number: number, scheme: "http", speaks: speaks}
		if number == 443 || name == "https" || strings.EqualFold(speaks, "https") {
			p.scheme = "https"
		}
		ports = append(ports, p)
	}
	return ports
}

// choosePort chooses by name, then by number, then the first.
func choosePort(service *unstructured.Unstructured) (port, bool) {
	ports := tcpPorts(service)
	for _, right := range []func(port) bool{
		func(p port) bool { return p.name == "https" },
		func(p port) bool { return p.name == "http" },
		func(p port) bool { return p.number == 443 },
		func(p port) bool { return p.number == 80 },
		func(port) bool { return true },
	} {
		if i := slices.IndexFunc(ports, right); i >= 0 {
			return ports[i], true
		}
	}
	return port{}, false
}

// join writes a URL; a scheme's own port is left out.
func join(scheme, host string, number int64, path string) string {
	if number == 0 || scheme == "http" && number == 80 || scheme == "https" && number == 443 {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
	} else {
		host = net.JoinHostPort(host, strconv.FormatInt(number, 10))
	}
	return scheme + "://" + host + path
}
