package rollout

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
)

// observeBudget is how long a controller may take until it sees what was restored.
const observeBudget = 10 * time.Second

// freeStatefulSet deletes the pods of the revision that failed, as far as they
// are not ready: a StatefulSet waits for them before it goes back to the earlier
// revision, which is for ever (kubernetes/kubernetes#67250). It returns what it
// did in a few words; "" for nothing. failed is the object before it was restored.
func freeStatefulSet(ctx context.Context, restored, failed *unstructured.Unstructured, client dynamic.ResourceInterface, o Options) string {
	if kindOf(restored) != "apps/StatefulSet" || !seenByController(failed) {
		return ""
	}
	revision := view{live: failed}.text("status", "updateRevision")
	ctx, cancel := context.WithTimeout(ctx, observeBudget)
	defer cancel()
	// Before the controller has seen what was restored it would make the same pod again.
	live := restored
	for !seenByController(live) {
		pauseFor(ctx, spread(250 * time.Millisecond))
		if ctx.Err() != nil {
			return "its controller has not seen it yet"
		}
		if now, err := client.Get(ctx, restored.GetName(), metav1.GetOptions{}); err == nil {
			live = now
		}
	}
	d := newDiagnosis(Target{Object: live}, o)
	if err := d.catchUp(ctx); err != nil || d.lacks("pods") != "" {
		return "whether a pod of the failed revision holds it up could not be checked"
	}
	var deleted, kept []string
	d.mu.Lock()
	stuck := d.blocking(live)
	d.mu.Unlock()
	for _, t := range stuck {
		if t.pod.Labels[appsRevision] != revision {
			continue // not of this deploy
		}
		uid := t.pod.UID
		err := o.Dynamic.Resource(podResource).Namespace(t.pod.Namespace).
			Delete(ctx, t.pod.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
		switch {
		case err == nil:
			deleted = append(deleted, fmt.Sprintf("%q", t.pod.Name))
		case !apierrors.IsNotFound(err) && !apierrors.IsConflict(err): // gone, or another by the same name
			kept = append(kept, t.pod.Name)
		}
	}
	switch {
	case len(kept) > 0:
		return fmt.Sprintf("it waits for pods of the failed revision; delete them: kubectl delete pod %s --namespace=%s", some(kept), restored.GetNamespace())
	case len(deleted) > 0:
		return fmt.Sprintf("deleted pod %s of the failed revision, for which it would have waited", some(deleted))
	}
	return ""
}
