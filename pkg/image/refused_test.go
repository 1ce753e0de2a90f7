package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/oauth2"

	"github.com/org/deploy-model-action/pkg/registry"
	"github.com/org/deploy-model-action/pkg/registry/registrytest"
)

// TestResolveMistakes shows each refusal as a user sees it.
func TestResolveMistakes(t *testing.T) {
	t.Parallel()
	const denied = `{"errors":[{"code":"DENIED","message":"Permission \"artifactregistry.repositories.downloadArtifacts\" denied on resource \"projects/my-project/locations/europe-west6/repositories/models\" (or it may not exist)"}]}`
	nobody := func(string, string) bool { return false }
	anybody := func(string, string) bool { return true }
	never := func(string, string) bool { return false }
	answer := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
	full := func(t *testing.T, n int) http.Handler {
		t.Helper()
		shelf, image := registrytest.Store(), registrytest.Small(t, "linux/amd64")
		for i := range n {
			registrytest.Put(t, shelf, testImage+":"+fmt.Sprintf("%040d", i), image)
		}
		return shelf
	}
	var out strings.Builder
	for _, c := range []struct {
		name, host, image string
		options           registry.Options
		handler           func(t *testing.T) http.Handler
		kind              string
	}{
		{"missing tag, nearest first", testHost, testImage, registry.Options{Tokens: googleSource}, func(t *testing.T) http.Handler {
			t.Helper()
			shelf, image := registrytest.Store(), registrytest.Small(t, "linux/amd64")
			for _, tag := range []string{"latest", "v1", "aaaa1b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a", "sha-3f2a1b9", "3f2a1b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3b"} {
				registrytest.Put(t, shelf, testImage+":"+tag, image)
			}
			return &registrytest.Door{Behind: shelf, Admit: isGoogleToken, Basic: true}
		}, "tag"},
		{"missing tag among many", testHost, testImage, registry.Options{Tokens: googleSource}, func(t *testing.T) http.Handler {
			t.Helper()
			return &registrytest.Door{Behind: full(t, 14), Admit: isGoogleToken, Basic: true}
		}, "tag"},
		{"missing tag, newest first", testHost, testImage, registry.Options{Tokens: googleSource}, func(*testing.T) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/tags/list") {
					_, _ = io.WriteString(w, `{"name":"x","tags":["a","b","latest"],"manifest":{"sha256:1":{"tag":["a"],"timeUploadedMs":"1700000000000"},"sha256:2":{"tag":["b","latest"],"timeUploadedMs":"1800000000000"}}}`)
					return
				}
				registrytest.Say(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "Failed to fetch \""+testSHA+"\"")
			})
		}, "tag"},
		{"no tag at all", testHost, testImage, registry.Options{Tokens: googleSource}, func(*testing.T) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/tags/list") {
					_, _ = io.WriteString(w, `{"name":"x","tags":null}`)
					return
				}
				registrytest.Say(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "unknown")
			})
		}, "tag"},
		{"tags cannot be listed", "ghcr.io/acme", "ghcr.io/acme/model", registry.Options{}, func(*testing.T) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == "/v2/":
				case strings.HasSuffix(r.URL.Path, "/tags/list"):
					registrytest.Say(w, http.StatusForbidden, "DENIED", "no")
				default:
					registrytest.Say(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
				}
			})
		}, "tag"},
		{"missing repository", testHost, testImage, registry.Options{Tokens: googleSource}, func(*testing.T) http.Handler {
			return &registrytest.Door{Behind: registrytest.Store(), Admit: isGoogleToken, Basic: true}
		}, "tag"},
		{"Artifact Registry without role", testHost, testImage, registry.Options{Tokens: googleSource, Principal: "deployer@my-project.iam.gserviceaccount.com"}, func(*testing.T) http.Handler {
			return &registrytest.Door{Admit: isGoogleToken, Basic: true, Refuse: denied, May: never}
		}, "refused"},
		{"Artifact Registry, federated", testHost, testImage, registry.Options{Tokens: googleSource, Principal: "principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/attribute.repository/acme/models"}, func(*testing.T) http.Handler {
			return &registrytest.Door{Admit: isGoogleToken, Basic: true, Refuse: denied, May: never}
		}, "refused"},
		{"Artifact Registry, project of a domain", "us-docker.pkg.dev/example.com/p/models", "us-docker.pkg.dev/example.com/p/models/x", registry.Options{Tokens: googleSource}, func(*testing.T) http.Handler {
			return &registrytest.Door{Admit: isGoogleToken, Basic: true, Refuse: denied, May: never}
		}, "refused"},
		{"gcr.io without role", "gcr.io/my-project", "gcr.io/my-project/model", registry.Options{Tokens: googleSource, Principal: "deployer@my-project.iam.gserviceaccount.com"}, func(*testing.T) http.Handler {
			return &registrytest.Door{Admit: isGoogleToken, Basic: true, Refuse: denied, May: never}
		}, "refused"},
		{"Artifact Registry, API disabled", testHost, testImage, registry.Options{Tokens: googleSource, Principal: "deployer@my-project.iam.gserviceaccount.com"}, func(*testing.T) http.Handler {
			return &registrytest.Door{Admit: isGoogleToken, Basic: true, Refuse: `{"errors":[{"code":"DENIED","message":"Artifact Registry API has not been used in project 123456789012 before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/artifactregistry.googleapis.com/overview?project=123456789012 then retry."}]}`, May: never}
		}, "refused"},
		{"Artifact Registry, service perimeter", testHost, testImage, registry.Options{Tokens: googleSource, Principal: "deployer@my-project.iam.gserviceaccount.com"}, func(*testing.T) http.Handler {
			return &registrytest.Door{Admit: isGoogleToken, Basic: true, Refuse: `{"errors":[{"code":"DENIED","message":"Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: abc."}]}`, May: never}
		}, "refused"},
		{"Artifact Registry, token without the scope", testHost, testImage, registry.Options{Tokens: googleSource, Principal: "deployer@my-project.iam.gserviceaccount.com"}, func(*testing.T) http.Handler {
			return &registrytest.Door{Admit: isGoogleToken, Basic: true, Refuse: `{"errors":[{"code":"DENIED","message":"Request had insufficient authentication scopes."}]}`, May: never}
		}, "refused"},
		{"Artifact Registry, in words that are not known here", testHost, testImage, registry.Options{Tokens: googleSource, Principal: "deployer@my-project.iam.gserviceaccount.com"}, func(*testing.T) http.Handler {
			return &registrytest.Door{Admit: isGoogleToken, Basic: true, Refuse: `{"errors":[{"code":"DENIED","message":"The moon is in the way."}]}`, May: never}
		}, "refused"},
		{"Google's token not accepted", testHost, testImage, registry.Options{Tokens: googleSource, Principal: "deployer@my-project.iam.gserviceaccount.com"}, func(*testing.T) http.Handler { return &registrytest.Door{Admit: nobody, Basic: true} }, "refused"},
		{"Google without credentials", testHost, testImage, registry.Options{}, func(*testing.T) http.Handler { return &registrytest.Door{Admit: nobody} }, "refused"},
		{"Google with a key as password", testHost, testImage, registry.Options{Prefix: prefix(t, testHost), Username: "_json_key", Password: "{}"}, func(*testing.T) http.Handler { return &registrytest.Door{Admit: nobody} }, "refused"},
		{"other registry without login", "registry.example.com/models", "registry.example.com/models/x", registry.Options{Tokens: googleSource}, func(*testing.T) http.Handler { return &registrytest.Door{Admit: nobody} }, "refused"},
		{"GitHub's registry without login", "ghcr.io/acme", "ghcr.io/acme/x", registry.Options{}, func(*testing.T) http.Handler {
			return &registrytest.Door{Admit: anybody, May: never, Refuse: `{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}`}
		}, "refused"},
		{"wrong password", "ghcr.io/acme", "ghcr.io/acme/x", registry.Options{Prefix: prefix(t, "ghcr.io/acme"), Username: "user", Password: "password"}, func(*testing.T) http.Handler { return &registrytest.Door{Admit: nobody} }, "refused"},
		{"half a login", "ghcr.io/acme", "ghcr.io/acme/x", registry.Options{Prefix: prefix(t, "ghcr.io/acme"), Username: "user"}, nil, ""},
		{"refused by a page", "registry.example.com/models", "registry.example.com/models/x", registry.Options{}, func(*testing.T) http.Handler { return answer(http.StatusForbidden, "<html>\n::error::Blocked") }, "refused"},
		{"no registry", "www.example.com/models", "www.example.com/models/x", registry.Options{}, func(*testing.T) http.Handler { return answer(http.StatusOK, "<html>") }, ""},
		{"not found and no registry", "www.example.com/models", "www.example.com/models/x", registry.Options{}, func(*testing.T) http.Handler { return answer(http.StatusNotFound, "<html>") }, "tag"},
		{"gone", "www.example.com/models", "www.example.com/models/x", registry.Options{}, func(*testing.T) http.Handler { return answer(http.StatusGone, "") }, ""},
		{"down", "ghcr.io/acme", "ghcr.io/acme/x", registry.Options{Limits: registry.Limits{RetryFor: time.Second}}, func(*testing.T) http.Handler {
			return answer(http.StatusServiceUnavailable, `{"errors":[{"code":"UNAVAILABLE","message":"maintenance"}]}`)
		}, ""},
		{"rate", "ghcr.io/acme", "ghcr.io/acme/x", registry.Options{Limits: registry.Limits{RetryFor: time.Second}}, func(*testing.T) http.Handler {
			return answer(http.StatusTooManyRequests, `{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your rate limit.\nSee https://example.com."}]}`)
		}, ""},
		{"huge answer", "ghcr.io/acme", "ghcr.io/acme/x", registry.Options{}, func(*testing.T) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodHead {
					w.WriteHeader(http.StatusMethodNotAllowed)
					return
				}
				if r.URL.Path != "/v2/" {
					for range 20 {
						_, _ = w.Write(make([]byte, 1<<20))
					}
				}
			})
		}, ""},
		{"no token", testHost, testImage, registry.Options{Tokens: oauth2.ReuseTokenSource(nil, failing{})}, func(*testing.T) http.Handler { return registrytest.Store() }, ""},
		{"unreachable", "nowhere.example.com/a", "nowhere.example.com/a/x", registry.Options{Limits: registry.Limits{RetryFor: time.Second}, Transport: broken{}}, nil, ""},
	} {
		w := registrytest.New(t)
		host, _, _ := strings.Cut(c.image, "/")
		if c.handler != nil {
			w.Host(host, c.handler(t))
		}
		if c.options.Transport == nil {
			c.options.Transport = w.Client
		}
		_, err := resolve(t.Context(), only(t, c.image, c.host, testSHA), c.options)
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		var (
			tag     *NotFoundError
			refused *registry.Error
			kind    string
		)
		switch {
		case errors.As(err, &tag):
			kind = "tag"
		case errors.As(err, &refused):
			kind = "refused"
		}
		if kind != c.kind {
			t.Errorf("%s: kind %q, want %q: %v", c.name, kind, c.kind, err)
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: shows the token", c.name)
		}
		fmt.Fprintf(&out, "%s:\n  %s\n", c.name, strings.ReplaceAll(err.Error(), "\n", "\n  "))
	}
	golden(t, "resolve.golden", out.String())
}

type failing struct{}

func (failing) Token() (*oauth2.Token, error) {
	return nil, errors.New("exchange the key of deployer@my-project.iam.gserviceaccount.com for a token: Google does not know this key: make a new one")
}

type broken struct{}

func (broken) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("dial tcp 192.0.2.1:443: connect: no route to host")
}

func TestResolveDigestMissing(t *testing.T) {
	t.Parallel()
	w := registrytest.New(t)
	shelf := registrytest.Store()
	w.Host("ghcr.io", shelf)
	registrytest.Put(t, shelf, "ghcr.io/acme/x:v1", registrytest.Small(t, "linux/amd64"))
	m := []Match{{Written: "x", Target: name.MustParseReference("ghcr.io/acme/x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")}}
	_, err := resolve(context.Background(), m, registry.Options{Transport: w.Client})
	golden(t, "digest.golden", fmt.Sprintln(err))
}
