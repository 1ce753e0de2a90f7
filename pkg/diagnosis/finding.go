package diagnosis

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/org/deploy-model-action/pkg/redact"
)

// Severity is how much a finding proves.
type Severity int

// The severities, the worst last.
const (
	Healthy    Severity = iota
	Transient           // never fails a rollout by itself: it may pass
	Persistent          // fails it when it lasts, on every new pod
	EachPod             // fails it on every new pod
	Fatal               // fails it on any pod
)

// Finding is what is wrong with a pod, or why one cannot be created. Its zero
// value is that nothing is.
type Finding struct {
	Severity Severity
	// Reason is one word; Cause and Fix are a sentence each, without a full stop.
	Reason, Cause, Fix string
	// Container is the one that it is about, and Image what it runs; "" if it is
	// about none. Ran says that it ran, so that there may be a log.
	Container, Image string
	Ran              bool
	// State is what goes on: findings with equal states are one that lasts.
	State string
	// Freed says that it may be over when pods have ended.
	Freed bool
	// Lasts is how long it has to last; 0: Options.Persist if Persistent, else not
	// at all.
	Lasts time.Duration
}

// platformFix is what to do about an image for another processor.
const platformFix = "build the image for the platform of the nodes, e.g. docker buildx build --platform linux/amd64, or choose nodes with nodeSelector kubernetes.io/arch"

// containerRules are tried in this order; the first that answers counts.
var containerRules = []func(container) *Finding{
	invalidImageName, imageNeverPull, pullFailed,
	configMissing, notCreatedYet, runsAsRoot, noCommand, createFailed,
	startFailed, keepsCrashing,
	outOfMemory, startFailedBefore, killedByProbe, endedByItself, exited,
}

// podRules are about a pod none of whose containers began.
var podRules = []func(*podState) *Finding{mountFailed}

// container is what rules look at: one container of a pod, as it is now.
type container struct {
	pod    *podState
	status corev1.ContainerStatus
	spec   *corev1.Container // nil if the pod's specification has none of that name
	init   bool
	name   string // for people
	image  string

	waiting *corev1.ContainerStateWaiting // nil if it does not
	message string                        // what it waits for, harmless
	crash   *crash                        // nil if it did not
}

func (p *podState) container(status corev1.ContainerStatus, init bool) container {
	c := container{pod: p, status: status, spec: p.spec(status.Name), init: init, image: status.Image, waiting: status.State.Waiting}
	if c.spec != nil && c.spec.Image != "" {
		c.image = c.spec.Image
	}
	c.name = fmt.Sprintf("container %q", status.Name)
	if init {
		c.name = "init " + c.name
	}
	if c.waiting != nil {
		c.message = line(c.waiting.Message)
	}
	c.crash = crashOf(c)
	return c
}

// waits reports whether the container waits for one of some reasons.
func (c container) waits(reasons ...string) bool {
	if c.waiting == nil {
		return false
	}
	for _, reason := range reasons {
		if c.waiting.Reason == reason {
			return true
		}
	}
	return false
}

// found completes a finding about the container.
func (c container) found(f Finding) *Finding {
	f.Container, f.Image, f.State = c.status.Name, c.image, c.status.Name+" "+f.State
	f.Ran = c.status.LastTerminationState.Terminated != nil || c.status.State.Running != nil || c.status.State.Terminated != nil
	return &f
}

// evaluate finds the worst that is wrong with the pod; init containers first,
// since nothing else begins before they end.
func (p *podState) evaluate() Finding {
	var worst Finding
	p.others = nil
	take := func(f *Finding) {
		switch {
		case f == nil:
		case f.Severity > worst.Severity:
			if worst.Severity > Transient {
				p.others = append(p.others, worst)
			}
			worst = *f
		case f.Severity > Transient:
			p.others = append(p.others, *f)
		}
	}
	for _, status := range p.Status.InitContainerStatuses {
		take(first(containerRules, p.container(status, true)))
	}
	for _, status := range p.Status.ContainerStatuses {
		take(first(containerRules, p.container(status, false)))
	}
	if worst.Severity <= Transient && p.notBegun() {
		take(first(podRules, p))
	}
	return worst
}

// first returns what the first rule that applies found; nil if none does.
func first[T any](rules []func(T) *Finding, of T) *Finding {
	for _, rule := range rules {
		if f := rule(of); f != nil {
			return f
		}
	}
	return nil
}

// Lengths that foreign text is cut to, in runes: within a sentence, and for a message of its own.
const (
	phraseLimit  = 300
	messageLimit = 1000
)

// line is foreign text, harmless within a sentence.
func line(text string) string { return redact.Line(text, phraseLimit) }

func afterLast(s, sep string) string {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[i+len(sep):]
	}
	return s
}

func countOf(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
