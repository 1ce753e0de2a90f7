package diagnosis

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// What the kubelet says when it cannot make or start a container. The first two
// of missing are the API's own NotFound; the others are of
// pkg/kubelet/kubelet_pods.go (environment) and pkg/volume/{secret,configmap} (files).
var (
	missingObject = regexp.MustCompile(`\b(secret|configmap) "([^"]+)" not found`)
	missingKey    = regexp.MustCompile(`couldn't find key (\S+) in (ConfigMap|Secret) (\S+)/(\S+)`)
	missingFile   = regexp.MustCompile(`volume "([^"]+)" : (?:configmap )?references non-existent (secret|config) key: (\S+)`)
	// pkg/kubelet/util/manager/watch_based_manager.go
	cacheNotReady = regexp.MustCompile(`failed to sync \S+ cache`)
)

// missing finds which Secret, ConfigMap or key a message misses.
func missing(pod *corev1.Pod, message string) (what, fix string, ok bool) {
	if cacheNotReady.MatchString(message) {
		return "", "", false
	}
	if m := missingKey.FindStringSubmatch(message); m != nil {
		return fmt.Sprintf("%s %q has no key %q", m[2], m[4], m[1]),
			fmt.Sprintf("add the key to %s %q in namespace %q, or correct the key in the manifest", m[2], m[4], pod.Namespace), true
	}
	if m := missingFile.FindStringSubmatch(message); m != nil {
		kind, name := "Secret", ""
		if m[2] == "config" {
			kind = "ConfigMap"
		}
		for _, v := range pod.Spec.Volumes {
			switch {
			case v.Name != m[1]:
			case v.Secret != nil:
				name = v.Secret.SecretName
			case v.ConfigMap != nil:
				name = v.ConfigMap.Name
			}
		}
		source := kind
		if name != "" {
			source = fmt.Sprintf("%s %q", kind, name)
		}
		return fmt.Sprintf("%s has no key %q", source, m[3]),
			fmt.Sprintf("add the key to %s in namespace %q, or correct the key in the manifest", source, pod.Namespace), true
	}
	if m := missingObject.FindStringSubmatch(message); m != nil {
		kind := "Secret"
		if m[1] == "configmap" {
			kind = "ConfigMap"
		}
		return fmt.Sprintf("%s %q does not exist in namespace %q", kind, m[2], pod.Namespace),
			fmt.Sprintf("create %s %q or add it to the manifests, or correct its name", kind, m[2]), true
	}
	return "", "", false
}

// notCreated reports whether the container cannot be made, which the kubelet
// tries again every few seconds.
func (c container) notCreated() bool {
	return c.waits("CreateContainerConfigError", "CreateContainerError")
}

func configMissing(c container) *Finding {
	if !c.notCreated() {
		return nil
	}
	what, fix, ok := missing(c.pod.Pod, c.waiting.Message)
	if !ok {
		return nil
	}
	return c.found(Finding{Severity: Persistent, Reason: c.waiting.Reason, Cause: fmt.Sprintf("%s, which %s needs", what, c.name), Fix: fix, State: what})
}

// notCreatedYet is what passes by itself: the kubelet has not read an object yet,
// or containerd still removes the container of an earlier attempt.
func notCreatedYet(c container) *Finding {
	if !c.notCreated() || !cacheNotReady.MatchString(c.waiting.Message) &&
		!strings.Contains(c.waiting.Message, "context deadline exceeded") && !strings.Contains(c.waiting.Message, "is reserved for") {
		return nil
	}
	return c.found(Finding{Severity: Transient, Reason: c.waiting.Reason, Cause: fmt.Sprintf("%s cannot be created yet: %s", c.name, c.message), State: "create"})
}

// runsAsRoot: pkg/kubelet/kuberuntime/security_context_others.go.
func runsAsRoot(c container) *Finding {
	if !c.notCreated() || !strings.Contains(c.waiting.Message, "runAsNonRoot") {
		return nil
	}
	return c.found(Finding{
		Severity: Persistent, Reason: c.waiting.Reason, State: "root",
		Cause: fmt.Sprintf("%s must not run as root, and its image does: %s", c.name, c.message),
		Fix:   "set a numeric USER in the image, or securityContext.runAsUser in the manifest",
	})
}

// noCommand: containerd, internal/cri/server/container_create.go.
func noCommand(c container) *Finding {
	if !c.notCreated() || !strings.Contains(c.waiting.Message, "no command specified") {
		return nil
	}
	return c.found(Finding{
		Severity: Persistent, Reason: c.waiting.Reason, State: "command",
		Cause: c.name + " has no command: neither its image nor the manifest names one",
		Fix:   "set ENTRYPOINT or CMD in the image, or command in the manifest",
	})
}

func createFailed(c container) *Finding {
	if !c.notCreated() {
		return nil
	}
	return c.found(Finding{
		Severity: Persistent, Reason: c.waiting.Reason, State: "create",
		Cause: fmt.Sprintf("%s cannot be created: %s", c.name, c.message), Fix: "correct the container in the manifest",
	})
}

func startFailed(c container) *Finding {
	if !c.waits("RunContainerError", "StartError", "ContainerCannotRun", "PostStartHookError") {
		return nil
	}
	message := c.message
	if last := c.status.LastTerminationState.Terminated; message == "" && last != nil {
		message = line(last.Message)
	}
	return c.cannotStart(Persistent, c.waiting.Reason, message)
}

// cannotStart is about a container whose command the runtime could not start.
// The words are those of runc and of Linux.
func (c container) cannotStart(s Severity, reason, message string) *Finding {
	message = afterLast(message, "unable to start container process: ")
	message = strings.TrimSuffix(strings.TrimPrefix(message, "error during container init: "), ": unknown")
	f := Finding{
		Severity: s, Reason: reason, State: "start",
		Cause: fmt.Sprintf("%s cannot start: %s", c.name, message),
		Fix:   "correct command and args in the manifest, or the image's entrypoint",
	}
	switch {
	case strings.Contains(message, "exec format error"):
		f.Cause = fmt.Sprintf("%s cannot run on its node: image %q is built for another platform (exec format error)", c.name, c.image)
		f.Fix, f.State = platformFix, "platform"
	case strings.Contains(message, "executable file not found"), strings.Contains(message, "no such file or directory"):
		f.Fix = "correct command in the manifest, or the image's entrypoint: the image has no such file"
	case strings.Contains(message, "permission denied"):
		f.Fix = "make the file executable in the image (chmod +x), or correct command in the manifest"
	}
	return c.found(f)
}

// mountFailed finds a volume that cannot be mounted, or a network that cannot
// be had. The pod's status says ContainerCreating only; the reason is in an event
// of the kubelet, pkg/volume/util/operationexecutor/operation_generator.go.
func mountFailed(p *podState) *Finding {
	for _, e := range slices.Backward(p.events) {
		switch e.Reason {
		case "Pulling", "Pulled":
			return nil // this comes after them
		case "FailedCreatePodSandBox":
			return &Finding{Severity: Transient, Reason: e.Reason, Cause: fmt.Sprintf("pod %q cannot be started on its node: %s", p.Name, line(e.Message)), State: "sandbox"}
		case "FailedMount", "FailedAttachVolume":
			if what, fix, ok := missing(p.Pod, e.Message); ok {
				return &Finding{Severity: Persistent, Reason: e.Reason, Cause: fmt.Sprintf("%s, which pod %q mounts", what, p.Name), Fix: fix, State: what}
			}
			f := &Finding{Severity: Transient, Reason: e.Reason, Cause: fmt.Sprintf("pod %q cannot mount its volumes: %s", p.Name, line(e.Message)), State: "mount"}
			if strings.Contains(e.Message, "Multi-Attach error") {
				f.Fix = "set strategy: {type: Recreate}, so that the earlier pod lets go of the volume first: one node at a time may have it (ReadWriteOnce)"
			}
			return f
		}
	}
	return nil
}
