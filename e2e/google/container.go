package google

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Cluster is one cluster that the GKE API knows.
type Cluster struct {
	Name, Location  string
	Status          string // RUNNING, PROVISIONING, RECONCILING, STOPPING, ERROR
	Endpoint        string // public IP address; "" if there is none
	PrivateEndpoint string
	DNSEndpoint     string // NAME.LOCATION.gke.goog; "" if there is none
	AllowExternal   bool   // whether the DNS endpoint answers from outside
	CA              []byte // PEM
	Autopilot       bool
}

// AddCluster makes a cluster known, or replaces the one of that name and location.
func (c *Cloud) AddCluster(cluster Cluster) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clusters = slices.DeleteFunc(c.clusters, func(x Cluster) bool { return x.Name == cluster.Name && x.Location == cluster.Location })
	c.clusters = append(c.clusters, cluster)
}

// Container answers for container.googleapis.com.
func (c *Cloud) Container() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/projects/{project}/locations/{location}/clusters", c.listClusters)
	mux.HandleFunc("GET /v1/projects/{project}/zones/{location}/clusters", c.listClusters)
	mux.HandleFunc("GET /v1/projects/{project}/locations/{location}/clusters/{cluster}", c.getCluster)
	mux.HandleFunc("GET /v1/projects/{project}/zones/{location}/clusters/{cluster}", c.getCluster)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		apiError(w, http.StatusNotFound, "NOT_FOUND", "Method not found.")
	})
	return c.authenticated(mux)
}

// authenticated refuses whoever has no valid token, in Google's words.
func (c *Cloud) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if _, ok := c.Lookup(token); !ok || !strings.EqualFold(scheme, "Bearer") {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://accounts.google.com/"`)
			apiError(w, http.StatusUnauthorized, "UNAUTHENTICATED", "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (c *Cloud) caller(r *http.Request) string {
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	t, _ := c.Lookup(token)
	return t.Email
}

// allowed checks the project and the role, and answers if it is not allowed.
func (c *Cloud) allowed(w http.ResponseWriter, r *http.Request, permission, resource string) bool {
	if project := r.PathValue("project"); project != c.Project {
		apiError(w, http.StatusForbidden, "PERMISSION_DENIED", fmt.Sprintf("Permission denied on resource project %s (or it may not exist).", project))
		return false
	}
	if !c.HasRole(c.caller(r), RoleDeveloper, "roles/container.clusterViewer", "roles/container.viewer", "roles/container.admin", "roles/owner", "roles/editor") {
		apiError(w, http.StatusForbidden, "PERMISSION_DENIED", fmt.Sprintf("Required %q permission(s) for %q.", permission, resource))
		return false
	}
	return true
}

func (c *Cloud) listClusters(w http.ResponseWriter, r *http.Request) {
	if !c.allowed(w, r, "container.clusters.list", "projects/"+c.Project) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	list := []map[string]any{}
	for _, x := range c.clusters {
		if l := r.PathValue("location"); l == "-" || l == x.Location {
			list = append(list, c.describe(x))
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"clusters": list})
}

func (c *Cloud) getCluster(w http.ResponseWriter, r *http.Request) {
	name := fmt.Sprintf("projects/%s/locations/%s/clusters/%s", r.PathValue("project"), r.PathValue("location"), r.PathValue("cluster"))
	if !c.allowed(w, r, "container.clusters.get", name) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.clusters {
		if x.Name == r.PathValue("cluster") && x.Location == r.PathValue("location") {
			writeJSON(w, http.StatusOK, c.describe(x))
			return
		}
	}
	apiError(w, http.StatusNotFound, "NOT_FOUND", fmt.Sprintf("Not found: %s.", name))
}

// describe is the Cluster message of GKE's v1 API, as far as clients read it.
func (c *Cloud) describe(x Cluster) map[string]any {
	zonal := strings.Count(x.Location, "-") == 2
	kind := "locations"
	if zonal {
		kind = "zones"
	}
	d := map[string]any{
		"name": x.Name, "location": x.Location, "zone": x.Location, "status": x.Status,
		"selfLink":             fmt.Sprintf("https://container.googleapis.com/v1/projects/%s/%s/%s/clusters/%s", c.Project, kind, x.Location, x.Name),
		"id":                   fmt.Sprintf("%064x", []byte(x.Location+"/"+x.Name)),
		"endpoint":             x.Endpoint,
		"masterAuth":           map[string]any{"clusterCaCertificate": base64.StdEncoding.EncodeToString(x.CA)},
		"currentMasterVersion": "1.36.3-gke.1000000", "currentNodeVersion": "1.36.3-gke.1000000", "initialClusterVersion": "1.36.3-gke.1000000",
		"currentNodeCount": 2, "network": "default", "subnetwork": "default", "locations": []string{x.Location},
		"nodeConfig":     map[string]any{"machineType": "e2-standard-4"},
		"nodePools":      []map[string]any{{"name": "default-pool", "status": "RUNNING", "version": "1.36.3-gke.1000000", "config": map[string]any{"machineType": "e2-standard-4"}}},
		"createTime":     "2026-01-12T08:00:00+00:00",
		"releaseChannel": map[string]any{"channel": "REGULAR"},
		"autopilot":      map[string]any{"enabled": x.Autopilot},
		"controlPlaneEndpointsConfig": map[string]any{
			"dnsEndpointConfig": map[string]any{"endpoint": x.DNSEndpoint, "allowExternalTraffic": x.AllowExternal},
			"ipEndpointsConfig": map[string]any{
				"enabled": x.Endpoint != "", "enablePublicEndpoint": x.Endpoint != "",
				"publicEndpoint": x.Endpoint, "privateEndpoint": x.PrivateEndpoint,
			},
		},
		"privateClusterConfig": map[string]any{"privateEndpoint": x.PrivateEndpoint, "publicEndpoint": x.Endpoint},
	}
	return d
}

// apiError is the error body of Google's JSON APIs.
func apiError(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, map[string]any{"error": map[string]any{
		"code": status, "message": message, "status": code,
		"errors": []map[string]string{{"message": message, "domain": "global", "reason": reason(status)}},
	}})
}

func reason(status int) string {
	switch status {
	case http.StatusNotFound:
		return "notFound"
	case http.StatusForbidden:
		return "forbidden"
	case http.StatusUnauthorized:
		return "unauthorized"
	}
	return "badRequest"
}
