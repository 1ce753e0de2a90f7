package registry_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/org/deploy-model-action/e2e/google"
	"github.com/org/deploy-model-action/e2e/internal/inproc"
	"github.com/org/deploy-model-action/e2e/registry"
)

const (
	host  = "europe-west6-docker.pkg.dev"
	model = host + "/local-project/models/model:"
)

func push(t *testing.T, door http.Handler, reference string, image v1.Image, auth authn.Authenticator) error {
	t.Helper()
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	return remote.Write(ref, image, remote.WithTransport(inproc.Transport{Handler: door}), remote.WithAuth(auth), remote.WithContext(t.Context()))
}

func pull(t *testing.T, door http.Handler, reference string, auth authn.Authenticator) error {
	t.Helper()
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	_, err = remote.Get(ref, remote.WithTransport(inproc.Transport{Handler: door}), remote.WithAuth(auth), remote.WithContext(t.Context()))
	return err
}

func image(t *testing.T) v1.Image {
	t.Helper()
	i, err := registry.Image(nil)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// check wants no error for status 0, and the registry's own error otherwise.
func check(t *testing.T, what string, err error, status int, text string) {
	t.Helper()
	var refused *transport.Error
	switch {
	case status == 0 && err != nil:
		t.Errorf("%s: %v", what, err)
	case status != 0 && (!errors.As(err, &refused) || refused.StatusCode != status || !strings.Contains(err.Error(), text)):
		t.Errorf("%s: error = %v, want status %d and %q", what, err, status, text)
	}
}

func TestArtifactRegistry(t *testing.T) {
	t.Parallel()
	c := google.New("local-project", "123456789012")
	g := registry.New(host, c)
	account := func(name string, roles ...string) (authn.Authenticator, []byte) {
		email, key, err := c.CreateServiceAccount(name, roles...)
		if err != nil {
			t.Fatal(err)
		}
		token, _ := c.Issue(email)
		return &authn.Basic{Username: "oauth2accesstoken", Password: token}, key
	}
	writer, key := account("writer", google.RoleWriter)
	reader, _ := account("reader", google.RoleReader)
	nobody, _ := account("nobody")
	one, two := image(t), image(t)

	check(t, "writer pushes", push(t, g, model+"1", one, writer), 0, "")
	check(t, "writer moves a tag", push(t, g, model+"1", two, writer), 0, "")
	check(t, "key pulls", pull(t, g, model+"1", &authn.Basic{Username: "_json_key", Password: string(key)}), 0, "")
	check(t, "reader pulls", pull(t, g, model+"1", reader), 0, "")
	check(t, "reader pushes", push(t, g, model+"2", one, reader), http.StatusForbidden, `Permission "artifactregistry.repositories.uploadArtifacts" denied on resource "projects/local-project/locations/europe-west6/repositories/models" (or it may not exist)`)
	check(t, "nobody pulls", pull(t, g, model+"1", nobody), http.StatusForbidden, `Permission "artifactregistry.repositories.downloadArtifacts" denied`)
	check(t, "without a name", pull(t, g, model+"1", authn.Anonymous), http.StatusForbidden, "Unauthenticated request.")
	check(t, "other project", pull(t, g, strings.Replace(model, "local-project", "other-project", 1)+"1", reader), http.StatusForbidden, "projects/other-project/")
	check(t, "no such tag", pull(t, g, model+"9", reader), http.StatusNotFound, "MANIFEST_UNKNOWN")

	g.SetImmutable("local-project/models")
	check(t, "immutable: the same image again", push(t, g, model+"1", two, writer), 0, "")
	check(t, "immutable: a new tag", push(t, g, model+"3", one, writer), 0, "")
	check(t, "immutable: another image", push(t, g, model+"1", one, writer), http.StatusBadRequest, "MANIFEST_INVALID: cannot update tag 1. The repository has enabled tag immutability")
	check(t, "immutable: another repository", push(t, g, strings.Replace(model, "/models/", "/other/", 1)+"1", two, writer), 0, "")
	check(t, "other repository moves a tag", push(t, g, strings.Replace(model, "/models/", "/other/", 1)+"1", one, writer), 0, "")
}

func TestForeign(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		host, realm string
		anonymous   int // status of a pull without a name from what is not public
	}{
		{"ghcr.io", "/token", http.StatusUnauthorized},
		{"harbor.example.com", "/service/token", http.StatusUnauthorized},
		{"registry.example.com", "", http.StatusUnauthorized},
	} {
		f := registry.NewForeign(x.host, registry.ForeignOptions{Realm: x.realm, Service: x.host, Username: "octocat", Password: "secret", Public: []string{"public/"}})
		right, wrong := &authn.Basic{Username: "octocat", Password: "secret"}, &authn.Basic{Username: "octocat", Password: "other"}
		check(t, x.host+": push", push(t, f, x.host+"/team/model:1", image(t), right), 0, "")
		check(t, x.host+": push to what is public", push(t, f, x.host+"/public/model:1", image(t), right), 0, "")
		check(t, x.host+": pull", pull(t, f, x.host+"/team/model:1", right), 0, "")
		check(t, x.host+": public", pull(t, f, x.host+"/public/model:1", authn.Anonymous), 0, "")
		check(t, x.host+": wrong password", pull(t, f, x.host+"/team/model:1", wrong), http.StatusUnauthorized, "UNAUTHORIZED")
		check(t, x.host+": anonymous", pull(t, f, x.host+"/team/model:1", authn.Anonymous), x.anonymous, "UNAUTHORIZED")
		check(t, x.host+": anonymous push", push(t, f, x.host+"/public/model:2", image(t), authn.Anonymous), http.StatusUnauthorized, "UNAUTHORIZED")
	}
}
