package localcloud

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/org/deploy-model-action/e2e/controlplane"
)

// apiServer passes requests on to the real API server, with the client's token
// and without buffering: a watch is an answer that does not end. With a
// certificate, the requests are its owner's.
func apiServer(c *controlplane.ControlPlane, certificates ...tls.Certificate) (http.Handler, error) {
	target, err := url.Parse(c.URL)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(c.CA.PEM) {
		return nil, errors.New("the cluster's authority has no certificate")
	}
	forward := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		FlushInterval: -1,
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: roots, Certificates: certificates, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 100,
		},
		// The API server went away: so does the connection.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !whole(w, r) {
			return
		}
		forward.ServeHTTP(w, r)
	}), nil
}

// maxBody is what the API server takes at most, and a bit.
const maxBody = 4 << 20

// whole reads a request before it is passed on. The API server may refuse it
// before it has read it; a client then stops to send, and over HTTP/2 the
// forwarding of what is missing would wait for ever.
func whole(w http.ResponseWriter, r *http.Request) bool {
	if r.Body == nil || r.Body == http.NoBody || r.Header.Get("Upgrade") != "" {
		return true
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return false
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return true
}
