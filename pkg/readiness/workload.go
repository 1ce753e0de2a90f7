package readiness

import (
	"fmt"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
)

// deployment follows kubectl rollout status, except that a deadline which
// was exceeded before this rollout does not count against it.
func deployment(v view) Result {
	if !v.observed() {
		return notObserved
	}
	wanted := v.spec(1, "replicas")
	total, updated, available := v.status("replicas"), v.status("updatedReplicas"), v.status("availableReplicas")
	s := Result{Message: fmt.Sprintf("%d of %d updated, %d ready, %d available", updated, wanted, v.status("readyReplicas"), available)}
	if wanted == 0 {
		s.Warning = "replicas is 0: nothing serves"
	}
	if v.Before != nil && v.Changed && object.Text(v.live, "spec", "strategy", "type") == "Recreate" {
		s.Note = "strategy Recreate: nothing serves between the old pods' end and the new ones' readiness"
	}
	if c, ok := v.condition("Progressing"); ok && c.Reason == "ProgressDeadlineExceeded" && c != v.Previous {
		// Whoever deploys has said how long it may take, and the deadline has a default.
		s.Outcome, s.Failure = Failed, &Failure{
			Reason: c.Reason, AtTimeout: true,
			Cause: fmt.Sprintf("it made no progress for %d seconds, its progressDeadlineSeconds", v.spec(600, "progressDeadlineSeconds")),
			Fix:   "look at its pods and events, or raise progressDeadlineSeconds if they need longer",
		}
	}
	switch {
	case updated < wanted:
	case total > updated:
		s.Message += fmt.Sprintf("; waiting for %s to end", countOf(total-updated, "old pod"))
	case available < updated:
	default:
		s.Outcome, s.Failure = Ready, nil
	}
	if object.Flag(v.live, "spec", "paused") {
		return v.paused(s, total, updated)
	}
	return s
}

// paused is the state of a Deployment that no change of its template reaches. One
// whose pods are of its template all the same serves, and is scaled as ever.
func (v view) paused(s Result, total, updated int64) Result {
	switch {
	case s.Outcome == Ready:
		s.Warning = "paused: it serves what it is to serve, and no later change before `kubectl rollout resume`"
		return s
	case total == updated && v.Before != nil && sameTemplate(v.live, v.Before):
		return s
	}
	return failed(s.Message, v.pausedFailure())
}

// sameTemplate reports whether two states of a workload make the same pods.
func sameTemplate(a, b *unstructured.Unstructured) bool {
	return reflect.DeepEqual(object.Map(a.Object, "spec", "template"), object.Map(b.Object, "spec", "template"))
}

// pausedFailure says who paused a Deployment.
func (v view) pausedFailure() Failure {
	resume := fmt.Sprintf("kubectl rollout resume deployment/%s --namespace=%s", v.live.GetName(), v.live.GetNamespace())
	f := Failure{Reason: "Paused", Cause: "it is paused, so that no pod gets what was deployed", Fix: "resume it, and deploy again: " + resume}
	by, at := object.FieldManagerOf(v.live, "spec", "paused")
	switch {
	case by == object.FieldManager:
		f.Cause += ": its manifest says so"
		f.Fix = "take spec.paused out of the manifest"
	case by != "" && at.IsZero():
		f.Cause += fmt.Sprintf(": %q set spec.paused", line(by))
	case by != "":
		f.Cause += fmt.Sprintf(": %q set spec.paused at %s", line(by), at.UTC().Format(time.RFC3339))
	}
	return f
}

func statefulSet(v view) Result {
	if !v.observed() {
		return notObserved
	}
	wanted := v.spec(1, "replicas")
	total, updated, ready := v.status("replicas"), v.status("updatedReplicas"), v.status("readyReplicas")
	available := v.status("availableReplicas")
	s := Result{Message: fmt.Sprintf("%d of %d updated, %d ready, %d available", updated, wanted, ready, available)}
	if wanted == 0 {
		s.Warning = "replicas is 0: nothing serves"
	}
	current := object.Text(v.live, "status", "currentRevision") == object.Text(v.live, "status", "updateRevision")
	toUpdate := wanted
	if object.Text(v.live, "spec", "updateStrategy", "type") == "OnDelete" {
		if v.Before != nil && updated < wanted && !current {
			return v.onDelete(s, wanted-updated)
		}
		toUpdate, current = 0, true
	} else if partition := v.spec(0, "updateStrategy", "rollingUpdate", "partition"); partition > 0 {
		toUpdate = max(0, wanted-partition)
		if v.Before != nil && !current {
			s.Note = fmt.Sprintf("partition %d: %s the earlier revision", partition, keep(min(partition, wanted)))
		}
		current = true
	}
	switch {
	case updated < toUpdate, ready < wanted:
	case total > wanted:
		s.Message += fmt.Sprintf("; waiting for %s to end", countOf(total-wanted, "pod"))
	case !current:
		s.Message += "; waiting for its controller to finish the update"
	case available < wanted && v.spec(0, "minReadySeconds") > 0:
	default:
		s.Outcome = Ready
	}
	return s
}

func daemonSet(v view) Result {
	if !v.observed() {
		return notObserved
	}
	wanted := v.status("desiredNumberScheduled")
	updated, available := v.status("updatedNumberScheduled"), v.status("numberAvailable")
	s := Result{Message: fmt.Sprintf("%d of %d updated, %d ready, %d available", updated, wanted, v.status("numberReady"), available)}
	if wanted == 0 {
		s.Warning = "no node matches it: nothing serves"
	}
	if object.Text(v.live, "spec", "updateStrategy", "type") == "OnDelete" && updated < wanted && v.Before != nil {
		return v.onDelete(s, wanted-updated)
	}
	if updated >= wanted && available >= wanted {
		s.Outcome = Ready
	}
	return s
}

// replicaSet evaluates ReplicaSets and ReplicationControllers. They do not
// update pods that are there; only their number counts.
func replicaSet(v view) Result {
	if !v.observed() {
		return notObserved
	}
	wanted := v.spec(1, "replicas")
	total, available := v.status("replicas"), v.status("availableReplicas")
	s := Result{Message: fmt.Sprintf("%d of %d there, %d ready, %d available", total, wanted, v.status("readyReplicas"), available)}
	if wanted == 0 {
		s.Warning = "replicas is 0: nothing serves"
	}
	if total == wanted && available >= wanted {
		s.Outcome = Ready
	}
	return s
}

// onDelete is the state of a workload whose pods are updated by whoever deletes
// them, which may be never.
func (v view) onDelete(s Result, old int64) Result {
	s.Outcome = NotWaitedFor
	s.Warning = fmt.Sprintf("updateStrategy OnDelete: %s the earlier revision until somebody deletes it; not waited for", keep(old))
	return s
}

func keep(n int64) string {
	if n == 1 {
		return "1 pod keeps"
	}
	return fmt.Sprintf("%d pods keep", n)
}
