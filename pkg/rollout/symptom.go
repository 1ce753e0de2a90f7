package rollout

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// class is how much a symptom proves.
type class int

const (
	healthy     class = iota
	passing           // never fails a rollout by itself: it may pass
	persisting        // proves it when it lasts, on every new pod
	overBudget        // proves it on every new pod
	certainOnce       // proves it on any pod
)

// symptom is why one pod is not ready.
type symptom struct {
	class              class
	key                string // equal keys are one state that goes on
	reason, cause, fix string
	container          string
	ran                bool // the container ran, so there may be a log
	image              string
	lasts              time.Duration // how long it has to last; 0: Options.Persist if persisting, else not at all
}

// Messages of the kubelet, pkg/kubelet/kubelet_pods.go (environment) and
// pkg/volume/{secret,configmap} (files); the first two are the API's own NotFound.
var (
	missingObject = regexp.MustCompile(`\b(secret|configmap) "([^"]+)" not found`)
	missingKey    = regexp.MustCompile(`couldn't find key (\S+) in (ConfigMap|Secret) (\S+)/(\S+)`)
	missingFile   = regexp.MustCompile(`volume "([^"]+)" : (?:configmap )?references non-existent (secret|config) key: (\S+)`)
	cacheNotReady = regexp.MustCompile(`failed to sync \S+ cache`)
)

// missing tells which Secret, ConfigMap or key a message misses.
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
		object := kind
		if name != "" {
			object = fmt.Sprintf("%s %q", kind, name)
		}
		return fmt.Sprintf("%s has no key %q", object, m[3]),
			fmt.Sprintf("add the key to %s in namespace %q, or correct the key in the manifest", object, pod.Namespace), true
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

// judge finds what is wrong with one container of a pod.
func (t *track) judge(status corev1.ContainerStatus, init bool) symptom {
	s := symptom{container: status.Name, image: status.Image}
	spec := t.container(status.Name)
	if spec != nil && spec.Image != "" {
		s.image = spec.Image
	}
	name := fmt.Sprintf("container %q", status.Name)
	if init {
		name = "init " + name
	}
	last := status.LastTerminationState.Terminated
	s.ran = last != nil || status.State.Running != nil || status.State.Terminated != nil
	restarts := status.RestartCount - t.baseline[status.Name]

	if w := status.State.Waiting; w != nil {
		message := clean(w.Message, phraseLimit)
		switch w.Reason {
		case "InvalidImageName":
			return s.is(certainOnce, w.Reason, fmt.Sprintf("image %q is not a valid image name", s.image),
				"correct the image in the manifest", w.Reason)
		case "ErrImageNeverPull":
			return s.is(certainOnce, w.Reason, fmt.Sprintf("image %q is not on the node, and imagePullPolicy Never forbids to pull it", s.image),
				"set imagePullPolicy to IfNotPresent", w.Reason)
		case "ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "SignatureValidationFailed", "ImageInspectError":
			return t.pullSymptom(s, w)
		case "CreateContainerConfigError", "CreateContainerError":
			return t.configSymptom(s, name, w)
		case "RunContainerError", "StartError", "ContainerCannotRun", "PostStartHookError":
			if w.Message == "" && last != nil {
				message = clean(last.Message, phraseLimit)
			}
			return s.cannotStart(persisting, w.Reason, name, message)
		case "CrashLoopBackOff":
			if last == nil {
				return s.is(overBudget, w.Reason, name+" keeps crashing", "read its log", w.Reason)
			}
			return t.crash(s, name, last, status.RestartCount)
		}
	}
	if over := status.State.Terminated; over != nil && (init && over.ExitCode == 0 || t.kind == "Job" && over.ExitCode == 0) {
		return symptom{}
	}
	ended := status.State.Terminated
	if ended == nil {
		ended = last
	}
	if ended != nil && !status.Ready && restarts >= restartBudget {
		return t.crash(s, name, ended, status.RestartCount)
	}
	if over := status.State.Terminated; over != nil && over.ExitCode != 0 {
		s = t.crash(s, name, over, status.RestartCount)
		if t.kind != "Pod" || !t.final() {
			s.class = passing // it is started again, or another pod is
		}
		return s
	}
	return symptom{}
}

// is fills in what a symptom says.
func (s symptom) is(c class, reason, cause, fix, key string) symptom {
	s.class, s.reason, s.cause, s.fix, s.key = c, reason, cause, fix, s.container+" "+key
	return s
}

// configSymptom judges a container that cannot be made, which the kubelet
// tries again every few seconds.
func (t *track) configSymptom(s symptom, name string, w *corev1.ContainerStateWaiting) symptom {
	message := clean(w.Message, phraseLimit)
	if what, fix, ok := missing(t.pod, w.Message); ok {
		return s.is(persisting, w.Reason, fmt.Sprintf("%s, which %s needs", what, name), fix, what)
	}
	switch {
	// The kubelet has not read the object yet; containerd still removes the container of an earlier attempt.
	case cacheNotReady.MatchString(w.Message), strings.Contains(w.Message, "context deadline exceeded"), strings.Contains(w.Message, "is reserved for"):
		return s.is(passing, w.Reason, fmt.Sprintf("%s cannot be created yet: %s", name, message), "", "create")
	case strings.Contains(w.Message, "runAsNonRoot"):
		return s.is(persisting, w.Reason, fmt.Sprintf("%s must not run as root, and its image does: %s", name, message),
			"set a numeric USER in the image, or securityContext.runAsUser in the manifest", "root")
	case strings.Contains(w.Message, "no command specified"):
		return s.is(persisting, w.Reason, fmt.Sprintf("%s has no command: neither its image nor the manifest names one", name),
			"set ENTRYPOINT or CMD in the image, or command in the manifest", "command")
	}
	return s.is(persisting, w.Reason, fmt.Sprintf("%s cannot be created: %s", name, message),
		"correct the container in the manifest", "create")
}

// cannotStart judges a container whose command the runtime could not start.
// The words are those of runc and of Linux.
func (s symptom) cannotStart(c class, reason, name, message string) symptom {
	message = afterLast(message, "unable to start container process: ")
	message = strings.TrimSuffix(strings.TrimPrefix(message, "error during container init: "), ": unknown")
	fix := "correct command and args in the manifest, or the image's entrypoint"
	switch {
	case strings.Contains(message, "exec format error"):
		return s.is(c, reason, fmt.Sprintf("%s cannot run on its node: image %q is built for another platform (exec format error)", name, s.image),
			platformFix, "platform")
	case strings.Contains(message, "executable file not found"), strings.Contains(message, "no such file or directory"):
		fix = "correct command in the manifest, or the image's entrypoint: the image has no such file"
	case strings.Contains(message, "permission denied"):
		fix = "make the file executable in the image (chmod +x), or correct command in the manifest"
	}
	return s.is(c, reason, fmt.Sprintf("%s cannot start: %s", name, message), fix, "start")
}

const platformFix = "build the image for the platform of the nodes, e.g. docker buildx build --platform linux/amd64, or choose nodes with nodeSelector kubernetes.io/arch"

// crash judges a container that ended.
func (t *track) crash(s symptom, name string, over *corev1.ContainerStateTerminated, restarts int32) symptom {
	c := overBudget
	if t.kind == "Job" {
		// It counts its own retries, and fails by itself.
		c = passing
	}
	times := ""
	if restarts > 1 {
		times = fmt.Sprintf(", restarted %d times", restarts)
	}
	said := ""
	if over.Message != "" {
		said = ": " + clean(over.Message, phraseLimit)
	}
	switch over.Reason {
	case "OOMKilled":
		return s.outOfMemory(c, name, times, t.container(s.container))
	case "StartError", "ContainerCannotRun":
		return s.cannotStart(c, "CrashLoopBackOff", name, clean(over.Message, phraseLimit))
	}
	for _, kind := range []string{"Liveness", "Startup"} {
		if !t.killed(s.container, kind, over) {
			continue
		}
		cause := fmt.Sprintf("%s is killed by its %s probe%s", name, strings.ToLower(kind), times)
		if answer := t.answer(s.container, kind); answer != "" {
			cause += ", which answered: " + answer
		}
		return s.is(c, kind+"ProbeFailed", cause, "correct the probe's path and port, or give the container more time with a startupProbe", "exit")
	}
	if over.ExitCode == 0 {
		return s.is(c, "CrashLoopBackOff", fmt.Sprintf("%s ends by itself with exit code 0%s", name, times),
			"keep the server in the foreground: the command must not return", "exit")
	}
	return s.is(c, "CrashLoopBackOff", fmt.Sprintf("%s crashed with exit code %d%s%s%s", name, over.ExitCode, meaning(over.ExitCode), times, said),
		"read its log for the reason", "exit")
}

// killed tells whether the kubelet ended a run because of a probe. A program
// that stops when it is told to ends with exit code 0, so the code does not say.
func (t *track) killed(container, kind string, over *corev1.ContainerStateTerminated) bool {
	for _, e := range t.events {
		// pkg/kubelet/kuberuntime/kuberuntime_manager.go
		if e.Reason == "Killing" && e.Container == container && !e.Last.Before(over.StartedAt.Time) &&
			strings.Contains(e.Message, "failed "+strings.ToLower(kind)+" probe") {
			return true
		}
	}
	return (over.ExitCode == 137 || over.ExitCode == 143) && t.answer(container, kind) != ""
}

func (s symptom) outOfMemory(c class, name, times string, spec *corev1.Container) symptom {
	if spec != nil {
		if limit, ok := spec.Resources.Limits[corev1.ResourceMemory]; ok {
			return s.is(c, "OOMKilled", fmt.Sprintf("%s ran out of memory: it was killed at its limit of %s%s", name, limit.String(), times),
				"raise resources.limits.memory, or load a smaller model", "exit")
		}
	}
	return s.is(c, "OOMKilled", fmt.Sprintf("%s ran out of memory: it has no limit of its own, and the node or the pod had no more%s", name, times),
		"set resources.requests.memory to what it needs, so that it is placed on a node that has it", "exit")
}

// meaning explains the exit codes that shells and signals give.
func meaning(code int32) string {
	switch code {
	case 126:
		return " (the command cannot be executed)"
	case 127:
		return " (command not found)"
	case 132:
		return " (illegal instruction: built for another processor)"
	case 134:
		return " (aborted)"
	case 137:
		return " (killed)"
	case 139:
		return " (segmentation fault)"
	case 143:
		return " (terminated)"
	}
	return ""
}

func afterLast(s, sep string) string {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[i+len(sep):]
	}
	return s
}
