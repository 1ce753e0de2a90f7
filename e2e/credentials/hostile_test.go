package credentials_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode/utf16"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
)

// canary stands in every hostile file; whatever shows it was made to.
const canary = "canary-5up3r-53cr3t"

// TestHostile leaves credentials files that somebody else made where
// google-github-actions/auth leaves its own. No request leaves, no program is
// started, and the answer is one sentence without anything of the file in it.
func TestHostile(t *testing.T) {
	t.Parallel()
	x := place(t, nil)
	marker := filepath.Join(t.TempDir(), "started")
	x.Write("program.sh", "#!/bin/sh\ntouch "+marker+"\necho '{}'\n")
	program := filepath.Join(x.Workspace, "program.sh")
	if err := os.Chmod(program, 0o755); err != nil {
		t.Fatal(err)
	}
	job, _ := workflow(x)
	_, key := account(x, unique(x, "hostile"))
	var all strings.Builder
	for _, c := range hostile(x, job, key, program) {
		y := x.Sub(t)
		y.Write("kubernetes/model.yaml", model)
		env := authLeaves(y, c.text)
		if c.place != nil {
			c.place(t, env["GOOGLE_GHA_CREDS_PATH"])
		}
		s := y.Step(x.SHA(0), map[string]string{"credentials_json": "", "cluster_name": fmt.Sprintf("projects/%s/locations/%s/clusters/%s", localcloud.Project, localcloud.Location, localcloud.Cluster)})
		s.Env = join(s.Env, job, env, map[string]string{"GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES": "1", "AWS_ACCESS_KEY_ID": canary, "AWS_SECRET_ACCESS_KEY": canary, "AWS_REGION": "eu-west-1"})
		// A file that nobody writes to must not be waited for, nor one without end be read.
		r, err := s.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		said := message(t, r)
		if r.ExitCode != 2 || strings.Contains(said, "\n") {
			t.Errorf("%s: exit code %d, %q", c.name, r.ExitCode, said)
		}
		if strings.Contains(r.Raw+r.Summary, canary) || len(y.Leaks(r.Raw+r.Summary, []byte(key))) > 0 {
			t.Errorf("%s: the log or the summary holds what the file does:\n%s", c.name, r.Raw)
		}
		for _, e := range y.Requests() {
			t.Errorf("%s: a request left: %s %s%s", c.name, e.Method, e.Host, e.Path)
		}
		if _, err := os.Stat(marker); err == nil {
			t.Fatalf("%s: the program was started", c.name)
		}
		fmt.Fprintf(&all, "%s:\n  %s\n", c.name, strings.ReplaceAll(said, y.Workspace, "WORKSPACE"))
	}
	golden(t, "hostile.golden", all.String())
}

// file is one hostile file; place, if there is one, puts something else there.
type file struct {
	name, text string
	place      func(t *testing.T, path string)
}

func hostile(x *cloudtest.Test, job map[string]string, key, program string) []file {
	x.Helper()
	edit := func(text string, changes ...any) string {
		var o map[string]any
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			x.Fatal(err)
		}
		return encode(x, change(o, changes...))
	}
	federation := func(changes ...any) string { return edit(federationFile(x, job, ""), changes...) }
	source := func(changes ...any) string {
		var o struct {
			Source map[string]any `json:"credential_source"`
		}
		if err := json.Unmarshal([]byte(federationFile(x, job, "")), &o); err != nil {
			x.Fatal(err)
		}
		return federation("credential_source", change(o.Source, changes...))
	}
	account := func(changes ...any) string { return edit(key, changes...) }
	url := job["ACTIONS_ID_TOKEN_REQUEST_URL"]
	const impersonation = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
	executable := map[string]any{"command": program, "timeout_millis": 5000, "output_file": program}
	login := map[string]any{"type": "authorized_user", "client_id": "x.apps.googleusercontent.com", "client_secret": canary, "refresh_token": canary}
	return []file{
		{"program as source", federation("credential_source", map[string]any{"executable": executable}), nil},
		{"program beside the URL", source("executable", executable), nil},
		{"file as source", federation("credential_source", map[string]any{"file": "/etc/passwd"}), nil},
		{"environment as source", federation("credential_source", map[string]any{"environment_id": "aws1", "region_url": "http://169.254.169.254/" + canary, "regional_cred_verification_url": "https://sts.{region}.amazonaws.com?x=" + canary}), nil},
		{"certificate as source", federation("credential_source", map[string]any{"certificate": map[string]any{"certificate_config_location": "/" + canary}}), nil},
		{"source of an unknown kind", source("programmatic", canary), nil},
		{"no source", federation("credential_source", nil), nil},
		{"source URL elsewhere", source("url", "https://"+canary+".example.com/token"), nil},
		{"source URL without TLS", source("url", strings.Replace(url, "https:", "http:", 1)), nil},
		{"source URL on another port", source("url", strings.Replace(url, ".com/", ".com:8443/", 1)), nil},
		{"source URL whose user is the host", source("url", "https://pipelines.actions.githubusercontent.com@"+canary+".example.com/"), nil},
		{"source URL with the host as prefix", source("url", strings.Replace(url, ".com/", ".com."+canary+".example/", 1)), nil},
		{"source URL of the metadata server", source("url", "http://169.254.169.254/computeMetadata/v1/"), nil},
		{"header that GitHub does not need", source("headers", map[string]any{"Metadata-Flavor": "Google"}), nil},
		{"token URL elsewhere", federation("token_url", "https://"+canary+".example.com/v1/token"), nil},
		{"token URL without TLS", federation("token_url", "http://sts.googleapis.com/v1/token"), nil},
		{"token URL with the host as prefix", federation("token_url", "https://sts.googleapis.com."+canary+".example/v1/token"), nil},
		{"impersonation elsewhere", federation("service_account_impersonation_url", "https://"+canary+".example.com/v1/projects/-/serviceAccounts/a@b.iam.gserviceaccount.com:generateAccessToken"), nil},
		{"impersonation by another path", federation("service_account_impersonation_url", impersonation+"../../"+canary+":generateAccessToken"), nil},
		{"impersonation for another token", federation("service_account_impersonation_url", impersonation+"a@b.iam.gserviceaccount.com:generateIdToken"), nil},
		{"other universe of a federation", federation("universe_domain", canary+".example.com"), nil},
		{"other universe of a key", account("universe_domain", canary+".example.com"), nil},
		{"universe that is an object", account("universe_domain", map[string]any{"x": "googleapis.com"}), nil},
		{"AWS", federation("subject_token_type", "urn:ietf:params:aws:token-type:aws4_request"), nil},
		{"pool of people", federation("audience", "//iam.googleapis.com/locations/global/workforcePools/"+canary+"/providers/p"), nil},
		{"audience elsewhere", federation("audience", "//"+canary+".example.com/x"), nil},
		{"key for another token URL", account("token_uri", "https://"+canary+".example.com/token"), nil},
		{"token URL twice", strings.Replace(key, `"token_uri"`, `"token_uri": "https://`+canary+`.example.com/", "token_uri"`, 1), nil},
		{"token URL twice, in another case", strings.Replace(key, `"token_uri"`, `"TOKEN_URI": "https://`+canary+`.example.com/", "token_uri"`, 1), nil},
		{"key within a key", account("credential_source", map[string]any{"executable": executable}), nil},
		{"login of a person", encode(x, login), nil},
		{"login behind an impersonation", encode(x, map[string]any{"type": "impersonated_service_account", "service_account_impersonation_url": impersonation + "a@b.iam.gserviceaccount.com:generateAccessToken", "source_credentials": login}), nil},
		{"appliance", encode(x, map[string]any{"type": "gdch_service_account", "token_uri": "https://" + canary + ".example.com", "ca_cert_path": "/" + canary}), nil},
		{"ten megabytes", `{"type":"service_account","x":"` + strings.Repeat("x", 10<<20) + `"}`, nil},
		{"a hundred levels", strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100), nil},
		{"list around it", "[" + key + "]", nil},
		{"not UTF-8", "{\"type\":\"service_account\",\"client_email\":\"" + canary + "\xff\"}", nil},
		{"UTF-16", utf16LE(key), nil},
		{"base64 of a list", base64.StdEncoding.EncodeToString([]byte("[" + key + "]")), nil},
		{"words to the runner", "::set-output name=x::" + canary + "\n##[add-mask]x\n", nil},
		{"empty", "", nil},
		{"link out of the workspace", "", func(t *testing.T, path string) {
			t.Helper()
			outside := filepath.Join(t.TempDir(), canary)
			if err := os.WriteFile(outside, []byte(key), 0o600); err != nil {
				t.Fatal(err)
			}
			replace(t, path, func() error { return os.Symlink(outside, path) })
		}},
		{"link to what never ends", "", func(t *testing.T, path string) {
			t.Helper()
			replace(t, path, func() error { return os.Symlink("/dev/zero", path) })
		}},
		{"pipe", "", func(t *testing.T, path string) {
			t.Helper()
			replace(t, path, func() error { return syscall.Mkfifo(path, 0o600) })
		}},
		{"folder", "", func(t *testing.T, path string) {
			t.Helper()
			replace(t, path, func() error { return os.Mkdir(path, 0o755) })
		}},
		{"gone", "", func(t *testing.T, path string) {
			t.Helper()
			replace(t, path, func() error { return nil })
		}},
	}
}

func replace(t *testing.T, path string, with func() error) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := with(); err != nil {
		t.Fatal(err)
	}
}

// change sets name, value pairs; nil removes.
func change(o map[string]any, changes ...any) map[string]any {
	for i := 0; i < len(changes); i += 2 {
		name := fmt.Sprint(changes[i])
		if changes[i+1] == nil {
			delete(o, name)
			continue
		}
		o[name] = changes[i+1]
	}
	return o
}

func encode(x *cloudtest.Test, v any) string {
	x.Helper()
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		x.Fatal(err)
	}
	return string(text)
}

func utf16LE(s string) string {
	var b strings.Builder
	b.WriteString("\xff\xfe")
	for _, u := range utf16.Encode([]rune(s)) {
		b.WriteByte(byte(u))
		b.WriteByte(byte(u >> 8))
	}
	return b.String()
}
