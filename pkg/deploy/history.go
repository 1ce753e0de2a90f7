package deploy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"regexp"

	"github.com/org/deploy-model-action/pkg/credentials"
	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/release"
)

const historyUsage = `Usage: deploy-model-action history --cluster CLUSTER --location LOCATION --project PROJECT [--namespace NAMESPACE] [--release RELEASE] [--json]

Shows who deployed what and when: the last 50 deploys of a release, which of them
serves, and how to go back. Without a release, it lists those of the namespace.

  --cluster CLUSTER      name of the cluster, also projects/P/locations/L/clusters/C
  --location LOCATION    zone or region of the cluster; --zone is the same
  --project PROJECT      ID of the cluster's project
  --namespace NAMESPACE  namespace of the release, default "default"
  --release RELEASE      name of the release: the repository's, unless the input
                         release of its workflow says otherwise
  --json                 print JSON, for programs

It changes nothing. It acts as you, or as the step that it runs in, and needs the
rights to get and list ConfigMaps; roles/container.viewer has them:
  docker run --rm -e GOOGLE_OAUTH_ACCESS_TOKEN="$(gcloud auth print-access-token)" IMAGE history ...
  docker run --rm -v ~/.config/gcloud:/root/.config/gcloud:ro IMAGE history ...
      after gcloud auth application-default login`

// HistoryOptions are what surrounds the subcommand history.
type HistoryOptions struct {
	// Inputs are those of the step that it runs in, if it does: credentials, and
	// the cluster where no flag names it. Mistakes in them are not looked at.
	Inputs Options
	// Runner surrounds it as it does a deploy; no Workspace is needed.
	Runner Runner
	// Log takes what is printed.
	Log Log
}

// History runs `history` with the arguments after that word, prints the releases
// or what is wrong, and returns the exit code: 0, 1 the cluster refused or knows
// no such release, 2 the arguments are wrong and nothing was contacted, 3 cancelled.
func History(ctx context.Context, args []string, o HistoryOptions) int {
	if o.Runner.Transport == nil {
		o.Runner.Transport = http.DefaultTransport
	}
	h := &history{Options: o.Inputs, HistoryOptions: o}
	if err := h.parse(args); errors.Is(err, flag.ErrHelp) {
		o.Log.Printf("%s", historyUsage)
		return ExitOK
	} else if err != nil {
		o.Log.Printf("%v\n\n%s", err, historyUsage)
		return ExitInput
	}
	var err error
	fault.Run(ctx, func(ctx context.Context) { err = h.run(ctx) })
	var input *InputError
	switch {
	case err == nil:
		return ExitOK
	case ctx.Err() != nil:
		o.Log.Printf("cancelled")
		return ExitCancelled
	case errors.As(err, &input):
		o.Log.Printf("%v", err)
		return ExitInput
	}
	o.Log.Printf("%v", err)
	return ExitRefused
}

// history is one call of the subcommand.
type history struct {
	Options
	HistoryOptions
	release string
	json    bool
	flags   map[string]string // what stands for an input, unless the step's input was taken
}

// parse reads the arguments over what the inputs say.
func (h *history) parse(args []string) error {
	flags := flag.NewFlagSet("history", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	h.Location = cmp.Or(h.Zone, h.Location)
	h.Zone = ""
	flags.StringVar(&h.ClusterName, "cluster", h.ClusterName, "")
	flags.StringVar(&h.Location, "location", h.Location, "")
	flags.StringVar(&h.Location, "zone", h.Location, "")
	flags.StringVar(&h.ProjectID, "project", h.ProjectID, "")
	flags.StringVar(&h.Namespace, "namespace", cmp.Or(h.Namespace, "default"), "")
	flags.StringVar(&h.release, "release", "", "")
	flags.BoolVar(&h.json, "json", false, "")
	if err := flags.Parse(args); err != nil {
		return flagError(err)
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	h.flags = map[string]string{}
	for input, of := range map[string]struct{ flag, value string }{
		"cluster_name": {"cluster", h.Inputs.ClusterName}, "zone": {"location", cmp.Or(h.Inputs.Zone, h.Inputs.Location)}, "project_id": {"project", h.Inputs.ProjectID},
	} {
		if given[of.flag] || of.value == "" || of.flag == "location" && given["zone"] {
			h.flags[input] = "--" + of.flag
			if of.flag == "location" && given["zone"] {
				h.flags[input] = "--zone"
			}
		}
	}
	var errs []error
	if flags.NArg() > 0 {
		errs = append(errs, fmt.Errorf("%q: no such argument", flags.Arg(0)))
	}
	if h.ClusterName == "" {
		errs = append(errs, errors.New("--cluster: required; give the name of the cluster"))
	}
	if !dnsLabel.MatchString(h.Namespace) {
		errs = append(errs, fmt.Errorf("--namespace %q: is not the name of a namespace: it has small letters, digits and dashes, 63 at most", h.Namespace))
	}
	if h.release != "" {
		if err := release.ValidateName(h.release); err != nil {
			errs = append(errs, fmt.Errorf("--%w", err)) // which begins with the word release
		}
	}
	return errors.Join(errs...)
}

// flagForms are the sentences of package flag, and ours.
var flagForms = []struct {
	theirs *regexp.Regexp
	ours   string
}{
	{regexp.MustCompile(`^flag provided but not defined: -(.*)$`), "--$1: there is no such flag"},
	{regexp.MustCompile(`^flag needs an argument: -(.*)$`), "--$1: needs a value behind it"},
	{regexp.MustCompile(`^invalid boolean value (".*") for -(.*): parse error$`), "--$2 $1: is neither true nor false"},
	{regexp.MustCompile(`^bad flag syntax: (.*)$`), "$1: is not how a flag is written"},
}

// flagError words what package flag says as every other mistake is worded.
func flagError(err error) error {
	for _, f := range flagForms {
		if f.theirs.MatchString(err.Error()) {
			return errors.New(f.theirs.ReplaceAllString(err.Error(), f.ours))
		}
	}
	return err
}

func (h *history) run(ctx context.Context) error {
	account, delegates := h.impersonated()
	found, err := credentials.Find(ctx, credentials.Options{
		JSON: h.CredentialsJSON, WorkloadIdentityProvider: h.WorkloadIdentityProvider, ServiceAccount: account, Delegates: delegates,
		People: true, Getenv: h.Runner.Getenv, Workspace: h.Runner.Workspace, Transport: h.Runner.Transport, Mask: h.Log.Mask, IDToken: h.Runner.IDToken,
	})
	if err != nil {
		return &InputError{err}
	}
	d := &deployment{Options: h.Options, runner: h.Runner, log: quiet{h.Log}, result: &Result{}, credentials: found, flags: h.flags}
	if err := d.parseName(); err != nil {
		return &InputError{err}
	}
	if err := d.login(); err != nil {
		return err
	}
	if err := d.find(ctx); err != nil {
		return err
	}
	err = h.show(ctx, kube.NewClient(d.client.Dynamic, d.client.REST, kube.Options{}))
	return d.cluster.Explain(err)
}

// quiet is a log without what a deploy says on its way.
type quiet struct{ Log }

// Printf drops the line.
func (quiet) Printf(string, ...any) {}

// shownRelease is a release as JSON shows it.
type shownRelease struct {
	Release  string          `json:"release"`
	Problem  string          `json:"problem,omitempty"` // why its record cannot be read
	Serves   string          `json:"serves,omitempty"`  // the commit of the newest that was verified
	Releases []release.Entry `json:"releases"`
}

// show prints one release, or those of the namespace.
func (h *history) show(ctx context.Context, client *kube.Client) error {
	if h.release == "" {
		all, err := release.List(ctx, client, h.Namespace)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			if err := h.namespaceThere(ctx, client); err != nil {
				return err
			}
		}
		if h.json {
			list := make([]shownRelease, 0, len(all))
			for _, l := range all {
				list = append(list, shown(l))
			}
			return h.printJSON(list)
		}
		if len(all) == 0 {
			h.Log.Printf("no release in namespace %s", h.Namespace)
			return nil
		}
		h.print(release.ListTable(all))
		return nil
	}
	releases, err := release.History(ctx, client, h.Namespace, h.release)
	if err != nil {
		return err
	}
	if releases == nil {
		if err := h.namespaceThere(ctx, client); err != nil {
			return err
		}
		return fmt.Errorf("no release %q in namespace %q: leave --release away to list those that there are", h.release, h.Namespace)
	}
	if h.json {
		return h.printJSON(shown(release.Listed{Name: h.release, Releases: releases}))
	}
	h.print(release.Table(releases))
	return nil
}

// namespaceThere is an error if the namespace does not exist: the API server lists
// what is in such a one like what is in an empty one. Who may not read it gets none.
func (h *history) namespaceThere(ctx context.Context, client *kube.Client) error {
	namespaces := kube.Resource{GroupVersionResource: core("namespaces").GroupVersionResource}
	found, err := client.Get(ctx, kube.Ref{Resource: namespaces, Kind: "Namespace", Name: h.Namespace}, kube.Patience{})
	if err != nil || found != nil {
		return nil //nolint:nilerr // the right to list ConfigMaps is enough, and the answer is true as far as it goes
	}
	return fmt.Errorf("namespace %q does not exist: correct --namespace, or look at `kubectl get namespaces`", h.Namespace)
}

func shown(l release.Listed) shownRelease {
	s := shownRelease{Release: l.Name, Releases: l.Releases}
	if l.Err != nil {
		s.Problem = l.Err.Error()
	}
	if e, ok := release.Serving(l.Releases); ok {
		s.Serves = e.Commit
	}
	return s
}

func (h *history) print(lines []string) {
	for _, line := range lines {
		h.Log.Printf("%s", line)
	}
}

func (h *history) printJSON(value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("print the releases as JSON: %w", err)
	}
	h.Log.Printf("%s", text)
	return nil
}
