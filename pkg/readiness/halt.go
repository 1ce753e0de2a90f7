package readiness

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
)

// Halted says why what is about to be written would never reach a pod, as the
// specification alone shows; nil if it may. u is the object as it is going to be,
// and before as it is; nil if it does not exist.
func Halted(u, before *unstructured.Unstructured) *Failure {
	v := view{live: u, Context: Context{Before: before}}
	if asked := v.directives(); asked.NoWait || !asked.ReadyWhen.IsZero() || !object.Flag(u, "spec", "paused") {
		return nil
	}
	var f Failure
	switch object.Of(u).GroupKind().String() {
	case "Deployment.apps":
		reached := before != nil && sameTemplate(u, before) && Evaluate(before, Context{}).Outcome != Failed
		if reached || v.spec(1, "replicas") == 0 {
			return nil
		}
		f = v.pausedFailure()
	case "Rollout.argoproj.io":
		f = v.argoHalted()
	default:
		return nil
	}
	return &f
}
