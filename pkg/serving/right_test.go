package serving

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/pkg/kube/kubetest"
)

// TestRefused holds which rights are looked up before anything is written, and what
// is said if they are missing; nobody is asked where the proxy is not the way.
func TestRefused(t *testing.T) {
	t.Parallel()
	smoke := &SmokeTest{Requests: []Request{{Method: "POST"}, {Method: "POST"}, {Method: "GET"}}}
	inside := within(`{port: 80}`)
	tests := []struct {
		name    string
		service string
		path    string
		smoke   *SmokeTest
		pods    bool
		denied  string // verbs, resources
		reply   string // in place of an answer
		asked   string
		says    string
	}{
		{name: "every right", service: inside, path: "/readyz", asked: "get services/proxy model:80"},
		{name: "no right", service: inside, path: "/readyz", denied: "get", asked: "get services/proxy model:80", says: `the model will not be asked: whoever deploys has no right to "get" services/proxy in the namespace default; allow "get" and "create" on services/proxy in its namespace to whoever deploys, or give the Service a load balancer`},
		{name: "a smoke test", service: inside, smoke: smoke, denied: "create", asked: "create services/proxy model:80, get services/proxy model:80", says: `no right to "create" services/proxy`},
		{name: "both", service: inside, path: "/readyz", smoke: smoke, denied: "get create", asked: "create services/proxy model:80, get services/proxy model:80", says: `no right to "create", "get" services/proxy`},
		{name: "https", service: within(`{name: https, port: 8443}`), path: "/readyz", denied: "get", asked: "get services/proxy https:model:8443", says: `no right to "get" services/proxy`},
		{name: "a candidate", service: inside, path: "/readyz", pods: true, denied: "pods", asked: "get pods/proxy , get services/proxy model:80", says: `the candidate will not be asked: whoever deploys has no right to "get" pods/proxy in the namespace default; allow "get" and "create" on pods/proxy`},
		{name: "a candidate of what is behind a load balancer", service: balanced, path: "/readyz", pods: true, denied: "get", asked: "get pods/proxy ", says: `no right to "get" pods/proxy in the namespace default; allow`},
		{name: "a load balancer", service: balanced, path: "/readyz", denied: "get"},
		{name: "a load balancer to come", service: strings.Replace(balanced, "{ip: 203.0.113.7}", "", 1), path: "/readyz", denied: "get"},
		{name: "an internal load balancer to come", service: strings.NewReplacer("{ip: 203.0.113.7}", "", "namespace: default", "namespace: default, annotations: {networking.gke.io/load-balancer-type: Internal}").Replace(balanced), path: "/readyz", denied: "get", asked: "get services/proxy model:80", says: "no right"},
		{name: "no Service", service: `{apiVersion: v1, kind: ConfigMap, metadata: {name: model}}`, path: "/readyz", denied: "get"},
		{name: "nothing to ask", service: inside, denied: "get"},
		{name: "an authorizer that is down", service: inside, path: "/readyz", reply: `{"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "status": {"allowed": false, "evaluationError": "webhook: timeout"}}`, asked: "get services/proxy model:80"},
		{name: "no right to know it", service: inside, path: "/readyz", reply: "forbidden", asked: "get services/proxy model:80"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var asked []string
				client, o, _ := asking(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					var review struct {
						Spec struct {
							ResourceAttributes struct{ Verb, Resource, Subresource, Name, Namespace string }
						}
					}
					if err := json.Unmarshal(body, &review); err != nil || r.URL.Path != "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" {
						t.Errorf("%s %s: %s", r.Method, r.URL, body)
					}
					a := review.Spec.ResourceAttributes
					asked = append(asked, fmt.Sprintf("%s %s/%s %s", a.Verb, a.Resource, a.Subresource, a.Name))
					allowed := a.Namespace == "default" && !strings.Contains(tt.denied, a.Verb) && !strings.Contains(tt.denied, a.Resource)
					switch tt.reply {
					case "":
						kubetest.Answer(201, fmt.Sprintf(`{"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "status": {"allowed": %t}}`, allowed))(w, r)
					case "forbidden":
						kubetest.Answer(kubetest.Refuse(403, "Forbidden", "no reviews"))(w, r)
					default:
						kubetest.Answer(201, tt.reply)(w, r)
					}
				}), tt.service)
				o.Path, o.SmokeTest = tt.path, tt.smoke
				said := Refused(t.Context(), client, o, tt.pods)
				if !strings.Contains(said, tt.says) || (said == "") != (tt.says == "") {
					t.Errorf("%q, want %q", said, tt.says)
				}
				if diff := cmp.Diff(tt.asked, strings.Join(asked, ", ")); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}
