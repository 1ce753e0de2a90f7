package diagnosis

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

// TestReconsider holds that a probe is named which ended a container, also when the
// container runs again by the time that the event says so, and nothing else is.
func TestReconsider(t *testing.T) {
	t.Parallel()
	const runsAgain = `
spec: {containers: [{name: model}]}
status:
  phase: Running
  containerStatuses:
  - name: model
    ready: true
    restartCount: 3
    state: {running: {}}
    lastState: {terminated: {exitCode: 0, reason: Completed, startedAt: "2000-01-01T00:00:05Z"}}`
	killing := func(probe string, after time.Duration) Event {
		return Event{Reason: "Killing", Container: "model", Message: "Container model failed " + probe + " probe, will be restarted", Last: objecttest.Start().Add(after)}
	}
	for _, tt := range []struct {
		name   string
		given  Failure
		events []Event
		want   string
	}{
		{"liveness", Failure{Reason: "CrashLoopBackOff", Container: "model"}, []Event{killing("liveness", 9*time.Second)}, "LivenessProbeFailed"},
		{"startup", Failure{Reason: "CrashLoopBackOff", Container: "model"}, []Event{killing("startup", 9*time.Second)}, "StartupProbeFailed"},
		{"an earlier run", Failure{Reason: "CrashLoopBackOff", Container: "model"}, []Event{killing("liveness", 4*time.Second)}, "CrashLoopBackOff"},
		{"no event", Failure{Reason: "CrashLoopBackOff", Container: "model"}, nil, "CrashLoopBackOff"},
		{"another container", Failure{Reason: "CrashLoopBackOff", Container: "sidecar"}, []Event{killing("liveness", 9*time.Second)}, "CrashLoopBackOff"},
		{"another reason", Failure{Reason: "OOMKilled", Container: "model"}, []Event{killing("liveness", 9*time.Second)}, "OOMKilled"},
	} {
		state := stateOf(t, "Deployment", runsAgain, tt.events...)
		e := &Evidence{states: map[types.UID]*podState{state.UID: state}}
		f := tt.given
		f.Pod, f.Cause = state.Name, "it ends by itself"
		e.reconsider(&f)
		if f.Reason != tt.want || (f.Cause == "it ends by itself") != (tt.want == tt.given.Reason) {
			t.Errorf("%s: %s: %s", tt.name, f.Reason, f.Cause)
		}
		if tt.want == "LivenessProbeFailed" && !strings.Contains(f.Cause, "liveness probe, restarted 3 times") {
			t.Errorf("%s: %s", tt.name, f.Cause)
		}
	}
}
