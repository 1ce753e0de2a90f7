package apply

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/org/deploy-model-action/pkg/object"
)

// The stages, in the order in which they are written. An object may rely on
// objects of earlier stages.
const (
	stageFoundation   = iota // what other objects need in order to be accepted at all
	stageInputs              // what pods read when they start
	stageBefore              // Jobs that have to succeed before
	stageWorkloads           // what runs, routes and scales, and all custom resources
	stageInterceptors        // what can refuse or change every later write
	lastStage         = stageInterceptors
	stageAfter        = lastStage + 1 // Jobs that begin when all of that serves, by Plan.WriteAfter
)

// stageIn places an object: by its kind, or a Job by when it says that it runs.
func stageIn(u *unstructured.Unstructured) int {
	directives, _ := object.ReadDirectives(u) // refused when the manifest was read
	switch directives.Phase {
	case object.PhaseBefore:
		return stageBefore
	case object.PhaseAfter:
		return stageAfter
	}
	return stageOf(u.GroupVersionKind().GroupKind())
}

// stageOf places a kind. Services come before workloads and are not waited for:
// a load balancer takes a minute, in which pods can start.
func stageOf(kind schema.GroupKind) int {
	switch kind.Group {
	case "":
		switch kind.Kind {
		case "Namespace":
			return stageFoundation
		case "ConfigMap", "Secret", "ServiceAccount", "Service", "Endpoints", "PersistentVolume", "PersistentVolumeClaim", "ResourceQuota", "LimitRange":
			return stageInputs
		}
	case "apiextensions.k8s.io":
		return stageFoundation
	case "rbac.authorization.k8s.io":
		// Bindings follow the roles that they name.
		if kind.Kind == "ClusterRole" {
			return stageFoundation
		}
		return stageInputs
	case "networking.k8s.io":
		switch kind.Kind {
		case "IngressClass":
			return stageFoundation
		case "NetworkPolicy":
			return stageInputs
		}
	case "discovery.k8s.io":
		return stageInputs
	case "scheduling.k8s.io", "storage.k8s.io", "node.k8s.io", "gateway.networking.k8s.io", "resource.k8s.io", "snapshot.storage.k8s.io":
		if strings.HasSuffix(kind.Kind, "Class") {
			return stageFoundation
		}
	case "admissionregistration.k8s.io", "apiregistration.k8s.io":
		return stageInterceptors
	}
	return stageWorkloads
}

// ordered are the items in the order of application.
func (p *Plan) ordered() []*item {
	return slices.SortedFunc(slices.Values(p.items), func(a, b *item) int { return cmp.Compare(a.order, b.order) })
}

// inStage picks the items of a stage, in the order of application.
func (p *Plan) inStage(stage int) []*item {
	return slices.DeleteFunc(p.ordered(), func(it *item) bool { return it.stage != stage })
}
