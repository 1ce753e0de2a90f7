package credentials_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/container"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/runner"
)

// endpoints are the kinds, and the host that is asked for the cluster's objects.
var endpoints = []struct{ kind, host string }{
	{"public", "192.0.2.11"},
	{"internal", "10.172.0.11"},
	{"dns", "gke-0a1b2c3d4e0b.europe-west6-a.gke.goog"},
	{"connect-gateway", "connectgateway.googleapis.com"},
}

// step deploys the place with the way's credentials, and with no others.
func step(x *cloudtest.Test, w way, with map[string]string) (runner.Step, []string) {
	x.Helper()
	inputs, env, principals := w.set(x, deployRoles)
	with = join(map[string]string{"credentials_json": ""}, inputs, with)
	s := x.Step(x.SHA(0), with)
	s.Env = join(s.Env, env)
	return s, principals
}

// TestTable deploys with each kind of credentials through each kind of endpoint.
func TestTable(t *testing.T) {
	t.Parallel()
	took := make([][]time.Duration, len(ways))
	t.Cleanup(func() { t.Logf("deployed with credentials × endpoint:\n%s", inTable(took)) }) // the parts are done by then
	for i, w := range ways {
		took[i] = make([]time.Duration, len(endpoints))
		for j, e := range endpoints {
			t.Run(w.name+"/"+e.kind, func(t *testing.T) {
				t.Parallel()
				x := place(t, nil)
				x.Cloud.Admit(x.Client)
				s, _ := step(x, w, map[string]string{"cluster_name": localcloud.OpenCluster, "endpoint": e.kind})
				r := x.Run(s)
				deployed(x, r)
				asked(x, e.host)
				took[i][j] = r.Duration
			})
		}
	}
}

// inTable shows how long each deploy took.
func inTable(took [][]time.Duration) string {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "seconds")
	for _, e := range endpoints {
		fmt.Fprintf(table, "\t%s", e.kind)
	}
	for i, w := range ways {
		fmt.Fprintf(table, "\n%s", w.name)
		for _, d := range took[i] {
			fmt.Fprintf(table, "\t%.1f", d.Seconds())
		}
	}
	_ = table.Flush()
	return b.String()
}

// deployed checks that a step deployed, and left no secret where people look.
func deployed(x *cloudtest.Test, r *runner.Result) {
	x.Helper()
	if r.ExitCode != 0 || r.Outputs["outcome"] != "deployed" {
		x.Errorf("exit code %d, outcome %q, want 0 and deployed: %+v", r.ExitCode, r.Outputs["outcome"], r.Annotations)
	}
	if len(r.Files) > 0 || len(r.Warnings) > 0 {
		x.Errorf("the action wrote %q; the runner warns %q", r.Files, r.Warnings)
	}
	if found := x.Leaks(r.Log + r.Summary + fmt.Sprint(r.Outputs)); len(found) > 0 {
		x.Errorf("secrets are shown: %q", found)
	}
}

// hosts that may be asked by a deploy, beside the cluster.
var hosts = []string{
	"oauth2.googleapis.com", "sts.googleapis.com", "iamcredentials.googleapis.com", "container.googleapis.com",
	"gkehub.googleapis.com", "cloudresourcemanager.googleapis.com", "pipelines.actions.githubusercontent.com", localcloud.Registry,
}

// asked checks which host the cluster was asked through, and that no strange one was.
func asked(x *cloudtest.Test, host string) {
	x.Helper()
	writes := 0
	for _, e := range x.Requests() {
		switch {
		case e.Host == host:
			if e.Method == http.MethodPatch {
				writes++
			}
		case !slices.Contains(hosts, e.Host):
			x.Errorf("%s %s%s was asked", e.Method, e.Host, e.Path)
		}
		if e.Status == 401 && e.Host != localcloud.Registry {
			x.Errorf("%s %s%s was refused with 401", e.Method, e.Host, e.Path)
		}
	}
	if writes == 0 {
		x.Errorf("nothing was written through %s", host)
	}
}

// TestContainer deploys with the files that auth leaves as the runner runs the
// action: in its image, with the files' paths rewritten.
func TestContainer(t *testing.T) {
	t.Parallel()
	if err := container.Available(t.Context()); err != nil {
		t.Skipf("no Docker engine, so the image is not run: %v", err)
	}
	for _, w := range ways[1:4] {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			image, err := builtImage()
			if err != nil {
				t.Fatal(err)
			}
			x := place(t, nil)
			s, _ := step(x, w, nil)
			s.Image = image
			s.Env = join(s.Env, map[string]string{"SSL_CERT_FILE": "/local-ca.crt"})
			s.DockerArgs = []string{"--network", "host", "-v", x.Cloud.CAFile + ":/local-ca.crt:ro"}
			deployed(x, x.Run(s))
			asked(x, "192.0.2.10")
		})
	}
}

var builtImage = sync.OnceValues(func() (string, error) {
	return container.Build(context.Background(), cloudtest.Root(), os.Stderr)
})
