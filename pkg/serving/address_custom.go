package serving

import (
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
)

// findCustom finds where a custom resource says that it answers. status.url and
// status.address.url are Knative's, which KServe and others took over.
func findCustom(u *unstructured.Unstructured) []Address {
	if object.Of(u).Group == "" {
		return nil
	}
	var found []Address
	for _, text := range statusURLs(u) {
		to, err := url.Parse(text)
		if err != nil || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" {
			continue
		}
		a := Address{URL: strings.TrimSuffix(text, "/"), Host: to.Hostname(), Object: object.Of(u), rank: rankStatus}
		if isInside(to.Hostname()) {
			a.rank = rankCluster
			a.Internal, a.Why = true, "it is a name of the cluster's own: only pods resolve it"
		}
		a = a.orPrivate()
		a.Host = "" // a load balancer's is not known
		found = append(found, a)
	}
	return found
}

// statusURLs are the URLs that a custom resource names, the best first.
func statusURLs(u *unstructured.Unstructured) []string {
	urls := []string{object.Text(u, "status", "url"), object.Text(u, "status", "address", "url")}
	for _, item := range object.List(u.Object, "status", "addresses") { // of an LLMInferenceService
		m, _ := item.(map[string]any)
		text, _ := m["url"].(string)
		urls = append(urls, text)
	}
	if object.Of(u).GroupKind().String() == "RayService.ray.io" && len(object.Map(u.Object, "status")) > 0 {
		urls = append(urls, serveURL(u))
	}
	return urls
}

// serveURL is that of the Service by which KubeRay leads to Ray Serve: its name
// and port are those of ray-operator/controllers/ray/utils/constant.go, unless the
// manifest has others.
func serveURL(u *unstructured.Unstructured) string {
	name := object.Text(u, "spec", "serveService", "metadata", "name")
	if name == "" {
		name = u.GetName() + "-serve-svc"
	}
	port := int64(8000)
	for _, item := range object.List(u.Object, "spec", "serveService", "spec", "ports") {
		m, _ := item.(map[string]any)
		if number, ok := m["port"].(int64); ok && (m["name"] == "serve" || port == 8000) {
			port = number
		}
	}
	return join("http", name+"."+u.GetNamespace()+".svc.cluster.local", port, "")
}
