package readiness

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

func TestAsked(t *testing.T) {
	t.Parallel()
	const running = `{.status.phase} == Running`
	deployed := func(status string) string {
		return objecttest.Text("apps/v1", "Deployment", `{replicas: 1}`, status)
	}
	model := func(status string) string { return objecttest.Text("example.com/v1", "Model", `{}`, status) }
	for _, tt := range []struct {
		name, live, annotation, value string
		applied                       string // default: live
		elapsed                       time.Duration
		want                          string
	}{
		{name: "not to be waited for", live: deployed(`{}`), annotation: object.WaitAnnotation, value: "false", want: "skip | not waited for, as its annotation deploy-model-action/wait asks"},
		{name: "a failing one that is not to be waited for", live: deployed(`{observedGeneration: 4, conditions: [` + exceeded + `]}`), annotation: object.WaitAnnotation, value: "false", want: "skip | not waited for, as its annotation deploy-model-action/wait asks"},
		{name: "to be waited for", live: deployed(`{}`), annotation: object.WaitAnnotation, value: "true", want: "waiting | waiting for its controller to see the change"},
		{name: "ready when, and it is", live: model(`{phase: Running}`), applied: model(`{phase: Loading}`), annotation: object.ReadyWhenAnnotation, value: running, want: "ready | {.status.phase} == Running"},
		{name: "ready when, and it is not", live: model(`{phase: Loading}`), annotation: object.ReadyWhenAnnotation, value: running, want: "waiting | waiting for {.status.phase} == Running: it is Loading"},
		{name: "ready when, and nothing is there", live: model(`{}`), elapsed: time.Hour, annotation: object.ReadyWhenAnnotation, value: running, want: "waiting | waiting for {.status.phase} == Running: nothing is there yet"},
		{name: "ready when, as it was before", live: model(`{phase: Running}`), annotation: object.ReadyWhenAnnotation, value: running, want: "waiting | waiting for its controller to see the change"},
		{name: "ready when, as it was before, for a while", live: model(`{phase: Running}`), elapsed: grace, annotation: object.ReadyWhenAnnotation, value: running, want: "ready | {.status.phase} == Running"},
		{name: "ready when, of the generation before", live: model(`{observedGeneration: 3, phase: Running}`), elapsed: time.Hour, annotation: object.ReadyWhenAnnotation, value: running, want: "waiting | waiting for its controller to see the change"},
		{name: "ready when, of the generation before, as a string", live: model(`{observedGeneration: "3", phase: Running}`), elapsed: time.Hour, annotation: object.ReadyWhenAnnotation, value: running, want: "waiting | waiting for its controller to see the change"},
		{name: "ready when, of the live generation", live: model(`{observedGeneration: 4, phase: Running}`), annotation: object.ReadyWhenAnnotation, value: running, want: "ready | {.status.phase} == Running"},
		{name: "one of two is enough for its owner", live: objecttest.Text("apps/v1", "Deployment", `{replicas: 2}`, `{observedGeneration: 4, updatedReplicas: 2, readyReplicas: 1}`), annotation: object.ReadyWhenAnnotation, value: `{.status.readyReplicas} >= 1`, want: "ready | {.status.readyReplicas} >= 1"},
		{name: "a failure of its kind", live: objecttest.Text("batch/v1", "Job", `{}`, `{failed: 1, conditions: [{type: Failed, status: "True", reason: BackoffLimitExceeded}]}`), annotation: object.ReadyWhenAnnotation, value: `{.status.succeeded} >= 1`, want: "failed BackoffLimitExceeded | 0 of 1 completed, 0 active, 1 failed | its pods failed more often than its backoffLimit of 6 allows"},
		{name: "a kind that knows no readiness", live: objecttest.Text("v1", "ConfigMap", `{}`, `{}`), annotation: object.ReadyWhenAnnotation, value: `{.data.ready} == yes`, want: "waiting | waiting for {.data.ready} == yes: nothing is there yet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			live := objecttest.FromYAML(t, tt.live)
			live.SetAnnotations(map[string]string{tt.annotation: tt.value})
			applied := live
			if tt.applied != "" {
				applied = objecttest.FromYAML(t, tt.applied)
				applied.SetAnnotations(live.GetAnnotations())
			}
			got := text(Evaluate(live, Context{Applied: applied, Changed: true, Elapsed: tt.elapsed}))
			if got != tt.want {
				t.Error(cmp.Diff(tt.want, got))
			}
		})
	}
}

// TestAskedInTheManifest holds that what somebody does to the annotations of an
// object that is waited for changes nothing.
func TestAskedInTheManifest(t *testing.T) {
	t.Parallel()
	live := objecttest.FromYAML(t, objecttest.Text("apps/v1", "Deployment", `{replicas: 1}`, `{observedGeneration: 3}`))
	applied := live.DeepCopy()
	live.SetAnnotations(map[string]string{object.WaitAnnotation: "false"})
	if got := Evaluate(live, Context{Applied: applied}); got.Outcome != Pending {
		t.Errorf("outcome %v, want it waited for", got.Outcome)
	}
}
