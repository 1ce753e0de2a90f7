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
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/api/container/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"github.com/org/deploy-model-action/pkg/google"
	"github.com/org/deploy-model-action/pkg/retry"
)

const (
	hostContainer = "container.googleapis.com"
	hostHub       = "gkehub.googleapis.com"
	hostProjects  = "cloudresourcemanager.googleapis.com"
	hostGateway   = "connectgateway.googleapis.com"

	// attemptLimit bounds one request.
	attemptLimit = 15 * time.Second
	// helpLimit is how long an error waits for what would explain it.
	helpLimit = 10 * time.Second

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

// finder asks Google's APIs about one cluster.
type finder struct {
	Options
	budget     *retry.Budget
	client     *http.Client
	containers *container.Service
}

func newFinder(ctx context.Context, o Options) (*finder, error) {
	base := o.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	if o.GKE == nil {
		o.GKE = o.Tokens
	}
	client := func(tokens oauth2.TokenSource, hosts ...string) *http.Client {
		return &http.Client{
			Transport:     &capped{&tokenTransport{base: base, tokens: tokens, hosts: hosts}},
			CheckRedirect: noRedirect,
		}
	}
	containers, err := container.NewService(ctx,
		option.WithHTTPClient(client(o.GKE, hostContainer)),
		option.WithEndpoint("https://"+hostContainer+"/"),
		option.WithUniverseDomain("googleapis.com"),
		// With GOOGLE_SDK_GO_LOGGING_LEVEL=debug the client would log what it sends.
		option.WithLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		return nil, fmt.Errorf("prepare the GKE API's client: %w", err)
	}
	containers.UserAgent = userAgent
	return &finder{Options: o, budget: retry.NewBudget(retry.DefaultBudget), client: client(o.Tokens, hostHub, hostProjects), containers: containers}, nil
}

// capped bounds the answers.
type capped struct{ base http.RoundTripper }

// RoundTrip lets the reading of what is longer fail.
func (c *capped) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &cappedBody{http.MaxBytesReader(nil, resp.Body, maxReply), req.URL.Hostname()}
	return resp, nil
}

// cappedBody says who answered too much, which net/http calls a request's body.
type cappedBody struct {
	io.ReadCloser
	host string
}

func (b *cappedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		err = fmt.Errorf("%s answered with more than %d MiB", b.host, maxReply>>20)
	}
	return n, err
}

// policy is how requests to Google's APIs are tried again.
func (f *finder) policy() retry.Policy {
	return retry.Policy{Budget: f.budget, Attempt: attemptLimit, First: 200 * time.Millisecond, May: may}
}

// may reports whether an error may pass. That there is no token may not: its
// source has tried.
func may(err error) retry.Verdict {
	var token *tokenError
	if errors.As(err, &token) {
		return retry.Verdict{}
	}
	return google.May(err)
}

// get reads the cluster, or says why not.
func (f *finder) get(ctx context.Context) (*container.Cluster, error) {
	found, err := retry.Do(ctx, f.policy(), func(ctx context.Context) (*container.Cluster, error) {
		return f.containers.Projects.Locations.Clusters.Get(f.Name.String()).Fields(clusterFields).Context(ctx).Do()
	})
	var api *googleapi.Error
	if errors.As(err, &api) {
		// A location that does not exist is a bad request, not a missing cluster.
		if api.Code == http.StatusNotFound || (api.Code == http.StatusBadRequest && strings.Contains(strings.ToLower(api.Message), "location")) {
			return nil, f.notFound(ctx)
		}
	}
	if err != nil {
		return nil, need{
			act: fmt.Sprintf("read cluster %q", f.Name.Cluster), service: hostContainer, project: f.Name.Project,
			permission: "container.clusters.get", role: roleDeveloper, principal: f.Principal,
		}.refused(err)
	}
	return found, nil
}

// notFound looks for the cluster that may have been meant.
func (f *finder) notFound(ctx context.Context) error {
	policy := f.policy()
	policy.Budget, policy.Limit = nil, helpLimit
	list, err := retry.Do(ctx, policy, func(ctx context.Context) (*container.ListClustersResponse, error) {
		return f.containers.Projects.Locations.Clusters.List("projects/" + f.Name.Project + "/locations/-").
			Fields("clusters(name,location)").Context(ctx).Do()
	})
	if err != nil {
		return &NotFoundError{Name: f.Name} // the help failed, the fact stands
	}
	existing := []Name{}
	for _, c := range list.Clusters {
		existing = append(existing, Name{Project: f.Name.Project, Location: c.Location, Cluster: c.Name})
	}
	sortByNearness(existing, f.Name)
	return &NotFoundError{Name: f.Name, Existing: existing}
}

// fetch reads JSON from one of Google's APIs, for which a client would be a
// library of its own.
func (f *finder) fetch(ctx context.Context, address string, query url.Values, into any) error {
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	_, err := retry.Do(ctx, f.policy(), func(ctx context.Context) (struct{}, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return struct{}{}, err
		}
		req.Header.Set("User-Agent", userAgent)
		resp, err := f.client.Do(req)
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
