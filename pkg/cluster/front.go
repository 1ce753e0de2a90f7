package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/api/googleapi"

	"github.com/org/deploy-model-action/pkg/redact"
	"github.com/org/deploy-model-action/pkg/wire"
)

// maxRefusal bounds what is read of an answer to find out whose it is.
const maxRefusal = 64 << 10

// frontTransport makes errors of answers that are not the API server's: those of
// Google's front ends to it, and redirects. As answers they would be read as if
// Kubernetes had refused one object; as errors they stand for every request, and
// callers that try again or give up do the right thing.
type frontTransport struct {
	base    http.RoundTripper
	cluster *Cluster
}

// frontError is the sentence of a frontTransport, for Explain to find below what
// clients say about the failure of their request.
type frontError struct{ err error }

func (e *frontError) Error() string { return e.err.Error() }
func (e *frontError) Unwrap() error { return e.err }

// RoundTrip looks at who has answered.
func (d *frontTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := d.base.RoundTrip(req)
	if err != nil || strings.Contains(req.URL.Path+"/", "/proxy/") { // there, a workload answers
		return resp, err
	}
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400 && resp.Header.Get("Location") != "":
		resp.Body.Close()
		return nil, &frontError{d.cluster.redirected(resp)}
	case d.cluster.pinned() || resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusNotFound:
		return resp, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	if err == nil {
		if out := d.cluster.shutOut(resp, body); out != nil {
			err = &frontError{out}
		}
	}
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), resp.Body), resp.Body}
	return resp, nil
}

func (c *Cluster) redirected(resp *http.Response) error {
	to := "elsewhere"
	if u, err := url.Parse(resp.Header.Get("Location")); err == nil && u.Host != "" {
		to = "to " + redact.Phrase(u.Host)
	}
	e := c.unreached(fmt.Sprintf("the answer is a redirect %s (status %d), which is not followed with a token in hand", to, resp.StatusCode))
	e.Hint = "let the runner reach the cluster itself, without a portal or proxy that answers in its place"
	return e
}

// endless explains an answer that is longer than any of an API server.
func (c *Cluster) endless(long *wire.LongError) error {
	e := c.unreached(long.Error())
	e.Hint = "let the runner reach the cluster itself, without a portal or proxy that answers in its place; if it does, look which extension of the cluster (an APIService) answers so"
	e.Err = long
	return e
}

// shutOut explains an answer of Google's front end; nil if the API server has
// answered. Its errors are a Status, and it writes no HTML.
func (c *Cluster) shutOut(resp *http.Response, body []byte) error {
	var api *googleapi.Error
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if !errors.As(googleapi.CheckResponseWithBody(resp, body), &api) || api.Message == "" && kind != "text/html" {
		return nil
	}
	n := need{
		act: fmt.Sprintf("reach cluster %q through the DNS endpoint", c.Name.Cluster), service: hostContainer, project: c.Name.Project,
		permission: "container.clusters.connect", role: roleDeveloper, principal: c.principal,
	}
	if c.Kind == KindGateway {
		n.act, n.service, n.project = fmt.Sprintf("reach cluster %q through the Connect gateway", c.Name.Cluster), hostGateway, c.fleet
		n.permission, n.role = "gkehub.gateway."+strings.ToLower(resp.Request.Method), roleGatewayEditor
	}
	switch {
	case resp.StatusCode == http.StatusForbidden && strings.Contains(api.Message, "xternal traffic"):
		return &EndpointError{Name: c.Name, Kind: c.Kind, Problem: "it does not allow external traffic", Fix: "allow it with `" + c.Name.update("--enable-dns-access") + "`", Others: c.others}
	case resp.StatusCode == http.StatusForbidden:
		return n.refused(api)
	case c.Kind == KindGateway:
		return &EndpointError{Name: c.Name, Kind: c.Kind, Problem: fmt.Sprintf("the Connect gateway has no such member of the fleet (%s)", c.Host), Fix: "compare it with " + listing(c.fleet), Others: c.others}
	}
	return &EndpointError{Name: c.Name, Kind: c.Kind, Problem: fmt.Sprintf("nothing is behind %s", c.Host), Fix: "run the job again, as the cluster may have been replaced a moment ago", Others: c.others}
}
