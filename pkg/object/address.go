package object

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// BalancerAddresses are the addresses that a load balancer gave a Service or an
// Ingress: of each entry the IP, or else the host name.
func BalancerAddresses(u *unstructured.Unstructured) []string {
	var all []string
	for _, item := range List(u.Object, "status", "loadBalancer", "ingress") {
		m, _ := item.(map[string]any)
		if ip, _ := m["ip"].(string); ip != "" {
			all = append(all, ip)
		} else if host, _ := m["hostname"].(string); host != "" {
			all = append(all, host)
		}
	}
	return all
}

// GatewayAddresses are the addresses of a Gateway.
func GatewayAddresses(u *unstructured.Unstructured) []string {
	var all []string
	for _, item := range List(u.Object, "status", "addresses") {
		m, _ := item.(map[string]any)
		if value, _ := m["value"].(string); value != "" {
			all = append(all, value)
		}
	}
	return all
}
