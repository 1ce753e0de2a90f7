package deploy

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/pkg/cluster"
	"github.com/org/deploy-model-action/pkg/fault"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(file, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), run with -update to accept:\n%s", file, diff)
	}
}

// nothing is a network on which every request is a mistake.
type nothing struct{ t *testing.T }

func (n nothing) RoundTrip(r *http.Request) (*http.Response, error) {
	n.t.Errorf("contacted %s", r.URL.Redacted())
	return nil, errors.New("no network")
}

// lines is a log that a test reads.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, fmt.Sprintf(format, args...))
}

func (l *lines) Group(title string)                { l.add("▼ %s", title) }
func (l *lines) EndGroup()                         { l.add("▲") }
func (l *lines) Printf(format string, args ...any) { l.add(format, args...) }
func (l *lines) Warning(message string)            { l.add("warning: %s", message) }
func (l *lines) Mask(string)                       {}

// testKey is a service account key that works, of nobody.
var testKey = sync.OnceValue(func() string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	content, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "key-project", "private_key_id": "0123456789abcdef",
		"private_key":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email": "deployer@key-project.iam.gserviceaccount.com", "client_id": "1",
		"token_uri": "https://oauth2.googleapis.com/token",
	})
	if err != nil {
		panic(err)
	}
	return string(content)
})

// workspace is a checkout with these files.
func workspace(t *testing.T, files map[string]string) *os.Root {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

const (
	testHost = "europe-west6-docker.pkg.dev/my-project/models"
	model    = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: model}\nspec:\n  template:\n    spec:\n      containers: [{name: m, image: " + testHost + "/m:latest}]\n"
	service  = "---\napiVersion: v1\nkind: Service\nmetadata: {name: model}\nspec: {ports: [{port: 80}]}\n"
	secret   = "hunter2-hunter2"
)

// right are inputs without a mistake.
func right() Options {
	o := Defaults()
	o.ClusterName, o.Zone, o.RegistryHost, o.SHA = "mlops-cluster", "europe-west6-a", testHost, "0123abc"
	o.CredentialsJSON = testKey()
	return o
}

// offline runs a deploy that must not contact anything.
func offline(t *testing.T, o Options, environment, files map[string]string, fork bool) (*Result, *lines) {
	t.Helper()
	log := &lines{}
	r := Run(t.Context(), o, Runner{
		Getenv:    func(name string) string { return environment[name] },
		Workspace: workspace(t, files),
		Transport: nothing{t},
		Fork:      fork,
		IDToken: func(context.Context, string) (string, error) {
			t.Error("asked GitHub for an identity token")
			return "", errors.New("no network")
		},
	}, log)
	return r, log
}

// Every mistake in the inputs and in the files is found before anything is
// contacted, named with its value, and told with the way out.
func TestWrongInputsContactNothing(t *testing.T) {
	t.Parallel()
	good := map[string]string{"kubernetes/deployment.yaml": model}
	var all strings.Builder
	for _, c := range []struct {
		name        string
		change      func(*Options)
		environment map[string]string
		files       map[string]string
		fork        bool
	}{
		{name: "nothing is given", change: func(o *Options) { *o = Options{} }, files: map[string]string{}},
		{name: "no required input", change: func(o *Options) { o.ClusterName, o.RegistryHost, o.SHA = "", "", "" }},
		{name: "mistakes that reading the inputs showed", change: func(o *Options) {
			o.Mistakes = errors.Join(errors.New(`input timeout "10": not a duration`), errors.New(`input rollback "no": not a boolean`))
			o.ClusterName = ""
		}},
		{name: "zone and location differ", change: func(o *Options) { o.Location = "europe-west6" }},
		{name: "no zone", change: func(o *Options) { o.Zone = "" }},
		{name: "a cluster, a zone and a project that are none", change: func(o *Options) { o.ClusterName, o.Zone, o.ProjectID = "My Cluster", "zurich", "My Project" }},
		{name: "the full name says another zone", change: func(o *Options) { o.ClusterName = "projects/p12345/locations/europe-west6/clusters/c" }},
		{name: "namespace", change: func(o *Options) { o.Namespace = "My_Models" }},
		{name: "endpoint", change: func(o *Options) { o.Endpoint = "private" }},
		{name: "membership without a gateway", change: func(o *Options) { o.Endpoint, o.FleetMembership = "dns", "m" }},
		{name: "tags", change: func(o *Options) { o.Tags = []string{"latest", "-v1", "feature/x", strings.Repeat("x", 129)} }},
		{name: "half a login", change: func(o *Options) { o.RegistryUsername = "octocat" }},
		{name: "the other half", change: func(o *Options) { o.RegistryPassword = secret }},
		{name: "health_path", change: func(o *Options) { o.HealthPath = "readyz" }},
		{name: "health_path of another host", change: func(o *Options) { o.HealthPath = "//evil.example.com/readyz" }},
		{name: "health_path with a bad escape", change: func(o *Options) { o.HealthPath = "/%zz" }, files: map[string]string{"kubernetes/a.yaml": model + service}},
		{name: "no Service to ask", change: func(o *Options) { o.HealthPath = "/readyz" }},
		{name: "no Service to ask for predictions", change: func(o *Options) { o.SmokeTest = "smoke.yaml" }, files: map[string]string{"kubernetes/a.yaml": model, "smoke.yaml": "requests: [{path: /predict}]\n"}},
		{name: "a smoke test that is not there", change: func(o *Options) { o.SmokeTest = "smoke.yaml" }, files: map[string]string{"kubernetes/a.yaml": model + service}},
		{name: "a smoke test outside", change: func(o *Options) { o.SmokeTest = "../smoke.yaml" }, files: map[string]string{"kubernetes/a.yaml": model + service}},
		{name: "a smoke test with mistakes", change: func(o *Options) { o.SmokeTest, o.Namespace = "tests/smoke.yaml", "X" }, files: map[string]string{
			"kubernetes/a.yaml": model + service, "tests/smoke.yaml": "requests:\n  - path: predict\n    repeat: 0\n  - path: /predict\n    body: '@../../etc/passwd'\n    headers: {Authorization: " + secret + "}\n",
		}},
		{name: "dry_run", change: func(o *Options) { o.DryRun = "yes" }},
		{name: "a plan of wrong inputs", change: func(o *Options) { o.Zone = "" }, environment: map[string]string{"GITHUB_EVENT_NAME": "pull_request"}},
		{name: "workflow_run of a fork", environment: map[string]string{"GITHUB_EVENT_NAME": "workflow_run"}, fork: true},
		{name: "issue_comment on a pull request", environment: map[string]string{"GITHUB_EVENT_NAME": "issue_comment"}, fork: true},
		{name: "a plan of them for one of a fork that has credentials", change: func(o *Options) { o.ClusterName = "" }, environment: map[string]string{"GITHUB_EVENT_NAME": "pull_request"}, fork: true},
		{name: "a deploy of a fork without any", change: func(o *Options) { o.DryRun, o.CredentialsJSON = "false", "{" }, environment: map[string]string{"GITHUB_EVENT_NAME": "pull_request"}, fork: true},
		{name: "pull_request_target", environment: map[string]string{"GITHUB_EVENT_NAME": "pull_request_target"}},
		{name: "a key that is not JSON", change: func(o *Options) { o.CredentialsJSON = secret }},
		{name: "a key without a key", change: func(o *Options) { o.CredentialsJSON = `{"type":"service_account","private_key":"` + secret + `"}` }},
		{name: "federation without permission", change: func(o *Options) {
			o.CredentialsJSON, o.WorkloadIdentityProvider = "", "projects/123456789012/locations/global/workloadIdentityPools/github-pool/providers/github"
		}},
		{name: "no manifests input", change: func(o *Options) { o.Manifests = nil }},
		{name: "manifests that are not there", change: func(o *Options) { o.Manifests = []string{"deploy", "../x", "k8s/*.yaml"} }},
		{name: "manifests that are empty", files: map[string]string{"kubernetes/README.md": "x"}},
		{name: "a manifest that does not parse", files: map[string]string{"kubernetes/a.yaml": "kind: [\n  x: {", "kubernetes/b.yaml": "apiVersion: v1\nkind: Secret\nstringData: {password: " + secret + "\n"}},
		{name: "an object twice", files: map[string]string{"kubernetes/a.yaml": model, "kubernetes/b.yaml": "\n---\n" + strings.Replace(model, "{name: model}", "{name: model, labels: {a: b}}", 1)}},
		{name: "no image that matches", change: func(o *Options) { o.RegistryHost = "europe-west6-docker.pkg.dev/my-project/other" }},
		{name: "images that are not there", change: func(o *Options) { o.Images = []string{"classifier"} }},
		{name: "an archive that is not there", change: func(o *Options) { o.Push = "image.tar" }},
		{name: "an archive outside", change: func(o *Options) { o.Push = "../image.tar" }},
		{name: "inputs and files", change: func(o *Options) { o.HealthPath, o.Namespace = "readyz", "X" }, files: map[string]string{"kubernetes/a.yaml": "kind: ["}},
	} {
		o := right()
		if c.change != nil {
			c.change(&o)
		}
		files := c.files
		if files == nil {
			files = good
		}
		r, log := offline(t, o, c.environment, files, c.fork)
		if r.Outcome != Failed || r.ExitCode != ExitInput || len(r.Problems) == 0 || r.Changed() {
			t.Errorf("%s: outcome %s, exit code %d, %d problems", c.name, r.Outcome, r.ExitCode, len(r.Problems))
		}
		fmt.Fprintf(&all, "== %s\n", c.name)
		for _, p := range r.Problems {
			if p.File != "" {
				fmt.Fprintf(&all, "%s:%d ", p.File, p.Line)
			}
			fmt.Fprintf(&all, "[%s]\n%s\n", p.Title, p.Message)
		}
		if shown := all.String() + strings.Join(log.all, "\n"); strings.Contains(shown, secret) || strings.Contains(shown, "PRIVATE KEY") {
			t.Errorf("%s: a secret is shown in\n%s", c.name, shown)
		}
	}
	golden(t, "mistakes.txt", all.String())
}

// The inputs of the test above are right but for what each case changes: with
// none of it, the first requests are for a token, and with a token of the key's own
// to the GKE API.
func TestRightInputsAskForAToken(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var asked []string
	log := &lines{}
	r := Run(t.Context(), right(), Runner{
		Getenv:    func(string) string { return "" },
		Workspace: workspace(t, map[string]string{"kubernetes/deployment.yaml": model}),
		Transport: transport(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, r.Method+" "+r.URL.Host+r.URL.Path)
			rec := &http.Response{StatusCode: http.StatusBadRequest, Header: http.Header{}, Request: r, Body: http.NoBody}
			return rec, nil
		}),
	}, log)
	slices.Sort(asked)
	want := []string{
		"GET container.googleapis.com/v1/projects/key-project/locations/europe-west6-a/clusters/mlops-cluster",
		"POST oauth2.googleapis.com/token",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if r.Outcome != Failed || r.ExitCode != ExitRefused || len(r.Problems) != 1 || r.Problems[0].Title != "Credentials refused" {
		t.Errorf("outcome %s, exit code %d, problems %+v", r.Outcome, r.ExitCode, r.Problems)
	}
	want = []string{"▼ Manifests", "kubernetes/deployment.yaml:1: Deployment model", "▲", "▼ Cluster and images", "▲"}
	if diff := cmp.Diff(want, log.all); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if len(r.Phases) != 2 || r.Phases[0].Failed || !r.Phases[1].Failed || r.Finished.Before(r.Started) {
		t.Errorf("phases %+v", r.Phases)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A panic of a goroutine comes to whoever called Run, who has the exit code to say.
func TestPanicOfAGoroutine(t *testing.T) {
	t.Parallel()
	defer func() {
		p, ok := recover().(*fault.Panic)
		if !ok || p.Value != "of the network" || !strings.Contains(string(p.Stack), "connect.go") {
			t.Errorf("%v", p)
		}
	}()
	Run(t.Context(), right(), Runner{
		Getenv: func(string) string { return "" }, Workspace: workspace(t, map[string]string{"kubernetes/model.yaml": model}),
		Transport: transport(func(*http.Request) (*http.Response, error) { panic("of the network") }),
	}, &lines{})
	t.Error("it went on")
}

// The project is said by whoever knows it best, and the location by either input.
func TestNameOfTheCluster(t *testing.T) {
	t.Parallel()
	const full = "projects/full-project/locations/europe-west1/clusters/full"
	for _, c := range []struct {
		name        string
		change      func(*Options)
		environment map[string]string
		want        string
	}{
		{"project of the environment, not of the key", nil, map[string]string{"GCLOUD_PROJECT": "env-project"}, "projects/env-project/locations/europe-west6-a/clusters/mlops-cluster"},
		{"project_id before the key's", func(o *Options) { o.ProjectID = "input-project" }, nil, "projects/input-project/locations/europe-west6-a/clusters/mlops-cluster"},
		{"the full name before all", func(o *Options) { o.ClusterName, o.Zone = full, "" }, nil, "projects/full-project/locations/europe-west1/clusters/full"},
		{"location for zone", func(o *Options) { o.Zone, o.Location = "", "europe-west6" }, nil, "projects/key-project/locations/europe-west6/clusters/mlops-cluster"},
		{"both the same", func(o *Options) { o.Location = o.Zone }, nil, "projects/key-project/locations/europe-west6-a/clusters/mlops-cluster"},
		{"no project in the credentials", nil, map[string]string{"GCLOUD_PROJECT": "env-project", "GOOGLE_CLOUD_PROJECT": "other-project"}, "projects/env-project/locations/europe-west6-a/clusters/mlops-cluster"},
		{"only the second name", nil, map[string]string{"GOOGLE_CLOUD_PROJECT": "other-project"}, "projects/other-project/locations/europe-west6-a/clusters/mlops-cluster"},
	} {
		o := right()
		if c.change != nil {
			c.change(&o)
		}
		d := &deployment{Options: o, runner: Runner{Getenv: func(name string) string { return c.environment[name] }}}
		if !strings.HasPrefix(c.name, "no project") && !strings.HasPrefix(c.name, "only") {
			d.credentials = keyed(t)
		}
		if err := d.parseName(); err != nil || d.name.String() != c.want {
			t.Errorf("%s: %s, error %v", c.name, d.name, err)
		}
	}
}

// An error about the cluster's name says where what is wrong came from.
func TestSources(t *testing.T) {
	t.Parallel()
	lost := func(name cluster.Name) error { return &cluster.NotFoundError{Name: name} }
	empty := func(name cluster.Name) error {
		return &cluster.NotFoundError{Name: name, Existing: []cluster.Name{}}
	}
	for _, c := range []struct {
		name        string
		change      func(*Options)
		environment map[string]string
		flags       map[string]string
		find        func(cluster.Name) error // nil: it is not looked for
		want        string
	}{
		{"the input", func(o *Options) { o.ProjectID = "My Project" }, nil, nil, nil, `input project_id "My Project": is not the ID`},
		{"GCLOUD_PROJECT", nil, map[string]string{"GCLOUD_PROJECT": "My Project"}, nil, nil, `environment variable GCLOUD_PROJECT "My Project": is not the ID`},
		{"GOOGLE_CLOUD_PROJECT", nil, map[string]string{"GOOGLE_CLOUD_PROJECT": "My Project"}, nil, nil, `environment variable GOOGLE_CLOUD_PROJECT "My Project": is not the ID`},
		{"location", func(o *Options) { o.Zone, o.Location = "", "here" }, nil, nil, nil, `input location "here": is neither`},
		{"zone", func(o *Options) { o.Zone = "here" }, nil, nil, nil, `input zone "here": is neither`},
		{"not there, project of the key", nil, nil, nil, lost, "compare cluster_name, zone and project_id (now from the project of the credentials (service account key)) with"},
		{"not there, project of the environment", nil, map[string]string{"GCLOUD_PROJECT": "env-project"}, nil, empty, "look at project_id (now from the environment variable GCLOUD_PROJECT)"},
		{"not there, location", func(o *Options) { o.Zone, o.Location, o.ProjectID = "", "europe-west6", "my-project" }, nil, nil, lost, "compare cluster_name, location and project_id with"},
		{"not there, in full", func(o *Options) { o.ClusterName, o.Zone = "projects/my-project/locations/europe-west6/clusters/m", "" }, nil, nil, lost, "compare cluster_name with"},
		{"flags", func(o *Options) { o.ProjectID = "my-project" }, nil, map[string]string{"cluster_name": "--cluster", "zone": "--location", "project_id": "--project"}, lost, "compare --cluster, --location and --project with"},
		{"a flag and inputs", func(o *Options) { o.ProjectID = "my-project" }, nil, map[string]string{"zone": "--location"}, lost, "compare cluster_name, --location and project_id with"},
	} {
		o := right()
		if c.change != nil {
			c.change(&o)
		}
		d := &deployment{Options: o, runner: Runner{Getenv: func(name string) string { return c.environment[name] }}, credentials: keyed(t), flags: c.flags}
		err := d.parseName()
		if c.find != nil && err == nil {
			err = d.sourced(c.find(d.name))
			var unwrapped *cluster.NotFoundError
			if !errors.As(err, &unwrapped) {
				t.Errorf("%s: not that error any more", c.name)
			}
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

func TestImpersonated(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		input     []string
		account   string
		delegates []string
	}{
		{nil, "", nil},
		{[]string{"a"}, "a", []string{}},
		{[]string{"a", "b", "c"}, "c", []string{"a", "b"}},
	} {
		account, delegates := Options{ServiceAccount: c.input}.impersonated()
		if diff := cmp.Diff([]any{c.account, c.delegates}, []any{account, delegates}); diff != "" {
			t.Errorf("%v (-want +got):\n%s", c.input, diff)
		}
	}
}

// The credentials file is never read as a manifest, by whatever name it is found.
func TestCredentialsFileIsNoManifest(t *testing.T) {
	t.Parallel()
	root := workspace(t, map[string]string{"kubernetes/deployment.yaml": model, "kubernetes/gha-creds-0123456789abcdef.json": testKey()})
	file := filepath.Join(root.Name(), "kubernetes", "gha-creds-0123456789abcdef.json")
	if err := os.Symlink("gha-creds-0123456789abcdef.json", filepath.Join(root.Name(), "kubernetes", "link.json")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"kubernetes/gha-creds-0123456789abcdef.json": true,
		"kubernetes/link.json":                       true,
		"kubernetes/deployment.yaml":                 false,
		"kubernetes/gone.json":                       false,
	} {
		if got := sameFile(root, path, file); got != want {
			t.Errorf("sameFile(%q) = %v", path, got)
		}
	}
	// The runner's path is not the one inside the container.
	if !sameFile(root, "kubernetes/gha-creds-0123456789abcdef.json", "/github/workspace/kubernetes/gha-creds-0123456789abcdef.json") {
		t.Error("the same file by another mount is not recognised")
	}
	o := right()
	o.CredentialsJSON = ""
	d := &deployment{
		Options: o, log: &lines{},
		runner: Runner{Getenv: func(string) string { return "" }, Workspace: root},
	}
	d.credentials = keyed(t)
	d.credentials.File = file
	if err := d.loadManifests(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(d.manifests.Objects); n != 1 {
		t.Errorf("%d objects", n)
	}
}
