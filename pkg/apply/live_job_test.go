package apply_test

import (
	"context"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/apply"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

// Jobs end without a node: at once if they want nothing completed, and by their deadline.
const (
	succeeds = "completions: 0"
	fails    = "activeDeadlineSeconds: 1"
	runs     = "completions: 1"
)

func job(image, spec string, metadata ...string) string {
	return `apiVersion: batch/v1
kind: Job
metadata: {name: migrate, ` + strings.Join(metadata, ", ") + `}
spec:
  ` + spec + `
  template:
    spec:
      restartPolicy: Never
      nodeSelector: {none: none}
      containers: [{name: migrate, image: "` + image + `"}]
`
}

// ends waits until the Job has a condition.
func (e *env) ends(condition string) *unstructured.Unstructured {
	e.Helper()
	for range 300 {
		live := e.get(e.documents(job("", ""))[0])
		if c, _ := object.ConditionOf(live, condition); c.Status == "True" {
			return live
		}
		time.Sleep(100 * time.Millisecond)
	}
	e.Fatalf("the Job is not %s", condition)
	return nil
}

func (e *env) pods() int {
	e.Helper()
	list, err := e.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(e.namespace).List(e.Context(), metav1.ListOptions{LabelSelector: "job-name=migrate"})
	if err != nil {
		e.Fatal(err)
	}
	return len(list.Items)
}

func TestLiveJobThatHasEnded(t *testing.T) {
	t.Parallel()
	for spec, condition := range map[string]string{succeeds: "Complete", fails: "Failed"} {
		t.Run(condition, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			e.must(e.options("1"), job("example.com/model:1", spec))
			before := e.ends(condition)
			if got := lines(e.must(e.options("2"), job("example.com/model:1", spec))); got != "job.batch/migrate unchanged" {
				t.Errorf("the same again: %s", got)
			}
			e.logged()
			changes := e.must(e.options("3"), job("example.com/model:2", spec))
			if got := lines(changes); got != "job.batch/migrate replaced" {
				t.Error(got)
			}
			if got := e.logged(); !strings.Contains(got, "is deleted with its pods, and created anew: its template is another one") {
				t.Errorf("the log says %q", got)
			}
			now := e.get(e.documents(job("", ""))[0])
			if now.GetUID() == before.GetUID() || now.GetUID() != changes[0].After.GetUID() || imageOf(now.Object) != "example.com/model:2" {
				t.Errorf("it is %v", now.Object)
			}
			if got := lines(e.must(e.options("4"), job("example.com/model:2", spec))); got != "job.batch/migrate unchanged" {
				t.Errorf("the same again: %s", got)
			}
			// What has run cannot be put back, and hinders nothing else.
			restored, err := apply.Restore(t.Context(), apply.UndoOf(changes), e.options("3"))
			if err != nil || len(restored) != 1 || restored[0].Outcome != apply.OutcomeNew || !strings.Contains(restored[0].String(), "job.batch/migrate left: this deploy replaced it") {
				t.Errorf("%v, %v", restored, err)
			}
		})
	}
}

func TestLiveJobThatRuns(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.must(e.options("1"), job("example.com/model:1", runs))
	_, err := e.deploy(e.options("2"), settings("{a: b}")+job("example.com/model:2", runs))
	if err == nil || !strings.Contains(err.Error(), "Job "+e.namespace+"/migrate: is still running") || !strings.Contains(err.Error(), "kubectl delete job migrate -n "+e.namespace) {
		t.Errorf("error %v", err)
	}
	if live := e.get(e.documents(job("", ""))[0]); imageOf(live.Object) != "example.com/model:1" {
		t.Error("it was touched")
	}
	if _, err := e.at(e.documents(settings("{}"))[0]).Get(t.Context(), "settings", metav1.GetOptions{}); err == nil {
		t.Error("something was written before the Job was refused")
	}
}

// A Job that has ended goes only for one that will be accepted.
func TestLiveJobThatIsRefused(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.must(e.options("1"), job("example.com/model:1", succeeds))
	before := e.ends("Complete")
	_, err := e.deploy(e.options("2"), strings.ReplaceAll(job("example.com/model:2", succeeds), "Never", "Always"))
	if err == nil || !strings.Contains(err.Error(), "spec.template.spec.restartPolicy") {
		t.Errorf("error %v", err)
	}
	if now := e.get(e.documents(job("", ""))[0]); now.GetUID() != before.GetUID() {
		t.Error("it is gone")
	}
}

// A run that died after the delete leaves a Job that is going, or none.
func TestLiveJobAfterADeath(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.must(e.options("1"), job("example.com/model:1", succeeds, "finalizers: [example.com/keep]"))
	e.ends("Complete")
	foreground := metav1.DeletePropagationForeground
	at := e.at(e.documents(job("", ""))[0])
	if err := at.Delete(t.Context(), "migrate", metav1.DeleteOptions{PropagationPolicy: &foreground}); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(500*time.Millisecond, func() {
		// Without a version: its controller writes it in the same moment.
		_, err := at.Patch(t.Context(), "migrate", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{FieldManager: "somebody"})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	if got := lines(e.must(e.options("2"), job("example.com/model:2", succeeds))); got != "job.batch/migrate replaced" {
		t.Error(got)
	}
}

// One that failed and has to succeed runs again when the deploy is repeated.
func TestLiveJobOfAPhaseRunsAgain(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	before := `annotations: {deploy-model-action/phase: before}`
	e.must(e.options("1"), job("example.com/model:1", fails, before))
	e.ends("Failed")
	var awaited []string
	o := e.options("2")
	o.Await = func(_ context.Context, changes []kube.Change) error {
		awaited = append(awaited, lines(changes))
		return nil
	}
	e.must(o, job("example.com/model:1", fails, before))
	if got := strings.Join(awaited, "\n"); got != "job.batch/migrate replaced" {
		t.Errorf("waits for %q", got)
	}
	e.ends("Failed")
	if n := e.pods(); n > 1 {
		t.Errorf("%d pods are there", n)
	}
	// It succeeded: there is nothing to do.
	e.must(e.options("3"), job("example.com/model:2", succeeds, before))
	e.ends("Complete")
	if got := lines(e.must(e.options("4"), job("example.com/model:2", succeeds, before))); got != "job.batch/migrate unchanged" {
		t.Error(got)
	}
}
