package grant

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"

	"github.com/org/deploy-model-action/pkg/credentials"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

const (
	project = "my-project"
	account = "deployer@my-project.iam.gserviceaccount.com"
	token   = "ya29.canary-token"
)

// policy is a policy in the API's JSON; the order of its bindings is kept.
type policy struct {
	Version  int       `json:"version"`
	Etag     string    `json:"etag"`
	Bindings []binding `json:"bindings"`
	Audit    []any     `json:"auditConfigs,omitempty"`
}

type binding struct {
	Role      string     `json:"role"`
	Members   []string   `json:"members"`
	Condition *condition `json:"condition,omitempty"`
}

type condition struct {
	Title      string `json:"title"`
	Expression string `json:"expression"`
}

// manager stands in for Resource Manager, over TLS and under its name: it
// compares etags, and drops what a client without version 3 writes.
type manager struct {
	*httptest.Server
	mu       sync.Mutex
	policy   policy
	writes   int
	headers  http.Header // of the last request
	answer   func(w http.ResponseWriter, method string) bool
	conflict int
}

func newManager(t *testing.T, bindings ...binding) *manager {
	t.Helper()
	m := &manager{policy: policy{Version: 3, Etag: "MA==", Bindings: bindings, Audit: []any{map[string]any{"service": "allServices", "auditLogConfigs": []any{map[string]any{"logType": "ADMIN_READ"}}}}}}
	m.Server = httptest.NewTLSServer(http.HandlerFunc(m.serve))
	t.Cleanup(m.Close)
	return m
}

func (m *manager) serve(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.headers = r.Header
	_, method, _ := strings.Cut(r.URL.Path, ":")
	if r.Host != host || r.Header.Get("Authorization") != "Bearer "+token || !strings.HasPrefix(r.URL.Path, "/v3/projects/"+project+":") {
		http.Error(w, "strange request", http.StatusTeapot)
		return
	}
	if m.answer != nil && m.answer(w, method) {
		return
	}
	var ask struct {
		Options struct {
			Version int `json:"requestedPolicyVersion"`
		} `json:"options"`
		Policy policy `json:"policy"`
		Mask   string `json:"updateMask"`
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch method {
	case "getIamPolicy":
		if ask.Options.Version < 3 {
			http.Error(w, "conditions are hidden", http.StatusTeapot)
			return
		}
	case "setIamPolicy":
		if ask.Policy.Etag != m.policy.Etag {
			m.conflict++
			refuse(w, http.StatusConflict, "ABORTED", "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff.")
			return
		}
		if ask.Policy.Version < 3 || ask.Mask != "bindings,etag,version" {
			http.Error(w, "conditions would be lost", http.StatusTeapot)
			return
		}
		m.writes++
		m.policy.Bindings = ask.Policy.Bindings
		m.policy.Etag = etag(m.writes)
	}
	_ = json.NewEncoder(w).Encode(m.policy)
}

// etag is bytes, which JSON shows as base64.
func etag(n int) string {
	text, _ := json.Marshal([]byte(strconv.Itoa(n)))
	return strings.Trim(string(text), `"`)
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": status, "message": message, "status": code}})
}

func (m *manager) options(print func(format string, args ...any)) Options {
	pool := x509.NewCertPool()
	pool.AddCert(m.Certificate())
	return Options{
		Getenv: func(name string) string { return map[string]string{"GOOGLE_OAUTH_ACCESS_TOKEN": token}[name] },
		Files:  fstest.MapFS{},
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, m.Listener.Addr().String())
			},
			TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "example.com", MinVersion: tls.VersionTLS12},
		},
		Printf: print,
	}
}

// run runs the command and returns what it printed and its exit code.
func (m *manager) run(t *testing.T, args ...string) (string, int) {
	t.Helper()
	var out strings.Builder
	code := Run(t.Context(), args, m.options(func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }))
	if strings.Contains(out.String(), token) {
		t.Errorf("the token is in the output:\n%s", out.String())
	}
	return out.String(), code
}

func asked(more ...string) []string {
	return append([]string{"--project", project, "--service-account", account}, more...)
}

var (
	expires = &condition{"expires", `request.time < timestamp("2030-01-01T00:00:00Z")`}
	others  = []binding{
		{"roles/owner", []string{"user:admin@example.com"}, nil},
		{"roles/container.developer", []string{"group:team@example.com", "deleted:serviceAccount:old@my-project.iam.gserviceaccount.com?uid=1"}, nil},
		{"roles/container.developer", []string{"user:guest@example.com"}, expires},
	}
)

// TestOutput shows what a person sees, and what is in the policy then.
func TestOutput(t *testing.T) {
	t.Parallel()
	me := "serviceAccount:" + account
	var all strings.Builder
	for _, c := range []struct {
		name  string
		have  []binding
		args  []string
		write int
	}{
		{"both are missing", others, asked(), 1},
		{"one is missing", append(others[:len(others):len(others)], binding{"roles/artifactregistry.reader", []string{me}, nil}), asked(), 1},
		{"nothing is missing", []binding{{"roles/artifactregistry.reader", []string{me}, nil}, {"roles/container.developer", []string{me}, nil}}, asked(), 0},
		{"there under a condition only", []binding{{"roles/container.developer", []string{me}, expires}}, asked("--role", "roles/container.developer"), 1},
		{"there with and without a condition", []binding{{"roles/container.developer", []string{me}, expires}, {"roles/container.developer", []string{me}, nil}}, asked("--role=roles/container.developer"), 0},
		{"to publish", nil, asked("--role", "roles/container.developer", "--role", "roles/artifactregistry.writer", "--role", "roles/artifactregistry.writer"), 1},
		{"a role of the project's own", nil, asked("--role", "projects/my-project/roles/modelDeployer"), 1},
		{"dry run", others, asked("--dry-run"), 0},
	} {
		m := newManager(t, c.have...)
		out, code := m.run(t, c.args...)
		if code != exitOK || m.writes != c.write {
			t.Errorf("%s: exit code %d and %d writes, want 0 and %d", c.name, code, m.writes, c.write)
		}
		fmt.Fprintf(&all, "# %s\n%s", c.name, out)
		for _, b := range m.policy.Bindings {
			fmt.Fprintf(&all, "    | %s %s", b.Role, b.Members)
			if b.Condition != nil {
				fmt.Fprintf(&all, " if %s", b.Condition.Title)
			}
			all.WriteString("\n")
		}
		if len(m.policy.Audit) != 1 {
			t.Errorf("%s: the audit configuration is gone", c.name)
		}
		again, code := m.run(t, asked()...)
		if c.write > 0 && len(c.args) == len(asked()) && (code != exitOK || strings.Contains(again, added)) {
			t.Errorf("%s: the second run is not idle: %s", c.name, again)
		}
	}
	golden(t, "output.golden", all.String())
}

// TestUsage reports every mistake at once, and contacts nobody.
func TestUsage(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	m.answer = func(http.ResponseWriter, string) bool {
		t.Error("somebody was contacted")
		return false
	}
	var all strings.Builder
	for _, args := range [][]string{
		{},
		{"--help"},
		{"--project", "My Project", "--service-account", "me@example.com", "--role", "container.developer", "--dryrun", "--dry-run=maybe"},
		{"--project", "--service-account", account},
		{"--project=" + project, "--project=other-project", "--service-account=" + account, "--service-account=x" + account},
		{"-project", project, "-service-account"},
		{project, account},
	} {
		out, code := m.run(t, args...)
		want := exitUsage
		if len(args) == 1 {
			want = exitOK
		}
		if code != want || !strings.Contains(out, usage) {
			t.Errorf("%q: exit code %d, output %q", args, code, out)
		}
		fmt.Fprintf(&all, "# %q\n%s\n", args, strings.Replace(out, usage, "(usage)", 1))
	}
	golden(t, "usage.golden", usage+"\n\n"+all.String())
}

// TestRefused shows each refusal as a person sees it.
func TestRefused(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for _, c := range []struct {
		name, method string
		status       int
		code, text   string
	}{
		{"may not read", "getIamPolicy", 403, "PERMISSION_DENIED", "Permission 'resourcemanager.projects.getIamPolicy' denied on resource '//cloudresourcemanager.googleapis.com/projects/my-project' (or it may not exist)."},
		{"may not write", "setIamPolicy", 403, "PERMISSION_DENIED", "Policy update access denied."},
		{"token ended", "getIamPolicy", 401, "UNAUTHENTICATED", "Request had invalid authentication credentials."},
		{"no such account", "setIamPolicy", 400, "INVALID_ARGUMENT", "Service account " + account + " does not exist."},
		{"no such role", "setIamPolicy", 400, "INVALID_ARGUMENT", "Role roles/container.developer is not supported for this resource."},
		{"API disabled", "getIamPolicy", 403, "PERMISSION_DENIED", "Cloud Resource Manager API has not been used in project 764086051850 before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/cloudresourcemanager.googleapis.com/overview?project=764086051850 then retry."},
		{"token without the scope", "getIamPolicy", 403, "PERMISSION_DENIED", "Request had insufficient authentication scopes."},
		{"project suspended", "getIamPolicy", 403, "PERMISSION_DENIED", "Permission denied: Consumer 'project:my-project' has been suspended."},
		{"redirect", "getIamPolicy", 302, "", "elsewhere"},
		{"refused otherwise", "setIamPolicy", 400, "INVALID_ARGUMENT", "Policy\n::error::too large."},
	} {
		m := newManager(t)
		m.answer = func(w http.ResponseWriter, method string) bool {
			if method == c.method {
				refuse(w, c.status, c.code, c.text)
			}
			return method == c.method
		}
		out, code := m.run(t, asked()...)
		if code != exitRefused || strings.Count(out, "\n") != 1 {
			t.Errorf("%s: exit code %d, output %q", c.name, code, out)
		}
		fmt.Fprintf(&all, "%s:\n  %s", c.name, out)
	}
	m := newManager(t)
	m.answer = func(w http.ResponseWriter, _ string) bool {
		fmt.Fprint(w, `{"version":4,"bindings":[],"etag":"MQ==","guards":[{"x":1}]}`)
		return true
	}
	out, _ := m.run(t, asked()...)
	fmt.Fprintf(&all, "policy of a later version:\n  %s", out)
	m.answer = func(w http.ResponseWriter, _ string) bool {
		fmt.Fprint(w, `{"version":1}`)
		return true
	}
	out, _ = m.run(t, asked()...)
	fmt.Fprintf(&all, "policy without etag:\n  %s", out)
	golden(t, "refused.golden", all.String())
}

// TestConcurrent has fifty writers at one policy that has conditions. Each adds
// its own account, and nothing of anybody's is lost.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	const writers = 50
	m := newManager(t, others...)
	var running sync.WaitGroup
	for i := range writers {
		running.Go(func() {
			out, code := m.run(t, "--project", project, "--service-account", fmt.Sprintf("writer-%02d@%s.iam.gserviceaccount.com", i, project))
			if code != exitOK || strings.Count(out, "added") != 2 {
				t.Errorf("writer %d: exit code %d\n%s", i, code, out)
			}
		})
	}
	running.Wait()
	var want []binding
	for _, b := range others {
		b.Members = append([]string{}, b.Members...)
		want = append(want, b)
	}
	reader := binding{Role: "roles/artifactregistry.reader"}
	for i := range writers {
		member := fmt.Sprintf("serviceAccount:writer-%02d@%s.iam.gserviceaccount.com", i, project)
		want[1].Members = append(want[1].Members, member)
		reader.Members = append(reader.Members, member)
	}
	want = append(want, reader)
	ignoreOrder := cmp.Transformer("set", func(members []string) map[string]bool {
		set := map[string]bool{}
		for _, m := range members {
			set[m] = true
		}
		return set
	})
	if diff := cmp.Diff(want, m.policy.Bindings, ignoreOrder); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	if m.writes != writers || m.conflict == 0 {
		t.Errorf("%d writes and %d conflicts, want %d and some", m.writes, m.conflict, writers)
	}
	t.Logf("%d writers, %d conflicts", writers, m.conflict)
}

// TestLostAnswer writes once although the answer to the write is lost, and says
// that it added what it added.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	m := newManager(t, others...)
	failures := 0
	m.answer = func(w http.ResponseWriter, method string) bool {
		failures++
		switch {
		case failures == 1 && method == "getIamPolicy":
			refuse(w, http.StatusServiceUnavailable, "UNAVAILABLE", "Try later.")
			return true
		case failures == 3 && method == "setIamPolicy":
			for _, role := range defaultRoles {
				m.policy.Bindings = append(m.policy.Bindings, binding{Role: role, Members: []string{"serviceAccount:" + account}})
			}
			panic(http.ErrAbortHandler)
		}
		return false
	}
	out, code := m.run(t, asked()...)
	if code != exitOK || strings.Count(out, "added") != 2 || m.writes != 0 {
		t.Errorf("exit code %d, %d further writes\n%s", code, m.writes, out)
	}
}

// TestOutage has Resource Manager away, or others writing, for a while or without
// end, in a bubble of time.
func TestOutage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		lasts  time.Duration
		status int    // 0: the connection is reset
		words  string // of the error; "": none
	}{
		{"503 for a minute", time.Minute, 503, ""},
		{"resets for a minute", time.Minute, 0, ""},
		{"503 without end", time.Hour, 503, "Google answers with status 503, after "},
		{"resets without end", time.Hour, 0, "connection reset by peer, after "},
		{"others write without end", time.Hour, 409, "others changed it in between each time, after "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				started := time.Now()
				m := &manager{policy: policy{Version: 3, Etag: "MA=="}}
				client := newClient(&credentials.Credentials{Tokens: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token})}, project, roundTripper(func(r *http.Request) (*http.Response, error) {
					recorder := httptest.NewRecorder()
					switch {
					case time.Since(started) >= c.lasts:
						r.Host = r.URL.Host
						m.serve(recorder, r)
					case c.status == 0:
						return nil, syscall.ECONNRESET
					default:
						refuse(recorder, c.status, "X", "Not now.")
					}
					return recorder.Result(), nil
				}))
				_, err := client.grant(t.Context(), order{project: project, account: account, roles: defaultRoles})
				if c.words == "" && err != nil || c.words != "" && (err == nil || !strings.Contains(err.Error(), c.words)) {
					t.Errorf("after %v: %v, want %q", time.Since(started), err, c.words)
				}
				if took := time.Since(started); took > trouble {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestCancelled ends at once, and says what a second run does.
func TestCancelled(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	ctx, stop := context.WithCancel(t.Context())
	m.answer = func(w http.ResponseWriter, _ string) bool {
		stop()
		refuse(w, http.StatusServiceUnavailable, "UNAVAILABLE", "Try later.")
		return true
	}
	var out strings.Builder
	code := Run(ctx, asked(), m.options(func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }))
	if code != exitCancelled || !strings.Contains(out.String(), "run it again") {
		t.Errorf("exit code %d, output %q", code, out.String())
	}
}

// TestMask hides the token before it is used.
func TestMask(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	o := m.options(func(string, ...any) {})
	masked := ""
	o.Mask = func(secret string) { masked = secret }
	if code := Run(t.Context(), asked(), o); code != exitOK || masked != token {
		t.Errorf("exit code %d, masked %q", code, masked)
	}
}

// TestQuotaProject says whose quota a person's requests count for, and only a person's.
func TestQuotaProject(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	c := newClient(&credentials.Credentials{Tokens: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token})}, project, m.options(nil).Transport)
	c.quota = "quota-project"
	if _, err := c.get(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := m.headers.Get("X-Goog-User-Project"); got != "quota-project" {
		t.Errorf("X-Goog-User-Project = %q", got)
	}
	if _, code := m.run(t, asked()...); code != exitOK || m.headers.Get("X-Goog-User-Project") != "" {
		t.Errorf("exit code %d, X-Goog-User-Project = %q, want none for a bare token", code, m.headers.Get("X-Goog-User-Project"))
	}
}
