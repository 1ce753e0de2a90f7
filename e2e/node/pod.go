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

// relistPeriod is how often the kubelet looks at its containers. It acts on a
// pod only after a look that is newer than its last act.
const relistPeriod = time.Second

// pod is the kubelet's worker of one pod. One goroutine acts, in run; what
// others see is guarded by mu.
type pod struct {
	machine         *machine
	namespace, name string
	uid             types.UID
	wake            chan struct{}
	looked          chan struct{} // there was a relist
	over            chan struct{} // closed when the worker ends

	reporting  sync.Mutex // held while a status is made and sent
	statusSent corev1.PodStatus

	mu         sync.Mutex
	latest     *corev1.Pod // as the API server has it
	removed    bool        // it has it no more
	stopping   bool
	address    string // once the sandbox is there
	containers []*container
	inits      []*container
	mounts     mounts
	relisted   time.Time
	synced     time.Time
	sandbox    bool // is known to the kubelet
	probing    bool
}

func newPod(m *machine, seen *corev1.Pod) *pod {
	p := &pod{
		machine: m, namespace: seen.Namespace, name: seen.Name, uid: seen.UID,
		wake: make(chan struct{}, 1), looked: make(chan struct{}, 1), over: make(chan struct{}),
		latest: seen, statusSent: *seen.Status.DeepCopy(),
	}
	p.statusSent.Conditions = slices.DeleteFunc(p.statusSent.Conditions, func(c corev1.PodCondition) bool { return !ownCondition(c.Type) })
	for i, spec := range seen.Spec.InitContainers {
		always := spec.RestartPolicy != nil && *spec.RestartPolicy == corev1.ContainerRestartPolicyAlways
		p.inits = append(p.inits, &container{pod: p, spec: seen.Spec.InitContainers[i], init: true, sidecar: always, probeNow: make(chan struct{}, 1)})
	}
	for i := range seen.Spec.Containers {
		p.containers = append(p.containers, &container{pod: p, spec: seen.Spec.Containers[i], probeNow: make(chan struct{}, 1)})
	}
	return p
}

// all are the pod's containers, those that start first at the front.
func (p *pod) all() []*container { return slices.Concat(p.inits, p.containers) }

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
		p.nudge()
	}
}

// remove is told that the pod is gone from the API server.
func (p *pod) remove() {
	p.mu.Lock()
	p.removed = true
	p.mu.Unlock()
	p.nudge()
}

// nudge makes the worker act again.
func (p *pod) nudge() {
	select {
	case p.wake <- struct{}{}:
	default: // it will
	}
}

// relist lets the kubelet see what became of the pod's containers, and has it
// act on news.
func (p *pod) relist() {
	news := false
	p.mu.Lock()
	p.relisted = time.Now()
	for _, c := range p.all() {
		r := c.current
		if r == nil {
			continue
		}
		if !r.seen && !r.started.IsZero() {
			r.seen, news = true, true
		}
		if r.ended && !r.exited {
			r.exited, news = true, true
		}
	}
	if p.address != "" && !p.sandbox {
		p.sandbox, news = true, true
	}
	p.mu.Unlock()
	select {
	case p.looked <- struct{}{}:
	default:
	}
	if news {
		p.nudge()
	}
}

// run is the worker: it acts whenever something happened, and when the last
// act asked for another.
func (p *pod) run(ctx context.Context) {
	defer p.release()
	for p.waitForLook(ctx) {
		again, relist := p.sync(ctx)
		p.mu.Lock()
		p.synced = time.Now()
		p.mu.Unlock()
		if relist {
			p.relist()
		}
		t := time.NewTimer(again)
		select {
		case <-ctx.Done():
		case <-p.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// waitForLook waits for a relist that is newer than the last act; only the end
// of a pod cannot wait. It tells whether there is still something to do.
func (p *pod) waitForLook(ctx context.Context) bool {
	t := time.NewTicker(100 * time.Millisecond) // a deletion is seen soon enough
	defer t.Stop()
	for {
		p.mu.Lock()
		due := !p.relisted.Before(p.synced) || p.latest.DeletionTimestamp != nil
		removed := p.removed
		p.mu.Unlock()
		switch {
		case removed || ctx.Err() != nil:
			return false
		case due:
			return true
		}
		select {
		case <-p.looked:
		case <-t.C:
		case <-ctx.Done():
		}
	}
}

// release ends what still runs and gives back what the pod had.
func (p *pod) release() {
	close(p.over)
	for _, c := range p.all() {
		if c.current != nil {
			c.end(c.current, 137, "", "")
		}
		p.machine.crashes.DeleteEntry(c.backoffKey())
		p.machine.pulls.DeleteEntry(c.pullKey())
	}
	if p.address != "" && p.address != p.machine.address {
		p.machine.nodes.network.detach(p.address, p)
		p.machine.freeAddress(p.address)
	}
}

// sync does what the pod needs now, and says when to act again, and whether to
// look at the containers at once. It follows the kubelet's SyncPod: the status
// that it reports is the one from before it acts.
func (p *pod) sync(ctx context.Context) (again time.Duration, relist bool) {
	object := p.object()
	if object.DeletionTimestamp != nil {
		return p.terminate(ctx, object), false
	}
	phase, err := p.report(ctx, object, false)
	if err != nil {
		return time.Second, false
	}
	if ended(phase) {
		return p.finish(ctx, object), false
	}
	if again := p.mountVolumes(ctx, object); again > 0 {
		return again, false
	}
	if p.makeSandbox(object) {
		if err := p.reportSandbox(ctx); err != nil {
			return time.Second, false
		}
	}
	p.startProbes(ctx)
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

// finish ends what still runs of a pod whose work is done, and says so.
func (p *pod) finish(ctx context.Context, object *corev1.Pod) time.Duration {
	p.endAll(object, "")
	if _, err := p.report(ctx, object, true); err != nil {
		return time.Second
	}
	return time.Hour
}

// terminate is how a pod ends that was deleted: SyncTerminatingPod and
// SyncTerminatedPod of the kubelet.
func (p *pod) terminate(ctx context.Context, object *corev1.Pod) time.Duration {
	p.mu.Lock()
	p.stopping = true
	p.mu.Unlock()
	if _, err := p.report(ctx, object, false); err != nil {
		return time.Second
	}
	p.endAll(object, "Stopping container %s")
	if _, err := p.report(ctx, object, true); err != nil {
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
	grace := gracePeriod(object)
	if s := object.DeletionGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	var group sync.WaitGroup
	for _, c := range p.all() {
		if c.current == nil {
			continue
		}
		p.mu.Lock()
		ended := c.current.ended
		p.mu.Unlock()
		if !ended && event != "" {
			c.normal("Killing", event, c.spec.Name)
		}
		group.Go(func() {
			c.terminate(c.current, max(grace, minimumGrace))
			p.mu.Lock()
			c.current.exited = true
			p.mu.Unlock()
		})
	}
	group.Wait()
}

// minimumGrace is what the kubelet gives a container at least.
const minimumGrace = 2 * time.Second

func gracePeriod(object *corev1.Pod) time.Duration {
	if s := object.Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return 30 * time.Second
}

// serving tells whether traffic may still go to the pod.
func (p *pod) serving() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.removed && !p.stopping && p.latest.DeletionTimestamp == nil
}

func ended(phase corev1.PodPhase) bool {
	return phase == corev1.PodSucceeded || phase == corev1.PodFailed
}
