package image

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/registry"
)

// Resolve asks the registry for the digest of each match's target, in parallel.
// The images are in the order of the matches. What is wrong with one does not
// hide what is wrong with another: the errors are joined. A tag that is not there
// is a *NotFoundError, a registry that refuses a *registry.Error; such an image has
// no Digest, and its Pinned is its Reference. The platforms of an image are still
// being read when it returns, for as long as ctx lives.
func Resolve(ctx context.Context, c *registry.Client, matches []Match) ([]Image, error) {
	limits := c.Limits()
	// Trouble and silence are bounded request by request; this bounds their sum.
	ctx, cancel := context.WithTimeout(ctx, limits.RetryFor+8*limits.Silence)
	var reading sync.WaitGroup
	defer func() {
		go func() {
			defer fault.Catch(ctx)
			reading.Wait()
			cancel()
		}()
	}()

	type answer struct {
		digest    string
		platforms func() []string
		err       error
	}
	answers := map[string]*answer{}
	var order []*answer
	var group errgroup.Group
	places := make(chan struct{}, limits.Parallel)
	place := func() func() {
		places <- struct{}{}
		return func() { <-places }
	}
	repositories := map[string]*registry.Repository{}
	for _, m := range matches {
		key := m.Target.Name()
		if answers[key] != nil {
			continue
		}
		a := &answer{}
		answers[key] = a
		order = append(order, a)
		r := repositories[m.Target.Context().Name()]
		if r == nil {
			r = c.Repository(m.Target.Context(), transport.PullScope)
			repositories[m.Target.Context().Name()] = r
		}
		group.Go(func() error {
			defer place()()
			defer fault.Catch(ctx)
			d, err := get(ctx, r, m)
			if a.err = err; err != nil {
				return nil
			}
			a.digest, a.platforms = d.Digest.String(), sync.OnceValue(func() []string { return platformsOf(d) })
			reading.Go(func() {
				defer place()()
				defer fault.Catch(ctx)
				a.platforms()
			})
			return nil
		})
	}
	_ = group.Wait()

	var built []string
	for _, m := range matches {
		if a := answers[m.Target.Name()]; a.err == nil {
			built = append(built, registry.DisplayName(m.Target.Context().Name()))
		}
	}
	var errs []error
	for _, a := range order {
		var missing *NotFoundError
		if errors.As(a.err, &missing) {
			missing.Built = built
		}
		errs = append(errs, a.err)
	}
	images := make([]Image, len(matches))
	for i, m := range matches {
		a := answers[m.Target.Name()]
		images[i] = Image{Written: m.Written, Reference: Reference(m), Digest: a.digest, Pinned: Reference(m), platforms: a.platforms}
		if a.err == nil {
			images[i].Pinned = pinned(m, a.digest)
		}
	}
	return images, errors.Join(errs...)
}

// Reference is what a match leads to, for people.
func Reference(m Match) string {
	if _, digest := m.Target.(name.Digest); digest && m.Tag == "" {
		return registry.DisplayName(m.Target.Name())
	}
	return registry.DisplayName(m.Target.Context().Name()) + ":" + m.Tag
}

// pinned keeps the tag beside the digest: the digest is what runs, the tag is
// what people read.
func pinned(m Match, digest string) string {
	repo := registry.DisplayName(m.Target.Context().Name())
	if m.Tag == "" {
		return repo + "@" + digest
	}
	return repo + ":" + m.Tag + "@" + digest
}

// get asks for one image.
func get(ctx context.Context, r *registry.Repository, m Match) (*remote.Descriptor, error) {
	puller, err := r.Puller()
	if err != nil {
		return nil, err
	}
	// Not HEAD: some registries refuse it, or leave the digest out; and no answer to
	// it says why it is a refusal.
	d, err := puller.Get(ctx, m.Target)
	if err == nil && !isManifest(d.MediaType) && !schema(d.Manifest) {
		err = errNoManifest // the page of a web site has a digest too
	}
	if err == nil {
		return d, nil
	}
	var answer *transport.Error
	if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
		return nil, notFound(ctx, r, m, answer)
	}
	return nil, r.Explain(ctx, Reference(m), false, err)
}

var errNoManifest = errors.New("the answer is no image")

func isManifest(t types.MediaType) bool { return t.IsImage() || t.IsIndex() || t.IsSchema1() }

// schema reports whether it is a manifest that was given as something else, as
// registries on file servers do.
func schema(manifest []byte) bool {
	var m struct {
		SchemaVersion int `json:"schemaVersion"`
	}
	return json.Unmarshal(manifest, &m) == nil && m.SchemaVersion > 0
}
