package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/sync/errgroup"

	"github.com/org/deploy-model-action/pkg/cluster"
	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/image"
	"github.com/org/deploy-model-action/pkg/inside"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/publish"
	"github.com/org/deploy-model-action/pkg/registry"
	"github.com/org/deploy-model-action/pkg/release"
)

// findArchive looks whether there is something to publish, before anything is contacted.
func (d *deployment) findArchive() error {
	if d.Push == "" || d.Push == publish.FromDocker || d.planning {
		return nil
	}
	info, err := d.runner.Workspace.Stat(d.Push)
	switch {
	case err != nil:
		return fmt.Errorf("input push %q: %s; or write docker for the runner's engine", d.Push, inside.Cause(d.runner.Workspace, d.Push, err))
	case !info.IsDir() && !info.Mode().IsRegular():
		return fmt.Errorf("input push %q: neither a file nor a folder; name the file or folder that an earlier step wrote the image to", d.Push)
	}
	return nil
}

// publish brings the images into the registry. The cluster is looked up first:
// that takes one request, and its name may be wrong.
func (d *deployment) publish(ctx context.Context) error {
	if err := d.enter(ctx, d.login); err != nil {
		return err
	}
	client, err := d.registry()
	if err != nil {
		return err
	}
	var targets []name.Tag
	for _, m := range d.matches {
		if tag, ok := m.Target.(name.Tag); ok {
			targets = append(targets, tag)
		}
	}
	// Of any size: what is bounded is the time without a byte, and with it every request.
	published, err := publish.Images(ctx, client, publish.Options{
		Targets: targets, Prefix: d.prefix, From: d.Push, Tags: d.Tags, Workspace: d.runner.Workspace,
		Repository: d.repository(),
		DockerHost: d.runner.Getenv("DOCKER_HOST"), DockerCerts: d.runner.Getenv("DOCKER_CERT_PATH"),
		DockerTLS: d.runner.Getenv("DOCKER_TLS_VERIFY") != "" || d.runner.Getenv("DOCKER_CERT_PATH") != "",
		Temp:      d.runner.Getenv("RUNNER_TEMP"), Log: d.log.Printf,
	})
	for _, p := range published {
		d.result.Published = append(d.result.Published, Published{
			Reference: p.Reference, Tags: p.Tags, Digest: p.Digest, Source: p.Source, Why: p.Match.String(),
			Uploaded: p.Uploaded, There: p.There, Mounted: p.Mounted, Bytes: p.Bytes, Took: p.Took,
		})
	}
	return err
}

// repository is the URL of the workflow's repository; "" when run by hand.
func (d *deployment) repository() string {
	server, name := d.runner.Getenv("GITHUB_SERVER_URL"), d.runner.Getenv("GITHUB_REPOSITORY")
	if server == "" || name == "" {
		return ""
	}
	return strings.TrimRight(server, "/") + "/" + name
}

// connect asks the GKE API and the registry at the same time.
func (d *deployment) connect(ctx context.Context) error {
	client, err := d.registry()
	if err != nil {
		return err
	}
	var (
		group                         errgroup.Group
		enterErr, recordErr, imageErr error
	)
	login := sync.OnceValue(d.login)
	group.Go(func() error {
		defer fault.Catch(ctx)
		if enterErr = d.enter(ctx, login); enterErr == nil {
			recordErr = d.lookAround(ctx)
		}
		return nil
	})
	group.Go(func() error {
		defer fault.Catch(ctx)
		if login() == nil { // else it is said once, by enter
			d.resolved, imageErr = image.Resolve(ctx, client, d.matches)
		}
		return nil
	})
	_ = group.Wait()
	if d.planning {
		imageErr = d.unbuilt(imageErr)
	}
	var newer *release.SupersededError
	if errors.As(recordErr, &newer) {
		return newer
	}
	if err := errors.Join(enterErr, recordErr, imageErr); err != nil {
		return err
	}
	d.pin()
	return nil
}

// enter gets the first token and looks the cluster up, at the same time if the
// credentials let it. What refuses the token is said once, rather than by each
// that needs one.
func (d *deployment) enter(ctx context.Context, login func() error) error {
	var group errgroup.Group
	group.Go(func() error {
		defer fault.Catch(ctx)
		return login()
	})
	findErr := d.find(ctx)
	if err := group.Wait(); err != nil {
		return err
	}
	return findErr
}

// lookAround reads the record, and the nodes beside it.
func (d *deployment) lookAround(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error {
		defer fault.Catch(ctx)
		return d.openRecord(ctx)
	})
	d.nodes = d.readNodes(ctx)
	return group.Wait()
}

// login gets the first token.
func (d *deployment) login() error {
	if _, err := d.credentials.Tokens.Token(); err != nil {
		return fmt.Errorf("credentials (%s): %w", d.credentials.Kind, err)
	}
	return nil
}

// find looks the cluster up and opens it, once.
func (d *deployment) find(ctx context.Context) error {
	if d.cluster != nil {
		return nil
	}
	found, err := cluster.Find(ctx, cluster.Options{
		Name: d.name, Endpoint: d.Endpoint, FleetMembership: d.FleetMembership,
		Tokens: d.credentials.Tokens, GKE: d.credentials.GKE, Principal: d.credentials.Principal, Transport: d.runner.Transport,
	})
	if err != nil {
		return d.sourced(err)
	}
	d.cluster = found
	d.result.Cluster = Cluster{
		Project: found.Name.Project, Location: found.Name.Location, Name: found.Name.Cluster,
		Endpoint: found.Host, EndpointKind: found.Kind,
	}
	d.log.Printf("Cluster %s at %s (%s)", found.Name, found.Host, found.Why)
	if d.client, err = found.Connect(d.credentials.Tokens); err != nil {
		return err
	}
	d.kube = kube.NewClient(d.client.Dynamic, d.client.REST, kube.Options{Log: d.log.Printf, Foresee: d.Candidate || d.planning, Webhook: d.Timeout})
	return nil
}

// registry is the way to all registries, made once.
func (d *deployment) registry() (*registry.Client, error) {
	if d.registries != nil {
		return d.registries, nil
	}
	client, err := registry.New(registry.Options{
		Prefix: d.prefix, Username: d.RegistryUsername, Password: d.RegistryPassword,
		Tokens: d.credentials.Tokens, Principal: d.credentials.Principal, Transport: d.runner.Transport,
	})
	d.registries = client
	return client, err
}

// pin writes the digests into the manifests.
func (d *deployment) pin() {
	replace := map[string]string{}
	for _, i := range d.resolved {
		replace[i.Written] = i.Pinned
		d.result.Images = append(d.result.Images, Image{Written: i.Written, Reference: i.Reference, Digest: i.Digest, Pinned: i.Pinned})
		d.log.Printf("Image %s", i.Pinned)
	}
	d.manifests.SetImages(replace)
}
