package controlplane

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Options say what surrounds the control plane.
type Options struct {
	// Dir is an empty folder for its state. Required.
	Dir string
	// TokenReviewURL answers TokenReviews of authentication.k8s.io/v1 over plain
	// HTTP on loopback. Required.
	TokenReviewURL string
	// Hosts are further names and addresses in the API server's certificate.
	Hosts []string
	// Dial connects to nodes and pods, for logs and proxies. Required.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// ControlPlane is a running one.
type ControlPlane struct {
	Address    string // 127.0.0.1:PORT
	URL        string
	CA         *CA
	Kubeconfig string       // file; client certificate of system:masters
	Config     *rest.Config // the same
	LogFile    string

	process *exec.Cmd
	stdin   io.Closer
	egress  net.Listener
	exited  chan struct{} // closed when it has ended
	exit    error         // how
}

// Start runs the binary that Build made, and returns when the API server is
// ready and pods can be created.
func Start(ctx context.Context, binary string, o Options) (*ControlPlane, error) {
	c := &ControlPlane{LogFile: filepath.Join(o.Dir, "controlplane.log"), Kubeconfig: filepath.Join(o.Dir, "kubeconfig"), exited: make(chan struct{})}
	ports, err := freePorts(2)
	if err != nil {
		return nil, fmt.Errorf("control plane: %w", err)
	}
	c.Address = net.JoinHostPort("127.0.0.1", ports[0])
	c.URL = "https://" + c.Address
	if err := c.writeFiles(o); err != nil {
		return nil, fmt.Errorf("control plane: %w", err)
	}
	if err := c.listenEgress(o); err != nil {
		return nil, fmt.Errorf("control plane: %w", err)
	}
	if err := c.launch(binary, o.Dir, ports); err != nil {
		c.Close()
		return nil, fmt.Errorf("control plane: %w", err)
	}
	if err := c.waitReady(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("control plane: %w; see %s", err, c.LogFile)
	}
	return c, nil
}

// Close stops the control plane and waits for its end.
func (c *ControlPlane) Close() {
	if c.stdin != nil {
		_ = c.stdin.Close()
	}
	if c.process != nil {
		select {
		case <-c.exited:
		case <-time.After(5 * time.Second):
			_ = c.process.Process.Kill()
			<-c.exited
		}
	}
	if c.egress != nil {
		_ = c.egress.Close()
	}
}

// NodeKubeconfig is for the kubelet of a real node, at an address of the API
// server that the node can reach.
func (c *ControlPlane) NodeKubeconfig(server, node string) ([]byte, error) {
	return c.CA.kubeconfig(server, "system:node:"+node, "system:nodes")
}

func (c *ControlPlane) writeFiles(o Options) error {
	var err error
	if c.CA, err = NewCA("local-cluster"); err != nil {
		return err
	}
	serving, err := c.CA.Server(append([]string{"127.0.0.1", "10.96.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}, o.Hosts...)...)
	if err != nil {
		return err
	}
	kubelet, err := c.CA.Client("kube-apiserver", "system:masters")
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := encodeKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"ca.crt":        c.CA.PEM,
		"apiserver.crt": serving.Cert, "apiserver.key": serving.Key,
		"kubelet.crt": kubelet.Cert, "kubelet.key": kubelet.Key,
		"accounts.key": private,
		"accounts.pub": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
		"tokens.yaml": fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: tokens, cluster: {server: %q}}]
users: [{name: api}]
contexts: [{name: tokens, context: {cluster: tokens, user: api}}]
current-context: tokens
`, o.TokenReviewURL),
		"egress.yaml": fmt.Appendf(nil, `apiVersion: apiserver.k8s.io/v1beta1
kind: EgressSelectorConfiguration
egressSelections:
- name: cluster
  connection:
    proxyProtocol: HTTPConnect
    transport: {uds: {udsName: %q}}
`, filepath.Join(o.Dir, "egress.sock")),
	}
	for name, user := range map[string][]string{
		"kubeconfig":             {"admin", "system:masters"},
		"controllers.kubeconfig": {"system:kube-controller-manager"},
		"scheduler.kubeconfig":   {"system:kube-scheduler"},
	} {
		if files[name], err = c.CA.kubeconfig(c.URL, user[0], user[1:]...); err != nil {
			return err
		}
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(o.Dir, name), content, 0o600); err != nil {
			return err
		}
	}
	c.Config, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return err
	}
	c.Config.QPS = -1
	return nil
}

func (c *ControlPlane) launch(binary, dir string, ports []string) error {
	in := func(name string) string { return filepath.Join(dir, name) }
	etcd := "http://127.0.0.1:" + ports[1]
	config, err := json.Marshal(map[string]any{
		"etcd_url": etcd, "etcd_dir": in("etcd"),
		"kubeconfig": c.Kubeconfig,
		"api_server": []string{
			"--etcd-servers=" + etcd,
			"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port=" + ports[0],
			"--endpoint-reconciler-type=none",
			"--tls-cert-file=" + in("apiserver.crt"), "--tls-private-key-file=" + in("apiserver.key"),
			"--client-ca-file=" + in("ca.crt"),
			"--authentication-token-webhook-config-file=" + in("tokens.yaml"), "--authentication-token-webhook-version=v1",
			// Short, so that an expired token is refused when it expires.
			"--authentication-token-webhook-cache-ttl=1s",
			"--authorization-mode=Node,RBAC", "--anonymous-auth=false",
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + in("accounts.pub"), "--service-account-signing-key-file=" + in("accounts.key"),
			"--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged=true",
			"--enable-admission-plugins=NodeRestriction",
			"--enable-priority-and-fairness=false", "--shutdown-delay-duration=0s",
			"--egress-selector-config-file=" + in("egress.yaml"),
			"--kubelet-client-certificate=" + in("kubelet.crt"), "--kubelet-client-key=" + in("kubelet.key"),
			"--kubelet-preferred-address-types=InternalIP",
		},
		"controller_manager": []string{
			"--kubeconfig=" + in("controllers.kubeconfig"), "--leader-elect=false", "--secure-port=0",
			"--service-account-private-key-file=" + in("accounts.key"), "--root-ca-file=" + in("ca.crt"),
			"--use-service-account-credentials=true", "--controllers=*",
			"--cluster-cidr=10.244.0.0/16", "--allocate-node-cidrs=true",
			"--kube-api-qps=500", "--kube-api-burst=1000",
		},
		"scheduler": []string{
			"--kubeconfig=" + in("scheduler.kubeconfig"), "--leader-elect=false", "--secure-port=0",
			"--kube-api-qps=500", "--kube-api-burst=1000",
		},
	})
	if err != nil {
		return err
	}
	log, err := os.Create(c.LogFile)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(binary) //nolint:noctx // it ends when its standard input is closed, in Close
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c.process, c.stdin = cmd, stdin
	go func() {
		c.exit = cmd.Wait()
		close(c.exited)
	}()
	_, err = stdin.Write(append(config, '\n'))
	return err
}

// waitReady waits for the API server, and for the service account without
// which no pod is admitted.
func (c *ControlPlane) waitReady(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		if _, err = client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{}); err == nil {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-c.exited:
			return fmt.Errorf("it ended: %w", errors.Join(c.exit, err))
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", err)
		}
	}
}

func freePorts(n int) ([]string, error) {
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // on loopback, at once
		if err != nil {
			return nil, err
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
	}
	return ports, nil
}
