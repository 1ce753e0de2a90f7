package apply

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestStageOf(t *testing.T) {
	t.Parallel()
	for stage, kinds := range map[int][]schema.GroupKind{
		stageFoundation:   {{Kind: "Namespace"}, {Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}, {Group: "storage.k8s.io", Kind: "StorageClass"}, {Group: "scheduling.k8s.io", Kind: "PriorityClass"}, {Group: "gateway.networking.k8s.io", Kind: "GatewayClass"}, {Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"}, {Group: "networking.k8s.io", Kind: "IngressClass"}},
		stageInputs:       {{Kind: "Service"}, {Kind: "Secret"}, {Kind: "PersistentVolumeClaim"}, {Group: "rbac.authorization.k8s.io", Kind: "RoleBinding"}, {Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding"}, {Group: "networking.k8s.io", Kind: "NetworkPolicy"}},
		stageWorkloads:    {{Kind: "Pod"}, {Group: "apps", Kind: "Deployment"}, {Group: "batch", Kind: "Job"}, {Group: "networking.k8s.io", Kind: "Ingress"}, {Group: "example.com", Kind: "Class"}, {Group: "storage.k8s.io", Kind: "VolumeAttachment"}},
		stageInterceptors: {{Group: "admissionregistration.k8s.io", Kind: "MutatingWebhookConfiguration"}, {Group: "apiregistration.k8s.io", Kind: "APIService"}},
	} {
		for _, kind := range kinds {
			if got := stageOf(kind); got != stage {
				t.Errorf("%s is in stage %d, want %d", kind, got, stage)
			}
		}
	}
}
