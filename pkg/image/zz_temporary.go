// Package image temporary.
package image

import (
	"context"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/oauth2"
)

type Options struct {
	Tokens             oauth2.TokenSource
	Username, Password string
	Transport          http.RoundTripper
	Limit              int
}
type Match struct {
	Written string
	Target  name.Reference
}
type Image struct {
	Written, Reference, Digest, Pinned string
	Platforms                          []string
}
type NoMatchError struct{ error }
type TagNotFoundError struct{ error }
type RefusedError struct{ error }

func Plan(written []string, host, sha string, images []string) ([]Match, error) {
	var m []Match
	for _, w := range written {
		r, err := name.ParseReference(w)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(r.Context().Name(), host+"/") {
			m = append(m, Match{w, r.Context().Tag(sha)})
		}
	}
	return m, nil
}

func Resolve(ctx context.Context, matches []Match, o Options) ([]Image, error) {
	var out []Image
	for _, m := range matches {
		t, err := o.Tokens.Token()
		if err != nil {
			return nil, err
		}
		d, err := remote.Head(m.Target, remote.WithContext(ctx), remote.WithTransport(o.Transport), remote.WithAuth(&authn.Basic{Username: "oauth2accesstoken", Password: t.AccessToken}))
		if err != nil {
			return nil, err
		}
		out = append(out, Image{Written: m.Written, Reference: m.Target.Name(), Digest: d.Digest.String(), Pinned: m.Target.Name() + "@" + d.Digest.String()})
	}
	return out, nil
}
