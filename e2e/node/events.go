package node

import (
	"fmt"
	"hash/fnv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
)

// newRecorder is client-go's own, which the kubelet uses too: it counts equal
// events, folds similar ones, and drops what comes too often.
func newRecorder(client *kubernetes.Clientset, component, host string) (record.EventBroadcaster, record.EventRecorder) {
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	return broadcaster, broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: component, Host: host})
}

// reference is what a pod's own events are about.
func (p *pod) reference() *corev1.ObjectReference {
	return &corev1.ObjectReference{
		Kind: "Pod", APIVersion: "v1", Namespace: p.namespace, Name: p.name, UID: p.uid, ResourceVersion: p.object().ResourceVersion,
	}
}

// recorder is always the same one for a pod, since it counts equal events.
func (p *pod) recorder() record.EventRecorder {
	h := fnv.New32a()
	_, _ = h.Write([]byte(p.uid))
	return p.machine.recorders[h.Sum32()%uint32(len(p.machine.recorders))] //nolint:gosec // eight
}

func (p *pod) warning(reason, format string, args ...any) {
	p.recorder().Event(p.reference(), corev1.EventTypeWarning, reason, fmt.Sprintf(format, args...))
}

func (c *container) reference() *corev1.ObjectReference {
	ref := c.pod.reference()
	list := "containers"
	if c.init {
		list = "initContainers"
	}
	ref.FieldPath = fmt.Sprintf("spec.%s{%s}", list, c.spec.Name)
	return ref
}

func (c *container) normal(reason, format string, args ...any) {
	c.pod.recorder().Event(c.reference(), corev1.EventTypeNormal, reason, fmt.Sprintf(format, args...))
}

func (c *container) warning(reason, format string, args ...any) {
	c.pod.recorder().Event(c.reference(), corev1.EventTypeWarning, reason, fmt.Sprintf(format, args...))
}
