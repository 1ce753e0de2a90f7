package credentials_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/google"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/runner"
)

// TestEndpoints deploys to each sort of cluster, with what each takes, and shows
// each refusal exactly as a user sees it.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	roles := []string{google.RoleDeveloper, google.RoleReader}
	gateway, hub := append(roles[:2:2], google.RoleGatewayEditor), append(roles[:2:2], google.RoleHubViewer)
	cases := []struct {
		name, cluster string
		with          map[string]string
		roles         []string
		inside        bool   // the client is in the cluster's network
		host          string // asked for the cluster's objects; "": it is refused
	}{
		{"Autopilot", localcloud.AutopilotCluster, map[string]string{"zone": "europe-west6"}, roles, false, "192.0.2.17"},
		{"reconciling", localcloud.UpgradingCluster, nil, roles, false, "192.0.2.18"},
		{"DNS endpoint alone", localcloud.DNSCluster, nil, roles, false, "gke-0a1b2c3d4e0c.europe-west6-a.gke.goog"},
		{"internal from inside", localcloud.PrivateCluster, nil, roles, true, "10.172.0.13"},
		{"authorised networks from inside", localcloud.FencedCluster, nil, roles, true, "192.0.2.15"},
		{"regional member, looked up", localcloud.FleetCluster, map[string]string{"endpoint": "connect-gateway"}, append(gateway, google.RoleHubViewer), false, "europe-west6-connectgateway.googleapis.com"},
		{"regional member, by its full name", localcloud.FleetCluster, map[string]string{"endpoint": "connect-gateway", "fleet_membership": "projects/123456789012/locations/europe-west6/memberships/fleet-member"}, gateway, false, "europe-west6-connectgateway.googleapis.com"},
		{"global member, known to GKE", localcloud.OpenCluster, map[string]string{"endpoint": "connect-gateway"}, gateway, false, "connectgateway.googleapis.com"},

		{"internal from outside", localcloud.PrivateCluster, nil, roles, false, ""},
		{"internal from outside, member of a fleet", localcloud.OpenCluster, map[string]string{"endpoint": "internal"}, roles, false, ""},
		{"authorised networks from outside", localcloud.FencedCluster, nil, roles, false, ""},
		{"nobody listens", localcloud.RefusingCluster, nil, roles, false, ""},
		{"DNS endpoint closed", localcloud.Cluster, map[string]string{"endpoint": "dns"}, roles, false, ""},
		{"public without addresses", localcloud.DNSCluster, map[string]string{"endpoint": "public"}, roles, false, ""},
		{"gateway without a fleet", localcloud.Cluster, map[string]string{"endpoint": "connect-gateway"}, append(gateway, google.RoleHubViewer), false, ""},
		{"gateway without the gateway's role", localcloud.OpenCluster, map[string]string{"endpoint": "connect-gateway"}, hub, false, ""},
		{"member without the hub's role", localcloud.FleetCluster, map[string]string{"endpoint": "connect-gateway"}, gateway, false, ""},
		{"member of another cluster", localcloud.FleetCluster, map[string]string{"endpoint": "connect-gateway", "fleet_membership": localcloud.OpenCluster}, append(gateway, google.RoleHubViewer), false, ""},
		{"provisioning", "coming-cluster", nil, roles, false, ""},
		{"stopping", "leaving-cluster", nil, roles, false, ""},
		{"error", "broken-cluster", nil, roles, false, ""},
	}
	places, emails, results := make([]*cloudtest.Test, len(cases)), make([]string, len(cases)), make([]*runner.Result, len(cases))
	var running sync.WaitGroup
	for i, c := range cases {
		x := place(t, nil)
		if c.inside {
			x.Cloud.Admit(x.Client)
		}
		email, key := account(x, unique(x, "endpoint"), c.roles...)
		s := x.Step(x.SHA(0), join(map[string]string{"credentials_json": key, "cluster_name": c.cluster}, c.with))
		places[i], emails[i] = x, email
		// All at once: those that reach nobody wait for it most of the time.
		running.Go(func() {
			var err error
			if results[i], err = s.Run(x.Context()); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		})
	}
	running.Wait()
	said := make([]string, len(cases))
	t.Cleanup(func() { golden(t, "endpoints.golden", strings.Join(said, "")) }) // the parts are done by then
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x, r := *places[i], results[i]
			x.T = t
			t.Logf("exit %d after %s\n%s", r.ExitCode, r.Duration, r.Log)
			if c.host != "" {
				deployed(&x, r)
				asked(&x, c.host)
				return
			}
			if r.ExitCode != 1 || r.Outputs["outcome"] != "failed" {
				t.Errorf("exit code %d, outcome %q, want 1 and failed", r.ExitCode, r.Outputs["outcome"])
			}
			for _, e := range x.Requests() {
				if x.IsWrite(e) {
					t.Errorf("%s %s%s was asked", e.Method, e.Host, e.Path)
				}
			}
			said[i] = fmt.Sprintf("%s:\n  %s\n", c.name, strings.NewReplacer("\n", "\n  ", emails[i], "EMAIL", x.Namespace, "NAMESPACE").Replace(message(t, r)))
		})
	}
}
