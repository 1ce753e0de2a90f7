// Package registry is go-containerregistry's OCI registry behind the token
// handshake and the permissions of Google's Artifact Registry.
package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/org/deploy-model-action/e2e/google"
)

// Registry is one Artifact Registry host.
type Registry struct {
	Host  string
	cloud *google.Cloud
	store http.Handler
}

// New returns an empty registry for the host.
func New(host string, cloud *google.Cloud) *Registry {
	return &Registry{Host: host, cloud: cloud, store: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
}

// Store is the registry without its doorkeeper, for tests and nodes.
func (g *Registry) Store() http.Handler { return g.store }

// ServeHTTP answers for https://HOST.
func (g *Registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v2/token" {
		g.token(w, r)
		return
	}
	email, ok := g.caller(r)
	if !ok {
		challenge := fmt.Sprintf(`Bearer realm="https://%s/v2/token",service=%q`, g.Host, g.Host)
		if repository := repositoryOf(r.URL.Path); repository != "" {
			challenge += fmt.Sprintf(`,scope="repository:%s:%s"`, repository, action(r.Method))
		}
		w.Header().Set("WWW-Authenticate", challenge)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication failed")
		return
	}
	if repository := repositoryOf(r.URL.Path); repository != "" {
		permission, roles := "artifactregistry.repositories.downloadArtifacts", []string{google.RoleReader, google.RoleWriter}
		if action(r.Method) == "pull,push" {
			permission, roles = "artifactregistry.repositories.uploadArtifacts", []string{google.RoleWriter}
		}
		if !g.cloud.HasRole(email, roles...) {
			project, name, _ := strings.Cut(repository, "/")
			name, _, _ = strings.Cut(name, "/")
			region, _, _ := strings.Cut(g.Host, "-docker.")
			refuse(w, http.StatusForbidden, "DENIED", fmt.Sprintf("Permission %q denied on resource \"projects/%s/locations/%s/repositories/%s\" (or it may not exist)", permission, project, region, name))
			return
		}
	}
	g.store.ServeHTTP(w, r)
}

// token is the second step of the handshake: Basic credentials for a bearer token.
func (g *Registry) token(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	switch user {
	case "oauth2accesstoken":
		if t, ok := g.cloud.Lookup(password); ok {
			issue(g.cloud, w, t.Email)
			return
		}
	case "_json_key":
		if email, ok := g.cloud.KeyOwner([]byte(password)); ok {
			issue(g.cloud, w, email)
			return
		}
	case "":
		refuse(w, http.StatusForbidden, "DENIED", "Unauthenticated request. Unauthenticated requests do not have permission \"artifactregistry.repositories.downloadArtifacts\" on the resource (or it may not exist)")
		return
	}
	refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "failed authentication")
}

func issue(cloud *google.Cloud, w http.ResponseWriter, email string) {
	token, lifetime := cloud.Issue(email)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": int(lifetime.Seconds())})
}

// caller accepts a token of the handshake, and Google's own, as the real one does.
func (g *Registry) caller(r *http.Request) (string, bool) {
	if user, password, ok := r.BasicAuth(); ok && user == "oauth2accesstoken" {
		t, ok := g.cloud.Lookup(password)
		return t.Email, ok
	}
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	t, ok := g.cloud.Lookup(token)
	return t.Email, ok
}

func action(method string) string {
	if method == http.MethodGet || method == http.MethodHead {
		return "pull"
	}
	return "pull,push"
}

// repositoryOf is NAME in /v2/NAME/manifests/…, /blobs/… or /tags/….
func repositoryOf(path string) string {
	name, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return ""
	}
	for _, part := range []string{"/manifests/", "/blobs/", "/tags/"} {
		if i := strings.LastIndex(name, part); i >= 0 {
			return name[:i]
		}
	}
	return ""
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}

// Transport asks the store without the network and without a token.
func (g *Registry) Transport() http.RoundTripper { return direct{g.store} }

type direct struct{ handler http.Handler }

// RoundTrip answers from the handler.
func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := newResponse()
	in := r.Clone(context.WithoutCancel(r.Context()))
	if in.Body == nil {
		in.Body = http.NoBody
	}
	d.handler.ServeHTTP(w, in)
	return w.result(r), nil
}
