package localcloud

import (
	"crypto/tls"
	"net/http"

	"github.com/org/deploy-model-action/e2e/google"
	"github.com/org/deploy-model-action/e2e/proxy"
)

// The clusters beside the main one. All that can be reached are the same control
// plane; they differ in what the GKE API says of them and in the way there.
const (
	// OpenCluster can be reached in every way.
	OpenCluster = "open-cluster"
	// DNSCluster has no IP addresses, and its DNS endpoint answers everybody.
	DNSCluster = "dns-cluster"
	// PrivateCluster answers clients inside its network only, by address or name.
	PrivateCluster = "private-cluster"
	// FleetCluster is private as well; the Connect gateway leads to it.
	FleetCluster = "fleet-cluster"
	// FencedCluster answers authorised networks only.
	FencedCluster = "fenced-cluster"
	// RefusingCluster has an address where nobody listens.
	RefusingCluster = "refusing-cluster"
	// AutopilotCluster and UpgradingCluster answer as the main one does.
	AutopilotCluster = "autopilot-cluster"
	UpgradingCluster = "upgrading-cluster"

	region = "europe-west6"
)

func (c *Cloud) addClusters() error {
	for _, x := range []google.Cluster{
		{Name: Cluster, Endpoint: publicEndpoint, PrivateEndpoint: privateEndpoint, DNSEndpoint: dnsEndpoint},
		{Name: OpenCluster, Endpoint: "192.0.2.11", PrivateEndpoint: "10.172.0.11", DNSEndpoint: dnsName("0b"), AllowExternal: true},
		{Name: DNSCluster, DNSEndpoint: dnsName("0c"), AllowExternal: true},
		{Name: PrivateCluster, PrivateEndpoint: "10.172.0.13", DNSEndpoint: dnsName("0d")},
		{Name: FleetCluster, PrivateEndpoint: "10.172.0.14", DNSEndpoint: dnsName("0e")},
		{Name: FencedCluster, Endpoint: "192.0.2.15", Authorized: true},
		{Name: RefusingCluster, Endpoint: "127.0.0.99"},
		{Name: AutopilotCluster, Location: region, Endpoint: "192.0.2.17", Autopilot: true},
		{Name: UpgradingCluster, Endpoint: "192.0.2.18", Status: "RECONCILING"},
	} {
		if err := c.AddCluster(x); err != nil {
			return err
		}
	}
	for _, x := range []google.Cluster{
		{Name: "staging-cluster", Location: Location, Status: "RUNNING"},
		{Name: "training", Location: "us-central1", Status: "RUNNING"},
		{Name: "leaving-cluster", Location: Location, Status: "STOPPING"},
		{Name: "coming-cluster", Location: Location, Status: "PROVISIONING"},
		{Name: "broken-cluster", Location: Location, Status: "ERROR", StatusMessage: "Google Compute Engine: The zone 'projects/local-project/zones/europe-west6-a' does not have enough resources available to fulfill the request."},
	} {
		x.CA, x.Endpoint = c.ControlPlane.CA.PEM, "192.0.2.99" // nobody is there
		c.Google.AddCluster(x)
	}
	// One member of each kind of location.
	c.Google.AddMembership(google.Membership{Name: OpenCluster, Location: "global", Cluster: OpenCluster, ClusterLocation: Location})
	c.Google.AddMembership(google.Membership{Name: "fleet-member", Location: region, Cluster: FleetCluster, ClusterLocation: Location, Unsaid: true})
	return nil
}

func dnsName(id string) string { return "gke-0a1b2c3d4e" + id + "." + Location + ".gke.goog" }

// AddCluster makes the control plane known to the GKE API as one more cluster,
// and answers at each of its endpoints. Location and Status default to those of
// the main cluster.
func (c *Cloud) AddCluster(x google.Cluster) error {
	if x.Location == "" {
		x.Location = Location
	}
	if x.Status == "" {
		x.Status = "RUNNING"
	}
	x.CA = c.ControlPlane.CA.PEM
	c.Google.AddCluster(x)
	// An address shows a certificate of the cluster's own authority.
	if x.Endpoint != "" {
		if err := c.Proxy.Handle(x.Endpoint, c.ControlPlane.CA, c.api); err != nil {
			return err
		}
		if x.Authorized {
			c.Proxy.Fence(x.Endpoint, c.inside)
		}
	}
	if x.PrivateEndpoint != "" {
		if err := c.Proxy.Handle(x.PrivateEndpoint, c.ControlPlane.CA, c.api); err != nil {
			return err
		}
		c.Proxy.Fence(x.PrivateEndpoint, c.inside)
	}
	if x.DNSEndpoint == "" {
		return nil
	}
	outside := func(r *http.Request) bool { return !c.inside(proxy.Client(r.Context())) }
	return c.Proxy.Handle(x.DNSEndpoint, c.ca, c.Google.DNSEndpoint(x, outside, c.api))
}

// Admit puts a client inside the network of the clusters, which is also the one
// that is authorised.
func (c *Cloud) Admit(client string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.admitted == nil {
		c.admitted = map[string]bool{}
	}
	c.admitted[client] = true
}

func (c *Cloud) inside(client string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.admitted[client]
}

// gateway passes requests on in the name of whom the Connect gateway names.
func (c *Cloud) gateway() (http.Handler, error) {
	pair, err := c.ControlPlane.CA.Client("connect-gateway", "system:masters")
	if err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		return nil, err
	}
	return apiServer(c.ControlPlane, certificate)
}
