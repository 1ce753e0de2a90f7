package node

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// What the kubelet waits before it looks at a pod again: pkg/kubelet/pod_workers.go.
const (
	afterError   = 10 * time.Second
	afterSuccess = time.Minute
	jitter       = 0.5
)

// attempt is what became of one look at a pod.
type attempt struct {
	started bool
	failed  bool
	again   time.Duration // 0: the usual time
}

// act starts and ends containers: computePodActions and SyncPod of the kubelet.
func (p *pod) act(ctx context.Context, object *corev1.Pod) time.Duration {
	var a attempt
	if p.initialise(ctx, object, &a) {
		for _, c := range p.containers {
			p.keep(ctx, object, c, &a)
		}
	}
	if a.started {
		// The kubelet asks for a look at what it has just started.
		p.nudge(10 * time.Millisecond)
	}
	switch {
	case a.failed && a.again > 0:
		return wait.Jitter(a.again, jitter)
	case a.failed:
		return wait.Jitter(afterError, jitter)
	}
	return wait.Jitter(afterSuccess, jitter)
}

// initialise brings the init containers on, and tells whether the others may start.
func (p *pod) initialise(ctx context.Context, object *corev1.Pod, a *attempt) bool {
	p.mu.Lock()
	begun := false
	for _, c := range p.containers {
		begun = begun || c.current != nil
	}
	p.mu.Unlock()
	for _, c := range p.inits {
		if begun && !c.sidecar {
			continue
		}
		p.mu.Lock()
		done := c.isReady() && !c.sidecar || c.sidecar && c.isStarted()
		running := c.running()
		p.mu.Unlock()
		if done {
			continue
		}
		if running {
			if p.unhealthy(object, c) {
				p.start(ctx, object, c, a, true)
			}
			if !begun {
				return false
			}
			continue
		}
		if c.current == nil || c.restarts(object.Spec.RestartPolicy) {
			p.start(ctx, object, c, a, false)
		}
		if !begun {
			return false
		}
	}
	return true
}

// keep starts a container that should run and does not, and ends one that
// failed its probe.
func (p *pod) keep(ctx context.Context, object *corev1.Pod, c *container, a *attempt) {
	p.mu.Lock()
	running := c.running()
	p.mu.Unlock()
	if running {
		if !p.unhealthy(object, c) {
			return
		}
		p.start(ctx, object, c, a, true)
		return
	}
	if c.restarts(object.Spec.RestartPolicy) {
		p.start(ctx, object, c, a, false)
	}
}

// unhealthy ends a container that failed its liveness or startup probe, and
// tells whether it is started again.
func (p *pod) unhealthy(object *corev1.Pod, c *container) bool {
	p.mu.Lock()
	r := c.current
	var probe string
	switch {
	case r.startup != nil && !*r.startup:
		probe = "startup"
	case r.alive != nil && !*r.alive:
		probe = "liveness"
	}
	p.mu.Unlock()
	if probe == "" {
		return false
	}
	message := fmt.Sprintf("Container %s failed %s probe", c.spec.Name, probe)
	again := object.Spec.RestartPolicy != corev1.RestartPolicyNever || c.sidecar
	if again {
		message += ", will be restarted"
	}
	c.normal("Killing", "%s", message)
	grace := 30 * time.Second
	if s := object.Spec.TerminationGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	c.terminate(r, max(grace, 2*time.Second))
	return again
}

func (c *container) backoffKey() string { return string(c.pod.uid) + "_" + c.spec.Name }

// fail notes why a container could not be started.
func (c *container) fail(a *attempt, reason, message string) {
	c.pod.mu.Lock()
	c.reason, c.message = reason, message
	c.pod.mu.Unlock()
	a.failed = true
}

// start starts a container: startContainer of the kubelet. One that was ended
// for its probe does not wait.
func (p *pod) start(ctx context.Context, object *corev1.Pod, c *container, a *attempt, atOnce bool) {
	if c.current != nil && !atOnce {
		p.mu.Lock()
		ended := c.current.finished
		p.mu.Unlock()
		crashes, key := p.machine.crashes, c.backoffKey()
		if crashes.IsInBackOffSince(key, ended) {
			who := fmt.Sprintf("%s_%s(%s)", p.name, p.namespace, p.uid)
			c.warning("BackOff", "Back-off restarting failed container %s in pod %s", c.spec.Name, who)
			pause := crashes.Get(key)
			c.fail(a, "CrashLoopBackOff", fmt.Sprintf("back-off %s restarting failed container=%s pod=%s", pause, c.spec.Name, who))
			if left := max(time.Until(ended.Add(pause)), time.Millisecond); a.again == 0 || left < a.again {
				a.again = left
			}
			return
		}
		crashes.Next(key, ended)
	}
	image, reason, message := p.pull(ctx, c)
	if reason != "" {
		c.warning("Failed", "Error: %s", reason)
		c.fail(a, reason, message)
		return
	}
	env, err := p.environment(ctx, object, c)
	if err == nil {
		err = c.verifyUser(object, image, env)
	}
	if err != nil {
		c.warning("Failed", "Error: %v", err)
		c.fail(a, "CreateContainerConfigError", err.Error())
		return
	}
	b := newBehaviour(words(image.Labels, env), &c.spec)
	b.wrongPlatform = image.Architecture != "" && image.Architecture != architecture
	if c.init && !c.sidecar && !b.exits {
		b.exits = true // nobody runs a server in an init container
	}
	r := c.newRun(ctx, image, b)
	c.normal("Created", "Container created")
	if len(c.spec.Command) > 0 && !b.has(c.spec.Command[0]) {
		message := notFound(c.spec.Command[0])
		c.end(r, 128, "StartError", message)
		c.warning("Failed", "Error: %s", message)
		c.fail(a, "RunContainerError", message)
		return
	}
	c.normal("Started", "Container started")
	p.mu.Lock()
	r.started = time.Now()
	c.reason, c.message = "", ""
	p.mu.Unlock()
	a.started = true
	go c.live(r)
	p.startProbes(c, r)
}
