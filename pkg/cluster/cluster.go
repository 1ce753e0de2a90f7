// Package cluster leads from the name of a GKE cluster to a connection: it asks
// the GKE API, chooses the endpoint through which the runner can reach the
// control plane, and configures clients that trust exactly the certificates of
// that endpoint and send their token to no other host.
//
// Nothing is written to disk. Where tokens come from, and what is asked of the
// cluster, is left to others; when they fail to reach it, Explain says why.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/oauth2"
	"google.golang.org/api/container/v1"

	"github.com/org/deploy-model-action/pkg/redact"
)

// Kinds of endpoints, and the word that leaves the choice to Find.
const (
	KindAuto     = "auto"
	KindPublic   = "public"
	KindInternal = "internal"
	KindDNS      = "dns"
	KindGateway  = "connect-gateway"
)

// Options say which cluster, and how to reach it.
type Options struct {
	Name Name
	// Endpoint is a kind of endpoint; "" is KindAuto: the DNS endpoint if it is
	// open to the outside, else the public one, else the internal one, else the
	// fleet's Connect gateway.
	Endpoint string
	// FleetMembership is projects/P/locations/L/memberships/M, or M alone; "":
	// the one of the cluster is looked up. For KindGateway only.
	FleetMembership string
	// Tokens authorise the requests to Google's APIs.
	Tokens oauth2.TokenSource
	// GKE authorises those to the GKE API; nil: Tokens do.
	GKE oauth2.TokenSource
	// Principal is whose tokens they are, an e-mail address or principal://…,
	// to name in refusals. Default, refusals have a placeholder.
	Principal string
	// Transport sends the requests to Google's APIs; nil: http.DefaultTransport,
	// which honours HTTPS_PROXY.
	Transport http.RoundTripper
}

// Cluster is a cluster that was found, and the endpoint that was chosen.
type Cluster struct {
	Name      Name
	Kind      string // of endpoint: KindPublic, KindInternal, KindDNS or KindGateway
	Host      string // https://…, with a path for KindGateway
	CA        []byte // PEM, the only certificates to trust; nil: the public ones (KindDNS, KindGateway)
	Status    string // of the cluster, e.g. "RUNNING"
	Version   string // of the control plane, e.g. "1.33.4-gke.100"
	Why       string // why this endpoint, in one sentence
	Autopilot bool

	principal string
	fleet     string   // project of the fleet, for KindGateway
	others    []string // kinds that the cluster offers too
	fenced    bool     // the public endpoint is for authorised networks only
}

// Find asks the GKE API for the cluster and chooses its endpoint. Errors that a
// caller may want to tell apart are *NotFoundError, *ForbiddenError,
// *google.RefusedError, *StatusError and *EndpointError.
func Find(ctx context.Context, o Options) (*Cluster, error) {
	if o.Endpoint == "" {
		o.Endpoint = KindAuto
	}
	if err := checkEndpoint(o); err != nil {
		return nil, err
	}
	f, err := newFinder(ctx, o)
	if err != nil {
		return nil, err
	}
	found, err := f.get(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkStatus(o.Name, found); err != nil {
		return nil, err
	}
	c := &Cluster{
		Name: o.Name, Status: found.Status, Version: found.CurrentMasterVersion,
		Autopilot: found.Autopilot != nil && found.Autopilot.Enabled,
		principal: o.Principal, fenced: authorizedNetworks(found),
	}
	if err := f.choose(ctx, c, found); err != nil {
		return nil, err
	}
	return c, nil
}

// checkStatus refuses clusters whose control plane does not answer.
func checkStatus(n Name, found *container.Cluster) error {
	switch found.Status {
	case "PROVISIONING", "STOPPING", "ERROR":
		return &StatusError{Name: n, Status: found.Status, Message: reason(found)}
	}
	return nil
}

// reason is what GKE says about the cluster's status; "" if nothing.
func reason(found *container.Cluster) string {
	said := found.StatusMessage
	for _, c := range found.Conditions {
		if said == "" {
			said = c.Message
		}
	}
	return redact.Phrase(said)
}

func authorizedNetworks(found *container.Cluster) bool {
	if e := found.ControlPlaneEndpointsConfig; e != nil && e.IpEndpointsConfig != nil {
		if a := e.IpEndpointsConfig.AuthorizedNetworksConfig; a != nil {
			return a.Enabled
		}
	}
	return found.MasterAuthorizedNetworksConfig != nil && found.MasterAuthorizedNetworksConfig.Enabled
}

func checkEndpoint(o Options) error {
	switch o.Endpoint {
	case KindAuto, KindPublic, KindInternal, KindDNS, KindGateway:
	default:
		return &EndpointError{Name: o.Name, Kind: o.Endpoint, Problem: "is no kind of endpoint", Fix: "write auto, public, internal, dns or connect-gateway"}
	}
	if o.FleetMembership != "" && !membershipForm.MatchString(o.FleetMembership) {
		return &EndpointError{Name: o.Name, Kind: KindGateway, Problem: fmt.Sprintf("fleet_membership %q is no membership's name", o.FleetMembership), Fix: "write it as NAME or projects/PROJECT/locations/LOCATION/memberships/NAME, or leave it away to have it looked up"}
	}
	if o.FleetMembership != "" && o.Endpoint != KindGateway && o.Endpoint != KindAuto {
		return &EndpointError{Name: o.Name, Kind: o.Endpoint, Problem: "does not go through a fleet", Fix: "set endpoint: connect-gateway, or leave fleet_membership away"}
	}
	if o.Tokens == nil {
		return errors.New("find a cluster: no source of tokens")
	}
	return nil
}
