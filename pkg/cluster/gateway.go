package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"google.golang.org/api/container/v1"
	"google.golang.org/api/googleapi"

	"github.com/org/deploy-model-action/pkg/redact"
)

// membershipForm takes a full name, as the hub and the gateway write it, or the
// last part alone. What is taken here becomes part of a host name, so it is strict.
var membershipForm = regexp.MustCompile(`^(?:(?:https:)?//gkehub\.googleapis\.com/(?:v1/)?)?(?:projects/((?:[a-z0-9.-]{1,63}:)?[a-z0-9-]{1,30})/locations/(global|[a-z]+-[a-z]+[0-9]+(?:-[a-z0-9]+)?)/(?:gkeMemberships|memberships)/)?([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)$`)

// membership is the hub's message, as far as it is read.
type membership struct {
	Name     string `json:"name"`
	Endpoint struct {
		GKECluster *gkeCluster `json:"gkeCluster"`
	} `json:"endpoint"`
}

type gkeCluster struct {
	ResourceLink string `json:"resourceLink"`
}

const membershipFields = "name,endpoint/gkeCluster/resourceLink"

// memberOf is the full name of the membership that GKE knows of; "" if it knows of none.
func memberOf(found *container.Cluster) string {
	if found.Fleet == nil {
		return ""
	}
	return found.Fleet.Membership
}

// throughGateway sets the endpoint to the fleet's Connect gateway.
func (f *finder) throughGateway(ctx context.Context, c *Cluster, found *container.Cluster) error {
	host, project, err := f.gateway(ctx, found)
	c.Host, c.fleet = host, project
	var no *EndpointError
	switch {
	case errors.As(err, &no):
		no.Name, no.Kind, no.Others = f.Name, f.Endpoint, c.others
	case err != nil && f.Endpoint == KindAuto && ctx.Err() == nil:
		return fmt.Errorf("endpoint \"auto\" of cluster %q: neither the DNS endpoint nor an IP endpoint is open, which leaves the Connect gateway: %w; or open the DNS endpoint with `%s`", f.Name.Cluster, err, f.Name.update("--enable-dns-access"))
	}
	return err
}

// gateway finds the URL behind which the fleet's Connect gateway has the
// cluster, and the fleet's project.
func (f *finder) gateway(ctx context.Context, found *container.Cluster) (host, project string, err error) {
	m, err := f.member(ctx, found)
	if err != nil {
		return "", "", err
	}
	parts := membershipForm.FindStringSubmatch(m.Name)
	if parts == nil || parts[1] == "" {
		return "", "", fmt.Errorf("look up the fleet membership of cluster %q: Google's answer has the name %q: set fleet_membership", f.Name.Cluster, redact.Phrase(m.Name))
	}
	number, err := f.number(ctx, parts[1])
	if err != nil {
		return "", "", err
	}
	// A GKE cluster has another path than what was registered as any Kubernetes cluster.
	collection := "memberships"
	if m.Endpoint.GKECluster != nil {
		collection = "gkeMemberships"
	}
	// A regional membership is reached through its region's gateway, as gcloud does.
	host = hostGateway
	if parts[2] != "global" {
		host = parts[2] + "-" + hostGateway
	}
	return fmt.Sprintf("https://%s/v1/projects/%s/locations/%s/%s/%s", host, number, parts[2], collection, parts[3]), parts[1], nil
}

// member finds the cluster's membership, or checks the one that was given: a
// deploy to another cluster of the fleet would be a bad surprise.
func (f *finder) member(ctx context.Context, found *container.Cluster) (membership, error) {
	given, known := membershipForm.FindStringSubmatch(f.FleetMembership), membershipForm.FindStringSubmatch(memberOf(found))
	if known != nil && (given == nil || given[3] == known[3] && (given[2] == "" || given[2] == known[2])) {
		m := membership{Name: memberOf(found)}
		m.Endpoint.GKECluster = &gkeCluster{}
		return m, nil
	}
	project := f.Name.Project
	if found.Fleet != nil && found.Fleet.Project != "" {
		project = found.Fleet.Project
	}
	switch {
	case given == nil:
		return f.lookUp(ctx, project)
	case given[1] == "":
		return f.named(ctx, project, given[3])
	}
	var m membership
	name := fmt.Sprintf("projects/%s/locations/%s/memberships/%s", given[1], given[2], given[3])
	err := f.fetch(ctx, "https://"+hostHub+"/v1/"+name, url.Values{"fields": {membershipFields}}, &m)
	var api *googleapi.Error
	if errors.As(err, &api) && api.Code == http.StatusNotFound {
		return m, &EndpointError{Problem: fmt.Sprintf("fleet_membership %q does not exist", f.FleetMembership), Fix: "compare it with " + listing(given[1])}
	}
	if err != nil {
		return m, f.hub(given[1], "gkehub.memberships.get").refused(err)
	}
	return m, f.checkMember(m)
}

// lookUp asks the hub which membership the cluster has. In all locations: that
// of an Autopilot cluster is in its region.
func (f *finder) lookUp(ctx context.Context, fleet string) (membership, error) {
	id := f.Name.Project
	if isNumber(id) {
		p, err := f.project(ctx, id)
		if err != nil {
			return membership{}, err
		}
		id = p.ID
	}
	link := fmt.Sprintf("//%s/projects/%s/locations/%s/clusters/%s", hostContainer, id, f.Name.Location, f.Name.Cluster)
	all, err := f.memberships(ctx, fleet, url.Values{"filter": {fmt.Sprintf("endpoint.gkeCluster.resourceLink=%q", link)}})
	switch {
	case err != nil:
		return membership{}, err
	case len(all) == 1:
		return all[0], nil
	case len(all) > 1:
		return membership{}, &EndpointError{Problem: fmt.Sprintf("the cluster has %d fleet memberships", len(all)), Fix: "set fleet_membership to one of " + names(all)}
	case f.Endpoint == KindAuto:
		return membership{}, &EndpointError{Problem: "none is open, and the cluster is in no fleet", Fix: "open the DNS endpoint with `" + f.Name.update("--enable-dns-access") + "`"}
	}
	return membership{}, &EndpointError{Problem: "the cluster is in no fleet", Fix: "register it with `" + f.Name.update("--enable-fleet") + "`, or set fleet_membership if it is in the fleet of another project"}
}

// named finds the membership that has the short name, in any location.
func (f *finder) named(ctx context.Context, fleet, name string) (membership, error) {
	all, err := f.memberships(ctx, fleet, url.Values{})
	if err != nil {
		return membership{}, err
	}
	var same []membership
	for _, m := range all {
		if strings.HasSuffix(m.Name, "/"+name) {
			same = append(same, m)
			if m.Endpoint.GKECluster != nil && f.checkMember(m) == nil {
				return m, nil
			}
		}
	}
	switch len(same) {
	case 0:
		return membership{}, &EndpointError{Problem: fmt.Sprintf("fleet_membership %q does not exist in project %s", name, fleet), Fix: "compare it with " + listing(fleet) + ", and give the full name if it is in the fleet of another project"}
	case 1:
		return same[0], f.checkMember(same[0])
	}
	return membership{}, &EndpointError{Problem: fmt.Sprintf("fleet_membership %q is there %d times", name, len(same)), Fix: "set it to one of " + names(same)}
}

// checkMember refuses the membership of another cluster.
func (f *finder) checkMember(m membership) error {
	if m.Endpoint.GKECluster == nil {
		return nil // registered as any Kubernetes cluster, whose name in GKE the hub does not know
	}
	link := strings.TrimPrefix(m.Endpoint.GKECluster.ResourceLink, "//"+hostContainer+"/")
	is := fullForm.FindStringSubmatch(link)
	if is != nil && is[2] == f.Name.Location && is[3] == f.Name.Cluster && (is[1] == f.Name.Project || isNumber(is[1]) || isNumber(f.Name.Project)) {
		return nil
	}
	return &EndpointError{Problem: fmt.Sprintf("fleet_membership %q is that of another cluster (%s)", f.FleetMembership, redact.Phrase(link)), Fix: "correct it, or leave it away to have it looked up"}
}

func names(all []membership) string {
	var names []string
	for _, m := range all {
		names = append(names, redact.Phrase(m.Name))
	}
	return strings.Join(names, ", ")
}

// listing is the command that shows the memberships of a project.
func listing(project string) string {
	return "`gcloud container fleet memberships list --project=" + project + "`"
}
