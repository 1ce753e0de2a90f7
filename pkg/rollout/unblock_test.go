package rollout

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
	"github.com/org/deploy-model-action/pkg/workload/workloadtest"
)

// TestUnblock holds that a restored StatefulSet does not wait for ever
// for a pod of the revision that failed, and that no other pod is touched.
func TestUnblock(t *testing.T) {
	t.Parallel()
	const path = "/apis/apps/v1/namespaces/default/statefulsets/model"
	set := func(generation, observed string, more, revision string) string {
		o := objecttest.FromYAML(t, objecttest.Text("apps/v1", "StatefulSet", `{`+more+`replicas: 3, selector: {matchLabels: {app: model}}, `+theImage+`}`, `{observedGeneration: `+observed+`, updateRevision: `+revision+`}`))
		o.SetUID("workload")
		o.Object["metadata"].(map[string]any)["generation"] = int64(len(generation))
		return kubetest.Encoded(o)
	}
	pod := func(name, revision, status string) string {
		return kubetest.Encoded(workloadtest.Pod{Name: name, Owner: "workload", Extra: "labels: {controller-revision-hash: " + revision + "}", Status: status}.Object(t))
	}
	pods := func(all ...string) kubetest.Scene { return kubetest.Answer(200, kubetest.ListOf("Pod", all...)) }
	stuck := pods(pod("model-0", "old", workloadtest.Ready), pod("model-1", "older", workloadtest.Crash), pod("model-2", "failed", workloadtest.Crash), pod("model-3", "failed", workloadtest.Ready))
	ok := kubetest.Answer(200, `{"kind": "Status", "apiVersion": "v1", "status": "Success"}`)
	tests := []struct {
		name    string
		more    string           // of the spec
		seen    []kubetest.Scene // how the controller sees it
		pods    kubetest.Scene
		deleted kubetest.Scene
		says    string
		asked   string // of the pod model-2
		took    time.Duration
	}{
		{"a pod that crashes", "", nil, stuck, ok, `deleted pod "model-2" of the failed revision, for which it would have waited`, "delete", time.Second},
		{"the controller sees it later", "", []kubetest.Scene{kubetest.No(503, "ServiceUnavailable"), kubetest.Answer(200, set("12345", "4", "", "failed")), kubetest.Answer(200, set("12345", "5", "", "old"))}, stuck, ok, `deleted pod "model-2" of the failed revision, for which it would have waited`, "delete", 2 * time.Second},
		{"the controller does not see it", "", []kubetest.Scene{kubetest.Answer(200, set("12345", "4", "", "failed"))}, stuck, ok, "its controller has not observed yet what was restored", "", unblockTimeout},
		{"it is gone already", "", nil, stuck, kubetest.Answer(404, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound", "details": {"name": "model-2", "kind": "pods"}}`), `deleted pod "model-2" of the failed revision, for which it would have waited`, "delete", time.Second},
		{"another has its name by now", "", nil, stuck, kubetest.No(409, "Conflict"), "", "delete", time.Second},
		{"no right to delete", "", nil, stuck, kubetest.No(403, "Forbidden"), "it waits for pods of the failed revision; delete them: kubectl delete pod model-2 --namespace=default", "delete", time.Second},
		{"no right to see pods", "", nil, kubetest.No(403, "Forbidden"), ok, "whether a pod of the failed revision holds it up could not be checked", "", time.Second},
		{"all are ready", "", nil, pods(pod("model-2", "failed", workloadtest.Ready)), ok, "", "", time.Second},
		{"it replaces what is broken by itself", "podManagementPolicy: Parallel, ", nil, stuck, ok, "", "", time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				if tt.seen == nil {
					tt.seen = []kubetest.Scene{kubetest.Answer(200, set("12345", "5", tt.more, "old"))}
				}
				s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{path: tt.seen, podsPath: {tt.pods}, podsPath + "/model-2": {func(w http.ResponseWriter, r *http.Request) {
					body := make([]byte, 1000)
					n, _ := r.Body.Read(body)
					if !strings.Contains(string(body[:n]), `"uid":"model-2"`) {
						t.Errorf("deletes whatever has that name: %s", body[:n])
					}
					tt.deleted(w, r)
				}}}}
				client := kubetest.Serve(t, s).Client
				failed, restored := objecttest.FromYAML(t, set("1234", "4", tt.more, "failed")), objecttest.FromYAML(t, set("12345", "4", tt.more, "failed"))
				change := changeOf(restored)
				change.Before, change.Action = failed, kube.Configured
				told, says := &kubetest.Recorder{}, tt.says
				if says != "" {
					says = "statefulset.apps/model: " + says
				}
				Unblock(t.Context(), client, []kube.Change{change}, Options{Progress: told.Line})
				if told.String() != says || s.Requests(podsPath+"/model-2") != tt.asked || time.Since(objecttest.Start()) > tt.took {
					t.Errorf("%q after %s, asked %q", told, time.Since(objecttest.Start()), s.Requests(podsPath+"/model-2"))
				}
				for _, name := range []string{"model-0", "model-1", "model-3"} {
					if asked := s.Requests(podsPath + "/" + name); asked != "" {
						t.Errorf("%s: %s", name, asked)
					}
				}
			})
		})
	}
}
