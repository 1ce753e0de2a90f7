package google

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/googleapi"
)

var update = flag.Bool("update", false, "write the golden files")

// answer is the error of a client whose API answered so.
func answer(t *testing.T, code int, header http.Header, body string) error {
	t.Helper()
	err := googleapi.CheckResponse(&http.Response{StatusCode: code, Header: header, Body: io.NopCloser(strings.NewReader(body))})
	if err == nil {
		t.Fatalf("%d is no error", code)
	}
	return fmt.Errorf("wrapped: %w", &url.Error{Op: "Get", URL: "https://container.googleapis.com", Err: err})
}

// info is the body of an error with details, as Google's APIs write it.
func info(code int, message, reason string, metadata map[string]string) string {
	body, _ := json.Marshal(map[string]any{"error": map[string]any{
		"code": code, "message": message, "status": "PERMISSION_DENIED",
		"details": []any{
			map[string]any{"@type": "type.googleapis.com/google.rpc.Help"},
			map[string]any{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com", "metadata": metadata},
		},
	}})
	return string(body)
}

var consumer = map[string]string{"service": "container.googleapis.com", "consumer": "projects/123456789012"}

// cases are Google's answers, most of them as Google writes them.
var cases = []struct {
	name, body string
	code       int
	want       Error // without Code, Message and Err
	role       bool  // is missing
}{
	{"disabled", info(403, "Kubernetes Engine API has not been used in project 123456789012 before or it is disabled.", "SERVICE_DISABLED", consumer), 403, Error{Reason: "SERVICE_DISABLED", Service: "container.googleapis.com", Project: "123456789012"}, false},
	{"disabled, without details", `{"error":{"code":403,"message":"Kubernetes Engine API has not been used in project 123456789012 before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/container.googleapis.com/overview?project=123456789012 then retry."}}`, 403, Error{Reason: "SERVICE_DISABLED", Service: "container.googleapis.com", Project: "123456789012"}, false},
	{"billing", info(403, "This API method requires billing to be enabled. Please enable billing on project #123456789012 by visiting https://console.developers.google.com/billing/enable?project=123456789012 then retry.", "BILLING_DISABLED", consumer), 403, Error{Reason: "BILLING_DISABLED", Service: "container.googleapis.com", Project: "123456789012"}, false},
	{"billing, without details", `{"error":{"code":403,"message":"This API method requires billing to be enabled. Please enable billing on project #my-project by visiting x."}}`, 403, Error{Reason: "BILLING_DISABLED", Project: "my-project"}, false},
	{"suspended", info(403, "Permission denied: Consumer 'project:my-project' has been suspended.", "CONSUMER_SUSPENDED", map[string]string{"service": "container.googleapis.com", "consumer": "projects/my-project"}), 403, Error{Reason: "CONSUMER_SUSPENDED", Service: "container.googleapis.com", Project: "my-project"}, false},
	{"suspended, without details", `{"error":{"code":403,"message":"Permission denied: Consumer 'project:my-project' has been suspended."}}`, 403, Error{Reason: "CONSUMER_SUSPENDED", Project: "my-project"}, false},
	{"no such consumer", info(403, "Project 'projects/gone' not found or deleted.", "CONSUMER_INVALID", map[string]string{"consumer": "projects/gone"}), 403, Error{Reason: "CONSUMER_INVALID", Project: "gone"}, false},
	{"scope", info(403, "Request had insufficient authentication scopes.", "ACCESS_TOKEN_SCOPE_INSUFFICIENT", map[string]string{"service": "container.googleapis.com", "method": "google.container.v1.ClusterManager.GetCluster"}), 403, Error{Reason: "ACCESS_TOKEN_SCOPE_INSUFFICIENT", Service: "container.googleapis.com"}, false},
	{"organization", info(403, "Access denied by organization restriction. Please contact your administrator for additional information.", "ORG_RESTRICTION_VIOLATION", consumer), 403, Error{Reason: "ORG_RESTRICTION_VIOLATION", Service: "container.googleapis.com", Project: "123456789012"}, false},
	{"perimeter", `{"error":{"code":403,"message":"Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: abc-DEF_1","status":"PERMISSION_DENIED"}}`, 403, Error{Reason: "SECURITY_POLICY_VIOLATED"}, false},
	{"quota project", info(403, "Caller does not have required permission to use project my-project.", "USER_PROJECT_DENIED", map[string]string{"service": "container.googleapis.com", "consumer": "projects/my-project"}), 403, Error{Reason: "USER_PROJECT_DENIED", Service: "container.googleapis.com", Project: "my-project"}, false},
	{"permission", info(403, `Required "container.clusters.get" permission(s) for "projects/p".`, "IAM_PERMISSION_DENIED", map[string]string{"permission": "container.clusters.get"}), 403, Error{Reason: "IAM_PERMISSION_DENIED", Permission: "container.clusters.get"}, true},
	{"permission, without details", `{"error":{"code":403,"message":"Required \"container.clusters.get\" permission(s) for \"projects/p\".","errors":[{"message":"x","domain":"global","reason":"forbidden"}]}}`, 403, Error{Permission: "container.clusters.get"}, true},
	{"permission, in other words", `{"error":{"code":403,"message":"Permission 'gkehub.memberships.list' denied on 'projects/p'"}}`, 403, Error{Permission: "gkehub.memberships.list"}, true},
	{"permission, that is not named", `{"error":{"code":403,"message":"The caller does not have permission"}}`, 403, Error{}, true},
	{"a page", `<html>Error 403 (Forbidden)!!1</html>`, 403, Error{}, false},
	{"location", info(403, "Location policy violated.", "LOCATION_ORG_POLICY_VIOLATED", consumer), 403, Error{Reason: "LOCATION_ORG_POLICY_VIOLATED", Service: "container.googleapis.com", Project: "123456789012"}, false},
	{"TLS", info(403, "The TLS version is restricted by an organization policy.", "TLS_ORG_POLICY_VIOLATED", consumer), 403, Error{Reason: "TLS_ORG_POLICY_VIOLATED", Service: "container.googleapis.com", Project: "123456789012"}, false},
	{"service restricted", info(403, "Request is disallowed by organization's constraints/gcp.restrictServiceUsage constraint for 'projects/my-project' attempting to use service 'container.googleapis.com'.", "RESOURCE_USAGE_RESTRICTION_VIOLATED", map[string]string{"service": "container.googleapis.com", "consumer": "projects/my-project"}), 403, Error{Reason: "RESOURCE_USAGE_RESTRICTION_VIOLATED", Service: "container.googleapis.com", Project: "my-project"}, false},
	{"service restricted, without details", `{"error":{"code":403,"message":"Request is disallowed by organization's constraints/gcp.restrictServiceUsage constraint for 'projects/123' attempting to use service 'gkehub.googleapis.com'."}}`, 403, Error{Reason: "RESOURCE_USAGE_RESTRICTION_VIOLATED"}, false},
	{"project of the resource", info(400, "Project is invalid.", "RESOURCE_PROJECT_INVALID", consumer), 400, Error{Reason: "RESOURCE_PROJECT_INVALID", Service: "container.googleapis.com", Project: "123456789012"}, false},
	{"not visible", info(403, "Not found or permission denied for service.", "SERVICE_NOT_VISIBLE", consumer), 403, Error{Reason: "SERVICE_NOT_VISIBLE", Service: "container.googleapis.com", Project: "123456789012"}, false},
	{"cloud suspended", info(403, "This account is suspended.", "GCP_SUSPENDED", consumer), 403, Error{Reason: "GCP_SUSPENDED", Service: "container.googleapis.com", Project: "123456789012"}, false},
	{"blocked by an administrator", info(403, "Access blocked by your administrator.", "USER_BLOCKED_BY_ADMIN", consumer), 403, Error{Reason: "USER_BLOCKED_BY_ADMIN", Service: "container.googleapis.com", Project: "123456789012"}, false},
	{"kind of token", info(401, "Unsupported token type.", "ACCESS_TOKEN_TYPE_UNSUPPORTED", consumer), 401, Error{Reason: "ACCESS_TOKEN_TYPE_UNSUPPORTED", Service: "container.googleapis.com", Project: "123456789012"}, false},
	{"no credentials", info(401, "Request is missing required authentication credential.", "CREDENTIALS_MISSING", map[string]string{"service": "container.googleapis.com"}), 401, Error{Reason: "CREDENTIALS_MISSING", Service: "container.googleapis.com"}, false},
	{"token ended", info(401, "Request had invalid authentication credentials.", "ACCESS_TOKEN_EXPIRED", map[string]string{"service": "container.googleapis.com"}), 401, Error{Reason: "ACCESS_TOKEN_EXPIRED", Service: "container.googleapis.com"}, false},
	{"account", info(401, "The account is disabled.", "ACCOUNT_STATE_INVALID", map[string]string{"service": "iamcredentials.googleapis.com"}), 401, Error{Reason: "ACCOUNT_STATE_INVALID", Service: "iamcredentials.googleapis.com"}, false},
	{"deny policy", info(403, "Permission 'container.clusters.get' denied on resource 'projects/p' because of a deny policy.", "IAM_PERMISSION_DENIED", map[string]string{"permission": "container.clusters.get"}), 403, Error{Reason: "DENY_POLICY", Permission: "container.clusters.get"}, false},
	{"deny policy, without details", `{"error":{"code":403,"message":"Permission 'iam.serviceAccounts.getAccessToken' was explicitly denied."}}`, 403, Error{Reason: "DENY_POLICY", Permission: "iam.serviceAccounts.getAccessToken"}, false},
	{"access boundary", `{"error":{"code":403,"message":"Permission 'container.clusters.get' denied: the resource is not in the principal access boundary policy."}}`, 403, Error{Reason: "ACCESS_BOUNDARY", Permission: "container.clusters.get"}, false},
	{"organization's policy on members", `{"error":{"code":400,"message":"One or more users named in the policy do not belong to a permitted customer, perhaps due to an organization policy.","status":"FAILED_PRECONDITION"}}`, 400, Error{Reason: "ORG_POLICY"}, false},
	{"organization's policy on pools", `{"error":{"code":400,"message":"Precondition check failed: constraints/iam.workloadIdentityPoolProviders does not allow this issuer.","status":"FAILED_PRECONDITION"}}`, 400, Error{Reason: "ORG_POLICY"}, false},
	{"impersonation", info(403, "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).", "IAM_PERMISSION_DENIED", map[string]string{"permission": "iam.serviceAccounts.getAccessToken"}), 403, Error{Reason: "IAM_PERMISSION_DENIED", Permission: "iam.serviceAccounts.getAccessToken"}, true},
	{"fleet", info(403, "Permission 'gkehub.memberships.list' denied on resource '//gkehub.googleapis.com/projects/fleet/locations/-' (or it may not exist).", "IAM_PERMISSION_DENIED", map[string]string{"permission": "gkehub.memberships.list"}), 403, Error{Reason: "IAM_PERMISSION_DENIED", Permission: "gkehub.memberships.list"}, true},
	{"disabled in the fleet's project", info(403, "GKE Hub API has not been used in project 987654321098 before or it is disabled.", "SERVICE_DISABLED", map[string]string{"service": "gkehub.googleapis.com", "consumer": "projects/987654321098"}), 403, Error{Reason: "SERVICE_DISABLED", Service: "gkehub.googleapis.com", Project: "987654321098"}, false},
	{"Artifact Registry", info(403, "Permission 'artifactregistry.repositories.uploadArtifacts' denied on resource '//artifactregistry.googleapis.com/projects/p/locations/l/repositories/r' (or it may not exist).", "IAM_PERMISSION_DENIED", map[string]string{"permission": "artifactregistry.repositories.uploadArtifacts"}), 403, Error{Reason: "IAM_PERMISSION_DENIED", Permission: "artifactregistry.repositories.uploadArtifacts"}, true},
	{"another error of a request", `{"error":{"code":400,"message":"Invalid value for field \"zone\".","status":"INVALID_ARGUMENT"}}`, 400, Error{}, false},
	{"a reason of the future", info(403, "The moon is in the way.", "LUNAR_ECLIPSE", consumer), 403, Error{Reason: "LUNAR_ECLIPSE", Service: "container.googleapis.com", Project: "123456789012"}, false},
	{"words of the future", `{"error":{"code":403,"message":"The moon is in the way."}}`, 403, Error{}, false},
	{"not found", `{"error":{"code":404,"message":"Permission denied or not found."}}`, 404, Error{}, false},
	{"hostile", info(403, "a\r\n::error::b\u202e", "X\nY", map[string]string{"service": "a;rm -rf", "consumer": "projects/$(id)", "permission": "`x`"}), 403, Error{}, false},
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := Decode(answer(t, c.code, nil, c.body))
			if got == nil {
				t.Fatal("not decoded")
			}
			var api *googleapi.Error
			if got.Code != c.code || !errors.As(got, &api) || strings.ContainsAny(got.Words(), "\r\n\u202e") {
				t.Errorf("%d %q of %v", got.Code, got.Words(), got.Err)
			}
			if got.RoleMissing() != c.role {
				t.Errorf("RoleMissing = %v", !c.role)
			}
			got.Code, got.Message, got.Err = 0, "", nil
			if diff := cmp.Diff(&c.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
	if got := Decode(io.EOF); got != nil {
		t.Errorf("Decode(EOF) = %v", got)
	}
}

// TestRefused shows what a user reads for each reason: of the table, or else
// Google's own words. Nothing else may be said to be the cause.
func TestRefused(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	reasons := map[string]bool{}
	for _, c := range cases {
		e := Decode(answer(t, c.code, nil, c.body))
		reasons[e.Reason+e.Permission] = true
		err := e.Refused(`read cluster "model"`, "container.googleapis.com", "my-project")
		switch {
		case err != nil:
			var titled interface{ Title() string }
			if !errors.As(err, &titled) || titled.Title() == "" {
				t.Errorf("%s: no title", c.name)
				continue
			}
			if e.Message != "" && e.Reason != "SERVICE_DISABLED" && !strings.Contains(err.Error(), e.Message) {
				t.Errorf("%s: Google's own words are not in %q", c.name, err)
			}
			fmt.Fprintf(&text, "%s: %s\n  %v\n", c.name, titled.Title(), err)
		case e.RoleMissing():
			fmt.Fprintf(&text, "%s: a role is missing, permission %q\n", c.name, e.Permission)
		default:
			fmt.Fprintf(&text, "%s: Google's own words: %s\n", c.name, e.Words())
		}
	}
	t.Logf("%d kinds of refusals in %d answers", len(reasons), len(cases))
	if len(reasons) < 25 {
		t.Errorf("%d kinds of refusals are too few", len(reasons))
	}
	for reason, a := range advices {
		if a.Title == "" || a.Cause == "" || a.Fix == "" || strings.HasSuffix(a.Fix, ".") {
			t.Errorf("%s: %+v", reason, a)
		}
	}
	if *update {
		if err := os.WriteFile("testdata/refused.golden", []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/refused.golden")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestFromWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		words string
		want  Error
	}{
		{"DENIED: Artifact Registry API has not been used in project my-project before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/artifactregistry.googleapis.com/overview?project=my-project then retry.", Error{Reason: "SERVICE_DISABLED", Service: "artifactregistry.googleapis.com", Project: "my-project"}},
		{`DENIED: gcr.io repo does not exist. Creating on push requires the artifactregistry.repositories.createOnPush permission`, Error{Permission: "artifactregistry.repositories.createOnPush"}},
		{`DENIED: Permission "artifactregistry.repositories.downloadArtifacts" denied on resource "x" (or it may not exist)`, Error{Permission: "artifactregistry.repositories.downloadArtifacts"}},
		{"DENIED: Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: x.", Error{Reason: "SECURITY_POLICY_VIOLATED"}},
		{"DENIED: Request had insufficient authentication scopes.", Error{Reason: "ACCESS_TOKEN_SCOPE_INSUFFICIENT"}},
		{"MANIFEST_UNKNOWN", Error{}},
	} {
		got := FromWords(403, c.words)
		got.Code, got.Message = 0, ""
		if diff := cmp.Diff(&c.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.words, diff)
		}
	}
}

func TestMay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		err   error
		again bool
		after time.Duration
	}{
		{"busy", answer(t, 503, http.Header{"Retry-After": {"7"}}, ""), true, 7 * time.Second},
		{"broken", answer(t, 500, nil, ""), true, 0},
		{"too many", answer(t, 429, nil, ""), true, 0},
		{"too many, the older way", answer(t, 403, nil, `{"error":{"code":403,"message":"Rate Limit Exceeded","errors":[{"reason":"userRateLimitExceeded"}]}}`), true, 0},
		{"too many, with details", answer(t, 403, nil, info(403, "x", "RATE_LIMIT_EXCEEDED", nil)), true, 0},
		{"no such method", answer(t, 501, nil, ""), false, 0},
		{"forbidden", answer(t, 403, nil, info(403, "x", "IAM_PERMISSION_DENIED", nil)), false, 0},
		{"not found", answer(t, 404, nil, ""), false, 0},
		{"reset", &url.Error{Op: "Get", Err: syscall.ECONNRESET}, true, 0},
		{"cut off in the JSON", io.ErrUnexpectedEOF, true, 0},
		{"no JSON", new(json.SyntaxError), false, 0},
		{"something else", errors.New("no key"), false, 0},
	} {
		if got := May(c.err); got.Again != c.again || got.After != c.after {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestGrant(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{Grant("projects", "p", "a@p.iam.gserviceaccount.com", "roles/x.y"), "gcloud projects add-iam-policy-binding p --member=serviceAccount:a@p.iam.gserviceaccount.com --role=roles/x.y"},
		{Grant("projects", "p", "", "roles/x.y"), "gcloud projects add-iam-policy-binding p --member=serviceAccount:EMAIL --role=roles/x.y"},
		{Grant("artifacts repositories", "m --location=l", "principalSet://iam.googleapis.com/a/attribute.repository/o/r", "roles/x.y"), "gcloud artifacts repositories add-iam-policy-binding m --location=l --member='principalSet://iam.googleapis.com/a/attribute.repository/o/r' --role=roles/x.y"},
		{Grant("projects", "p", "a'; rm -rf /", "r"), "gcloud projects add-iam-policy-binding p --member='serviceAccount:a; rm -rf /' --role=r"},
	} {
		if c[0] != c[1] {
			t.Errorf("%s\nwant %s", c[0], c[1])
		}
	}
}

func FuzzFromWords(f *testing.F) {
	f.Add("X API has not been used in project a before; Permission 'a.b.c' denied; Consumer 'project:x' has been suspended")
	f.Add("/apis/api/a/overview?project=b API is not enabled\n::error::")
	f.Fuzz(func(t *testing.T, words string) {
		e := FromWords(403, words)
		all := []string{e.Words(), e.Reason, e.Service, e.Project, e.Permission}
		if err := e.Refused("act", "s", "p"); err != nil {
			all = append(all, err.Error())
		}
		for _, s := range all {
			if strings.ContainsAny(s, "\r\n\u2028\u202e") || !utf8.ValidString(s) {
				t.Errorf("%q", s)
			}
		}
		for _, s := range all[1:5] {
			if s != "" && !plainForm.MatchString(s) {
				t.Errorf("%q could mean something to a shell", s)
			}
		}
	})
}
