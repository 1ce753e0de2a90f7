package image

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
)

// FromDocker is the PublishOptions.From of the runner's Docker engine.
const FromDocker = "docker"

// PublishOptions say what is published, and from where. Of Options, RegistryHost
// is required, and Limit is also how many layers are uploaded at a time.
type PublishOptions struct {
	Options
	// From is FromDocker, or the path of an archive inside Workspace: what `docker
	// save` writes, or an OCI layout, as a folder or a tar file, gzipped or not.
	From string
	// Tags are set besides the tag of each match. Default: none.
	Tags []string
	// Workspace is the only folder that an archive is read from.
	Workspace *os.Root
	// DockerHost is the address of the engine, as the variable DOCKER_HOST has it.
	// Default: unix:///var/run/docker.sock.
	DockerHost string
	// Temp is the folder for layers that are under way, compressed. They have no
	// name there, so that none is left behind. Default: that of the system.
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
	Platforms []string

	Uploaded int   // layers that were sent
	There    int   // layers that the repository had
	Mounted  int   // layers that the registry took over from another repository
	Bytes    int64 // that were sent, without those that a lost connection made it send again
	Took     time.Duration
}

// Publish brings the image of each match that lives under RegistryHost from the
// Docker engine or the archive into the registry, under the match's tag and
// o.Tags. Layers that are there are not sent, and nothing is read when the
// whole image is. What was published is returned also with an error.
//
// The image for HOST/NAME:SHA is the one named HOST/NAME:SHA, NAME:SHA,
// HOST/NAME:latest or NAME:latest, in this order; or, for one match, the only one
// that an archive holds.
func Publish(ctx context.Context, matches []Match, o PublishOptions) ([]Published, error) {
	p, targets, err := newPublisher(matches, o)
	if err != nil {
		return nil, err
	}
	src, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	defer src.close()
	// All are looked for before the first is sent.
	chosen, err := p.choose(targets, src)
	if err != nil {
		return nil, err
	}
	var done []Published
	for i, t := range targets {
		started := time.Now()
		result := Published{Reference: reference(t), Source: src.String()}
		err := p.publish(ctx, t, chosen[i], &result)
		result.Took = time.Since(started)
		done = append(done, result)
		if err != nil {
			return done, err
		}
		p.Log("Published %s@%s%s: %s", result.Reference, result.Digest, alsoTagged(result.Tags), result.layers())
	}
	return done, nil
}

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

// publisher is one call of Publish.
type publisher struct {
	PublishOptions
	*client
	at place

	// elsewhere is where a layer lies in the same registry, by the hash of what is
	// in it, from the images that were published before.
	elsewhere map[string]located
}

// located is a layer of a repository.
type located struct {
	v1.Descriptor
	repo name.Repository
}

func newPublisher(matches []Match, o PublishOptions) (*publisher, []Match, error) {
	c, err := newClient(o.Options)
	if err != nil {
		return nil, nil, err
	}
	at, err := parsePlace(o.RegistryHost)
	if err != nil {
		return nil, nil, err
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	o.Options = c.Options
	p := &publisher{PublishOptions: o, client: c, at: at, elsewhere: map[string]located{}}
	var errs []error
	for _, t := range o.Tags {
		if checkSHA(t) != nil {
			errs = append(errs, fmt.Errorf("input tags %q: not a tag; use letters, digits, '_', '.' and '-', at most 128, and none of '.' and '-' first", t))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	var targets []Match
	for _, m := range matches {
		_, tagged := m.Target.(name.Tag)
		same := func(t Match) bool { return t.Target.Name() == m.Target.Name() }
		if tagged && at.holds(m.Target.Context()) && !slices.ContainsFunc(targets, same) {
			targets = append(targets, m)
		}
	}
	if len(targets) == 0 {
		return nil, nil, fmt.Errorf("input push %q: the input images leads all images of the manifests to others than %s/NAME:SHA, so that there is nothing to publish; leave push or images away", o.From, at)
	}
	return p, targets, nil
}

// publish publishes one image.
func (p *publisher) publish(ctx context.Context, m Match, c *candidate, result *Published) error {
	result.Source = c.String()
	p.Log("Publish %s from %s", result.Reference, result.Source)
	if c.complete != nil {
		if err := c.complete(ctx, c); err != nil {
			return err
		}
	}
	result.Platforms = c.platforms
	s := p.session(m, result)
	there, err := s.existing(ctx, p.tagsOf(m))
	if err != nil {
		return s.rejected(ctx, "", err)
	}
	if e := there.same(c); e != nil {
		// Whatever the layers are compressed to, it is the same image.
		result.There = e.layers
		return s.tag(ctx, there, manifest{e.raw, e.mediaType, e.digest})
	}
	root, err := s.send(ctx, c, there.known(c))
	if err != nil {
		return s.rejected(ctx, "", err)
	}
	return s.tag(ctx, there, root)
}

// tagsOf are the tags that an image gets, that of the match first.
func (p *publisher) tagsOf(m Match) []string {
	tags := []string{m.Tag}
	for _, t := range p.Tags {
		if !slices.Contains(tags, t) {
			tags = append(tags, t)
		}
	}
	return tags
}

// session is the upload of one image into one repository.
type session struct {
	*publisher
	*login
	match  Match
	result *Published
	from   string // a repository of the registry that may have layers; "" for none
}

func (p *publisher) session(m Match, result *Published) *session {
	s := &session{publisher: p, match: m, result: result}
	var also []string
	for _, l := range p.elsewhere {
		if r := l.repo; r.RegistryStr() == m.Target.Context().RegistryStr() && r.Name() != m.Target.Context().Name() {
			s.from, also = r.RepositoryStr(), []string{r.Scope(transport.PullScope)}
			break
		}
	}
	s.login = p.login(m.Target.Context(), transport.PushScope, also...)
	return s
}

// send brings all blobs of an image into the repository, and returns the manifest
// that is still to be put there.
func (s *session) send(ctx context.Context, c *candidate, known map[string]v1.Descriptor) (manifest, error) {
	uploads, cancel := context.WithCancel(ctx)
	defer cancel()
	limited, groupCtx := errgroup.WithContext(uploads)
	limited.SetLimit(s.login.Limit)
	pk := &packer{session: s, group: limited, ctx: groupCtx, have: map[string]v1.Descriptor{}, parcels: map[string]*parcel{}, outcomes: map[string]outcome{}}
	if err := pk.settle(ctx, c.layers, known); err != nil {
		return manifest{}, err
	}
	stop := pk.report()
	defer stop()
	err := c.read(groupCtx, pk)
	if err != nil {
		cancel() // what is under way is of no use
	}
	// A failed upload stops the reading; its error is the cause.
	if failed := limited.Wait(); failed != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = failed
	}
	if err != nil {
		return manifest{}, err
	}
	pk.ctx = ctx // that of the group is over
	d, err := c.draft(pk)
	if err != nil {
		return manifest{}, err
	}
	if err := pk.small(ctx, d.blobs); err != nil {
		return manifest{}, err
	}
	for _, child := range d.children {
		if err := s.putManifest(ctx, child.digest.String(), child); err != nil {
			return manifest{}, err
		}
	}
	pk.count(d)
	return d.root, nil
}
