package cluster

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/api/container/v1"

	"github.com/org/deploy-model-action/pkg/redact"
)

// way is an endpoint that a cluster offers.
type way struct {
	kind string
	host string // address or name; "" for KindGateway, whose name takes a look-up
}

// choose picks the endpoint and says why it is that one.
func (f *finder) choose(ctx context.Context, c *Cluster, found *container.Cluster) error {
	ways := offered(found)
	if f.FleetMembership != "" || memberOf(found) != "" {
		ways = append(ways, way{kind: KindGateway})
	}
	chosen := way{kind: f.Endpoint}
	switch at := slices.IndexFunc(ways, func(w way) bool { return w.kind == f.Endpoint }); {
	case at >= 0:
		chosen = ways[at]
	case f.Endpoint == KindAuto && len(ways) > 0:
		chosen = ways[0]
	case f.Endpoint == KindAuto, f.Endpoint == KindGateway:
		chosen.kind = KindGateway // the cluster does not always say that it is a member
	default:
		return f.notOffered(ways)
	}
	for _, w := range ways {
		if w.kind != chosen.kind {
			c.others = append(c.others, w.kind)
		}
	}
	c.Kind, c.Why = chosen.kind, why(f.Endpoint, chosen.kind, found)
	if chosen.kind == KindGateway {
		return f.throughGateway(ctx, c, found)
	}
	if !chosen.trusted() {
		return &EndpointError{
			Name: f.Name, Kind: chosen.kind, Others: c.others,
			Problem: fmt.Sprintf("the GKE API gives %q as its host, which is not where Google has clusters, and gets no token", redact.Phrase(chosen.host)),
			Fix:     "find out who answers in place of " + hostContainer,
		}
	}
	c.Host = "https://" + chosen.host
	if strings.Contains(chosen.host, ":") {
		c.Host = "https://[" + chosen.host + "]"
	}
	if !c.pinned() {
		return nil
	}
	var err error
	if c.CA, err = authority(found); err != nil {
		return fmt.Errorf("read cluster %q: its CA certificate, without which nothing vouches for the %s endpoint: %w: set endpoint: dns, or run the job again when the cluster is complete", f.Name.Cluster, c.Kind, err)
	}
	return nil
}

// dnsForm is a plain name under gke.goog: what is taken here is sent a token, and
// only public CAs vouch for it, which sign anybody's name.
var dnsForm = regexp.MustCompile(`^(?:[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?\.){1,8}gke\.goog$`)

// trusted reports whether the host is one that Google gives to clusters: an
// address, for which the cluster's own CA has to vouch, or a name under gke.goog.
func (w way) trusted() bool {
	if w.kind == KindDNS {
		return len(w.host) <= 253 && dnsForm.MatchString(w.host)
	}
	address, err := netip.ParseAddr(w.host)
	return err == nil && address.Zone() == ""
}

// offered lists the endpoints of the cluster itself, the preferred first. The
// name of the DNS endpoint is always there, but is of no use without external
// traffic: Google answers 403 to every request.
func offered(found *container.Cluster) []way {
	var ways []way
	endpoints := found.ControlPlaneEndpointsConfig
	if endpoints == nil {
		endpoints = &container.ControlPlaneEndpointsConfig{}
	}
	if dns := endpoints.DnsEndpointConfig; dns != nil && dns.Endpoint != "" && dns.AllowExternalTraffic {
		ways = append(ways, way{KindDNS, dns.Endpoint})
	}
	public, internal := addresses(found, endpoints.IpEndpointsConfig)
	if public != "" {
		ways = append(ways, way{KindPublic, public})
	}
	if internal != "" {
		ways = append(ways, way{KindInternal, internal})
	}
	return ways
}

// addresses finds the IP endpoints that are on, also of clusters that are
// described in the older way only.
func addresses(found *container.Cluster, ip *container.IPEndpointsConfig) (public, internal string) {
	old := found.PrivateClusterConfig
	if old == nil {
		old = &container.PrivateClusterConfig{}
	}
	open := !old.EnablePrivateEndpoint
	if ip != nil {
		if !ip.Enabled {
			return "", ""
		}
		open = ip.EnablePublicEndpoint
		public, internal = ip.PublicEndpoint, ip.PrivateEndpoint
	}
	if internal == "" {
		internal = old.PrivateEndpoint
	}
	if !open {
		return "", internal
	}
	if public == "" {
		public = old.PublicEndpoint
	}
	// endpoint is one of the three, by Google's choice.
	if e := found.Endpoint; public == "" && e != internal && !strings.HasSuffix(e, ".goog") {
		public = e
	}
	return public, internal
}

// authority is the CA of the cluster, as PEM.
func authority(found *container.Cluster) ([]byte, error) {
	if found.MasterAuth == nil || found.MasterAuth.ClusterCaCertificate == "" {
		return nil, errors.New("the GKE API gives none")
	}
	ca, err := base64.StdEncoding.DecodeString(found.MasterAuth.ClusterCaCertificate)
	if err != nil {
		return nil, err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(ca) {
		return nil, errors.New("the GKE API gives something else")
	}
	return ca, nil
}

// why says in one sentence why it is this endpoint, and what is special about
// the cluster now.
func why(asked, kind string, found *container.Cluster) string {
	s := map[string]string{
		KindDNS: "the DNS endpoint", KindPublic: "the public endpoint", KindInternal: "the internal endpoint",
		KindGateway: "the Connect gateway of the cluster's fleet",
	}[kind]
	dns := "there is no DNS endpoint"
	if e := found.ControlPlaneEndpointsConfig; e != nil && e.DnsEndpointConfig != nil && e.DnsEndpointConfig.Endpoint != "" {
		dns = "the DNS endpoint does not allow external traffic"
	}
	switch {
	case asked != KindAuto:
		s += ", as asked for"
	case kind == KindDNS:
		s += ", as it allows external traffic"
	case kind == KindPublic:
		s += ", as " + dns
	case kind == KindInternal:
		s += ", as " + dns + " and the public endpoint is off: the runner must be in the cluster's network"
	case kind == KindGateway:
		s += ", as " + dns + " and the IP endpoints are off"
	}
	if kind == KindPublic && authorizedNetworks(found) {
		s += ", for authorized networks only"
	}
	switch found.Status {
	case "RECONCILING":
		s += "; the cluster is being changed (RECONCILING), and may not answer for a moment"
	case "DEGRADED":
		s += "; the cluster is DEGRADED"
		if said := reason(found); said != "" {
			s += ": " + said
		}
	}
	return s
}

// notOffered is that the endpoint that was asked for by its kind is off.
func (f *finder) notOffered(ways []way) error {
	e := &EndpointError{Name: f.Name, Kind: f.Endpoint}
	for _, w := range ways {
		e.Others = append(e.Others, w.kind)
	}
	switch f.Endpoint {
	case KindDNS:
		e.Problem, e.Fix = "it does not allow external traffic", "allow it with `"+f.Name.update("--enable-dns-access")+"`"
	case KindPublic:
		e.Problem, e.Fix = "it is off", "switch it on in the cluster's control plane networking"
	case KindInternal:
		e.Problem, e.Fix = "the cluster has no private address", "leave endpoint away"
	}
	return e
}
