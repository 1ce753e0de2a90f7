package cluster

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"

	"github.com/org/deploy-model-action/pkg/google"
)

// Parts of the GKE API's Cluster message.
const (
	dnsOpen   = `"dnsEndpointConfig":{"endpoint":"uid.europe-west6.gke.goog","allowExternalTraffic":true}`
	dnsClosed = `"dnsEndpointConfig":{"endpoint":"uid.europe-west6.gke.goog"}`
	ipBoth    = `"ipEndpointsConfig":{"enabled":true,"enablePublicEndpoint":true,"publicEndpoint":"203.0.113.200","privateEndpoint":"10.0.0.2"}`
	ipFenced  = `"ipEndpointsConfig":{"enabled":true,"enablePublicEndpoint":true,"publicEndpoint":"203.0.113.200","authorizedNetworksConfig":{"enabled":true}}`
	ipPrivate = `"ipEndpointsConfig":{"enabled":true,"privateEndpoint":"10.0.0.2"}`
	ipOff     = `"ipEndpointsConfig":{"authorizedNetworksConfig":{}}`
	inFleet   = `,"fleet":{"project":"123456789012","membership":"//gkehub.googleapis.com/projects/123456789012/locations/europe-west6/memberships/model","preRegistered":true}`
	link      = `//container.googleapis.com/projects/my-project/locations/europe-west6-a/clusters/model`
)

func described(status, endpoints, more string) http.HandlerFunc {
	return describedWith(public, status, endpoints, more)
}

func describedWith(ca *certificates, status, endpoints, more string) http.HandlerFunc {
	return answer(http.StatusOK, fmt.Sprintf(`{"name":"model","location":"europe-west6-a","status":%q,"currentMasterVersion":"1.33.4-gke.100",
		"endpoint":"203.0.113.200","masterAuth":{"clusterCaCertificate":%q},"controlPlaneEndpointsConfig":{%s}%s}`,
		status, base64.StdEncoding.EncodeToString(ca.pem), endpoints, more))
}

func members(list ...string) http.HandlerFunc {
	var all []string
	for _, m := range list {
		all = append(all, member1(m, link))
	}
	return answer(http.StatusOK, `{"resources":[`+strings.Join(all, ",")+`]}`)
}

func member1(name, link string) string {
	return fmt.Sprintf(`{"name":%q,"endpoint":{"gkeCluster":{"resourceLink":%q},"googleManaged":true},"state":{"code":"READY"}}`, name, link)
}

var projectNumber = answer(http.StatusOK, `{"name":"projects/123456789012","projectId":"my-project","state":"ACTIVE"}`)

// TestFind goes through what clusters offer and users ask for.
func TestFind(t *testing.T) {
	t.Parallel()
	const (
		dnsHost   = "https://uid.europe-west6.gke.goog"
		ipHost    = "https://203.0.113.200"
		inside    = "https://10.0.0.2"
		regional  = "https://europe-west6-connectgateway.googleapis.com/v1/projects/123456789012/locations/europe-west6/gkeMemberships/model"
		worldwide = "https://connectgateway.googleapis.com/v1/projects/123456789012/locations/global/"
		hubList   = "GET gkehub.googleapis.com/v1/projects/my-project/locations/-/memberships"
		askNumber = "GET cloudresourcemanager.googleapis.com/v3/projects/my-project"
	)
	cases := []struct {
		name       string
		endpoint   string
		membership string
		endpoints  string
		more       string
		hub        http.HandlerFunc

		kind   string
		host   string
		others string
		asked  []string // beyond the cluster itself
	}{
		{name: "everything", endpoints: dnsOpen + "," + ipBoth, more: inFleet, kind: KindDNS, host: dnsHost, others: "public internal connect-gateway"},
		{name: "DNS endpoint closed", endpoints: dnsClosed + "," + ipBoth, kind: KindPublic, host: ipHost, others: "internal"},
		{name: "no DNS endpoint", endpoints: ipBoth, kind: KindPublic, host: ipHost, others: "internal"},
		{name: "authorized networks", endpoints: dnsClosed + "," + ipFenced, kind: KindPublic, host: ipHost},
		{name: "authorized networks, older form", endpoints: dnsClosed + "," + ipBoth, more: `,"masterAuthorizedNetworksConfig":{"enabled":true}`, kind: KindPublic, host: ipHost, others: "internal"},
		{name: "private", endpoints: dnsClosed + "," + ipPrivate, kind: KindInternal, host: inside},
		{name: "private, in a fleet", endpoints: dnsClosed + "," + ipPrivate, more: inFleet, kind: KindInternal, host: inside, others: "connect-gateway"},
		{name: "described in the older form", more: `,"privateClusterConfig":{"privateEndpoint":"10.0.0.2","publicEndpoint":"203.0.113.200"}`, kind: KindPublic, host: ipHost, others: "internal"},
		{name: "private, in the older form", more: `,"privateClusterConfig":{"enablePrivateEndpoint":true,"privateEndpoint":"10.0.0.2","publicEndpoint":"203.0.113.200"}`, kind: KindInternal, host: inside},
		{name: "only the first field of all", kind: KindPublic, host: ipHost},
		{name: "public address is told elsewhere", endpoints: `"ipEndpointsConfig":{"enabled":true,"enablePublicEndpoint":true}`, kind: KindPublic, host: ipHost},
		{name: "IPv6", endpoints: `"ipEndpointsConfig":{"enabled":true,"enablePublicEndpoint":true,"publicEndpoint":"2001:db8::1"}`, kind: KindPublic, host: "https://[2001:db8::1]"},
		{name: "addresses that are off", endpoints: `"ipEndpointsConfig":{"enablePublicEndpoint":true,"publicEndpoint":"203.0.113.200","privateEndpoint":"10.0.0.2"}`, more: inFleet, kind: KindGateway, host: regional},
		{name: "nothing but a fleet", endpoints: dnsClosed + "," + ipOff, more: inFleet, kind: KindGateway, host: regional},
		{
			name: "nothing but a fleet that has to be looked up", endpoints: dnsClosed + "," + ipOff, hub: members("projects/my-project/locations/europe-west6/memberships/model"),
			kind: KindGateway, host: regional, asked: []string{hubList, askNumber},
		},
		{name: "Autopilot", endpoints: dnsOpen + "," + ipBoth, more: `,"autopilot":{"enabled":true}`, kind: KindDNS, host: dnsHost, others: "public internal"},

		{name: "dns", endpoint: KindDNS, endpoints: dnsOpen + "," + ipBoth, kind: KindDNS, host: dnsHost, others: "public internal"},
		{name: "public", endpoint: KindPublic, endpoints: dnsOpen + "," + ipBoth, kind: KindPublic, host: ipHost, others: "dns internal"},
		{name: "internal", endpoint: KindInternal, endpoints: dnsOpen + "," + ipBoth, kind: KindInternal, host: inside, others: "dns public"},
		{name: "gateway", endpoint: KindGateway, endpoints: dnsOpen + "," + ipBoth, more: inFleet, kind: KindGateway, host: regional, others: "dns public internal"},
		{
			name: "gateway, global membership", endpoint: KindGateway, endpoints: ipPrivate, hub: members("projects/my-project/locations/global/memberships/model"),
			kind: KindGateway, host: worldwide + "gkeMemberships/model", others: "internal", asked: []string{hubList, askNumber},
		},
		{
			name: "gateway, the project's number in the membership", endpoint: KindGateway, endpoints: ipPrivate, hub: members("projects/123456789012/locations/global/memberships/model"),
			kind: KindGateway, host: worldwide + "gkeMemberships/model", others: "internal", asked: []string{hubList},
		},
		{
			name: "gateway, registered as any Kubernetes cluster", endpoint: KindGateway, membership: "projects/123456789012/locations/global/memberships/by-hand", endpoints: ipPrivate,
			hub:  answer(http.StatusOK, `{"name":"projects/123456789012/locations/global/memberships/by-hand","endpoint":{"kubernetesMetadata":{}}}`),
			kind: KindGateway, host: worldwide + "memberships/by-hand", others: "internal", asked: []string{"GET gkehub.googleapis.com/v1/projects/123456789012/locations/global/memberships/by-hand"},
		},
		{
			name: "gateway, full name in another project", endpoint: KindGateway, membership: "projects/fleet-project/locations/global/gkeMemberships/model", endpoints: ipPrivate,
			hub:  answer(http.StatusOK, member1("projects/123456789012/locations/global/memberships/model", link)),
			kind: KindGateway, host: worldwide + "gkeMemberships/model", others: "internal", asked: []string{"GET gkehub.googleapis.com/v1/projects/fleet-project/locations/global/memberships/model"},
		},
		{name: "gateway, the name that the cluster has anyway", endpoint: KindGateway, membership: "model", endpoints: ipPrivate, more: inFleet, kind: KindGateway, host: regional, others: "internal"},
		{
			name: "gateway, short name, twice, of which one is the cluster's", endpoint: KindGateway, membership: "model", endpoints: ipPrivate,
			hub: answer(http.StatusOK, `{"resources":[`+member1("projects/my-project/locations/us-central1/memberships/model", strings.ReplaceAll(link, "europe-west6-a", "us-central1"))+
				","+member1("projects/my-project/locations/europe-west6/memberships/model", link)+`]}`),
			kind: KindGateway, host: regional, others: "internal", asked: []string{hubList, askNumber},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := newAPIs(t)
			a.handlers[hostContainer] = onlyBearer(t, described("RUNNING", c.endpoints, c.more))
			a.handlers[hostProjects] = onlyBearer(t, projectNumber)
			if c.hub != nil {
				a.handlers[hostHub] = onlyBearer(t, c.hub)
			}
			o := a.options(c.endpoint)
			o.FleetMembership = c.membership
			got, err := Find(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			want := append([]string{"GET container.googleapis.com/v1/projects/my-project/locations/europe-west6-a/clusters/model"}, c.asked...)
			if diff := cmp.Diff(want, a.asked()); diff != "" {
				t.Errorf("requests (-want +got)\n%s", diff)
			}
			pinned := c.kind == KindPublic || c.kind == KindInternal
			if got.Kind != c.kind || got.Host != c.host || strings.Join(got.others, " ") != c.others || (string(got.CA) == string(public.pem)) != pinned || len(got.CA) > 0 != pinned {
				t.Errorf("Kind = %q, Host = %q, others = %q, %d bytes of CA; want %q, %q, %q, pinned = %t", got.Kind, got.Host, got.others, len(got.CA), c.kind, c.host, c.others, pinned)
			}
			if got.Status != "RUNNING" || got.Version != "1.33.4-gke.100" || got.Autopilot != strings.Contains(c.more, "autopilot") {
				t.Errorf("cluster = %+v", got)
			}
		})
	}
}

// TestWhy shows each sentence about the choice.
func TestWhy(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for _, c := range []struct{ name, endpoint, status, endpoints, more string }{
		{"DNS", KindAuto, "RUNNING", dnsOpen, ""},
		{"public", KindAuto, "RUNNING", dnsClosed + "," + ipBoth, ""},
		{"public without DNS", KindAuto, "RUNNING", ipBoth, ""},
		{"public for some", KindAuto, "RUNNING", dnsClosed + "," + ipFenced, ""},
		{"internal", KindAuto, "RUNNING", dnsClosed + "," + ipPrivate, ""},
		{"gateway", KindAuto, "RUNNING", dnsClosed + "," + ipOff, inFleet},
		{"asked for DNS", KindDNS, "RUNNING", dnsOpen, ""},
		{"asked for public", KindPublic, "RUNNING", ipFenced, ""},
		{"asked for internal", KindInternal, "RUNNING", ipPrivate, ""},
		{"asked for gateway", KindGateway, "RUNNING", dnsOpen, inFleet},
		{"reconciling", KindAuto, "RECONCILING", dnsOpen, ""},
		{"degraded", KindAuto, "DEGRADED", dnsOpen, ""},
		{"degraded, with the reason", KindAuto, "DEGRADED", dnsOpen, `,"conditions":[{"code":"GKE_SERVICE_ACCOUNT_DELETED","message":"The service account was deleted.\n::error::"}]`},
		{"unknown status", KindAuto, "STATUS_UNSPECIFIED", dnsOpen, ""},
	} {
		a := newAPIs(t)
		a.handlers[hostContainer] = described(c.status, c.endpoints, c.more)
		got, err := Find(t.Context(), a.options(c.endpoint))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if strings.ContainsAny(got.Why, "\r\n") || got.Status != c.status {
			t.Errorf("%s: %q, status %q", c.name, got.Why, got.Status)
		}
		text.WriteString(c.name + ":\n" + indent(got.Why))
	}
	golden(t, "why.golden", text.String())
}

// TestFindRefused shows each failure of Find as a user sees it.
func TestFindRefused(t *testing.T) {
	t.Parallel()
	const denied = `Required "container.clusters.get" permission(s) for "projects/my-project/locations/europe-west6-a/clusters/model".`
	listed := func(clusters string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/locations/-/clusters") {
				answer(http.StatusOK, `{"clusters":[`+clusters+`]}`)(w, r)
				return
			}
			refusal(404, "NOT_FOUND", "Not found: projects/my-project/locations/europe-west6-a/clusters/model.")(w, r)
		}
	}
	hub := func(h http.HandlerFunc) map[string]http.HandlerFunc {
		return map[string]http.HandlerFunc{hostContainer: described("RUNNING", dnsClosed+","+ipPrivate, ""), hostHub: h}
	}
	gke := func(h http.HandlerFunc) map[string]http.HandlerFunc {
		return map[string]http.HandlerFunc{hostContainer: h}
	}
	gateway := func(o *Options) { o.Endpoint = KindGateway }
	named := func(name string) func(*Options) {
		return func(o *Options) { o.Endpoint, o.FleetMembership = KindGateway, name }
	}
	kind := func(kind string) func(*Options) { return func(o *Options) { o.Endpoint = kind } }
	closed := described("RUNNING", dnsClosed+","+ipOff, "")
	var text strings.Builder
	for _, c := range []struct {
		name   string
		hosts  map[string]http.HandlerFunc
		change func(*Options)
		want   any // the type that callers look for; nil: none
	}{
		{"no such cluster", gke(listed(`{"name":"model","location":"us-central1"},{"name":"models","location":"europe-west6-a"}`)), nil, new(*NotFoundError)},
		{"no such cluster, but others", gke(listed(`{"name":"training","location":"us-central1"},{"name":"models","location":"europe-west6-a"},{"name":"a","location":"l"},{"name":"b","location":"l"},{"name":"c","location":"l"},{"name":"d","location":"l"},{"name":"e","location":"l"}`)), nil, new(*NotFoundError)},
		{"no clusters at all", gke(listed(``)), nil, new(*NotFoundError)},
		{"no such cluster, and no list", gke(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/-/clusters") {
				refusal(403, "PERMISSION_DENIED", `Required "container.clusters.list" permission(s) for "projects/my-project".`)(w, r)
				return
			}
			refusal(404, "NOT_FOUND", "Not found: projects/my-project/locations/europe-west6-a/clusters/model.")(w, r)
		}), nil, new(*NotFoundError)},
		{"no such zone", gke(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/-/clusters") {
				listed(`{"name":"model","location":"europe-west6"}`)(w, r)
				return
			}
			refusal(400, "INVALID_ARGUMENT", `Location "europe-west6-a" does not exist.`)(w, r)
		}), nil, new(*NotFoundError)},
		{"no right", gke(refusal(403, "PERMISSION_DENIED", denied)), nil, new(*ForbiddenError)},
		{"no right, with a federated principal", gke(refusal(403, "PERMISSION_DENIED", denied)), func(o *Options) {
			o.Principal = "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/github/subject/repo:acme/model:ref:refs/heads/main"
		}, new(*ForbiddenError)},
		{"no right, of nobody known", gke(refusal(403, "PERMISSION_DENIED", denied)), func(o *Options) { o.Principal = "" }, new(*ForbiddenError)},
		{"no right, but another one than was expected", gke(refusal(403, "PERMISSION_DENIED", `Required "container.clusters.getCredentials" permission(s) for "projects/my-project".`)), nil, new(*ForbiddenError)},
		{"no such project", gke(refusal(403, "PERMISSION_DENIED", "Permission denied on resource project my-project (or it may not exist).")), nil, new(*ForbiddenError)},
		{"API disabled", gke(refusal(403, "PERMISSION_DENIED", "Kubernetes Engine API has not been used in project 123456789012 before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/container.googleapis.com/overview?project=123456789012 then retry.", disabledInfo(hostContainer))), nil, new(*google.RefusedError)},
		{"API disabled where the login's requests count", gke(refusal(403, "PERMISSION_DENIED", "Kubernetes Engine API has not been used in project 764086051850 before or it is disabled.", reasonInfo("SERVICE_DISABLED", "764086051850"))), nil, new(*google.RefusedError)},
		{"token without the scope", gke(refusal(403, "PERMISSION_DENIED", "Request had insufficient authentication scopes.", reasonInfo("ACCESS_TOKEN_SCOPE_INSUFFICIENT", ""))), nil, new(*google.RefusedError)},
		{"billing is off", gke(refusal(403, "PERMISSION_DENIED", "This API method requires billing to be enabled.", reasonInfo("BILLING_DISABLED", "my-project"))), nil, new(*google.RefusedError)},
		{"project suspended", gke(refusal(403, "PERMISSION_DENIED", "Permission denied: Consumer 'project:my-project' has been suspended.", reasonInfo("CONSUMER_SUSPENDED", "my-project"))), nil, new(*google.RefusedError)},
		{"organization restricted", gke(refusal(403, "PERMISSION_DENIED", "Access denied by organization restriction.", reasonInfo("ORG_RESTRICTION_VIOLATION", "my-project"))), nil, new(*google.RefusedError)},
		{"a reason that is not known here", gke(refusal(403, "PERMISSION_DENIED", "The moon is in the way.", reasonInfo("LUNAR_ECLIPSE", "my-project"))), nil, new(*google.RefusedError)},
		{"service perimeter", gke(refusal(403, "PERMISSION_DENIED", "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: abc")), nil, nil},
		{"token refused", gke(refusal(401, "UNAUTHENTICATED", "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.")), nil, nil},
		{"quota", gke(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "3600")
			refusal(429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Read requests'.")(w, r)
		}), nil, nil},
		{"out of order", gke(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "3600")
			refusal(503, "UNAVAILABLE", "The service is currently unavailable.\n")(w, r)
		}), nil, nil},
		{"refused otherwise", gke(refusal(400, "INVALID_ARGUMENT", "Request contains an invalid argument.\n::error::")), nil, nil},
		{"an answer without an end", gke(answer(200, `{"name":"`+strings.Repeat("x", maxReply)+`"}`)), nil, nil},
		{"portal", gke(answer(200, `<html>Please log in</html>`)), nil, nil},
		{"redirect", gke(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://portal.example.com/", http.StatusFound)
		}), nil, nil},
		{"no token", nil, func(o *Options) { o.Tokens = failing{errors.New("credentials: the key was deleted: make another")} }, nil},
		{"provisioning", gke(described("PROVISIONING", dnsOpen, "")), nil, new(*StatusError)},
		{"stopping", gke(described("STOPPING", dnsOpen, "")), nil, new(*StatusError)},
		{"in error", gke(described("ERROR", dnsOpen, `,"statusMessage":"Not all instances running in IGM.\nTry later."`)), nil, new(*StatusError)},

		{"dns is not offered", gke(described("RUNNING", dnsClosed+","+ipBoth, inFleet)), kind(KindDNS), new(*EndpointError)},
		{"public is not offered", gke(described("RUNNING", dnsOpen+","+ipPrivate, "")), kind(KindPublic), new(*EndpointError)},
		{"internal is not offered", gke(described("RUNNING", dnsOpen+","+ipFenced, "")), kind(KindInternal), new(*EndpointError)},
		{"internal is not offered, nor anything", gke(closed), kind(KindInternal), new(*EndpointError)},
		{"no kind", nil, kind("private"), new(*EndpointError)},
		{"membership without a fleet", nil, func(o *Options) { o.Endpoint, o.FleetMembership = KindDNS, "model" }, new(*EndpointError)},
		{"membership's name is none", nil, named("projects/p/locations/evil.example.com/memberships/model"), new(*EndpointError)},
		{"no CA", gke(answer(200, `{"name":"model","status":"RUNNING","endpoint":"203.0.113.200"}`)), nil, nil},
		{"CA is not base64", gke(answer(200, `{"name":"model","status":"RUNNING","endpoint":"203.0.113.200","masterAuth":{"clusterCaCertificate":"%"}}`)), nil, nil},
		{"CA is something else", gke(answer(200, `{"name":"model","status":"RUNNING","endpoint":"203.0.113.200","masterAuth":{"clusterCaCertificate":"aGVsbG8="}}`)), nil, nil},

		{"in no fleet", hub(members()), gateway, new(*EndpointError)},
		{"in no fleet, and closed", map[string]http.HandlerFunc{hostContainer: closed, hostHub: members()}, nil, new(*EndpointError)},
		{"closed, and the hub is disabled", map[string]http.HandlerFunc{hostContainer: closed, hostHub: refusal(403, "PERMISSION_DENIED", "GKE Hub API has not been used in project 123456789012 before or it is disabled.", disabledInfo(hostHub))}, nil, new(*google.RefusedError)},
		{"two memberships", hub(members("projects/my-project/locations/global/memberships/a", "projects/my-project/locations/europe-west6/memberships/b")), gateway, new(*EndpointError)},
		{"regions are down", hub(answer(200, `{"unreachable":["projects/my-project/locations/europe-west6"]}`)), gateway, nil},
		{"hub: no right", hub(refusal(403, "PERMISSION_DENIED", "Permission 'gkehub.memberships.list' denied on 'projects/my-project/locations/-/memberships'")), gateway, new(*ForbiddenError)},
		{"hub: disabled", hub(refusal(403, "PERMISSION_DENIED", "GKE Hub API has not been used in project 123456789012 before or it is disabled.", disabledInfo(hostHub))), gateway, new(*google.RefusedError)},
		{"hub: a name that is none", hub(members("projects/p/locations/evil.example.com/memberships/model")), gateway, nil},
		{"membership of another cluster", hub(answer(200, member1("projects/my-project/locations/global/memberships/other", "//container.googleapis.com/projects/my-project/locations/us-central1/clusters/other"))), named("projects/my-project/locations/global/memberships/other"), new(*EndpointError)},
		{"membership does not exist", hub(refusal(404, "NOT_FOUND", "Resource 'projects/my-project/locations/global/memberships/gone' was not found")), named("projects/my-project/locations/global/memberships/gone"), new(*EndpointError)},
		{"membership: no right", hub(refusal(403, "PERMISSION_DENIED", "Permission 'gkehub.memberships.get' denied on 'projects/fleet-project/locations/global/memberships/m'")), named("projects/fleet-project/locations/global/memberships/m"), new(*ForbiddenError)},
		{"short membership does not exist", hub(members("projects/my-project/locations/global/memberships/model")), named("odel"), new(*EndpointError)},
		{"short membership is there twice", hub(answer(200, `{"resources":[{"name":"projects/my-project/locations/global/memberships/m"},{"name":"projects/my-project/locations/europe-west6/memberships/m"}]}`)), named("m"), new(*EndpointError)},
		{"project: no right", map[string]http.HandlerFunc{
			hostContainer: described("RUNNING", ipPrivate, ""), hostHub: members("projects/my-project/locations/global/memberships/model"),
			hostProjects: refusal(403, "PERMISSION_DENIED", "The caller does not have permission"),
		}, gateway, new(*ForbiddenError)},
		{"project: disabled", map[string]http.HandlerFunc{
			hostContainer: described("RUNNING", ipPrivate, ""), hostHub: members("projects/my-project/locations/global/memberships/model"),
			hostProjects: refusal(403, "PERMISSION_DENIED", "Cloud Resource Manager API has not been used in project 123456789012 before or it is disabled.", disabledInfo(hostProjects)),
		}, gateway, new(*google.RefusedError)},
		{"project without a number", map[string]http.HandlerFunc{
			hostContainer: described("RUNNING", ipPrivate, ""), hostHub: members("projects/my-project/locations/global/memberships/model"),
			hostProjects: answer(200, `{"name":"projects/../x"}`),
		}, gateway, nil},
	} {
		a := newAPIs(t)
		if c.hosts != nil {
			a.handlers = c.hosts
		}
		o := a.options("")
		if c.change != nil {
			c.change(&o)
		}
		got, err := Find(t.Context(), o)
		if err == nil || got != nil {
			t.Errorf("%s: Find = %v, %v, want an error", c.name, got, err)
			continue
		}
		if c.want != nil && !errors.As(err, c.want) {
			t.Errorf("%s: %T, want %T", c.name, err, c.want)
		}
		if strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%s: several lines: %q", c.name, err)
		}
		text.WriteString(c.name + ":\n" + indent(err.Error()))
	}
	golden(t, "find.golden", text.String())
}

// failing is a source without tokens.
type failing struct{ err error }

func (f failing) Token() (*oauth2.Token, error) { return nil, f.err }

// TestQuiet looks for the contents of requests where Google's clients write
// them when the environment asks for it.
func TestQuiet(t *testing.T) {
	t.Setenv("GOOGLE_SDK_GO_LOGGING_LEVEL", "debug")
	a := newAPIs(t)
	a.handlers[hostContainer] = described("RUNNING", dnsOpen, "")
	var err error
	out := catch(t, &os.Stdout, func() { _, err = Find(t.Context(), a.options("")) })
	out += catch(t, &os.Stderr, func() { _, err = Find(t.Context(), a.options("")) })
	if err != nil || out != "" {
		t.Errorf("Find: %v; was written:\n%s", err, out)
	}
}

// TestDefaultTransport is the way of a runner behind a proxy.
func TestDefaultTransport(t *testing.T) {
	at(t, hostContainer, public, onlyBearer(t, described("RUNNING", dnsOpen, "")))
	o := (&apis{}).options("")
	o.Transport = nil
	if got, err := Find(t.Context(), o); err != nil || got.Kind != KindDNS {
		t.Errorf("Find = %v, %v", got, err)
	}
}
