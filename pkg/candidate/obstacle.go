package candidate

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/workload"
)

// ObstacleError is what exists once, so that a candidate cannot run beside the
// pods that have it.
type ObstacleError struct {
	Workload object.ID
	Why      string // what stands in the way
	Do       string // the way out
}

func (e *ObstacleError) Error() string {
	return fmt.Sprintf("%s: no candidate can run beside what serves: %s; %s", e.Workload, e.Why, e.Do)
}

// Title says what went wrong, in a few words.
func (e *ObstacleError) Title() string { return "No room for a candidate" }

// About is the workload.
func (e *ObstacleError) About() (object.ID, string) { return e.Workload, "" }

func (b *builder) err() error { return errors.Join(b.obstacles...) }

const without = "deploy it with candidate: false"

// obstacle says what of a pod exists once and is in use; "" if nothing is known to be.
func (b *builder) obstacle(u *unstructured.Unstructured, spec map[string]any) (why, do string) {
	if claims := object.List(u.Object, "spec", "volumeClaimTemplates"); len(claims) > 0 {
		return "each of its pods has a volume of its own (volumeClaimTemplates), and a new one would be empty", without
	}
	var pod corev1.PodSpec
	if runtime.DefaultUnstructuredConverter.FromUnstructured(spec, &pod) != nil {
		return "", "" // the server will say what is wrong with it
	}
	for _, v := range pod.Volumes {
		if v.PersistentVolumeClaim != nil && b.once(u.GetNamespace(), v.PersistentVolumeClaim.ClaimName) {
			return fmt.Sprintf("volume %q is of claim %q, which one node at a time can use", v.Name, v.PersistentVolumeClaim.ClaimName),
				"give the model a volume that many nodes can read (ReadOnlyMany), or " + without
		}
	}
	nodes := workload.Nodes(&pod, b.Nodes)
	if why := b.ports(u, &pod, nodes); why != "" {
		return why, "drop hostPort for a Service, or " + without
	}
	if why := b.devices(&pod, nodes); why != "" {
		return why, "add a node that has one free, or " + without + " and strategy Recreate (or maxSurge: 0)"
	}
	return "", ""
}

// once reports whether a claim that exists is for one node or one pod.
func (b *builder) once(namespace, name string) bool {
	return slices.ContainsFunc(b.Claims, func(u *unstructured.Unstructured) bool {
		if u.GetNamespace() != namespace || u.GetName() != name {
			return false
		}
		modes, _, _ := unstructured.NestedStringSlice(u.Object, "spec", "accessModes")
		return !slices.Contains(modes, string(corev1.ReadWriteMany)) && !slices.Contains(modes, string(corev1.ReadOnlyMany))
	})
}

// ports says which port of the node is taken on every node that the pod may run on.
func (b *builder) ports(u *unstructured.Unstructured, pod *corev1.PodSpec, nodes []corev1.Node) string {
	for _, c := range pod.Containers {
		for _, p := range c.Ports {
			port := p.HostPort
			if pod.HostNetwork {
				port = p.ContainerPort
			}
			if port == 0 {
				continue
			}
			if u.GetKind() == "DaemonSet" {
				return fmt.Sprintf("port %d of every node is in use by it", port)
			}
			taken := 0
			for _, n := range nodes {
				if slices.ContainsFunc(b.Pods, func(p *corev1.Pod) bool { return p.Spec.NodeName == n.Name && binds(p, port) }) {
					taken++
				}
			}
			if taken > 0 && taken == len(nodes) && !b.Elastic {
				return fmt.Sprintf("port %d is in use on every node that it may run on", port)
			}
		}
	}
	return ""
}

// binds reports whether a pod has a port of its node.
func binds(pod *corev1.Pod, port int32) bool {
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.HostPort == port || pod.Spec.HostNetwork && p.ContainerPort == port {
				return !ended(pod)
			}
		}
	}
	return false
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// devices says which device, such as a GPU, has no node with enough of it free.
// CPU and memory are left to the scheduler: they are what autoscalers look after.
func (b *builder) devices(pod *corev1.PodSpec, nodes []corev1.Node) string {
	if b.Elastic || len(b.Pods) == 0 {
		return "" // a node is made for it, or nobody knows what runs
	}
	for name, wants := range devicesOf(pod) {
		exists, free := false, false
		for _, n := range nodes {
			left, ok := n.Status.Allocatable[name]
			if !ok || left.IsZero() {
				continue
			}
			exists = true
			for _, p := range b.Pods {
				if p.Spec.NodeName == n.Name && !ended(p) {
					left.Sub(devicesOf(&p.Spec)[name])
				}
			}
			free = free || left.Cmp(wants) >= 0
		}
		if exists && !free {
			return fmt.Sprintf("it needs %s %s, and no node that it may run on has as much free", wants.String(), name)
		}
	}
	return ""
}

// devicesOf are a pod's limits of what only a vendor's plugin hands out.
func devicesOf(pod *corev1.PodSpec) corev1.ResourceList {
	sum := corev1.ResourceList{}
	for _, c := range pod.Containers {
		for name, q := range c.Resources.Limits {
			if strings.Contains(string(name), "/") && !strings.HasSuffix(strings.Split(string(name), "/")[0], "kubernetes.io") {
				total := sum[name]
				total.Add(q)
				sum[name] = total
			}
		}
	}
	return sum
}
