package rollout

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestFreeStatefulSet holds that a restored StatefulSet does not wait for ever
// for a pod of the revision that failed, and that no other pod is touched.
func TestFreeStatefulSet(t *testing.T) {
	t.Parallel()
	const path = "/apis/apps/v1/namespaces/default/statefulsets/model"
	set := func(generation, observed string, more, revision string) string {
		o := fromYAML(t, of("apps/v1", "StatefulSet", `{`+more+`replicas: 3, selector: {matchLabels: {app: model}}, `+theImage+`}`, `{observedGeneration: `+observed+`, updateRevision: `+revision+`}`))
		o.SetUID("workload")
		o.Object["metadata"].(map[string]any)["generation"] = int64(len(generation))
		return encoded(o)
	}
	pod := func(name, revision, status string) string {
		return encoded(onePod{name: name, owner: "workload", extra: "labels: {controller-revision-hash: " + revision + "}", status: status}.object(t))
	}
	pods := func(all ...string) scene { return answer(200, listOf("Pod", all...)) }
	stuck := pods(pod("model-0", "old", readyState), pod("model-1", "older", crashState), pod("model-2", "failed", crashState), pod("model-3", "failed", readyState))
	ok := answer(200, `{"kind": "Status", "apiVersion": "v1", "status": "Success"}`)
	tests := []struct {
		name    string
		more    string  // of the spec
		seen    []scene // how the controller sees it
		pods    scene
		deleted scene
		says    string
		asked   string // of the pod model-2
		took    time.Duration
	}{
		{"a pod that crashes", "", nil, stuck, ok, `deleted pod "model-2" of the failed revision, for which it would have waited`, "delete", time.Second},
		{"the controller sees it later", "", []scene{no(503, "ServiceUnavailable"), answer(200, set("12345", "4", "", "failed")), answer(200, set("12345", "5", "", "old"))}, stuck, ok, `deleted pod "model-2" of the failed revision, for which it would have waited`, "delete", 2 * time.Second},
		{"the controller does not see it", "", []scene{answer(200, set("12345", "4", "", "failed"))}, stuck, ok, "its controller has not seen it yet", "", observeBudget},
		{"it is gone already", "", nil, stuck, no(404, "NotFound"), "", "delete", time.Second},
		{"another has its name by now", "", nil, stuck, no(409, "Conflict"), "", "delete", time.Second},
		{"no right to delete", "", nil, stuck, no(403, "Forbidden"), "it waits for pods of the failed revision; delete them: kubectl delete pod model-2 --namespace=default", "delete", time.Second},
		{"no right to see pods", "", nil, no(403, "Forbidden"), ok, "whether a pod of the failed revision holds it up could not be checked", "", time.Second},
		{"all are ready", "", nil, pods(pod("model-2", "failed", readyState)), ok, "", "", time.Second},
		{"it replaces what is broken by itself", "podManagementPolicy: Parallel, ", nil, stuck, ok, "", "", time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				if tt.seen == nil {
					tt.seen = []scene{answer(200, set("12345", "5", tt.more, "old"))}
				}
				s := &stage{scripts: map[string][]scene{path: tt.seen, podsPath: {tt.pods}, podsPath + "/model-2": {func(w http.ResponseWriter, r *http.Request) {
					body := make([]byte, 1000)
					n, _ := r.Body.Read(body)
					if !strings.Contains(string(body[:n]), `"uid":"model-2"`) {
						t.Errorf("deletes whatever has that name: %s", body[:n])
					}
					tt.deleted(w, r)
				}}}}
				o, _ := serve(t, s)
				failed, restored := fromYAML(t, set("1234", "4", tt.more, "failed")), fromYAML(t, set("12345", "4", tt.more, "failed"))
				target := targetOf(restored)
				got := freeStatefulSet(t.Context(), restored, failed, clientOf(target, o), o.withDefaults())
				if got != tt.says || s.requests(podsPath+"/model-2") != tt.asked || time.Since(start) > tt.took {
					t.Errorf("%q after %s, asked %q", got, time.Since(start), s.requests(podsPath+"/model-2"))
				}
				for _, name := range []string{"model-0", "model-1", "model-3"} {
					if asked := s.requests(podsPath + "/" + name); asked != "" {
						t.Errorf("%s: %s", name, asked)
					}
				}
			})
		})
	}
}
