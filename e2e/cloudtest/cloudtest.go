// Package cloudtest gives tests one local cloud for each test binary, the
// action built as it ships, and steps that use it. Every test has a namespace
// and a client name of its own, so tests share the cloud in parallel.
package cloudtest

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // as below
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/proxy"
	"github.com/org/deploy-model-action/e2e/runner"
)

var (
	once   sync.Once
	cloud  *localcloud.Cloud
	binary string
	failed error
	folder string

	mu   sync.Mutex
	slow []string // what took longer than notable
)

// notable is how long something may take without being named at the end.
const notable = 10 * time.Second

// took notes how long something took.
func took(name string, since time.Time) {
	d := time.Since(since)
	if d < notable {
		return
	}
	mu.Lock()
	defer mu.Unlock()
	slow = append(slow, fmt.Sprintf("%6.1fs  %s", d.Seconds(), name))
}

// Main runs the tests, stops the cloud and names what was slow:
// func TestMain(m *testing.M) { cloudtest.Main(m) }.
func Main(m *testing.M) {
	// Most of a test's time is waiting, for rollouts and for time to pass. What a
	// package chose before has precedence, and the flag -parallel the last word.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set(strconv.Itoa(2 * runtime.GOMAXPROCS(0)))
	}
	code := m.Run()
	slices.SortFunc(slow, func(a, b string) int { return strings.Compare(b, a) })
	for _, line := range slow {
		fmt.Fprintln(os.Stderr, line)
	}
	if cloud != nil {
		cloud.Close()
	}
	if folder != "" {
		_ = os.RemoveAll(folder)
	}
	os.Exit(code)
}

// Waiting is Main for a package whose tests wait most of their time: so many of them
// run at once, unless the flag -parallel says otherwise.
func Waiting(m *testing.M, parallel int) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set(strconv.Itoa(parallel))
	}
	Main(m)
}

// Cloud returns the cloud, started by whoever asks first.
func Cloud(t *testing.T) *localcloud.Cloud {
	t.Helper()
	once.Do(func() {
		defer took("start of the local cloud", time.Now())
		if folder, failed = os.MkdirTemp("", "cloudtest"); failed != nil { //nolint:usetesting // it outlives this test
			return
		}
		if cloud, failed = localcloud.Start(context.Background(), localcloud.Options{
			Dir: filepath.Join(folder, "cloud"), Log: os.Stderr,
			CrashPause: time.Second, // as of kubelets with KubeletCrashLoopBackOffMax, so that three restarts take seconds
		}); failed != nil {
			return
		}
		binary, failed = runner.BuildAction(context.Background(), Root(), folder)
	})
	if failed != nil {
		t.Fatal(failed)
	}
	return cloud
}

// Binary is the path of the action as it ships, built when the cloud is started.
func Binary(t *testing.T) string {
	t.Helper()
	Cloud(t)
	return binary
}

// Root is the folder of the action, which holds e2e.
func Root() string {
	dir, err := os.Getwd()
	for err == nil && dir != "/" {
		if _, err := os.Stat(filepath.Join(dir, "action.yml")); err == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return "."
}

// Test is one test's place in the cloud.
type Test struct {
	*testing.T
	Cloud     *localcloud.Cloud
	Kube      *kubernetes.Clientset
	Namespace string
	Client    string // in requests.jsonl
	Workspace string
}

// New makes a namespace and an empty workspace for the test.
func New(t *testing.T) *Test {
	t.Helper()
	c := Cloud(t)
	kube, err := kubernetes.NewForConfig(c.ControlPlane.Config)
	if err != nil {
		t.Fatal(err)
	}
	name := label(t.Name())
	ns, err := kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	x := &Test{T: t, Cloud: c, Kube: kube, Namespace: ns.Name, Client: ns.Name, Workspace: t.TempDir()}
	start := time.Now()
	t.Cleanup(func() {
		took(t.Name(), start)
		_ = kube.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{})
	})
	return x
}

// label makes a test's name fit for a namespace, which gets a suffix.
func label(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, name)
	return strings.Trim(name[:min(len(name), 50)], "-")
}

// Write writes a file of the workspace.
func (x *Test) Write(name, content string) {
	x.Helper()
	path := filepath.Join(x.Workspace, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		x.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		x.Fatal(err)
	}
}

// Testdata copies the seed's manifests into the workspace's folder kubernetes. A
// last line of the Deployment's spec spares every test the 10 s that its pods
// would have to run.
func (x *Test) Testdata() {
	x.Helper()
	if err := os.CopyFS(filepath.Join(x.Workspace, "kubernetes"), os.DirFS(filepath.Join(Root(), "testdata", "kubernetes"))); err != nil {
		x.Fatal(err)
	}
	deployment, err := os.ReadFile(filepath.Join(x.Workspace, "kubernetes", "deployment.yaml"))
	if err != nil {
		x.Fatal(err)
	}
	x.Write("kubernetes/deployment.yaml", string(deployment)+"  minReadySeconds: 0\n")
}

// SHA is a commit's name that only this test has.
func (x *Test) SHA(n int) string {
	return fmt.Sprintf("%x", sha1.Sum(fmt.Append(nil, x.Namespace, n))) //nolint:gosec // git's names look like this
}

// Model is the name of the seed's image.
const Model = "celestial-bodies-classifier"

// Push publishes an image of the seed's model under a tag and returns its digest.
func (x *Test) Push(tag string, labels map[string]string) string {
	x.Helper()
	digest, err := x.Cloud.Registry.Push(x.Context(), localcloud.RegistryHost+"/"+Model+":"+tag, labels)
	if err != nil {
		x.Fatal(err)
	}
	return digest
}

// runs counts the workflow runs of this test binary; GitHub's numbers rise as well.
var runs atomic.Int64

// RunID is the number of a workflow run that is newer than all before it.
func RunID() string { return strconv.FormatInt(16_000_000_000+runs.Add(1), 10) }

// Step is a step that deploys the workspace at the commit, of a run that is newer
// than all before it. with replaces or adds inputs.
func (x *Test) Step(sha string, with map[string]string) runner.Step {
	x.Helper()
	inputs := map[string]string{
		"cluster_name": localcloud.Cluster, "zone": localcloud.Location, "registry_host": localcloud.RegistryHost,
		"namespace": x.Namespace, "credentials_json": string(x.key()),
	}
	maps.Copy(inputs, with)
	return runner.Step{
		Binary: binary, Metadata: filepath.Join(Root(), "action.yml"), With: inputs,
		Env: x.Cloud.Env(x.Client), Workspace: x.Workspace, SHA: sha, RunID: RunID(),
	}
}

// Deploy runs such a step and logs what a user sees of it.
func (x *Test) Deploy(sha string, with map[string]string) *runner.Result {
	x.Helper()
	return x.Run(x.Step(sha, with))
}

// Run runs a step and logs what a user sees of it.
func (x *Test) Run(s runner.Step) *runner.Result {
	x.Helper()
	r, err := s.Run(x.Context())
	if err != nil {
		x.Fatal(err)
	}
	x.Logf("exit %d after %s\n%s", r.ExitCode, r.Duration.Round(1e6), r.Log)
	return r
}

// Requests are the ones that this test's steps made.
func (x *Test) Requests() []proxy.Entry {
	x.Helper()
	f, err := os.Open(x.Cloud.RequestsFile)
	if err != nil {
		x.Fatal(err)
	}
	defer f.Close()
	var all []proxy.Entry
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e proxy.Entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			continue // the line that is being written
		}
		if e.Client == x.Client {
			all = append(all, e)
		}
	}
	return all
}
