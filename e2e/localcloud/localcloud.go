// Package localcloud is an imitation of the world that the action runs in, and
// as much of it as can be is real: a real Kubernetes control plane, a real OCI
// registry, and Google's hosts under their own names behind a forward proxy. The
// action, gcloud, kubectl and docker are put into it by their environment alone.
//
// It only puts the parts together; each part's package says how it behaves.
package localcloud

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/org/deploy-model-action/e2e/controlplane"
	"github.com/org/deploy-model-action/e2e/github"
	"github.com/org/deploy-model-action/e2e/google"
	"github.com/org/deploy-model-action/e2e/node"
	"github.com/org/deploy-model-action/e2e/proxy"
	"github.com/org/deploy-model-action/e2e/registry"
)

// What the local cloud is called. The addresses are of the networks that RFC
// 5737 keeps for documentation: a request that misses the proxy reaches nobody.
const (
	Project       = "local-project"
	ProjectNumber = "123456789012"
	Location      = "europe-west6-a"
	Cluster       = "mlops-cluster"
	Registry      = "europe-west6-docker.pkg.dev"
	RegistryHost  = Registry + "/" + Project + "/models"

	publicEndpoint  = "192.0.2.10"
	privateEndpoint = "10.172.0.2"
	dnsEndpoint     = "gke-0a1b2c3d4e5f.europe-west6-a.gke.goog"
)

// Options say where and how.
type Options struct {
	// Dir is where the cloud leaves its files. Required; made if it is missing.
	Dir string
	// Listen is the proxy's address. Default, a free port of 127.0.0.1.
	Listen string
	// TokenLifetime is how long an access token is good for. Default, an hour.
	TokenLifetime time.Duration
	// LBDelay is how long a load balancer takes to get its address. Default, the node package's.
	LBDelay time.Duration
	// CrashPause is how long nodes wait before they start again what crashed. Default,
	// the node package's.
	CrashPause time.Duration
	// NoNodes leaves the cluster without simulated nodes.
	NoNodes bool
	// Dial connects to nodes and pods that are not simulated. Default, nobody does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Log is told what takes long. Default, nobody.
	Log io.Writer
}

// Cloud is a running local cloud.
type Cloud struct {
	Options
	Proxy        *proxy.Proxy
	Google       *google.Cloud
	GitHub       *github.GitHub
	Registry     *registry.Registry
	Foreign      map[string]*registry.Foreign // by host
	ControlPlane *controlplane.ControlPlane
	Nodes        *node.Nodes

	CAFile, CredentialsFile, Kubeconfig, RequestsFile string
	ServiceAccount                                    string // e-mail of the key in CredentialsFile

	reviews *httptest.Server
	roles   *roles
	state   string
	ca      *controlplane.CA
	api     http.Handler
	stop    context.CancelFunc

	mu       sync.Mutex
	admitted map[string]bool // clients inside the clusters' network
}

// Start builds what has to be built and returns when everything answers.
func Start(ctx context.Context, o Options) (*Cloud, error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("local cloud: %w", err)
	}
	o.Dir = dir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("local cloud: %w", err)
	}
	binary, err := controlplane.Build(ctx, "controlplane", o.Log)
	if err != nil {
		return nil, err
	}
	// A short path of its own: the name of a unix socket has 108 bytes at most.
	state, err := os.MkdirTemp("", "localcloud")
	if err != nil {
		return nil, fmt.Errorf("local cloud: %w", err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	c := &Cloud{
		Options: o, state: state, stop: stop,
		CAFile: filepath.Join(dir, "ca.crt"), CredentialsFile: filepath.Join(dir, "credentials.json"),
		Kubeconfig: filepath.Join(dir, "kubeconfig"), RequestsFile: filepath.Join(dir, "requests.jsonl"),
	}
	if err := c.start(ctx, running, binary); err != nil {
		c.Close()
		return nil, fmt.Errorf("local cloud: %w", err)
	}
	return c, nil
}

func (c *Cloud) start(ctx, running context.Context, binary string) error {
	c.Google = google.New(Project, ProjectNumber)
	c.Google.Lifetime = c.TokenLifetime
	c.reviews = httptest.NewServer(c.Google.TokenReview())
	var err error
	c.ControlPlane, err = controlplane.Start(ctx, binary, controlplane.Options{
		Dir: c.state, TokenReviewURL: c.reviews.URL, Hosts: []string{publicEndpoint, privateEndpoint},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			switch {
			case c.Nodes != nil:
				return c.Nodes.Dial(ctx, network, address)
			case c.Dial != nil:
				return c.Dial(ctx, network, address)
			}
			return nil, fmt.Errorf("dial %s: no nodes", address)
		},
	})
	if err != nil {
		return err
	}
	if c.roles, err = startRoles(running, c.ControlPlane.Config); err != nil {
		return err
	}
	c.Google.OnRoles = c.roles.set
	if err := c.startServices(); err != nil {
		return err
	}
	if !c.NoNodes {
		c.Nodes, err = node.Start(running, c.ControlPlane.Config, node.Options{Images: c.pull, LBDelay: c.LBDelay, CrashPause: c.CrashPause})
		if err != nil {
			return err
		}
	}
	if err := c.startProxy(); err != nil {
		return err
	}
	if err := c.addClusters(); err != nil {
		return err
	}
	email, key, err := c.Google.CreateServiceAccount("google-service-account", google.RoleDeveloper, google.RoleWriter)
	if err != nil {
		return err
	}
	c.ServiceAccount = email
	return c.writeFiles(key)
}

func (c *Cloud) startProxy() error {
	var err error
	if c.Proxy, err = proxy.Start(c.Listen, c.RequestsFile); err != nil {
		return err
	}
	if c.ca, err = controlplane.NewCA("Local Cloud"); err != nil {
		return err
	}
	if c.api, err = apiServer(c.ControlPlane); err != nil {
		return err
	}
	hosts, err := c.hosts()
	if err != nil {
		return err
	}
	for name, handler := range hosts {
		if err := c.Proxy.Handle(name, c.ca, handler); err != nil {
			return err
		}
	}
	c.Proxy.HandlePlain(c.loadBalancer)
	c.Proxy.HandleControl("/service-accounts", c.serviceAccounts())
	c.Proxy.HandleControl("/jobs", c.jobs())
	return nil
}

// loadBalancer answers for every address that a load balancer has now.
func (c *Cloud) loadBalancer(host string) http.Handler {
	if c.Nodes == nil || !c.Nodes.HasLoadBalancer(host) {
		return nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.Nodes.ServeLoadBalancer(w, r, host) })
}

// Close stops everything and removes what is not in Dir.
func (c *Cloud) Close() {
	c.stop()
	if c.Proxy != nil {
		c.Proxy.Close()
	}
	if c.Nodes != nil {
		c.Nodes.Close()
	}
	if c.ControlPlane != nil {
		c.ControlPlane.Close()
	}
	if c.reviews != nil {
		c.reviews.Close()
	}
	_ = os.RemoveAll(c.state)
}
