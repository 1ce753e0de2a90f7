package rollout

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

func TestWatchObject(t *testing.T) {
	t.Parallel()
	half, done := deployed(t, 150, 1), deployed(t, 200, 2)
	old := deployed(t, 160, 2)
	old.SetGeneration(3)
	old.Object["status"].(map[string]any)["observedGeneration"] = int64(3)
	bookmark := `{"type": "BOOKMARK", "object": {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"resourceVersion": "180"}}}`
	replaced := deployed(t, 170, 2)
	replaced.SetUID("u2")
	taken := deployed(t, 170, 2)
	taken.SetAnnotations(map[string]string{"deploy-model-action/run": "8"})
	edited := deployed(t, 170, 2)
	if err := unstructured.SetNestedField(edited.Object, []any{map[string]any{"name": "model", "image": "host/model:2"}}, "spec", "template", "spec", "containers"); err != nil {
		t.Fatal(err)
	}
	ending := objecttest.FromYAML(t, strings.Replace(objecttest.Text("apps/v1", "Deployment", `{`+theImage+`}`, `{}`), "uid: u1", `uid: u1, deletionTimestamp: "2000-01-01T00:00:00Z"`, 1))

	tests := []struct {
		name   string
		script []kubetest.Scene
		asked  string
		says   string // instead of readiness
		atMost time.Duration
	}{
		{"the rollout", []kubetest.Scene{kubetest.Open(kubetest.Event("MODIFIED", half), kubetest.Event("MODIFIED", done))}, "watch 100", "", 0},
		{"a cut watch goes on from where it was", []kubetest.Scene{kubetest.Events(kubetest.Event("MODIFIED", half)), kubetest.Open(kubetest.Event("MODIFIED", done))}, "watch 100, watch 150", "", 150 * time.Millisecond},
		{"a watch that is cut at once", []kubetest.Scene{kubetest.Events(), kubetest.Events(), kubetest.Events(), kubetest.Open(kubetest.Event("MODIFIED", done))}, "watch 100, watch 100, watch 100, watch 100", "", 1100 * time.Millisecond},
		{"a connection that is cut", []kubetest.Scene{kubetest.HangUp, kubetest.HangUp, kubetest.Open(kubetest.Event("MODIFIED", done))}, "watch 100, watch 100, watch 100", "", 3 * time.Second},
		{"a bookmark moves the place", []kubetest.Scene{kubetest.Events(bookmark), kubetest.Open(kubetest.Event("MODIFIED", done))}, "watch 100, watch 180", "", 150 * time.Millisecond},
		{"410 in the watch", []kubetest.Scene{kubetest.Open(kubetest.Expired), kubetest.Answer(200, kubetest.Encoded(half)), kubetest.Open(kubetest.Event("MODIFIED", done))}, "watch 100, get, watch 150", "", 150 * time.Millisecond},
		{"410 and done in the meantime", []kubetest.Scene{kubetest.No(410, "Expired"), kubetest.Answer(200, kubetest.Encoded(done))}, "watch 100, get", "", 0},
		{"410 and the read fails at first", []kubetest.Scene{kubetest.No(410, "Gone"), kubetest.No(500, "InternalError"), kubetest.No(410, "Gone"), kubetest.Answer(200, kubetest.Encoded(done))}, "watch 100, get, watch 100, get", "", 150 * time.Millisecond},
		{"401 while the token is renewed", []kubetest.Scene{kubetest.No(401, "Unauthorized"), kubetest.No(401, "Unauthorized"), kubetest.Open(kubetest.Event("MODIFIED", done))}, "watch 100, watch 100, watch 100", "", time.Second},
		{"503", []kubetest.Scene{kubetest.No(503, "ServiceUnavailable"), kubetest.Open(kubetest.Event("MODIFIED", done))}, "watch 100, watch 100", "", time.Second},
		{"403 on the watch: polls", []kubetest.Scene{kubetest.No(403, "Forbidden"), kubetest.Answer(200, kubetest.Encoded(half)), kubetest.Answer(200, kubetest.Encoded(done))}, "watch 100, get, get", "", time.Second},
		{"405 on the watch: polls", []kubetest.Scene{kubetest.No(405, "MethodNotAllowed"), kubetest.Answer(200, kubetest.Encoded(done))}, "watch 100, get", "", 0},
		{"403 on the watch, and on a read for a while", []kubetest.Scene{kubetest.No(403, "Forbidden"), kubetest.No(403, "Forbidden"), kubetest.No(401, "Unauthorized"), kubetest.No(403, "Forbidden"), kubetest.Answer(200, kubetest.Encoded(done))}, "watch 100, get, get, get, get", "", 3 * time.Second},
		{"503 for a while, and 403 for a moment", append(slices.Repeat([]kubetest.Scene{kubetest.No(503, "ServiceUnavailable")}, 15), kubetest.No(403, "Forbidden"), kubetest.No(403, "Forbidden"), kubetest.Answer(200, kubetest.Encoded(done))), "watch 100" + strings.Repeat(", watch 100", 15) + ", get, get", "", 5 * time.Minute},
		{"an earlier generation does not count", []kubetest.Scene{kubetest.Open(kubetest.Event("MODIFIED", old), kubetest.Event("MODIFIED", half), kubetest.Event("MODIFIED", done))}, "watch 100", "", 0},
		{"garbage in the watch", []kubetest.Scene{kubetest.Events(`{"type": "MODIFIED", "object": {`), kubetest.Open(kubetest.Event("MODIFIED", done))}, "watch 100, watch 100", "", 150 * time.Millisecond},

		{"deleted", []kubetest.Scene{kubetest.Open(kubetest.Event("MODIFIED", half), kubetest.Event("DELETED", half))}, "watch 100", "it was deleted while it was waited for; find out who deleted it, and deploy again", 0},
		{"deleted while nobody looked", []kubetest.Scene{kubetest.No(410, "Expired"), kubetest.No(404, "NotFound")}, "watch 100, get", "it was deleted while it was waited for; find out who deleted it, and deploy again", 0},
		{"being deleted", []kubetest.Scene{kubetest.Open(kubetest.Event("MODIFIED", ending))}, "watch 100", "it is being deleted while it is waited for; find out who deletes it, and deploy again", 0},
		{"replaced", []kubetest.Scene{kubetest.No(410, "Expired"), kubetest.Answer(200, kubetest.Encoded(replaced)), kubetest.Open()}, "watch 100, get", "somebody deleted it and created it anew while it was waited for; find out who did, and deploy again", 0},
		{"another run", []kubetest.Scene{kubetest.Open(kubetest.Event("MODIFIED", taken))}, "watch 100", "another run has deployed it while it was waited for; look at that run", 0},
		{"somebody edits the image", []kubetest.Scene{kubetest.Open(kubetest.Event("MODIFIED", edited))}, "watch 100", "somebody changed its images to host/model:2 while it was waited for; find out who else deploys it, and deploy again", 0},
		{"never readable", []kubetest.Scene{kubetest.No(403, "Forbidden")}, "watch 100, get", `its state cannot be read: the server said no; allow "get" and "watch" on deployments.apps to whoever deploys`, time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{modelPath: tt.script}}
				change := changeOf(deployed(t, 100, 2))
				change.Before, change.Action = deployed(t, 90, 2), kube.Configured
				got := waitForChanges(t, s, Options{FailFast: true}, change)
				if got.took > tt.atMost {
					t.Errorf("took %s, want at most %s", got.took, tt.atMost)
				}
				if asked := s.Requests(modelPath); !strings.HasPrefix(asked, tt.asked) || tt.says == "" && asked != tt.asked {
					t.Error("requests:", cmp.Diff(tt.asked, asked))
				}
				if tt.says == "" {
					if got.err != nil || !got.statuses[0].Ready || got.statuses[0].Live.GetResourceVersion() != "200" {
						t.Errorf("error %v, status %v", got.err, got.statuses[0])
					}
					return
				}
				var failed *FailedError
				if !errors.As(got.err, &failed) || got.statuses[0].Ready {
					t.Fatalf("error %v", got.err)
				}
				if want := "Deployment default/model: " + tt.says; got.err.Error() != want {
					t.Error(cmp.Diff(want, got.err.Error()))
				}
				if failed.ByOthers() == (tt.name == "never readable") {
					t.Errorf("by others: %v", failed.ByOthers())
				}
			})
		})
	}
}

// TestOutage holds that a server which cannot be asked is told of, and only
// while it cannot.
func TestOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := func(w http.ResponseWriter, r *http.Request) {
			if time.Since(objecttest.Start()) < 10*time.Second {
				kubetest.No(503, "ServiceUnavailable")(w, r)
				return
			}
			kubetest.Open()(w, r)
		}
		s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{servicePath: {down}}}
		got := waitFor(t, s, Options{FailFast: true, Timeout: 30 * time.Second}, balancer(t, ""))
		want := "service/model: waiting for an address from the load balancer\n" +
			"service/model: waiting for an address from the load balancer; it cannot be read at the moment: the server said no\n" +
			"service/model: waiting for an address from the load balancer\n" +
			"service/model: waiting for an address from the load balancer; no time left"
		if diff := cmp.Diff(want, got.told); diff != "" {
			t.Error(diff)
		}
	})
}
