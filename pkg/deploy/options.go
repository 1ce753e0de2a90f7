package deploy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/org/deploy-model-action/pkg/cluster"
	"github.com/org/deploy-model-action/pkg/image"
	"github.com/org/deploy-model-action/pkg/registry"
	"github.com/org/deploy-model-action/pkg/serving"
)

// Options are the action's inputs, under the names that action.yml gives them.
type Options struct {
	// ClusterName is a short name, or projects/P/locations/L/clusters/C. Required.
	ClusterName string `input:"cluster_name"`
	// Zone and Location are two names for the zone or region of the cluster.
	Zone     string `input:"zone"`
	Location string `input:"location"`
	// ProjectID is the cluster's project. Default: the one in ClusterName, then
	// GCLOUD_PROJECT or GOOGLE_CLOUD_PROJECT, then that of the credentials.
	ProjectID string `input:"project_id"`
	// RegistryHost is the host and path that images live under. Required.
	RegistryHost string `input:"registry_host"`
	// SHA is the tag to deploy. Required; action.yml gives the commit.
	SHA string `input:"sha"`
	// Images are the images to rewrite, NAME or NAME=REFERENCE. Default: every
	// image in the manifests that lives under RegistryHost.
	Images []string `input:"images"`
	// Manifests are files, folders or globs inside the workspace.
	Manifests []string `input:"manifests"`
	// Release is the name of the set that belongs together: its record and its
	// history. Default: the repository's name, and a slug of Manifests where that is
	// not the default.
	Release string `input:"release"`
	// Push publishes the images first: `docker` for the runner's engine, or the
	// path of an archive inside the workspace. Default: they are in the registry.
	Push string `input:"push"`
	// Tags are set besides SHA on what Push publishes; given empty, none are.
	Tags []string `input:"tags,none"`
	// Namespace is for objects that name none.
	Namespace string `input:"namespace"`
	// RegistryUsername and RegistryPassword log in to the host of RegistryHost.
	// Default: Google's token on Google's registries, nobody elsewhere.
	RegistryUsername string `input:"registry_username"`
	RegistryPassword string `input:"registry_password,secret"`
	// CredentialsJSON is a service account key, or a federation file. Default:
	// what an earlier step left, or the metadata server.
	CredentialsJSON string `input:"credentials_json,secret"`
	// WorkloadIdentityProvider trusts GitHub's identity tokens: federation without
	// a key. Default: none.
	WorkloadIdentityProvider string `input:"workload_identity_provider"`
	// ServiceAccount is impersonated with whatever credentials there are; of
	// several, the last one, through the ones before it. Default: nobody.
	ServiceAccount []string `input:"service_account"`
	// Endpoint is how the cluster is reached: auto, public, internal, dns or
	// connect-gateway.
	Endpoint string `input:"endpoint"`
	// FleetMembership is the cluster's membership, for the Connect gateway.
	// Default: it is looked up.
	FleetMembership string `input:"fleet_membership"`
	// Timeout bounds the rollout; each network phase before it has a bound of its own.
	Timeout time.Duration `input:"timeout"`
	// FailFast fails as soon as the cause is certain; otherwise at Timeout.
	FailFast bool `input:"fail_fast"`
	// Rollback restores what was there when the rollout, the health check or the smoke test fails.
	Rollback bool `input:"rollback"`
	// HealthPath must answer 2xx before the deploy counts. Default: not asked.
	HealthPath string `input:"health_path"`
	// SmokeTest is a file of the workspace: what the model is asked, and what it
	// must answer before the deploy counts. Default: nothing is asked.
	SmokeTest string `input:"smoke_test"`
	// HealthTimeout bounds HealthPath and SmokeTest together.
	HealthTimeout time.Duration `input:"health_timeout"`
	// Candidate tries a pod of each changed workload beside what serves, before
	// anything that serves is changed.
	Candidate bool `input:"candidate"`
	// Prune deletes, when all the rest serves, what an earlier deploy of the release
	// applied and the manifests hold no longer.
	Prune bool `input:"prune"`
	// ForceConflicts takes fields over from other field managers.
	ForceConflicts bool `input:"force_conflicts"`
	// DryRun is true, false or auto: what a deploy would do is shown, and nothing
	// written. auto does that for events of what is not merged yet.
	DryRun string `input:"dry_run"`

	// Mistakes are what reading the inputs already showed to be wrong. They are
	// reported with what Run finds, and nothing is contacted.
	Mistakes error
}

// Defaults returns the defaults of action.yml, for whoever runs the image
// without the runner, which would have filled them in.
func Defaults() Options {
	return Options{
		Manifests: []string{"kubernetes"},
		Tags:      []string{"latest"},
		Namespace: "default",
		Endpoint:  cluster.KindAuto,
		Timeout:   10 * time.Minute,
		FailFast:  true,
		Rollback:  true,

		HealthTimeout: 2 * time.Minute,
		DryRun:        dryRunAuto,
	}
}

// Runner is what surrounds the step: everything that is not an input.
type Runner struct {
	// Getenv reads the step's environment.
	Getenv func(string) string
	// Workspace is the only folder that manifests are read from.
	Workspace *os.Root
	// Transport carries every request to Google, the registry and the model.
	// Default: http.DefaultTransport, which honours the proxy environment.
	Transport http.RoundTripper
	// Fork says that what the run is for comes from a fork, or may.
	Fork bool
	// IDToken asks GitHub for an OIDC token.
	IDToken func(ctx context.Context, audience string) (string, error)
}

// Log is where the deploy tells what it does, as it does it.
type Log interface {
	Group(title string)
	EndGroup()
	Printf(format string, args ...any)
	Warning(message string)
	Mask(secret string)
}

// InputError is a wrong input: nothing was contacted, the user must change
// the workflow or a file.
type InputError struct{ Err error }

func (e *InputError) Error() string { return e.Err.Error() }
func (e *InputError) Unwrap() error { return e.Err }

// endpoints are the values of the input endpoint.
var endpoints = []string{cluster.KindAuto, cluster.KindPublic, cluster.KindInternal, cluster.KindDNS, cluster.KindGateway}

// dnsLabel is RFC 1123's label, which Kubernetes wants for a namespace.
var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// mistakes finds what a single input shows to be wrong by itself. A run that stays
// offline may lack what it was not given.
func (o Options) mistakes(r Runner, offline bool) error {
	var errs []error
	mistake := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch event := r.Getenv("GITHUB_EVENT_NAME"); {
	case event == "pull_request_target":
		// The event runs with the base repository's secrets; a checkout of the
		// pull request would let a stranger's manifests use them.
		mistake("event pull_request_target: refused, since it would deploy a stranger's manifests with your secrets; deploy on push")
	case event == "workflow_run" && r.Fork: // as above: it runs after that of a pull request, with all secrets
		mistake("event workflow_run: refused for a run of a fork, since it would deploy a stranger's manifests with your secrets; deploy on push, or give the job `if: github.event.workflow_run.head_repository.full_name == github.repository`")
	case event == "issue_comment" && r.Fork:
		mistake("event issue_comment: refused on a pull request, which may be a stranger's, and would be deployed with your secrets; deploy on push, or by workflow_dispatch")
	}
	if !slices.Contains([]string{dryRunAuto, dryRunTrue, dryRunFalse}, o.DryRun) {
		mistake("input dry_run %q: use true, false or auto", o.DryRun)
	}
	if o.ClusterName == "" && !offline {
		mistake("input cluster_name: required; give the cluster's name, as `gcloud container clusters list` shows it")
	}
	if o.RegistryHost == "" && !offline {
		mistake("input registry_host: required; give the host and path that images live under, e.g. europe-west6-docker.pkg.dev/PROJECT/REPOSITORY")
	}
	if o.SHA == "" {
		mistake("input sha: required; give the tag to deploy, e.g. ${{ github.sha }}")
	} else if err := image.CheckTag(o.SHA); err != nil {
		errs = append(errs, err)
	}
	for _, tag := range o.Tags {
		if !registry.ValidTag(tag) {
			mistake("input tags %q: not a tag; use letters, digits, '_', '.' and '-', at most 128, and none of '.' and '-' first", tag)
		}
	}
	if o.Zone != "" && o.Location != "" && o.Zone != o.Location {
		mistake("inputs zone %q and location %q: two names for one thing with two values; give one of them", o.Zone, o.Location)
	}
	if !dnsLabel.MatchString(o.Namespace) {
		mistake("input namespace %q: not a namespace; use at most 63 lower case letters, digits and '-'", o.Namespace)
	}
	if !slices.Contains(endpoints, o.Endpoint) {
		mistake("input endpoint %q: no kind of endpoint; use one of %s", o.Endpoint, strings.Join(endpoints, ", "))
	}
	if o.FleetMembership != "" && o.Endpoint != cluster.KindAuto && o.Endpoint != cluster.KindGateway {
		mistake("input fleet_membership %q: endpoint %q does not go through a fleet; set endpoint: connect-gateway, or leave fleet_membership away", o.FleetMembership, o.Endpoint)
	}
	if len(o.Manifests) == 0 {
		mistake("input manifests: empty; name the files, folders or globs to apply, e.g. kubernetes")
	}
	if (o.RegistryUsername == "") != (o.RegistryPassword == "") && !offline {
		mistake("inputs registry_username and registry_password: only one of them is set; set both, or neither for Google's registries and for public images")
	}
	if o.HealthPath != "" {
		if _, err := serving.ParsePath(o.HealthPath); err != nil {
			mistake("input health_path %q: %w", o.HealthPath, err)
		}
	}
	return errors.Join(errs...)
}
