package publish_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/controlplane"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/proxy"
	"github.com/org/deploy-model-action/e2e/runner"
)

// drops is how many connections are lost in the middle of a layer.
const drops = 20

// cutter stands between a client and the cloud's proxy, and breaks connections
// that have carried more than some bytes up, as a bad network does: all that is
// under way on one is lost, and what left is not always what arrived.
type cutter struct {
	listener net.Listener
	to       string
	after    func(cut int) int64 // bytes of a connection before the cut
	times    int64

	cuts, sent atomic.Int64
}

func newCutter(p *place, times int64, after func(cut int) int64) *cutter {
	p.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { _ = listener.Close() })
	c := &cutter{listener: listener, to: strings.TrimPrefix(p.Cloud.Proxy.URL, "http://"), after: after, times: times}
	go c.serve()
	return c
}

// before puts the cutter before the proxy of a step.
func (c *cutter) before(s *runner.Step) {
	for name, value := range s.Env {
		s.Env[name] = strings.ReplaceAll(value, c.to, c.listener.Addr().String())
	}
}

func (c *cutter) serve() {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", c.to)
		if err != nil {
			_ = client.Close()
			continue
		}
		go func() {
			_, _ = io.Copy(client, server)
			_, _ = client.Close(), server.Close()
		}()
		go c.up(server, client)
	}
}

// up carries what the client sends.
func (c *cutter) up(server, client net.Conn) {
	defer func() { _, _ = client.Close(), server.Close() }()
	b := make([]byte, 16<<10)
	for carried := int64(0); ; {
		n, err := client.Read(b)
		if n > 0 {
			carried += int64(n)
			c.sent.Add(int64(n))
			if _, err := server.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
		if cut := c.cuts.Load(); cut < c.times && carried >= c.after(int(cut)) && c.cuts.CompareAndSwap(cut, cut+1) {
			time.Sleep(50 * time.Millisecond) // so that what was carried is read
			if tcp, ok := client.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // RST, not FIN
			}
			return
		}
	}
}

// TestLostConnections publishes over connections that break in the middle of a
// layer, again and again.
func TestLostConnections(t *testing.T) {
	t.Parallel()
	t.Run("Artifact Registry", func(t *testing.T) {
		t.Parallel()
		p := newPlace(t)
		// It takes a layer in one piece only. What is lost is sent again, whole.
		const large = 6 << 20
		c := newCutter(p, drops, func(cut int) int64 { return 256<<10 + int64(cut)*large/(drops+1) })
		// And three times the layer arrives, and the answer that says so does not.
		p.Cloud.Proxy.Faults.Add(proxy.Fault{Client: p.Client, Method: http.MethodPut, Path: "digest=", Times: 3, ResetAfter: true})
		p.lossy(c, large, func(*runner.Step) {})
		if n := c.sent.Load(); n < drops*large/4 {
			t.Errorf("%d bytes were sent in all: the cuts were not in the middle of a layer", n)
		}
	})
	t.Run("registry that keeps what arrived", func(t *testing.T) {
		t.Parallel()
		x := cloudtest.New(t)
		k := newKeeper(x)
		p := at(x, k.host+"/"+localcloud.Project+"/"+x.Namespace)
		// No connection lives long enough for the layer, but for a frame of HTTP/2:
		// Go's client sends 512 KiB in one, and Go's server takes it whole or not.
		const large = 16 << 20
		c := newCutter(p, drops, func(int) int64 { return large / drops })
		r := p.lossy(c, large, func(s *runner.Step) { s.Env["SSL_CERT_FILE"] = k.roots })
		if resumed := strings.Count(r.Log, "; go on after "); resumed < drops/2 {
			t.Errorf("the log says %d times that an upload goes on", resumed)
		}
		if n := c.sent.Load(); n > large*3/2 {
			t.Errorf("%d bytes were sent for a layer of %d: it was begun again instead of resumed", n, large)
		}
	})
}

// lossy publishes an image with a large layer through the cutter.
func (p *place) lossy(c *cutter, large int64, adapt func(*runner.Step)) *runner.Result {
	p.Helper()
	sha, body := p.SHA(0), "model of "+p.Namespace
	image := model(p.T, body, []int64{100_000, large, 200_000})
	layoutOf(p.T, filepath.Join(p.Workspace, "layout"), image, p.image(sha), sha)
	s := p.step(sha, "layout", nil)
	c.before(&s)
	adapt(&s)
	r := p.Run(s)
	want(p.T, r, 0, "deployed")
	if digest, own := p.serves(r, sha, body), digestOf(p.T, image); digest != own {
		p.Errorf("published as %s, and it is %s", digest, own)
	}
	if l := p.published(r, sha); l.uploaded != 3 || l.there != 0 {
		p.Errorf("the log says: %+v", l)
	}
	if n := c.cuts.Load(); n != drops {
		p.Errorf("%d connections were cut, want %d", n, drops)
	}
	if !strings.Contains(r.Log, ": the connection was lost") {
		p.Errorf("the log does not say that connections were lost")
	}
	for _, tag := range tagsOf(sha) {
		there, err := p.Cloud.Registry.Lookup(p.Context(), p.image(tag))
		if err == nil {
			err = validate.Image(there)
		}
		if err != nil || p.digest(tag) != digestOf(p.T, image) {
			p.Errorf("tag %s: %v", tag, err)
		}
	}
	p.Logf("%d connections cut, %.1f MB sent for %.1f MB", c.cuts.Load(), float64(c.sent.Load())/1e6, float64(large)/1e6)

	before := len(p.Requests())
	again := p.Run(s)
	want(p.T, again, 0, "unchanged")
	if l := p.published(again, sha); l.uploaded != 0 || l.there != 3 {
		p.Errorf("the log says of the second run: %+v", l)
	}
	if writes := p.since(before, ""); len(writes) > 0 {
		p.Errorf("the second run put into the registry: %q", writes)
	}
	return r
}

// keeper is a registry in front of the cloud's that anybody may write to, and
// that keeps what arrived of an upload, as Distribution, Harbor and GHCR do.
type keeper struct {
	host  string
	roots string // file of the authorities that a client needs
	store http.Handler

	mu      sync.Mutex
	uploads map[string]*kept // by path
}

// kept is what arrived of an upload. Who asks for it waits for what is still on
// its way.
type kept struct {
	mu      sync.Mutex
	content []byte
}

func newKeeper(x *cloudtest.Test) *keeper {
	x.Helper()
	ca, err := controlplane.NewCA("Registry of " + x.Namespace)
	if err != nil {
		x.Fatal(err)
	}
	k := &keeper{host: x.Namespace + ".example.com", store: x.Cloud.Registry.Store(), uploads: map[string]*kept{}, roots: filepath.Join(x.TempDir(), "ca.crt")}
	roots, err := os.ReadFile(x.Cloud.CAFile)
	if err != nil {
		x.Fatal(err)
	}
	write(x.T, k.roots, append(ca.PEM, roots...))
	if err := x.Cloud.Proxy.Handle(k.host, ca, k); err != nil {
		x.Fatal(err)
	}
	return k
}

// ServeHTTP answers uploads, and leaves the rest to the store.
func (k *keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	repository, id, ok := strings.Cut(r.URL.Path, "/blobs/uploads/")
	if !ok {
		k.store.ServeHTTP(w, r)
		return
	}
	k.mu.Lock()
	if r.Method == http.MethodPost {
		r.URL.Path = fmt.Sprintf("%s/blobs/uploads/%d", repository, len(k.uploads))
		k.uploads[r.URL.Path] = &kept{}
	}
	u := k.uploads[r.URL.Path]
	k.mu.Unlock()
	if u == nil {
		http.Error(w, id, http.StatusNotFound)
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch r.Method {
	case http.MethodPost:
		u.answer(w, r, http.StatusAccepted)
	case http.MethodGet:
		u.answer(w, r, http.StatusNoContent)
	case http.MethodPatch:
		u.patch(w, r)
	case http.MethodPut:
		whole := r.Clone(r.Context())
		whole.Method, whole.URL.Path = http.MethodPost, repository+"/blobs/uploads/"
		whole.Body, whole.ContentLength = io.NopCloser(bytes.NewReader(u.content)), int64(len(u.content))
		k.store.ServeHTTP(w, whole)
	default:
		http.Error(w, r.Method, http.StatusMethodNotAllowed)
	}
}

// patch keeps what arrives, whether or not that is all.
func (u *kept) patch(w http.ResponseWriter, r *http.Request) {
	from := 0
	if span := r.Header.Get("Content-Range"); span != "" {
		if _, err := fmt.Sscanf(span, "%d-", &from); err != nil || from != len(u.content) {
			u.answer(w, r, http.StatusRequestedRangeNotSatisfiable)
			return
		}
	}
	rest, err := io.ReadAll(r.Body)
	u.content = append(u.content[:from], rest...)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	u.answer(w, r, http.StatusAccepted)
}

// answer says where the upload goes on, and how much there is: 0-0 is nothing.
func (u *kept) answer(w http.ResponseWriter, r *http.Request, status int) {
	w.Header().Set("Location", r.URL.Path)
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(0, len(u.content)-1)))
	w.WriteHeader(status)
}
