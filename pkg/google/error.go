// Package google decodes the errors of Google's APIs: why a request was refused,
// which service and whose project it is about, which permission is missing, and
// Google's own words as one harmless line. One table says what each reason means
// and what to do about it; a reason that is not in it is told in Google's words.
//
// It also says which of these errors may pass, and writes the command that grants
// a role. What was asked, and which role would allow it, the caller knows.
package google

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/api/googleapi"

	"github.com/org/deploy-model-action/pkg/redact"
	"github.com/org/deploy-model-action/pkg/retry"
)

// Error is an error of one of Google's APIs. What Google did not say is "".
type Error struct {
	Code       int    // HTTP's
	Reason     string // of google.rpc.ErrorInfo, or known by the words, e.g. "SERVICE_DISABLED"
	Service    string // e.g. "container.googleapis.com"
	Project    string // ID or number of the project that is to blame, which may be another than the one asked about
	Permission string // that is missing, e.g. "container.clusters.get"
	Message    string // Google's own words, in one line
	Err        error  // the client's
}

func (e *Error) Error() string { return e.Words() }

// Unwrap returns the client's error.
func (e *Error) Unwrap() error { return e.Err }

// Words are Google's own, or the status if there are none.
func (e *Error) Words() string {
	if e.Message != "" {
		return e.Message
	}
	return fmt.Sprintf("status %d", e.Code)
}

// Decode reads the error of one of Google's clients; nil if Google did not answer.
func Decode(err error) *Error {
	var api *googleapi.Error
	if !errors.As(err, &api) {
		return nil
	}
	e := &Error{Code: api.Code, Message: redact.Phrase(api.Message), Err: err}
	for _, d := range api.Details {
		detail, ok := d.(map[string]any)
		if !ok || detail["@type"] != "type.googleapis.com/google.rpc.ErrorInfo" {
			continue
		}
		metadata, _ := detail["metadata"].(map[string]any)
		text := func(from map[string]any, key string) string { s, _ := from[key].(string); return s }
		e.Reason, e.Service = plain(text(detail, "reason")), plain(text(metadata, "service"))
		e.Project, e.Permission = project(text(metadata, "consumer")), plain(text(metadata, "permission"))
	}
	e.read(api.Message)
	return e
}

// FromWords reads an error of which there are only words, as registries have it.
func FromWords(code int, words string) *Error {
	e := &Error{Code: code, Message: redact.Phrase(words)}
	e.read(words)
	return e
}

// What Google's APIs have no details for, or had none before they had any.
var (
	notUsed   = regexp.MustCompile(`has not been used in project (\S+) before|API is not enabled|requires a quota project`)
	overview  = regexp.MustCompile(`/apis/api/([a-z0-9.-]+)/overview\?project=([A-Za-z0-9.:-]+)`)
	perimeter = regexp.MustCompile(`vpcServiceControlsUniqueIdentifier`)
	unpaid    = regexp.MustCompile(`requires billing to be enabled|[Bb]illing (?:is|account .*) (?:disabled|not open)`)
	ofProject = regexp.MustCompile(`project (?:#|number )?['"]?([a-z0-9][a-z0-9.:-]{3,62}[a-z0-9])`)
	suspended = regexp.MustCompile(`Consumer '([^']*)' has been suspended`)
	scopes    = regexp.MustCompile(`insufficient authentication scopes`)
	walled    = regexp.MustCompile(`[Aa]ccess denied by organization restriction`)
	denied    = regexp.MustCompile(`(?i)\bdeny polic(?:y|ies)\b|explicitly denied`)
	bounded   = regexp.MustCompile(`(?i)principal access boundary`)
	usage     = regexp.MustCompile(`constraints/gcp\.restrictServiceUsage`)
	policies  = regexp.MustCompile(`(?i)\bconstraints/[a-z]+\.\w+|violat\w+ .*org(?:anization)? policy|denied by org policy|permitted customer`)
	missing   = regexp.MustCompile(`(?:Required "|Permission ['"]?|requires the )([a-z]+\.[A-Za-z]+\.[A-Za-z]+)`)
)

// read finds in Google's words what the details did not say.
func (e *Error) read(words string) {
	if e.Reason == "IAM_PERMISSION_DENIED" && (denied.MatchString(words) || bounded.MatchString(words)) {
		e.Reason = "" // no role would help
	}
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	if m := missing.FindStringSubmatch(words); m != nil {
		set(&e.Permission, m[1])
	}
	if m := overview.FindStringSubmatch(words); m != nil {
		set(&e.Service, m[1])
		set(&e.Project, project(m[2]))
	}
	if m := notUsed.FindStringSubmatch(words); m != nil {
		set(&e.Reason, "SERVICE_DISABLED")
		set(&e.Project, project(m[1]))
	}
	if perimeter.MatchString(words) {
		set(&e.Reason, "SECURITY_POLICY_VIOLATED")
	}
	if unpaid.MatchString(words) {
		set(&e.Reason, "BILLING_DISABLED")
		if m := ofProject.FindStringSubmatch(words); m != nil {
			set(&e.Project, project(m[1]))
		}
	}
	if m := suspended.FindStringSubmatch(words); m != nil {
		set(&e.Reason, "CONSUMER_SUSPENDED")
		set(&e.Project, project(m[1]))
	}
	if scopes.MatchString(words) {
		set(&e.Reason, "ACCESS_TOKEN_SCOPE_INSUFFICIENT")
	}
	if walled.MatchString(words) {
		set(&e.Reason, "ORG_RESTRICTION_VIOLATION")
	}
	if denied.MatchString(words) {
		set(&e.Reason, "DENY_POLICY")
	}
	if bounded.MatchString(words) {
		set(&e.Reason, "ACCESS_BOUNDARY")
	}
	if usage.MatchString(words) {
		set(&e.Reason, "RESOURCE_USAGE_RESTRICTION_VIOLATED")
	}
	if policies.MatchString(words) {
		set(&e.Reason, "ORG_POLICY")
	}
}

// RoleMissing reports whether Google refused since the principal lacks a
// permission, or may not know whether there is what it asked for.
func (e *Error) RoleMissing() bool {
	if e.Code != http.StatusForbidden || e.Reason != "" && !slices.Contains([]string{"IAM_PERMISSION_DENIED", "forbidden"}, e.Reason) {
		return false
	}
	// An answer without words, as a proxy on the way gives, says nothing about roles.
	return e.Reason != "" || e.Permission != "" || strings.Contains(strings.ToLower(e.Message), "permission")
}

// May reports whether an error of one of Google's clients may pass: for pkg/retry.
func May(err error) retry.Verdict {
	var api *googleapi.Error
	if !errors.As(err, &api) {
		return retry.Verdict{Again: retry.Network(err)}
	}
	e := Decode(err)
	limited := api.Code == http.StatusForbidden && (e.Reason == "RATE_LIMIT_EXCEEDED" ||
		slices.ContainsFunc(api.Errors, func(i googleapi.ErrorItem) bool {
			return strings.HasSuffix(strings.ToLower(i.Reason), "ratelimitexceeded")
		}))
	return retry.Verdict{Again: limited || retry.Status(api.Code), After: retry.After(api.Header)}
}

// plainForm is what may become part of a sentence and of a command.
var plainForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,126}$`)

func plain(s string) string {
	if !plainForm.MatchString(s) {
		return ""
	}
	return s
}

// project is the project of a consumer: projects/123, project:id, project_number:123.
func project(consumer string) string {
	for _, prefix := range []string{"projects/", "project:", "project_number:", "#"} {
		consumer = strings.TrimPrefix(consumer, prefix)
	}
	return plain(strings.TrimRight(consumer, ".,"))
}
