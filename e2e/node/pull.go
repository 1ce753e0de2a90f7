package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	corev1 "k8s.io/api/core/v1"
)

func (c *container) pullKey() string { return string(c.pod.uid) + "_" + c.spec.Image }

// pull gets a container's image: EnsureImageExists of the kubelet
// (pkg/kubelet/images/image_manager.go). On failure it returns the reason and
// the message that the container's status shows.
func (p *pod) pull(ctx context.Context, c *container) (image Image, reason, message string) {
	m, wanted := p.machine, c.spec.Image
	ref, err := normalised(wanted)
	if err != nil {
		message := fmt.Sprintf("Failed to apply default image tag %q: couldn't parse image name %q: %v", wanted, wanted, invalid(wanted))
		c.warning("InspectFailed", "%s", message)
		return Image{}, "InvalidImageName", message
	}
	if c.spec.ImagePullPolicy != corev1.PullAlways {
		m.mu.Lock()
		image, here := m.images[ref]
		m.mu.Unlock()
		if here {
			c.normal("Pulled", "Container image %q already present on machine and can be accessed by the pod", wanted)
			return image, "", ""
		}
		if c.spec.ImagePullPolicy == corev1.PullNever {
			message := fmt.Sprintf("Container image %q is not present with pull policy of Never", wanted)
			c.warning("ErrImageNeverPull", "%s", message)
			return Image{}, "ErrImageNeverPull", message
		}
	}
	key := c.pullKey()
	if m.pulls.IsInBackOffSinceUpdate(key, time.Now()) {
		message := fmt.Sprintf("Back-off pulling image %q", wanted)
		c.normal("BackOff", "%s", message)
		if c.pullError != "" {
			message += ": " + c.pullError
		}
		return Image{}, "ImagePullBackOff", message
	}
	c.pullError = ""
	c.normal("Pulling", "Pulling image %q", wanted)
	begun := time.Now()
	image, err = m.fetch(ctx, ref)
	if err != nil {
		c.warning("Failed", "Failed to pull image %q: %v", wanted, err)
		m.pulls.Next(key, time.Now())
		c.pullError = "ErrImagePull: " + err.Error()
		return Image{}, "ErrImagePull", err.Error()
	}
	took := time.Since(begun).Truncate(time.Millisecond)
	c.normal("Pulled", "Successfully pulled image %q in %v (%v including waiting). Image size: %v bytes.", wanted, took, took, image.Size)
	m.mu.Lock()
	m.images[ref] = image
	m.mu.Unlock()
	return image, "", ""
}

// invalid says what is wrong with an image's name, as the kubelet does.
func invalid(image string) error {
	_, path, _ := strings.Cut(image, "/")
	path, _, _ = strings.Cut(path, "@")
	if i := strings.LastIndex(path, ":"); i >= 0 {
		path = path[:i]
	}
	if strings.ToLower(path) != path {
		return fmt.Errorf("invalid reference format: repository name (%s) must be lowercase", path)
	}
	return errors.New("invalid reference format")
}

// fetch asks the registry as containerd does, and returns containerd's errors
// (v1.6: pkg/cri/server/image_pull.go, remotes/docker/{resolver,authorizer}.go).
func (m *machine) fetch(ctx context.Context, ref string) (Image, error) {
	image, err := m.nodes.options.Images(ctx, ref)
	if err != nil {
		return Image{}, refused(ref, err)
	}
	if image.Platforms != nil && !slices.Contains(image.Platforms, Platform) {
		return Image{}, pullError("NotFound", ref, "no match for platform in manifest: not found")
	}
	say := words(image.Labels, nil)
	if d, err := time.ParseDuration(say("pull-after")); err == nil {
		sleep(ctx, d)
	}
	status := map[string]int{
		"denied": http.StatusForbidden, "unauthorized": http.StatusUnauthorized,
		"missing": http.StatusNotFound, "unavailable": http.StatusServiceUnavailable,
	}[say("pull")]
	if status != 0 {
		return Image{}, refused(ref, &transport.Error{StatusCode: status})
	}
	return image, nil
}

// pullError is an error of containerd as the kubelet passes it on: without the
// code when that is Unknown.
func pullError(code, ref, cause string) error {
	message := fmt.Sprintf("failed to pull and unpack image %q: %s", ref, cause)
	if code != "Unknown" {
		message = fmt.Sprintf("rpc error: code = %s desc = %s", code, message)
	}
	return errors.New(message)
}

// refused says what containerd says when a registry does not give a manifest.
func refused(ref string, err error) error {
	resolve := fmt.Sprintf("failed to resolve reference %q: ", ref)
	host, _, _ := strings.Cut(ref, "/")
	if r, err := name.ParseReference(ref); err == nil {
		host = r.Context().RegistryStr()
	}
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return pullError("Unknown", ref, resolve+fmt.Sprintf("failed to do request: Head %q: %v", manifestURL(host, ref), err))
	}
	switch answer.StatusCode {
	case http.StatusNotFound:
		return pullError("NotFound", ref, resolve+ref+": not found")
	case http.StatusForbidden:
		// What Artifact Registry answers a node whose service account may not read.
		return pullError("Unknown", ref, resolve+"failed to authorize: failed to fetch oauth token: unexpected status: 403 Forbidden")
	case http.StatusUnauthorized:
		// What Artifact Registry answers a node that has no credentials for it.
		return pullError("Unknown", ref, resolve+"failed to authorize: failed to fetch anonymous token: unexpected status: 403 Forbidden")
	}
	_, object := split(ref)
	return pullError("Unknown", ref, resolve+fmt.Sprintf("pulling from host %s failed with status code [manifests %s]: %d %s",
		host, object, answer.StatusCode, http.StatusText(answer.StatusCode)))
}

// split cuts a reference into its repository and its tag or digest.
func split(ref string) (repository, object string) {
	if r, digest, ok := strings.Cut(ref, "@"); ok {
		return r, digest
	}
	i := strings.LastIndex(ref, ":")
	return ref[:i], ref[i+1:]
}

func manifestURL(host, ref string) string {
	repository, object := split(ref)
	return fmt.Sprintf("https://%s/v2/%s/manifests/%s", host, strings.TrimPrefix(repository, host+"/"), object)
}
