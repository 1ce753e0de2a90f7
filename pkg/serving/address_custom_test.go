package serving

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

func TestFindCustomAddress(t *testing.T) {
	t.Parallel()
	const inside = "it is a name of the cluster's own: only pods resolve it"
	kserve := func(kind, status string) string {
		return objecttest.Text("serving.kserve.io/v1beta1", kind, `{}`, status)
	}
	route := objecttest.Text("gateway.networking.k8s.io/v1", "HTTPRoute", `{hostnames: [llm.example.com], parentRefs: [{name: front, sectionName: https}], rules: [{backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: model}]}]}`, `{}`)
	pool := objecttest.Text("inference.networking.k8s.io/v1", "InferencePool", `{}`, `{}`)
	for _, tt := range []struct {
		name      string
		objects   []string
		url, why  string
		ofService bool
	}{
		{name: "KServe", objects: []string{kserve("InferenceService", `{url: "http://classifier-default.models.example.com", address: {url: "http://classifier.default.svc.cluster.local"}}`)}, url: "http://classifier-default.models.example.com"},
		{name: "KServe, inside only", objects: []string{kserve("InferenceService", `{address: {url: "http://classifier.default.svc.cluster.local"}}`)}, url: "http://classifier.default.svc.cluster.local", why: inside},
		{name: "KServe, whose domain is the cluster's", objects: []string{kserve("InferenceGraph", `{url: "http://graph.default.svc.cluster.local/"}`)}, url: "http://graph.default.svc.cluster.local", why: inside},
		{name: "KServe, a private address", objects: []string{kserve("InferenceService", `{url: "http://10.1.2.3:8080"}`)}, url: "http://10.1.2.3:8080", why: "10.1.2.3 is a private address: only the cluster's network reaches it"},
		{name: "KServe, no status", objects: []string{kserve("InferenceService", `{}`)}},
		{name: "KServe, gRPC", objects: []string{kserve("InferenceService", `{url: "grpc://classifier.example.com"}`)}},
		{name: "a language model with several addresses", objects: []string{kserve("LLMInferenceService", `{addresses: [{url: "http://llm.default.svc.cluster.local/default/llm"}, {url: "https://llm.example.com/default/llm"}]}`)}, url: "https://llm.example.com/default/llm"},
		{name: "Knative", objects: []string{objecttest.Text("serving.knative.dev/v1", "Service", `{}`, `{url: "https://model.default.example.com"}`)}, url: "https://model.default.example.com"},
		{name: "Ray", objects: []string{objecttest.Text("ray.io/v1", "RayService", `{}`, `{serviceStatus: Running}`)}, url: "http://model-serve-svc.default.svc.cluster.local:8000", why: inside},
		{name: "Ray, a Service of another name", objects: []string{objecttest.Text("ray.io/v1", "RayService", `{serveService: {metadata: {name: llm}, spec: {ports: [{name: metrics, port: 8080}, {name: serve, port: 9000}]}}}`, `{serviceStatus: Running}`)}, url: "http://llm.default.svc.cluster.local:9000", why: inside},
		{name: "Ray, no status", objects: []string{objecttest.Text("ray.io/v1", "RayService", `{}`, `{}`)}},
		{name: "a load balancer is better than a name inside", objects: []string{
			kserve("InferenceService", `{address: {url: "http://classifier.default.svc.cluster.local"}}`),
			objecttest.Text("v1", "Service", `{type: LoadBalancer, ports: [{port: 80}]}`, `{loadBalancer: {ingress: [{ip: 203.0.113.7}]}}`),
		}, url: "http://203.0.113.7", ofService: true},
		{name: "a pool behind a route", objects: []string{route, pool}, url: "https://llm.example.com"},
		{name: "a pool of others behind a route", objects: []string{route}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var all []*unstructured.Unstructured
			for _, text := range tt.objects {
				all = append(all, objecttest.FromYAML(t, text))
			}
			got := FindAddress(all)
			if diff := cmp.Diff([]any{tt.url, tt.why, tt.why != "", tt.ofService}, []any{got.URL, got.Why, got.Internal, got.Service.Name != ""}); diff != "" {
				t.Errorf("%+v\n%s", got, diff)
			}
		})
	}
}
