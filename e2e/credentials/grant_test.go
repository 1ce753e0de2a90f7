package credentials_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/google"
)

// grant runs the subcommand as its administrator does.
func grant(x *cloudtest.Test, home string, env map[string]string, args ...string) (out string, code int) {
	x.Helper()
	return program(x, home, env, append([]string{"grant"}, args...)...)
}

// program runs the shipped program as a person does, with env and with what
// `gcloud auth application-default login` leaves at home.
func program(x *cloudtest.Test, home string, env map[string]string, args ...string) (out string, code int) {
	x.Helper()
	cmd := exec.CommandContext(x.Context(), x.Step("", nil).Binary, args...)
	cmd.Dir = home
	for name, value := range join(x.Cloud.Env(x.Client), map[string]string{"HOME": home}, env) {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	content, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		x.Fatal(err)
	}
	return string(content), cmd.ProcessState.ExitCode()
}

// administrator is a home folder with the login of somebody who may change policies.
func administrator(x *cloudtest.Test) string {
	x.Helper()
	login, err := x.Cloud.Google.CreateUser("admin@example.com", google.RoleIAMAdmin)
	if err != nil {
		x.Fatal(err)
	}
	home := x.TempDir()
	folder := filepath.Join(home, ".config", "gcloud")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		x.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "application_default_credentials.json"), login, 0o600); err != nil {
		x.Fatal(err)
	}
	return home
}

// TestGrant gives an account what its deploy was refused for.
func TestGrant(t *testing.T) {
	t.Parallel()
	x := place(t, nil)
	home := administrator(x)
	email, key := account(x, unique(x, "granted"))
	with := map[string]string{"credentials_json": key}
	if r := x.Deploy(x.SHA(0), with); r.ExitCode != 1 || !strings.Contains(message(t, r), "roles/container.developer") {
		t.Fatalf("without the roles: exit code %d, %+v", r.ExitCode, r.Annotations)
	}
	args := []string{"--project", "local-project", "--service-account", email}
	for _, c := range []struct{ what, word string }{{"--dry-run", "would add"}, {"--dry-run=false", "added"}, {"--dry-run=false", "present"}} {
		out, code := grant(x, home, nil, append(args, c.what)...)
		want := fmt.Sprintf("project local-project, serviceAccount:%s\n  %-9s roles/container.developer\n  %-9s roles/artifactregistry.reader\n", email, c.word, c.word)
		if code != 0 || out != want {
			t.Errorf("grant %s: exit code %d, output\n%swant\n%s", c.what, code, out, want)
		}
	}
	deployed(x, x.Deploy(x.SHA(0), with))

	// The other way in is a token alone.
	token, _ := x.Cloud.Google.Issue("admin@example.com")
	out, code := grant(x, t.TempDir(), map[string]string{"GOOGLE_OAUTH_ACCESS_TOKEN": token}, append(args, "--role", google.RoleWriter)...)
	if code != 0 || !strings.Contains(out, "added     "+google.RoleWriter) || strings.Contains(out, token) {
		t.Errorf("with a token: exit code %d, output %q", code, out)
	}
	out, code = grant(x, t.TempDir(), nil, args...)
	if code != 2 || strings.Count(out, "\n") != 1 || !strings.Contains(out, "gcloud auth application-default login") {
		t.Errorf("without a login: exit code %d, output %q", code, out)
	}
	// The account that deploys may not change policies.
	if err := os.WriteFile(filepath.Join(home, "key.json"), []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	out, code = grant(x, home, map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": filepath.Join(home, "key.json")}, append(args, "--role", "roles/owner")...)
	if code != 1 || !strings.Contains(out, email+" may not do that") {
		t.Errorf("as the account itself: exit code %d, output %q", code, out)
	}
}

// TestGrantConcurrent has many administrators at one policy with conditions, and
// others who change it in between: nothing of anybody's is lost.
func TestGrantConcurrent(t *testing.T) {
	t.Parallel()
	const writers = 50
	x := place(t, nil)
	home := administrator(x)
	guest := google.Binding{
		Role: google.RoleDeveloper, Members: []string{"user:guest@example.com"},
		Condition: &google.Condition{Title: "expires", Expression: `request.time < timestamp("2100-01-01T00:00:00Z")`},
	}
	x.Cloud.Google.ChangePolicy(func(p *google.Policy) { p.Bindings = append(p.Bindings, guest) })
	var emails []string
	for i := range writers {
		email, _ := account(x, fmt.Sprintf("%s-%02d", unique(x, "many"), i))
		emails = append(emails, email)
	}
	var running sync.WaitGroup
	atOnce := make(chan struct{}, 8)
	for _, email := range emails {
		running.Go(func() {
			atOnce <- struct{}{}
			defer func() { <-atOnce }()
			out, code := grant(x, home, nil, "--project=local-project", "--service-account="+email)
			if code != 0 || strings.Count(out, "added") != 2 {
				t.Errorf("%s: exit code %d, output %q", email, code, out)
			}
		})
	}
	running.Wait()
	p := x.Cloud.Google.Policy()
	for _, email := range emails {
		for _, role := range []string{google.RoleDeveloper, google.RoleReader} {
			if !x.Cloud.Google.HasRole(email, role) {
				t.Errorf("%s has no %s", email, role)
			}
		}
	}
	if !slices.ContainsFunc(p.Bindings, func(b google.Binding) bool {
		return b.Role == guest.Role && b.Condition != nil && *b.Condition == *guest.Condition && slices.Equal(b.Members, guest.Members)
	}) {
		t.Errorf("the binding with the condition is gone: %+v", p.Bindings)
	}
	conflicts := 0
	for _, e := range x.Requests() {
		if e.Status == 409 {
			conflicts++
		}
	}
	t.Logf("%d writers, %d conflicts", writers, conflicts)
}
