package rollout

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

// TestTail holds that a model which loads for a minute says how far it is, that
// nobody reads its log more often than every ten seconds, that what is secret stays
// so, and that one which is ready before costs no request.
func TestTail(t *testing.T) {
	t.Parallel()
	deployment := func(ready int) string {
		return storyWorkload("Deployment", `{replicas: 2}`, fmt.Sprintf(`{observedGeneration: 4, replicas: 2, updatedReplicas: 2, readyReplicas: %[1]d, availableReplicas: %[1]d}`, ready))
	}
	pod := func(name string, ready bool) string {
		answer := map[bool]string{false: "False", true: "True"}[ready]
		return storyPod(name, "set", "", fmt.Sprintf(`{phase: Running, conditions: [{type: Ready, status: %q}], containerStatuses: [{name: model, ready: %v, containerID: run-%s, state: {running: {startedAt: %q}}}]}`, answer, ready, name, objecttest.At(2)))
	}
	begun := []moment{{at: 1, object: fmt.Sprintf(storySet, `{}`)}, {at: 2, object: pod("a", false)}, {at: 2, object: pod("b", false)}, {at: 2, object: deployment(0)}}
	until := func(at float64) []moment {
		return append(begun[:4:4], moment{at: at, object: pod("a", true)}, moment{at: at, object: pod("b", true)}, moment{at: at, object: deployment(2)})
	}
	for _, tt := range []struct {
		name    string
		moments []moment
		log     string
		refuse  map[string]int
		most    int // requests for logs
		says    string
		hides   string
	}{
		{name: "loads for a minute", moments: until(60), log: "loading shard 3 of 8\n\n", most: 6, says: `container "model" says: loading shard 3 of 8`},
		{name: "a progress bar", moments: until(60), log: "weights:  10%\rweights:  62%", most: 6, says: `container "model" says: weights: 62%`},
		{name: "a token", moments: until(60), log: "using Authorization: Bearer abcdef0123456789abcdef0123\n", most: 6, says: "[redacted]", hides: "abcdef0123456789"},
		{name: "a command for the runner", moments: until(60), log: "::error::\x1b[31mfake\n", most: 6, says: `container "model" says: ::error::`, hides: "\x1b"},
		{name: "nothing yet", moments: until(60), log: "\n", most: 6, hides: "says:"},
		{name: "ready before", moments: until(6), log: "loading\n", hides: "says:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, tt.moments)
				w.refuse, w.logs = tt.refuse, map[string]string{"a": tt.log, "b": tt.log}
				server := kubetest.Serve(t, w)
				told := &kubetest.Recorder{}
				change := changeOf(objecttest.FromYAML(t, storyWorkload("Deployment", `{replicas: 2}`, `{}`)))
				if _, err := Wait(t.Context(), server.Client, []kube.Change{change}, Options{FailFast: true, Timeout: 2 * time.Minute, Progress: told.Line}); err != nil {
					t.Fatal(err)
				}
				logs := 0
				for _, r := range server.Requests() {
					if strings.Contains(r, "/log?") {
						logs++
					}
				}
				if logs > tt.most || tt.most > 0 && logs < tt.most-2 {
					t.Errorf("%d requests for logs, want %d", logs, tt.most)
				}
				if !strings.Contains(told.String(), tt.says) || tt.hides != "" && strings.Contains(told.String(), tt.hides) {
					t.Errorf("want %q and not %q in\n%s", tt.says, tt.hides, told)
				}
			})
		})
	}
}
