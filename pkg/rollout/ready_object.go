package rollout

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/org/deploy-model-action/pkg/kube"
)

// settle is how long a custom resource that was written may take until its
// controller writes a status, if that does not say of which generation it is.
// What is there by then is taken for the answer, also if it is nothing.
const settle = 5 * time.Second

var storageClassResource = schema.GroupVersionResource{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"}

func claimState(v view) state {
	switch v.text("status", "phase") {
	case "Bound":
		return state{ready: true, message: "bound to " + clean(v.text("spec", "volumeName"), phraseLimit)}
	case "Lost":
		return state{message: "lost", failure: v.fail("ClaimLost", fmt.Sprintf("its volume %q is gone", v.text("spec", "volumeName")),
			"restore the PersistentVolume, or delete the claim so that it gets a new, empty one")}
	}
	return state{message: "waiting for a volume"}
}

// bindsLater says why nothing binds the claim until a pod uses it; "" if it is
// bound at once. Without the right to read its class the former is assumed: if a
// pod waits for the claim, the pod's workload is waited for.
func bindsLater(ctx context.Context, claim *unstructured.Unstructured, o Options) string {
	class := view{live: claim}.text("spec", "storageClassName")
	if class == "" {
		return ""
	}
	read := func() (*unstructured.Unstructured, error) {
		ctx, cancel := context.WithTimeout(ctx, getTimeout)
		defer cancel()
		return o.Dynamic.Resource(storageClassResource).Get(ctx, class, metav1.GetOptions{})
	}
	found, err := read()
	for err != nil && kube.Transient(err) && ctx.Err() == nil {
		pauseFor(ctx, spread(pollPause))
		found, err = read()
	}
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Sprintf("not waited for, as StorageClass %q cannot be read to see whether it binds without a pod", class)
	case err == nil && view{live: found}.text("volumeBindingMode") == "WaitForFirstConsumer":
		return "not bound before a pod uses it; not waited for"
	}
	return ""
}

func definitionState(v view) state {
	names, _ := v.condition("NamesAccepted")
	if names.status == "False" {
		return state{message: "its names are not accepted", failure: v.fail("NamesNotAccepted",
			"its names are not accepted: "+names.because(), "choose names that no other CustomResourceDefinition uses")}
	}
	if c, _ := v.condition("Established"); c.status == "True" {
		return state{ready: true, message: "established"}
	}
	return state{message: "waiting to be established"}
}

// dated tells whether a status says of which generation it is.
func (v view) dated() bool {
	if number(v.live, -1, "status", "observedGeneration") >= 0 {
		return true
	}
	return slices.ContainsFunc(conditionsOf(v.live), func(c condition) bool { return c.seen })
}

// customState judges custom resources and unknown kinds by what their
// controllers have agreed on: observedGeneration, and the conditions Ready,
// Reconciling and Stalled.
func customState(v view) state {
	has, _, _ := unstructured.NestedMap(v.live.Object, "status")
	if len(has) == 0 {
		if left := settle - v.elapsed; v.target.Changed && left > 0 {
			return state{message: "waiting for a first status", again: left}
		}
		return state{ready: true, message: "has no status"}
	}
	if c, ok := v.condition("Ready"); ok && !c.about(v.generation()) {
		return notObserved
	}
	if left := settle - v.elapsed; v.target.Changed && left > 0 && !v.dated() && equality.Semantic.DeepEqual(has, v.target.Object.Object["status"]) {
		return state{message: notObserved.message, again: left}
	}
	result, err := status.Compute(v.live)
	if err != nil {
		// A status of a shape of its own says nothing that could be waited for.
		return state{ready: true, message: "its status cannot be read: " + clean(err.Error(), phraseLimit)}
	}
	said := clean(result.Message, phraseLimit)
	switch result.Status {
	case status.CurrentStatus:
		return state{ready: true, message: "ready"}
	case status.FailedStatus:
		return state{message: said, failure: v.fail("Stalled", "its controller gave up: "+said, "correct it as the message asks")}
	}
	if said == "" {
		said = "in progress"
	}
	return state{message: said}
}
