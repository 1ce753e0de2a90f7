// Package realnode joins a real node to a control plane: Kubernetes' own
// kubelet with Debian's containerd and runc, in a privileged Docker container
// with a network of its own. What the simulated nodes of package node act out
// is held to what happens here.
//
// It needs a Docker engine on this machine (the node reaches the control plane
// at the network's gateway) and, the first time, debootstrap and root. Images
// are pulled through the local cloud's proxy, from its registry, by their real
// names; which images there are is left to the caller.
package realnode

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/org/deploy-model-action/e2e/controlplane"
)

// readyTimeout is how long a node may take to become Ready; it takes seconds.
const readyTimeout = 90 * time.Second

// Options say what the node belongs to.
type Options struct {
	// ControlPlane is what the node joins. Required.
	ControlPlane *controlplane.ControlPlane
	// ProxyURL is the forward proxy that images are pulled through, on this
	// machine, and CAFile the certificates that it shows. Required.
	ProxyURL, CAFile string
	// Logins are for the kubelet to pull with. Default, it pulls as nobody.
	Logins []Login
	// Name is the node's name. Default, real-node.
	Name string
	// Log is told how long each step took. Default, nobody.
	Log io.Writer
}

// Login is the user that the node has at a registry, as a node of GKE has its
// service account.
type Login struct {
	// Images is a host, or a host with the path that the images live under.
	Images string
	// Username and Password are for the registry.
	Username, Password string
}

// UnavailableError is a machine that cannot run a real node, whatever is asked
// of it; nothing that was started is left.
type UnavailableError struct{ Err error }

func (e *UnavailableError) Error() string { return "no real node can run here: " + e.Err.Error() }

func (e *UnavailableError) Unwrap() error { return e.Err }

// Node is a running node.
type Node struct {
	// Name is the node's name in the cluster.
	Name string
	// Version is the container runtime's version, as the node's status has it.
	Version string
	// Dir holds what the node was made from, and its logs.
	Dir string

	id       string // of the container, the network and their names
	network  bool
	started  bool
	forwards []*forward
}

// Start returns when the node is Ready. An *UnavailableError says that there is
// no Docker engine, no image, or that the engine does not give enough privileges.
func Start(ctx context.Context, o Options) (*Node, error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.Name == "" {
		o.Name = "real-node"
	}
	dir, err := os.MkdirTemp("", "realnode")
	if err != nil {
		return nil, fmt.Errorf("real node: %w", err)
	}
	n := &Node{Name: o.Name, Dir: dir, id: "realnode-" + strings.ToLower(rand.Text()[:10])}
	if err := n.start(ctx, o); err != nil {
		err = fmt.Errorf("real node: %w%s", err, n.tail())
		n.Close()
		return nil, err
	}
	return n, nil
}

func (n *Node) start(ctx context.Context, o Options) error {
	step := stopwatch(o.Log)
	if _, err := docker(ctx, nil, "version", "--format", "{{.Server.Version}}"); err != nil {
		return &UnavailableError{err}
	}
	image, err := Image(ctx, o.Log)
	if err != nil {
		return &UnavailableError{err}
	}
	step("node image")
	kubelet, err := controlplane.Build(ctx, "kubelet", o.Log)
	if err != nil {
		return err
	}
	step("kubelet binary")
	network, err := n.createNetwork(ctx)
	if err != nil {
		return err
	}
	proxy, err := n.proxyAddress(network.gateway, o.ProxyURL)
	if err != nil {
		return err
	}
	server, err := n.forward(network.gateway, o.ControlPlane.Address)
	if err != nil {
		return err
	}
	if err := n.writeFiles(ctx, o, server); err != nil {
		return err
	}
	// What --privileged gives but for one capability, which a machine may lack.
	privileges := []string{
		"--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--device-cgroup-rule", "a *:* rwm", "--device", "/dev/kmsg",
		"--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined", "--security-opt", "systempaths=unconfined",
	}
	n.started = true
	if _, err := docker(ctx, nil, slices.Concat(
		[]string{"run", "--detach", "--rm", "--name", n.id, "--hostname", o.Name, "--network", n.id, "--cgroupns", "private", "--cpu-shares", "8192"}, privileges, []string{
			"--tmpfs", "/run", "--tmpfs", "/tmp", "--volume", "/var/lib/containerd", "--volume", "/var/lib/kubelet", "--volume", "/var/log",
			"--volume", n.Dir + ":/node", "--volume", kubelet + ":/usr/local/bin/kubelet:ro",
			"--env", "NODE_NAME=" + o.Name, "--env", "POD_CIDR=" + network.pods, "--env", "API_SERVER=" + server, "--env", "HTTPS_PROXY=" + proxy,
			image, "/bin/sh", "/node/start.sh",
		})...); err != nil {
		return &UnavailableError{err}
	}
	step("node container")
	if err := n.waitReady(ctx, o.ControlPlane); err != nil {
		return err
	}
	step("node ready")
	return nil
}

// Dial connects to the kubelet and to pods: the node answers for the addresses
// of its pods on the Docker network, which this machine is part of.
func Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, address)
}

// Close removes the container with all that ran in it, and its network. Nothing
// else of this machine was changed.
func (n *Node) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if n.started {
		_, _ = docker(ctx, nil, "rm", "--force", "--volumes", n.id)
	}
	for _, f := range n.forwards {
		f.close()
	}
	for n.network && ctx.Err() == nil {
		// A container that ended by itself is still on its way out.
		if _, err := docker(ctx, nil, "network", "rm", n.id); err == nil {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	_ = os.RemoveAll(n.Dir)
}

// waitReady waits until pods can be scheduled to the node.
func (n *Node) waitReady(ctx context.Context, c *controlplane.ControlPlane) error {
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	last := errors.New("no node yet")
	for {
		node, err := client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		switch {
		case err != nil:
			last = err
		case len(node.Spec.Taints) > 0:
			last = fmt.Errorf("taint %s", node.Spec.Taints[0].Key)
		default:
			for _, c := range node.Status.Conditions {
				if c.Type != corev1.NodeReady {
					continue
				}
				if c.Status == corev1.ConditionTrue {
					n.Version = node.Status.NodeInfo.ContainerRuntimeVersion
					return nil
				}
				last = errors.New(c.Message)
			}
		}
		if out, err := docker(ctx, nil, "inspect", "--format", "{{.State.Running}}", n.id); ctx.Err() == nil && (err != nil || out != "true") {
			if _, err := os.Stat(filepath.Join(n.Dir, "prepared")); err != nil {
				return &UnavailableError{errors.New("the container may not do what a node does")}
			}
			return fmt.Errorf("its container ended: %w", last)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready after %s: %w", readyTimeout, last)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// tail is the end of the node's logs, for an error.
func (n *Node) tail() string {
	var b strings.Builder
	for _, name := range []string{"start.log", "containerd.log", "kubelet.log"} {
		content, err := os.ReadFile(filepath.Join(n.Dir, name))
		if err != nil || len(content) == 0 {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(content)), "\n")
		fmt.Fprintf(&b, "\n-- %s:\n%s", name, strings.Join(lines[max(0, len(lines)-8):], "\n"))
	}
	return b.String()
}

func stopwatch(w io.Writer) func(string) {
	last := time.Now()
	return func(what string) {
		now := time.Now()
		fmt.Fprintf(w, "%-16s %s\n", what, now.Sub(last).Round(10*time.Millisecond))
		last = now
	}
}
