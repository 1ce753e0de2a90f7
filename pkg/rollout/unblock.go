package rollout

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/retry"
	"github.com/org/deploy-model-action/pkg/workload"
)

const (
	// unblockTimeout is how long a controller may take until it observes what was restored.
	unblockTimeout = 10 * time.Second
	unblockPause   = 250 * time.Millisecond
)

// Unblock deletes the pods of the revision that failed, as far as they are not
// ready: a StatefulSet waits for them before it goes back to the earlier revision,
// which is for ever (kubernetes/kubernetes#67250). It is called when everything is
// restored, so that the pods that are made anew read what was there before.
//
// Of each change, Before is the object just before it was restored, and After as
// it is restored. What was done, and what has to be done by hand, is reported.
func Unblock(ctx context.Context, client *kube.Client, restored []kube.Change, o Options) {
	out := &printer{options: o.withDefaults()}
	var group sync.WaitGroup
	for _, c := range restored {
		if c.Before == nil || c.After == nil || workload.Pods(c.After).Kind != "StatefulSet" || !workload.Observed(c.Before) {
			continue
		}
		group.Go(func() {
			defer fault.Catch(ctx)
			if text := unblock(ctx, client, c); text != "" {
				out.line(c.ID().Resource() + ": " + text)
			}
		})
	}
	group.Wait()
}

// unblock says in a few words what it did; "" for nothing.
func unblock(ctx context.Context, client *kube.Client, c kube.Change) string {
	failed := object.Text(c.Before, "status", "updateRevision")
	ctx, cancel := context.WithTimeout(ctx, unblockTimeout)
	defer cancel()
	// Before the controller has observed what was restored it would make the same pod again.
	live := c.After
	for !workload.Observed(live) {
		if retry.Sleep(ctx, unblockPause) != nil {
			return "its controller has not observed yet what was restored"
		}
		if now, err := client.Get(ctx, c.Ref, kube.Patience{}); err == nil && now != nil {
			live = now
		}
	}
	list, err := client.List(ctx, kube.Selection{Resource: kube.Pods, Namespace: c.Namespace, Labels: workload.Pods(live).Selector})
	if err != nil {
		return "whether a pod of the failed revision holds it up could not be checked"
	}
	var deleted, kept []string
	revision := workload.NewRevision(live, nil)
	for _, pod := range revision.Select(workload.ToPods(list.Items), revision.Blocks) {
		if pod.Labels[workload.RevisionLabel] != failed {
			continue // not of this deploy
		}
		ref := kube.Ref{Resource: kube.Pods, Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name}
		err := client.Delete(ctx, ref, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &pod.UID}})
		switch {
		case err == nil:
			deleted = append(deleted, fmt.Sprintf("%q", pod.Name))
		case !apierrors.IsConflict(err): // another by the same name
			kept = append(kept, pod.Name)
		}
	}
	switch {
	case len(kept) > 0:
		return fmt.Sprintf("it waits for pods of the failed revision; delete them: kubectl delete pod %s --namespace=%s", object.JoinFirst(kept), c.Namespace)
	case len(deleted) > 0:
		return fmt.Sprintf("deleted pod %s of the failed revision, for which it would have waited", object.JoinFirst(deleted))
	}
	return ""
}
