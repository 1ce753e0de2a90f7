package image

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/org/deploy-model-action/pkg/retry"
)

// explain makes of what a request to the registry came to an error that says
// what to do. A 404 is left to the caller, who knows what is missing.
func (l *login) explain(ctx context.Context, reference string, write bool, err error) error {
	host := familiar(l.repo.RegistryStr())
	var (
		answer   *transport.Error
		token    *tokenError
		stranger *StrangerError
	)
	switch {
	case errors.As(err, &token):
		return fmt.Errorf("image %q: %w", reference, token.err)
	case errors.As(err, &stranger):
		return fmt.Errorf("image %q: %w", reference, stranger)
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("image %q: %w", reference, ctx.Err())
	case errors.As(err, &answer):
		return l.answered(reference, write, answer, retry.Effort(err))
	case errors.Is(err, errTooLarge):
		return fmt.Errorf("image %q: %w; correct registry_host if that is no registry", reference, cause(err))
	case ctx.Err() != nil:
		return fmt.Errorf("image %q: registry %q did not answer in time: %w; check that it is up, and that the runner reaches it", reference, host, ctx.Err())
	case unreachable(err):
		return fmt.Errorf("image %q: reach registry %q: %w%s; correct registry_host, or let the runner reach it, directly or through HTTPS_PROXY", reference, host, cause(err), retry.Effort(err))
	}
	return fmt.Errorf("image %q: registry %q: %w; correct registry_host if that is no registry", reference, host, cause(err))
}

// answered explains an answer other than the one hoped for.
func (l *login) answered(reference string, write bool, answer *transport.Error, effort string) error {
	host := familiar(l.repo.RegistryStr())
	switch status := answer.StatusCode; {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return l.refused(reference, write, answer)
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
func (l *login) refused(reference string, write bool, answer *transport.Error) error {
	e := &RefusedError{
		Reference: reference, Registry: familiar(l.repo.RegistryStr()), Repository: familiar(l.repo.Name()),
		Write: write, Principal: l.who(), Words: said(answer), Err: answer,
	}
	if r := answer.Request; r != nil && r.URL != nil && !l.known(r.URL) {
		// A host that the registry led to, and that was sent no credentials.
		return fmt.Errorf("image %q: %w", reference, &StrangerError{Registry: e.Registry, Host: r.URL.Scheme + "://" + r.URL.Host})
	}
	role := roleReader
	if write {
		role = roleWriter
	}
	const hidden = "a login of an earlier step (docker/login-action) is on the runner's host, which a container action cannot see"
	switch {
	case l.google != nil && answer.StatusCode == http.StatusUnauthorized:
		e.Fix = "Google's token itself was not accepted; check that the service account is neither disabled nor deleted, and run the job again"
	case l.google != nil:
		e.Role, e.Command = role, grant(l.repo, l.Principal, role)
	case isGoogle(l.repo.RegistryStr()) && e.Principal != "" && answer.StatusCode == http.StatusUnauthorized:
		e.Fix = "the login itself was not accepted; with registry_username _json_key, registry_password is the whole JSON of a service account key that still exists"
	case isGoogle(l.repo.RegistryStr()) && e.Principal != "":
		// A key that was given as a password.
		e.Role, e.Command = role, grant(l.repo, "", role)
	case isGoogle(l.repo.RegistryStr()):
		e.Fix = "give the action Google credentials (input credentials_json, or google-github-actions/auth before it)"
	case e.Principal == "" && e.Registry == "ghcr.io":
		e.Fix = "set the inputs registry_username: ${{ github.actor }} and registry_password: ${{ secrets.GITHUB_TOKEN }}, and give the job `permissions: packages: " + map[bool]string{false: "read", true: "write"}[write] + "`; " + hidden
	case e.Principal == "":
		e.Fix = "set the inputs registry_username and registry_password; " + hidden
	default:
		e.Fix = "check the inputs registry_username and registry_password, the name of the repository, and what this user may do there"
	}
	return e
}

// known tells whether a host is the registry or its token service.
func (l *login) known(u *url.URL) bool {
	return sameHost(u.Host, l.repo.RegistryStr(), u.Scheme) || sameHost(u.Host, realms[l.repo.RegistryStr()], u.Scheme) ||
		l.google != nil && isGoogle(u.Host)
}

// said is what the registry answered, in its own words.
func said(answer *transport.Error) string {
	var words []string
	for _, d := range answer.Errors {
		w := string(d.Code)
		if d.Message != "" {
			w += ": " + d.Message
		}
		words = append(words, phrase(w))
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

// cause takes off what net/http wraps around an error: address and method are
// no help to a user, and an address may be signed. What was tried is said apart.
func cause(err error) error {
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

// unreachable tells whether there was no answer at all.
func unreachable(err error) bool {
	var wrapped *url.Error
	return errors.As(err, &wrapped)
}
