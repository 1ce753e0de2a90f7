package image

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/org/deploy-model-action/pkg/registry"
	"github.com/org/deploy-model-action/pkg/registry/registrytest"
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
			registrytest.Say(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
			return true
		}
	}
	anybody := func(string, string) bool { return true }
	for _, c := range []struct {
		name   string
		door   *registrytest.Door
		evil   http.Handler // default: takes everything
		reach  bool         // a request without credentials may get there
		works  bool
		stored bool // the other host has the image
	}{
		{name: "realm elsewhere", door: &registrytest.Door{Admit: anybody, Realm: "https://" + evil + "/token"}},
		{name: "realm in plain text", door: &registrytest.Door{Admit: anybody, Realm: "http://" + evil + "/token"}},
		{name: "realm with a user of its own", door: &registrytest.Door{Extra: challenge(`Bearer realm="https://user:password@` + evil + `/token"`)}},
		{name: "realm on a port", door: &registrytest.Door{Admit: anybody, Realm: "https://HOST:8443/token"}},
		{name: "realm is the metadata server", door: &registrytest.Door{Admit: anybody, Realm: "http://169.254.169.254/token"}},
		{name: "realm's redirect", door: &registrytest.Door{Admit: anybody, Extra: redirect("https://"+evil, "/v2/token")}, reach: true, works: true},
		{name: "two challenges", door: &registrytest.Door{Extra: func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Add("WWW-Authenticate", "Negotiate")
			return challenge(`Bearer realm="https://`+evil+`/token"`)(w, r)
		}}},
		{name: "manifest elsewhere", door: &registrytest.Door{Admit: anybody, Extra: redirect("https://"+evil, "/manifests/")}, reach: true, stored: true, works: true},
		{name: "manifest elsewhere, which wants a login", door: &registrytest.Door{Admit: anybody, Extra: redirect("https://"+evil, "/manifests/")}, evil: &registrytest.Door{Admit: anybody}, reach: true},
		{name: "manifest elsewhere, which wants Basic", door: &registrytest.Door{Admit: anybody, Extra: redirect("https://"+evil, "/manifests/")}, evil: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { challenge(`Basic realm="x"`)(w, r) }), reach: true},
		{name: "manifest in plain text", door: &registrytest.Door{Admit: anybody, Extra: redirect("http://"+evil, "/manifests/")}},
		{name: "manifest with a user of its own", door: &registrytest.Door{Admit: anybody, Extra: redirect("https://user:password@"+evil, "/manifests/")}},
		{name: "layer elsewhere", door: &registrytest.Door{Admit: anybody, Extra: redirect("https://"+evil, "/blobs/")}, reach: true, stored: true, works: true},
		{name: "everything elsewhere", door: &registrytest.Door{Extra: redirect("https://"+evil, "/")}, evil: &registrytest.Door{Admit: anybody}, reach: true},
		{name: "tags elsewhere", door: &registrytest.Door{Admit: anybody, Extra: func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/tags/list") {
				if strings.Contains(r.URL.Path, "/manifests/") {
					registrytest.Say(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "unknown")
					return true
				}
				return false
			}
			w.Header().Set("Link", `<https://`+evil+`/v2/x/tags/list?last=a>; rel="next"`)
			_, _ = w.Write([]byte(`{"tags":["a"]}`))
			return true
		}}},
	} {
		for who, o := range map[string]registry.Options{
			"Google's token": {Tokens: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: secret})},
			"a password":     {Username: "user", Password: "password"},
		} {
			t.Run(c.name+", "+who, func(t *testing.T) {
				t.Parallel()
				host, place := "registry.example.com", "registry.example.com/models"
				if o.Tokens != nil {
					host, place = pkgDev, testHost
				}
				w := registrytest.New(t)
				shelf := registrytest.Store()
				d := *c.door
				d.Behind = shelf
				d.Realm = strings.ReplaceAll(d.Realm, "HOST", evil)
				w.Host(host, &d)
				var there http.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"token":"token-of-evil"}`)) })
				switch {
				case c.evil != nil:
					there = c.evil
				case c.stored:
					there = shelf
				}
				for _, h := range []string{evil, evil + ":8443", "169.254.169.254"} {
					w.Host(h, there)
				}
				registrytest.Put(t, shelf, place+"/x:"+testSHA, registrytest.Small(t, "linux/amd64"))
				o.Prefix, o.Transport = prefix(t, place), w.Client
				got, err := resolve(t.Context(), only(t, place+"/x", place, testSHA), o)
				if (err == nil) != c.works {
					t.Errorf("got %v, %v", got, err)
				}
				if c.works && len(got[0].Platforms()) == 0 {
					t.Errorf("no platform: the layers' host was not followed to")
				}
				for _, h := range []string{evil, evil + ":8443", "169.254.169.254"} {
					if a := w.Authorizations(h); len(a) > 0 {
						t.Errorf("%s was sent %q", h, a)
					}
					if r := w.Requests(h); len(r) > 0 && !c.reach {
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
		{"registry.gitlab.example.com/acme/x", "gitlab.example.com", false, true},
		{"gitlab.example.com:5050/acme/x", "gitlab.example.com", false, true},
		{"registry.example.com/acme/x", "gitlab.example.com", false, false},
		{"registry.example.com/acme/x", "ample.com", false, false},
		{"registry.example.com/acme/x", "com", false, false},
		{"registry.example.com/acme/x", "registry.example.com:8443", false, false},
		{testImage, "pkg.dev", true, false},
		{testImage, "us-docker.pkg.dev", true, true},
		{testImage, "gcr.io", true, true},
		{testImage, "gcr.io.example.com", true, false},
		{testImage, "auth.docker.io", true, false},
	} {
		w := registrytest.New(t)
		host, path, _ := strings.Cut(c.image, "/")
		place := host + "/" + registry.Parent(path)
		if host == "docker.io" {
			host = "index.docker.io"
		}
		o := registry.Options{Prefix: prefix(t, place), Transport: w.Client, Username: "user", Password: "password"}
		admit := user
		if c.google {
			o.Username, o.Password, o.Tokens, admit = "", "", googleSource, isGoogleToken
		}
		shelf := registrytest.Store()
		w.Host(host, &registrytest.Door{Behind: shelf, Realm: "https://" + c.realm + "/v2/token"})
		w.Host(c.realm, &registrytest.Door{Admit: admit})
		registrytest.Put(t, shelf, host+"/"+path+":"+testSHA, registrytest.Small(t, "linux/amd64"))
		_, err := resolve(t.Context(), only(t, c.image, place, testSHA), o)
		if (err == nil) != c.works {
			t.Errorf("%s with tokens of %s: %v", c.image, c.realm, err)
		}
		var foreign *registry.ForeignHostError
		if !c.works && !errors.As(err, &foreign) {
			t.Errorf("%s with tokens of %s: %v, want a registry.ForeignHostError", c.image, c.realm, err)
		}
		if !c.works && len(w.Requests(c.realm)) > 0 {
			t.Errorf("%s was asked", c.realm)
		}
	}
}

func TestForeignHost(t *testing.T) {
	t.Parallel()
	w := registrytest.New(t)
	w.Host("registry.example.com", &registrytest.Door{Realm: "https://evil.example.org/token"})
	_, err := resolve(t.Context(), only(t, "registry.example.com/models/x", "registry.example.com/models", testSHA),
		registry.Options{Prefix: prefix(t, "registry.example.com/models"), Username: "user", Password: "password", Transport: w.Client})
	golden(t, "foreign-host.golden", fmt.Sprintln(err))
}
