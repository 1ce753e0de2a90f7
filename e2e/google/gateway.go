package google

import (
	"net/http"
	"strings"
)

// Gateway answers for connectgateway.googleapis.com, and for its regional names:
// behind /v1/projects/NUMBER/locations/LOCATION/gkeMemberships/NAME is the API
// server of the member. The gateway asks it in the caller's name, so the
// cluster's own RBAC decides; next is asked with impersonation headers and must
// be trusted with them.
func (c *Cloud) Gateway(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/projects/{project}/locations/{location}/gkeMemberships/{membership}/", func(w http.ResponseWriter, r *http.Request) {
		location, name := r.PathValue("location"), r.PathValue("membership")
		permission := "gkehub.gateway." + strings.ToLower(r.Method)
		resource := "//gkehub.googleapis.com/projects/" + r.PathValue("project") + "/locations/" + location + "/memberships/" + name
		// The number, not the ID: the gateway takes no other name of a project.
		if r.PathValue("project") != c.Number || !c.HasPermission(c.caller(r), permission) {
			denied(w, "gkehub.googleapis.com", permission, resource)
			return
		}
		if _, ok := c.findMembership(location, name); !ok {
			apiError(w, http.StatusNotFound, "NOT_FOUND", "Requested entity was not found.")
			return
		}
		prefix := "/v1/projects/" + c.Number + "/locations/" + location + "/gkeMemberships/" + name
		out := r.Clone(r.Context())
		for header := range out.Header {
			if strings.HasPrefix(header, "Impersonate-") {
				delete(out.Header, header)
			}
		}
		out.Header.Del("Authorization")
		out.Header.Set("Impersonate-User", c.caller(r))
		out.Header.Set("Impersonate-Group", "system:authenticated")
		http.StripPrefix(prefix, next).ServeHTTP(w, out)
	})
	mux.HandleFunc("/", notFound)
	return c.authenticated(mux, "")
}

// DNSEndpoint answers for a cluster's name under gke.goog: IAM is asked before
// the API server is, and traffic from outside of Google Cloud may be shut out.
// outside tells where a request comes from.
func (c *Cloud) DNSEndpoint(cluster Cluster, outside func(*http.Request) bool, next http.Handler) http.Handler {
	resource := "projects/" + c.Project + "/locations/" + cluster.Location + "/clusters/" + cluster.Name
	return c.authenticated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !cluster.AllowExternal && outside(r):
			apiError(w, http.StatusForbidden, "PERMISSION_DENIED", "External traffic is not allowed for the DNS-based endpoint of "+resource+".")
		case !c.HasPermission(c.caller(r), permissionConnect):
			apiError(w, http.StatusForbidden, "PERMISSION_DENIED", `Permission 'container.clusters.connect' denied on resource "`+resource+`" (or it may not exist).`)
		default:
			next.ServeHTTP(w, r)
		}
	}), "")
}
