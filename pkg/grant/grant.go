// Package grant is the subcommand grant: it gives a service account the roles
// that a deploy needs on a project, as the person who runs it. It adds exactly
// what is missing and leaves everything else in the project's policy as it is,
// also when others change the policy at the same time.
//
// It deploys nothing and is no part of a deploy. Who the person is, is left to
// pkg/credentials; where the lines go, to the caller.
package grant

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"strings"

	"github.com/org/deploy-model-action/pkg/credentials"
)

// Exit codes, the same as those of a deploy.
const (
	exitOK        = 0
	exitRefused   = 1
	exitUsage     = 2
	exitCancelled = 3
)

// Options are what surrounds the command.
type Options struct {
	// Getenv reads the environment; nil reads none.
	Getenv func(string) string
	// Files holds the credentials file, by absolute path without the leading
	// slash; nil: the machine's files.
	Files fs.FS
	// Transport sends every request; nil: http.DefaultTransport, which honours HTTPS_PROXY.
	Transport http.RoundTripper
	// Printf writes a line. Required.
	Printf func(format string, args ...any)
	// Mask hides a secret from a workflow's log. nil: nothing is masked.
	Mask func(secret string)
}

// Run runs `grant` with the arguments after that word, prints what it did or
// what is wrong, and returns the exit code: 0 the roles are there, 1 Google
// refused, 2 the arguments are wrong and nothing was contacted, 3 cancelled.
func Run(ctx context.Context, args []string, o Options) int {
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	order, mistakes := parse(args)
	if order.help {
		o.Printf("%s", usage)
		return exitOK
	}
	if len(mistakes) > 0 {
		o.Printf("%s\n\n%s", strings.Join(mistakes, "\n"), usage)
		return exitUsage
	}
	err := run(ctx, order, o)
	var invalid *credentials.InvalidError
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil:
		o.Printf("cancelled: run it again; it adds only what is missing")
		return exitCancelled
	case errors.As(err, &invalid):
		o.Printf("%v", err)
		return exitUsage
	}
	o.Printf("%v", err)
	return exitRefused
}

func run(ctx context.Context, order order, o Options) error {
	found, err := credentials.Find(ctx, credentials.Options{People: true, Getenv: o.Getenv, Files: o.Files, Transport: o.Transport, Mask: o.Mask})
	if err != nil {
		return err
	}
	c := newClient(found, order.project, o.Transport)
	done, err := c.grant(ctx, order)
	if err != nil {
		return err
	}
	o.Printf("project %s, %s", order.project, order.member())
	for _, r := range done {
		o.Printf("  %s", r)
	}
	return nil
}
