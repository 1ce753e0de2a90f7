package publish_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// outside is the cloud's network for a client other than the action.
func (p *place) outside() http.RoundTripper {
	p.Helper()
	through, err := url.Parse(p.Cloud.Env(p.Client + ".pull")["HTTPS_PROXY"])
	if err != nil {
		p.Fatal(err)
	}
	content, err := os.ReadFile(p.Cloud.CAFile)
	if err != nil {
		p.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(content) {
		p.Fatal(errors.New("the cloud's authority has no certificate"))
	}
	t := &http.Transport{Proxy: http.ProxyURL(through), TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	p.Cleanup(t.CloseIdleConnections)
	return t
}

// pulls wants the tags to lead to the digest, and everything that it names to be
// there and to be whole, as a client with a login gets it through the proxy.
func (p *place) pulls(login authn.Authenticator, digest string, tags ...string) {
	p.Helper()
	options := []remote.Option{remote.WithTransport(p.outside()), remote.WithAuth(login), remote.WithContext(p.Context())}
	for _, tag := range tags {
		ref, err := name.ParseReference(p.image(tag))
		if err != nil {
			p.Fatal(err)
		}
		found, err := remote.Get(ref, options...)
		if err != nil {
			p.Errorf("pull %s: %v", ref, err)
			continue
		}
		if found.Digest.String() != digest {
			p.Errorf("pull %s: %s, want %s", ref, found.Digest, digest)
		}
		if found.MediaType.IsIndex() {
			index, err := found.ImageIndex()
			if err == nil {
				err = validate.Index(index)
			}
			if err != nil {
				p.Errorf("pull %s: %v", ref, err)
			}
			continue
		}
		image, err := found.Image()
		if err == nil {
			err = validate.Image(image)
		}
		if err != nil {
			p.Errorf("pull %s: %v", ref, err)
		}
	}
}

// google is a login to Artifact Registry.
func (p *place) google() authn.Authenticator {
	token, _ := p.Cloud.Google.Issue(p.Cloud.ServiceAccount)
	return &authn.Basic{Username: "oauth2accesstoken", Password: token}
}

// tagsOf are the tags that a step without the input tags sets.
func tagsOf(sha string) []string { return strings.Fields(sha + " latest") }

// digest is what the registry has under a tag.
func (p *place) digest(tag string) string {
	p.Helper()
	image, err := p.Cloud.Registry.Lookup(p.Context(), p.image(tag))
	if err != nil {
		p.Fatal(err)
	}
	return digestOf(p.T, image)
}

// config is the digest of a published image's configuration, which is the ID
// that a Docker engine gives it.
func (p *place) config(tag string) string {
	p.Helper()
	image, err := p.Cloud.Registry.Lookup(p.Context(), p.image(tag))
	if err != nil {
		p.Fatal(err)
	}
	id, err := image.ConfigName()
	if err != nil {
		p.Fatal(err)
	}
	return id.String()
}
