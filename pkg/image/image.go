// Package image decides which images a deploy uses: which references of the
// manifests are rewritten and to what (Plan), which digest the registry has for
// each (Resolve), and, when asked, how an image gets from the runner's Docker
// engine or an archive into the registry first (Publish).
//
// It is also where credentials meet foreign hosts, so it decides who is sent
// which. Writing the references into manifests, and what the cluster's nodes can
// run, is left to the caller.
package image

import (
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/oauth2"

	"github.com/org/deploy-model-action/pkg/retry"
)

// Defaults of Options.
const (
	defaultLimit   = 8
	defaultSilence = 15 * time.Second
)

// Options say how registries are reached. The zero value asks anonymously.
type Options struct {
	// RegistryHost is the input registry_host: Username and Password are sent to
	// its host only. Default: they are sent nowhere.
	RegistryHost string
	// Username and Password log in to the host of RegistryHost, also if it is
	// Google's. Default: Google's token there, anonymous elsewhere.
	Username, Password string
	// Tokens are Google's. They are sent to *.pkg.dev, gcr.io and *.gcr.io only.
	// nil: Google's registries are asked anonymously too.
	Tokens oauth2.TokenSource
	// Principal is whose the tokens are, for errors: the e-mail address of a
	// service account, or principal://… or principalSet://…. Default: unknown.
	Principal string
	// Platforms asks for Image.Platforms too: nothing more for an index, one more
	// request for a single image.
	Platforms bool
	// Transport sends every request. Default: http.DefaultTransport.
	Transport http.RoundTripper
	// Limit is how many registry requests are under way at a time. Default: 8.
	Limit int
	// RetryFor is how long the registries may be in trouble, all requests together,
	// before that is an error. Default: retry.DefaultBudget.
	RetryFor time.Duration
	// Silence is how long a registry may send nothing before a request is given up,
	// and made again. Default: 15 s.
	Silence time.Duration
}

func (o Options) withDefaults() Options {
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	if o.Limit <= 0 {
		o.Limit = defaultLimit
	}
	if o.RetryFor <= 0 {
		o.RetryFor = retry.DefaultBudget
	}
	if o.Silence <= 0 {
		o.Silence = defaultSilence
	}
	return o
}

// Match is one image of the manifests, and what it is rewritten to.
type Match struct {
	// Written is the reference as the manifests have it.
	Written string
	// Target is what is deployed in its place: a tag, or a digest if the input
	// images names one.
	Target name.Reference
	// Tag is the tag of Target, or the one beside its digest; "" if there is none.
	Tag string
}

// Image is an image that is in the registry.
type Image struct {
	Written   string   // as the manifests have it
	Reference string   // HOST/NAME:SHA
	Digest    string   // sha256:…
	Pinned    string   // HOST/NAME:SHA@sha256:…
	Platforms []string // linux/amd64, …; empty unless asked for and known
}
