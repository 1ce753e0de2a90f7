package serving

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

const (
	podsPath = "/api/v1/namespaces/default/pods"
	setsPath = "/apis/apps/v1/namespaces/default/replicasets"
)

// TestWaitForNew plays a Service in front of a Deployment: "old" is the pod of
// the earlier ReplicaSet, "new" that of the present one.
func TestWaitForNew(t *testing.T) {
	t.Parallel()
	const (
		template = `template: {metadata: {labels: {app: model}}, spec: {containers: [{name: model, image: "host/model:2"}]}}`
		earlier  = `template: {metadata: {labels: {app: model}}, spec: {containers: [{name: model, image: "host/model:1"}]}}`
	)
	list := func(items ...string) kubetest.Scene {
		var all []string
		for _, item := range items {
			all = append(all, kubetest.Encoded(objecttest.FromYAML(t, item)))
		}
		return kubetest.Answer(200, kubetest.ListOf("Thing", all...))
	}
	set := func(name, template string) string {
		return `{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: ` + name + `, namespace: default, uid: set-` + name + `, ownerReferences: [{kind: Deployment, name: model, uid: u1, controller: true}]}, spec: {` + template + `}}`
	}
	pod := func(name string) string {
		return `{apiVersion: v1, kind: Pod, metadata: {name: ` + name + `, namespace: default, uid: pod-` + name + `, ownerReferences: [{kind: ReplicaSet, name: x, uid: set-` + name + `, controller: true}]}, spec: {}}`
	}
	endpoint := func(name, conditions string) string {
		return `{targetRef: {kind: Pod, name: ` + name + `}, conditions: {` + conditions + `}}`
	}
	slice := func(endpoints ...string) string {
		return `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: model-1}, endpoints: [` + strings.Join(endpoints, ", ") + `]}`
	}
	both, all := list(pod("old"), pod("new")), list(set("old", earlier), set("new", template))
	newOnly := list(slice(endpoint("new", "ready: true")))

	const stays = `pods of an earlier revision still answer for Service default/model: old; look at why they do not end, or lower their terminationGracePeriodSeconds`
	tests := []struct {
		name               string
		slices, pods, sets []kubetest.Scene
		asked              string // for slices
		note, fails        string
	}{
		{"only the new one", []kubetest.Scene{newOnly}, []kubetest.Scene{both}, []kubetest.Scene{all}, "get", "", ""},
		{"the old one ends", []kubetest.Scene{
			list(slice(endpoint("old", "")), slice(endpoint("new", "ready: true"))),
			list(slice(endpoint("old", "ready: false, serving: true, terminating: true")), slice(endpoint("new", "ready: true"))),
		}, []kubetest.Scene{both}, []kubetest.Scene{all}, "get, get", "", ""},
		{"the old one stays", []kubetest.Scene{list(slice(endpoint("old", "ready: true"), endpoint("new", "ready: true")))}, []kubetest.Scene{both}, []kubetest.Scene{all}, "get", "", stays},
		{"somebody else's pod", []kubetest.Scene{list(slice(endpoint("canary", "ready: true"), endpoint("new", "ready: true")))}, []kubetest.Scene{both}, []kubetest.Scene{all}, "get", "", ""},
		{"the server stumbles", []kubetest.Scene{kubetest.Answer(500, "{}"), newOnly}, []kubetest.Scene{both}, []kubetest.Scene{all}, "get, get", "", ""},
		{"the server stumbles over the pods", []kubetest.Scene{list(slice(endpoint("old", "ready: true"))), newOnly}, []kubetest.Scene{kubetest.HangUp, both}, []kubetest.Scene{all}, "get, get", "", ""},
		{"the server stumbles over the ReplicaSets", []kubetest.Scene{list(slice(endpoint("old", "ready: true"))), newOnly}, []kubetest.Scene{both}, []kubetest.Scene{kubetest.No(500, "InternalError"), all}, "get, get", "", ""},
		{"endpoints may not be read", []kubetest.Scene{kubetest.No(403, "Forbidden")}, []kubetest.Scene{both}, []kubetest.Scene{all}, "get", `not checked whether only the new revision answers: the server said no; allow "list" on endpointslices.discovery.k8s.io`, ""},
		{"ReplicaSets may not be read", []kubetest.Scene{newOnly}, []kubetest.Scene{both}, []kubetest.Scene{kubetest.No(403, "Forbidden")}, "get", "not checked whether only the new revision answers: none of the pods can be told to be of the new revision", ""},
		{"pods may not be read", []kubetest.Scene{newOnly}, []kubetest.Scene{kubetest.No(403, "Forbidden")}, []kubetest.Scene{all}, "get", "not checked whether only the new revision answers: none of the pods can be told to be of the new revision", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const slicesPath = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
				s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{
					slicesPath: tt.slices, podsPath: tt.pods, setsPath: tt.sets, "/readyz": {kubetest.Answer(200, "ok")},
				}}
				client, o, told := asking(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if got := r.URL.Query().Get("labelSelector"); r.URL.Path == slicesPath && got != "kubernetes.io/service-name=model" {
						t.Errorf("endpoints of %q", got)
					}
					s.ServeHTTP(w, r)
				}), strings.Replace(balanced, "spec: {", "spec: {selector: {app: model}, ", 1))
				live := objecttest.FromYAML(t, objecttest.Text("apps/v1", "Deployment", `{selector: {matchLabels: {app: model}}, `+template+`}`, `{observedGeneration: 4}`))
				o.Changes = append(o.Changes, kube.Change{Before: live, After: live, Action: kube.Configured})
				got, err := Check(t.Context(), client, o)
				if tt.fails != "" {
					if want := `ask the model: ` + tt.fails; fmt.Sprint(err) != want || got.Health != nil || time.Since(objecttest.Start()) != defaultTimeout {
						t.Errorf("%s after %s, answer %+v", cmp.Diff(want, fmt.Sprint(err)), time.Since(objecttest.Start()), got)
					}
					if want := "waiting until the earlier revision gets no more requests: old"; told.String() != want {
						t.Error(cmp.Diff(want, told.String()))
					}
					return
				}
				var notes []string
				if tt.note != "" {
					notes = []string{tt.note}
				}
				if asked := s.Requests(slicesPath); err != nil || got.Health.Code != 200 || asked != tt.asked || cmp.Diff(notes, got.Notes) != "" {
					t.Errorf("error %v, asked %s, answer %+v", err, asked, got)
				}
			})
		})
	}
}
