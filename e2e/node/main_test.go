package node_test

import (
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/org/deploy-model-action/e2e/controlplane"
	"github.com/org/deploy-model-action/e2e/node"
)

// One control plane with nodes serves every test of the package.
var cluster struct {
	kube  *kubernetes.Clientset
	nodes *node.Nodes
	plane *controlplane.ControlPlane

	mu     sync.Mutex
	images map[string]node.Image // by repository and tag, or digest
}

func TestMain(m *testing.M) {
	stop, err := startCluster()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// The tests wait for back-offs rather than compute.
	flag.Parse()
	if err := flag.Set("test.parallel", "32"); err != nil {
		panic(err)
	}
	code := m.Run()
	stop()
	os.Exit(code)
}

func startCluster() (stop func(), err error) {
	ctx := context.Background()
	binary, err := controlplane.Build(ctx, "controlplane", os.Stderr)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "node")
	if err != nil {
		return nil, err
	}
	reviews := httptest.NewServer(http.NotFoundHandler())
	cluster.images = map[string]node.Image{}
	cluster.plane, err = controlplane.Start(ctx, binary, controlplane.Options{
		Dir: dir, TokenReviewURL: reviews.URL,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return cluster.nodes.Dial(ctx, network, address)
		},
	})
	if err != nil {
		return nil, err
	}
	if cluster.kube, err = kubernetes.NewForConfig(cluster.plane.Config); err != nil {
		return nil, err
	}
	cluster.nodes, err = node.Start(ctx, cluster.plane.Config, node.Options{Images: lookUp, Log: os.Stderr})
	return func() {
		cluster.nodes.Close()
		cluster.plane.Close()
		reviews.Close()
		_ = os.RemoveAll(dir)
	}, err
}

// lookUp is the registry.
func lookUp(_ context.Context, reference string) (node.Image, error) {
	cluster.mu.Lock()
	defer cluster.mu.Unlock()
	image, ok := cluster.images[reference]
	if !ok {
		return node.Image{}, &transport.Error{StatusCode: http.StatusNotFound}
	}
	return image, nil
}

// test is one test's namespace.
type test struct {
	*testing.T
	namespace string
}

func newTest(t *testing.T) *test {
	t.Helper()
	ns, err := cluster.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cluster.kube.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{})
	})
	// Without it no pod is admitted; its controller may be busy.
	eventually(t, time.Minute, func() bool {
		_, err := cluster.kube.CoreV1().ServiceAccounts(ns.Name).Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	})
	return &test{T: t, namespace: ns.Name}
}

// push puts an image into the registry, under a tag and its digest, and returns the pinned reference.
func (x *test) push(tag string, change func(*node.Image)) string {
	x.Helper()
	repository := "registry.example.com/models/" + x.namespace
	image := node.Image{Digest: digest(repository + tag), ID: digest("config of " + repository + tag), Labels: map[string]string{}, Size: 1234}
	if change != nil {
		change(&image)
	}
	cluster.mu.Lock()
	defer cluster.mu.Unlock()
	cluster.images[repository+":"+tag] = image
	cluster.images[repository+"@"+image.Digest] = image
	return repository + ":" + tag + "@" + image.Digest
}

func digest(s string) string {
	sum := hex.EncodeToString([]byte(s))
	return "sha256:" + strings.Repeat("0", 64-min(64, len(sum))) + sum[len(sum)-min(64, len(sum)):]
}

func labels(pairs ...string) func(*node.Image) {
	return func(i *node.Image) {
		for n := 0; n < len(pairs); n += 2 {
			i.Labels["model."+pairs[n]] = pairs[n+1]
		}
	}
}

func model(image string) corev1.Container {
	return corev1.Container{Name: "model", Image: image, Ports: []corev1.ContainerPort{{ContainerPort: 3000}}}
}

// pod creates a pod and returns its name.
func (x *test) pod(spec corev1.PodSpec) string {
	x.Helper()
	p, err := cluster.kube.CoreV1().Pods(x.namespace).Create(x.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "model-"}, Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		x.Fatal(err)
	}
	return p.Name
}

// until waits for a pod to be as wanted.
func (x *test) until(name string, wanted func(*corev1.Pod) bool) *corev1.Pod {
	x.Helper()
	var p *corev1.Pod
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var err error
		if p, err = cluster.kube.CoreV1().Pods(x.namespace).Get(x.Context(), name, metav1.GetOptions{}); err != nil {
			x.Fatal(err)
		}
		if wanted(p) {
			return p
		}
	}
	x.Fatalf("pod %s is not as wanted: %+v", name, p.Status)
	return nil
}

// events are a pod's, as "REASON message".
func (x *test) events(name string) []string {
	x.Helper()
	list, err := cluster.kube.CoreV1().Events(x.namespace).List(x.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
	if err != nil {
		x.Fatal(err)
	}
	var all []string
	for _, e := range list.Items {
		all = append(all, e.Reason+" "+e.Message)
	}
	return all
}

// wantEvent waits for an event that begins so.
func (x *test) wantEvent(name, begin string) {
	x.Helper()
	var all []string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		all = x.events(name)
		for _, e := range all {
			if strings.HasPrefix(e, begin) {
				return
			}
		}
	}
	x.Errorf("no event %q among\n%s", begin, strings.Join(all, "\n"))
}

func ready(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func waiting(reason string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil && p.Status.ContainerStatuses[0].State.Waiting.Reason == reason
	}
}

func deployment(name string, replicas int32, spec corev1.PodSpec) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: maps.Clone(labels)}, Spec: spec},
		},
	}
}

func k() *kubernetes.Clientset { return cluster.kube }
