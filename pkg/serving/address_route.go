package serving

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
)

// findIngress finds where an Ingress routes to an applied Service.
func findIngress(ingress *unstructured.Unstructured, all []*unstructured.Unstructured) []Address {
	var found []Address
	add := func(host, path string, backend map[string]any) {
		name, _, _ := unstructured.NestedString(backend, "service", "name")
		service := serviceID(ingress.GetNamespace(), name)
		if find(all, service) == nil {
			return
		}
		a := Address{Object: object.Of(ingress), Service: service, rank: rankIngressHost}
		if given := object.BalancerAddresses(ingress); len(given) > 0 {
			a.Host = given[0]
		}
		scheme := "http"
		if encrypted(ingress, host) {
			scheme = "https"
		}
		if !concrete(host) {
			host, a.rank = a.Host, rankIngress
		}
		if host == "" {
			return
		}
		a.URL = join(scheme, host, 0, plainPath(path))
		class := object.Text(ingress, "spec", "ingressClassName") + ingress.GetAnnotations()["kubernetes.io/ingress.class"]
		if strings.Contains(class, "gce-internal") {
			a.Internal, a.Why = true, "its Ingress class is gce-internal: only the cluster's network reaches it"
		}
		found = append(found, a.orPrivate())
	}
	rules, _, _ := unstructured.NestedSlice(ingress.Object, "spec", "rules")
	for _, item := range rules {
		rule, _ := item.(map[string]any)
		host, _ := rule["host"].(string)
		paths, _, _ := unstructured.NestedSlice(rule, "http", "paths")
		for _, item := range paths {
			m, _ := item.(map[string]any)
			path, _ := m["path"].(string)
			backend, _ := m["backend"].(map[string]any)
			add(host, path, backend)
		}
	}
	if backend, ok, _ := unstructured.NestedMap(ingress.Object, "spec", "defaultBackend"); ok {
		add("", "", backend)
	}
	return found
}

// encrypted reports whether an Ingress has a certificate for a host, its own or Google's.
func encrypted(ingress *unstructured.Unstructured, host string) bool {
	for _, key := range []string{"networking.gke.io/managed-certificates", "ingress.gcp.kubernetes.io/pre-shared-cert", "networking.gke.io/certmap"} {
		if ingress.GetAnnotations()[key] != "" {
			return true
		}
	}
	list, _, _ := unstructured.NestedSlice(ingress.Object, "spec", "tls")
	for _, item := range list {
		entry, _ := item.(map[string]any)
		hosts, _, _ := unstructured.NestedStringSlice(entry, "hosts")
		_, parent, _ := strings.Cut(host, ".")
		if len(hosts) == 0 || slices.Contains(hosts, host) || slices.Contains(hosts, "*."+parent) {
			return true
		}
	}
	return false
}

// findRoute finds where a route of the Gateway API leads to an applied Service.
func findRoute(route *unstructured.Unstructured, all []*unstructured.Unstructured) []Address {
	service, path, ok := routeBackend(route, all)
	if !ok {
		return nil
	}
	hosts, _, _ := unstructured.NestedStringSlice(route.Object, "spec", "hostnames")
	parents, _, _ := unstructured.NestedSlice(route.Object, "spec", "parentRefs")
	var found []Address
	for _, item := range parents {
		ref, _ := item.(map[string]any)
		name, _ := ref["name"].(string)
		namespace, ok := ref["namespace"].(string)
		if !ok {
			namespace = route.GetNamespace()
		}
		a := Address{Object: object.Of(route), Service: service, rank: rankRouteHost}
		// A Gateway that others keep is known by the reference only.
		to := listener{scheme: "http"}
		if section, _ := ref["sectionName"].(string); strings.Contains(section, "https") || ref["port"] == int64(443) {
			to.scheme = "https"
		}
		if gateway := find(all, object.ID{Group: "gateway.networking.k8s.io", Kind: "Gateway", Namespace: namespace, Name: name}); gateway != nil {
			to = chooseListener(gateway, ref)
			if given := object.GatewayAddresses(gateway); len(given) > 0 {
				a.Host = given[0]
			}
			if class := object.Text(gateway, "spec", "gatewayClassName"); strings.Contains(class, "-rilb") {
				a.Internal, a.Why = true, fmt.Sprintf("its GatewayClass %s is internal: only the cluster's network reaches it", class)
			}
		}
		host := to.host
		if i := slices.IndexFunc(hosts, concrete); i >= 0 {
			host = hosts[i]
		}
		if !concrete(host) {
			host, a.rank = a.Host, rankRoute
		}
		if host == "" {
			continue
		}
		a.URL = join(to.scheme, host, to.port, plainPath(path))
		found = append(found, a.orPrivate())
	}
	return found
}

// routeBackend finds the first applied Service or InferencePool that a route leads
// to, and on which path. service is no object for an InferencePool.
func routeBackend(route *unstructured.Unstructured, all []*unstructured.Unstructured) (service object.ID, path string, ok bool) {
	rules, _, _ := unstructured.NestedSlice(route.Object, "spec", "rules")
	for _, item := range rules {
		rule, _ := item.(map[string]any)
		backends, _ := rule["backendRefs"].([]any)
		for _, item := range backends {
			ref, _ := item.(map[string]any)
			name, _ := ref["name"].(string)
			kind, _ := ref["kind"].(string)
			group, _ := ref["group"].(string)
			to := object.ID{Group: group, Kind: kind, Namespace: route.GetNamespace(), Name: name}
			service = object.ID{}
			if kind == "" || kind == "Service" {
				to = serviceID(route.GetNamespace(), name)
				service = to
			} else if kind != "InferencePool" {
				continue
			}
			if find(all, to) == nil {
				continue
			}
			if matches, _ := rule["matches"].([]any); len(matches) > 0 {
				match, _ := matches[0].(map[string]any)
				if how, _, _ := unstructured.NestedString(match, "path", "type"); how != "RegularExpression" {
					path, _, _ = unstructured.NestedString(match, "path", "value")
				}
			}
			return service, path, true
		}
	}
	return object.ID{}, "", false
}

// listener is what a Gateway listens on.
type listener struct {
	scheme, host string
	port         int64
}

// chooseListener chooses the listener that a route names, HTTPS before HTTP.
func chooseListener(gateway *unstructured.Unstructured, ref map[string]any) listener {
	list, _, _ := unstructured.NestedSlice(gateway.Object, "spec", "listeners")
	var chosen listener
	for _, item := range list {
		m, _ := item.(map[string]any)
		if ref["sectionName"] != nil && ref["sectionName"] != m["name"] || ref["port"] != nil && ref["port"] != m["port"] {
			continue
		}
		l := listener{scheme: "http"}
		l.port, _ = m["port"].(int64)
		l.host, _ = m["hostname"].(string)
		switch m["protocol"] {
		case "HTTPS", "TLS":
			l.scheme = "https"
		case "HTTP":
		default:
			continue
		}
		if chosen.scheme == "" || chosen.scheme == "http" && l.scheme == "https" {
			chosen = l
		}
	}
	if chosen.scheme == "" {
		chosen.scheme = "http"
	}
	return chosen
}

// concrete reports whether a host names one place.
func concrete(host string) bool { return host != "" && !strings.Contains(host, "*") }

// plainPath is the part of a rule's path that a URL can begin with; nothing of a regular expression.
func plainPath(path string) string {
	path = strings.TrimSuffix(strings.TrimSuffix(path, "*"), "/")
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, `*()[]{}|^$\?#% `) {
		return ""
	}
	return path
}
