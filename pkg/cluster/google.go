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
	"regexp"
	"strings"

	"google.golang.org/api/container/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
)

const (
	hostContainer = "container.googleapis.com"
	hostHub       = "gkehub.googleapis.com"
	hostProjects  = "cloudresourcemanager.googleapis.com"

	// maxReply bounds an answer: a project's clusters, reduced to their names, are far below.
	maxReply = 4 << 20

	roleDeveloper = "roles/container.developer"
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
	act := fmt.Sprintf("read cluster %q", g.Name.Cluster)
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
		return nil, g.refused(act, g.Name.Project, "container.clusters.get", roleDeveloper, err)
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

// missing finds the permission in the words of Google's APIs.
var missing = regexp.MustCompile(`(?:Required "|Permission '?)([a-z]+\.[A-Za-z]+\.[A-Za-z]+)`)

// refused explains an API's answer. permission and role are those that the
// request needs, and the answer may name another permission.
func (g *google) refused(act, project, permission, role string, err error) error {
	var token *tokenError
	if errors.As(err, &token) {
		return token.err
	}
	var api *googleapi.Error
	if !errors.As(err, &api) {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			host := wrapped.URL
			if u, err := url.Parse(wrapped.URL); err == nil {
				host = u.Host
			}
			return fmt.Errorf("%s: ask %s: %w: let the runner reach it, directly or through HTTPS_PROXY", act, host, wrapped.Err)
		}
		return fmt.Errorf("%s: read Google's answer: %w: let the runner reach Google itself, without a portal or proxy that answers in its place", act, err)
	}
	said := phrase(api.Message)
	switch {
	case api.Code >= 300 && api.Code < 400:
		return fmt.Errorf("%s: Google's API answered with a redirect (status %d), which is not followed with a token in hand: let the runner reach it itself, without a portal or proxy that answers in its place", act, api.Code)
	case api.Code == http.StatusUnauthorized:
		return fmt.Errorf("%s: Google does not take the token (%s): run the job again, and look whether the key or account was deleted if that does not help", act, said)
	case api.Code == http.StatusForbidden && disabled(api):
		service := serviceOf(api, act)
		return &DisabledError{Service: service, Project: project, Command: fmt.Sprintf("gcloud services enable %s --project=%s", service, project)}
	case api.Code == http.StatusForbidden && strings.Contains(api.Message, "vpcServiceControlsUniqueIdentifier"):
		return fmt.Errorf("%s: a service perimeter (VPC Service Controls) refuses (%s): let an administrator admit this principal or runner to the perimeter", act, said)
	case api.Code == http.StatusForbidden:
		if m := missing.FindStringSubmatch(api.Message); m != nil {
			permission = m[1]
		}
		return forbidden(act, permission, role, g.Principal, project)
	case said == "":
		said = fmt.Sprintf("status %d", api.Code)
	}
	return fmt.Errorf("%s: Google refuses: %s", act, said)
}

// disabled says whether the API itself was the matter.
func disabled(api *googleapi.Error) bool {
	if reason, _ := errorInfo(api); reason == "SERVICE_DISABLED" {
		return true
	}
	return strings.Contains(api.Message, "has not been used in project") || strings.Contains(api.Message, "API is not enabled")
}

func serviceOf(api *googleapi.Error, act string) string {
	if _, service := errorInfo(api); service != "" {
		return service
	}
	if strings.Contains(act, "membership") {
		return hostHub
	}
	return hostContainer
}

// errorInfo reads google.rpc.ErrorInfo from an error's details.
func errorInfo(api *googleapi.Error) (reason, service string) {
	for _, d := range api.Details {
		detail, ok := d.(map[string]any)
		if !ok || detail["@type"] != "type.googleapis.com/google.rpc.ErrorInfo" {
			continue
		}
		reason, _ = detail["reason"].(string)
		if metadata, ok := detail["metadata"].(map[string]any); ok {
			service, _ = metadata["service"].(string)
		}
	}
	return reason, service
}
