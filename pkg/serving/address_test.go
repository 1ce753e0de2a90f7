package serving

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

// modelID is the identity of the object "model".
func modelID(kind string) object.ID {
	group := map[string]string{"Ingress": "networking.k8s.io", "HTTPRoute": "gateway.networking.k8s.io", "GRPCRoute": "gateway.networking.k8s.io"}[kind]
	return object.ID{Group: group, Kind: kind, Namespace: "default", Name: "model"}
}

func TestFindAddress(t *testing.T) {
	t.Parallel()
	service := func(spec, ingress string) string {
		return objecttest.Text("v1", "Service", spec, `{loadBalancer: {ingress: [`+ingress+`]}}`)
	}
	annotated := func(text, annotation string) string {
		return strings.Replace(text, "metadata: {", "metadata: {annotations: {"+annotation+"}, ", 1)
	}
	ingress := func(spec, given string) string {
		return objecttest.Text("networking.k8s.io/v1", "Ingress", spec, `{loadBalancer: {ingress: [`+given+`]}}`)
	}
	const (
		inside  = `{type: ClusterIP, ports: [{port: 3000}]}`
		backend = `backend: {service: {name: model, port: {number: 3000}}}`
	)
	named := func(text, name string) string { return strings.Replace(text, "name: model", "name: "+name, 1) }
	route := func(spec string) string {
		return objecttest.Text("gateway.networking.k8s.io/v1", "HTTPRoute", spec, "{}")
	}
	gateway := func(listeners, addresses string) string {
		return named(objecttest.Text("gateway.networking.k8s.io/v1", "Gateway", `{gatewayClassName: gke-l7-rilb, listeners: [`+listeners+`]}`, `{addresses: [`+addresses+`]}`), "front")
	}
	tests := []struct {
		name    string
		objects []string
		want    Address
	}{
		{"nothing", nil, Address{}},
		{"no load balancer", []string{objecttest.Text("v1", "Service", inside, "{}")}, Address{}},
		{"no address yet", []string{service(`{type: LoadBalancer, ports: [{port: 80}]}`, ``)}, Address{}},
		{"what was a load balancer", []string{service(`{type: ClusterIP, ports: [{port: 80}]}`, `{ip: 203.0.113.7}`)}, Address{}},
		{"UDP only", []string{service(`{type: LoadBalancer, ports: [{port: 53, protocol: UDP}]}`, `{ip: 203.0.113.7}`)}, Address{}},
		{"ExternalName", []string{objecttest.Text("v1", "Service", `{type: ExternalName, externalName: example.com}`, "{}")}, Address{}},

		{"IP and port 80", []string{service(`{type: LoadBalancer, ports: [{port: 80}]}`, `{ip: 203.0.113.7}`)}, Address{URL: "http://203.0.113.7", Host: "203.0.113.7"}},
		{"another port", []string{service(`{type: LoadBalancer, ports: [{port: 3000}]}`, `{ip: 203.0.113.7}`)}, Address{URL: "http://203.0.113.7:3000", Host: "203.0.113.7"}},
		{"a host name", []string{service(`{type: LoadBalancer, ports: [{port: 80}]}`, `{hostname: lb.example.com}`)}, Address{URL: "http://lb.example.com", Host: "lb.example.com"}},
		{"IPv6", []string{service(`{type: LoadBalancer, ports: [{port: 80}]}`, `{ip: "2001:db8::7"}`)}, Address{URL: "http://[2001:db8::7]", Host: "2001:db8::7"}},
		{"IPv6 with a port", []string{service(`{type: LoadBalancer, ports: [{port: 8080}]}`, `{ip: "2001:db8::7"}`)}, Address{URL: "http://[2001:db8::7]:8080", Host: "2001:db8::7"}},
		{"port 443", []string{service(`{type: LoadBalancer, ports: [{port: 443}]}`, `{ip: 203.0.113.7}`)}, Address{URL: "https://203.0.113.7", Host: "203.0.113.7"}},
		{"443 before 80", []string{service(`{type: LoadBalancer, ports: [{name: a, port: 80}, {name: b, port: 443}]}`, `{ip: 203.0.113.7}`)}, Address{URL: "https://203.0.113.7", Host: "203.0.113.7"}},
		{"by name before number", []string{service(`{type: LoadBalancer, ports: [{name: metrics, port: 80}, {name: http, port: 3000}]}`, `{ip: 203.0.113.7}`)}, Address{URL: "http://203.0.113.7:3000", Host: "203.0.113.7"}},
		{"https by name on a port of its own", []string{service(`{type: LoadBalancer, ports: [{name: http, port: 80}, {name: https, port: 8443}]}`, `{ip: 203.0.113.7}`)}, Address{URL: "https://203.0.113.7:8443", Host: "203.0.113.7"}},
		{"https by what it speaks", []string{service(`{type: LoadBalancer, ports: [{name: web, port: 8443, appProtocol: HTTPS}]}`, `{ip: 203.0.113.7}`)}, Address{URL: "https://203.0.113.7:8443", Host: "203.0.113.7"}},
		{"first of several", []string{service(`{type: LoadBalancer, ports: [{name: grpc, port: 9000}, {name: web, port: 3000}]}`, `{ip: 203.0.113.7}`)}, Address{URL: "http://203.0.113.7:9000", Host: "203.0.113.7"}},

		{"internal by Google's annotation", []string{annotated(service(`{type: LoadBalancer, ports: [{port: 80}]}`, `{ip: 203.0.113.7}`), `networking.gke.io/load-balancer-type: Internal`)}, Address{URL: "http://203.0.113.7", Host: "203.0.113.7", Internal: true, Why: `its annotation networking.gke.io/load-balancer-type is "Internal": only the cluster's network reaches it`}},
		{"internal by the older annotation", []string{annotated(service(`{type: LoadBalancer, ports: [{port: 80}]}`, `{ip: 203.0.113.7}`), `cloud.google.com/load-balancer-type: internal`)}, Address{URL: "http://203.0.113.7", Host: "203.0.113.7", Internal: true, Why: `its annotation cloud.google.com/load-balancer-type is "internal": only the cluster's network reaches it`}},
		{"internal by its address", []string{service(`{type: LoadBalancer, ports: [{port: 80}]}`, `{ip: 10.1.2.3}`)}, Address{URL: "http://10.1.2.3", Host: "10.1.2.3", Internal: true, Why: "10.1.2.3 is a private address: only the cluster's network reaches it"}},
		{"internal by its IPv6 address", []string{service(`{type: LoadBalancer, ports: [{port: 80}]}`, `{ip: "fd00::1"}`)}, Address{URL: "http://[fd00::1]", Host: "fd00::1", Internal: true, Why: "fd00::1 is a private address: only the cluster's network reaches it"}},
		{"a public one before an internal one", []string{
			named(service(`{type: LoadBalancer, ports: [{port: 80}]}`, `{ip: 10.1.2.3}`), "inner"),
			service(`{type: LoadBalancer, ports: [{port: 80}]}`, `{ip: 203.0.113.7}`),
		}, Address{URL: "http://203.0.113.7", Host: "203.0.113.7"}},

		{"the host of an Ingress", []string{
			service(`{type: LoadBalancer, ports: [{port: 80}]}`, `{ip: 203.0.113.7}`),
			ingress(`{tls: [{hosts: [model.example.com]}], rules: [{host: model.example.com, http: {paths: [{path: /, `+backend+`}]}}]}`, `{ip: 203.0.113.8}`),
		}, Address{URL: "https://model.example.com", Host: "203.0.113.8", Object: modelID("Ingress")}},
		{"the host and path of an Ingress without a certificate", []string{
			objecttest.Text("v1", "Service", inside, "{}"),
			ingress(`{rules: [{host: example.com, http: {paths: [{path: /other, backend: {service: {name: other}}}, {path: /v1/*, `+backend+`}]}}]}`, ``),
		}, Address{URL: "http://example.com/v1", Object: modelID("Ingress")}},
		{"an Ingress to somebody else's Service", []string{
			objecttest.Text("v1", "Service", inside, "{}"),
			ingress(`{rules: [{host: example.com, http: {paths: [{path: /, backend: {service: {name: other}}}]}}]}`, `{ip: 203.0.113.8}`),
		}, Address{}},
		{"an Ingress without a host", []string{
			objecttest.Text("v1", "Service", inside, "{}"),
			ingress(`{defaultBackend: {service: {name: model}}}`, `{ip: 203.0.113.8}`),
		}, Address{URL: "http://203.0.113.8", Host: "203.0.113.8", Object: modelID("Ingress")}},
		{"an Ingress without a host or address", []string{
			objecttest.Text("v1", "Service", inside, "{}"),
			ingress(`{defaultBackend: {service: {name: model}}}`, ``),
		}, Address{}},
		{"an Ingress for any host, with a regular expression, and Google's certificate", []string{
			objecttest.Text("v1", "Service", inside, "{}"),
			annotated(ingress(`{rules: [{host: "*.example.com", http: {paths: [{path: "/v1(/|$)(.*)", `+backend+`}]}}]}`, `{ip: 203.0.113.8}`), `networking.gke.io/managed-certificates: cert`),
		}, Address{URL: "https://203.0.113.8", Host: "203.0.113.8", Object: modelID("Ingress")}},
		{"an Ingress with a certificate for all", []string{
			objecttest.Text("v1", "Service", inside, "{}"),
			ingress(`{ingressClassName: gce-internal, tls: [{hosts: ["*.example.com"]}], rules: [{host: model.example.com, http: {paths: [{`+backend+`}]}}]}`, `{ip: 203.0.113.8}`),
		}, Address{URL: "https://model.example.com", Host: "203.0.113.8", Object: modelID("Ingress"), Internal: true, Why: "its Ingress class is gce-internal: only the cluster's network reaches it"}},

		{"a route of a Gateway", []string{
			objecttest.Text("v1", "Service", inside, "{}"),
			gateway(`{name: http, protocol: HTTP, port: 80}, {name: https, protocol: HTTPS, port: 443}`, `{value: 10.0.0.9}`),
			route(`{parentRefs: [{name: front}], hostnames: ["*.example.com", model.example.com], rules: [{backendRefs: [{name: other}]}, {matches: [{path: {type: PathPrefix, value: /v1}}], backendRefs: [{name: model, port: 3000}]}]}`),
		}, Address{URL: "https://model.example.com/v1", Host: "10.0.0.9", Object: modelID("HTTPRoute"), Internal: true, Why: "its GatewayClass gke-l7-rilb is internal: only the cluster's network reaches it"}},
		{"a route that names the listener", []string{
			objecttest.Text("v1", "Service", inside, "{}"),
			gateway(`{name: https, protocol: HTTPS, port: 443}, {name: plain, protocol: HTTP, port: 8080, hostname: listen.example.com}`, `{value: 203.0.113.9}`),
			route(`{parentRefs: [{name: front, sectionName: plain}], rules: [{backendRefs: [{name: model}]}]}`),
		}, Address{URL: "http://listen.example.com:8080", Host: "203.0.113.9", Object: modelID("HTTPRoute"), Internal: true, Why: "its GatewayClass gke-l7-rilb is internal: only the cluster's network reaches it"}},
		{"a route of a Gateway that others keep", []string{
			objecttest.Text("v1", "Service", inside, "{}"),
			route(`{parentRefs: [{name: shared, namespace: infra, sectionName: https}], hostnames: [model.example.com], rules: [{backendRefs: [{name: model}]}]}`),
		}, Address{URL: "https://model.example.com", Object: modelID("HTTPRoute")}},
		{"a route to another Service", []string{
			objecttest.Text("v1", "Service", inside, "{}"),
			route(`{parentRefs: [{name: shared}], hostnames: [model.example.com], rules: [{backendRefs: [{name: other}]}]}`),
		}, Address{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var objects []*unstructured.Unstructured
			for _, text := range tt.objects {
				objects = append(objects, objecttest.FromYAML(t, text))
			}
			if tt.want.URL != "" {
				tt.want.Service = modelID("Service")
				if tt.want.Object == (object.ID{}) {
					tt.want.Object = tt.want.Service
				}
			}
			if diff := cmp.Diff(tt.want, FindAddress(objects), cmpopts.IgnoreUnexported(Address{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAddressOfAnyShape holds that no object, whatever its shape, brings FindAddress down.
func TestAddressOfAnyShape(t *testing.T) {
	t.Parallel()
	for kind, version := range map[string]string{"Service": "v1", "Ingress": "networking.k8s.io/v1", "HTTPRoute": "gateway.networking.k8s.io/v1", "Gateway": "gateway.networking.k8s.io/v1"} {
		for _, status := range []string{`{}`, `[]`, `7`, `{loadBalancer: 4, parents: [null, {conditions: 3}], addresses: [1]}`, `{loadBalancer: {ingress: [7, {ip: 4}, null]}}`} {
			_ = FindAddress([]*unstructured.Unstructured{objecttest.FromYAML(t, objecttest.Text(version, kind, `{parentRefs: [3, {name: 4}], ports: [{}], rules: [7, {backendRefs: 3}]}`, status))})
		}
	}
}
