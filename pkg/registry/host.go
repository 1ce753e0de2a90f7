package registry

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// maxAnswer is the most that is read of one answer. Manifests, configurations and
// lists of tags are all that is read, and registries refuse manifests over 4 MiB.
const maxAnswer = 8 << 20

// realms are the token services of registries that have them on a host of the
// same owner, but of another name.
var realms = map[string]string{
	name.DefaultRegistry:  "auth.docker.io",
	"registry.gitlab.com": "gitlab.com",
}

// hostTransport is the last line of defence for credentials: go-containerregistry sends
// them to whatever public host the registry names as its token service. A request
// that carries any passes only to the registry's own host, its token service of
// the table or on a host of the same owner, and, from a registry of Google's, to
// others of Google's. What is
// fetched without any, such as layers that a registry keeps elsewhere, may come
// from any host over TLS.
type hostTransport struct {
	base     http.RoundTripper
	registry name.Registry
	google   bool // the credential is Google's
}

// RoundTrip implements http.RoundTripper.
func (t *hostTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !t.pass(req) {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, &ForeignHostError{Registry: DisplayName(t.registry.Name()), Host: req.URL.Scheme + "://" + req.URL.Host}
	}
	return t.base.RoundTrip(req)
}

func (t *hostTransport) pass(req *http.Request) bool {
	// go-containerregistry uses plain HTTP for this machine and private addresses,
	// after HTTPS did not work; nobody else may lead there.
	plain := t.registry.Scheme() == "http" && !t.google && sameHost(req.URL.Host, t.registry.RegistryStr(), req.URL.Scheme)
	if req.URL.Scheme != "https" && !plain {
		return false
	}
	if req.Header.Get("Authorization") == "" && req.URL.User == nil {
		return true
	}
	return sameHost(req.URL.Host, t.registry.RegistryStr(), req.URL.Scheme) ||
		sameHost(req.URL.Host, realms[t.registry.RegistryStr()], req.URL.Scheme) ||
		!t.google && req.URL.Scheme == "https" && above(req.URL.Host, t.registry.RegistryStr()) ||
		t.google && isGoogle(req.URL.Host)
}

// above reports whether a host is that of the registry on the port of TLS, or of a
// domain above it: that is where a GitLab of one's own has the tokens for its
// registry at gitlab.example.com:5050 or registry.gitlab.example.com. A domain beside
// it may be somebody else's.
func above(host, registry string) bool {
	name, port, _ := net.SplitHostPort(withPort(strings.ToLower(host), "https"))
	own, _, _ := net.SplitHostPort(withPort(strings.ToLower(registry), "https"))
	if port != "443" || name == "" {
		return false
	}
	return name == own || strings.Count(name, ".") > 0 && net.ParseIP(own) == nil && strings.HasSuffix(own, "."+name)
}

// sameHost compares hosts with their ports.
func sameHost(a, b, scheme string) bool {
	return b != "" && strings.EqualFold(withPort(a, scheme), withPort(b, scheme))
}

func withPort(host, scheme string) string {
	if h, port, err := net.SplitHostPort(host); err == nil && port != "" {
		return net.JoinHostPort(h, port)
	}
	port := "443"
	if scheme == "http" {
		port = "80"
	}
	return net.JoinHostPort(strings.Trim(host, "[]:"), port)
}

var errTooLarge = errors.New("larger than 8 MiB")

func tooLarge(req *http.Request) error {
	return fmt.Errorf("answer of %q to %s %s: %w", req.URL.Host, req.Method, req.URL.Path, errTooLarge)
}
