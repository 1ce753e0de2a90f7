// Package registry is go-containerregistry's OCI registry behind the doors of
// real ones: Google's Artifact Registry with its token handshake, permissions
// and immutable tags, and those of other hosts, which want a name and a password.
//
// What is stored, and whether a client speaks the protocol, is decided by
// go-containerregistry.
package registry

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/org/deploy-model-action/e2e/google"
	"github.com/org/deploy-model-action/e2e/internal/inproc"
)

// Registry is one Artifact Registry host.
type Registry struct {
	Host  string
	cloud *google.Cloud
	store http.Handler

	mu        sync.Mutex
	immutable map[string]bool // by PROJECT/REPOSITORY
}

// New returns an empty registry for the host.
func New(host string, cloud *google.Cloud) *Registry {
	return &Registry{Host: host, cloud: cloud, store: newStore(), immutable: map[string]bool{}}
}

func newStore() http.Handler { return registry.New(registry.Logger(log.New(io.Discard, "", 0))) }

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
	if repository := repositoryOf(r.URL.Path); repository != "" && (!g.allowed(w, email, repository, action(r.Method)) || g.frozen(w, r, repository)) {
		return
	}
	g.store.ServeHTTP(w, r)
}

// allowed tells whether IAM lets the account do that, and refuses if not.
func (g *Registry) allowed(w http.ResponseWriter, email, repository, action string) bool {
	permission := google.PermissionDownload
	if strings.Contains(action, "push") {
		permission = google.PermissionUpload
	}
	project, name, _ := strings.Cut(repository, "/")
	name, _, _ = strings.Cut(name, "/")
	if project == g.cloud.Project && g.cloud.HasPermission(email, permission) {
		return true
	}
	region, _, _ := strings.Cut(g.Host, "-docker.")
	refuse(w, http.StatusForbidden, "DENIED", fmt.Sprintf("Permission %q denied on resource \"projects/%s/locations/%s/repositories/%s\" (or it may not exist)", permission, project, region, name))
	return false
}

// token is the second step of the handshake: Basic credentials for a bearer token.
func (g *Registry) token(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		http.NotFound(w, r) // containerd tries OAuth's POST first, and knows this answer
		return
	}
	user, password, _ := r.BasicAuth()
	switch user {
	case "oauth2accesstoken":
		if t, ok := g.cloud.Lookup(password); ok {
			g.issue(w, r, t.Principal)
			return
		}
	case "_json_key":
		if email, ok := g.cloud.KeyOwner([]byte(password)); ok {
			g.issue(w, r, email)
			return
		}
	case "":
		refuse(w, http.StatusForbidden, "DENIED", "Unauthenticated request. Unauthenticated requests do not have permission \"artifactregistry.repositories.downloadArtifacts\" on the resource (or it may not exist)")
		return
	}
	refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "failed authentication")
}

// issue gives a token for the scope repository:NAME:ACTION, which is refused
// here already: what the kubelet shows is "failed to fetch oauth token: 403".
func (g *Registry) issue(w http.ResponseWriter, r *http.Request, email string) {
	kind, scope, _ := strings.Cut(r.URL.Query().Get("scope"), ":")
	if repository, action, ok := strings.Cut(scope, ":"); ok && kind == "repository" && !g.allowed(w, email, repository, action) {
		return
	}
	token, lifetime := g.cloud.Issue(email)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": int(lifetime.Seconds())})
}

// caller accepts a token of the handshake, and Google's own, as the real one does.
func (g *Registry) caller(r *http.Request) (string, bool) {
	if user, password, ok := r.BasicAuth(); ok && user == "oauth2accesstoken" {
		t, ok := g.cloud.Lookup(password)
		return t.Principal, ok
	}
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	t, ok := g.cloud.Lookup(token)
	return t.Principal, ok
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
	_ = json.NewEncoder(w).Encode(errorBody(code, message))
}

// errorBody is an error in the distribution protocol's JSON.
func errorBody(code, message string) map[string]any {
	return map[string]any{"errors": []map[string]string{{"code": code, "message": message}}}
}

// Transport asks the store without the network and without a token.
func (g *Registry) Transport() http.RoundTripper { return inproc.Transport{Handler: g.store} }
