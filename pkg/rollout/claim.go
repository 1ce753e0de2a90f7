package rollout

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

// bindsLater says why nothing binds a claim of a StorageClass until a pod uses it;
// "" if it is bound at once. Without the right to read the class the former is
// assumed: if a pod waits for the claim, the pod's workload is waited for.
func bindsLater(ctx context.Context, client *kube.Client, class string) string {
	if class == "" {
		return ""
	}
	found, err := client.Get(ctx, kube.Ref{Resource: kube.StorageClasses, Kind: "StorageClass", Name: class}, kube.Patience{})
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Sprintf("not waited for, as StorageClass %q cannot be read to see whether it binds without a pod", class)
	case err == nil && found != nil && object.Text(found, "volumeBindingMode") == "WaitForFirstConsumer":
		return "not bound before a pod uses it; not waited for"
	}
	return ""
}
