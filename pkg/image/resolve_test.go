package image

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
