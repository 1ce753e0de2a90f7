package rollout

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestExpectNew plays a Service in front of a Deployment: "old" is the pod of
// the earlier ReplicaSet, "new" that of the present one.
func TestExpectNew(t *testing.T) {
	t.Parallel()
	const (
		template = `template: {metadata: {labels: {app: model}}, spec: {containers: [{name: model, image: "host/model:2"}]}}`
		earlier  = `template: {metadata: {labels: {app: model}}, spec: {containers: [{name: model, image: "host/model:1"}]}}`
	)
	list := func(items ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			var all []string
			for _, item := range items {
				all = append(all, jsonOf(t, fromYAML(t, item)))
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"kind": "List", "apiVersion": "v1", "metadata": {}, "items": [%s]}`, strings.Join(all, ","))
		}
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
	forbidden := reply(403, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","reason":"Forbidden","code":403}`)
	both, all := list(pod("old"), pod("new")), list(set("old", earlier), set("new", template))

	tests := []struct {
		name       string
		slices     []http.HandlerFunc
		pods, sets http.HandlerFunc
		asked      int32
		note       string
		fails      string
	}{
		{"only the new one", []http.HandlerFunc{list(slice(endpoint("new", "ready: true")))}, both, all, 1, "", ""},
		{"the old one ends", []http.HandlerFunc{
			list(slice(endpoint("old", "")), slice(endpoint("new", "ready: true"))),
			list(slice(endpoint("old", "ready: false, serving: true, terminating: true")), slice(endpoint("new", "ready: true"))),
		}, both, all, 2, "", ""},
		{"the server stumbles", []http.HandlerFunc{reply(500, "{}"), list(slice(endpoint("new", "ready: true")))}, both, all, 2, "", ""},
		{"the old one stays", []http.HandlerFunc{list(slice(endpoint("old", "ready: true"), endpoint("new", "ready: true")))}, both, all, 0, "",
			"pods of the earlier revision still answer for Service default/model: old; look at why they do not end, or lower their terminationGracePeriodSeconds"},
		{"somebody else's pod", []http.HandlerFunc{list(slice(endpoint("canary", "ready: true"), endpoint("new", "ready: true")))}, both, all, 1, "", ""},
		{"endpoints may not be read", []http.HandlerFunc{forbidden}, both, all, 1, `not checked whether only the new revision answers: no; allow "list" on endpointslices.discovery.k8s.io`, ""},
		{"ReplicaSets may not be read", []http.HandlerFunc{list(slice(endpoint("new", "ready: true")))}, both, forbidden, 1, "not checked whether only the new revision answers: none of the pods can be told to be of the new revision", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			play := replies(&asked, tt.slices...)
			check, o, _ := asking(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.HasSuffix(r.URL.Path, "/endpointslices"):
					if got := r.URL.Query().Get("labelSelector"); got != "kubernetes.io/service-name=model" {
						t.Errorf("endpoints of %q", got)
					}
					play(w, r)
				case strings.HasSuffix(r.URL.Path, "/pods"):
					tt.pods(w, r)
				case strings.HasSuffix(r.URL.Path, "/replicasets"):
					tt.sets(w, r)
				default:
					reply(200, "ok")(w, r)
				}
			}), strings.Replace(balanced, "spec: {", "spec: {selector: {app: model}, ", 1))
			o.Persist = time.Minute
			live := fromYAML(t, of("apps/v1", "Deployment", `{selector: {matchLabels: {app: model}}, `+template+`}`, `{observedGeneration: 4}`))
			check.Statuses = append(check.Statuses, Status{Target: Target{Object: live, Before: live, Changed: true}, Live: live, Waited: true, Ready: true})
			check.Timeout = 1500 * time.Millisecond
			got, err := Healthy(context.Background(), check, o)
			if tt.fails == "" {
				var notes []string
				if tt.note != "" {
					notes = []string{tt.note}
				}
				if err != nil || got.Code != 200 || asked.Load() != tt.asked || cmp.Diff(notes, got.Notes) != "" {
					t.Errorf("error %v, asked %d times, answer %+v", err, asked.Load(), got)
				}
				return
			}
			if want := `health check "/readyz": ` + tt.fails; fmt.Sprint(err) != want || got.Tries > 0 {
				t.Error(cmp.Diff(want, fmt.Sprint(err)), got)
			}
		})
	}
}
