// Package deploy is the flow: it takes the inputs of one step and calls the
// leaf packages in order, from manifests and credentials to a serving,
// verified workload. It returns a Result that holds everything that was
// learned and done, also when it fails half way.
//
// The leaves know nothing of each other; what one learns and another needs
// passes through here, in plain types. How a Result is shown to people is left
// to pkg/report.
package deploy

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/apply"
	"github.com/org/deploy-model-action/pkg/cluster"
	"github.com/org/deploy-model-action/pkg/credentials"
	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/image"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/manifest"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/registry"
	"github.com/org/deploy-model-action/pkg/release"
	"github.com/org/deploy-model-action/pkg/rollout"
	"github.com/org/deploy-model-action/pkg/serving"
)

// deployment is one run: its inputs, and what each phase leaves for the next.
type deployment struct {
	Options
	runner Runner
	log    Log
	result *Result

	manifests   *manifest.Set
	prefix      registry.Prefix
	registries  *registry.Client
	matches     []image.Match
	resolved    []image.Image // of the matches
	credentials *credentials.Credentials
	name        cluster.Name
	projectFrom string            // where its project was found; "" for an input
	flags       map[string]string // of a subcommand, by the inputs that they stand for
	cluster     *cluster.Cluster
	client      *cluster.Client
	kube        *kube.Client
	nodes       []corev1.Node // that pods can be scheduled on; none if not known

	planning bool          // nothing is written: what a deploy would do is shown
	offline  bool          // nor asked: there are no credentials for it
	foreseen []kube.Change // what a deploy would do

	run       release.Run
	runMark   string // on the objects that this run writes
	record    *release.Record
	earlier   []release.Entry // the releases before this run, as its record had them
	claimed   bool            // the record names this run
	plan      *apply.Plan
	inherited []kube.Change // what an unfinished run before this one left to put back
	changes   []kube.Change // what this run wrote, or found unchanged
	ahead     rollout.Ahead // watches of what is being written
	statuses  []rollout.Status
	before    []Rollout // of the Jobs that ran before the workloads were written
	address   serving.Address
	smokeTest *serving.SmokeTest
	refused   string                                   // which right is missing to ask the model; "" if none is known to be
	reached   string                                   // the address that answered when the model was asked
	backErr   error                                    // what went wrong on the way back
	back      map[object.ID]*unstructured.Unstructured // what was restored, as it is now
	wentBack  bool                                     // the way back was gone, to its end or not
	others    map[object.ID]string                     // what other releases hold, on the first deploy of this one
	removed   []object.ID                              // that are not the release's any more
	pruned    []object.ID                              // that this run has deleted
	fated     []apply.Fate                             // what is to become of what the manifests hold no longer
	// changedSince says that somebody changed an object since this run wrote it, so
	// that it was left; notRestored counts those that could not be restored.
	changedSince bool
	notRestored  int
}

// Run deploys. Mistakes that the inputs already showed are in o.Mistakes, so
// that they are reported together with the ones found here; nothing is
// contacted when there is any. The result is never nil, and holds what was done
// together with the error. It panics with a *fault.Panic if a goroutine of it does.
func Run(ctx context.Context, o Options, r Runner, log Log) *Result {
	if r.Transport == nil {
		r.Transport = http.DefaultTransport
	}
	d := &deployment{Options: o, runner: r, log: log}
	d.planning = o.plans(r.Getenv)
	d.result = &Result{Started: time.Now(), Namespace: o.Namespace, Commit: o.SHA, DryRun: d.planning}
	fault.Run(ctx, func(ctx context.Context) {
		err := d.deploy(ctx)
		d.finish(ctx, err)
	})
	return d.result
}

func (d *deployment) deploy(ctx context.Context) error {
	if err := d.phase(ctx, "Manifests", d.prepare); err != nil {
		return &InputError{err}
	}
	if d.planning {
		return d.foretell(ctx)
	}
	if d.Push != "" {
		if err := d.phase(ctx, "Publish", d.publish); err != nil {
			return err
		}
	}
	if err := d.phase(ctx, "Cluster and images", d.connect); err != nil {
		return err
	}
	apply := d.apply
	if d.Candidate {
		if err := d.phase(ctx, "Check", d.check); err != nil {
			return d.rollback(ctx, err)
		}
		if err := d.phase(ctx, "Candidate", d.candidate); err != nil {
			return d.rollback(ctx, err)
		}
		apply = d.write
	}
	if err := d.phase(ctx, "Apply", apply); err != nil {
		return d.rollback(ctx, err)
	}
	if err := d.phase(ctx, "Rollout", d.wait); err != nil {
		return d.rollback(ctx, err)
	}
	if name := d.questions(); name != "" {
		if err := d.phase(ctx, name, d.ask); err != nil {
			return d.rollback(ctx, err)
		}
		if err := d.confirm(ctx); err != nil {
			return d.rollback(ctx, err)
		}
	}
	if d.plan.HasAfter() {
		if err := d.phase(ctx, "Jobs after", d.runAfter); err != nil {
			return d.rollback(ctx, err)
		}
	}
	if d.Prune && len(d.former()) > 0 {
		return d.phase(ctx, "Prune", d.prune) // nothing leads back from here
	}
	return nil
}

// phase runs one part of the deploy in a group of the log.
func (d *deployment) phase(ctx context.Context, name string, f func(context.Context) error) error {
	d.log.Group(name)
	defer d.log.EndGroup()
	started := time.Now()
	err := f(ctx)
	d.warn()
	d.result.Phases = append(d.result.Phases, Phase{Name: name, Started: started, Finished: time.Now(), Failed: err != nil})
	return err
}

// prepare does all that needs no network, and reports every mistake at once.
func (d *deployment) prepare(ctx context.Context) error {
	var errs []error
	note := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	d.log.Mask(d.RegistryPassword)
	account, delegates := d.impersonated()
	found, err := credentials.Find(ctx, credentials.Options{
		JSON:                     d.CredentialsJSON,
		WorkloadIdentityProvider: d.WorkloadIdentityProvider,
		ServiceAccount:           account,
		Delegates:                delegates,
		Getenv:                   d.runner.Getenv,
		Workspace:                d.runner.Workspace,
		Transport:                d.runner.Transport,
		Mask:                     d.log.Mask,
		IDToken:                  d.runner.IDToken,
	})
	d.credentials, d.offline = found, err != nil && d.withoutSecrets()
	note(d.Mistakes)
	note(d.mistakes(d.runner, d.offline))
	note(d.identify())
	if !d.offline {
		note(err)
		note(d.parseName())
	}
	note(d.findArchive())

	if len(d.Manifests) > 0 {
		note(d.loadManifests(ctx))
	}
	note(d.loadSmokeTest(ctx))
	note(d.checkAskable())
	return errors.Join(errs...)
}

// impersonated splits the input service_account: the last one is impersonated,
// through the ones before it.
func (o Options) impersonated() (account string, delegates []string) {
	if n := len(o.ServiceAccount); n > 0 {
		return o.ServiceAccount[n-1], o.ServiceAccount[:n-1]
	}
	return "", nil
}

// parseName finds the cluster's full name from the inputs, the credentials and
// the environment.
func (d *deployment) parseName() error {
	if d.ClusterName == "" {
		return nil // said already
	}
	project := d.ProjectID
	full := strings.Contains(d.ClusterName, "/") // it says the project; an account may be of another
	// What was named for this job comes before the project that an account happens to
	// be of: the key of a CI project deploys to many.
	for _, name := range []string{"GCLOUD_PROJECT", "GOOGLE_CLOUD_PROJECT"} {
		if value := d.runner.Getenv(name); project == "" && !full && value != "" {
			project, d.projectFrom = value, "environment variable "+name
		}
	}
	if project == "" && !full && d.credentials != nil && d.credentials.ProjectID != "" {
		project, d.projectFrom = d.credentials.ProjectID, "project of the credentials ("+d.credentials.Kind+")"
	}
	if project == "" && d.credentials == nil && !strings.Contains(d.ClusterName, "/") {
		// The credentials would say it; what is wrong with them is said already.
		project = "unknown"
	}
	location := d.Zone
	if location == "" {
		location = d.Location
	}
	var err error
	d.name, err = cluster.ParseName(d.ClusterName, location, project)
	return d.sourced(err)
}

func (d *deployment) loadManifests(ctx context.Context) error {
	skip := func(string) bool { return false }
	if d.credentials != nil && d.credentials.File != "" {
		file := d.credentials.File
		skip = func(path string) bool { return sameFile(d.runner.Workspace, path, file) }
	}
	set, err := manifest.Load(ctx, manifest.Options{Root: d.runner.Workspace, Paths: d.Manifests, Namespace: d.Namespace, Skip: skip, Suffix: d.suffix})
	if err != nil {
		return err
	}
	d.manifests = set
	for i, o := range set.Objects {
		at := set.Position(i, "")
		d.log.Printf("%s:%d: %s %s", at.File, at.Line, o.GetKind(), o.GetName())
	}
	for _, c := range set.Copies {
		d.log.Printf("%s:%d: %s %s is the same as at %s:%d, and counts once", c.File, c.Line, c.Kind, c.Name, c.Of.File, c.Of.Line)
	}
	for _, file := range set.Hidden {
		d.log.Printf("%s is left out, as its name begins with a dot", file)
	}
	for _, test := range set.Tests {
		d.log.Printf("%s:%d: %s %s is left out: it is a test of a Helm chart (helm.sh/hook: test), which `helm template --skip-tests` does not print", test.File, test.Line, test.Kind, test.Name)
	}
	if d.RegistryHost == "" {
		return nil // said already
	}
	if d.prefix, err = registry.ParsePrefix(d.RegistryHost); err != nil || !registry.ValidTag(d.SHA) {
		return err // a tag that is none was said already
	}
	return d.planImages()
}
