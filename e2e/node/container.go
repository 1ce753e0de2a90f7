package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// container is one container of a pod: the runs it had, and why it has none.
// Its fields are guarded by the pod's mutex; only the pod's own goroutine starts runs.
type container struct {
	pod     *pod
	spec    corev1.Container
	init    bool
	sidecar bool // an init container that goes on

	current, previous *run
	// The kubelet's reason cache: why the last attempt to start it failed.
	reason, message string
	pullError       string // of the last attempt to pull
}

// run is one start of a container.
type run struct {
	id        string
	attempt   int32
	image     Image
	reference string // that the manifest gave
	behaviour behaviour
	log       *journal
	stop      chan struct{} // closed: SIGTERM
	done      chan struct{} // closed when it ended

	started, listening time.Time
	exited             bool
	finished           time.Time
	exitCode           int32
	reason, message    string
	startup, alive, ok *bool           // results of the probes; ok is readiness
	probeNow           chan struct{}   // readiness is wanted at once
	context            context.Context //nolint:containedctx // of the program that it imitates
	kill               context.CancelFunc
}

// death is how long the kubelet takes to notice that a container ended: it
// looks every second.
const death = 300 * time.Millisecond

// newRun prepares the next run of a container and makes it the current one.
func (c *container) newRun(ctx context.Context, image Image, b behaviour) *run {
	id := make([]byte, 32)
	_, _ = rand.Read(id)
	r := &run{
		id: hex.EncodeToString(id), image: image, reference: c.spec.Image, behaviour: b, log: newJournal(),
		stop: make(chan struct{}), done: make(chan struct{}), probeNow: make(chan struct{}, 1),
	}
	r.context, r.kill = context.WithCancel(ctx)
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.current != nil {
		r.attempt = c.current.attempt + 1
		c.previous = c.current
	}
	c.current = r
	return r
}

// live acts out the program until it ends.
func (c *container) live(r *run) {
	defer r.kill()
	for _, line := range r.behaviour.log {
		r.log.add(line)
	}
	b := r.behaviour
	switch {
	case b.wrongPlatform:
		// runc's init says it in the container's own log, since the container is started by then.
		r.log.add("exec /model: exec format error")
		c.end(r, 1, "", "")
		return
	case b.mistake != "":
		r.log.add(b.mistake)
		c.end(r, 2, "", "")
		return
	}
	if !r.wait(b.startAfter) {
		c.end(r, 2, "", "") // a Go program that does not listen to signals yet
		return
	}
	if b.outOfMemory {
		if !r.wait(500 * time.Millisecond) {
			c.end(r, 2, "", "")
			return
		}
		c.end(r, 137, "OOMKilled", "")
		return
	}
	c.pod.mu.Lock()
	r.listening = time.Now()
	c.pod.mu.Unlock()
	if b.exits && r.wait(b.exitAfter) {
		c.end(r, b.exitCode, "", "")
		return
	}
	select {
	case <-r.stop:
	case <-r.context.Done():
		return
	}
	sleep(r.context, b.stopAfter)
	c.end(r, 0, "", "")
}

// wait lets time pass, and tells whether it passed without a signal.
func (r *run) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.stop:
	case <-r.context.Done():
	}
	return false
}

// end notes that a run ended. An empty reason is what containerd says of the exit code.
func (c *container) end(r *run, code int32, reason, message string) {
	if reason == "" {
		reason = "Error"
		if code == 0 {
			reason = "Completed"
		}
	}
	c.pod.mu.Lock()
	if r.exited {
		c.pod.mu.Unlock()
		return
	}
	r.exited, r.finished, r.exitCode, r.reason, r.message = true, time.Now(), code, reason, message
	close(r.done)
	c.pod.mu.Unlock()
	r.log.close()
	r.kill()
	c.pod.nudge(death)
}

// terminate ends a run as the kubelet does: SIGTERM, then SIGKILL when the
// grace period is over.
func (c *container) terminate(r *run, grace time.Duration) {
	c.pod.mu.Lock()
	select {
	case <-r.stop:
	default:
		close(r.stop)
	}
	c.pod.mu.Unlock()
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-r.done:
	case <-t.C:
		c.end(r, 137, "", "")
	}
}

// running tells whether the container runs. The caller holds the pod's mutex.
func (c *container) running() bool { return c.current != nil && !c.current.exited }

// isStarted tells whether the container runs and its startup probe, if it has
// one, succeeded. The caller holds the pod's mutex.
func (c *container) isStarted() bool {
	return c.running() && (c.spec.StartupProbe == nil || c.current.startup != nil && *c.current.startup)
}

// isReady is what the container's status says. The caller holds the pod's mutex.
func (c *container) isReady() bool {
	if c.init && !c.sidecar {
		return c.current != nil && c.current.exited && c.current.exitCode == 0
	}
	return c.isStarted() && (c.spec.ReadinessProbe == nil || c.current.ok != nil && *c.current.ok)
}

// listens tells whether the program accepts connections at a port, and since
// when. The caller holds the pod's mutex.
func (c *container) listens(port int) (time.Duration, bool) {
	if !c.running() || c.current.listening.IsZero() || c.current.behaviour.port != port {
		return 0, false
	}
	return time.Since(c.current.listening), true
}

// restarts tells whether the container is started again after its last run.
func (c *container) restarts(policy corev1.RestartPolicy) bool {
	if c.current == nil || c.sidecar {
		return true
	}
	switch policy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return c.current.exitCode != 0
	}
	return !c.init || c.current.exitCode != 0
}
