package google

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Membership makes a cluster a member of the project's fleet.
type Membership struct {
	Name, Location string // the location is global, or the cluster's region
	// Cluster and ClusterLocation are the GKE cluster.
	Cluster, ClusterLocation string
	// Unsaid leaves it to the hub to know it: the GKE API does not tell.
	Unsaid bool
}

// AddMembership registers a cluster with the fleet.
func (c *Cloud) AddMembership(m Membership) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members = slices.DeleteFunc(c.members, func(x Membership) bool { return x.Name == m.Name && x.Location == m.Location })
	c.members = append(c.members, m)
}

// Hub answers for gkehub.googleapis.com: the memberships of the fleet.
func (c *Cloud) Hub() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/projects/{project}/locations/{location}/memberships", c.listMemberships)
	mux.HandleFunc("GET /v1/projects/{project}/locations/{location}/memberships/{membership}", c.getMembership)
	mux.HandleFunc("/", notFound)
	return c.authenticated(mux, "")
}

func (c *Cloud) hubAllowed(w http.ResponseWriter, r *http.Request, permission, resource string) bool {
	project := r.PathValue("project")
	if (project == c.Project || project == c.Number) && c.HasPermission(c.caller(r), permission) {
		return true
	}
	apiError(w, http.StatusForbidden, "PERMISSION_DENIED", fmt.Sprintf("Permission '%s' denied on '%s'", permission, resource))
	return false
}

func (c *Cloud) listMemberships(w http.ResponseWriter, r *http.Request) {
	location := r.PathValue("location")
	if !c.hubAllowed(w, r, permissionListMember, fmt.Sprintf("projects/%s/locations/%s/memberships", r.PathValue("project"), location)) {
		return
	}
	link := ""
	if filter := r.URL.Query().Get("filter"); filter != "" {
		value, ok := strings.CutPrefix(strings.ReplaceAll(filter, " ", ""), "endpoint.gkeCluster.resourceLink=")
		if !ok {
			apiError(w, http.StatusBadRequest, "INVALID_ARGUMENT", "invalid list filter: "+filter)
			return
		}
		link = strings.Trim(value, `"`)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	resources := []map[string]any{}
	for _, m := range c.members {
		if (location == "-" || location == m.Location) && (link == "" || link == c.resourceLink(m)) {
			resources = append(resources, c.membership(m))
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"resources": resources})
}

func (c *Cloud) getMembership(w http.ResponseWriter, r *http.Request) {
	name := fmt.Sprintf("projects/%s/locations/%s/memberships/%s", r.PathValue("project"), r.PathValue("location"), r.PathValue("membership"))
	if !c.hubAllowed(w, r, permissionGetMember, name) {
		return
	}
	m, ok := c.findMembership(r.PathValue("location"), r.PathValue("membership"))
	if !ok {
		apiError(w, http.StatusNotFound, "NOT_FOUND", fmt.Sprintf("Resource '%s' was not found", name))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	writeJSON(w, http.StatusOK, c.membership(m))
}

func (c *Cloud) findMembership(location, name string) (Membership, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.members, func(m Membership) bool { return m.Name == name && m.Location == location })
	if i < 0 {
		return Membership{}, false
	}
	return c.members[i], true
}

func (c *Cloud) resourceLink(m Membership) string {
	return fmt.Sprintf("//container.googleapis.com/projects/%s/locations/%s/clusters/%s", c.Project, m.ClusterLocation, m.Cluster)
}

// membership is the Membership message of the hub's v1 API, as far as clients read it.
func (c *Cloud) membership(m Membership) map[string]any {
	return map[string]any{
		"name":       fmt.Sprintf("projects/%s/locations/%s/memberships/%s", c.Project, m.Location, m.Name),
		"endpoint":   map[string]any{"gkeCluster": map[string]string{"resourceLink": c.resourceLink(m)}, "googleManaged": true},
		"state":      map[string]string{"code": "READY"},
		"createTime": "2026-01-12T08:00:00.000000000Z", "updateTime": "2026-01-12T08:00:00.000000000Z",
		"externalId": "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d", "uniqueId": "4d3c2b1a-0f9e-4d8c-b7a6-5f4e3d2c1b0a",
	}
}
