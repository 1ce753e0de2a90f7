package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"google.golang.org/api/googleapi"
)

// need is a request to one of Google's APIs, and what it takes to be let in.
type need struct {
	act        string // e.g. `read cluster "model"`
	service    string // the API's host name
	project    string
	permission string // an answer may name another one
	role       string // the narrowest predefined role that has it and is of use in a deploy
	principal  string // "" if unknown
}

// missing finds the permission in the words of Google's APIs.
var missing = regexp.MustCompile(`(?:Required "|Permission ['"]?)([a-z]+\.[A-Za-z]+\.[A-Za-z]+)`)

// refused explains an API's answer, or that there was none.
func (n need) refused(err error) error {
	var (
		token *tokenError
		api   *googleapi.Error
	)
	switch {
	case errors.As(err, &token):
		return token.err
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", n.act, context.Canceled)
	case !errors.As(err, &api):
		return n.unanswered(err)
	}
	said := phrase(api.Message)
	if said == "" {
		said = fmt.Sprintf("status %d", api.Code)
	}
	switch {
	case api.Code >= 300 && api.Code < 400:
		return fmt.Errorf("%s: Google's API answered with a redirect (status %d), which is not followed with a token in hand: let the runner reach it itself, without a portal or proxy that answers in its place", n.act, api.Code)
	case api.Code == http.StatusUnauthorized:
		return fmt.Errorf("%s: Google does not take the token (%s): run the job again, and look whether the key or account was deleted if that does not help", n.act, said)
	case api.Code == http.StatusForbidden && disabled(api):
		service := n.service
		if _, named := errorInfo(api); named != "" {
			service = named
		}
		return &DisabledError{Service: service, Project: n.project, Command: fmt.Sprintf("gcloud services enable %s --project=%s", service, n.project)}
	case api.Code == http.StatusForbidden && strings.Contains(api.Message, "vpcServiceControlsUniqueIdentifier"):
		return fmt.Errorf("%s: a service perimeter (VPC Service Controls) refuses (%s): let an administrator admit this principal or runner to the perimeter", n.act, said)
	case api.Code == http.StatusForbidden:
		if m := missing.FindStringSubmatch(api.Message); m != nil {
			n.permission = m[1]
		}
		return n.forbidden()
	case api.Code == http.StatusTooManyRequests:
		return fmt.Errorf("%s: Google's limit on such requests is reached (%s): run the job again in some minutes", n.act, said)
	case api.Code >= 500:
		return fmt.Errorf("%s: Google's API is out of order (%s): run the job again later", n.act, said)
	}
	return fmt.Errorf("%s: Google refuses (%s): look at cluster_name, zone, project_id and fleet_membership", n.act, said)
}

// unanswered explains a request that Google's API did not answer.
func (n need) unanswered(err error) error {
	var request *url.Error
	if !errors.As(err, &request) {
		return fmt.Errorf("%s: read Google's answer: %w: let the runner reach Google itself, without a portal or proxy that answers in its place", n.act, err)
	}
	what, cause := diagnose(err)
	way := "let the runner reach it, directly or through HTTPS_PROXY"
	if what == untrusted {
		way = "let the runner reach it without a proxy that opens TLS, or trust that proxy's CA with SSL_CERT_FILE"
	}
	return &silenceError{fmt.Sprintf("%s: ask %s: %s: %s", n.act, n.service, cause, way), err}
}

// silenceError has words for a failure of the network, and keeps the failure.
type silenceError struct {
	text string
	err  error
}

func (e *silenceError) Error() string { return e.text }
func (e *silenceError) Unwrap() error { return e.err }

// forbidden names the role and makes the command that grants it.
func (n need) forbidden() *ForbiddenError {
	return &ForbiddenError{
		Act: n.act, Permission: n.permission, Role: n.role, Principal: n.principal, Project: n.project,
		Command: grant(n.project, n.principal, n.role),
	}
}

// grant is the command that gives a role to a principal.
func grant(project, principal, role string) string {
	return fmt.Sprintf("gcloud projects add-iam-policy-binding %s --member=%s --role=%s", project, member(principal), role)
}

// member is a principal in the form of IAM policies, ready for a shell.
func member(principal string) string {
	switch {
	case principal == "":
		return "serviceAccount:EMAIL"
	case strings.HasPrefix(principal, "principal:") || strings.HasPrefix(principal, "principalSet:"):
		return "'" + principal + "'"
	}
	return "serviceAccount:" + principal
}

// disabled says whether the API itself was the matter.
func disabled(api *googleapi.Error) bool {
	if reason, _ := errorInfo(api); reason == "SERVICE_DISABLED" {
		return true
	}
	return strings.Contains(api.Message, "has not been used in project") || strings.Contains(api.Message, "API is not enabled")
}

// errorInfo reads google.rpc.ErrorInfo from an error's details.
func errorInfo(api *googleapi.Error) (reason, service string) {
	for _, d := range api.Details {
		detail, ok := d.(map[string]any)
		if !ok || detail["@type"] != "type.googleapis.com/google.rpc.ErrorInfo" {
			continue
		}
		reason, _ = detail["reason"].(string)
		if metadata, ok := detail["metadata"].(map[string]any); ok {
			service, _ = metadata["service"].(string)
		}
	}
	return reason, service
}
