package rollout

import "fmt"

// deploymentState follows kubectl rollout status, except that a deadline which
// was exceeded before this rollout does not count against it.
func deploymentState(v view) state {
	if v.flag("spec", "paused") {
		return state{skip: true, warning: "paused: its pods stay as they are until `kubectl rollout resume`; not waited for"}
	}
	if !v.observed() {
		return notObserved
	}
	wanted := v.spec(1, "replicas")
	total, updated, available := v.status("replicas"), v.status("updatedReplicas"), v.status("availableReplicas")
	s := state{message: fmt.Sprintf("%d of %d updated, %d ready, %d available", updated, wanted, v.status("readyReplicas"), available)}
	if wanted == 0 {
		s.warning = "replicas is 0: nothing serves"
	}
	if v.target.Before != nil && v.target.Changed && v.text("spec", "strategy", "type") == "Recreate" {
		s.note = "strategy Recreate: nothing serves between the old pods' end and the new ones' readiness"
	}
	if c, ok := v.condition("Progressing"); ok && c.reason == "ProgressDeadlineExceeded" && c != v.stale {
		cause := fmt.Sprintf("it made no progress for %d seconds, its progressDeadlineSeconds", v.spec(600, "progressDeadlineSeconds"))
		s.failure = v.fail(c.reason, cause, "look at its pods and events, or raise progressDeadlineSeconds if they need longer")
	}
	switch {
	case updated < wanted:
	case total > updated:
		s.message += fmt.Sprintf("; waiting for %s to end", countOf(int(total-updated), "old pod"))
	case available < updated:
	default:
		s.ready, s.failure = true, nil
	}
	return s
}

func statefulSetState(v view) state {
	if !v.observed() {
		return notObserved
	}
	wanted := v.spec(1, "replicas")
	total, updated, ready := v.status("replicas"), v.status("updatedReplicas"), v.status("readyReplicas")
	available := v.status("availableReplicas")
	s := state{message: fmt.Sprintf("%d of %d updated, %d ready, %d available", updated, wanted, ready, available)}
	if wanted == 0 {
		s.warning = "replicas is 0: nothing serves"
	}
	current := v.text("status", "currentRevision") == v.text("status", "updateRevision")
	toUpdate := wanted
	if v.text("spec", "updateStrategy", "type") == "OnDelete" {
		if v.target.Before != nil && updated < wanted && !current {
			return v.onDelete(s, wanted-updated)
		}
		toUpdate, current = 0, true
	} else if partition := v.spec(0, "updateStrategy", "rollingUpdate", "partition"); partition > 0 {
		toUpdate = max(0, wanted-partition)
		if v.target.Before != nil && !current {
			s.note = fmt.Sprintf("partition %d: %s the earlier revision", partition, keep(min(partition, wanted)))
		}
		current = true
	}
	switch {
	case updated < toUpdate, ready < wanted:
	case total > wanted:
		s.message += fmt.Sprintf("; waiting for %s to end", countOf(int(total-wanted), "pod"))
	case !current:
		s.message += "; waiting for its controller to finish the update"
	case available < wanted && v.spec(0, "minReadySeconds") > 0:
	default:
		s.ready = true
	}
	return s
}

func daemonSetState(v view) state {
	if !v.observed() {
		return notObserved
	}
	wanted := v.status("desiredNumberScheduled")
	updated, available := v.status("updatedNumberScheduled"), v.status("numberAvailable")
	s := state{message: fmt.Sprintf("%d of %d updated, %d ready, %d available", updated, wanted, v.status("numberReady"), available)}
	if wanted == 0 {
		s.warning = "no node matches it: nothing serves"
	}
	if v.text("spec", "updateStrategy", "type") == "OnDelete" && updated < wanted && v.target.Before != nil {
		return v.onDelete(s, wanted-updated)
	}
	s.ready = updated >= wanted && available >= wanted
	return s
}

// replicaSetState judges ReplicaSets and ReplicationControllers. They do not
// update pods that are there; only their number counts.
func replicaSetState(v view) state {
	if !v.observed() {
		return notObserved
	}
	wanted := v.spec(1, "replicas")
	total, available := v.status("replicas"), v.status("availableReplicas")
	s := state{message: fmt.Sprintf("%d of %d there, %d ready, %d available", total, wanted, v.status("readyReplicas"), available)}
	if wanted == 0 {
		s.warning = "replicas is 0: nothing serves"
	}
	s.ready = total == wanted && available >= wanted
	return s
}

// onDelete is the state of a workload whose pods are updated by whoever deletes
// them, which may be never.
func (v view) onDelete(s state, old int64) state {
	s.skip = true
	s.warning = fmt.Sprintf("updateStrategy OnDelete: %s the earlier revision until somebody deletes it; not waited for", keep(old))
	return s
}

func keep(n int64) string {
	if n == 1 {
		return "1 pod keeps"
	}
	return fmt.Sprintf("%d pods keep", n)
}
