package catalogue_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
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
// unchanged is not the same as well, also if it is up for a moment between two crashes.
func TestSameCommitIll(t *testing.T) {
	t.Parallel()
	for name, is := range map[string]func(corev1.ContainerStatus) bool{
		"waiting": func(s corev1.ContainerStatus) bool {
			return s.State.Waiting != nil && s.State.Waiting.Reason == "CrashLoopBackOff"
		},
		"running": func(s corev1.ContainerStatus) bool { return s.Ready },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := cloudtest.New(t)
			x.Push(x.SHA(1), nil)
			// One pod: several would not all be up, or down, at the same moment.
			x.Write("kubernetes/model.yaml", strings.Replace(container("envFrom: [{configMapRef: {name: license, optional: true}}]"), "replicas: 3", "replicas: 1", 1))
			if first := x.Deploy(x.SHA(1), nil); first.ExitCode != 0 {
				t.Fatalf("exit code %d", first.ExitCode)
			}
			expire(x)
			waitFor(t, func() bool {
				pods, err := x.Kube.CoreV1().Pods(x.Namespace).List(t.Context(), metav1.ListOptions{})
				if err != nil {
					t.Fatal(err)
				}
				return slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool {
					s := p.Status.ContainerStatuses
					return len(s) == 1 && is(s[0]) && s[0].RestartCount >= 3
				})
			})
			again := x.Deploy(x.SHA(1), map[string]string{"timeout": "1m"})
			if again.ExitCode != 1 || again.Outputs["outcome"] != "failed" {
				t.Errorf("exit code %d, outcome %q, want 1, failed", again.ExitCode, again.Outputs["outcome"])
			}
			golden(t, "same-commit-ill", x.Verdict(again))
			if !strings.Contains(again.Log, "Fatal: license expired") {
				t.Error("the container's log is not in the log")
			}
		})
	}
}

// expire makes new pods of a model that ends a while after each start.
func expire(x *cloudtest.Test) {
	x.Helper()
	license := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "license"},
		Data:       map[string]string{"MODEL_EXIT_CODE": "1", "MODEL_EXIT_AFTER": "6s", "MODEL_LOG": "Fatal: license expired"},
	}
	if _, err := x.Kube.CoreV1().ConfigMaps(x.Namespace).Create(x.Context(), license, metav1.CreateOptions{}); err != nil {
		x.Fatal(err)
	}
	if err := x.Kube.CoreV1().Pods(x.Namespace).DeleteCollection(x.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		x.Fatal(err)
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

// TestIllOfAFailedDeploy deploys a model that crashes, and then the same with another
// ConfigMap beside it: that the model was ill before is no excuse, as no deploy has
// ever seen it serve.
func TestIllOfAFailedDeploy(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	x.Push(x.SHA(1), cloudtest.Crashes)
	x.Write("kubernetes/model.yaml", web)
	settings := func(value string) {
		x.Write("kubernetes/settings.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {level: "+value+"}\n")
	}
	settings("low")
	if first := x.Deploy(x.SHA(1), nil); first.ExitCode != 1 || first.Outputs["outcome"] != "failed" {
		t.Fatalf("exit code %d, outcome %q", first.ExitCode, first.Outputs["outcome"])
	}
	settings("high")
	if again := x.Deploy(x.SHA(1), nil); again.ExitCode != 1 || again.Outputs["outcome"] == "deployed" || !strings.Contains(again.Log, "deployment.apps/model unchanged") {
		t.Errorf("exit code %d, outcome %q, want it to fail", again.ExitCode, again.Outputs["outcome"])
	}
}
