package realnode_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/realnode"
	"github.com/org/deploy-model-action/e2e/runner"
)

// TestReady deploys a good version and asks it in every way that leads to a pod.
func TestReady(t *testing.T) {
	t.Parallel()
	r := genuineTier(t)
	node, err := r.kube.CoreV1().Nodes().Get(t.Context(), r.node.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: kubelet %s, %s, %s, kernel %s", node.Name, node.Status.NodeInfo.KubeletVersion, r.node.Version, node.Status.NodeInfo.OSImage, node.Status.NodeInfo.KernelVersion)

	x := r.test(t, "ready")
	s := scenario{model: words("log", "listening on :3000"), manifest: deployment() + service}
	image := models + "/" + cloudtest.Model
	s.publish(x, image+":"+x.SHA(1))
	x.Write("kubernetes/model.yaml", strings.ReplaceAll(s.manifest, "IMAGE", image+":latest"))
	result := x.Run(step(x, x.SHA(1), map[string]string{"health_path": "/readyz"}))
	if result.ExitCode != 0 || result.Outputs["outcome"] != "deployed" {
		t.Fatalf("exit code %d, outcome %q", result.ExitCode, result.Outputs["outcome"])
	}
	if !strings.Contains(result.Log, "/readyz (through the API server): 200 OK") {
		t.Error("the log does not say what the model answered on health_path")
	}

	pods, err := r.kube.CoreV1().Pods(x.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) != 1 {
		t.Fatalf("%d pods, want 1", len(pods.Items))
	}
	pod := pods.Items[0]
	if pod.Spec.NodeName != r.node.Name {
		t.Errorf("the pod is on node %q, want %q", pod.Spec.NodeName, r.node.Name)
	}
	answer, err := r.kube.CoreV1().Services(x.Namespace).ProxyGet("http", "model", "http", "/", nil).DoRaw(t.Context())
	if err != nil || !strings.Contains(string(answer), x.Namespace) {
		t.Errorf("through the service proxy: %q, %v", answer, err)
	}
	log, err := r.kube.CoreV1().Pods(x.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
	if err != nil || !strings.HasPrefix(string(log), "listening on :3000") {
		t.Errorf("log: %q, %v", log, err)
	}
	conn, err := realnode.Dial(t.Context(), "tcp", net.JoinHostPort(pod.Status.PodIP, "3000"))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

// TestCandidate deploys over a model that serves: one that ends is found out beside
// it, and a good one replaces it.
func TestCandidate(t *testing.T) {
	t.Parallel()
	r := genuineTier(t)
	x := r.test(t, "candidate")
	deploy := func(version int, model realnode.Model) *runner.Result {
		s := scenario{model: model}
		s.publish(x, models+"/"+cloudtest.Model+":"+x.SHA(version))
		x.Write("kubernetes/model.yaml", strings.ReplaceAll(deployment()+service, "IMAGE", models+"/"+cloudtest.Model+":latest"))
		return x.Run(step(x, x.SHA(version), map[string]string{"candidate": "true", "health_path": "/readyz", "timeout": "4m"}))
	}
	live := func() (generation int64, pods []string) {
		d, err := r.kube.AppsV1().Deployments(x.Namespace).Get(t.Context(), "model", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		list, err := r.kube.CoreV1().Pods(x.Namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list.Items {
			if p.DeletionTimestamp == nil {
				pods = append(pods, p.Name)
			}
		}
		return d.Generation, pods
	}
	if first := deploy(1, words("log", "listening on :3000")); first.ExitCode != 0 {
		t.Fatalf("the first version: exit code %d", first.ExitCode)
	}
	generation, pods := live()

	broken := deploy(2, cloudtest.Broken("crash-at-start"))
	if broken.ExitCode != 1 || broken.Outputs["outcome"] != "failed" || !strings.Contains(broken.Log, "ValueError: cannot load weights") {
		t.Errorf("a broken version: exit code %d, outcome %q, or its log is not in the log", broken.ExitCode, broken.Outputs["outcome"])
	}
	after, rest := live()
	if after != generation || !slices.Equal(rest, pods) {
		t.Errorf("a broken version left generation %d and pods %q, want %d and %q", after, rest, generation, pods)
	}

	if good := deploy(3, words("log", "listening on :3000")); good.ExitCode != 0 || good.Outputs["outcome"] != "deployed" {
		t.Errorf("a good version: exit code %d, outcome %q", good.ExitCode, good.Outputs["outcome"])
	}
	if after, rest := live(); after == generation || len(rest) != 1 {
		t.Errorf("a good version left generation %d and pods %q", after, rest)
	}
}

// TestClose starts a node of its own: when it is closed, this machine is as before.
func TestClose(t *testing.T) {
	t.Parallel()
	genuineTier(t) // or skip
	cloud, err := localcloud.Start(t.Context(), localcloud.Options{Dir: t.TempDir(), NoNodes: true, Dial: realnode.Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	start := time.Now()
	node, err := realnode.Start(t.Context(), realnode.Options{ControlPlane: cloud.ControlPlane, ProxyURL: cloud.Proxy.URL, CAFile: cloud.CAFile, Name: "short-lived"})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("Ready after %s", time.Since(start).Round(100*time.Millisecond))
	name := realnode.Container(node)
	if out := list(t, "ps", "--all"); !strings.Contains(out, name) {
		t.Errorf("container %s is not among\n%s", name, out)
	}
	node.Close()
	if diff := cmp.Diff(machine, sysctls()); diff != "" {
		t.Errorf("sysctls (-before +after):\n%s", diff)
	}
	for _, what := range [][]string{{"ps", "--all"}, {"network", "ls"}} {
		if out := list(t, what...); strings.Contains(out, name) {
			t.Errorf("docker %s still has %s", strings.Join(what, " "), name)
		}
	}
	if _, err := os.Stat(node.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", node.Dir, err)
	}
	if out, err := exec.CommandContext(t.Context(), "iptables-save").Output(); err == nil && strings.Contains(string(out), "KUBE-") {
		t.Error("the kubelet's chains are in this machine's iptables")
	}
}

// TestStartWithoutEngine says why there is no node, in a way that a test can skip by.
func TestStartWithoutEngine(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
	_, err := realnode.Start(t.Context(), realnode.Options{})
	var unavailable *realnode.UnavailableError
	if !errors.As(err, &unavailable) {
		t.Fatalf("%v, want an UnavailableError", err)
	}
	if !strings.Contains(err.Error(), "docker version") {
		t.Errorf("%v does not name the cause", err)
	}
}

func TestUpperHalf(t *testing.T) {
	t.Parallel()
	for subnet, want := range map[string]string{
		"172.18.0.0/16":   "172.18.128.0/17",
		"192.168.96.0/20": "192.168.104.0/21",
		"10.0.0.7/24":     "10.0.0.128/25",
	} {
		if got := realnode.UpperHalf(netip.MustParsePrefix(subnet)).String(); got != want {
			t.Errorf("%s: %s, want %s", subnet, got, want)
		}
	}
}

func list(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v: %s", args[0], err, out)
	}
	return string(out)
}

// sysctls are the ones of the whole machine that a kubelet sets.
func sysctls() map[string]string {
	all := map[string]string{}
	for _, name := range []string{"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"} {
		if content, err := os.ReadFile(filepath.Join("/proc/sys", name)); err == nil {
			all[name] = strings.TrimSpace(string(content))
		}
	}
	return all
}
