package node_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/org/deploy-model-action/e2e/node"
)

// The messages were recorded from containerd 1.6.20.
func TestPullRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*node.Image)
		code   string
		says   string // after "failed to pull and unpack image": %[1]s is the reference that containerd uses, %[2]s its digest
	}{
		"missing":      {labels("pull", "missing"), "NotFound", `failed to resolve reference "%[1]s": %[1]s: not found`},
		"denied":       {labels("pull", "denied"), "Unknown", `failed to resolve reference "%[1]s": failed to authorize: failed to fetch oauth token: unexpected status: 403 Forbidden`},
		"unauthorized": {labels("pull", "unauthorized"), "Unknown", `failed to resolve reference "%[1]s": failed to authorize: failed to fetch anonymous token: unexpected status: 403 Forbidden`},
		"unavailable":  {labels("pull", "unavailable"), "Unknown", `failed to resolve reference "%[1]s": pulling from host registry.example.com failed with status code [manifests %[2]s]: 503 Service Unavailable`},
		"platform":     {func(i *node.Image) { i.Platforms = []string{"linux/arm64"} }, "NotFound", "no match for platform in manifest: not found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newTest(t)
			image := x.push("1", c.change)
			base, pinned, _ := strings.Cut(image, "@")
			ref := strings.TrimSuffix(base, ":1") + "@" + pinned
			want := fmt.Sprintf("failed to pull and unpack image %q: ", ref)
			if c.code != "Unknown" { // the kubelet leaves that one away
				want = "rpc error: code = " + c.code + " desc = " + want
			}
			want += strings.ReplaceAll(strings.ReplaceAll(c.says, "%[1]s", ref), "%[2]s", pinned)
			pod := x.pod(corev1.PodSpec{Containers: []corev1.Container{model(image)}})
			p := x.until(pod, waiting("ErrImagePull"))
			if got := p.Status.ContainerStatuses[0].State.Waiting.Message; got != want {
				t.Errorf("ErrImagePull says\n%s\nwant\n%s", got, want)
			}
			if p.Status.Phase != corev1.PodPending || p.Status.PodIP == "" {
				t.Errorf("phase %s, address %q", p.Status.Phase, p.Status.PodIP)
			}
			p = x.until(pod, waiting("ImagePullBackOff"))
			if got, want := p.Status.ContainerStatuses[0].State.Waiting.Message, fmt.Sprintf("Back-off pulling image %q: ErrImagePull: %s", image, want); got != want {
				t.Errorf("ImagePullBackOff says\n%s\nwant\n%s", got, want)
			}
			for _, e := range []string{
				fmt.Sprintf("Pulling Pulling image %q", image), fmt.Sprintf("Failed Failed to pull image %q: %s", image, want),
				"Failed Error: ErrImagePull", fmt.Sprintf("BackOff Back-off pulling image %q", image), "Failed Error: ImagePullBackOff",
			} {
				x.wantEvent(pod, e)
			}
			x.until(pod, waiting("ErrImagePull")) // the second attempt
		})
	}
}

func TestPullPolicy(t *testing.T) {
	t.Parallel()
	x := newTest(t)
	image := x.push("1", nil)
	c := model(image)
	c.ImagePullPolicy = corev1.PullNever
	never := x.pod(corev1.PodSpec{Containers: []corev1.Container{c}})
	x.until(never, waiting("ErrImageNeverPull"))
	invalid := x.pod(corev1.PodSpec{Containers: []corev1.Container{model("registry.example.com/UPPER:1")}})
	x.until(invalid, waiting("InvalidImageName"))

	first := x.pod(corev1.PodSpec{Containers: []corev1.Container{model(image)}})
	here := x.until(first, ready).Spec.NodeName
	c.ImagePullPolicy = corev1.PullIfNotPresent
	again := x.pod(corev1.PodSpec{NodeName: here, Containers: []corev1.Container{c}})
	x.until(again, ready)
	x.wantEvent(again, fmt.Sprintf("Pulled Container image %q already present on machine", image))
	c.ImagePullPolicy = corev1.PullAlways
	always := x.pod(corev1.PodSpec{NodeName: here, Containers: []corev1.Container{c}})
	x.until(always, ready)
	x.wantEvent(always, fmt.Sprintf("Pulled Successfully pulled image %q in ", image))
	if events := x.events(again); slices.ContainsFunc(events, func(e string) bool { return strings.HasPrefix(e, "Pulling") }) {
		t.Errorf("pulled again: %q", events)
	}
}
