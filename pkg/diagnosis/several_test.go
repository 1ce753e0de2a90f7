package diagnosis

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
	"github.com/org/deploy-model-action/pkg/workload/workloadtest"
)

// TestReady holds that a ready pod of an earlier revision is not taken for one of
// the new revision, nor one of a stranger for either.
func TestReady(t *testing.T) {
	t.Parallel()
	stranger := workloadtest.ReplicaSet(t, "stranger", "1", workloadtest.Template, `{}`)
	stranger.SetOwnerReferences(nil)
	sets := []unstructured.Unstructured{
		*workloadtest.ReplicaSet(t, "new", "2", workloadtest.Template, `{}`),
		*workloadtest.ReplicaSet(t, "old", "1", strings.Replace(workloadtest.Template, "v2", "v1", 1), `{}`), *stranger,
	}
	pod := func(name, owner, status string) unstructured.Unstructured {
		return *workloadtest.Pod{Name: name, Owner: owner, Status: status}.Object(t)
	}
	for name, tt := range map[string]struct {
		pods          []unstructured.Unstructured
		live, earlier int
	}{
		"none":                   {},
		"old pods only":          {[]unstructured.Unstructured{pod("a", "old", workloadtest.Ready), pod("b", "old", workloadtest.Ready), pod("c", "new", workloadtest.Running)}, 0, 2},
		"both":                   {[]unstructured.Unstructured{pod("a", "old", workloadtest.Ready), pod("b", "new", workloadtest.Ready)}, 1, 1},
		"new pods only":          {[]unstructured.Unstructured{pod("a", "new", workloadtest.Ready), pod("b", "old", workloadtest.Running)}, 1, 0},
		"of another workload":    {[]unstructured.Unstructured{pod("a", "stranger", workloadtest.Ready), pod("b", "new", workloadtest.Ready)}, 1, 0},
		"of nobody who is known": {[]unstructured.Unstructured{pod("a", "unknown", workloadtest.Ready)}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := objecttest.Start()
			e := NewEvidence(changeOf(workloadtest.Object(t, "Deployment", 2, `{observedGeneration: 2}`)), now)
			e.Observe(Source{kube.Selection{Resource: kube.ReplicaSets}}, kube.ListUpdate{Listed: true, All: sets}, now)
			e.Observe(Source{kube.Selection{Resource: kube.Pods}}, kube.ListUpdate{Listed: true, All: tt.pods}, now)
			if r := Evaluate(e, now, Options{}); r.Ready != tt.live || r.Earlier != tt.earlier {
				t.Errorf("%d and %d, want %d and %d", r.Ready, r.Earlier, tt.live, tt.earlier)
			}
		})
	}
}

// TestSeveralCauses holds what a user reads of a failure with more than one cause:
// each once, and what to do about it, and nothing of pods that only need longer.
func TestSeveralCauses(t *testing.T) {
	t.Parallel()
	secret := func(name string) PodFailure {
		return PodFailure{
			Pod: "pod-" + name, Reason: "CreateContainerConfigError",
			Cause: `Secret "` + name + `" does not exist in namespace "default", which container "` + name + `" needs`, Fix: `create Secret "` + name + `"`,
		}
	}
	crash := Failure{Object: theModel(), Reason: "CrashLoopBackOff", Cause: `container "model" crashed with exit code 3: no weights`, Fix: "correct the program", Pod: "pod-a"}
	with := func(more int, others ...PodFailure) Failure {
		f := crash
		f.Others, f.More = others, more
		return f
	}
	again := secret("b")
	again.Cause, again.Fix = crash.Cause, crash.Fix
	sameFix := secret("c")
	sameFix.Fix = crash.Fix
	var text strings.Builder
	for _, tt := range []struct {
		name string
		Failure
	}{
		{"one", crash},
		{"two", with(0, secret("a"))},
		{"three", with(0, secret("a"), secret("b"))},
		{"four", with(1, secret("a"), secret("b"))},
		{"many", with(7, secret("a"), secret("b"))},
		{"the same again", with(0, again)},
		{"another cause with the same way out", with(0, sameFix)},
		{"a pod that only needs longer", with(0, PodFailure{Pod: "pod-b", Reason: reasonNotReady, Cause: `container "model" is being created`})},
	} {
		text.WriteString(tt.name + ":\n  " + tt.String() + "\n")
	}
	golden(t, "several.txt", text.String())
}

// TestMoreCauses holds that causes without room are counted, and equal ones once.
func TestMoreCauses(t *testing.T) {
	t.Parallel()
	pod := func(name string, secrets ...string) unstructured.Unstructured {
		var specs, states []string
		for i, secret := range secrets {
			specs = append(specs, fmt.Sprintf(`{name: c%d, image: "r.example/m:v2"}`, i))
			states = append(states, fmt.Sprintf(`{name: c%d, state: {waiting: {reason: CreateContainerConfigError, message: 'secret "%s" not found'}}}`, i, secret))
		}
		return *workloadtest.Pod{
			Name: name, Owner: "new", Spec: "nodeName: node-1, containers: [" + strings.Join(specs, ", ") + "]",
			Status: "{phase: Pending, containerStatuses: [" + strings.Join(states, ", ") + "]}",
		}.Object(t)
	}
	for _, tt := range []struct {
		name        string
		pods        []unstructured.Unstructured
		named, more int
	}{
		{"one", []unstructured.Unstructured{pod("a", "x")}, 1, 0},
		{"one on two pods", []unstructured.Unstructured{pod("a", "x"), pod("b", "x")}, 1, 0},
		{"three", []unstructured.Unstructured{pod("a", "x", "y", "z")}, 3, 0},
		{"five on two pods", []unstructured.Unstructured{pod("a", "v", "w", "x", "y", "z"), pod("b", "v", "w", "x", "y", "z")}, 3, 2},
	} {
		now := objecttest.Start()
		e := NewEvidence(changeOf(workloadtest.Object(t, "Deployment", 2, `{observedGeneration: 2}`)), now)
		e.Observe(Source{kube.Selection{Resource: kube.ReplicaSets}}, kube.ListUpdate{Listed: true, All: []unstructured.Unstructured{*workloadtest.ReplicaSet(t, "new", "2", workloadtest.Template, `{}`)}}, now)
		e.Observe(Source{kube.Selection{Resource: kube.Pods}}, kube.ListUpdate{Listed: true, All: tt.pods}, now)
		if named, more := e.affected(&Failure{Pod: "a"}); len(named) != tt.named || more != tt.more {
			t.Errorf("%s: %d and %d more, want %d and %d", tt.name, len(named), more, tt.named, tt.more)
		}
	}
}
