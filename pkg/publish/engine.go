package publish

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/org/deploy-model-action/pkg/inside"
	"github.com/org/deploy-model-action/pkg/redact"
	"github.com/org/deploy-model-action/pkg/registry"
)

// engine is the runner's Docker engine.
//
// go-containerregistry's pkg/v1/daemon can read it too. It is not used: it asks
// the environment where the engine is, holds the whole image in memory or on disk
// (or has the engine export it once a layer), and compresses each layer twice;
// and with the client beneath it, it adds 0.9 MB to the binary. Three requests are
// needed, and the export is read as a stream.
type engine struct {
	client *http.Client
	base   string
	host   string // as it was given
	from   string // " of" what it was given in; "" for the default
	images []*candidate
}

const defaultDockerHost = "unix:///var/run/docker.sock"

// engineSilence is how long the engine may send nothing before it is given up.
const engineSilence = 2 * time.Minute

// maxListing bounds what the engine says about its images.
const maxListing = 32 << 20

// openEngine connects as Docker's own client does, and lists the images.
func openEngine(ctx context.Context, o Options) (*engine, error) {
	host, from := o.DockerHost, " of DOCKER_HOST"
	if host == "" {
		host, from = defaultDockerHost, ""
	}
	e := &engine{host: host, from: from, base: "http://docker"}
	t := &http.Transport{DisableCompression: true}
	scheme, address, _ := strings.Cut(host, "://")
	switch {
	case scheme == "unix":
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", address)
		}
	case scheme == "https", (scheme == "tcp" || scheme == "http") && o.DockerTLS:
		e.base = "https://" + address
		var err error
		if t.TLSClientConfig, err = engineTLS(ctx, o.DockerCerts); err != nil {
			return nil, err
		}
	case scheme == "tcp", scheme == "http":
		e.base = "http://" + address
	default:
		return nil, fmt.Errorf("input push %q: the Docker engine's address DOCKER_HOST is %q, and only unix:// and tcp:// are supported; unset it to use /var/run/docker.sock, or set push to an archive of the image", FromDocker, host)
	}
	e.client = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if err := e.list(ctx); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

// engineTLS reads the files that Docker's tools keep for an engine. They are not
// left away, as its client does without DOCKER_TLS_VERIFY: an engine that anybody can
// pretend to be would choose what is deployed.
func engineTLS(ctx context.Context, dir string) (*tls.Config, error) {
	wrong := func(err error) (*tls.Config, error) {
		return nil, fmt.Errorf("input push %q: DOCKER_CERT_PATH %q: %w; have ca.pem, cert.pem and key.pem of the Docker engine in a folder of the workspace, since no other is mounted into this step's container, and set DOCKER_CERT_PATH to it", FromDocker, dir, err)
	}
	if dir == "" {
		return wrong(errors.New("not set, and DOCKER_TLS_VERIFY asks for TLS"))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return wrong(registry.Cause(err))
	}
	defer root.Close()
	files := map[string][]byte{}
	for _, name := range []string{"ca.pem", "cert.pem", "key.pem"} {
		if files[name], err = inside.Read(ctx, root, name, 1<<20); err != nil {
			return wrong(fmt.Errorf("%s %w", name, err))
		}
	}
	pair, err := tls.X509KeyPair(files["cert.pem"], files["key.pem"])
	if err != nil {
		return wrong(fmt.Errorf("cert.pem and key.pem: %w", err))
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(files["ca.pem"]) {
		return wrong(errors.New("ca.pem: no certificate in it"))
	}
	return &tls.Config{RootCAs: authorities, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

func (e *engine) String() string           { return "the Docker engine" }
func (e *engine) candidates() []*candidate { return e.images }
func (e *engine) close()                   { e.client.CloseIdleConnections() }

// get asks the engine.
func (e *engine) get(ctx context.Context, path string) (*http.Response, error) {
	// Without a version in the path the engine uses its own, so that old and new
	// ones understand.
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.base+path, nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	silent := time.AfterFunc(engineSilence, func() { cancel(&registry.SilentError{After: engineSilence}) })
	resp, err := e.client.Do(req.WithContext(ctx))
	silent.Stop()
	if err != nil {
		err = cmp.Or(silence(ctx), registry.Cause(err))
		cancel(nil)
		return nil, e.unreachable(err)
	}
	resp.Body = &engineBody{resp.Body, ctx, cancel, silent}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var said struct{ Message string }
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if json.Unmarshal(body, &said) != nil || said.Message == "" {
		said.Message = resp.Status
	}
	if bytes.Contains(body, []byte("HTTP request to an HTTPS server")) {
		return nil, fmt.Errorf("input push %q: the Docker engine at %q speaks TLS only; set DOCKER_TLS_VERIFY to 1, and DOCKER_CERT_PATH to a folder of the workspace with its ca.pem, cert.pem and key.pem", FromDocker, e.host)
	}
	return nil, fmt.Errorf("input push %q: the Docker engine at %q refused: %s; check that it is a Docker engine, and look at its log", FromDocker, e.host, redact.Phrase(said.Message))
}

// engineBody ends when the engine sends nothing for too long. How long it is left
// unread does not count.
type engineBody struct {
	io.ReadCloser
	ctx    context.Context //nolint:containedctx // of the request
	cancel context.CancelCauseFunc
	silent *time.Timer
}

func (b *engineBody) Read(p []byte) (int, error) {
	b.silent.Reset(engineSilence)
	defer b.silent.Stop()
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		err = cmp.Or(silence(b.ctx), err)
	}
	return n, err
}

// Close ends the request.
func (b *engineBody) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}

// silence is that the engine was too long silent; nil if it was not.
func silence(ctx context.Context) error {
	var silent *registry.SilentError
	if errors.As(context.Cause(ctx), &silent) {
		return silent
	}
	return nil
}

func (e *engine) getJSON(ctx context.Context, path string, into any) error {
	resp, err := e.get(ctx, path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	err = json.NewDecoder(http.MaxBytesReader(nil, resp.Body, maxListing)).Decode(into)
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		err = errors.New("larger than 32 MiB")
	}
	if err != nil {
		return fmt.Errorf("input push %q: read what the Docker engine at %q answered: %w; check that it is a Docker engine", FromDocker, e.host, err)
	}
	return nil
}

// unreachable says why there is no engine, and what to do without.
func (e *engine) unreachable(err error) error {
	const instead = "use a runner with Docker (GitHub's Linux runners have it, those in Kubernetes mode have not), or write the image to an archive in an earlier step (docker save, or buildx with --output type=oci,dest=FILE) and set push to its path"
	what := fmt.Errorf("input push %q: reach the Docker engine at %q%s: %w", FromDocker, e.host, e.from, err)
	switch {
	case errors.Is(err, context.Canceled):
		return what
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w; run this step as root, as container actions do by default", what)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; this runner has none: %s", what, instead)
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return fmt.Errorf("%w; have in DOCKER_CERT_PATH what was made for this engine, and name in DOCKER_HOST the host that its certificate is for", what)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w; nothing listens there, so this runner has none, or it is stopped: %s", what, instead)
	}
	return fmt.Errorf("%w; %s", what, instead)
}

// list asks which images there are.
func (e *engine) list(ctx context.Context) error {
	var images []struct {
		ID       string `json:"Id"`
		RepoTags []string
	}
	if err := e.getJSON(ctx, "/images/json", &images); err != nil {
		return err
	}
	for _, i := range images {
		c := &candidate{source: e.String(), id: identity{engine: parseEngineID(i.ID)}, complete: e.inspect}
		for _, t := range i.RepoTags {
			c.named(t)
		}
		if len(c.names) > 0 {
			e.images = append(e.images, c)
		}
	}
	return nil
}

// inspect completes a candidate with what the engine knows of it.
func (e *engine) inspect(ctx context.Context, c *candidate) error {
	var found struct {
		OS           string `json:"Os"`
		Architecture string
		Variant      string
		Config       struct{ Labels map[string]string }
		RootFS       struct{ Layers []string }
	}
	if err := e.getJSON(ctx, "/images/"+c.as+"/json", &found); err != nil {
		return err
	}
	c.platforms = registry.Distinct([]string{registry.Platform(v1.Platform{OS: found.OS, Architecture: found.Architecture, Variant: found.Variant})})
	c.layers, c.stamps = nil, stampOf(found.Config.Labels)
	for _, diffID := range found.RootFS.Layers {
		c.layers = append(c.layers, layer{diffID: diffID})
	}
	c.content = &exported{engine: e, name: c.as, images: newFiles("what "+e.String()+" exports of the image", "run the job again, and look at the engine's log and its free disk space if that does not help")}
	return nil
}

// exported is an image as the engine exports it: a stream in which the list of
// layers comes last. So every layer is packed as it passes, and what the image
// is made of is known at the end.
type exported struct {
	engine *engine
	name   string
	images *files
}

func (x *exported) read(ctx context.Context, up *uploader) error {
	resp, err := x.engine.get(ctx, "/images/get?names="+url.QueryEscape(x.name))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	stream := &tailReader{from: resp.Body}
	err = x.images.tar(ctx, stream, nil, up.take)
	// An archive ends with zeros, so that this is one that does not end.
	if said := stream.said(); ctx.Err() == nil && said != "" {
		return fmt.Errorf("export %q from %s: it broke off: %s; look at its log and its free disk space", x.name, x.engine, redact.Phrase(said))
	}
	return err
}

// tailReader keeps the end of a stream: an engine whose export fails in the middle
// has sent status 200 already, and writes the reason where the tar file should go on.
type tailReader struct {
	from io.Reader
	tail []byte
}

// maxSaid bounds what an engine says of a failure.
const maxSaid = 8 << 10

func (r *tailReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if r.tail = append(r.tail, p[max(0, n-maxSaid):n]...); len(r.tail) > 2*maxSaid {
		r.tail = append(r.tail[:0], r.tail[len(r.tail)-maxSaid:]...)
	}
	return n, err
}

// said is what the engine gives as reason, if that is how the stream ends.
func (r *tailReader) said() string {
	var said struct {
		Error  string
		Detail struct{ Message string } `json:"errorDetail"`
	}
	i := bytes.LastIndex(r.tail, []byte(`{"errorDetail"`))
	if i < 0 || json.Unmarshal(r.tail[i:], &said) != nil {
		return ""
	}
	return cmp.Or(said.Detail.Message, said.Error)
}

func (x *exported) assemble(ctx context.Context, up *uploader) (assembled, error) {
	found, err := x.images.candidates(ctx)
	if err != nil {
		return assembled{}, err
	}
	if len(found) == 0 {
		return assembled{}, fmt.Errorf("%s exported %q without a manifest; look at its log", x.engine, x.name)
	}
	// Several names of one image are several entries.
	return found[0].content.assemble(ctx, up)
}

// open opens what is published from.
func (p *publisher) open(ctx context.Context) (source, error) {
	if p.options.From == FromDocker {
		return openEngine(ctx, p.options)
	}
	if p.options.Workspace == nil {
		return nil, fmt.Errorf("input push %q: there is no workspace to read it from; run it on GitHub Actions", p.options.From)
	}
	return openArchive(ctx, p.options.Workspace, p.options.From)
}
