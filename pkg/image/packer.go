package image

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// packer takes layers as they are read, compresses those that are not, and sends
// them while the next one is read.
type packer struct {
	*session
	ctx   context.Context //nolint:containedctx // of the uploads, which begin while another function reads
	group *errgroup.Group
	raw   bool // layers are sent as they are, whatever they are

	mu       sync.Mutex
	have     map[string]v1.Descriptor // what the repository has, by digest and by what is in it
	parcels  map[string]*parcel       // what was packed, by file
	outcomes map[string]outcome       // by digest
	sentNow  atomic.Int64             // bytes, for the lines in between
}

// parcel is a layer that was packed.
type parcel struct {
	v1.Descriptor
	diffID string // "" if it was compressed already
}

// settle finds out which layers the repository has already, or can take over
// from another repository, so that they are not even read.
func (p *packer) settle(ctx context.Context, layers []layer, known map[string]v1.Descriptor) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(p.login.Limit)
	asked := map[string]bool{}
	for _, l := range layers {
		key, desc, from := p.guess(l, known)
		if desc == nil || asked[key] {
			continue
		}
		asked[key] = true
		group.Go(func() error {
			there, err := p.hasBlob(ctx, desc.Digest)
			how := alreadyThere
			if err == nil && !there && from != "" {
				_, there, err = p.start(ctx, desc.Digest, from)
				how = mounted
			}
			if err != nil || !there {
				return err
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			p.have[key] = *desc
			p.outcomes[desc.Digest.String()] = how
			return nil
		})
	}
	err := group.Wait()
	if n := len(p.have); n > 0 && err == nil {
		p.Log("%d of %d layers need not be read: the registry has them", n, len(layers))
	}
	return err
}

// guess is what a layer may be in the registry, and another repository that has it.
func (p *packer) guess(l layer, known map[string]v1.Descriptor) (key string, desc *v1.Descriptor, from string) {
	key = l.diffID
	if l.blob != nil {
		key, desc = l.blob.Digest.String(), l.blob
	}
	if d, ok := known[key]; ok && desc == nil {
		desc = &d
	}
	if e, ok := p.elsewhere[key]; ok && e.repo.RegistryStr() == p.repo.RegistryStr() {
		if desc == nil {
			desc = &e.Descriptor
		}
		if e.repo.Name() != p.repo.Name() && e.Digest == desc.Digest {
			from = e.repo.RepositoryStr()
		}
	}
	return key, desc, from
}

// there tells whether the repository has a layer.
func (p *packer) there(l layer) (v1.Descriptor, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.blob != nil {
		if d, ok := p.have[l.blob.Digest.String()]; ok {
			return d, true
		}
	}
	d, ok := p.have[l.diffID]
	return d, ok && l.diffID != ""
}

// sent is a layer that is in the repository now.
func (p *packer) sent(l layer) (v1.Descriptor, bool) {
	if d, ok := p.there(l); ok {
		return d, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.parcels[l.file]; a != nil {
		return a.Descriptor, true
	}
	return v1.Descriptor{}, false
}

// diffID is what is in a file, if it was compressed here.
func (p *packer) diffID(file string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.parcels[file]; a != nil {
		return a.diffID
	}
	return ""
}

// pack is a visitor: it packs a layer, and has it sent.
func (p *packer) pack(e entry) error {
	drop := func() {
		if e.close != nil {
			e.close()
		}
	}
	if p.named(e.name) {
		drop()
		return nil
	}
	a, b, err := p.wrap(e)
	if err != nil {
		drop()
		return err
	}
	p.mu.Lock()
	p.parcels[e.name] = a
	have, known := p.have[a.diffID]
	if known = known && a.diffID != ""; known {
		a.Descriptor = have
	}
	_, under := p.outcomes[a.Digest.String()]
	if !known && !under {
		p.outcomes[a.Digest.String()] = underWay
	}
	p.mu.Unlock()
	if known || under {
		b.close()
		return nil
	}
	p.group.Go(func() error {
		defer b.close()
		return p.deliver(p.ctx, b)
	})
	return nil
}

// named tells whether the name of a file says that the repository has it.
func (p *packer) named(file string) bool {
	algorithm, hex, ok := strings.Cut(strings.TrimPrefix(file, "blobs/"), "/")
	if !ok || !strings.HasPrefix(file, "blobs/") {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, have := p.have[algorithm+":"+hex]
	return have
}

// packNow packs and sends a layer that is held in memory.
func (p *packer) packNow(file string, content []byte) (v1.Descriptor, error) {
	a, b, err := p.wrap(entry{name: file, size: int64(len(content)), body: bytes.NewReader(content)})
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer b.close()
	p.mu.Lock()
	p.parcels[file] = a
	p.mu.Unlock()
	return a.Descriptor, p.deliver(p.ctx, b)
}

// small sends blobs that are held in memory: configurations, above all.
func (p *packer) small(ctx context.Context, blobs []blob) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(p.login.Limit)
	for _, b := range blobs {
		group.Go(func() error { return p.deliver(ctx, b) })
	}
	return group.Wait()
}

// wrap makes of a file what is sent.
func (p *packer) wrap(e entry) (*parcel, blob, error) {
	start := make([]byte, 4)
	n, err := io.ReadFull(e.body, start)
	if err != nil && n == 0 {
		return nil, blob{}, err
	}
	e.body = io.MultiReader(bytes.NewReader(start[:n]), e.body)
	kind := compression(start[:n])
	if kind == uncompressed && !p.raw {
		return p.compress(e)
	}
	a := &parcel{Descriptor: v1.Descriptor{MediaType: kind.mediaType()}}
	if e.at != nil {
		// It is hashed first: what its name says may be wrong, and sent in vain.
		if a.Digest, a.Size, err = v1.SHA256(e.body); err != nil {
			return nil, blob{}, err
		}
		return a, blob{digest: a.Digest, size: a.Size, at: e.at, release: e.close}, nil
	}
	t, err := p.temporary()
	if err != nil {
		return nil, blob{}, err
	}
	if a.Digest, a.Size, err = v1.SHA256(io.TeeReader(e.body, t)); err != nil {
		t.Close()
		return nil, blob{}, p.diskFull(err)
	}
	return a, t.blob(a.Digest, a.Size), nil
}

// compress compresses a layer into a temporary file. Its digest is known only
// then, and so is whether it has to be sent; and a lost connection is no reason
// to compress again.
func (p *packer) compress(e entry) (*parcel, blob, error) {
	t, err := p.temporary()
	if err != nil {
		return nil, blob{}, err
	}
	sum, err := pack(p.ctx, t, e.body)
	if e.close != nil {
		e.close()
	}
	if err != nil {
		t.Close()
		return nil, blob{}, p.diskFull(err)
	}
	a := &parcel{Descriptor: v1.Descriptor{MediaType: gzipped.mediaType(), Digest: sum.digest, Size: sum.size}, diffID: sum.diffID.String()}
	return a, t.blob(sum.digest, sum.size), nil
}

// count settles the numbers of the result, and remembers where the layers are for
// the images that follow.
func (p *packer) count(d draft) {
	p.mu.Lock()
	defer p.mu.Unlock()
	counted := map[v1.Hash]bool{}
	for _, l := range d.layers {
		if counted[l.Digest] {
			continue
		}
		counted[l.Digest] = true
		switch p.outcomes[l.Digest.String()] {
		case uploaded:
			p.result.Uploaded++
			p.result.Bytes += l.Size
		case mounted:
			p.result.Mounted++
		default:
			p.result.There++
		}
		p.elsewhere[l.Digest.String()] = located{l, p.repo}
	}
	for key, h := range p.have {
		p.elsewhere[key] = located{h, p.repo}
	}
	for _, a := range p.parcels {
		if a.diffID != "" {
			p.elsewhere[a.diffID] = located{a.Descriptor, p.repo}
		}
	}
}

// diskFull explains an error of a temporary file.
func (p *packer) diskFull(err error) error {
	if !noSpace(err) {
		return err
	}
	return fmt.Errorf("compress a layer: %w; free space on the runner's disk before this step (the layers that are under way need it, compressed)", err)
}
