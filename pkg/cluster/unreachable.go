package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"github.com/org/deploy-model-action/pkg/redact"
)

// trouble is a class of failures that has one remedy.
type trouble int

const (
	blocked   trouble = iota // no connection, or none that lasts
	nameless                 // the host has no address
	untrusted                // somebody answers whom nobody vouches for
	barred                   // a proxy does not let the request through
)

// unreachable explains a request that the endpoint did not answer; nil if err
// is something else.
func (c *Cluster) unreachable(err error) error {
	var request *url.Error
	switch {
	case errors.As(err, &request):
		// The caller may have asked others too, a registry or the model itself.
		if u, _ := url.Parse(request.URL); u == nil || u.Host != c.authority() {
			return nil
		}
	case !lost(err):
		return nil
	}
	what, cause := diagnose(err)
	e := c.unreached(cause)
	e.Hint, e.Err = c.remedy(what), err
	return e
}

func (c *Cluster) unreached(cause string) *UnreachableError {
	return &UnreachableError{Name: c.Name, Kind: c.Kind, Host: c.Host, Others: c.others, Cause: cause}
}

// lost recognises failures of a connection that carry no URL, as those do that
// come while an answer is read.
func lost(err error) bool {
	var (
		operation   *net.OpError
		name        *net.DNSError
		certificate *tls.CertificateVerificationError
	)
	return errors.As(err, &operation) || errors.As(err, &name) || errors.As(err, &certificate)
}

// diagnose finds the first cause, and what kind of trouble it is.
func diagnose(err error) (trouble, string) {
	var (
		operation *net.OpError
		name      *net.DNSError
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		timeout   net.Error
		foreign   *foreignHostError
		request   *url.Error
	)
	proxy := ""
	if errors.As(err, &operation) && operation.Op == "proxyconnect" {
		proxy = "the proxy: "
	}
	switch {
	case errors.As(err, &foreign):
		return blocked, foreign.Error()
	case errors.As(err, &name):
		if name.IsTimeout || name.IsTemporary && !name.IsNotFound {
			return nameless, fmt.Sprintf("%sthe name %s was not looked up in time", proxy, name.Name)
		}
		return nameless, fmt.Sprintf("%sthe name %s does not exist", proxy, name.Name)
	case errors.As(err, &authority):
		return untrusted, proxy + "its certificate is signed by an unknown authority"
	case errors.As(err, &host):
		return untrusted, proxy + "its certificate is for another name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return untrusted, proxy + "its certificate is not valid at this time"
	case errors.As(err, &verify):
		return untrusted, proxy + "its certificate does not verify"
	case errors.As(err, &record):
		return untrusted, proxy + "it does not speak TLS"
	case errors.Is(err, syscall.ECONNREFUSED):
		return blocked, proxy + "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return blocked, proxy + "no route to it"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return blocked, proxy + "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return blocked, proxy + "the connection was closed"
	case proxy != "":
		return barred, proxy + redact.Phrase(operation.Err.Error())
	}
	if errors.As(err, &request) {
		err = request.Err
	}
	text := redact.Phrase(err.Error())
	if strings.Contains(text, "HTTP response to HTTPS client") { // has no type
		return untrusted, proxy + "it does not speak TLS"
	}
	switch text { // what a proxy answers to CONNECT, of which net/http leaves the words only
	case http.StatusText(http.StatusBadGateway), http.StatusText(http.StatusServiceUnavailable), http.StatusText(http.StatusGatewayTimeout):
		return blocked, fmt.Sprintf("the proxy reaches nothing there (%q)", text)
	case http.StatusText(http.StatusForbidden), http.StatusText(http.StatusProxyAuthRequired), http.StatusText(http.StatusUnauthorized), http.StatusText(http.StatusMethodNotAllowed), http.StatusText(http.StatusNotFound):
		return barred, fmt.Sprintf("the proxy refuses (%q)", text)
	}
	return blocked, text
}

// remedy is what may be the reason, and what to do about it.
func (c *Cluster) remedy(what trouble) string {
	switch {
	case what == untrusted && c.pinned():
		return "only the cluster's own CA is trusted, so let the runner reach the address itself, without a proxy that opens TLS (NO_PROXY), and run the job again if the cluster's credentials were rotated a moment ago"
	case what == untrusted:
		return "only public CAs are trusted, so let the runner reach it without a proxy that opens TLS, or trust that proxy's CA with SSL_CERT_FILE"
	case what == nameless:
		return "let the runner look the name up: a private DNS zone may hide it"
	case what == barred:
		return "let the proxy in HTTPS_PROXY pass on to " + c.authority() + ", or name it in NO_PROXY if the runner reaches it directly"
	case c.Kind == KindInternal:
		return "it is a private address, which GitHub's own runners cannot reach: use a runner inside the cluster's network, or the DNS endpoint" + c.open()
	case c.Kind == KindPublic && c.fenced:
		return "authorized networks are on, and the runner's address is probably not among them: let an administrator add it with `" +
			c.Name.update("--enable-master-authorized-networks --master-authorized-networks=CIDR,…") + "` (the list replaces the one that is there), or use the DNS endpoint, which asks for a role and not for an address" + c.open()
	}
	return "let the runner reach " + c.authority() + ", directly or through HTTPS_PROXY"
}

// open is how the DNS endpoint is opened, if it is not.
func (c *Cluster) open() string {
	if slices.Contains(c.others, KindDNS) {
		return ""
	}
	return ", once it is open: `" + c.Name.update("--enable-dns-access") + "`"
}
