package node

import (
	"context"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// pod is the kubelet's worker of one pod. One goroutine acts, in run; what
// others see is guarded by mu.
type pod struct {
	machine         *machine
	namespace, name string
	uid             types.UID
	wake            chan struct{}

	mu         sync.Mutex
	latest     *corev1.Pod // as the API server has it
	removed    bool        // it has it no more
	stopping   bool
	address    string // once the sandbox is there
	containers []*container
	inits      []*container
	statusSent corev1.PodStatus
	mounts     mounts
}

func newPod(m *machine, seen *corev1.Pod) *pod {
	p := &pod{
		machine: m, namespace: seen.Namespace, name: seen.Name, uid: seen.UID, wake: make(chan struct{}, 1),
		latest: seen, statusSent: *seen.Status.DeepCopy(),
	}
	p.statusSent.Conditions = slices.DeleteFunc(p.statusSent.Conditions, func(c corev1.PodCondition) bool { return !ownCondition(c.Type) })
	for i, spec := range seen.Spec.InitContainers {
		always := spec.RestartPolicy != nil && *spec.RestartPolicy == corev1.ContainerRestartPolicyAlways
		p.inits = append(p.inits, &container{pod: p, spec: seen.Spec.InitContainers[i], init: true, sidecar: always})
	}
	for i := range seen.Spec.Containers {
		p.containers = append(p.containers, &container{pod: p, spec: seen.Spec.Containers[i]})
	}
	return p
}

func (p *pod) object() *corev1.Pod {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latest
}

// update takes in a newer version. As in the kubelet, a change of status alone
// is no reason to act.
func (p *pod) update(seen *corev1.Pod) {
	p.mu.Lock()
	old := p.latest
	p.latest = seen
	p.mu.Unlock()
	if old.Generation != seen.Generation || (old.DeletionTimestamp == nil) != (seen.DeletionTimestamp == nil) || len(seen.Spec.ReadinessGates) > 0 {
		p.nudge(0)
	}
}

// remove is told that the pod is gone from the API server.
func (p *pod) remove() {
	p.mu.Lock()
	p.removed = true
	p.mu.Unlock()
	p.nudge(0)
}

// nudge makes the worker look again, after a while.
func (p *pod) nudge(after time.Duration) {
	poke := func() {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	if after == 0 {
		poke()
		return
	}
	time.AfterFunc(after, poke)
}

// run is the worker: it looks at the pod whenever something happened, and when
// the last look asked for another.
func (p *pod) run(ctx context.Context) {
	defer p.release()
	for ctx.Err() == nil {
		p.mu.Lock()
		removed := p.removed
		p.mu.Unlock()
		if removed {
			return
		}
		t := time.NewTimer(p.sync(ctx))
		select {
		case <-ctx.Done():
		case <-p.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// release ends what still runs and gives back what the pod had.
func (p *pod) release() {
	for _, c := range p.all() {
		p.mu.Lock()
		r := c.current
		p.mu.Unlock()
		if r != nil {
			c.end(r, 137, "", "")
		}
		p.machine.crashes.DeleteEntry(c.backoffKey())
		p.machine.pulls.DeleteEntry(c.pullKey())
	}
	p.mu.Lock()
	address := p.address
	p.mu.Unlock()
	if address != "" && address != p.machine.address {
		p.machine.nodes.network.detach(address, p)
		p.machine.freeAddress(address)
	}
}

// all are the pod's containers, those that start first at the front.
func (p *pod) all() []*container { return slices.Concat(p.inits, p.containers) }

// sync does what the pod needs now, and says when to look again. It follows
// the kubelet's SyncPod: the status that it reports is the one from before it acts.
func (p *pod) sync(ctx context.Context) time.Duration {
	object := p.object()
	if object.DeletionTimestamp != nil {
		return p.terminate(ctx, object)
	}
	status := p.status(object, false)
	if err := p.send(ctx, status); err != nil {
		return time.Second
	}
	p.askReadiness()
	if status.Phase == corev1.PodSucceeded || status.Phase == corev1.PodFailed {
		p.endAll(object, "")
		return time.Hour
	}
	if again := p.mountVolumes(ctx, object); again > 0 {
		return again
	}
	if p.makeSandbox(object) {
		p.nudge(death)
	}
	return p.act(ctx, object)
}

// makeSandbox gives the pod its network, and tells whether that was new.
func (p *pod) makeSandbox(object *corev1.Pod) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.address != "" {
		return false
	}
	if object.Spec.HostNetwork {
		p.address = p.machine.address
	} else {
		p.address = p.machine.giveAddress()
	}
	p.machine.nodes.network.attach(p.address, p)
	return true
}

// terminate is how a pod ends that was deleted: SyncTerminatingPod and
// SyncTerminatedPod of the kubelet.
func (p *pod) terminate(ctx context.Context, object *corev1.Pod) time.Duration {
	p.mu.Lock()
	p.stopping = true
	p.mu.Unlock()
	if err := p.send(ctx, p.status(object, false)); err != nil {
		return time.Second
	}
	p.endAll(object, "Stopping container %s")
	if err := p.send(ctx, p.status(object, true)); err != nil {
		return time.Second
	}
	var none int64
	err := p.machine.nodes.client.CoreV1().Pods(p.namespace).Delete(ctx, p.name, metav1.DeleteOptions{
		GracePeriodSeconds: &none, Preconditions: metav1.NewUIDPreconditions(string(p.uid)),
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return time.Second
	}
	return time.Minute
}

// endAll ends every container that runs, at the same time.
func (p *pod) endAll(object *corev1.Pod, event string) {
	grace := 30 * time.Second
	if s := object.Spec.TerminationGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	if s := object.DeletionGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	var group sync.WaitGroup
	for _, c := range p.all() {
		p.mu.Lock()
		r, running := c.current, c.running()
		p.mu.Unlock()
		if !running {
			continue
		}
		if event != "" {
			c.normal("Killing", event, c.spec.Name)
		}
		group.Go(func() { c.terminate(r, max(grace, 2*time.Second)) })
	}
	group.Wait()
}

// serving tells whether traffic may still go to the pod.
func (p *pod) serving() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.removed && !p.stopping && p.latest.DeletionTimestamp == nil
}
