package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"golang.org/x/oauth2"
)

const pkgDev = "europe-west6-docker.pkg.dev"

func TestResolve(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	shelf := store()
	w.host(pkgDev, &door{behind: shelf, admit: isGoogleToken, basic: true})
	digest := put(t, shelf, testImage+":"+testSHA, small(t, "linux/amd64"))
	other := put(t, shelf, testHost+"/other:v2", small(t, "linux/amd64"))
	matches, err := Plan([]string{testImage + ":latest", testHost + "/other", testImage}, testHost, testSHA,
		[]string{"celestial-bodies-classifier", "other=" + testHost + "/other:v2@" + other.String()})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Resolve(t.Context(), matches, Options{Tokens: googleSource, Transport: w.client})
	if err != nil {
		t.Fatal(err)
	}
	want := []Image{
		{Written: testImage + ":latest", Reference: testImage + ":" + testSHA, Digest: digest.String(), Pinned: testImage + ":" + testSHA + "@" + digest.String()},
		{Written: testHost + "/other", Reference: testHost + "/other:v2", Digest: other.String(), Pinned: testHost + "/other:v2@" + other.String()},
		{Written: testImage, Reference: testImage + ":" + testSHA, Digest: digest.String(), Pinned: testImage + ":" + testSHA + "@" + digest.String()},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// One round trip for each image: no ping, no handshake, no GET.
	asked := w.requests(pkgDev)
	slices.Sort(asked)
	if diff := cmp.Diff([]string{
		"HEAD /v2/my-project/models/celestial-bodies-classifier/manifests/" + testSHA,
		"HEAD /v2/my-project/models/other/manifests/" + other.String(),
	}, asked); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestResolveHeadRefused(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(http.ResponseWriter){
		"405": func(w http.ResponseWriter) { w.WriteHeader(http.StatusMethodNotAllowed) },
		"404": func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		"no digest": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			w.Header().Set("Content-Length", "12")
		},
		"no type": func(w http.ResponseWriter) {
			w.Header().Set("Docker-Content-Digest", testDigest)
			w.Header()["Content-Type"] = nil
		},
		"digest is none": func(w http.ResponseWriter) {
			w.Header().Set("Docker-Content-Digest", "x:y")
			w.Header().Set("Content-Type", "a/b")
			w.Header().Set("Content-Length", "12")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			shelf := store()
			w.host("ghcr.io", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodHead {
					spoil(rw)
					return
				}
				shelf.ServeHTTP(rw, r)
			}))
			digest := put(t, shelf, "ghcr.io/acme/model:"+testSHA, small(t, "linux/amd64"))
			got, err := Resolve(t.Context(), only(t, "ghcr.io/acme/model", "ghcr.io/acme", testSHA), Options{Transport: w.client})
			if err != nil || got[0].Digest != digest.String() {
				t.Errorf("got %v, %v, want %s", got, err, digest)
			}
		})
	}
}

func TestResolvePlatforms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	shelf := store()
	w.host("ghcr.io", shelf)
	put(t, shelf, "ghcr.io/acme/single:"+testSHA, small(t, "linux/arm64"))
	var index v1.ImageIndex = empty.Index
	for _, p := range []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64", Variant: "v8"}, {OS: "unknown", Architecture: "unknown"}} {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: small(t, "linux/amd64"), Descriptor: v1.Descriptor{Platform: &p}})
	}
	put(t, shelf, "ghcr.io/acme/index:"+testSHA, index)
	for name, want := range map[string]struct {
		platforms []string
		requests  int
	}{
		"single": {[]string{"linux/arm64"}, 3}, // ping, manifest, configuration
		"index":  {[]string{"linux/amd64", "linux/arm64/v8"}, 2},
	} {
		w.forget()
		got, err := Resolve(t.Context(), only(t, "ghcr.io/acme/"+name, "ghcr.io/acme", testSHA), Options{Transport: w.client, Platforms: true})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.platforms, got[0].Platforms); diff != "" {
			t.Errorf("%s: platforms (-want +got):\n%s", name, diff)
		}
		if asked := w.requests("ghcr.io"); len(asked) != want.requests {
			t.Errorf("%s: asked %q, want %d requests", name, asked, want.requests)
		}
	}
}

// TestResolveCredentials shows who is sent what.
func TestResolveCredentials(t *testing.T) {
	t.Parallel()
	const basic = "Basic dXNlcjpwYXNzd29yZA==" // user:password
	googles := "Basic b2F1dGgyYWNjZXNzdG9rZW46eWEyOS5nb29nbGU="
	user := func(user, password string) bool { return user == "user" && password == "password" }
	anybody := func(string, string) bool { return true }
	for _, c := range []struct {
		name, host, image string
		options           Options
		door              *door
		want              []string // credentials that the image's host got
	}{
		{"Google's token, as it is", testHost, testImage, Options{Tokens: googleSource}, &door{admit: isGoogleToken, basic: true}, []string{googles}},
		{"Google's token, by handshake", testHost, testImage, Options{Tokens: googleSource}, &door{admit: isGoogleToken}, []string{googles, "Bearer token-of-oauth2accesstoken"}},
		{"Google's token, where Basic counts as nobody", testHost, testImage, Options{Tokens: googleSource}, &door{admit: isGoogleToken, extra: func(w http.ResponseWriter, r *http.Request) bool {
			if _, _, ok := r.BasicAuth(); ok && r.URL.Path != "/v2/token" {
				say(w, http.StatusForbidden, "DENIED", "Unauthenticated request.")
				return true
			}
			return false
		}}, []string{googles, "Bearer token-of-oauth2accesstoken"}},
		{"Google's token on gcr.io", "eu.gcr.io/my-project", "eu.gcr.io/my-project/x", Options{Tokens: googleSource}, &door{admit: isGoogleToken, basic: true}, []string{googles}},
		{"no Google's token elsewhere", "ghcr.io/acme", "ghcr.io/acme/x", Options{Tokens: googleSource}, &door{admit: anybody}, []string{"Bearer token-of-"}},
		{"no Google's token on a lookalike", "pkg.dev.example.com/a/b", "pkg.dev.example.com/a/b/x", Options{Tokens: googleSource}, &door{admit: anybody}, []string{"Bearer token-of-"}},
		{"user and password", "ghcr.io/acme", "ghcr.io/acme/x", Options{Tokens: googleSource, RegistryHost: "ghcr.io/acme", Username: "user", Password: "password"}, &door{admit: user}, []string{basic, "Bearer token-of-user"}},
		{"user and password on Google", testHost, testImage, Options{Tokens: googleSource, RegistryHost: testHost, Username: "user", Password: "password"}, &door{admit: user}, []string{basic, "Bearer token-of-user"}},
		{"no password for another host", "quay.io/acme", "quay.io/acme/x", Options{Tokens: googleSource, RegistryHost: "ghcr.io/acme", Username: "user", Password: "password"}, &door{admit: anybody}, []string{"Bearer token-of-"}},
		{"nobody at all", "quay.io/acme", "quay.io/acme/x", Options{}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			shelf := store()
			host, _, _ := strings.Cut(c.image, "/")
			w.host(host, shelf)
			if c.door != nil {
				c.door.behind = shelf
				w.host(host, c.door)
			}
			put(t, shelf, c.image+":"+testSHA, small(t, "linux/amd64"))
			c.options.Transport = w.client
			if _, err := Resolve(t.Context(), only(t, c.image, c.host, testSHA), c.options); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, w.authorizations(host)); diff != "" {
				t.Errorf("credentials (-want +got):\n%s", diff)
			}
		})
	}
}

// rotating is a source whose first token has ended before its time.
type rotating struct{ tokens atomic.Int32 }

func (r *rotating) Token() (*oauth2.Token, error) {
	if r.tokens.Load() == 0 {
		return &oauth2.Token{AccessToken: "ended"}, nil
	}
	return &oauth2.Token{AccessToken: secret}, nil
}

func (r *rotating) Forget(token string) {
	if token == "ended" {
		r.tokens.Store(1)
	}
}

func TestResolveReplacesToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	shelf := store()
	w.host(pkgDev, &door{behind: shelf, admit: isGoogleToken, basic: true})
	put(t, shelf, testImage+":"+testSHA, small(t, "linux/amd64"))
	if _, err := Resolve(t.Context(), only(t, testImage, testHost, testSHA), Options{Tokens: &rotating{}, Transport: w.client}); err != nil {
		t.Error(err)
	}
}

// TestResolveBounded holds that no more requests are under way than allowed.
func TestResolveBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	shelf := store()
	var now, peak atomic.Int32
	w.host("ghcr.io", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if n := now.Add(1); n > peak.Load() {
			peak.Store(n)
		}
		time.Sleep(5 * time.Millisecond)
		shelf.ServeHTTP(rw, r)
		now.Add(-1)
	}))
	image := small(t, "linux/amd64")
	var written []string
	for i := range 20 {
		written = append(written, "ghcr.io/acme/x"+strconv.Itoa(i))
		put(t, shelf, written[i]+":"+testSHA, image)
	}
	matches, err := Plan(written, "ghcr.io/acme", testSHA, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Resolve(t.Context(), matches, Options{Transport: w.client, Limit: 3}); err != nil {
		t.Fatal(err)
	}
	if p := peak.Load(); p > 3 || p < 2 {
		t.Errorf("%d requests at a time, want 2 or 3", p)
	}
}

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
		shelf, image := store(), small(t, "linux/amd64")
		for i := range n {
			put(t, shelf, testImage+":"+fmt.Sprintf("%040d", i), image)
		}
		return shelf
	}
	var out strings.Builder
	for _, c := range []struct {
		name, host, image string
		options           Options
		handler           func(t *testing.T) http.Handler
		kind              string
	}{
		{"missing tag, nearest first", testHost, testImage, Options{Tokens: googleSource}, func(t *testing.T) http.Handler {
			shelf, image := store(), small(t, "linux/amd64")
			for _, tag := range []string{"latest", "v1", "aaaa1b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a", "sha-3f2a1b9", "3f2a1b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3b"} {
				put(t, shelf, testImage+":"+tag, image)
			}
			return &door{behind: shelf, admit: isGoogleToken, basic: true}
		}, "tag"},
		{"missing tag among many", testHost, testImage, Options{Tokens: googleSource}, func(t *testing.T) http.Handler { return &door{behind: full(t, 14), admit: isGoogleToken, basic: true} }, "tag"},
		{"missing tag, newest first", testHost, testImage, Options{Tokens: googleSource}, func(*testing.T) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/tags/list") {
					_, _ = io.WriteString(w, `{"name":"x","tags":["a","b","latest"],"manifest":{"sha256:1":{"tag":["a"],"timeUploadedMs":"1700000000000"},"sha256:2":{"tag":["b","latest"],"timeUploadedMs":"1800000000000"}}}`)
					return
				}
				say(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "Failed to fetch \""+testSHA+"\"")
			})
		}, "tag"},
		{"no tag at all", testHost, testImage, Options{Tokens: googleSource}, func(*testing.T) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/tags/list") {
					_, _ = io.WriteString(w, `{"name":"x","tags":null}`)
					return
				}
				say(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "unknown")
			})
		}, "tag"},
		{"tags cannot be listed", "ghcr.io/acme", "ghcr.io/acme/model", Options{}, func(*testing.T) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == "/v2/":
				case strings.HasSuffix(r.URL.Path, "/tags/list"):
					say(w, http.StatusForbidden, "DENIED", "no")
				default:
					say(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
				}
			})
		}, "tag"},
		{"missing repository", testHost, testImage, Options{Tokens: googleSource}, func(*testing.T) http.Handler { return &door{behind: store(), admit: isGoogleToken, basic: true} }, "tag"},
		{"Artifact Registry without role", testHost, testImage, Options{Tokens: googleSource, Principal: "deployer@my-project.iam.gserviceaccount.com"}, func(*testing.T) http.Handler {
			return &door{admit: isGoogleToken, basic: true, refuse: denied, may: never}
		}, "refused"},
		{"Artifact Registry, federated", testHost, testImage, Options{Tokens: googleSource, Principal: "principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/attribute.repository/acme/models"}, func(*testing.T) http.Handler {
			return &door{admit: isGoogleToken, basic: true, refuse: denied, may: never}
		}, "refused"},
		{"Artifact Registry, project of a domain", "us-docker.pkg.dev/example.com/p/models", "us-docker.pkg.dev/example.com/p/models/x", Options{Tokens: googleSource}, func(*testing.T) http.Handler {
			return &door{admit: isGoogleToken, basic: true, refuse: denied, may: never}
		}, "refused"},
		{"gcr.io without role", "gcr.io/my-project", "gcr.io/my-project/model", Options{Tokens: googleSource, Principal: "deployer@my-project.iam.gserviceaccount.com"}, func(*testing.T) http.Handler {
			return &door{admit: isGoogleToken, basic: true, refuse: denied, may: never}
		}, "refused"},
		{"Google's token not accepted", testHost, testImage, Options{Tokens: googleSource, Principal: "deployer@my-project.iam.gserviceaccount.com"}, func(*testing.T) http.Handler { return &door{admit: nobody, basic: true} }, "refused"},
		{"Google without credentials", testHost, testImage, Options{}, func(*testing.T) http.Handler { return &door{admit: nobody} }, "refused"},
		{"Google with a key as password", testHost, testImage, Options{RegistryHost: testHost, Username: "_json_key", Password: "{}"}, func(*testing.T) http.Handler { return &door{admit: nobody} }, "refused"},
		{"other registry without login", "registry.example.com/models", "registry.example.com/models/x", Options{Tokens: googleSource}, func(*testing.T) http.Handler { return &door{admit: nobody} }, "refused"},
		{"GitHub's registry without login", "ghcr.io/acme", "ghcr.io/acme/x", Options{}, func(*testing.T) http.Handler {
			return &door{admit: anybody, may: never, refuse: `{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}`}
		}, "refused"},
		{"wrong password", "ghcr.io/acme", "ghcr.io/acme/x", Options{RegistryHost: "ghcr.io/acme", Username: "user", Password: "password"}, func(*testing.T) http.Handler { return &door{admit: nobody} }, "refused"},
		{"half a login", "ghcr.io/acme", "ghcr.io/acme/x", Options{RegistryHost: "ghcr.io/acme", Username: "user"}, nil, ""},
		{"refused by a page", "registry.example.com/models", "registry.example.com/models/x", Options{}, func(*testing.T) http.Handler { return answer(http.StatusForbidden, "<html>\n::error::Blocked") }, "refused"},
		{"no registry", "www.example.com/models", "www.example.com/models/x", Options{}, func(*testing.T) http.Handler { return answer(http.StatusOK, "<html>") }, ""},
		{"not found and no registry", "www.example.com/models", "www.example.com/models/x", Options{}, func(*testing.T) http.Handler { return answer(http.StatusNotFound, "<html>") }, "tag"},
		{"gone", "www.example.com/models", "www.example.com/models/x", Options{}, func(*testing.T) http.Handler { return answer(http.StatusGone, "") }, ""},
		{"down", "ghcr.io/acme", "ghcr.io/acme/x", Options{Patience: time.Second}, func(*testing.T) http.Handler {
			return answer(http.StatusServiceUnavailable, `{"errors":[{"code":"UNAVAILABLE","message":"maintenance"}]}`)
		}, ""},
		{"rate", "ghcr.io/acme", "ghcr.io/acme/x", Options{Patience: time.Second}, func(*testing.T) http.Handler {
			return answer(http.StatusTooManyRequests, `{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your rate limit.\nSee https://example.com."}]}`)
		}, ""},
		{"huge answer", "ghcr.io/acme", "ghcr.io/acme/x", Options{}, func(*testing.T) http.Handler {
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
		{"no token", testHost, testImage, Options{Tokens: oauth2.ReuseTokenSource(nil, failing{})}, func(*testing.T) http.Handler { return store() }, ""},
		{"unreachable", "nowhere.example.com/a", "nowhere.example.com/a/x", Options{Patience: time.Second, Transport: broken{}}, nil, ""},
	} {
		w := newWorld(t)
		host, _, _ := strings.Cut(c.image, "/")
		if c.handler != nil {
			w.host(host, c.handler(t))
		}
		if c.options.Transport == nil {
			c.options.Transport = w.client
		}
		_, err := Resolve(t.Context(), only(t, c.image, c.host, testSHA), c.options)
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		var (
			tag     *TagNotFoundError
			refused *RefusedError
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
	w := newWorld(t)
	shelf := store()
	w.host("ghcr.io", shelf)
	put(t, shelf, "ghcr.io/acme/x:v1", small(t, "linux/amd64"))
	m := []Match{{Written: "x", Target: name.MustParseReference("ghcr.io/acme/x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")}}
	_, err := Resolve(context.Background(), m, Options{Transport: w.client})
	golden(t, "digest.golden", fmt.Sprintln(err))
}
