package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/org/deploy-model-action/pkg/google"
	"github.com/org/deploy-model-action/pkg/redact"
	"github.com/org/deploy-model-action/pkg/retry"
)

// Explain makes of what a request to the registry came to an error that says
// what to do. A 404 is left to the caller, who knows what is missing.
func (r *Repository) Explain(ctx context.Context, reference string, write bool, err error) error {
	host := DisplayName(r.Name.RegistryStr())
	var (
		answer  *transport.Error
		token   *tokenError
		foreign *ForeignHostError
	)
	switch {
	case errors.As(err, &token):
		return fmt.Errorf("image %q: %w", reference, token.err)
	case errors.As(err, &foreign):
		return fmt.Errorf("image %q: %w", reference, foreign)
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("image %q: %w", reference, ctx.Err())
	case errors.As(err, &answer):
		return r.answered(reference, write, answer, retry.Effort(err))
	case errors.Is(err, errTooLarge):
		return fmt.Errorf("image %q: %w; correct registry_host if that is no registry", reference, Cause(err))
	case ctx.Err() != nil:
		return fmt.Errorf("image %q: registry %q did not answer in time: %w; check that it is up, and that the runner reaches it", reference, host, ctx.Err())
	case Unanswered(err):
		return fmt.Errorf("image %q: reach registry %q: %w%s; correct registry_host, or let the runner reach it, directly or through HTTPS_PROXY", reference, host, Cause(err), retry.Effort(err))
	}
	return fmt.Errorf("image %q: registry %q: %w; correct registry_host if that is no registry", reference, host, Cause(err))
}

// answered explains an answer other than the one hoped for.
func (r *Repository) answered(reference string, write bool, answer *transport.Error, effort string) error {
	host := DisplayName(r.Name.RegistryStr())
	switch status := answer.StatusCode; {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return r.refused(reference, write, answer)
	case retry.Status(status):
		return fmt.Errorf("image %q: registry %q answered %d %s%s%s; run the job again when it is well",
			reference, host, status, http.StatusText(status), effort, bracketed(answer))
	}
	fix := "correct registry_host if that is no registry"
	if write && len(answer.Errors) > 0 {
		fix = "run the job again, and ask those who run the registry if that does not help"
	}
	return fmt.Errorf("image %q: registry %q answered %d %s%s; %s",
		reference, host, answer.StatusCode, http.StatusText(answer.StatusCode), bracketed(answer), fix)
}

// refused names what is missing and how to get it.
func (r *Repository) refused(reference string, write bool, answer *transport.Error) error {
	e := &Error{
		Reference: reference, Registry: DisplayName(r.Name.RegistryStr()), Repository: DisplayName(r.Name.Name()),
		Write: write, Principal: r.who(), Words: said(answer), Err: answer,
	}
	if asked := answer.Request; asked != nil && asked.URL != nil && !r.known(asked.URL) {
		// A host that the registry led to, and that was sent no credentials.
		return fmt.Errorf("image %q: %w", reference, &ForeignHostError{Registry: e.Registry, Host: asked.URL.Scheme + "://" + asked.URL.Host})
	}
	if r.IsGoogle() {
		r.refusedByGoogle(e, answer.StatusCode)
		return e
	}
	const hidden = "a login of an earlier step (docker/login-action) is on the runner's host, which a container action cannot see"
	switch {
	case e.Principal == "" && e.Registry == "ghcr.io":
		e.Fix = "set the inputs registry_username: ${{ github.actor }} and registry_password: ${{ secrets.GITHUB_TOKEN }}, and give the job `permissions: packages: " + map[bool]string{false: "read", true: "write"}[write] + "`; " + hidden
	case e.Principal == "":
		e.Fix = "set the inputs registry_username and registry_password; " + hidden
	default:
		e.Fix = "check the inputs registry_username and registry_password, the name of the repository, and what this user may do there"
	}
	return e
}

// refusedByGoogle says what a refusal of Artifact Registry means, of which there
// are words only.
func (r *Repository) refusedByGoogle(e *Error, status int) {
	project, _ := googleRepository(r.Name)
	answer := google.FromWords(status, e.Words)
	answer.Service, answer.Project = cmp.Or(answer.Service, "artifactregistry.googleapis.com"), cmp.Or(answer.Project, project)
	advice, known := answer.Advice()
	role := roleReader
	if e.Write {
		role = roleWriter
	}
	principal := r.options.Principal
	if r.google == nil {
		principal = "" // of a key that was given as a password
	}
	switch {
	case known:
		e.title, e.Fix = advice.Title, advice.Cause+": "+advice.Fix
	case r.google != nil && status == http.StatusUnauthorized:
		e.Fix = "Google's token itself was not accepted; check that the service account is neither disabled nor deleted, and run the job again"
	case e.Principal == "":
		e.Fix = "give the action Google credentials (input credentials_json, or google-github-actions/auth before it)"
	case status == http.StatusUnauthorized:
		e.Fix = "the login itself was not accepted; with registry_username _json_key, registry_password is the whole JSON of a service account key that still exists"
	case strings.HasSuffix(answer.Permission, ".createOnPush"):
		e.Role, e.Command = roleCreator, google.Grant("projects", project, principal, roleCreator)
	case answer.RoleMissing():
		e.Role, e.Command = role, grant(r.Name, principal, role)
	default:
		e.Fix = "if it is a role that is missing, grant " + role + ": " + grant(r.Name, principal, role)
	}
}

// known reports whether a host is the registry or its token service.
func (r *Repository) known(u *url.URL) bool {
	return sameHost(u.Host, r.Name.RegistryStr(), u.Scheme) || sameHost(u.Host, realms[r.Name.RegistryStr()], u.Scheme) ||
		r.google != nil && isGoogle(u.Host)
}

// said is what the registry answered, in its own words.
func said(answer *transport.Error) string {
	var words []string
	for _, d := range answer.Errors {
		w := string(d.Code)
		if d.Message != "" {
			w += ": " + d.Message
		}
		words = append(words, redact.Phrase(w))
		if len(words) == 3 {
			break
		}
	}
	if len(words) == 0 {
		return fmt.Sprintf("status %d", answer.StatusCode)
	}
	return strings.Join(words, "; ")
}

// bracketed is what the registry answered beyond the status, if anything.
func bracketed(answer *transport.Error) string {
	if len(answer.Errors) == 0 {
		return ""
	}
	return " (" + said(answer) + ")"
}

// Cause takes off what net/http wraps around an error: address and method are
// no help to a user, and an address may be signed. What was tried is said apart.
func Cause(err error) error {
	var (
		wrapped   *url.Error
		exhausted *retry.ExhaustedError
	)
	for errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if errors.As(err, &exhausted) {
		err = exhausted.Err
	}
	return err
}

// Unanswered reports whether there was no answer at all.
func Unanswered(err error) bool {
	var wrapped *url.Error
	return errors.As(err, &wrapped)
}

// Status is the status of an answer that is an error; 0 if there was none.
func Status(err error) int {
	var answer *transport.Error
	if errors.As(err, &answer) {
		return answer.StatusCode
	}
	return 0
}

// Words are a registry's own in an error; of another error, its text.
func Words(err error) string {
	var answer *transport.Error
	if errors.As(err, &answer) {
		return said(answer)
	}
	return redact.Phrase(err.Error())
}
