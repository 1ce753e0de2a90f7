package image

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/org/deploy-model-action/pkg/retry"
)

// Resolve asks the registry for the digest of each match's target, in parallel.
// The images are in the order of the matches. What is wrong with one does not
// hide what is wrong with another: the errors are joined. A tag that is not there
// is a *TagNotFoundError, a registry that refuses a *RefusedError.
func Resolve(ctx context.Context, matches []Match, o Options) ([]Image, error) {
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	// Trouble and silence are bounded request by request; this bounds their sum.
	ctx, cancel := context.WithTimeout(ctx, c.RetryFor+8*c.Silence)
	defer cancel()

	type answer struct {
		digest    string
		platforms []string
		err       error
	}
	answers := map[string]*answer{}
	var order []*answer
	var group errgroup.Group
	group.SetLimit(c.Limit)
	logins := map[string]*login{}
	for _, m := range matches {
		key := m.Target.Name()
		if answers[key] != nil {
			continue
		}
		a := &answer{}
		answers[key] = a
		order = append(order, a)
		l := logins[m.Target.Context().Name()]
		if l == nil {
			l = c.login(m.Target.Context(), transport.PullScope)
			logins[m.Target.Context().Name()] = l
		}
		group.Go(func() error {
			a.digest, a.platforms, a.err = l.look(ctx, m)
			return nil
		})
	}
	_ = group.Wait()

	var errs []error
	for _, a := range order {
		errs = append(errs, a.err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	images := make([]Image, len(matches))
	for i, m := range matches {
		a := answers[m.Target.Name()]
		images[i] = Image{
			Written: m.Written, Reference: reference(m), Digest: a.digest,
			Pinned: pinned(m, a.digest), Platforms: a.platforms,
		}
	}
	return images, nil
}

// reference is what a match leads to, for people.
func reference(m Match) string {
	if _, digest := m.Target.(name.Digest); digest && m.Tag == "" {
		return familiar(m.Target.Name())
	}
	return familiar(m.Target.Context().Name()) + ":" + m.Tag
}

// pinned keeps the tag beside the digest: the digest is what runs, the tag is
// what people read.
func pinned(m Match, digest string) string {
	repo := familiar(m.Target.Context().Name())
	if m.Tag == "" {
		return repo + "@" + digest
	}
	return repo + ":" + m.Tag + "@" + digest
}

// look asks for one image.
func (l *login) look(ctx context.Context, m Match) (digest string, platforms []string, err error) {
	puller, err := l.puller()
	if err != nil {
		return "", nil, err
	}
	if !l.Platforms {
		var d *v1.Descriptor
		if d, err = puller.Head(ctx, m.Target); err == nil && isManifest(d.MediaType) {
			return d.Digest.String(), nil, nil
		}
	}
	// Some registries refuse HEAD, or leave the digest out; and no answer to HEAD
	// says why it is a refusal.
	if l.Platforms || worthGet(err) {
		var d *remote.Descriptor
		if d, err = puller.Get(ctx, m.Target); err == nil && !isManifest(d.MediaType) && !schema(d.Manifest) {
			err = errNoManifest // the page of a web site has a digest too
		}
		if err == nil {
			if l.Platforms {
				platforms = platformsOf(d)
			}
			return d.Digest.String(), platforms, nil
		}
	}
	var answer *transport.Error
	if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
		return "", nil, l.missing(ctx, m, answer)
	}
	return "", nil, l.explain(ctx, reference(m), false, err)
}

var errNoManifest = errors.New("the answer is no image")

func isManifest(t types.MediaType) bool { return t.IsImage() || t.IsIndex() || t.IsSchema1() }

// schema tells whether it is a manifest that was given as something else, as
// registries on file servers do.
func schema(manifest []byte) bool {
	var m struct {
		SchemaVersion int `json:"schemaVersion"`
	}
	return json.Unmarshal(manifest, &m) == nil && m.SchemaVersion > 0
}

// worthGet tells whether GET may succeed, or say more, where HEAD did not.
func worthGet(err error) bool {
	var (
		noAnswer *url.Error
		answer   *transport.Error
	)
	if err == nil {
		return true // of a type that is no image's
	}
	if errors.As(err, &noAnswer) {
		return false
	}
	return !errors.As(err, &answer) || !retry.Status(answer.StatusCode)
}
