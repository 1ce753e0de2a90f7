package catalogue_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

// TestSameCommitAgain deploys what is there already: nothing changes, and it
// takes no time.
func TestSameCommitAgain(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	s := scene{name: "again"}
	s.deployGood(x, 1)
	before := s.specs(x, web)
	again := x.Deploy(x.SHA(1), nil)
	if again.ExitCode != 0 || again.Outputs["outcome"] != "unchanged" || again.Outputs["changed"] != "false" {
		t.Errorf("exit code %d, outcome %q, changed %q", again.ExitCode, again.Outputs["outcome"], again.Outputs["changed"])
	}
	if diff := cmp.Diff(before, s.specs(x, web)); diff != "" {
		t.Errorf("it changed (-before +after):\n%s", diff)
	}
	t.Logf("the same commit again took %s", again.Duration.Round(time.Millisecond))
}

// TestSameCommitIll deploys what is there already, but does not serve any more:
// unchanged is not the same as well.
func TestSameCommitIll(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	x.Push(x.SHA(1), map[string]string{"model.exit-code": "1", "model.exit-after": "6s", "model.log": "Fatal: license expired"})
	x.Write("kubernetes/model.yaml", web)
	if first := x.Deploy(x.SHA(1), nil); first.ExitCode != 0 {
		t.Fatalf("exit code %d", first.ExitCode)
	}
	waitFor(t, func() bool {
		pods, err := x.Kube.CoreV1().Pods(x.Namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		looping := 0
		for _, p := range pods.Items {
			if s := p.Status.ContainerStatuses; len(s) == 1 && s[0].State.Waiting != nil && s[0].State.Waiting.Reason == "CrashLoopBackOff" && s[0].RestartCount >= 3 {
				looping++
			}
		}
		return looping == 3
	})
	again := x.Deploy(x.SHA(1), map[string]string{"timeout": "1m"})
	if again.ExitCode != 1 || again.Outputs["outcome"] != "failed" {
		t.Errorf("exit code %d, outcome %q, want 1, failed", again.ExitCode, again.Outputs["outcome"])
	}
	golden(t, "same-commit-ill", x.Verdict(again))
	if !strings.Contains(again.Log, "Fatal: license expired") {
		t.Error("the container's log is not in the log")
	}
}

// waitFor waits for something, for two minutes at most.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
	}
}
