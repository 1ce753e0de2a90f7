package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/org/deploy-model-action/e2e/localcloud"
)

const serving = `apiVersion: apps/v1
kind: Deployment
metadata: {name: verdict}
spec:
  replicas: 2
  minReadySeconds: 0
  selector: {matchLabels: {app: verdict}}
  template:
    metadata: {labels: {app: verdict}}
    spec: {containers: [{name: model, image: "%[1]s/model:latest"}]}
`

const failing = `apiVersion: batch/v1
kind: Job
metadata: {name: verdict-%[2]d}
spec:
  backoffLimit: 0
  template:
    spec: {restartPolicy: Never, containers: [{name: model, image: "%[1]s/model:latest"}]}
`

// verdict measures how long after the status that proves success or failure the
// process has ended. The API server's own timestamps count whole seconds, so
// the moment is when a watch beside the action receives that status.
func (b *bench) verdict(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(b.cloud.ControlPlane.Config)
	if err != nil {
		return err
	}
	folder, _, err := b.workspace(ctx, fmt.Sprintf(serving, localcloud.RegistryHost))
	if err != nil {
		return err
	}
	var success, failure []time.Duration
	for range tries {
		sha, err := b.commit(ctx)
		if err != nil {
			return err
		}
		w, err := client.AppsV1().Deployments("default").Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=verdict"})
		if err != nil {
			return err
		}
		late, err := b.after(ctx, w, rolledOut(sha), func() error {
			_, err := b.deploy(ctx, folder, sha, b.address(), "verdict")
			return err
		})
		if err != nil {
			return err
		}
		success = append(success, late)
	}
	for i := range tries {
		folder, _, err := b.workspace(ctx, fmt.Sprintf(failing, localcloud.RegistryHost, i))
		if err != nil {
			return err
		}
		sha := fmt.Sprintf("%040x", 1<<20+b.count)
		if _, err := b.cloud.Registry.Push(ctx, localcloud.RegistryHost+"/model:"+sha, map[string]string{"model.exit-code": "1"}); err != nil {
			return err
		}
		w, err := client.BatchV1().Jobs("default").Watch(ctx, metav1.ListOptions{FieldSelector: fmt.Sprintf("metadata.name=verdict-%d", i)})
		if err != nil {
			return err
		}
		late, err := b.after(ctx, w, jobFailed, func() error {
			if result, err := b.deploy(ctx, folder, sha, b.address(), "verdict"); result == nil || result.ExitCode != 1 {
				return fmt.Errorf("a failing Job did not fail the deploy: %w", err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		failure = append(failure, late)
	}
	for _, m := range []struct {
		what  string
		times []time.Duration
	}{{"from the status that proves success to the end, slowest of 5", success}, {"from the status that proves failure to the end, slowest of 5", failure}} {
		slowest := slices.Max(m.times)
		fmt.Printf("%-76s %7.2f s   (budget 0.5)%s\n", m.what, slowest.Seconds(), over(slowest > time.Second/2))
	}
	return nil
}

// after runs act and returns how long after the first event that proves it ended.
func (b *bench) after(ctx context.Context, w watch.Interface, proves func(watch.Event) bool, act func() error) (time.Duration, error) {
	defer w.Stop()
	seen := make(chan time.Time, 1)
	go func() {
		for e := range w.ResultChan() {
			if proves(e) {
				seen <- time.Now()
				return
			}
		}
	}()
	if err := act(); err != nil {
		return 0, err
	}
	end := time.Now()
	select {
	case at := <-seen:
		return end.Sub(at), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(5 * time.Second):
		return 0, errors.New("the action ended before the status that proves it was seen")
	}
}

func rolledOut(sha string) func(watch.Event) bool {
	return func(e watch.Event) bool {
		d, ok := e.Object.(*appsv1.Deployment)
		if !ok || d.Status.ObservedGeneration < d.Generation || len(d.Spec.Template.Spec.Containers) == 0 {
			return false
		}
		s := d.Status
		return strings.Contains(d.Spec.Template.Spec.Containers[0].Image, ":"+sha) &&
			s.UpdatedReplicas == *d.Spec.Replicas && s.Replicas == *d.Spec.Replicas && s.AvailableReplicas == *d.Spec.Replicas
	}
}

func jobFailed(e watch.Event) bool {
	j, ok := e.Object.(*batchv1.Job)
	return ok && slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == batchv1.JobFailed && c.Status == "True"
	})
}
