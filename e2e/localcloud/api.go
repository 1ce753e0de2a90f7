package localcloud

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
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
	return &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		FlushInterval: -1,
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: roots, Certificates: certificates, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 100,
		},
		// The API server went away: so does the connection.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}, nil
}
