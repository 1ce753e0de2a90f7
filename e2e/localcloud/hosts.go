package localcloud

import (
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/org/deploy-model-action/e2e/github"
	"github.com/org/deploy-model-action/e2e/google"
	"github.com/org/deploy-model-action/e2e/internal/inproc"
	"github.com/org/deploy-model-action/e2e/registry"
)

// Registries that are not Google's, and who may use them.
const (
	GHCR          = "ghcr.io"
	Harbor        = "harbor.example.com"
	PlainRegistry = "registry.example.com" // a password file, no token service

	RegistryUser     = "octocat"
	RegistryPassword = "local-registry-password"
)

// The pool and provider that trust GitHub.
const (
	Pool     = "github-pool"
	Provider = "github-provider"
)

// hosts are the services by the name that the proxy answers for.
func (c *Cloud) hosts() (map[string]http.Handler, error) {
	next, err := c.gateway()
	if err != nil {
		return nil, err
	}
	gateway := c.Google.Gateway(next)
	hosts := map[string]http.Handler{
		"oauth2.googleapis.com":                   c.Google.OAuth(),
		"sts.googleapis.com":                      c.Google.STS(),
		"iamcredentials.googleapis.com":           c.Google.IAMCredentials(),
		"container.googleapis.com":                c.Google.Container(),
		"cloudresourcemanager.googleapis.com":     c.Google.ResourceManager(),
		"gkehub.googleapis.com":                   c.Google.Hub(),
		"connectgateway.googleapis.com":           gateway,
		region + "-connectgateway.googleapis.com": gateway,
		github.IssuerHost:                         c.GitHub.Keys(),
		github.JobsHost:                           c.GitHub.Jobs(),
		Registry:                                  c.Registry,
	}
	for host, r := range c.Foreign {
		hosts[host] = r
	}
	return hosts, nil
}

// startServices makes what the hosts answer with.
func (c *Cloud) startServices() error {
	var err error
	if c.GitHub, err = github.New(); err != nil {
		return err
	}
	c.Google.Issuers = inproc.Transport{Handler: c.GitHub.Keys()}
	c.Google.AddProvider(google.Provider{Pool: Pool, ID: Provider, Issuer: github.Issuer})
	c.Registry = registry.New(Registry, c.Google)
	c.Foreign = map[string]*registry.Foreign{}
	for host, o := range map[string]registry.ForeignOptions{
		GHCR:          {Realm: "/token", Service: GHCR},
		Harbor:        {Realm: "/service/token", Service: "harbor-registry"},
		PlainRegistry: {},
	} {
		o.Username, o.Password, o.Public = RegistryUser, RegistryPassword, []string{"public/"}
		c.Foreign[host] = registry.NewForeign(host, o)
	}
	return nil
}

// store is what the nodes pull from a host.
func (c *Cloud) store(host string) http.RoundTripper {
	if r, ok := c.Foreign[host]; ok {
		return r.Transport()
	}
	return c.Registry.Transport()
}

// ProviderName is what workload_identity_provider is set to.
func (c *Cloud) ProviderName() string {
	return c.Google.ProviderName(google.Provider{Pool: Pool, ID: Provider})
}

// Metadata starts the metadata server of a machine that runs as the account, and
// returns what GCE_METADATA_HOST is set to. It listens on loopback, where no
// proxy is asked, and ends with stop.
func (c *Cloud) Metadata(account string) (host string, stop func()) {
	server := httptest.NewServer(c.Google.Metadata(account))
	return strings.TrimPrefix(server.URL, "http://"), server.Close
}
