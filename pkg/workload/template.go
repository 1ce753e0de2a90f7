package workload

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/org/deploy-model-action/pkg/object"
)

// Template is what an object's pods are made of: that of any kind which keeps it in
// spec.template, and of a bare Pod. It is nil if there is none, or if it is not one
// that the API server would take.
func Template(u *unstructured.Unstructured) *corev1.PodTemplateSpec {
	raw := object.Map(u.Object, "spec", "template")
	if kind(u) == "Pod" {
		raw = map[string]any{"metadata": u.Object["metadata"], "spec": u.Object["spec"]}
	}
	var template corev1.PodTemplateSpec
	if raw == nil || runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &template) != nil || len(template.Spec.Containers) == 0 {
		return nil
	}
	return &template
}

// Ports are those that the containers of a pod declare, of sidecars too.
func Ports(pod *corev1.PodSpec) []corev1.ContainerPort {
	var ports []corev1.ContainerPort
	for _, c := range pod.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			ports = append(ports, c.Ports...)
		}
	}
	for _, c := range pod.Containers {
		ports = append(ports, c.Ports...)
	}
	return ports
}
