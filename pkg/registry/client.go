// Package registry speaks to registries of images: under which prefix images
// live, who logs in where, what is tried again and for how long, and what a
// refusal means. It is where credentials meet foreign hosts, so it decides who is
// sent which: nobody but the registry itself, and its token service.
//
// Which image is meant, and how one is published, is left to pkg/image and
// pkg/publish.
package registry

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"golang.org/x/oauth2"

	"github.com/org/deploy-model-action/pkg/retry"
)

// Options say how registries are reached. The zero value asks anonymously.
type Options struct {
	// Prefix is the input registry_host: Username and Password are sent to its host
	// only. Default: they are sent nowhere.
	Prefix Prefix
	// Username and Password log in to the host of Prefix, also if it is Google's.
	// Default: Google's token there, anonymous elsewhere.
	Username, Password string
	// Tokens are Google's. They are sent to *.pkg.dev, gcr.io and *.gcr.io only.
	// nil: Google's registries are asked anonymously too.
	Tokens oauth2.TokenSource
	// Principal is whose the tokens are, for errors: the e-mail address of a
	// service account, or principal://… or principalSet://…. Default: unknown.
	Principal string
	// Transport sends every request. Default: http.DefaultTransport.
	Transport http.RoundTripper
	Limits
}

// Limits bound what is asked of a registry. The zero value has the defaults.
type Limits struct {
	// Parallel is how many requests are under way at a time. Default: 8.
	Parallel int
	// RetryFor is how long the registries may be in trouble, all requests together,
	// before that is an error. Default: retry.DefaultBudget.
	RetryFor time.Duration
	// Silence is how long a registry may send nothing before a request is given up,
	// and made again. Default: 15 s.
	Silence time.Duration
}

// Client is what one run knows about registries. It is safe for concurrent use.
type Client struct {
	options Options
	budget  *retry.Budget
}

// New checks the options. Nothing is sent yet.
func New(o Options) (*Client, error) {
	if (o.Username == "") != (o.Password == "") {
		return nil, errors.New("inputs registry_username and registry_password: only one of them is set; set both, or none to use Google's token on Google's registries")
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	o.Parallel = max(o.Parallel, 0)
	o.Parallel = cmp.Or(o.Parallel, 8)
	o.RetryFor = cmp.Or(o.RetryFor, retry.DefaultBudget)
	o.Silence = cmp.Or(o.Silence, 15*time.Second)
	return &Client{options: o, budget: retry.NewBudget(o.RetryFor)}, nil
}

// Limits are those of the options, with the defaults filled in.
func (c *Client) Limits() Limits { return c.options.Limits }
