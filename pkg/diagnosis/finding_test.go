package diagnosis

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

// podOf reads a pod's spec and status from YAML and names it.
func podOf(t *testing.T, text string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(text), pod); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	pod.Name, pod.Namespace, pod.UID = "model-7c9d5-x2x4q", "default", "pod-1"
	switch pod.Spec.NodeName {
	case "":
		pod.Spec.NodeName = "node-1"
	case "-":
		pod.Spec.NodeName = ""
	}
	return pod
}

// stateOf evaluates a pod at once.
func stateOf(t *testing.T, kind, text string, events ...Event) *podState {
	t.Helper()
	p := &podState{kind: kind, baseline: map[string]int32{}, events: events}
	p.observe(podOf(t, text), time.Unix(1_800_000_000, 0))
	return p
}

const garImage = "europe-west6-docker.pkg.dev/acme/models/iris@sha256:0f2bd3f1a6e0d1a2c5c3f1c0d7e1b2a3948576f0e1d2c3b4a5968778695a4b3c"

func waitingPod(image, reason, message string) string {
	quoted, err := yaml.Marshal(message)
	if err != nil {
		panic(err)
	}
	return `
spec: {containers: [{name: model, image: "` + image + `", resources: {limits: {memory: 512Mi}}}]}
status:
  phase: Pending
  containerStatuses:
  - name: model
    image: "` + image + `"
    state: {waiting: {reason: ` + reason + `, message: ` + strings.TrimSpace(strings.ReplaceAll(string(quoted), "\n  ", " ")) + `}}
`
}

// findingTest is a pod, and what it proves.
type findingTest struct {
	name   string
	kind   string // default: Deployment
	pod    string
	events []Event

	severity Severity
	reason   string
}

func TestFindings(t *testing.T) {
	t.Parallel()
	unhealthy := func(message string) Event {
		return Event{Reason: "Unhealthy", Message: message, Container: "model", Object: "Pod model-7c9d5-x2x4q"}
	}
	tests := []findingTest{
		{
			name:     "no reason given",
			pod:      waitingPod("r.example/m:v1", "ImagePullBackOff", `Back-off pulling image "r.example/m:v1"`),
			severity: Transient, reason: "ImagePullBackOff",
		},
		{
			name: "an image of one word", // that the registry may say as well
			pod:  waitingPod("unknown", "ErrImagePull", `rpc error: code = Unknown desc = reading manifest latest in docker.io/library/unknown: manifest unknown`),

			severity: Fatal, reason: "ErrImagePull",
		},
		{
			name:     "cannot be created",
			pod:      waitingPod("m:v1", "CreateContainerError", `failed to create containerd container: mount /a: not a directory`),
			severity: Persistent, reason: "CreateContainerError",
		},
		{
			name: "cannot start, as only the run before says",
			pod: `
spec: {containers: [{name: model}]}
status:
  phase: Pending
  containerStatuses:
  - name: model
    state: {waiting: {reason: RunContainerError}}
    lastState: {terminated: {exitCode: 128, reason: StartError, message: 'exec: "/serve": stat /serve: no such file or directory: unknown'}}`,
			severity: Persistent, reason: "RunContainerError",
		},
		{
			name: "crash loop of which nothing is kept",
			pod: `
spec: {containers: [{name: model}]}
status: {phase: Running, containerStatuses: [{name: model, restartCount: 9, state: {waiting: {reason: CrashLoopBackOff}}}]}`,
			severity: EachPod, reason: "CrashLoopBackOff",
		},
		{
			name: "ended just now",
			pod: `
spec: {containers: [{name: model}]}
status: {phase: Running, containerStatuses: [{name: model, state: {terminated: {exitCode: 2, reason: Error}}}]}`,
			severity: Transient, reason: "CrashLoopBackOff",
		},
		{
			name: "a volume of a missing key of a Secret",
			pod: `
spec: {containers: [{name: model}], volumes: [{name: other}, {name: key, secret: {secretName: model-key}}]}
status: {phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: ContainerCreating}}}]}`,
			events:   []Event{{Reason: "FailedMount", Message: `MountVolume.SetUp failed for volume "key" : references non-existent secret key: token`}, {Reason: "Scheduled"}},
			severity: Persistent, reason: "FailedMount",
		},
		// pkg/kubelet/images/image_manager.go, applyDefaultImageTag
		{
			name:     "invalid image name",
			pod:      waitingPod("r/M:v1", "InvalidImageName", `Failed to apply default image tag "r/M:v1": couldn't parse image name "r/M:v1": invalid reference format: repository name must be lowercase`),
			severity: Fatal, reason: "InvalidImageName",
		},
		// pkg/kubelet/images/image_manager.go, imageNotPresentOnNeverPolicyError
		{
			name:     "never pull",
			pod:      waitingPod("model:v1", "ErrImageNeverPull", `Container image "model:v1" is not present with pull policy of Never`),
			severity: Fatal, reason: "ErrImageNeverPull",
		},
		// containerd, core/remotes/docker/resolver.go: "%s: not found"
		{
			name:     "no such tag",
			pod:      waitingPod("r.example/m:gone", "ErrImagePull", `rpc error: code = NotFound desc = failed to pull and unpack image "r.example/m:gone": failed to resolve reference "r.example/m:gone": r.example/m:gone: not found`),
			severity: Fatal, reason: "ErrImagePull",
		},
		{
			name:     "no such tag, while backing off",
			pod:      waitingPod("r.example/m:gone", "ImagePullBackOff", `Back-off pulling image "r.example/m:gone": ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image "r.example/m:gone": failed to resolve reference "r.example/m:gone": r.example/m:gone: not found`),
			severity: Fatal, reason: "ImagePullBackOff",
		},
		// docker's wording, dockershim and CRI-O
		{
			name:     "manifest unknown",
			pod:      waitingPod("r.example/m:gone", "ErrImagePull", `rpc error: code = Unknown desc = reading manifest gone in r.example/m: manifest unknown: Failed to fetch "gone"`),
			severity: Fatal, reason: "ErrImagePull",
		},
		// containerd, core/images/image.go and client/pull.go
		{
			name:     "no such platform, containerd",
			pod:      waitingPod("r.example/m:arm", "ErrImagePull", `rpc error: code = NotFound desc = failed to pull and unpack image "r.example/m:arm": no match for platform in manifest: not found`),
			severity: Fatal, reason: "ErrImagePull",
		},
		{
			name:     "no such platform, docker",
			pod:      waitingPod("r.example/m:arm", "ErrImagePull", `rpc error: code = Unknown desc = no matching manifest for linux/amd64 in the manifest list entries`),
			severity: Fatal, reason: "ErrImagePull",
		},
		// containerd, core/remotes/docker/authorizer.go; the registry is Google's
		{
			name:     "denied by Artifact Registry",
			pod:      waitingPod(garImage, "ImagePullBackOff", `Back-off pulling image "`+garImage+`": ErrImagePull: rpc error: code = Unknown desc = failed to pull and unpack image "`+garImage+`": failed to resolve reference "`+garImage+`": failed to authorize: failed to fetch oauth token: unexpected status from GET request to https://europe-west6-docker.pkg.dev/v2/token?scope=repository%3Aacme%2Fmodels%2Firis%3Apull&service=europe-west6-docker.pkg.dev: 403 Forbidden`),
			severity: Persistent, reason: "ImagePullBackOff",
		},
		{
			name:     "denied by Container Registry",
			pod:      waitingPod("eu.gcr.io/acme/iris:v1", "ErrImagePull", `rpc error: code = Unknown desc = failed to pull and unpack image "eu.gcr.io/acme/iris:v1": failed to resolve reference "eu.gcr.io/acme/iris:v1": unexpected status from HEAD request to https://eu.gcr.io/v2/acme/iris/manifests/v1: 401 Unauthorized`),
			severity: Persistent, reason: "ErrImagePull",
		},
		{
			name:     "denied elsewhere",
			pod:      waitingPod("acme/iris:v1", "ErrImagePull", `rpc error: code = Unknown desc = failed to pull and unpack image "docker.io/acme/iris:v1": failed to resolve reference "docker.io/acme/iris:v1": pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed`),
			severity: Persistent, reason: "ErrImagePull",
		},
		{
			name:     "denied with a pull secret",
			pod:      strings.Replace(waitingPod("ghcr.io/acme/iris:v1", "ErrImagePull", `rpc error: code = Unknown desc = failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized`), "spec: {", "spec: {imagePullSecrets: [{name: ghcr}], ", 1),
			severity: Persistent, reason: "ErrImagePull",
		},
		{
			name:     "registry down",
			pod:      waitingPod(garImage, "ErrImagePull", `rpc error: code = Unknown desc = failed to resolve reference "`+garImage+`": unexpected status from HEAD request to https://europe-west6-docker.pkg.dev/v2/acme/models/iris/manifests/sha256:0f2b: 503 Service Unavailable`),
			severity: Transient, reason: "ErrImagePull",
		},
		{
			name:     "registry limits, and speaks of authorisation",
			pod:      waitingPod("acme/iris:v1", "ErrImagePull", `rpc error: code = Unknown desc = failed to copy: httpReadSeeker: failed open: unexpected status code https://registry-1.docker.io/v2/acme/iris/manifests/sha256:1: 429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit as 'acme': dckr_jti_Zm9vYmFyYmF6. You may increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit`),
			severity: Transient, reason: "ErrImagePull",
		},
		{
			name:     "registry timeout",
			pod:      waitingPod("r.example/m:v1", "ErrImagePull", `rpc error: code = DeadlineExceeded desc = failed to pull and unpack image "r.example/m:v1": failed to resolve reference "r.example/m:v1": failed to do request: Head "https://r.example/v2/m/manifests/v1": dial tcp 192.0.2.1:443: i/o timeout`),
			severity: Transient, reason: "ErrImagePull",
		},
		{
			name:     "words of the image's own name are not the registry's",
			pod:      waitingPod("r.example/forbidden:v1", "ErrImagePull", `rpc error: code = Unknown desc = failed to pull and unpack image "r.example/forbidden:v1": failed to extract layer: unpigz: corrupted`),
			severity: Transient, reason: "ErrImagePull",
		},
		// pkg/kubelet/images/image_manager.go, evalCRIPullErr
		{
			name:     "signature",
			pod:      waitingPod("r.example/m:v1", "SignatureValidationFailed", `image pull failed for r.example/m:v1 because the signature validation failed: no signature found`),
			severity: Persistent, reason: "SignatureValidationFailed",
		},
		// the API server's NotFound, returned by pkg/kubelet/kubelet_pods.go, makeEnvironmentVariables
		{
			name:     "no such secret",
			pod:      waitingPod("m:v1", "CreateContainerConfigError", `secret "model-key" not found`),
			severity: Persistent, reason: "CreateContainerConfigError",
		},
		{
			name:     "no such config map",
			pod:      waitingPod("m:v1", "CreateContainerConfigError", `configmap "settings" not found`),
			severity: Persistent, reason: "CreateContainerConfigError",
		},
		// pkg/kubelet/kubelet_pods.go:895 and :922
		{
			name:     "no such key",
			pod:      waitingPod("m:v1", "CreateContainerConfigError", `couldn't find key LEVEL in ConfigMap default/settings`),
			severity: Persistent, reason: "CreateContainerConfigError",
		},
		// pkg/kubelet/util/manager/watch_based_manager.go:329
		{
			name:     "cache not ready",
			pod:      waitingPod("m:v1", "CreateContainerConfigError", `failed to sync secret cache: timed out waiting for the condition`),
			severity: Transient, reason: "CreateContainerConfigError",
		},
		// pkg/kubelet/kuberuntime/security_context_others.go:53
		{
			name:     "root",
			pod:      waitingPod("m:v1", "CreateContainerConfigError", `container has runAsNonRoot and image will run as root (pod: "model-7c9d5-x2x4q_default(1)", container: model)`),
			severity: Persistent, reason: "CreateContainerConfigError",
		},
		// containerd, internal/cri/server/container_create.go
		{
			name:     "no command",
			pod:      waitingPod("m:v1", "CreateContainerError", `failed to generate container "8f" spec: failed to generate spec: no command specified`),
			severity: Persistent, reason: "CreateContainerError",
		},
		// runc, libcontainer
		{
			name:     "no such command",
			pod:      waitingPod("m:v1", "RunContainerError", `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: "serve": executable file not found in $PATH: unknown`),
			severity: Persistent, reason: "RunContainerError",
		},
		{
			name:     "other platform",
			pod:      waitingPod("m:v1", "RunContainerError", `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec /app: exec format error: unknown`),
			severity: Persistent, reason: "RunContainerError",
		},
		// pkg/kubelet/kuberuntime/kuberuntime_manager.go:1933
		{
			name: "crash loop",
			pod: `
spec: {containers: [{name: model, image: m:v1}]}
status:
  phase: Running
  containerStatuses:
  - name: model
    restartCount: 2
    state: {waiting: {reason: CrashLoopBackOff, message: 'back-off 20s restarting failed container=model pod=model-7c9d5-x2x4q_default(1)'}}
    lastState: {terminated: {exitCode: 3, reason: Error, message: "no file /model.bin\n"}}`,
			severity: Persistent, reason: "CrashLoopBackOff",
		},
		{
			name: "crash loop after three restarts",
			pod: `
spec: {containers: [{name: model, image: m:v1}]}
status:
  phase: Running
  containerStatuses:
  - name: model
    restartCount: 3
    state: {waiting: {reason: CrashLoopBackOff, message: 'back-off 20s restarting failed container=model pod=model-7c9d5-x2x4q_default(1)'}}
    lastState: {terminated: {exitCode: 3, reason: Error, message: "no file /model.bin\n"}}`,
			severity: EachPod, reason: "CrashLoopBackOff",
		},
		{
			name: "crash loop of an init container",
			pod: `
spec: {initContainers: [{name: migrate}], containers: [{name: model}]}
status:
  phase: Pending
  initContainerStatuses:
  - name: migrate
    restartCount: 3
    state: {waiting: {reason: CrashLoopBackOff}}
    lastState: {terminated: {exitCode: 127, reason: Error}}
  containerStatuses:
  - name: model
    state: {waiting: {reason: PodInitializing}}`,
			severity: EachPod, reason: "CrashLoopBackOff",
		},
		{
			name: "out of memory",
			pod: `
spec: {containers: [{name: model, resources: {limits: {memory: 512Mi}}}]}
status:
  phase: Running
  containerStatuses:
  - name: model
    restartCount: 3
    state: {waiting: {reason: CrashLoopBackOff}}
    lastState: {terminated: {exitCode: 137, reason: OOMKilled}}`,
			severity: EachPod, reason: "OOMKilled",
		},
		{
			name: "out of memory without a limit",
			pod: `
spec: {containers: [{name: model}]}
status:
  phase: Running
  containerStatuses:
  - name: model
    restartCount: 3
    state: {waiting: {reason: CrashLoopBackOff}}
    lastState: {terminated: {exitCode: 137, reason: OOMKilled}}`,
			severity: EachPod, reason: "OOMKilled",
		},
		{
			name: "bad command, after the restart",
			pod: `
spec: {containers: [{name: model, image: m:v1}]}
status:
  phase: Running
  containerStatuses:
  - name: model
    restartCount: 1
    state: {waiting: {reason: CrashLoopBackOff}}
    lastState: {terminated: {exitCode: 128, reason: StartError, message: 'failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "/serve": permission denied: unknown'}}`,
			severity: EachPod, reason: "CrashLoopBackOff",
		},
		{
			name: "ends by itself",
			pod: `
spec: {containers: [{name: model}]}
status:
  phase: Running
  containerStatuses:
  - name: model
    restartCount: 3
    state: {waiting: {reason: CrashLoopBackOff}}
    lastState: {terminated: {exitCode: 0, reason: Completed}}`,
			severity: EachPod, reason: "CrashLoopBackOff",
		},
		{
			name: "killed by its liveness probe",
			pod: `
spec: {containers: [{name: model}]}
status:
  phase: Running
  containerStatuses:
  - name: model
    restartCount: 3
    state: {running: {}}
    lastState: {terminated: {exitCode: 137, reason: Error}}`,
			// pkg/kubelet/prober/prober.go:123 and pkg/probe/http/http.go:121
			events:   []Event{unhealthy("Liveness probe failed: HTTP probe failed with statuscode: 500")},
			severity: EachPod, reason: "LivenessProbeFailed",
		},
		{
			name: "killed by its liveness probe, and ends well",
			pod: `
spec: {containers: [{name: model}]}
status:
  phase: Running
  containerStatuses:
  - name: model
    restartCount: 3
    state: {waiting: {reason: CrashLoopBackOff}}
    lastState: {terminated: {exitCode: 0, reason: Completed, startedAt: "2000-01-01T00:00:05Z"}}`,
			events: []Event{
				unhealthy("Liveness probe failed: HTTP probe failed with statuscode: 500"),
				{Reason: "Killing", Container: "model", Message: "Container model failed liveness probe, will be restarted", Last: objecttest.Start().Add(9 * time.Second)},
			},
			severity: EachPod, reason: "LivenessProbeFailed",
		},
		{
			name: "killed by its liveness probe, ends well, and the event that says so is late",
			pod: `
spec: {containers: [{name: model}]}
status:
  phase: Running
  containerStatuses:
  - name: model
    restartCount: 3
    state: {waiting: {reason: CrashLoopBackOff}}
    lastState: {terminated: {exitCode: 0, reason: Completed, startedAt: "2000-01-01T00:00:05Z"}}`,
			events:   []Event{unhealthy("Liveness probe failed: HTTP probe failed with statuscode: 500")},
			severity: EachPod, reason: "LivenessProbeFailed",
		},
		{
			name: "ends by itself before it listens",
			pod: `
spec: {containers: [{name: model}]}
status:
  phase: Running
  containerStatuses:
  - name: model
    restartCount: 3
    state: {waiting: {reason: CrashLoopBackOff}}
    lastState: {terminated: {exitCode: 0, reason: Completed, startedAt: "2000-01-01T00:00:05Z"}}`,
			events:   []Event{unhealthy("Liveness probe failed: Get \"http://10.0.0.7:3000/healthz\": dial tcp 10.0.0.7:3000: connect: connection refused")},
			severity: EachPod, reason: "CrashLoopBackOff",
		},
		{
			name: "ends by itself after it has loaded",
			pod: `
spec: {containers: [{name: model}]}
status:
  phase: Running
  containerStatuses:
  - name: model
    restartCount: 3
    state: {waiting: {reason: CrashLoopBackOff}}
    lastState: {terminated: {exitCode: 0, reason: Completed, startedAt: "2000-01-01T00:00:05Z"}}`,
			events:   []Event{unhealthy("Startup probe failed: HTTP probe failed with statuscode: 503")},
			severity: EachPod, reason: "CrashLoopBackOff",
		},
		{
			name: "killed by its startup probe in an earlier run, and ends by itself in the last",
			pod: `
spec: {containers: [{name: model}]}
status:
  phase: Running
  containerStatuses:
  - name: model
    restartCount: 3
    state: {waiting: {reason: CrashLoopBackOff}}
    lastState: {terminated: {exitCode: 0, reason: Completed, startedAt: "2000-01-01T00:00:05Z"}}`,
			events:   []Event{{Reason: "Killing", Container: "model", Message: "Container model failed startup probe, will be restarted", Last: objecttest.Start().Add(4 * time.Second)}},
			severity: EachPod, reason: "CrashLoopBackOff",
		},
		{
			name: "restarted often",
			pod: `
spec: {containers: [{name: model}]}
status:
  phase: Running
  containerStatuses:
  - name: model
    restartCount: 3
    state: {running: {}}
    lastState: {terminated: {exitCode: 139, reason: Error}}`,
			severity: EachPod, reason: "CrashLoopBackOff",
		},
		{
			name: "restarted often, and serves",
			pod: `
spec: {containers: [{name: model}]}
status:
  phase: Running
  containerStatuses:
  - name: model
    ready: true
    restartCount: 3
    state: {running: {}}
    lastState: {terminated: {exitCode: 1, reason: Error}}`,
			severity: Healthy,
		},
		{
			name: "restarted twice",
			pod: `
spec: {containers: [{name: model}]}
status:
  phase: Running
  containerStatuses:
  - name: model
    restartCount: 2
    state: {running: {}}
    lastState: {terminated: {exitCode: 1, reason: Error}}`,
			severity: Healthy,
		},
		{
			name: "a Job counts its own retries", kind: "Job",
			pod: `
spec: {containers: [{name: train}]}
status:
  phase: Running
  containerStatuses:
  - name: train
    restartCount: 4
    state: {waiting: {reason: CrashLoopBackOff}}
    lastState: {terminated: {exitCode: 1, reason: Error}}`,
			severity: Transient, reason: "CrashLoopBackOff",
		},
		{
			name: "a bare pod is not started again", kind: "Pod",
			pod: `
spec: {containers: [{name: once}], restartPolicy: Never}
status:
  phase: Failed
  containerStatuses:
  - name: once
    state: {terminated: {exitCode: 2, reason: Error}}`,
			severity: EachPod, reason: "CrashLoopBackOff",
		},
		{
			name: "an init container that is done",
			pod: `
spec: {initContainers: [{name: fetch}], containers: [{name: model}]}
status:
  phase: Running
  initContainerStatuses: [{name: fetch, state: {terminated: {exitCode: 0, reason: Completed}}}]
  containerStatuses: [{name: model, state: {running: {}}}]`,
			severity: Healthy,
		},
		// pkg/volume/util/operationexecutor/operation_generator.go:608
		{
			name: "a volume of a missing secret",
			pod: `
spec: {containers: [{name: model}]}
status: {phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: ContainerCreating}}}]}`,
			events:   []Event{{Reason: "FailedMount", Message: `MountVolume.SetUp failed for volume "key" : secret "model-key" not found`}},
			severity: Persistent, reason: "FailedMount",
		},
		// pkg/volume/configmap/configmap.go:292
		{
			name: "a volume of a missing key",
			pod: `
spec: {containers: [{name: model}], volumes: [{name: conf, configMap: {name: settings}}]}
status: {phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: ContainerCreating}}}]}`,
			events:   []Event{{Reason: "FailedMount", Message: `MountVolume.SetUp failed for volume "conf" : configmap references non-existent config key: level`}},
			severity: Persistent, reason: "FailedMount",
		},
		{
			name: "a disk that is still elsewhere",
			pod: `
spec: {containers: [{name: model}]}
status: {phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: ContainerCreating}}}]}`,
			events:   []Event{{Reason: "FailedAttachVolume", Message: `Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) model-0`}},
			severity: Transient, reason: "FailedAttachVolume",
		},
		{
			name: "a mount that went right at last, and an image that is pulled",
			pod: `
spec: {containers: [{name: model}]}
status: {phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: ContainerCreating}}}]}`,
			events:   []Event{{Reason: "FailedMount", Message: `MountVolume.SetUp failed for volume "key" : secret "model-key" not found`}, {Reason: "Pulling"}},
			severity: Healthy,
		},
		// pkg/kubelet/kuberuntime/kuberuntime_manager.go
		{
			name: "no address for the pod",
			pod: `
spec: {containers: [{name: model}]}
status: {phase: Pending, containerStatuses: [{name: model, state: {waiting: {reason: ContainerCreating}}}]}`,
			events:   []Event{{Reason: "FailedCreatePodSandBox", Message: `Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "1": no IP addresses available in range set`}},
			severity: Transient, reason: "FailedCreatePodSandBox",
		},
		{
			name: "a mount that went right in the end",
			pod: `
spec: {containers: [{name: model}]}
status: {phase: Running, containerStatuses: [{name: model, state: {running: {}}}]}`,
			events:   []Event{{Reason: "FailedMount", Message: `MountVolume.SetUp failed for volume "key" : secret "model-key" not found`}},
			severity: Healthy,
		},
	}
	for _, code := range []int{126, 132, 134, 137, 143} {
		tests = append(tests, tests[slices.IndexFunc(tests, func(tt findingTest) bool { return tt.name == "restarted often" })])
		last := &tests[len(tests)-1]
		last.name, last.pod = fmt.Sprintf("exit code %d", code), strings.Replace(last.pod, "139", strconv.Itoa(code), 1)
	}
	var found strings.Builder
	for _, tt := range tests {
		f := stateOf(t, cmp.Or(tt.kind, "Deployment"), tt.pod, tt.events...).finding
		if f.Severity != tt.severity || f.Reason != tt.reason {
			t.Errorf("%s: severity %d, reason %q, want %d, %q; cause %q", tt.name, f.Severity, f.Reason, tt.severity, tt.reason, f.Cause)
		}
		if f.Severity > Transient && (f.Cause == "" || f.Fix == "") || strings.ContainsAny(f.Cause+f.Fix, "\n\r") || strings.HasSuffix(f.Cause, ".") {
			t.Errorf("%s: not two sentences: %q, %q", tt.name, f.Cause, f.Fix)
		}
		if f.Severity != Healthy {
			fmt.Fprintf(&found, "%s: %s\n  %s\n  %s\n", tt.name, f.Reason, f.Cause, f.Fix)
		}
	}
	golden(t, "findings.txt", found.String())
}

func TestRefusal(t *testing.T) {
	t.Parallel()
	const prefix = `pods "model-7c9d5-abcde" is forbidden: `
	tests := []struct {
		name, message string
		severity      Severity
	}{
		// k8s.io/apiserver/pkg/admission/plugin/resourcequota/controller.go:622
		{"quota", prefix + `exceeded quota: team, requested: limits.memory=4Gi,requests.nvidia.com/gpu=1, used: limits.memory=14Gi,requests.nvidia.com/gpu=2, limited: limits.memory=16Gi,requests.nvidia.com/gpu=2`, Persistent},
		{"quota wants limits", prefix + `failed quota: team: must specify limits.cpu for: model; limits.memory for: model`, Persistent},
		// k8s.io/pod-security-admission/admission/admission.go:481
		{"pod security", prefix + `violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "model" must set securityContext.allowPrivilegeEscalation=false), runAsNonRoot != true (pod or container "model" must set securityContext.runAsNonRoot=true)`, Persistent},
		// k8s.io/apiserver/pkg/admission/plugin/webhook/errors/statuserror.go:29
		{"webhook", `admission webhook "images.policy.example" denied the request: image is not signed`, Persistent},
		{"webhook without words", `admission webhook "images.policy.example" denied the request without explanation`, Persistent},
		// k8s.io/apiserver/pkg/admission/plugin/policy/validating/dispatcher.go:294
		{"policy", prefix + `ValidatingAdmissionPolicy 'limits' with binding 'limits-all' denied request: failed expression: object.spec.containers.all(c, has(c.resources))`, Persistent},
		// k8s.io/apiserver/pkg/admission/plugin/webhook/mutating/dispatcher.go
		{"webhook down", `Internal error occurred: failed calling webhook "inject.example": failed to call webhook: Post "https://inject.default.svc:443/?timeout=10s": dial tcp 10.96.1.1:443: connect: connection refused`, Transient},
		// kubernetes/plugin/pkg/admission/serviceaccount/admission.go:226
		{"service account", prefix + `error looking up service account default/model: serviceaccount "model" not found`, Persistent},
		// kubernetes/plugin/pkg/admission/priority/admission.go:298
		{"priority", prefix + `no PriorityClass with name urgent was found`, Persistent},
		// kubernetes/plugin/pkg/admission/runtimeclass/admission.go
		{"runtime class", prefix + `pod rejected: RuntimeClass "gvisor" not found`, Persistent},
		// kubernetes/plugin/pkg/admission/limitranger/admission.go:336
		{"limit range", prefix + `maximum memory usage per Container is 1Gi, but limit is 2Gi`, Persistent},
		{"other", prefix + `node is too far away`, Persistent},
		{"server", `etcdserver: request timed out`, Transient},
		// pkg/controller/statefulset/stateful_pod_control.go, recordPodEvent
		{"stateful set", `create Pod web-0 in StatefulSet web failed error: pods "web-0" is forbidden: exceeded quota: team, requested: pods=1, used: pods=2, limited: pods=2`, Persistent},
	}
	var found strings.Builder
	for _, tt := range tests {
		f := refusalOf("Error creating: " + tt.message)
		if f.Severity != tt.severity || f.Reason != "FailedCreate" {
			t.Errorf("%s: severity %d, reason %q", tt.name, f.Severity, f.Reason)
		}
		if f.Cause == "" || f.Severity > Transient && f.Fix == "" {
			t.Errorf("%s: not two sentences: %q, %q", tt.name, f.Cause, f.Fix)
		}
		fmt.Fprintf(&found, "%s:\n  %s\n  %s\n", tt.name, f.Cause, f.Fix)
	}
	golden(t, "refusals.txt", found.String())
}
