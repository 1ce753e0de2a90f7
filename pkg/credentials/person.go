package credentials

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"
)

// adc is where `gcloud auth application-default login` leaves a person's login.
const adc = "application_default_credentials.json"

var (
	clientForm  = regexp.MustCompile(`^[a-z0-9-]{1,200}\.apps\.googleusercontent\.com$`)
	projectForm = regexp.MustCompile(`^[a-z][a-z0-9-]{4,28}[a-z0-9]$`)
)

// personal finds the login of whoever runs the program: an access token, as
// `gcloud auth print-access-token` prints it, or the file of
// `gcloud auth application-default login`. nil: there is none of them.
func (f *finder) personal() (*identity, error) {
	if token := strings.TrimSpace(f.Getenv("GOOGLE_OAUTH_ACCESS_TOKEN")); token != "" {
		return f.accessToken(token)
	}
	if f.Getenv("GOOGLE_APPLICATION_CREDENTIALS") != "" {
		return nil, nil //nolint:nilnil // it is a file as any other
	}
	for _, folder := range []string{f.Getenv("CLOUDSDK_CONFIG"), under(f.Getenv("HOME"), ".config/gcloud")} {
		if folder == "" {
			continue
		}
		name := path.Join(folder, adc)
		if _, err := f.read(name); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return f.file("gcloud auth application-default login", name)
	}
	return nil, nil //nolint:nilnil // the caller looks elsewhere
}

func under(folder, name string) string {
	if folder == "" {
		return ""
	}
	return path.Join(folder, name)
}

// accessToken takes a token that somebody else asked for. It cannot be renewed.
func (f *finder) accessToken(token string) (*identity, error) {
	if !isToken(token) {
		return nil, invalid("GOOGLE_OAUTH_ACCESS_TOKEN", "is not an access token: set it to what `gcloud auth print-access-token` prints")
	}
	return &identity{
		kind: "access token", personal: true,
		fetch: func(context.Context) (grant, error) { return grant{token: token, sent: time.Now()}, nil },
	}, nil
}

// person validates what `gcloud auth application-default login` wrote.
func (f *finder) person(doc object) (*identity, string) {
	const again = "run `gcloud auth application-default login` again"
	values := map[string]string{}
	for _, name := range []string{"client_id", "client_secret", "refresh_token", "quota_project_id", "account", "universe_domain"} {
		value, ok := doc.text(name)
		if !ok {
			return nil, fmt.Sprintf("has a %q that is not text: %s", name, again)
		}
		values[name] = value
	}
	switch {
	case values["universe_domain"] != "" && values["universe_domain"] != googleUniverse:
		return nil, "has a universe_domain that is not " + googleUniverse + ": other universes are not supported"
	case !clientForm.MatchString(values["client_id"]):
		return nil, "has a client_id that is not one of Google's: " + again
	case !isToken(values["client_secret"]) || !isToken(values["refresh_token"]):
		return nil, "has no client_secret or no refresh_token: " + again
	case values["quota_project_id"] != "" && !projectForm.MatchString(values["quota_project_id"]):
		return nil, "has a quota_project_id that is not the ID of a project: " + again
	}
	f.Mask(values["refresh_token"])
	return &identity{
		kind: "login of a person", principal: phrase(values["account"]), quota: values["quota_project_id"], personal: true,
		fetch: func(ctx context.Context) (grant, error) {
			return f.refresh(ctx, values["client_id"], values["client_secret"], values["refresh_token"])
		},
	}, ""
}

// refresh asks for a token of a person.
func (f *finder) refresh(ctx context.Context, client, secret, token string) (grant, error) {
	const act = "renew the login of `gcloud auth application-default login`"
	r, err := f.post(ctx, act, tokenURI, url.Values{
		"grant_type": {"refresh_token"}, "client_id": {client}, "client_secret": {secret}, "refresh_token": {token},
	})
	if err != nil {
		return grant{}, err
	}
	if r.status != http.StatusOK {
		return grant{}, &RefusedError{
			Act: act, Cause: "Google does not take it any more (" + r.oauthError(token, secret).words() + ")",
			Fix: "run `gcloud auth application-default login` again",
		}
	}
	return r.grant(act)
}
