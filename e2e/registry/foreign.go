package registry

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/org/deploy-model-action/e2e/internal/inproc"
)

// ForeignOptions say how a registry that is not Google's opens its door.
type ForeignOptions struct {
	// Realm is the path of the token service, /token on GHCR and /service/token
	// on Harbor. Default, there is none: the registry wants the name and the
	// password with each request, as one with a password file does.
	Realm string
	// Service is what the token service is told.
	Service string
	// Username and Password are the only ones that open it.
	Username, Password string
	// Public are the repositories that anybody may pull from, by prefix.
	Public []string
}

// Foreign is a registry that knows nothing of Google.
type Foreign struct {
	Host    string
	options ForeignOptions
	store   http.Handler

	mu     sync.Mutex
	tokens map[string]string // user, or "" for anybody, by token
}

// NewForeign returns an empty registry for the host.
func NewForeign(host string, o ForeignOptions) *Foreign {
	return &Foreign{Host: host, options: o, store: newStore(), tokens: map[string]string{}}
}

// Transport asks the store without the network and without a password.
func (f *Foreign) Transport() http.RoundTripper { return inproc.Transport{Handler: f.store} }

// ServeHTTP answers for https://HOST.
func (f *Foreign) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.options.Realm != "" && r.URL.Path == f.options.Realm {
		f.token(w, r)
		return
	}
	repository := repositoryOf(r.URL.Path)
	user, known := f.caller(r)
	switch {
	case known && (user != "" || repository == "" || f.public(repository, r.Method)):
		f.store.ServeHTTP(w, r)
	case known:
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", fmt.Sprintf("unauthorized to access repository: %s, action: %s", repository, lastAction(r.Method)))
	default:
		f.challenge(w, r, repository)
	}
}

func (f *Foreign) public(repository, method string) bool {
	if action(method) != "pull" {
		return false
	}
	for _, p := range f.options.Public {
		if strings.HasPrefix(repository, p) {
			return true
		}
	}
	return false
}

func lastAction(method string) string {
	if action(method) == "pull" {
		return "pull"
	}
	return "push"
}

func (f *Foreign) challenge(w http.ResponseWriter, r *http.Request, repository string) {
	challenge := fmt.Sprintf("Basic realm=%q", "Registry")
	if f.options.Realm != "" {
		challenge = fmt.Sprintf(`Bearer realm="https://%s%s",service=%q`, f.Host, f.options.Realm, f.options.Service)
		if repository != "" {
			challenge += fmt.Sprintf(`,scope="repository:%s:%s"`, repository, action(r.Method))
		}
	}
	w.Header().Set("WWW-Authenticate", challenge)
	refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
}

// caller tells who asks; "" is somebody without a name, whom a token service let in.
func (f *Foreign) caller(r *http.Request) (user string, known bool) {
	if user, password, ok := r.BasicAuth(); ok && f.options.Realm == "" {
		return user, user == f.options.Username && password == f.options.Password
	}
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	f.mu.Lock()
	defer f.mu.Unlock()
	user, known = f.tokens[token]
	if !known && f.options.Realm == "" {
		return "", f.public(repositoryOf(r.URL.Path), r.Method)
	}
	return user, known
}

// token is the second step of the handshake. Nobody in particular gets a token
// too, which opens what is public.
func (f *Foreign) token(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		http.NotFound(w, r)
		return
	}
	user, password, named := r.BasicAuth()
	if named && (user != f.options.Username || password != f.options.Password) {
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "incorrect username or password")
		return
	}
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails, by its documentation
	token := hex.EncodeToString(b)
	f.mu.Lock()
	f.tokens[token] = user
	f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "access_token": token, "expires_in": 300})
}
