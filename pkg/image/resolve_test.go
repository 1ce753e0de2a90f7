package image

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"golang.org/x/oauth2"

	"github.com/org/deploy-model-action/pkg/registry"
	"github.com/org/deploy-model-action/pkg/registry/registrytest"
)

const pkgDev = "europe-west6-docker.pkg.dev"

func TestResolve(t *testing.T) {
	t.Parallel()
	w := registrytest.New(t)
	shelf := registrytest.Store()
	w.Host(pkgDev, &registrytest.Door{Behind: shelf, Admit: isGoogleToken, Basic: true})
	digest := registrytest.Put(t, shelf, testImage+":"+testSHA, registrytest.Small(t, "linux/amd64"))
	other := registrytest.Put(t, shelf, testHost+"/other:v2", registrytest.Small(t, "linux/amd64"))
	matches, err := Plan([]string{testImage + ":latest", testHost + "/other", testImage}, prefix(t, testHost), testSHA,
		[]string{"celestial-bodies-classifier", "other=" + testHost + "/other:v2@" + other.String()})
	if err != nil {
		t.Fatal(err)
	}
	got, err := resolve(t.Context(), matches, registry.Options{Tokens: googleSource, Transport: w.Client})
	if err != nil {
		t.Fatal(err)
	}
	want := []Image{
		{Written: testImage + ":latest", Reference: testImage + ":" + testSHA, Digest: digest.String(), Pinned: testImage + ":" + testSHA + "@" + digest.String()},
		{Written: testHost + "/other", Reference: testHost + "/other:v2", Digest: other.String(), Pinned: testHost + "/other:v2@" + other.String()},
		{Written: testImage, Reference: testImage + ":" + testSHA, Digest: digest.String(), Pinned: testImage + ":" + testSHA + "@" + digest.String()},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Image{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, i := range got {
		if diff := cmp.Diff([]string{"linux/amd64"}, i.Platforms()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", i.Written, diff)
		}
	}
	// Two round trips for each image, the second for its platform: no ping, no handshake, no HEAD.
	var asked []string
	for _, r := range w.Requests(pkgDev) {
		r, _, _ = strings.Cut(r, "sha256:")
		asked = append(asked, r)
	}
	slices.Sort(asked)
	if diff := cmp.Diff([]string{
		"GET /v2/my-project/models/celestial-bodies-classifier/blobs/",
		"GET /v2/my-project/models/celestial-bodies-classifier/manifests/" + testSHA,
		"GET /v2/my-project/models/other/blobs/",
		"GET /v2/my-project/models/other/manifests/",
	}, asked); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// TestResolveOddHeaders has what registries on file servers and caches answer.
func TestResolveOddHeaders(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(http.Header){
		"no digest":           func(h http.Header) { h.Del("Docker-Content-Digest") },
		"digest is none":      func(h http.Header) { h.Set("Docker-Content-Digest", "x:y") },
		"type is that of any": func(h http.Header) { h.Set("Content-Type", "application/octet-stream") },
		"no type":             func(h http.Header) { h["Content-Type"] = nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := registrytest.New(t)
			shelf := registrytest.Store()
			w.Host("ghcr.io", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				answer := httptest.NewRecorder()
				shelf.ServeHTTP(answer, r)
				maps.Copy(rw.Header(), answer.Header())
				if strings.Contains(r.URL.Path, "/manifests/") {
					spoil(rw.Header())
				}
				rw.WriteHeader(answer.Code)
				_, _ = rw.Write(answer.Body.Bytes())
			}))
			digest := registrytest.Put(t, shelf, "ghcr.io/acme/model:"+testSHA, registrytest.Small(t, "linux/amd64"))
			got, err := resolve(t.Context(), only(t, "ghcr.io/acme/model", "ghcr.io/acme", testSHA), registry.Options{Transport: w.Client})
			if err != nil || got[0].Digest != digest.String() {
				t.Errorf("got %v, %v, want %s", got, err, digest)
			}
		})
	}
}

func TestResolvePlatforms(t *testing.T) {
	t.Parallel()
	w := registrytest.New(t)
	shelf := registrytest.Store()
	w.Host("ghcr.io", shelf)
	registrytest.Put(t, shelf, "ghcr.io/acme/single:"+testSHA, registrytest.Small(t, "linux/arm64"))
	var index v1.ImageIndex = empty.Index
	for _, p := range []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64", Variant: "v8"}, {OS: "unknown", Architecture: "unknown"}} {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: registrytest.Small(t, "linux/amd64"), Descriptor: v1.Descriptor{Platform: &p}})
	}
	registrytest.Put(t, shelf, "ghcr.io/acme/index:"+testSHA, index)
	for name, want := range map[string]struct {
		platforms []string
		requests  int
	}{
		"single": {[]string{"linux/arm64"}, 3}, // ping, manifest, configuration
		"index":  {[]string{"linux/amd64", "linux/arm64/v8"}, 2},
	} {
		w.Forget()
		got, err := resolve(t.Context(), only(t, "ghcr.io/acme/"+name, "ghcr.io/acme", testSHA), registry.Options{Transport: w.Client})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.platforms, got[0].Platforms()); diff != "" {
			t.Errorf("%s: platforms (-want +got):\n%s", name, diff)
		}
		if asked := w.Requests("ghcr.io"); len(asked) != want.requests {
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
		options           registry.Options
		door              *registrytest.Door
		want              []string // credentials that the image's host got
	}{
		{"Google's token, as it is", testHost, testImage, registry.Options{Tokens: googleSource}, &registrytest.Door{Admit: isGoogleToken, Basic: true}, []string{googles}},
		{"Google's token, by handshake", testHost, testImage, registry.Options{Tokens: googleSource}, &registrytest.Door{Admit: isGoogleToken}, []string{googles, "Bearer token-of-oauth2accesstoken"}},
		{"Google's token, where Basic counts as nobody", testHost, testImage, registry.Options{Tokens: googleSource}, &registrytest.Door{Admit: isGoogleToken, Extra: func(w http.ResponseWriter, r *http.Request) bool {
			if _, _, ok := r.BasicAuth(); ok && r.URL.Path != "/v2/token" {
				registrytest.Say(w, http.StatusForbidden, "DENIED", "Unauthenticated request.")
				return true
			}
			return false
		}}, []string{googles, "Bearer token-of-oauth2accesstoken"}},
		{"Google's token on gcr.io", "eu.gcr.io/my-project", "eu.gcr.io/my-project/x", registry.Options{Tokens: googleSource}, &registrytest.Door{Admit: isGoogleToken, Basic: true}, []string{googles}},
		{"no Google's token elsewhere", "ghcr.io/acme", "ghcr.io/acme/x", registry.Options{Tokens: googleSource}, &registrytest.Door{Admit: anybody}, []string{"Bearer token-of-"}},
		{"no Google's token on a lookalike", "pkg.dev.example.com/a/b", "pkg.dev.example.com/a/b/x", registry.Options{Tokens: googleSource}, &registrytest.Door{Admit: anybody}, []string{"Bearer token-of-"}},
		{"user and password", "ghcr.io/acme", "ghcr.io/acme/x", registry.Options{Tokens: googleSource, Prefix: prefix(t, "ghcr.io/acme"), Username: "user", Password: "password"}, &registrytest.Door{Admit: user}, []string{basic, "Bearer token-of-user"}},
		{"user and password on Google", testHost, testImage, registry.Options{Tokens: googleSource, Prefix: prefix(t, testHost), Username: "user", Password: "password"}, &registrytest.Door{Admit: user}, []string{basic, "Bearer token-of-user"}},
		{"no password for another host", "quay.io/acme", "quay.io/acme/x", registry.Options{Tokens: googleSource, Prefix: prefix(t, "ghcr.io/acme"), Username: "user", Password: "password"}, &registrytest.Door{Admit: anybody}, []string{"Bearer token-of-"}},
		{"nobody at all", "quay.io/acme", "quay.io/acme/x", registry.Options{}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := registrytest.New(t)
			shelf := registrytest.Store()
			host, _, _ := strings.Cut(c.image, "/")
			w.Host(host, shelf)
			if c.door != nil {
				c.door.Behind = shelf
				w.Host(host, c.door)
			}
			registrytest.Put(t, shelf, c.image+":"+testSHA, registrytest.Small(t, "linux/amd64"))
			c.options.Transport = w.Client
			if _, err := resolve(t.Context(), only(t, c.image, c.host, testSHA), c.options); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, w.Authorizations(host)); diff != "" {
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
	w := registrytest.New(t)
	shelf := registrytest.Store()
	w.Host(pkgDev, &registrytest.Door{Behind: shelf, Admit: isGoogleToken, Basic: true})
	registrytest.Put(t, shelf, testImage+":"+testSHA, registrytest.Small(t, "linux/amd64"))
	if _, err := resolve(t.Context(), only(t, testImage, testHost, testSHA), registry.Options{Tokens: &rotating{}, Transport: w.Client}); err != nil {
		t.Error(err)
	}
}

// TestResolveBounded holds that no more requests are under way than allowed.
func TestResolveBounded(t *testing.T) {
	t.Parallel()
	w := registrytest.New(t)
	shelf := registrytest.Store()
	var now, peak atomic.Int32
	w.Host("ghcr.io", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if n := now.Add(1); n > peak.Load() {
			peak.Store(n)
		}
		time.Sleep(5 * time.Millisecond)
		shelf.ServeHTTP(rw, r)
		now.Add(-1)
	}))
	image := registrytest.Small(t, "linux/amd64")
	var written []string
	for i := range 20 {
		written = append(written, "ghcr.io/acme/x"+strconv.Itoa(i))
		registrytest.Put(t, shelf, written[i]+":"+testSHA, image)
	}
	matches, err := Plan(written, prefix(t, "ghcr.io/acme"), testSHA, nil)
	if err != nil {
		t.Fatal(err)
	}
	images, err := resolve(t.Context(), matches, registry.Options{Transport: w.Client, Limits: registry.Limits{Parallel: 3}})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range images {
		i.Platforms()
	}
	if p := peak.Load(); p > 3 || p < 2 {
		t.Errorf("%d requests at a time, want 2 or 3", p)
	}
}
