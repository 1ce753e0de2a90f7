package cluster

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/org/deploy-model-action/pkg/wire"
)

// userAgent is how the requests call themselves, to Google and to the cluster.
const userAgent = "deploy-model-action"

const dialTimeout = 10 * time.Second

// Client is a connection to the cluster's API server.
type Client struct {
	Dynamic dynamic.Interface
	// REST is for paths that Dynamic has no words for, by AbsPath.
	REST rest.Interface
	// HTTP is what both use. It follows no redirect.
	HTTP *http.Client
	// Warnings are what the API server warns of.
	Warnings *wire.Warnings
}

// Config returns a configuration in memory. Requests are neither limited in
// rate nor in time: that is for the callers' contexts, and watches last. Each
// request gets the token of the moment, and no other host gets any request.
func (c *Cluster) Config(tokens oauth2.TokenSource) *rest.Config {
	ca := c.CA
	if len(ca) == 0 && c.pinned() {
		ca = []byte("none") // is refused, where nothing would mean the public roots
	}
	config := &rest.Config{
		Host:            c.Host,
		UserAgent:       userAgent,
		QPS:             -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: ca},
		Dial:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		// client-go writes the API server's warnings to stderr otherwise.
		WarningHandler: rest.NoWarnings{},
	}
	config.Wrap(func(base http.RoundTripper) http.RoundTripper {
		return &tokenTransport{base: &frontTransport{base: wire.Bound(base), cluster: c}, tokens: tokens, hosts: []string{c.authority()}}
	})
	return config
}

// Connect returns clients; nothing is sent yet.
func (c *Cluster) Connect(tokens oauth2.TokenSource) (*Client, error) {
	config, warnings := c.Config(tokens), &wire.Warnings{}
	config.WarningHandlerWithContext = warnings
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("connect to cluster %q: %w", c.Name.Cluster, err)
	}
	client.CheckRedirect = noRedirect
	objects, err := dynamic.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("connect to cluster %q: %w", c.Name.Cluster, err)
	}
	// Only errors are decoded here; the kinds' own types would cost megabytes.
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	paths, err := rest.UnversionedRESTClientForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("connect to cluster %q: %w", c.Name.Cluster, err)
	}
	return &Client{Dynamic: objects, REST: paths, HTTP: client, Warnings: warnings}, nil
}

// pinned says whether the cluster's own CA has signed the endpoint's certificate.
func (c *Cluster) pinned() bool { return c.Kind != KindDNS && c.Kind != KindGateway }

// authority is the host that may be sent a token; "" if it is not one over TLS.
func (c *Cluster) authority() string {
	u, err := url.Parse(c.Host)
	if err != nil || u.Scheme != "https" {
		return ""
	}
	return u.Host
}
