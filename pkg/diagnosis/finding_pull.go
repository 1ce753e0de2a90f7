package diagnosis

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// What registries and container runtimes say when an image cannot be pulled.
// Order matters: a registry that is down may still speak of authorisation.
var (
	pullPasses = regexp.MustCompile(`(?i)too ?many ?requests|internal server error|bad gateway|service unavailable|gateway time-?out|timeout|timed out|deadline exceeded|no such host|connection (?:refused|reset)|tls handshake|unexpected eof|: eof|no route to host|network is unreachable|server misbehaving|no space left`)
	// containerd and docker, in this order.
	pullPlatform = regexp.MustCompile(`(?i)no match for platform in manifest|no matching manifest for`)
	pullDenied   = regexp.MustCompile(`(?i)unauthorized|forbidden|access denied|\bdenied\b|authorization failed|insufficient_scope|no basic auth credentials|authentication required`)
	pullMissing  = regexp.MustCompile(`(?i)manifest unknown|name unknown|not found`)
)

// invalidImageName: pkg/kubelet/images/image_manager.go, applyDefaultImageTag.
func invalidImageName(c container) *Finding {
	if !c.waits("InvalidImageName") {
		return nil
	}
	return c.found(Finding{
		Severity: Fatal, Reason: c.waiting.Reason, State: c.waiting.Reason,
		Cause: fmt.Sprintf("image %q is not a valid image name", c.image), Fix: "correct the image in the manifest",
	})
}

// imageNeverPull: pkg/kubelet/images/image_manager.go, imageNotPresentOnNeverPolicyError.
func imageNeverPull(c container) *Finding {
	if !c.waits("ErrImageNeverPull") {
		return nil
	}
	return c.found(Finding{
		Severity: Fatal, Reason: c.waiting.Reason, State: c.waiting.Reason,
		Cause: fmt.Sprintf("image %q is not on the node, and imagePullPolicy Never forbids to pull it", c.image),
		Fix:   "set imagePullPolicy to IfNotPresent",
	})
}

// pullFailed is an image that the kubelet cannot pull. ErrImagePull is one
// attempt, ImagePullBackOff the wait for the next (pkg/kubelet/images/image_manager.go);
// a kubelet before 1.32 does not repeat the reason while it waits, so it is remembered.
func pullFailed(c container) *Finding {
	if !c.waits("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "SignatureValidationFailed", "ImageInspectError") {
		return nil
	}
	message := c.waiting.Message
	if known := c.pod.pulls[c.status.Name]; known != nil && known.message != "" && c.waiting.Reason == "ImagePullBackOff" && !strings.Contains(message, ": Err") {
		message = known.message
	}
	answer := registryAnswer(message, c.image)
	shown := line(answer)
	if shown == "" {
		shown = "no reason given"
	}
	f := Finding{Severity: Transient, Reason: c.waiting.Reason, Cause: fmt.Sprintf("image %q cannot be pulled: %s", c.image, shown), State: "pull"}
	switch {
	case c.waits("SignatureValidationFailed") || strings.Contains(message, "SignatureValidationFailed"):
		f.Severity, f.Reason, f.State = Persistent, "SignatureValidationFailed", "signature"
		f.Cause = fmt.Sprintf("image %q is refused by the node's signature policy: %s", c.image, shown)
		f.Fix = "sign the image as the policy wants it"
	case pullPasses.MatchString(answer):
		f.Cause = fmt.Sprintf("image %q cannot be pulled right now: %s", c.image, shown)
		f.Fix = "wait for the registry, or check its host name and the nodes' way to it"
	case pullPlatform.MatchString(answer):
		f.Severity, f.State, f.Lasts = Fatal, "platform", c.secondAttempt()
		f.Cause = fmt.Sprintf("image %q has no build for the platform of the node: %s", c.image, shown)
		f.Fix = platformFix
	case pullDenied.MatchString(answer):
		f.Severity, f.State = Persistent, "denied"
		f.Cause, f.Fix = fmt.Sprintf("the nodes may not pull image %q: %s", c.image, shown), pullFix(c.pod.Pod, c.image)
	case pullMissing.MatchString(answer):
		f.Severity, f.State, f.Lasts = Fatal, "missing", c.secondAttempt()
		f.Cause = fmt.Sprintf("image %q does not exist: the registry says %q", c.image, shown)
		f.Fix = "push the image, or correct its tag or digest in the manifest"
	}
	return c.found(f)
}

// secondAttempt is how long it takes until the kubelet pulled again: it waits
// 10 s (imageBackOff in pkg/kubelet/kubelet.go) and looks about every second. It
// is 0 if it did: a registry that replicates denies for a moment what it has, so
// that a second attempt with the same answer is wanted. Where the attempts
// themselves are not observed, the time that they take has to pass.
func (c container) secondAttempt() time.Duration {
	if known := c.pod.pulls[c.status.Name]; known != nil && known.attempts >= 2 {
		return 0
	}
	return 15 * time.Second
}

// pullWrappings are what the kubelet and the runtime put around the registry's words.
var pullWrappings = []string{
	"Back-off pulling image", "ErrImagePull:", "failed to pull and unpack image", "failed to resolve reference", "failed to resolve image",
	"failed to do request", "failed to copy", "image pull failed for  because the signature validation failed", // with the image's name taken out
}

// registryAnswer takes the kubelet's and the runtime's wrapping off a message, and
// the image's own name, whose words must not be taken for the registry's.
func registryAnswer(message, image string) string {
	message = afterLast(message, "desc = ")
	name, digest, _ := strings.Cut(image, "@")
	repository := name
	if i := strings.LastIndex(name, ":"); i > strings.LastIndex(name, "/") {
		repository = name[:i]
	}
	// containerd leaves the tag out where there is a digest.
	for _, known := range []string{image, repository + "@" + digest, name} {
		if strings.ContainsAny(known, "/:") { // a plain word may be the registry's as well
			for _, hub := range []string{"docker.io/library/", "docker.io/", ""} { // what containerd completes
				message = strings.ReplaceAll(message, hub+known, "")
			}
		}
	}
	for _, wrapping := range pullWrappings {
		message = strings.ReplaceAll(message, wrapping, "")
	}
	message = strings.ReplaceAll(message, `""`, "")
	return strings.TrimLeft(message, ": \t\n")
}

// googleImage is LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/…
var googleImage = regexp.MustCompile(`^([a-z0-9-]+)-docker\.pkg\.dev/([^/]+)/([^/:@]+)/`)

// pullFix says how to let the nodes pull an image.
func pullFix(pod *corev1.Pod, image string) string {
	if names := pullSecrets(pod); len(names) > 0 {
		return fmt.Sprintf("check that the pull secret %s exists in namespace %q and holds a login that may pull", strings.Join(names, ", "), pod.Namespace)
	}
	host, _, _ := strings.Cut(image, "/")
	if m := googleImage.FindStringSubmatch(image); m != nil {
		return fmt.Sprintf("check that the image exists, and give the nodes' service account the role roles/artifactregistry.reader: "+
			"gcloud artifacts repositories add-iam-policy-binding %s --location=%s --project=%s "+
			"--member=serviceAccount:NODE_SERVICE_ACCOUNT --role=roles/artifactregistry.reader", m[3], m[1], m[2])
	}
	if host == "gcr.io" || strings.HasSuffix(host, ".gcr.io") {
		project, _, _ := strings.Cut(strings.TrimPrefix(image, host+"/"), "/")
		return fmt.Sprintf("check that the image exists, and give the nodes' service account the role roles/artifactregistry.reader: "+
			"gcloud projects add-iam-policy-binding %s --member=serviceAccount:NODE_SERVICE_ACCOUNT --role=roles/artifactregistry.reader", project)
	}
	if !strings.ContainsAny(host, ".:") {
		host = "docker.io"
	}
	return fmt.Sprintf("check that the image exists, and name a pull secret for %s in imagePullSecrets: "+
		"kubectl create secret docker-registry NAME --namespace=%s --docker-server=%s --docker-username=… --docker-password=…", host, pod.Namespace, host)
}

func pullSecrets(pod *corev1.Pod) []string {
	var names []string
	for _, secret := range pod.Spec.ImagePullSecrets {
		names = append(names, fmt.Sprintf("%q", secret.Name))
	}
	return names
}
