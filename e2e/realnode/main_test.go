package realnode_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/google"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/realnode"
	"github.com/org/deploy-model-action/e2e/runner"
)

// tier is a local cloud with nodes of one kind.
type tier struct {
	once  sync.Once
	err   error
	cloud *localcloud.Cloud
	node  *realnode.Node // of the real tier
	kube  *kubernetes.Clientset
}

var (
	simulated, genuine tier
	action             struct {
		once   sync.Once
		binary string
		err    error
	}
	folder  string            // of what the tests leave for one another
	machine map[string]string // sysctls before the first node
)

func TestMain(m *testing.M) {
	if os.Getenv("REALNODE") == "" {
		// What a real kubelet does depends on the machine's load and time, so this
		// tier does not decide whether a change lands.
		fmt.Println("the tests on a real node are skipped: run `make realnode`")
		return
	}
	dir, err := os.MkdirTemp("", "realnode-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	folder, machine = dir, sysctls()
	flag.Parse()
	// The scenarios wait for back-offs and for what has to last, and compute little;
	// but a kubelet that starts all of them beside a second cluster falls behind.
	if err := flag.Set("test.parallel", "24"); err != nil {
		panic(err)
	}
	code := m.Run()
	verdicts.write(os.Stderr)
	if genuine.node != nil {
		genuine.node.Close()
	}
	for _, t := range []*tier{&simulated, &genuine} {
		if t.cloud != nil {
			t.cloud.Close()
		}
	}
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

// simulatedTier is a cloud with simulated nodes, started by whoever asks first.
func simulatedTier(t *testing.T) *tier {
	t.Helper()
	simulated.once.Do(func() { simulated.err = simulated.start(context.Background(), "simulated", localcloud.Options{}) })
	return simulated.or(t)
}

// genuineTier is a cloud with one real node. Where none can be, the test is
// skipped and says why.
func genuineTier(t *testing.T) *tier {
	t.Helper()
	genuine.once.Do(func() {
		ctx := context.Background()
		genuine.err = genuine.start(ctx, "real", localcloud.Options{NoNodes: true, Dial: realnode.Dial})
		if genuine.err == nil {
			genuine.err = genuine.join(ctx)
		}
	})
	var unavailable *realnode.UnavailableError
	if errors.As(genuine.err, &unavailable) {
		t.Skip(genuine.err)
	}
	return genuine.or(t)
}

func (r *tier) or(t *testing.T) *tier {
	t.Helper()
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r
}

func (r *tier) start(ctx context.Context, name string, o localcloud.Options) error {
	o.Dir, o.Log = filepath.Join(folder, name), os.Stderr
	var err error
	if r.cloud, err = localcloud.Start(ctx, o); err != nil {
		return err
	}
	r.kube, err = kubernetes.NewForConfig(r.cloud.ControlPlane.Config)
	return err
}

// join adds the real node, with a service account of its own as on GKE.
func (r *tier) join(ctx context.Context) error {
	account := func(name string, roles ...string) (string, error) {
		email, _, err := r.cloud.Google.CreateServiceAccount(name, roles...)
		if err != nil {
			return "", err
		}
		token, _ := r.cloud.Google.Issue(email)
		return token, nil
	}
	reader, err := account("nodes", google.RoleReader)
	if err != nil {
		return err
	}
	stranger, err := account("stranger")
	if err != nil {
		return err
	}
	r.node, err = realnode.Start(ctx, realnode.Options{
		ControlPlane: r.cloud.ControlPlane, ProxyURL: r.cloud.Proxy.URL, CAFile: r.cloud.CAFile, Log: os.Stderr,
		Logins: []realnode.Login{
			{Images: models, Username: "oauth2accesstoken", Password: reader},
			{Images: denied, Username: "oauth2accesstoken", Password: stranger},
		},
	})
	return err
}

// test gives a test its place in the tier, and a step that uses the action as it ships.
func (r *tier) test(t *testing.T, name string) *cloudtest.Test {
	t.Helper()
	ns, err := r.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.kube.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{})
	})
	return &cloudtest.Test{T: t, Cloud: r.cloud, Kube: r.kube, Namespace: ns.Name, Client: ns.Name, Workspace: t.TempDir()}
}

func step(x *cloudtest.Test, sha string, with map[string]string) runner.Step {
	x.Helper()
	action.once.Do(func() { action.binary, action.err = runner.BuildAction(context.Background(), cloudtest.Root(), folder) })
	if action.err != nil {
		x.Fatal(action.err)
	}
	s := x.Step(sha, with)
	s.Binary = action.binary
	return s
}
