package serving

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/retry"
)

const (
	maxRedirects = 5
	// connectTimeout bounds how long nobody is reached: a packet that a firewall
	// drops is waited for otherwise as long as an answer.
	connectTimeout = 5 * time.Second
)

// way is how a model can be asked: at an address of its own, or through the API
// server's proxy to a Service or a pod.
type way struct {
	base   url.URL // a question's path is put behind its path
	client *http.Client
	proxy  bool
	// routed says that something in front chooses by host or path, so that a 404
	// may be of a route that is not there yet.
	routed bool
	// known says that the address was there before this deploy.
	known bool
}

// question is one request.
type question struct {
	method string
	path   *url.URL
	header http.Header
	body   []byte
	// redirects says that a redirect is an answer, and is not followed.
	redirects bool
	limit     int64 // bytes of the answer that are read
	within    time.Duration
}

// direct asks an address, without credentials. Each try opens a connection of its
// own, so that it is not stuck to a backend that went away.
func direct(base url.URL, transport http.RoundTripper) way {
	return way{base: base, client: &http.Client{Transport: transport}}
}

// proxied asks through the API server, with the credentials for it. target is
// "services" or "pods", and scheme what the model speaks.
func (p *prober) proxied(target, namespace, name, scheme string, port int64) (way, bool) {
	client, ok := p.client.REST().(*rest.RESTClient)
	if !ok || client == nil {
		return way{}, false
	}
	if port > 0 {
		name += ":" + strconv.FormatInt(port, 10)
	}
	if scheme == "https" {
		name = "https:" + name
	}
	base := client.Verb(http.MethodGet).AbsPath("/api/v1/namespaces", namespace, target, name, "proxy").URL()
	base.RawQuery = ""
	transport := http.DefaultTransport
	if client.Client != nil && client.Client.Transport != nil {
		transport = client.Client.Transport
	}
	return way{base: *base, client: &http.Client{Transport: transport}, proxy: true}, true
}

// url is where a question goes.
func (w way) url(q question) *url.URL {
	u := w.base
	// Cleaned by itself, so that no ".." in it leaves the Service.
	inside := path.Clean("/" + q.path.Path)
	if strings.HasSuffix(q.path.Path, "/") && inside != "/" {
		inside += "/"
	}
	u.Path = strings.TrimSuffix(u.Path, "/") + inside
	u.RawPath = ""
	if q.path.RawPath != "" && inside == q.path.Path {
		u.RawPath = strings.TrimSuffix(w.base.EscapedPath(), "/") + q.path.RawPath
	}
	u.RawQuery = q.path.RawQuery
	return &u
}

// ask sends a question and reads the beginning of the answer.
func (w way) ask(ctx context.Context, q question) Answer {
	to := w.url(q)
	a := Answer{Method: q.method, URL: to.String(), Proxy: w.proxy, routed: w.routed}
	var connected atomic.Bool // the transport may go on dialling when the time is out
	if w.proxy {
		a.URL = to.RequestURI()
	}
	bounded, cancel := context.WithTimeout(ctx, q.within)
	defer cancel()
	// Told apart by it: nobody was reached, and who was reached said nothing.
	bounded = httptrace.WithClientTrace(bounded, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	if !w.proxy {
		timer := time.AfterFunc(connectTimeout, func() {
			if !connected.Load() {
				cancel()
			}
		})
		defer timer.Stop()
	}
	var body io.Reader
	if q.body != nil {
		body = bytes.NewReader(q.body)
	}
	request, err := http.NewRequestWithContext(bounded, q.method, to.String(), body)
	if err != nil {
		a.Err = line(err.Error())
		return a
	}
	request.Header.Set("User-Agent", object.FieldManager)
	request.Header.Set("Accept", "*/*")
	for name, values := range q.header {
		request.Header[name] = values
	}
	request.Close = !w.proxy
	a.forwarded = !w.proxy && isForwarded(w.client.Transport, request)
	client := *w.client
	client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		// No token goes where an answer says.
		if w.proxy || q.redirects || next.URL.Hostname() != via[0].URL.Hostname() || len(via) > maxRedirects {
			return http.ErrUseLastResponse
		}
		return nil
	}
	started := time.Now()
	response, err := client.Do(request)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // the URL is named already
		}
		a.Err, a.failed, a.connected = reason(err, q.within), err, connected.Load()
		a.Took = time.Since(started)
		if !a.connected && bounded.Err() != nil {
			a.Err = "no connection within " + retry.FormatDuration(a.Took)
		}
		return a
	}
	defer response.Body.Close()
	a.Code, a.connected = response.StatusCode, true
	raw, err := io.ReadAll(io.LimitReader(response.Body, q.limit+1))
	a.Took = time.Since(started)
	a.long = int64(len(raw)) > q.limit
	a.raw = raw[:min(int64(len(raw)), q.limit)]
	a.Body = head(a.raw)
	if err != nil && !a.long {
		// What arrived until then is worth showing.
		a.Err, a.failed = "the answer broke off", err
		if errors.Is(err, context.DeadlineExceeded) {
			a.Err = "the answer did not end within " + retry.FormatDuration(q.within)
		}
	}
	return a
}

// isForwarded reports whether a proxy of the runner's network stands between.
func isForwarded(transport http.RoundTripper, request *http.Request) bool {
	t, ok := transport.(*http.Transport)
	if !ok || t.Proxy == nil {
		return false
	}
	through, err := t.Proxy(request)
	return err == nil && through != nil
}

// noAddress is why a Service whose load balancer has not come yet is not asked there.
const noAddress = "its load balancer has no address"

// shut says why nobody outside of the cluster reaches a Service at a port; "" if
// somebody may.
func shut(service *unstructured.Unstructured, p port) string {
	found := serviceAddress(service)
	kind := object.Text(service, "spec", "type")
	switch {
	case kind != "LoadBalancer":
		return "it has no address outside of the cluster"
	case p.scheme != "http":
		return "its load balancer speaks " + p.scheme + ", for whose address there is no certificate"
	case internalBy(service) != "":
		return "its load balancer is internal"
	case len(found) == 0:
		return noAddress
	case found[0].Internal:
		return "its load balancer's address is internal"
	}
	return ""
}

// serviceWays are how to ask a Service: at its load balancer, if it has one that the
// runner may reach without a certificate that no load balancer's address has, and
// through the API server. The first is tried first; why says why the load balancer
// is none.
func (p *prober) serviceWays(service *unstructured.Unstructured) (ways []way, why string) {
	port, ok := askPort(service)
	if !ok {
		return nil, ""
	}
	if why = shut(service, port); why == "" {
		host := serviceAddress(service)[0].Host
		if base, err := url.Parse(join(port.scheme, host, port.number, "")); err == nil {
			w := direct(*base, p.HTTP)
			w.known = p.had(service, host)
			ways = append(ways, w)
		}
	}
	if w, ok := p.proxied("services", service.GetNamespace(), service.GetName(), port.scheme, port.number); ok {
		ways = append(ways, w)
	}
	return ways, why
}

// had reports whether a Service had an address before this deploy, so that whoever
// does not reach it is not early.
func (o Options) had(service *unstructured.Unstructured, host string) bool {
	for _, c := range o.Changes {
		if c.After != nil && object.Of(c.After) == object.Of(service) {
			return !c.Changed() || c.Before != nil && slices.Contains(object.BalancerAddresses(c.Before), host)
		}
	}
	return false
}
