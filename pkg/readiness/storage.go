package readiness

import (
	"fmt"

	"github.com/org/deploy-model-action/pkg/object"
)

// claim waits for a volume. A claim that nothing binds before a pod uses it cannot
// be told from others by its own status: whoever waits has to look at its StorageClass.
func claim(v view) Result {
	switch object.Text(v.live, "status", "phase") {
	case "Bound":
		return Result{Outcome: Ready, Message: "bound to " + line(object.Text(v.live, "spec", "volumeName"))}
	case "Lost":
		return failed("lost", Failure{
			Reason: "ClaimLost", Cause: fmt.Sprintf("its volume %q is gone", object.Text(v.live, "spec", "volumeName")),
			Fix: "restore the PersistentVolume, or delete the claim so that it gets a new, empty one",
		})
	}
	return Result{Message: "waiting for a volume"}
}
