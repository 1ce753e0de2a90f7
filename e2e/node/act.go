package node

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// What the kubelet waits before it acts on a pod again: pkg/kubelet/pod_workers.go.
const (
	afterError   = 10 * time.Second
	afterSuccess = time.Minute
	jitter       = 0.5
)

// attempt is what became of one act.
type attempt struct {
	started bool
	failed  bool
	again   time.Duration // 0: the usual time
}

// act starts and ends containers: computePodActions and SyncPod of the kubelet.
func (p *pod) act(ctx context.Context, object *corev1.Pod) (again time.Duration, relist bool) {
	var a attempt
	if p.initialise(ctx, object, &a) {
		for _, c := range p.containers {
			p.keep(ctx, object, c, &a)
		}
	}
	switch {
	case a.failed && a.again > 0:
		return wait.Jitter(min(a.again, afterSuccess), jitter), false
	case a.failed:
		return wait.Jitter(afterError, jitter), false
	}
	return wait.Jitter(afterSuccess, jitter), a.started
}

// initialise brings the init containers on, and tells whether the others may start.
func (p *pod) initialise(ctx context.Context, object *corev1.Pod, a *attempt) bool {
	begun := false
	for _, c := range p.containers {
		begun = begun || c.current != nil
	}
	for _, c := range p.inits {
		if begun && !c.sidecar {
			continue
		}
		p.mu.Lock()
		done := c.succeeded() && !c.sidecar || c.sidecar && c.isStarted()
		p.mu.Unlock()
		if done {
			if c.sidecar {
				p.keep(ctx, object, c, a)
			}
			continue
		}
		p.keep(ctx, object, c, a)
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
	running, restarts := c.running(), c.restarts(object.Spec.RestartPolicy)
	p.mu.Unlock()
	switch {
	case running && p.unhealthy(object, c):
		p.start(ctx, object, c, a, c.previous)
	case !running && restarts:
		p.start(ctx, object, c, a, c.current)
	}
}

// unhealthy ends a container that failed its liveness or startup probe, and
// tells whether it is started again.
func (p *pod) unhealthy(object *corev1.Pod, c *container) bool {
	p.mu.Lock()
	r, probe := c.current, ""
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
	c.terminate(r, max(gracePeriod(object), minimumGrace))
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

// backOff tells whether a container has to wait before it is started again:
// doBackOff of the kubelet. last is the newest run that had ended before this act.
func (p *pod) backOff(c *container, a *attempt, last *run) bool {
	if last == nil {
		return false
	}
	p.mu.Lock()
	ended := last.finished
	p.mu.Unlock()
	crashes, key := p.machine.crashes, c.backoffKey()
	if !crashes.IsInBackOffSince(key, ended) {
		crashes.Next(key, ended)
		return false
	}
	who := fmt.Sprintf("%s_%s(%s)", p.name, p.namespace, p.uid)
	c.warning("BackOff", "Back-off restarting failed container %s in pod %s", c.spec.Name, who)
	pause := crashes.Get(key)
	c.fail(a, "CrashLoopBackOff", fmt.Sprintf("back-off %s restarting failed container=%s pod=%s", pause, c.spec.Name, who))
	if left := max(time.Until(ended.Add(pause)), time.Millisecond); a.again == 0 || left < a.again {
		a.again = left
	}
	return true
}

// start starts a container: startContainer of the kubelet.
func (p *pod) start(ctx context.Context, object *corev1.Pod, c *container, a *attempt, last *run) {
	if p.backOff(c, a, last) {
		return
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
	say := words(image.Labels, env)
	if say("entrypoint") == "none" && len(c.spec.Command) == 0 {
		message := fmt.Sprintf("failed to generate container %q spec: failed to generate spec: no command specified", newID())
		c.warning("Failed", "Error: %s", message)
		c.fail(a, "CreateContainerError", message)
		return
	}
	b := newBehaviour(say, &c.spec)
	b.wrongPlatform = image.Architecture != "" && image.Architecture != architecture || say("foreign") == "true"
	if c.init && !c.sidecar && !b.exits {
		b.exits = true // nobody runs a server in an init container
	}
	r := c.newRun(image, b)
	c.normal("Created", "Container created")
	if len(c.spec.Command) > 0 && !b.has(c.spec.Command[0]) {
		message := notFound(c.spec.Command[0])
		c.end(r, 128, "StartError", message)
		c.warning("Failed", "Error: %s", message)
		c.fail(a, "RunContainerError", message)
		return
	}
	c.normal("Started", "Container started")
	living, kill := context.WithCancel(ctx)
	p.mu.Lock()
	r.started, r.kill = time.Now(), kill
	c.reason, c.message = "", ""
	p.mu.Unlock()
	a.started = true
	go c.live(living, r)
}

// notFound is what containerd 1.6 and runc 1.1 say of a command that the image does not have.
func notFound(command string) string {
	cause := fmt.Sprintf("exec: %q: executable file not found in $PATH", command)
	if strings.Contains(command, "/") {
		cause = fmt.Sprintf("exec: %q: stat %s: no such file or directory", command, command)
	}
	return "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: " + cause + ": unknown"
}
