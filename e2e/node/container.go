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

	// What the last status said, which is all that the probes know.
	shown        *run
	shownRunning bool
	probeNow     chan struct{} // readiness is wanted at once
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
	ended              bool // really
	finished           time.Time
	exitCode           int32
	reason, message    string
	seen, exited       bool   // started or ended, as far as the kubelet knows
	startup, alive, ok *bool  // results of the probes; ok is readiness
	kill               func() // ends the program that it imitates
}

// newID makes an identifier as containerd does.
func newID() string {
	id := make([]byte, 32)
	_, _ = rand.Read(id)
	return hex.EncodeToString(id)
}

// newRun prepares the next run of a container and makes it the current one.
func (c *container) newRun(image Image, b behaviour) *run {
	r := &run{
		id: newID(), image: image, reference: c.spec.Image, behaviour: b, log: newJournal(),
		stop: make(chan struct{}), done: make(chan struct{}), kill: func() {},
	}
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.current != nil {
		r.attempt = c.current.attempt + 1
		c.current.exited = true
		c.previous = c.current
	}
	c.current = r
	return r
}

// live acts out the program until it ends.
func (c *container) live(ctx context.Context, r *run) {
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
	if !r.wait(ctx, b.startAfter) {
		c.end(r, 2, "", "") // a Go program that does not listen to signals yet
		return
	}
	if b.outOfMemory {
		if !r.wait(ctx, 500*time.Millisecond) {
			c.end(r, 2, "", "")
			return
		}
		c.end(r, 137, "OOMKilled", "")
		return
	}
	if b.exits && b.exitAfter == 0 {
		c.end(r, b.exitCode, "", "") // before anybody can connect
		return
	}
	c.pod.mu.Lock()
	r.listening = time.Now()
	c.pod.mu.Unlock()
	if b.exits && r.wait(ctx, b.exitAfter) {
		c.end(r, b.exitCode, "", "")
		return
	}
	select {
	case <-r.stop:
	case <-ctx.Done():
	}
	sleep(ctx, b.stopAfter)
	c.end(r, 0, "", "")
}

// wait lets time pass, and tells whether it passed without a signal.
func (r *run) wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.stop:
	case <-ctx.Done():
	}
	return false
}

// end notes that a run ended. An empty reason is what containerd says of the
// exit code. The kubelet learns of it later, from relist.
func (c *container) end(r *run, code int32, reason, message string) {
	if reason == "" {
		reason = "Error"
		if code == 0 {
			reason = "Completed"
		}
	}
	c.pod.mu.Lock()
	if r.ended {
		c.pod.mu.Unlock()
		return
	}
	r.ended, r.finished, r.exitCode, r.reason, r.message = true, time.Now(), code, reason, message
	close(r.done)
	kill := r.kill
	c.pod.mu.Unlock()
	r.log.close()
	kill()
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

// running tells whether the container runs, as far as the kubelet knows. The
// caller holds the pod's mutex.
func (c *container) running() bool { return c.current != nil && !c.current.exited }

// isStarted tells whether the container runs and its startup probe, if it has
// one, succeeded. The caller holds the pod's mutex.
func (c *container) isStarted() bool {
	return c.running() && (c.spec.StartupProbe == nil || isTrue(c.current.startup))
}

// isReady is what the container's status says. The caller holds the pod's mutex.
func (c *container) isReady() bool {
	if c.init && !c.sidecar {
		return c.succeeded()
	}
	return c.isStarted() && (c.spec.ReadinessProbe == nil || isTrue(c.current.ok))
}

// succeeded tells whether the last run ended well, as far as the kubelet knows.
func (c *container) succeeded() bool {
	return c.current != nil && c.current.exited && c.current.exitCode == 0
}

// listens tells whether the program accepts connections at a port, and since
// when. The caller holds the pod's mutex.
func (c *container) listens(port int) (time.Duration, bool) {
	if c.current == nil || c.current.ended || c.current.listening.IsZero() || c.current.behaviour.port != port {
		return 0, false
	}
	return time.Since(c.current.listening), true
}

// restarts tells whether the container is started again after its last run. The
// caller holds the pod's mutex.
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
