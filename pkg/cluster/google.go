package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/api/container/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
)

const (
	hostContainer = "container.googleapis.com"
	hostHub       = "gkehub.googleapis.com"
	hostProjects  = "cloudresourcemanager.googleapis.com"
	hostGateway   = "connectgateway.googleapis.com"

	// maxReply bounds an answer: a project's clusters, reduced to their names, are far below.
	maxReply = 4 << 20

	roleDeveloper     = "roles/container.developer"
	roleAdmin         = "roles/container.admin"
	roleHubViewer     = "roles/gkehub.viewer"
	roleGatewayEditor = "roles/gkehub.gatewayEditor"
)

// clusterFields are those that are read; a whole cluster has hundreds.
const clusterFields = "name,location,status,statusMessage,conditions(code,message),currentMasterVersion,endpoint," +
	"masterAuth/clusterCaCertificate,privateClusterConfig(enablePrivateEndpoint,privateEndpoint,publicEndpoint)," +
	"controlPlaneEndpointsConfig(dnsEndpointConfig(endpoint,allowExternalTraffic),ipEndpointsConfig(enabled,enablePublicEndpoint,publicEndpoint,privateEndpoint,authorizedNetworksConfig/enabled))," +
	"masterAuthorizedNetworksConfig/enabled,autopilot/enabled,fleet(project,membership)"

// google asks Google's APIs about one cluster.
type google struct {
	Options
	client     *http.Client
	containers *container.Service
}

func newGoogle(ctx context.Context, o Options) (*google, error) {
	base := o.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	client := &http.Client{
		Transport:     &capped{&bearer{base: base, tokens: o.Tokens, hosts: []string{hostContainer, hostHub, hostProjects}}},
		CheckRedirect: noRedirect,
	}
	containers, err := container.NewService(ctx,
		option.WithHTTPClient(client),
		option.WithEndpoint("https://"+hostContainer+"/"),
		option.WithUniverseDomain("googleapis.com"),
		// With GOOGLE_SDK_GO_LOGGING_LEVEL=debug the client would log what it sends.
		option.WithLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		return nil, fmt.Errorf("prepare the GKE API's client: %w", err)
	}
	containers.UserAgent = userAgent
	return &google{Options: o, client: client, containers: containers}, nil
}

// capped bounds the answers.
type capped struct{ base http.RoundTripper }

// RoundTrip cuts off what is longer.
func (c *capped) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxReply), resp.Body}
	return resp, nil
}

// get reads the cluster, or says why not.
func (g *google) get(ctx context.Context) (*container.Cluster, error) {
	found, err := retry(ctx, func(ctx context.Context) (*container.Cluster, error) {
		return g.containers.Projects.Locations.Clusters.Get(g.Name.String()).Fields(clusterFields).Context(ctx).Do()
	})
	var api *googleapi.Error
	if errors.As(err, &api) {
		// A location that does not exist is a bad request, not a missing cluster.
		if api.Code == http.StatusNotFound || (api.Code == http.StatusBadRequest && strings.Contains(strings.ToLower(api.Message), "location")) {
			return nil, g.notFound(ctx)
		}
	}
	if err != nil {
		return nil, need{
			act: fmt.Sprintf("read cluster %q", g.Name.Cluster), service: hostContainer, project: g.Name.Project,
			permission: "container.clusters.get", role: roleDeveloper, principal: g.Principal,
		}.refused(err)
	}
	return found, nil
}

// notFound looks for the cluster that may have been meant.
func (g *google) notFound(ctx context.Context) error {
	list, err := retry(ctx, func(ctx context.Context) (*container.ListClustersResponse, error) {
		return g.containers.Projects.Locations.Clusters.List("projects/" + g.Name.Project + "/locations/-").
			Fields("clusters(name,location)").Context(ctx).Do()
	})
	if err != nil {
		return &NotFoundError{Name: g.Name} // the help failed, the fact stands
	}
	existing := []Name{}
	for _, c := range list.Clusters {
		existing = append(existing, Name{Project: g.Name.Project, Location: c.Location, Cluster: c.Name})
	}
	sortByNearness(existing, g.Name)
	return &NotFoundError{Name: g.Name, Existing: existing}
}

// fetch reads JSON from one of Google's APIs, for which a client would be a
// library of its own.
func (g *google) fetch(ctx context.Context, address string, query url.Values, into any) error {
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	_, err := retry(ctx, func(ctx context.Context) (struct{}, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return struct{}{}, err
		}
		req.Header.Set("User-Agent", userAgent)
		resp, err := g.client.Do(req)
		if err != nil {
			return struct{}{}, err
		}
		defer resp.Body.Close()
		if err := googleapi.CheckResponse(resp); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, json.NewDecoder(resp.Body).Decode(into)
	})
	return err
}
