package publish_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/google"
	"github.com/org/deploy-model-action/e2e/localcloud"
)

// TestElsewhere publishes into registries that are not Google's, with a name and
// a password: by a token service on GHCR and Harbor, with every request where
// there is none.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	for _, host := range []string{localcloud.GHCR, localcloud.Harbor, localcloud.PlainRegistry} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			x := cloudtest.New(t)
			p := at(x, host+"/octocat/"+x.Namespace)
			sha, body := p.SHA(0), "model of "+p.Namespace
			image := model(t, body, sizes)
			layoutOf(t, filepath.Join(p.Workspace, "layout"), image, p.image(sha), sha)
			s := p.step(sha, "layout", map[string]string{"registry_username": localcloud.RegistryUser, "registry_password": localcloud.RegistryPassword, "tags": "latest\nmain"})

			r := p.Run(s)
			want(t, r, 0, "deployed")
			digest := p.serves(r, sha, body)
			if own := digestOf(t, image); digest != own {
				t.Errorf("published as %s, and it is %s", digest, own)
			}
			if l := p.published(r, sha); l.tags != "latest, main" || l.uploaded != 2 || l.there != 0 {
				t.Errorf("the log says: %+v", l)
			}
			p.pulls(&authn.Basic{Username: localcloud.RegistryUser, Password: localcloud.RegistryPassword}, digest, sha, "latest", "main")
			if !slices.Contains(r.Masks, localcloud.RegistryPassword) || strings.Contains(unmasked(r.Raw)+r.Summary, localcloud.RegistryPassword) {
				t.Errorf("the password is not masked, or shown")
			}

			before := len(p.Requests())
			r = p.Run(s)
			want(t, r, 0, "unchanged")
			if l := p.published(r, sha); l.uploaded != 0 || l.there != 2 {
				t.Errorf("the log says of the second run: %+v", l)
			}
			if writes := p.since(before, ""); len(writes) > 0 {
				t.Errorf("the second run put into the registry: %q", writes)
			}
		})
	}
}

// TestAnonymous deploys what anybody may pull, and is sent no credentials for.
func TestAnonymous(t *testing.T) {
	t.Parallel()
	for _, host := range []string{localcloud.GHCR, localcloud.Harbor, localcloud.PlainRegistry} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			x := cloudtest.New(t)
			p := at(x, host+"/public/"+x.Namespace)
			sha, body := p.SHA(0), "model of "+p.Namespace
			image := model(t, body, sizes)
			ref, err := name.ParseReference(p.image(sha), name.Insecure)
			if err != nil {
				t.Fatal(err)
			}
			if err := remote.Write(ref, image, remote.WithTransport(p.Cloud.Foreign[host].Transport()), remote.WithContext(t.Context())); err != nil {
				t.Fatal(err)
			}
			r := p.Run(p.step(sha, "", nil))
			want(t, r, 0, "deployed")
			if digest := p.serves(r, sha, body); digest != digestOf(t, image) {
				t.Errorf("deployed %s, want %s", digest, digestOf(t, image))
			}
			for _, e := range p.Requests() {
				// The token that GHCR gives to anybody is none of ours.
				if e.Host == host && e.Authorization && (host == localcloud.PlainRegistry || !strings.HasPrefix(e.Path, "/v2/")) {
					t.Errorf("was sent credentials: %s %s", e.Method, e.Path)
				}
			}
		})
	}
}

// TestKeyAsPassword publishes with another account's key, as the seed's login
// does, while the credentials of the deploy may only read.
func TestKeyAsPassword(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	sha, body := p.SHA(0), "model of "+p.Namespace
	image := model(t, body, sizes)
	layoutOf(t, filepath.Join(p.Workspace, "layout"), image, p.image(sha), sha)
	suffix := p.Namespace[len(p.Namespace)-5:]
	r := p.Run(p.step(sha, "layout", map[string]string{
		"credentials_json":  account(p.Test, "deploys-"+suffix, google.RoleDeveloper),
		"registry_username": "_json_key", "registry_password": account(p.Test, "publishes-"+suffix, google.RoleWriter),
	}))
	want(t, r, 0, "deployed")
	p.pulls(p.google(), p.serves(r, sha, body), tagsOf(sha)...)
}

// TestIndex publishes an image for two architectures: what is deployed is the
// index, of which the nodes take what fits them.
func TestIndex(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	sha, body := p.SHA(0), "model of "+p.Namespace
	both := index(t, body, "arm64", "amd64")
	layoutOf(t, filepath.Join(p.Workspace, "layout"), both, p.image(sha), sha)
	r := p.Run(p.step(sha, "layout", nil))
	want(t, r, 0, "deployed")
	digest := p.serves(r, sha, body)
	if own := digestOf(t, both); digest != own {
		t.Errorf("published as %s, and the index is %s", digest, own)
	}
	if l := p.published(r, sha); l.uploaded != 4 || l.there != 0 {
		t.Errorf("the log says: %+v", l)
	}
	p.pulls(p.google(), digest, tagsOf(sha)...)
	byDocker(p, digest, tagsOf(sha)...)
	before := len(p.Requests())
	r = p.Run(p.step(sha, "layout", nil))
	want(t, r, 0, "unchanged")
	if l := p.published(r, sha); l.uploaded != 0 {
		t.Errorf("the log says of the second run: %+v", l)
	}
	if writes := p.since(before, ""); len(writes) > 0 {
		t.Errorf("the second run put into the registry: %q", writes)
	}
}
