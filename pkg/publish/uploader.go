package publish

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/registry"
)

// uploader takes layers as they are read, compresses those that are not, and sends
// them while the next one is read.
type uploader struct {
	repo      *registry.Repository
	limits    registry.Limits
	group     *errgroup.Group // of the uploads
	temp      string          // folder
	elsewhere map[string]located
	result    *Published
	log       func(format string, args ...any)
	raw       bool // layers are sent as they are, whatever they are

	mu       sync.Mutex
	have     map[string]v1.Descriptor // what the repository has, by digest and by what is in it
	packed   map[string]*packed       // what was read, by file
	outcomes map[string]outcome       // by digest
	contents map[v1.Hash]unpacked     // what is in a layer that was read, by its digest
	trusted  map[string]v1.Hash       // what an image of the registry has for what is in a layer
	doubted  map[string]bool          // files of layers that are there, to be looked into all the same
	sent     atomic.Int64             // bytes, for the lines in between
}

// packed is a layer as it is sent.
type packed struct {
	descriptor v1.Descriptor
	diffID     string // "" if it was compressed already
}

func newUploader(s *session, group *errgroup.Group) *uploader {
	return &uploader{
		repo: s.repo, limits: s.publisher.client.Limits(), group: group, temp: s.publisher.options.Temp,
		elsewhere: s.publisher.elsewhere, result: s.result, log: s.publisher.log,
		have: map[string]v1.Descriptor{}, packed: map[string]*packed{}, outcomes: map[string]outcome{},
		contents: map[v1.Hash]unpacked{}, trusted: map[string]v1.Hash{}, doubted: map[string]bool{},
	}
}

// findExisting finds out which layers the repository has already, or can take over
// from another repository, so that they are not even read.
func (up *uploader) findExisting(ctx context.Context, layers []layer, known map[string]v1.Descriptor) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(up.limits.Parallel)
	asked := map[string]bool{}
	for diffID, d := range known {
		up.trusted[diffID] = d.Digest
	}
	for _, l := range layers {
		key, desc, from := up.guess(l, known)
		if desc == nil || asked[key] {
			continue
		}
		asked[key] = true
		group.Go(func() error {
			defer fault.Catch(ctx)
			there, err := exists(ctx, up.repo, desc.Digest)
			how := alreadyThere
			if err == nil && !there && from != "" {
				var begun string
				begun, there, err = start(ctx, up.repo, desc.Digest, from)
				how = mounted
				abandon(ctx, up.repo, begun)
			}
			if err != nil || !there {
				return err
			}
			up.mu.Lock()
			defer up.mu.Unlock()
			up.have[key] = *desc
			up.outcomes[desc.Digest.String()] = how
			return nil
		})
	}
	err := group.Wait()
	if n := len(up.have); n > 0 && err == nil {
		up.log("%d of %d layers need not be read: the registry has them", n, len(layers))
	}
	return err
}

// guess is what a layer may be in the registry, and another repository that has it.
func (up *uploader) guess(l layer, known map[string]v1.Descriptor) (key string, desc *v1.Descriptor, from string) {
	key = l.diffID
	if l.blob != nil {
		key, desc = l.blob.Digest.String(), l.blob
	}
	if d, ok := known[key]; ok && desc == nil {
		desc = &d
	}
	if e, ok := up.elsewhere[key]; ok && e.repo.RegistryStr() == up.repo.Name.RegistryStr() {
		if desc == nil {
			desc = &e.descriptor
		}
	}
	if desc != nil {
		from = up.owner(desc.Digest)
	}
	return key, desc, from
}

// owner is another repository of the registry that has a layer; "" if none is known.
func (up *uploader) owner(digest v1.Hash) string {
	e, ok := up.elsewhere[digest.String()]
	if !ok || e.repo.RegistryStr() != up.repo.Name.RegistryStr() || e.repo.Name() == up.repo.Name.Name() {
		return ""
	}
	return e.repo.RepositoryStr()
}

// exists reports whether the repository has a layer.
func (up *uploader) exists(l layer) (v1.Descriptor, bool) {
	up.mu.Lock()
	defer up.mu.Unlock()
	if l.blob != nil {
		d, ok := up.have[l.blob.Digest.String()]
		return d, ok
	}
	d, ok := up.have[l.diffID]
	return d, ok && l.diffID != ""
}

// find returns a layer that is in the repository now.
func (up *uploader) find(l layer) (v1.Descriptor, bool) {
	if d, ok := up.exists(l); ok {
		return d, true
	}
	up.mu.Lock()
	defer up.mu.Unlock()
	if a := up.packed[l.file]; a != nil {
		return a.descriptor, true
	}
	return v1.Descriptor{}, false
}

// take is a visitor: it packs a layer, and has it sent.
func (up *uploader) take(ctx context.Context, e entry) error {
	drop := func() {
		if e.close != nil {
			e.close()
		}
	}
	if up.has(e.name) {
		drop()
		return nil
	}
	a, b, err := up.pack(ctx, e)
	if err != nil {
		drop()
		return err
	}
	up.mu.Lock()
	up.packed[e.name] = a
	have, known := up.have[a.diffID]
	if known = known && a.diffID != ""; known {
		a.descriptor = have
	}
	_, under := up.outcomes[a.descriptor.Digest.String()]
	send := !known && !under
	if send {
		up.outcomes[a.descriptor.Digest.String()] = underWay
	}
	_, looked := up.contents[a.descriptor.Digest]
	look := a.diffID == "" && !looked
	if look {
		up.contents[a.descriptor.Digest] = unpacked{} // by whoever comes first
	}
	up.mu.Unlock()
	if !send && !look {
		b.close()
		return nil
	}
	up.group.Go(func() error {
		defer b.close()
		defer fault.Catch(ctx)
		// What is in it is found out while it is sent: nothing is tagged before both are done.
		both, ctx := errgroup.WithContext(ctx)
		if look {
			both.Go(func() error {
				defer fault.Catch(ctx)
				return up.lookInto(ctx, b)
			})
		}
		if send {
			both.Go(func() error {
				defer fault.Catch(ctx)
				return up.send(ctx, b)
			})
		}
		return both.Wait()
	})
	return nil
}

// has reports whether the name of a file says that the repository has it, and that
// there is no need to look into it.
func (up *uploader) has(file string) bool {
	algorithm, hex, ok := strings.Cut(strings.TrimPrefix(file, "blobs/"), "/")
	if !ok || !strings.HasPrefix(file, "blobs/") {
		return false
	}
	up.mu.Lock()
	defer up.mu.Unlock()
	_, have := up.have[algorithm+":"+hex]
	return have && !up.doubted[file]
}

// takeNow packs and sends a layer that is held in memory.
func (up *uploader) takeNow(ctx context.Context, file string, content []byte) (v1.Descriptor, error) {
	a, b, err := up.pack(ctx, entry{name: file, size: int64(len(content)), body: bytes.NewReader(content)})
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer b.close()
	up.mu.Lock()
	up.packed[file] = a
	up.mu.Unlock()
	return a.descriptor, up.send(ctx, b)
}

// sendHeld sends blobs that are held in memory: configurations, above all.
func (up *uploader) sendHeld(ctx context.Context, blobs []blob) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(up.limits.Parallel)
	for _, b := range blobs {
		group.Go(func() error {
			defer fault.Catch(ctx)
			return up.send(ctx, b)
		})
	}
	return group.Wait()
}

// pack makes of a file what is sent.
func (up *uploader) pack(ctx context.Context, e entry) (*packed, blob, error) {
	e.body = &contextReader{ctx, e.body} // a layer has gigabytes, and a cancelled run waits for nothing
	start := make([]byte, 4)
	n, err := io.ReadFull(e.body, start)
	if err != nil && n == 0 {
		return nil, blob{}, err
	}
	e.body = io.MultiReader(bytes.NewReader(start[:n]), e.body)
	kind := compression(start[:n])
	if kind == uncompressed && !up.raw {
		return up.compress(ctx, e)
	}
	a := &packed{descriptor: v1.Descriptor{MediaType: kind.mediaType()}}
	if e.at != nil {
		// It is hashed first: what its name says may be wrong, and sent in vain.
		if a.descriptor.Digest, a.descriptor.Size, err = v1.SHA256(e.body); err != nil {
			return nil, blob{}, err
		}
		if kind == uncompressed {
			a.diffID = a.descriptor.Digest.String()
		}
		return a, blob{digest: a.descriptor.Digest, size: a.descriptor.Size, at: e.at, release: e.close}, nil
	}
	t, err := up.temporary()
	if err != nil {
		return nil, blob{}, err
	}
	if a.descriptor.Digest, a.descriptor.Size, err = v1.SHA256(io.TeeReader(e.body, t)); err != nil {
		t.Close()
		return nil, blob{}, up.diskFull(err)
	}
	return a, t.blob(a.descriptor.Digest, a.descriptor.Size), nil
}

// compress compresses a layer into a temporary file. Its digest is known only
// then, and so is whether it has to be sent; and a lost connection is no reason
// to compress again.
func (up *uploader) compress(ctx context.Context, e entry) (*packed, blob, error) {
	t, err := up.temporary()
	if err != nil {
		return nil, blob{}, err
	}
	sum, err := compress(ctx, t, e.body)
	if e.close != nil {
		e.close()
	}
	if err != nil {
		t.Close()
		return nil, blob{}, up.diskFull(err)
	}
	a := &packed{descriptor: v1.Descriptor{MediaType: gzipped.mediaType(), Digest: sum.digest, Size: sum.size}, diffID: sum.diffID.String()}
	return a, t.blob(sum.digest, sum.size), nil
}

// record sets the numbers of the result, and remembers where the layers are for
// the images that follow.
func (up *uploader) record(image assembled) {
	up.mu.Lock()
	defer up.mu.Unlock()
	counted := map[v1.Hash]bool{}
	for _, l := range image.layers {
		if counted[l.Digest] {
			continue
		}
		counted[l.Digest] = true
		switch up.outcomes[l.Digest.String()] {
		case uploaded:
			up.result.Uploaded++
			up.result.Bytes += l.Size
		case mounted:
			up.result.Mounted++
		default:
			up.result.There++
		}
		up.elsewhere[l.Digest.String()] = located{l, up.repo.Name}
	}
	for key, h := range up.have {
		up.elsewhere[key] = located{h, up.repo.Name}
		up.elsewhere[h.Digest.String()] = located{h, up.repo.Name}
	}
	for _, a := range up.packed {
		if is := cmp.Or(a.diffID, up.contents[a.descriptor.Digest].diffID); is != "" {
			up.elsewhere[is] = located{a.descriptor, up.repo.Name}
		}
	}
}

// diskFull explains an error of a temporary file.
func (up *uploader) diskFull(err error) error {
	if !noSpace(err) {
		return err
	}
	return fmt.Errorf("compress a layer: %w; free space on the runner's disk before this step (the layers that are under way need it, compressed)", err)
}
