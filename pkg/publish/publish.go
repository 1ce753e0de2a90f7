// Package publish brings images from the runner's Docker engine, or from an archive
// of the workspace, into a registry: compressed on the way, several layers at a
// time, resumed after a lost connection, and without what is there already.
//
// How a registry is reached, and what it takes to be let in, is pkg/registry's;
// which images are published under which names, the caller's.
package publish

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"

	"github.com/org/deploy-model-action/pkg/registry"
)

// FromDocker is the Options.From of the runner's Docker engine.
const FromDocker = "docker"

// Options say what is published, and from where.
type Options struct {
	// Targets are the images to publish, HOST/NAME:SHA, all of them under Prefix.
	Targets []name.Tag
	// Prefix is what they live under. Without it, an image of the source may have
	// the name of a target: NAME:SHA.
	Prefix registry.Prefix
	// From is FromDocker, or the path of an archive inside Workspace: what `docker
	// save` writes, or an OCI layout, as a folder or a tar file, gzipped or not.
	From string
	// Tags are set besides the tag of each target. Default: none.
	Tags []string
	// Workspace is the only folder that an archive is read from.
	Workspace *os.Root
	// Repository is the URL of the repository whose commits are published. Default:
	// whatever an image says that it was made from is of it.
	Repository string
	// DockerHost is the address of the engine, as the variable DOCKER_HOST has it.
	// Default: unix:///var/run/docker.sock.
	DockerHost string
	// DockerTLS has an engine at tcp:// spoken to over TLS, with ca.pem, cert.pem and
	// key.pem of the folder DockerCerts: DOCKER_TLS_VERIFY and DOCKER_CERT_PATH.
	DockerTLS   bool
	DockerCerts string
	// Temp is the folder for layers that are under way, compressed. They have no
	// name there, so that none is left behind. Default, and where it does not exist:
	// that of the system.
	Temp string
	// Log gets lines about what is done. Default: none.
	Log func(format string, args ...any)
}

// Published is what became of one image.
type Published struct {
	Reference string   // HOST/NAME:SHA
	Tags      []string // the further tags that it now has
	Digest    string   // "" if it was not published
	Source    string   // what it was published from, e.g. a name in the Docker engine
	Match     Match    // why it was that
	Platforms []string

	Uploaded int   // layers that were sent
	There    int   // layers that the repository had
	Mounted  int   // layers that the registry took over from another repository
	Bytes    int64 // that were sent, without those that a lost connection made it send again
	Took     time.Duration
}

// Images brings the image of each target into the registry, under the target's tag
// and o.Tags. Layers that are there are not sent, and nothing is read when the
// whole image is. What was published is returned also with an error.
//
// The image for HOST/NAME:SHA is the one named HOST/NAME:SHA, NAME:SHA,
// HOST/NAME:latest or NAME:latest, in this order; or, for one target, the one of an
// archive that has no name but the tag SHA or latest, or the only one that it holds.
// Never one that has the name of another image, nor, unless the commit is in its name
// or labels, one that the registry has from an earlier build (*StaleError), nor one
// that says of itself that it is of another commit (*RevisionError).
func Images(ctx context.Context, client *registry.Client, o Options) ([]Published, error) {
	p, err := newPublisher(client, o)
	if err != nil {
		return nil, err
	}
	from, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	defer from.close()
	// All are looked for before the first is sent.
	chosen, err := p.choose(from)
	if err != nil {
		return nil, err
	}
	var done []Published
	for i, target := range p.targets {
		started := time.Now()
		result := Published{Reference: reference(target), Source: from.String()}
		err := p.publish(ctx, target, chosen[i], &result)
		result.Took = time.Since(started)
		done = append(done, result)
		if err != nil {
			return done, err
		}
		p.log("Published %s@%s%s: %s", result.Reference, result.Digest, alsoTagged(result.Tags), result.layers())
	}
	return done, nil
}

// reference is a target as people write it.
func reference(target name.Tag) string { return registry.DisplayName(target.Name()) }

func alsoTagged(tags []string) string {
	if len(tags) == 0 {
		return ""
	}
	return " (also " + strings.Join(tags, ", ") + ")"
}

func (r *Published) layers() string {
	s := plural(r.Uploaded, "layer") + " uploaded"
	if r.Mounted > 0 {
		s += fmt.Sprintf(", %d mounted", r.Mounted)
	}
	return fmt.Sprintf("%s, %d there already; %s in %s", s, r.There, size(r.Bytes), seconds(r.Took))
}

// publisher is one call of Images.
type publisher struct {
	options Options
	client  *registry.Client
	targets []name.Tag
	log     func(format string, args ...any)

	// elsewhere is where a layer lies in the same registry, by the hash of what is
	// in it, from the images that were published before.
	elsewhere map[string]located
}

// located is a layer of a repository.
type located struct {
	descriptor v1.Descriptor
	repo       name.Repository
}

func newPublisher(client *registry.Client, o Options) (*publisher, error) {
	p := &publisher{options: o, client: client, log: o.Log, elsewhere: map[string]located{}}
	if p.log == nil {
		p.log = func(string, ...any) {}
	}
	var errs []error
	for _, t := range o.Tags {
		if !registry.ValidTag(t) {
			errs = append(errs, fmt.Errorf("input tags %q: not a tag; use letters, digits, '_', '.' and '-', at most 128, and none of '.' and '-' first", t))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, target := range o.Targets {
		same := func(t name.Tag) bool { return t.Name() == target.Name() }
		if o.Prefix.Contains(target.Context()) && !slices.ContainsFunc(p.targets, same) {
			p.targets = append(p.targets, target)
		}
	}
	if len(p.targets) == 0 {
		return nil, fmt.Errorf("input push %q: the input images leads all images of the manifests to others than %s/NAME:SHA, so that there is nothing to publish; leave push or images away", o.From, o.Prefix)
	}
	return p, nil
}

// publish publishes one image.
func (p *publisher) publish(ctx context.Context, target name.Tag, c *candidate, result *Published) error {
	result.Source, result.Match = c.String(), c.match
	p.log("Publish %s from %s (%s)", result.Reference, result.Source, c.match)
	if c.complete != nil {
		if err := c.complete(ctx, c); err != nil {
			return err
		}
	}
	result.Platforms = c.platforms
	s := p.session(target, result)
	if err := s.checkStamps(c, c.stamps); err != nil {
		return err
	}
	existing, err := s.existing(ctx, p.tagsOf(target))
	if err != nil {
		return s.rejected(ctx, "", err)
	}
	if e := existing.same(c.id); e != nil {
		// Whatever the layers are compressed to, it is the same image.
		result.There = e.layers
		if err := s.checkFresh(c, c.id, existing); err != nil {
			return err
		}
		return s.tag(ctx, existing, manifest{e.raw, e.mediaType, e.digest})
	}
	image, err := s.send(ctx, c, existing.known(c))
	if err != nil {
		return s.rejected(ctx, "", err)
	}
	// Of what an engine exports it is known only now what it is.
	if err := errors.Join(s.checkStamps(c, image.stamps), s.checkFresh(c, image.id, existing)); err != nil {
		return err
	}
	if e := existing.same(image.id); e != nil {
		return s.tag(ctx, existing, manifest{e.raw, e.mediaType, e.digest})
	}
	if err := s.checkNew(ctx, c, image.root.digest); err != nil {
		return err
	}
	return s.tag(ctx, existing, image.root)
}

// tagsOf are the tags that an image gets, that of the target first.
func (p *publisher) tagsOf(target name.Tag) []string {
	tags := []string{target.TagStr()}
	for _, t := range p.options.Tags {
		if !slices.Contains(tags, t) {
			tags = append(tags, t)
		}
	}
	return tags
}

// session is the upload of one image into one repository.
type session struct {
	publisher *publisher
	repo      *registry.Repository
	target    name.Tag
	result    *Published
}

func (p *publisher) session(target name.Tag, result *Published) *session {
	s := &session{publisher: p, target: target, result: result}
	own := target.Context()
	var also []string // to take layers over from
	for _, l := range p.elsewhere {
		if r := l.repo; r.RegistryStr() == own.RegistryStr() && r.Name() != own.Name() {
			also = append(also, r.Scope(transport.PullScope))
		}
	}
	slices.Sort(also)
	also = slices.Compact(also)
	s.repo = p.client.Repository(own, transport.PushScope, also...)
	return s
}

// send brings all blobs of an image into the repository; its manifest is still to be
// put there.
func (s *session) send(ctx context.Context, c *candidate, known map[string]v1.Descriptor) (assembled, error) {
	cancelled, cancel := context.WithCancel(ctx)
	defer cancel()
	group, uploads := errgroup.WithContext(cancelled)
	group.SetLimit(s.publisher.client.Limits().Parallel)
	up := newUploader(s, group)
	if err := up.findExisting(ctx, c.layers, known); err != nil {
		return assembled{}, err
	}
	stop := up.report(ctx)
	defer stop()
	err := c.content.read(uploads, up)
	if err != nil {
		cancel() // what is under way is of no use
	}
	// A failed upload stops the reading; its error is the cause.
	if failed := group.Wait(); failed != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = failed
	}
	if err != nil {
		return assembled{}, err
	}
	image, err := c.content.assemble(ctx, up)
	if err != nil {
		return assembled{}, err
	}
	if err := up.sendHeld(ctx, image.blobs); err != nil {
		return assembled{}, err
	}
	for _, child := range image.children {
		if err := s.putManifest(ctx, child.digest.String(), child); err != nil {
			return assembled{}, err
		}
	}
	up.record(image)
	return image, nil
}
