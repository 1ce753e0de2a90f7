package image

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/oauth2"
)

// TestLiars asks registries that lead elsewhere. Not one credential may arrive at
// the other host, whether or not the image is found.
func TestLiars(t *testing.T) {
	t.Parallel()
	const evil = "evil.example.org"
	redirect := func(to string, paths ...string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			for _, p := range paths {
				if strings.Contains(r.URL.Path, p) {
					http.Redirect(w, r, to+r.URL.Path, http.StatusTemporaryRedirect)
					return true
				}
			}
			return false
		}
	}
	challenge := func(value string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("WWW-Authenticate", value)
			say(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
			return true
		}
	}
	anybody := func(string, string) bool { return true }
	for _, c := range []struct {
		name   string
		door   *door
		evil   http.Handler // default: takes everything
		reach  bool         // a request without credentials may get there
		works  bool
		stored bool // the other host has the image
	}{
		{name: "realm elsewhere", door: &door{admit: anybody, realm: "https://" + evil + "/token"}},
		{name: "realm in plain text", door: &door{admit: anybody, realm: "http://" + evil + "/token"}},
		{name: "realm with a user of its own", door: &door{extra: challenge(`Bearer realm="https://user:password@` + evil + `/token"`)}},
		{name: "realm on a port", door: &door{admit: anybody, realm: "https://HOST:8443/token"}},
		{name: "realm is the metadata server", door: &door{admit: anybody, realm: "http://169.254.169.254/token"}},
		{name: "realm's redirect", door: &door{admit: anybody, extra: redirect("https://"+evil, "/v2/token")}, reach: true, works: true},
		{name: "two challenges", door: &door{extra: func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Add("WWW-Authenticate", "Negotiate")
			return challenge(`Bearer realm="https://`+evil+`/token"`)(w, r)
		}}},
		{name: "manifest elsewhere", door: &door{admit: anybody, extra: redirect("https://"+evil, "/manifests/")}, reach: true, stored: true, works: true},
		{name: "manifest elsewhere, which wants a login", door: &door{admit: anybody, extra: redirect("https://"+evil, "/manifests/")}, evil: &door{admit: anybody}, reach: true},
		{name: "manifest elsewhere, which wants Basic", door: &door{admit: anybody, extra: redirect("https://"+evil, "/manifests/")}, evil: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { challenge(`Basic realm="x"`)(w, r) }), reach: true},
		{name: "manifest in plain text", door: &door{admit: anybody, extra: redirect("http://"+evil, "/manifests/")}},
		{name: "manifest with a user of its own", door: &door{admit: anybody, extra: redirect("https://user:password@"+evil, "/manifests/")}},
		{name: "layer elsewhere", door: &door{admit: anybody, extra: redirect("https://"+evil, "/blobs/")}, reach: true, stored: true, works: true},
		{name: "everything elsewhere", door: &door{extra: redirect("https://"+evil, "/")}, evil: &door{admit: anybody}, reach: true},
		{name: "tags elsewhere", door: &door{admit: anybody, extra: func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/tags/list") {
				if strings.Contains(r.URL.Path, "/manifests/") {
					say(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "unknown")
					return true
				}
				return false
			}
			w.Header().Set("Link", `<https://`+evil+`/v2/x/tags/list?last=a>; rel="next"`)
			_, _ = w.Write([]byte(`{"tags":["a"]}`))
			return true
		}}},
	} {
		for who, o := range map[string]Options{
			"Google's token": {Tokens: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: secret})},
			"a password":     {Username: "user", Password: "password"},
		} {
			t.Run(c.name+", "+who, func(t *testing.T) {
				t.Parallel()
				host, place := "registry.example.com", "registry.example.com/models"
				if o.Tokens != nil {
					host, place = pkgDev, testHost
				}
				w := newWorld(t)
				shelf := store()
				d := *c.door
				d.behind = shelf
				d.realm = strings.ReplaceAll(d.realm, "HOST", evil)
				w.host(host, &d)
				switch {
				case c.evil != nil:
					w.host(evil, c.evil)
				case c.stored:
					w.host(evil, shelf)
				default:
					w.host(evil, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"token":"token-of-evil"}`)) }))
				}
				w.host(evil+":8443", w.hosts[evil])
				w.host("169.254.169.254", w.hosts[evil])
				put(t, shelf, place+"/x:"+testSHA, small(t, "linux/amd64"))
				o.RegistryHost, o.Transport, o.Platforms = place, w.client, true
				got, err := Resolve(t.Context(), only(t, place+"/x", place, testSHA), o)
				if (err == nil) != c.works {
					t.Errorf("got %v, %v", got, err)
				}
				if c.works && len(got[0].Platforms) == 0 {
					t.Errorf("no platform: the layers' host was not followed to")
				}
				for _, h := range []string{evil, evil + ":8443", "169.254.169.254"} {
					if a := w.authorizations(h); len(a) > 0 {
						t.Errorf("%s was sent %q", h, a)
					}
					if r := w.requests(h); len(r) > 0 && !c.reach {
						t.Errorf("%s was asked %q", h, r)
					}
				}
			})
		}
	}
}

// TestRealms shows which token services may be elsewhere.
func TestRealms(t *testing.T) {
	t.Parallel()
	user := func(user, password string) bool { return user == "user" && password == "password" }
	for _, c := range []struct {
		image, realm string
		google       bool
		works        bool
	}{
		{"docker.io/acme/x", "auth.docker.io", false, true},
		{"registry.gitlab.com/acme/x", "gitlab.com", false, true},
		{"registry.example.com/acme/x", "auth.docker.io", false, false},
		{"docker.io/acme/x", "gitlab.com", false, false},
		{testImage, "us-docker.pkg.dev", true, true},
		{testImage, "gcr.io", true, true},
		{testImage, "gcr.io.example.com", true, false},
		{testImage, "auth.docker.io", true, false},
	} {
		w := newWorld(t)
		host, path, _ := strings.Cut(c.image, "/")
		place := host + "/" + parent(path)
		if host == "docker.io" {
			host = "index.docker.io"
		}
		o := Options{RegistryHost: place, Transport: w.client, Username: "user", Password: "password"}
		admit := user
		if c.google {
			o.Username, o.Password, o.Tokens, admit = "", "", googleSource, isGoogleToken
		}
		shelf := store()
		w.host(host, &door{behind: shelf, realm: "https://" + c.realm + "/v2/token"})
		w.host(c.realm, &door{admit: admit})
		put(t, shelf, host+"/"+path+":"+testSHA, small(t, "linux/amd64"))
		_, err := Resolve(t.Context(), only(t, c.image, place, testSHA), o)
		if (err == nil) != c.works {
			t.Errorf("%s with tokens of %s: %v", c.image, c.realm, err)
		}
		var stranger *StrangerError
		if !c.works && !errors.As(err, &stranger) {
			t.Errorf("%s with tokens of %s: %v, want a StrangerError", c.image, c.realm, err)
		}
		if !c.works && len(w.requests(c.realm)) > 0 {
			t.Errorf("%s was asked", c.realm)
		}
	}
}

func TestStranger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.host("registry.example.com", &door{realm: "https://evil.example.org/token"})
	_, err := Resolve(t.Context(), only(t, "registry.example.com/models/x", "registry.example.com/models", testSHA),
		Options{RegistryHost: "registry.example.com/models", Username: "user", Password: "password", Transport: w.client})
	golden(t, "stranger.golden", fmt.Sprintln(err))
}
