package rollout

import (
	"strings"
	"testing"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

// TestWarnedOnce holds that what is the same of each of many objects of a kind is a
// warning once, and a line for each: GitHub shows ten warnings of a step.
func TestWarnedOnce(t *testing.T) {
	t.Parallel()
	var changes []kube.Change
	for _, kind := range []string{"Model", "Model", "Model", "Index"} {
		c := changeOf(objecttest.FromYAML(t, objecttest.Text("example.com/v1", kind, `{}`, `{phase: Loaded}`)))
		c.Before, c.Action = c.After, kube.Unchanged
		changes = append(changes, c)
	}
	lines, warnings := &kubetest.Recorder{}, &kubetest.Recorder{}
	statuses, err := Wait(t.Context(), kubetest.Serve(t, newWorld(t, nil)).Client, changes, Options{Progress: lines.Line, Warn: warnings.Line})
	if err != nil {
		t.Fatal(err)
	}
	const says = "not waited for: its status has no condition Ready"
	if n := strings.Count(warnings.String(), says); n != 2 {
		t.Errorf("%d warnings, want one of each kind:\n%s", n, warnings)
	}
	if n := strings.Count(lines.String(), says); n != 2 {
		t.Errorf("%d lines, want one for each other object:\n%s", n, lines)
	}
	for _, s := range statuses {
		if !s.Ready || s.Waited {
			t.Errorf("%s is ready: %v, waited for: %v", s, s.Ready, s.Waited)
		}
	}
}
