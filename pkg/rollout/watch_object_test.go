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
)

func TestWatchObject(t *testing.T) {
	t.Parallel()
	half, done := deployed(t, 150, 1), deployed(t, 200, 2)
	old := deployed(t, 160, 2)
	old.SetGeneration(3)
	bookmark := `{"type": "BOOKMARK", "object": {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"resourceVersion": "180"}}}`
	replaced := deployed(t, 170, 2)
	replaced.SetUID("u2")
	taken := deployed(t, 170, 2)
	taken.SetAnnotations(map[string]string{"deploy-model-action/run": "8"})
	edited := deployed(t, 170, 2)
	if err := unstructured.SetNestedField(edited.Object, []any{map[string]any{"name": "model", "image": "host/model:2"}}, "spec", "template", "spec", "containers"); err != nil {
		t.Fatal(err)
	}
	ending := fromYAML(t, strings.Replace(of("apps/v1", "Deployment", `{`+theImage+`}`, `{}`), "uid: u1", `uid: u1, deletionTimestamp: "2000-01-01T00:00:00Z"`, 1))

	tests := []struct {
		name   string
		script []scene
		asked  string
		says   string // instead of readiness
		atMost time.Duration
	}{
		{"the rollout", []scene{open(event("MODIFIED", half), event("MODIFIED", done))}, "watch 100", "", 0},
		{"a cut watch goes on from where it was", []scene{events(event("MODIFIED", half)), open(event("MODIFIED", done))}, "watch 100, watch 150", "", 150 * time.Millisecond},
		{"a watch that is cut at once", []scene{events(), events(), events(), open(event("MODIFIED", done))}, "watch 100, watch 100, watch 100, watch 100", "", 1100 * time.Millisecond},
		{"a connection that is cut", []scene{hangUp, hangUp, open(event("MODIFIED", done))}, "watch 100, watch 100, watch 100", "", 3 * time.Second},
		{"a bookmark moves the place", []scene{events(bookmark), open(event("MODIFIED", done))}, "watch 100, watch 180", "", 150 * time.Millisecond},
		{"410 in the watch", []scene{open(expired), answer(200, encoded(half)), open(event("MODIFIED", done))}, "watch 100, get, watch 150", "", 150 * time.Millisecond},
		{"410 and done in the meantime", []scene{no(410, "Expired"), answer(200, encoded(done))}, "watch 100, get", "", 0},
		{"410 and the read fails at first", []scene{no(410, "Gone"), no(500, "InternalError"), no(410, "Gone"), answer(200, encoded(done))}, "watch 100, get, watch 100, get", "", 150 * time.Millisecond},
		{"401 while the token is renewed", []scene{no(401, "Unauthorized"), no(401, "Unauthorized"), open(event("MODIFIED", done))}, "watch 100, watch 100, watch 100", "", time.Second},
		{"503", []scene{no(503, "ServiceUnavailable"), open(event("MODIFIED", done))}, "watch 100, watch 100", "", time.Second},
		{"403 on the watch: polls", []scene{no(403, "Forbidden"), answer(200, encoded(half)), answer(200, encoded(done))}, "watch 100, get, get", "", time.Second},
		{"405 on the watch: polls", []scene{no(405, "MethodNotAllowed"), answer(200, encoded(done))}, "watch 100, get", "", 0},
		{"403 on the watch, and on a read for a while", []scene{no(403, "Forbidden"), no(403, "Forbidden"), no(401, "Unauthorized"), no(403, "Forbidden"), answer(200, encoded(done))}, "watch 100, get, get, get, get", "", 3 * time.Second},
		{"503 for long, and 403 for a moment", append(slices.Repeat([]scene{no(503, "ServiceUnavailable")}, 400), no(403, "Forbidden"), no(403, "Forbidden"), answer(200, encoded(done))), "watch 100" + strings.Repeat(", watch 100", 400) + ", get, get", "", 5 * time.Minute},
		{"an earlier generation does not count", []scene{open(event("MODIFIED", old), event("MODIFIED", half), event("MODIFIED", done))}, "watch 100", "", 0},
		{"garbage in the watch", []scene{events(`{"type": "MODIFIED", "object": {`), open(event("MODIFIED", done))}, "watch 100, watch 100", "", 150 * time.Millisecond},

		{"deleted", []scene{open(event("MODIFIED", half), event("DELETED", half))}, "watch 100", "it was deleted while it was waited for; find out who deleted it, and deploy again", 0},
		{"deleted while nobody looked", []scene{no(410, "Expired"), no(404, "NotFound")}, "watch 100, get", "it was deleted while it was waited for; find out who deleted it, and deploy again", 0},
		{"being deleted", []scene{open(event("MODIFIED", ending))}, "watch 100", "it is being deleted while it is waited for; find out who deletes it, and deploy again", 0},
		{"replaced", []scene{no(410, "Expired"), answer(200, encoded(replaced)), open()}, "watch 100, get", "somebody deleted it and created it anew while it was waited for; find out who did, and deploy again", 0},
		{"a newer run", []scene{open(event("MODIFIED", taken))}, "watch 100", "a newer run has deployed it while it was waited for; look at that run", 0},
		{"somebody edits the image", []scene{open(event("MODIFIED", edited))}, "watch 100", "somebody changed its images to host/model:2 while it was waited for; find out who else deploys it, and deploy again", 0},
		{"never readable", []scene{no(403, "Forbidden")}, "watch 100, get", `its state cannot be read: the server said no; allow "get" and "watch" on deployments.apps to whoever deploys`, time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &stage{scripts: map[string][]scene{modelPath: tt.script}}
				target := targetOf(deployed(t, 100, 2))
				target.Before = deployed(t, 90, 2)
				got := waitForTargets(t, s, Options{FailFast: true}, target)
				if got.took > tt.atMost {
					t.Errorf("took %s, want at most %s", got.took, tt.atMost)
				}
				if asked := s.requests(modelPath); !strings.HasPrefix(asked, tt.asked) || tt.says == "" && asked != tt.asked {
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
				if want := strings.Contains(tt.name, "newer run"); failed.Superseded() != want {
					t.Errorf("superseded: %v", failed.Superseded())
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
			if time.Since(start) < 10*time.Second {
				no(503, "ServiceUnavailable")(w, r)
				return
			}
			open()(w, r)
		}
		s := &stage{scripts: map[string][]scene{servicePath: {down}}}
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
