package google

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Cluster is one cluster that the GKE API knows.
type Cluster struct {
	Name, Location  string
	Status          string // RUNNING, PROVISIONING, RECONCILING, STOPPING, ERROR
	StatusMessage   string // why, for ERROR
	Endpoint        string // public IP address; "" if there is none
	PrivateEndpoint string // IP address in the cluster's network; "" if there is none
	DNSEndpoint     string // NAME.LOCATION.gke.goog; "" if there is none
	AllowExternal   bool   // whether the DNS endpoint answers from outside
	Authorized      bool   // whether the public endpoint answers authorised networks only
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
	mux.HandleFunc("/", notFound)
	return c.authenticated(mux, "https://container.googleapis.com/")
}

// principal is the key of a request's context under which authenticated leaves
// who sent it.
type principal struct{}

// authenticated refuses whoever has no valid token, in Google's words. Where there
// is an audience, a service account may sign a token itself, for it
// (https://google.aip.dev/auth/4111).
func (c *Cloud) authenticated(next http.Handler, audience string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		t, ok := c.Lookup(token)
		if !ok && audience != "" {
			email, refused := c.verify(token, claimsFor{audiences: []string{audience}, subject: true}, time.Now())
			t.Principal, ok = email, refused == ""
		}
		if !ok || !strings.EqualFold(scheme, "Bearer") {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://accounts.google.com/"`)
			apiError(w, http.StatusUnauthorized, "UNAUTHENTICATED", "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.")
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), principal{}, t.Principal)))
	})
}

func (c *Cloud) caller(r *http.Request) string {
	who, _ := r.Context().Value(principal{}).(string)
	return who
}

// allowed checks the project and the permission, and answers if it is not allowed.
func (c *Cloud) allowed(w http.ResponseWriter, r *http.Request, permission, resource string) bool {
	if project := r.PathValue("project"); project != c.Project && project != c.Number {
		apiError(w, http.StatusForbidden, "PERMISSION_DENIED", fmt.Sprintf("Permission denied on resource project %s (or it may not exist).", project))
		return false
	}
	if !c.HasPermission(c.caller(r), permission) {
		apiError(w, http.StatusForbidden, "PERMISSION_DENIED", fmt.Sprintf("Required %q permission(s) for %q.", permission, resource))
		return false
	}
	return true
}

func (c *Cloud) listClusters(w http.ResponseWriter, r *http.Request) {
	if !c.allowed(w, r, permissionListClusters, "projects/"+c.Project) {
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
	if !c.allowed(w, r, permissionGetCluster, name) {
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
		"endpoint":             cmp.Or(x.Endpoint, x.PrivateEndpoint, x.DNSEndpoint),
		"masterAuth":           map[string]any{"clusterCaCertificate": base64.StdEncoding.EncodeToString(x.CA)},
		"currentMasterVersion": "1.36.3-gke.1000000", "currentNodeVersion": "1.36.3-gke.1000000", "initialClusterVersion": "1.36.3-gke.1000000",
		"currentNodeCount": 2, "network": "default", "subnetwork": "default", "locations": []string{x.Location},
		"nodeConfig":     map[string]any{"machineType": "e2-standard-4"},
		"nodePools":      []map[string]any{{"name": "default-pool", "status": "RUNNING", "version": "1.36.3-gke.1000000", "config": map[string]any{"machineType": "e2-standard-4"}}},
		"createTime":     "2026-01-12T08:00:00+00:00",
		"releaseChannel": map[string]any{"channel": "REGULAR"},
		"autopilot":      map[string]any{"enabled": x.Autopilot},
	}
	networks := map[string]any{"enabled": x.Authorized}
	if x.Authorized {
		networks["cidrBlocks"] = []map[string]string{{"displayName": "office", "cidrBlock": "198.51.100.0/24"}}
		d["masterAuthorizedNetworksConfig"] = networks
	}
	addresses := map[string]any{"enabled": x.Endpoint != "" || x.PrivateEndpoint != "", "enablePublicEndpoint": x.Endpoint != "", "authorizedNetworksConfig": networks}
	private := map[string]any{}
	if x.Endpoint == "" && x.PrivateEndpoint != "" {
		private["enablePrivateEndpoint"] = true
	}
	// Google leaves empty fields away.
	for name, value := range map[string]string{"publicEndpoint": x.Endpoint, "privateEndpoint": x.PrivateEndpoint} {
		if value != "" {
			addresses[name], private[name] = value, value
		}
	}
	endpoints := map[string]any{"ipEndpointsConfig": addresses}
	if x.DNSEndpoint != "" {
		endpoints["dnsEndpointConfig"] = map[string]any{"endpoint": x.DNSEndpoint, "allowExternalTraffic": x.AllowExternal}
	}
	d["controlPlaneEndpointsConfig"], d["privateClusterConfig"] = endpoints, private
	if x.StatusMessage != "" {
		d["statusMessage"] = x.StatusMessage
		d["conditions"] = []map[string]string{{"code": "GCE_STOCKOUT", "canonicalCode": "RESOURCE_EXHAUSTED", "message": x.StatusMessage}}
	}
	for _, m := range c.members {
		if m.Cluster == x.Name && m.ClusterLocation == x.Location && !m.Unsaid {
			d["fleet"] = map[string]any{
				"project": c.Project, "preRegistered": true,
				"membership": fmt.Sprintf("//gkehub.googleapis.com/projects/%s/locations/%s/memberships/%s", c.Number, m.Location, m.Name),
			}
		}
	}
	return d
}
