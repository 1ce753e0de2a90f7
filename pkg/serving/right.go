package serving

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

// rightTimeout bounds the look at the rights, which is no reason to wait.
const rightTimeout = 5 * time.Second

// reviews are questions to the API server about the rights of whoever asks.
var reviews = kube.Ref{Kind: "SelfSubjectAccessReview", Resource: kube.Resource{GroupVersionResource: schema.GroupVersionResource{
	Group: "authorization.k8s.io", Version: "v1", Resource: "selfsubjectaccessreviews",
}}}

// verbs are what a right to pass a request on is called, by the request's method.
var verbs = map[string]string{
	http.MethodGet: "get", http.MethodHead: "get", http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete",
}

// Refused says which rights are missing to ask Check's questions: of a Service that
// only the API server's proxy reaches, and of pods, if a candidate is asked before.
// It is "" if nothing is missing, or if nobody knows. It makes no request where the
// proxy is not the way that would be taken.
func Refused(ctx context.Context, client *kube.Client, o Options, candidate bool) string {
	service := o.service()
	if service == nil {
		return "" // what a controller makes has a name that nobody knows yet
	}
	ctx, cancel := context.WithTimeout(ctx, rightTimeout)
	defer cancel()
	var all []string
	note := func(who, resource, name, fix string) {
		missing := o.missing(ctx, client, map[string]any{"namespace": service.GetNamespace(), "resource": resource, "subresource": "proxy", "name": name})
		if len(missing) > 0 {
			all = append(all, fmt.Sprintf("%s will not be asked: whoever deploys has no right to %s %s/proxy in the namespace %s; %s", who, object.JoinFirst(missing), resource, service.GetNamespace(), fix))
		}
	}
	if candidate {
		note("the candidate", "pods", "", allowPods)
	}
	if port, ok := askPort(service); ok && o.proxyOnly(service, port) {
		name := fmt.Sprintf("%s:%d", service.GetName(), port.number)
		if port.scheme == "https" {
			name = "https:" + name
		}
		note("the model", "services", name, allowProxy)
	}
	return strings.Join(all, "; ")
}

// proxyOnly reports whether nobody outside of the cluster will reach a Service, as
// its manifest shows.
func (o Options) proxyOnly(service *unstructured.Unstructured, p port) bool {
	why := shut(service, p)
	return why != "" && why != noAddress // an address comes when it is written
}

// missing are the verbs that whoever deploys has no right to.
func (o Options) missing(ctx context.Context, client *kube.Client, attributes map[string]any) []string {
	var needed, missing []string
	if o.Path != "" {
		needed = append(needed, "get")
	}
	if o.SmokeTest != nil {
		for _, r := range o.SmokeTest.Requests {
			needed = append(needed, verbs[r.Method])
		}
	}
	slices.Sort(needed)
	for _, verb := range slices.Compact(needed) {
		attributes["verb"] = verb
		review := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "authorization.k8s.io/v1", "kind": reviews.Kind, "spec": map[string]any{"resourceAttributes": attributes},
		}}
		answer, err := client.Create(ctx, reviews, review)
		if err != nil {
			return nil
		}
		// What one of several authorizers could not find out may be a right.
		if !object.Flag(answer, "status", "allowed") && object.Text(answer, "status", "evaluationError") == "" {
			missing = append(missing, fmt.Sprintf("%q", verb))
		}
	}
	return missing
}
