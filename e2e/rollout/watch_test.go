package rollout_test

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/proxy"
)

const gone = `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old resource version"}`

func refused(reason string) string {
	return `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "` + reason + `", "message": "the test says no"}`
}

// TestBrokenWatches breaks every watch of a rollout in one way or another. What
// is slow has to become ready, and what crashes has to fail, for the same reasons
// as ever.
func TestBrokenWatches(t *testing.T) {
	t.Parallel()
	faults := map[string]proxy.Fault{
		"cut after a second": {CutAfterMS: 1000},
		"cut at once":        {CutAfterMS: 1},
		"410":                {Status: 410, Body: gone},
		"403":                {Status: 403, Body: refused("Forbidden")},
		"401 a few times":    {Status: 401, Body: refused("Unauthorized"), Times: 8},
		"503 a few times":    {Status: 503, Body: refused("ServiceUnavailable"), Times: 8},
		"reset a few times":  {ResetBefore: true, Times: 5},
		"silent":             {DelayMS: 600_000},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := cloudtest.New(t)
			fault.Client, fault.Path = x.Client, "watch=true"
			t.Cleanup(x.Cloud.Proxy.Faults.Add(fault))
			manifest := workload("Deployment", "replicas: 2", "")
			want(x, deploy(x, 1, manifest, map[string]string{"model.start-after": "4s"}, nil), "deployed")
			want(x, deploy(x, 2, manifest, crashes, nil), "rolled-back", `container "model" crashed with exit code 3`, "no weights")
		})
	}
}

// TestOldDeadline holds that a deadline which an earlier rollout exceeded does
// not fail the next one.
func TestOldDeadline(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	manifest := workload("Deployment", "replicas: 2\n  progressDeadlineSeconds: 5", "")
	never := deploy(x, 1, manifest, map[string]string{"model.status": "503"}, map[string]string{"rollback": "false", "timeout": "20s"})
	want(x, never, "failed", "it made no progress for 5 seconds, its progressDeadlineSeconds", "HTTP probe failed with statuscode: 503")
	slow := strings.Replace(manifest, "Seconds: 5", "Seconds: 60", 1)
	want(x, deploy(x, 2, slow, map[string]string{"model.start-after": "3s"}, nil), "deployed")
}

// TestSilentWatches lets the watches of any subset of resources be silent, as behind
// a middlebox that forgot them: no healthy deploy fails, and none is rolled back.
func TestSilentWatches(t *testing.T) {
	t.Parallel()
	resources := []string{"deployments", "replicasets", "pods", "endpointslices", "services", "events"}
	for i := range cloudtest.Sample(6, 200) {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			x := cloudtest.New(t)
			var silent []string
			for _, r := range resources {
				if rand.IntN(2) == 0 {
					continue
				}
				silent = append(silent, r)
				t.Cleanup(x.Cloud.Proxy.Faults.Add(proxy.Fault{Client: x.Client, Path: "/" + r + "?allowWatchBookmarks=true", DelayMS: 600_000}))
			}
			manifest := lasting("Deployment", "replicas: 2") + exposed
			want(x, deploy(x, 1, manifest, map[string]string{"model.start-after": "2s"}, nil), "deployed")
			r := deploy(x, 2, manifest, map[string]string{"model.start-after": "2s"}, nil)
			want(x, r, "deployed")
			cloudtest.Figure(t, "silent %s: %.0f s", strings.Join(silent, ", "), r.Duration.Seconds())
		})
	}
}
