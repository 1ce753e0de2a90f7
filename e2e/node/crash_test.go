package node_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/org/deploy-model-action/e2e/node"
)

func TestCrash(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		image   func(*node.Image)
		command []string
		want    corev1.ContainerStateTerminated
		log     string
	}{
		"at start":      {image: labels("exit-code", "3", "log", "cannot load model"), want: corev1.ContainerStateTerminated{ExitCode: 3, Reason: "Error"}, log: "cannot load model\n"},
		"by itself":     {image: labels("exit-code", "0"), want: corev1.ContainerStateTerminated{Reason: "Completed"}},
		"out of memory": {image: labels("out-of-memory", "true"), want: corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}},
		"platform": {
			image: func(i *node.Image) { i.Architecture = "arm64" },
			want:  corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error"}, log: "exec /model: exec format error\n",
		},
		"no such file": {command: []string{"/nonexistent/serve"}, want: corev1.ContainerStateTerminated{
			ExitCode: 128, Reason: "StartError",
			Message: `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "/nonexistent/serve": stat /nonexistent/serve: no such file or directory: unknown`,
		}},
		"no such command": {image: labels("commands", "/model"), command: []string{"serve"}, want: corev1.ContainerStateTerminated{
			ExitCode: 128, Reason: "StartError",
			Message: `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "serve": executable file not found in $PATH: unknown`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newTest(t)
			spec := model(x.push("1", c.image))
			spec.Command = c.command
			// As on a real node, a pod without a probe shows the back-off only when it is over.
			spec.ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/readyz", Port: intstr.FromInt32(3000)}}}
			pod := x.pod(corev1.PodSpec{Containers: []corev1.Container{spec}})
			begun := time.Now()
			p := x.until(pod, waiting("CrashLoopBackOff"))
			s := p.Status.ContainerStatuses[0]
			if want := fmt.Sprintf("back-off 10s restarting failed container=model pod=%s_%s(%s)", pod, x.namespace, p.UID); s.State.Waiting.Message != want {
				t.Errorf("says %q, want %q", s.State.Waiting.Message, want)
			}
			if last := s.LastTerminationState.Terminated; last.ExitCode != c.want.ExitCode || last.Reason != c.want.Reason || last.Message != c.want.Message {
				t.Errorf("last state %+v", last)
			}
			if s.RestartCount != 1 || p.Status.Phase != corev1.PodRunning || s.ImageID == "" || s.ContainerID == "" || *s.Started {
				t.Errorf("status %+v in phase %s", s, p.Status.Phase)
			}
			x.wantEvent(pod, fmt.Sprintf("BackOff Back-off restarting failed container model in pod %s_%s(%s)", pod, x.namespace, p.UID))
			for _, previous := range []bool{false, true} {
				if c.want.Reason == "StartError" {
					continue
				}
				log, err := k().CoreV1().Pods(x.namespace).GetLogs(pod, &corev1.PodLogOptions{Previous: previous}).DoRaw(t.Context())
				if err != nil || string(log) != c.log {
					t.Errorf("log (previous %v): %q %v", previous, log, err)
				}
			}
			if name != "at start" {
				return
			}
			x.until(pod, func(p *corev1.Pod) bool {
				w := p.Status.ContainerStatuses[0].State.Waiting
				return p.Status.ContainerStatuses[0].RestartCount == 2 && w != nil && strings.HasPrefix(w.Message, "back-off 20s")
			})
			if took := time.Since(begun); took < 9*time.Second || took > 25*time.Second {
				t.Errorf("second restart after %s", took)
			}
		})
	}
}

func TestCrashAfterReady(t *testing.T) {
	t.Parallel()
	x := newTest(t)
	spec := model(x.push("1", labels("exit-code", "1", "exit-after", "3s")))
	spec.ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(3000)}}}
	pod := x.pod(corev1.PodSpec{Containers: []corev1.Container{spec}})
	x.until(pod, ready)
	p := x.until(pod, func(p *corev1.Pod) bool { return !ready(p) })
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && (c.Reason != "ContainersNotReady" || c.Message != "containers with unready status: [model]") {
			t.Errorf("condition %+v", c)
		}
	}
	x.until(pod, waiting("CrashLoopBackOff"))
}

func TestInitContainers(t *testing.T) {
	t.Parallel()
	x := newTest(t)
	image := x.push("1", nil)
	step := func(name, code string) corev1.Container {
		return corev1.Container{Name: name, Image: image, Env: []corev1.EnvVar{{Name: "MODEL_EXIT_CODE", Value: code}, {Name: "MODEL_LOG", Value: "log of " + name}}}
	}
	good := x.pod(corev1.PodSpec{InitContainers: []corev1.Container{step("one", "0"), step("two", "0")}, Containers: []corev1.Container{model(image)}})
	p := x.until(good, ready)
	for i, name := range []string{"one", "two"} {
		if s := p.Status.InitContainerStatuses[i]; s.Name != name || !s.Ready || s.State.Terminated == nil || s.State.Terminated.Reason != "Completed" {
			t.Errorf("init container %+v", s)
		}
	}
	bad := x.pod(corev1.PodSpec{InitContainers: []corev1.Container{step("one", "0"), step("two", "4")}, Containers: []corev1.Container{model(image)}})
	p = x.until(bad, func(p *corev1.Pod) bool {
		return len(p.Status.InitContainerStatuses) == 2 && p.Status.InitContainerStatuses[1].RestartCount == 1 && p.Status.InitContainerStatuses[1].State.Terminated != nil
	})
	if s := p.Status.ContainerStatuses[0]; s.State.Waiting == nil || s.State.Waiting.Reason != "PodInitializing" || p.Status.Phase != corev1.PodPending {
		t.Errorf("status %+v in phase %s", s, p.Status.Phase)
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodInitialized && (c.Status != corev1.ConditionFalse || c.Message != "containers with incomplete status: [two]") {
			t.Errorf("condition %+v", c)
		}
	}
	log, err := k().CoreV1().Pods(x.namespace).GetLogs(bad, &corev1.PodLogOptions{Container: "two"}).DoRaw(t.Context())
	if err != nil || string(log) != "log of two\n" {
		t.Errorf("log %q %v", log, err)
	}
	never := x.pod(corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, InitContainers: []corev1.Container{step("one", "5")}, Containers: []corev1.Container{model(image)}})
	x.until(never, func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed })

	always := corev1.ContainerRestartPolicyAlways
	sidecar := step("proxy", "")
	sidecar.RestartPolicy, sidecar.Env = &always, []corev1.EnvVar{{Name: "MODEL_PORT", Value: "15001"}}
	with := x.pod(corev1.PodSpec{InitContainers: []corev1.Container{sidecar}, Containers: []corev1.Container{model(image)}})
	p = x.until(with, ready)
	if s := p.Status.InitContainerStatuses[0]; s.State.Running == nil || !s.Ready {
		t.Errorf("sidecar %+v", s)
	}
}

func TestProbes(t *testing.T) {
	t.Parallel()
	x := newTest(t)
	image := x.push("1", nil)
	get := func(path string, port int32) *corev1.Probe {
		return &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 2, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(port)}}}
	}
	unhealthy := []corev1.EnvVar{{Name: "MODEL_UNHEALTHY_PATH", Value: "/healthz"}, {Name: "MODEL_UNHEALTHY_STATUS", Value: "503"}}

	status := model(image)
	status.Env, status.ReadinessProbe = unhealthy, get("/healthz", 3000)
	first := x.pod(corev1.PodSpec{Containers: []corev1.Container{status}})
	x.wantEvent(first, "Unhealthy Readiness probe failed: HTTP probe failed with statuscode: 503")

	refused := model(image)
	refused.ReadinessProbe = get("/", 3001)
	second := x.pod(corev1.PodSpec{Containers: []corev1.Container{refused}})
	p := x.until(second, func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
	x.wantEvent(second, fmt.Sprintf(`Unhealthy Readiness probe failed: Get "http://%s:3001/": dial tcp %s:3001: connect: connection refused`, p.Status.PodIP, p.Status.PodIP))
	if s := p.Status.ContainerStatuses[0]; s.Ready || !*s.Started {
		t.Errorf("status %+v", s)
	}

	killed := model(image)
	killed.Env, killed.LivenessProbe = unhealthy, get("/healthz", 3000)
	third := x.pod(corev1.PodSpec{Containers: []corev1.Container{killed}})
	x.wantEvent(third, "Killing Container model failed liveness probe, will be restarted")
	x.wantEvent(third, "Unhealthy Liveness probe failed: HTTP probe failed with statuscode: 503")
	x.until(third, func(p *corev1.Pod) bool { return p.Status.ContainerStatuses[0].RestartCount > 0 })

	slow := model(image)
	slow.Env = []corev1.EnvVar{{Name: "MODEL_START_AFTER", Value: "1500ms"}}
	slow.StartupProbe = &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 30, ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(3000)}}}
	fourth := x.pod(corev1.PodSpec{Containers: []corev1.Container{slow}})
	p = x.until(fourth, func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
	if *p.Status.ContainerStatuses[0].Started || ready(p) {
		t.Errorf("started before its startup probe passed: %+v", p.Status.ContainerStatuses[0])
	}
	x.until(fourth, ready)
	x.wantEvent(fourth, "Unhealthy Startup probe failed: dial tcp ")
	if events := x.events(fourth); slices.ContainsFunc(events, func(e string) bool { return strings.HasPrefix(e, "Killing") }) {
		t.Errorf("killed: %q", events)
	}
}

// Without a probe nothing makes the kubelet look again, so that the status
// keeps the end of the last run until the back-off is over: recorded from v1.36.3.
func TestCrashWithoutProbe(t *testing.T) {
	t.Parallel()
	x := newTest(t)
	pod := x.pod(corev1.PodSpec{Containers: []corev1.Container{model(x.push("1", labels("exit-code", "3", "exit-after", "1500ms")))}})
	crashed := func(n int32) func(*corev1.Pod) bool {
		return func(p *corev1.Pod) bool {
			return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].RestartCount == n && p.Status.ContainerStatuses[0].State.Terminated != nil
		}
	}
	x.until(pod, crashed(1))
	time.Sleep(5 * time.Second)
	x.until(pod, crashed(1))
	x.wantEvent(pod, "BackOff Back-off restarting failed container model in pod ")
	x.until(pod, crashed(2))
}
