package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/org/deploy-model-action/pkg/google"
	"github.com/org/deploy-model-action/pkg/retry"
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

// refused explains an API's answer, or that there was none.
func (n need) refused(err error) error {
	var (
		token *tokenError
		ended *retry.EndedError
	)
	switch {
	case errors.As(err, &token):
		return token.err
	case errors.As(err, &ended) && !errors.Is(ended.Cause, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", n.act, ended)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", n.act, context.Canceled)
	}
	e := google.Decode(err)
	switch {
	case e == nil:
		return n.unanswered(err)
	case e.Code >= 300 && e.Code < 400:
		return fmt.Errorf("%s: Google's API answered with a redirect (status %d), which is not followed with a token in hand: let the runner reach it itself, without a portal or proxy that answers in its place", n.act, e.Code)
	case e.Code == http.StatusTooManyRequests || e.Code != http.StatusForbidden && google.May(err).Again:
		return n.passing(e, retry.Effort(err))
	}
	if known := e.Refused(n.act, n.service, n.project); known != nil {
		return known
	}
	switch {
	case e.Code == http.StatusUnauthorized:
		return n.otherwise(e, "Google does not take the token", "run the job again, and look whether the key or account was deleted if that does not help")
	case e.RoleMissing():
		return n.forbidden(e)
	case e.Code == http.StatusForbidden:
		return n.otherwise(e, "Google refuses", fmt.Sprintf("if it is a role that is missing, let an administrator grant %s with `%s`", n.role, n.grant()))
	}
	return n.otherwise(e, "Google refuses", "look at cluster_name, zone, project_id and fleet_membership")
}

// passing is an error that could have passed, and did not.
func (n need) passing(e *google.Error, effort string) error {
	if e.Code == http.StatusTooManyRequests {
		return fmt.Errorf("%s: Google's limit on such requests is reached%s (%w): run the job again in some minutes", n.act, effort, e)
	}
	return fmt.Errorf("%s: Google's API is out of order%s (%w): run the job again later", n.act, effort, e)
}

// otherwise is a refusal that is told in Google's own words.
func (n need) otherwise(e *google.Error, cause, fix string) error {
	return &google.RefusedError{Act: n.act, Advice: google.Advice{Title: "Google refused", Cause: cause, Fix: fix}, Err: e}
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
	return &silenceError{fmt.Sprintf("%s: ask %s: %s%s: %s", n.act, n.service, cause, retry.Effort(err), way), err}
}

// silenceError has words for a failure of the network, and keeps the failure.
type silenceError struct {
	text string
	err  error
}

func (e *silenceError) Error() string { return e.text }
func (e *silenceError) Unwrap() error { return e.err }

// forbidden names the role and makes the command that grants it.
func (n need) forbidden(e *google.Error) *ForbiddenError {
	f := &ForbiddenError{
		Act: n.act, Permission: cmp.Or(e.Permission, n.permission), Role: n.role, Principal: n.principal, Project: n.project,
		Command: n.grant(),
	}
	if e.Permission == "" {
		f.Words = e.Message
	}
	return f
}

// grant is the command that gives the role.
func (n need) grant() string { return google.Grant("projects", n.project, n.principal, n.role) }
