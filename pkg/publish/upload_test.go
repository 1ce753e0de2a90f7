package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"golang.org/x/oauth2"

	"github.com/org/deploy-model-action/pkg/registry"
	"github.com/org/deploy-model-action/pkg/registry/registrytest"
)

// dropping is a registry that loses connections in the middle of layers, after
// some bytes, a number of times.
type dropping struct {
	behind  http.Handler
	after   int64
	resumes bool // it keeps what it got, and says how much that is
	lies    bool // and is wrong about it
	takes   bool // and puts together what does not fit

	mu       sync.Mutex
	left     int              // drops to come
	got      map[string]int64 // by upload
	received atomic.Int64     // bytes of layers, also those that were lost
}

func (d *dropping) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := path.Base(r.URL.Path)
	upload := strings.Contains(r.URL.Path, "/blobs/uploads/")
	d.mu.Lock()
	drop := upload && r.Method == http.MethodPatch && d.left > 0 && r.ContentLength > d.after
	if drop {
		d.left--
	}
	had := d.got[id]
	d.mu.Unlock()
	switch {
	case upload && r.Method == http.MethodGet && d.resumes:
		if d.lies {
			had /= 2
		}
		w.Header().Set("Range", fmt.Sprintf("0-%d", had-1))
		w.Header().Set("Location", r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	case drop:
		part, _ := io.ReadAll(io.LimitReader(r.Body, d.after))
		d.received.Add(int64(len(part)))
		if d.resumes {
			// Every part as a piece of its own, which the registry behind puts together.
			in := r.Clone(context.WithoutCancel(r.Context()))
			in.Body, in.ContentLength = io.NopCloser(bytes.NewReader(part)), int64(len(part))
			in.Header.Set("Content-Range", fmt.Sprintf("%d-%d", had, had+int64(len(part))-1))
			d.behind.ServeHTTP(httptest.NewRecorder(), in)
			d.mu.Lock()
			d.got[id] += int64(len(part))
			d.mu.Unlock()
		}
		registrytest.Reset(w, r)
	default:
		if upload && r.Method == http.MethodPatch {
			if d.takes && r.Header.Get("Content-Range") != "" {
				r.Header.Set("Content-Range", fmt.Sprintf("%d-%d", had, had+r.ContentLength-1))
			}
			r.Body = &counting{r.Body, &d.received}
		}
		d.behind.ServeHTTP(w, r)
	}
}

type counting struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// TestPublishLosesNothing publishes to registries that drop the connection in the
// middle of a layer 20 times.
func TestPublishLosesNothing(t *testing.T) {
	t.Parallel()
	const layer = 4 << 20
	for _, c := range []struct {
		name          string
		host          string
		resumes, lies bool
		takes         bool
		most          int64 // bytes that the registry may get, in layers
	}{
		{"resumed", "registry.example.com/models", true, false, false, layer * 5 / 4},
		{"begun again", "registry.example.com/models", false, false, false, layer * 12},
		{"wrong about what it has", "registry.example.com/models", true, true, false, layer * 12},
		{"puts together what does not fit", "registry.example.com/models", true, true, true, layer * 12},
		{"Artifact Registry", testHost, true, false, false, layer * 12},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := registrytest.New(t)
			shelf := registrytest.Store()
			host, _, _ := strings.Cut(c.host, "/")
			d := &dropping{behind: shelf, after: 150_000, resumes: c.resumes, lies: c.lies, takes: c.takes, left: 20, got: map[string]int64{}}
			w.Host(host, d)
			image := registrytest.Small(t, "linux/amd64", layer)
			root := workspace(t, map[string][]byte{"image.tar": savedNew(t, image, false, c.host+"/x:latest").tar(t)})
			var lines []string
			var mu sync.Mutex
			got, err := run(t.Context(), only(t, c.host+"/x", testSHA), request{
				Registry: registry.Options{Transport: w.Client},
				Options: Options{
					Prefix: prefix(t, c.host), From: "image.tar", Workspace: root,
					Log: func(f string, a ...any) { mu.Lock(); lines = append(lines, fmt.Sprintf(f, a...)); mu.Unlock() },
				},
			})
			if err != nil {
				t.Fatalf("%v\n%s", err, strings.Join(lines, "\n"))
			}
			if d.left != 0 {
				t.Errorf("%d drops did not come", d.left)
			}
			if n := d.received.Load(); n > c.most {
				t.Errorf("the registry was sent %s of a layer of %s", size(n), size(layer))
			}
			again := registrytest.New(t)
			again.Host(host, shelf)
			published, err := remote.Image(must2(t, c.host+"/x:"+testSHA), remote.WithTransport(again.Client))
			if err != nil {
				t.Fatal(err)
			}
			if err := validate.Image(published); err != nil {
				t.Error(err)
			}
			if got[0].Uploaded != 1 {
				t.Errorf("%+v", got[0])
			}
			for _, r := range w.Requests(pkgDev) {
				// By its documentation it takes layers in one piece only.
				if strings.HasPrefix(r, "GET ") && strings.Contains(r, "/uploads/") {
					t.Errorf("%s was asked what it has", pkgDev)
				}
			}
			t.Log(strings.Join(lines[:4], "\n"))
		})
	}
}

// TestPublishLostAnswer takes a layer whole and loses the answer: what the registry
// has is not sent again, not even as nothing.
func TestPublishLostAnswer(t *testing.T) {
	t.Parallel()
	const host, place = "registry.example.com", "registry.example.com/models"
	w := registrytest.New(t)
	shelf := registrytest.Store()
	var (
		mu      sync.Mutex
		got     = map[string]int64{}
		patches []string
	)
	w.Host(host, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		id := path.Base(r.URL.Path)
		mu.Lock()
		had := got[id]
		mu.Unlock()
		switch {
		case !strings.Contains(r.URL.Path, "/blobs/uploads/"):
		case r.Method == http.MethodGet:
			rw.Header().Set("Range", fmt.Sprintf("0-%d", had-1))
			rw.Header().Set("Location", r.URL.Path)
			rw.WriteHeader(http.StatusNoContent)
			return
		case r.Method == http.MethodPatch:
			body, _ := io.ReadAll(r.Body)
			mu.Lock()
			got[id] += int64(len(body))
			patches = append(patches, fmt.Sprintf("%d bytes after %d", len(body), had))
			mu.Unlock()
			in := r.Clone(context.WithoutCancel(r.Context()))
			in.Body = io.NopCloser(bytes.NewReader(body))
			shelf.ServeHTTP(httptest.NewRecorder(), in)
			registrytest.Reset(rw, r)
			return
		}
		shelf.ServeHTTP(rw, r)
	}))
	root := workspace(t, map[string][]byte{"image.tar": savedNew(t, registrytest.Small(t, "linux/amd64", 100_000), false, place+"/x:latest").tar(t)})
	if _, err := run(t.Context(), only(t, place+"/x", testSHA), request{
		Registry: registry.Options{Transport: w.Client},
		Options:  Options{Prefix: prefix(t, place), From: "image.tar", Workspace: root},
	}); err != nil {
		t.Fatal(err)
	}
	if len(patches) != 2 { // of the layer and of the configuration
		t.Errorf("sent %q", patches)
	}
}

// TestPublishExpiringTokens holds that tokens which end in the middle of layers are
// replaced.
func TestPublishExpiringTokens(t *testing.T) {
	t.Parallel()
	p := newPublishing(t)
	var now atomic.Int64
	var refused atomic.Int32
	admit := func(user, password string) bool {
		// Each is good for 5 requests.
		return user == "oauth2accesstoken" && password == strconv.FormatInt(now.Add(1)/5, 10)
	}
	p.Host(pkgDev, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); !admit("oauth2accesstoken", password) {
			refused.Add(1)
			registrytest.Say(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication failed")
			return
		}
		p.store.ServeHTTP(w, r)
	}))
	root := workspace(t, map[string][]byte{"image.tar": savedNew(t, registrytest.Small(t, "linux/amd64", 2000, 100_000, 50_000, 3000), false, testImage+":latest").tar(t)})
	o := p.options(root, "image.tar")
	o.Registry.Tokens = &ending{now: &now}
	o.Registry.Parallel = 1
	if _, err := run(t.Context(), only(t, testImage, testSHA), o); err != nil {
		t.Fatal(err)
	}
	if refused.Load() < 2 {
		t.Errorf("only %d tokens ended", refused.Load())
	}
	if err := validate.Image(must[v1.Image](t)(p.pull(t, testImage+":"+testSHA).Image())); err != nil {
		t.Error(err)
	}
}

// TestPublishExpiringLogin is the same for the tokens that a registry gives out itself.
func TestPublishExpiringLogin(t *testing.T) {
	t.Parallel()
	w := registrytest.New(t)
	const host, place = "registry.example.com", "registry.example.com/models"
	shelf := registrytest.Store()
	var asked, issued, refused atomic.Int64
	w.Host(host, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			if user, password, _ := r.BasicAuth(); user != "user" || password != "password" {
				registrytest.Say(rw, http.StatusUnauthorized, "UNAUTHORIZED", "no")
				return
			}
			fmt.Fprintf(rw, `{"token":"t%d"}`, issued.Add(1))
			return
		}
		// Every 7th request finds its token ended.
		if r.Header.Get("Authorization") == "" || asked.Add(1)%7 == 0 {
			refused.Add(1)
			rw.Header().Set("WWW-Authenticate", `Bearer realm="https://`+host+`/token",service="x"`)
			registrytest.Say(rw, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
			return
		}
		shelf.ServeHTTP(rw, r)
	}))
	root := workspace(t, map[string][]byte{"image.tar": savedNew(t, registrytest.Small(t, "linux/amd64", 2000, 100_000, 50_000, 3000, 400, 60_000), false, place+"/x:latest").tar(t)})
	o := request{
		Registry: registry.Options{Transport: w.Client, Username: "user", Password: "password", Limits: registry.Limits{Parallel: 1}},
		Options:  Options{Prefix: prefix(t, place), From: "image.tar", Workspace: root},
	}
	if _, err := run(t.Context(), only(t, place+"/x", testSHA), o); err != nil {
		t.Fatal(err)
	}
	if refused.Load() < 4 {
		t.Errorf("only %d tokens ended", refused.Load())
	}
	again := registrytest.New(t)
	again.Host(host, shelf)
	published, err := remote.Image(must2(t, place+"/x:"+testSHA), remote.WithTransport(again.Client))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(published); err != nil {
		t.Error(err)
	}
}

// ending is a source that keeps a token until it is told to forget it.
type ending struct {
	now  *atomic.Int64
	mu   sync.Mutex
	last string
}

func (e *ending) Token() (*oauth2.Token, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.last == "" {
		e.last = strconv.FormatInt((e.now.Load()+1)/5, 10)
	}
	return &oauth2.Token{AccessToken: e.last}, nil
}

func (e *ending) Forget(string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last = ""
}

// TestPublishEnds holds that a registry that never takes a layer is given up.
func TestPublishEnds(t *testing.T) {
	t.Parallel()
	patch := func(answer func(http.ResponseWriter, *http.Request)) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPatch {
				return false
			}
			answer(w, r)
			return true
		}
	}
	for _, c := range []struct {
		name  string
		extra func(http.ResponseWriter, *http.Request) bool
		want  string
	}{
		{"hangs", nil, "hangs"},
		{"503", patch(registrytest.Status(503)), "503"},
		{"unreachable after the start", func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet || r.Method == http.MethodHead {
				return false
			}
			registrytest.Reset(w, r)
			return true
		}, "reach registry"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPublishing(t)
			if c.extra == nil {
				// The server does not see that the client left while there is a body to read.
				c.extra = patch(func(http.ResponseWriter, *http.Request) { <-t.Context().Done() })
			}
			p.Host(pkgDev, &registrytest.Door{Behind: p.store, Admit: isGoogleToken, Basic: true, Extra: c.extra})
			root := workspace(t, map[string][]byte{"image.tar": savedNew(t, registrytest.Small(t, "linux/amd64", 8<<20), false, testImage+":latest").tar(t)})
			o := p.options(root, "image.tar")
			o.Registry.RetryFor, o.Registry.Silence = 2*time.Second, time.Second
			started := time.Now()
			_, err := run(t.Context(), only(t, testImage, testSHA), o)
			if took := time.Since(started); err == nil || !strings.Contains(err.Error(), c.want) || took > time.Minute {
				t.Errorf("after %s: %v", took, err)
			}

			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(500*time.Millisecond, cancel)
			started = time.Now()
			o.Registry.RetryFor, o.Registry.Silence = 0, 0
			_, err = run(ctx, only(t, testImage, testSHA), o)
			if took := time.Since(started); !errors.Is(err, context.Canceled) || took > 30*time.Second {
				t.Errorf("cancelled: after %s: %v", took, err)
			}
		})
	}
}

// TestPublishBounded holds that layers are sent in parallel, and not too many.
func TestPublishBounded(t *testing.T) {
	t.Parallel()
	p := newPublishing(t)
	var now, peak atomic.Int32
	p.Host(pkgDev, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			n := now.Add(1)
			for old := peak.Load(); n > old && !peak.CompareAndSwap(old, n); old = peak.Load() {
			}
			time.Sleep(30 * time.Millisecond)
			defer now.Add(-1)
		}
		p.store.ServeHTTP(w, r)
	}))
	sizes := make([]int64, 12)
	for i := range sizes {
		sizes[i] = 1000
	}
	root := workspace(t, map[string][]byte{"image.tar": savedNew(t, registrytest.Small(t, "linux/amd64", sizes...), false, testImage+":latest").tar(t)})
	o := p.options(root, "image.tar")
	o.Registry.Parallel = 3
	if _, err := run(t.Context(), only(t, testImage, testSHA), o); err != nil {
		t.Fatal(err)
	}
	if n := peak.Load(); n < 2 || n > 3 {
		t.Errorf("%d layers at a time, want up to 3", n)
	}
}

// TestPublishLiars holds that layers and credentials go to the registry only.
func TestPublishLiars(t *testing.T) {
	t.Parallel()
	const evil = "evil.example.org"
	for name, extra := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"location elsewhere": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost {
				return false
			}
			w.Header().Set("Location", "https://"+evil+"/upload")
			w.WriteHeader(http.StatusAccepted)
			return true
		},
		"location with a user": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost {
				return false
			}
			w.Header().Set("Location", "https://user:password@"+pkgDev+"/upload")
			w.WriteHeader(http.StatusAccepted)
			return true
		},
		"redirect of the layer": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPatch {
				return false
			}
			http.Redirect(w, r, "https://"+evil+"/upload", http.StatusTemporaryRedirect)
			return true
		},
		"redirect of the manifest": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/manifests/") {
				return false
			}
			http.Redirect(w, r, "https://"+evil+"/upload", http.StatusTemporaryRedirect)
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPublishing(t)
			p.Host(pkgDev, &registrytest.Door{Behind: p.store, Admit: isGoogleToken, Basic: true, Extra: extra})
			p.Host(evil, registrytest.Store())
			root := workspace(t, map[string][]byte{"image.tar": savedNew(t, registrytest.Small(t, "linux/amd64", 1000), false, testImage+":latest").tar(t)})
			if _, err := run(t.Context(), only(t, testImage, testSHA), p.options(root, "image.tar")); err == nil {
				t.Error("no error")
			} else {
				t.Log(err)
			}
			if r := p.Requests(evil); len(r) > 0 {
				t.Errorf("%s was asked %q", evil, r)
			}
		})
	}
}

// TestPackBroken holds that a layer that cannot be read to its end is none.
func TestPackBroken(t *testing.T) {
	t.Parallel()
	for _, broken := range []error{io.ErrUnexpectedEOF, os.ErrClosed} {
		for _, n := range []int{0, 5, blockSize, blockSize + 5} {
			from := io.MultiReader(bytes.NewReader(make([]byte, n)), iotest.ErrReader(broken))
			if _, err := compress(t.Context(), io.Discard, from); !errors.Is(err, broken) {
				t.Errorf("%v after %d bytes: %v", broken, n, err)
			}
		}
	}
	sum, err := compress(t.Context(), io.Discard, bytes.NewReader(make([]byte, 3*blockSize+7)))
	if err != nil || sum.diffID != hashName(t, make([]byte, 3*blockSize+7)) {
		t.Errorf("%v, %v", sum, err)
	}
}

func TestPublishDiskFull(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full here, which is a full disk")
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	_, err = compress(t.Context(), full, bytes.NewReader(make([]byte, 5<<20)))
	if !noSpace(err) {
		t.Errorf("got %v", err)
	}
}
