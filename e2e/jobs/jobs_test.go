package jobs_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

// job is one that runs the model's image; how it ends says its environment.
func job(metadata, env string) string {
	return `---
apiVersion: batch/v1
kind: Job
metadata: {` + metadata + `}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: job
          image: ` + image + `:latest
          ` + env + "\n"
}

// endsWell are the lines of a container that does.
const endsWell = `env: [{name: MODEL_EXIT_CODE, value: "0"}]`

func images(x *cloudtest.Test) string {
	x.Helper()
	d, err := x.Kube.AppsV1().Deployments(x.Namespace).Get(x.Context(), "model", metav1.GetOptions{})
	if err != nil {
		return ""
	}
	return d.Spec.Template.Spec.Containers[0].Image
}

func jobs(x *cloudtest.Test) []string {
	x.Helper()
	list, err := x.Kube.BatchV1().Jobs(x.Namespace).List(x.Context(), metav1.ListOptions{})
	if err != nil {
		x.Fatal(err)
	}
	var names []string
	for _, j := range list.Items {
		names = append(names, j.Name)
	}
	return names
}

func TestJobs(t *testing.T) {
	t.Parallel()
	const before, after = "annotations: {deploy-model-action/phase: before}", "annotations: {deploy-model-action/phase: after}"
	x := cloudtest.New(t)
	x.Push(x.SHA(1), nil)
	x.Push(x.SHA(2), nil)
	deploy := func(name string, sha int, manifest, want string) string {
		t.Helper()
		r := at(x, name, manifest).Deploy(x.SHA(sha), nil)
		wantOutcome(x, r, want)
		return r.Log
	}
	set := func(metadata, env string) string { return reads("info") + job(metadata, env) }

	deploy("first", 1, set("name: migrate", endsWell), "deployed")
	served := images(x)
	log := deploy("replaced", 2, set("name: migrate", endsWell), "deployed")
	if !strings.Contains(log, "job.batch/migrate replaced") {
		t.Error("the Job was not replaced")
	}
	if images(x) == served {
		t.Error("the Deployment is the same")
	}
	served = images(x)
	pods2 := pods(x, "model")

	// A Job that fails before changes nothing that serves.
	log = deploy("fails before", 1, set("name: before, "+before, cloudtest.BrokenEnv("Job")), "failed")
	if images(x) != served || !common(pods2, pods(x, "model")) || strings.Contains(log, "deployment.apps/model configured") {
		t.Error("a Job that failed before the workloads changed one")
	}
	deploy("succeeds before", 1, set("name: before, "+before, endsWell), "deployed")
	if images(x) == served {
		t.Error("the Deployment is the same")
	}
	served = images(x)

	// One that fails after is a failed deploy.
	deploy("fails after", 2, set("name: after, "+after, cloudtest.BrokenEnv("Job")), "rolled-back")
	if images(x) != served {
		t.Error("what served before is not back")
	}
	deploy("succeeds after", 2, set("name: after, "+after, endsWell), "deployed")
	deploy("succeeds after, again", 2, set("name: after, "+after, endsWell), "unchanged")

	// A new one with every deploy.
	n := len(jobs(x))
	for _, name := range []string{"one", "two"} {
		deploy(name, 2, set("generateName: train-", endsWell), "deployed")
	}
	if got := jobs(x); len(got) != n+2 {
		t.Errorf("Jobs %v, which are %d more", got, len(got)-n)
	}
}
