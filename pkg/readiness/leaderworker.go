package readiness

import (
	"fmt"

	"github.com/org/deploy-model-action/pkg/object"
)

// leaderWorkerSet counts groups, each a leader and its workers. Of its conditions
// Available, Progressing and UpdateInProgress the last two exclude the first.
func leaderWorkerSet(v view) Result {
	if r, ok := v.unobserved(); ok {
		return r
	}
	wanted := v.spec(1, "replicas")
	updated, ready := v.status("updatedReplicas"), v.status("readyReplicas")
	r := Result{Message: fmt.Sprintf("%d of %d groups updated, %d ready", updated, wanted, ready)}
	toUpdate := wanted
	if partition := v.spec(0, "rolloutStrategy", "rollingUpdateConfiguration", "partition"); partition > 0 {
		toUpdate = max(0, wanted-partition)
		if v.Before != nil {
			r.Note = fmt.Sprintf("partition %d: groups below it keep the earlier revision", partition)
		}
	}
	if wanted == 0 {
		r.Warning = "replicas is 0: nothing serves"
	}
	available, _ := v.condition("Available")
	switch {
	case updated < toUpdate, ready < wanted:
	case available.Status != "True" || !available.About(v.generation()):
		r.Message += "; waiting for its condition Available"
	case v.underWay("Progressing"), v.underWay("UpdateInProgress") && toUpdate == wanted:
		r.Message += "; waiting for the update to end"
	default:
		r.Outcome = Ready
	}
	return r
}

// underWay reports whether a condition says that something goes on.
func (v view) underWay(kind string) bool {
	c, ok := object.ConditionOf(v.live, kind)
	return ok && c.Status == "True"
}
