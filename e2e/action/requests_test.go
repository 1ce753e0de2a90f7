package action_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/proxy"
	"github.com/org/deploy-model-action/e2e/runner"
)

// TestRequests looks at whom a deploy talks to, and what it leaves behind.
func TestRequests(t *testing.T) {
	t.Parallel()
	x := seed(t, 1, map[string]string{"model.log": "loading"})
	first, again := x.Sub(t), x.Sub(t)
	first.Client, again.Client = x.Client+".first", x.Client+".again"
	first.Testdata()
	again.Testdata()
	inputs := map[string]string{"health_path": "/readyz"}

	for _, x := range []*cloudtest.Test{first, again} {
		s := x.Step(x.SHA(0), inputs)
		s.Env["TMPDIR"] = x.TempDir()
		r := x.Run(s)
		if r.ExitCode != 0 {
			t.Fatal("not deployed")
		}
		onlyKnownHosts(x, r)
		onlyKnownPaths(x)
		leavesNothing(x, r, s.Env["TMPDIR"])
	}
	// Two more than without health_path: where the Service leads, and the pods once
	// more after the model was asked.
	budget(first, 2, 3*2+12+2)
	budget(again, 2, 2*2+4)
}

// onlyKnownHosts wants nothing but the services that a deploy needs, and a token
// only where it belongs.
func onlyKnownHosts(x *cloudtest.Test, r *runner.Result) {
	x.Helper()
	api := "192.0.2.10"
	balancer := r.Outputs["external_ip"]
	authorized := map[string]bool{"container.googleapis.com": true, localcloud.Registry: true, api: true}
	known := map[string]bool{"oauth2.googleapis.com": true, balancer: true}
	seen := map[string]bool{}
	for _, e := range x.Requests() {
		seen[e.Host] = true
		switch {
		case !authorized[e.Host] && !known[e.Host]:
			x.Errorf("an unknown host was asked: %s %s%s", e.Method, e.Host, e.Path)
		case e.Authorization && !authorized[e.Host]:
			x.Errorf("%s was given an Authorization header: %s %s", e.Host, e.Method, e.Path)
		case e.Host == localcloud.Registry: // begins with a 401
		case e.Host == api && e.Method == http.MethodGet && e.Status == http.StatusNotFound: // what is there before?
		case e.Status >= http.StatusBadRequest:
			x.Errorf("refused: %s %s%s: %d", e.Method, e.Host, e.Path, e.Status)
		}
	}
	for _, host := range []string{"oauth2.googleapis.com", "container.googleapis.com", localcloud.Registry, api, balancer} {
		if !seen[host] {
			x.Errorf("%s was not asked", host)
		}
	}
}

// discovery are the paths by which clients find out what a server serves.
var discovery = regexp.MustCompile(`^/(api|apis|api/[^/]+|apis/[^/]+|apis/[^/]+/[^/]+|openapi/.*|version)$`)

// onlyKnownPaths wants no request beyond the namespace's own objects.
func onlyKnownPaths(x *cloudtest.Test) {
	x.Helper()
	namespace := "/namespaces/" + x.Namespace + "/"
	for _, e := range x.Requests() {
		path, _, _ := strings.Cut(e.Path, "?")
		switch {
		case !x.IsCluster(e):
		case discovery.MatchString(strings.TrimSuffix(path, "/")):
			x.Errorf("discovery: %s %s", e.Method, e.Path)
		case path == "/api/v1/nodes" && e.Method == http.MethodGet:
		case !strings.Contains(path, namespace):
			x.Errorf("outside the namespace: %s %s", e.Method, e.Path)
		}
	}
}

// budget bounds the requests to the API server. A watch is none of them: it is
// one connection that stands for all the requests that it spares.
func budget(x *cloudtest.Test, objects, most int) {
	x.Helper()
	var all []string
	for _, e := range x.Requests() {
		if x.IsCluster(e) {
			all = append(all, fmt.Sprintf("%s %s: %d", e.Method, e.Path, e.Status))
		}
	}
	x.Logf("%d objects: %d requests to the API server, watches included:\n%s", objects, len(all), strings.Join(all, "\n"))
	if len(all) > most {
		x.Errorf("%d requests to the API server for %d objects, want %d at most", len(all), objects, most)
	}
}

// leavesNothing wants no file, and no secret in what people and later steps read.
func leavesNothing(x *cloudtest.Test, r *runner.Result, temp string) {
	x.Helper()
	if len(r.Files) > 0 {
		x.Errorf("the action wrote to %q", r.Files)
	}
	if entries, err := os.ReadDir(temp); err != nil || len(entries) > 0 {
		x.Errorf("the action wrote to its temporary folder: %v %v", entries, err)
	}
	for place, text := range map[string]string{
		"the log": unmasked(r.Raw), "the log as users read it": r.Log, "the summary": r.Summary, "the outputs": fmt.Sprint(r.Outputs),
	} {
		if leaks := x.Leaks(text); len(leaks) > 0 {
			x.Errorf("%s holds %s", place, strings.Join(leaks, ", "))
		}
	}
	if !slices.ContainsFunc(r.Masks, func(m string) bool { return strings.HasPrefix(m, cloudtest.TokenPrefix) }) {
		x.Errorf("no token was masked")
	}
	content, err := os.ReadFile(x.Cloud.RequestsFile)
	if err != nil {
		x.Fatal(err)
	}
	if leaks := x.Leaks(string(content)); len(leaks) > 0 {
		x.Errorf("requests.jsonl holds %s", strings.Join(leaks, ", "))
	}
}

// faults are what a deploy meets on a bad day.
var faults = []struct {
	name   string
	faults []proxy.Fault
	ready  string // how long a new pod takes to become ready
}{
	{"429 without Retry-After", onWrites(proxy.Fault{Status: 429}), "0s"},
	{"429 with Retry-After", onWrites(proxy.Fault{Status: 429, RetryAfter: 1}), "0s"},
	{"500 without a body", onWrites(proxy.Fault{Status: 500}), "0s"},
	{"502 of a load balancer", onWrites(proxy.Fault{Status: 502, Body: "<html><body>502 Bad Gateway</body></html>"}), "0s"},
	{"503 without a body", onWrites(proxy.Fault{Status: 503}), "0s"},
	{"504 without a body", onWrites(proxy.Fault{Status: 504}), "0s"},
	{"reset before the write", onWrites(proxy.Fault{ResetBefore: true}), "0s"},
	{"reset after the write", onWrites(proxy.Fault{ResetAfter: true}), "0s"},
	{"503 at every host", []proxy.Fault{
		{Host: "oauth2.googleapis.com", Status: 503, Times: 1},
		{Host: "container.googleapis.com", Status: 503, Times: 1},
		{Host: localcloud.Registry, Status: 503, Times: 1},
		{Host: "192.0.2.10", Status: 503, Times: 3},
	}, "0s"},
	{"reset at every host", []proxy.Fault{
		{Host: "oauth2.googleapis.com", ResetBefore: true, Times: 1},
		{Host: "container.googleapis.com", ResetBefore: true, Times: 1},
		{Host: localcloud.Registry, ResetBefore: true, Times: 1},
		{Host: "192.0.2.10", ResetBefore: true, Times: 3},
	}, "0s"},
	{"watches cut every second", []proxy.Fault{{Path: "watch=", CutAfterMS: 1000}}, "2s"},
	{"watches refused", []proxy.Fault{{Path: "watch=", Status: 503, Times: 3}}, "0s"},
	{"watches that expire", []proxy.Fault{{
		Path: "watch=", Status: 410, Times: 2,
		Body: `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version","reason":"Expired","code":410}`,
	}}, "0s"},
}

// onWrites plays the fault twice for the write of the Deployment, and once for
// its dry run.
func onWrites(f proxy.Fault) []proxy.Fault {
	write, dry := f, f
	write.Method, write.Path, write.Times = http.MethodPatch, "/deployments/"+deployment+"?fieldManager=", 2
	dry.Method, dry.Path, dry.Times = http.MethodPatch, "/deployments/"+deployment+"?dryRun=All", 1
	return []proxy.Fault{write, dry}
}

// TestFaults deploys a new commit in bad weather: it must arrive, once.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, test := range faults {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := seed(t, 1, nil)
			// Long enough for a watch to be cut a few times.
			edited("              port: http", "              port: http\n            periodSeconds: 1")(x)
			x.Push(x.SHA(1), map[string]string{"model.ready-after": test.ready})
			want(t, x.Deploy(x.SHA(0), nil), 0, "deployed")
			before := generations(x)
			for _, f := range test.faults {
				f.Client = x.Client
				t.Cleanup(x.Cloud.Proxy.Faults.Add(f))
			}
			want(t, x.Deploy(x.SHA(1), nil), 0, "deployed")
			wanted := map[string]int64{deployment: before[deployment] + 1, service: before[service]}
			if diff := cmp.Diff(wanted, generations(x)); diff != "" {
				t.Errorf("generations (-want +got):\n%s", diff)
			}
			for _, f := range test.faults {
				if n := played(x, f); n < f.Times || n == 0 {
					t.Errorf("the fault %+v was met %d times", f, n)
				}
			}
		})
	}
}

// played counts the requests that met the fault.
func played(x *cloudtest.Test, f proxy.Fault) int {
	n := 0
	for _, e := range x.Requests() {
		matches := (f.Host == "" || f.Host == e.Host) && (f.Method == "" || f.Method == e.Method) && strings.Contains(e.Path, f.Path)
		met := e.Status == f.Status // 0 for a reset
		if f.CutAfterMS > 0 {
			met = e.Status == http.StatusOK && e.DurationMS >= float64(f.CutAfterMS)
		}
		if matches && met {
			n++
		}
	}
	return n
}

func generations(x *cloudtest.Test) map[string]int64 {
	x.Helper()
	all := x.Objects()
	return map[string]int64{deployment: all["deployments "+deployment].GetGeneration(), service: all["services "+service].GetGeneration()}
}
