package google_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/org/deploy-model-action/e2e/google"
)

func TestPolicy(t *testing.T) {
	t.Parallel()
	c, _ := newCloud(t)
	admin, reader := token(t, c, "admin", google.RoleIAMAdmin), token(t, c, "reader", "roles/browser")
	ask := func(method, body, token string) (int, map[string]any) {
		return call(t, c.ResourceManager(), http.MethodPost, "/v3/projects/local-project:"+method, token, body)
	}
	write := func(p google.Policy) (int, map[string]any) {
		body, err := json.Marshal(map[string]any{"policy": p})
		if err != nil {
			t.Fatal(err)
		}
		return ask("setIamPolicy", string(body), admin)
	}
	p := c.Policy()
	p.Version = 3
	p.Bindings = append(p.Bindings,
		google.Binding{Role: google.RoleDeveloper, Members: []string{"serviceAccount:reader@local-project.iam.gserviceaccount.com"}, Condition: &google.Condition{Title: "now", Expression: `request.time < timestamp("2100-01-01T00:00:00Z")`}},
		google.Binding{Role: google.RoleReader, Members: []string{"serviceAccount:reader@local-project.iam.gserviceaccount.com"}, Condition: &google.Condition{Title: "past", Expression: `request.time < timestamp("2001-01-01T00:00:00Z")`}},
	)
	var told []string
	c.OnRoles = func(principal string, roles []string) {
		if strings.HasPrefix(principal, "reader@") {
			told = roles
		}
	}
	status, answer := write(p)
	if status != http.StatusOK || at(answer, "version") != "3" {
		t.Fatalf("write: status %d, %v", status, answer)
	}
	// The condition that holds counts, the other does not.
	if want := []string{"roles/browser", google.RoleDeveloper}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	for _, x := range []struct {
		test    string
		change  func(*google.Policy)
		status  int
		message string
	}{
		{"concurrent change", func(p *google.Policy) { p.Etag = "BwYx" }, 409, "There were concurrent policy changes."},
		{"conditions dropped", func(p *google.Policy) { p.Version = 1 }, 400, "Specified policy version (1) cannot be less than the existing policy version (3)."},
		{"no such role", func(p *google.Policy) { p.Bindings[0].Role = "roles/nonsense" }, 400, "Role roles/nonsense is not supported for this resource."},
		{"no such account", func(p *google.Policy) {
			p.Bindings[0].Members = append(p.Bindings[0].Members, "serviceAccount:x@y.iam.gserviceaccount.com")
		}, 400, "Service account x@y.iam.gserviceaccount.com does not exist."},
		{"no kind", func(p *google.Policy) { p.Bindings[0].Members = append(p.Bindings[0].Members, "me") }, 400, "The member me is of an unknown type."},
		{"the same", func(*google.Policy) {}, 200, ""},
	} {
		p := c.Policy()
		x.change(&p)
		status, answer := write(p)
		if status != x.status || x.message != "" && !strings.HasPrefix(at(answer, "error", "message"), x.message) {
			t.Errorf("%s: status %d, %v, want %d and %q", x.test, status, answer, x.status, x.message)
		}
	}
	if status, answer := ask("getIamPolicy", "", reader); status != http.StatusOK || at(answer, "version") != "1" || !strings.Contains(at(answer, "bindings"), "_withcond_") {
		t.Errorf("read without version: status %d, %v", status, answer)
	}
	if status, answer := ask("setIamPolicy", `{"policy":{}}`, reader); status != http.StatusForbidden || !strings.HasPrefix(at(answer, "error", "message"), "Permission 'resourcemanager.projects.setIamPolicy' denied on resource '//cloudresourcemanager.googleapis.com/projects/local-project'") {
		t.Errorf("write without the role: status %d, %v", status, answer)
	}
	if status, answer := call(t, c.ResourceManager(), http.MethodGet, "/v1/projects/local-project", reader, ""); status != http.StatusOK || at(answer, "projectNumber") != number {
		t.Errorf("project v1: status %d, %v", status, answer)
	}
	if status, answer := call(t, c.ResourceManager(), http.MethodGet, "/v3/projects/local-project", reader, ""); status != http.StatusOK || at(answer, "name") != "projects/"+number {
		t.Errorf("project v3: status %d, %v", status, answer)
	}
	if status, _ := call(t, c.ResourceManager(), http.MethodGet, "/v1/projects/other-project", reader, ""); status != http.StatusForbidden {
		t.Errorf("other project: status %d", status)
	}
}

func TestFleet(t *testing.T) {
	t.Parallel()
	c, _ := newCloud(t)
	c.AddMembership(google.Membership{Name: "one", Location: "global", Cluster: "a", ClusterLocation: "europe-west6-a"})
	c.AddMembership(google.Membership{Name: "two", Location: "europe-west6", Cluster: "b", ClusterLocation: "europe-west6-a"})
	viewer, editor := token(t, c, "viewer", google.RoleHubViewer), token(t, c, "editor", google.RoleGatewayEditor)
	const link = "%2F%2Fcontainer.googleapis.com%2Fprojects%2Flocal-project%2Flocations%2Feurope-west6-a%2Fclusters%2Fb"
	for _, x := range []struct {
		test, path, token string
		status            int
		want              string
	}{
		{"everywhere", "locations/-/memberships", viewer, 200, "one two"},
		{"one location", "locations/europe-west6/memberships", viewer, 200, "two"},
		{"of a cluster", "locations/-/memberships?filter=endpoint.gkeCluster.resourceLink%3D%22" + link + "%22", viewer, 200, "two"},
		{"other filter", "locations/-/memberships?filter=name%3Dx", viewer, 400, "invalid list filter"},
		{"may not list", "locations/-/memberships", editor, 403, "Permission 'gkehub.memberships.list' denied on 'projects/local-project/locations/-/memberships'"},
		{"may get", "locations/global/memberships/one", editor, 200, ""},
		{"not there", "locations/global/memberships/two", viewer, 404, "Resource 'projects/local-project/locations/global/memberships/two' was not found"},
	} {
		status, answer := call(t, c.Hub(), http.MethodGet, "/v1/projects/local-project/"+x.path, x.token, "")
		got := at(answer, "error", "message")
		if list, ok := answer["resources"].([]any); ok {
			var names []string
			for _, m := range list {
				name, _ := m.(map[string]any)["name"].(string)
				names = append(names, name[strings.LastIndex(name, "/")+1:])
			}
			got = strings.Join(names, " ")
		}
		if status != x.status || x.want != "" && !strings.HasPrefix(got, x.want) {
			t.Errorf("%s: status %d, %q, want %d and %q", x.test, status, got, x.status, x.want)
		}
	}
}

// TestDoors is about what stands before a cluster's API server.
func TestDoors(t *testing.T) {
	t.Parallel()
	c, _ := newCloud(t)
	c.AddMembership(google.Membership{Name: "one", Location: "global", Cluster: "a", ClusterLocation: "europe-west6-a"})
	behind := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"path": r.URL.Path, "user": r.Header.Get("Impersonate-User"), "authorization": r.Header.Get("Authorization")})
	})
	editor, reader, developer := token(t, c, "editor", google.RoleGatewayEditor), token(t, c, "reader", google.RoleGatewayReader), token(t, c, "developer", google.RoleDeveloper)
	gateway := c.Gateway(behind)
	const member = "/v1/projects/123456789012/locations/global/gkeMemberships/one"
	for _, x := range []struct {
		test, method, path, token string
		status                    int
		message                   string
	}{
		{"editor writes", http.MethodPatch, member + "/apis/apps/v1", editor, 200, ""},
		{"reader writes", http.MethodPatch, member + "/apis/apps/v1", reader, 403, "Permission 'gkehub.gateway.patch' denied on resource '//gkehub.googleapis.com/projects/123456789012/locations/global/memberships/one'"},
		{"developer reads", http.MethodGet, member + "/version", developer, 403, "Permission 'gkehub.gateway.get' denied"},
		{"project by its ID", http.MethodGet, strings.Replace(member, number, project, 1) + "/version", editor, 403, "Permission 'gkehub.gateway.get' denied"},
		{"no such member", http.MethodGet, strings.Replace(member, "one", "two", 1) + "/version", editor, 404, "Requested entity was not found."},
		{"nobody", http.MethodGet, member + "/version", "", 401, "Request had invalid authentication credentials."},
	} {
		status, answer := call(t, gateway, x.method, x.path, x.token, "")
		if status != x.status || x.message != "" && !strings.HasPrefix(at(answer, "error", "message"), x.message) {
			t.Errorf("%s: status %d, %v, want %d and %q", x.test, status, answer, x.status, x.message)
		}
		if status == http.StatusOK && (at(answer, "path") != "/apis/apps/v1" || at(answer, "user") != "editor@local-project.iam.gserviceaccount.com" || at(answer, "authorization") != "") {
			t.Errorf("%s: behind the gateway: %v", x.test, answer)
		}
	}
	cluster := google.Cluster{Name: "a", Location: "europe-west6-a"}
	outside := func(*http.Request) bool { return true }
	if status, answer := call(t, c.DNSEndpoint(cluster, outside, behind), http.MethodGet, "/version", developer, ""); status != http.StatusForbidden || !strings.HasPrefix(at(answer, "error", "message"), "External traffic is not allowed") {
		t.Errorf("closed DNS endpoint: status %d, %v", status, answer)
	}
	cluster.AllowExternal = true
	if status, _ := call(t, c.DNSEndpoint(cluster, outside, behind), http.MethodGet, "/version", developer, ""); status != http.StatusOK {
		t.Errorf("open DNS endpoint: status %d", status)
	}
	if status, answer := call(t, c.DNSEndpoint(cluster, outside, behind), http.MethodGet, "/version", editor, ""); status != http.StatusForbidden || !strings.HasPrefix(at(answer, "error", "message"), "Permission 'container.clusters.connect' denied") {
		t.Errorf("DNS endpoint without the permission: status %d, %v", status, answer)
	}
}
