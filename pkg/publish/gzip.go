package publish

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/org/deploy-model-action/pkg/fault"
)

// format is how a layer is compressed.
type format int

const (
	uncompressed format = iota
	gzipped
	zstandard
)

// compression tells by the first bytes how a file is compressed.
func compression(start []byte) format {
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		return gzipped
	case bytes.HasPrefix(start, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return zstandard
	}
	return uncompressed
}

func (f format) mediaType() types.MediaType {
	switch f {
	case gzipped:
		return types.DockerLayer
	case zstandard:
		return types.OCILayerZStd
	}
	return types.DockerUncompressedLayer
}

// sums are the digests of a layer that was compressed.
type sums struct {
	diffID, digest v1.Hash
	size           int64
}

// compress compresses a layer, on all processors: as gzip files of 1 MiB each, one
// after the other, which is a gzip file too (RFC 1952, 2.2). Models have layers of
// gigabytes, and gzip on one processor is slower than the network of a runner.
//
// The fastest level makes layers some percent larger than the default one, in a
// third of its time.
func compress(ctx context.Context, to io.Writer, from io.Reader) (sums, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	workers := runtime.GOMAXPROCS(0)
	todo := make(chan *block)
	order := make(chan *block, 2*workers) // as they were read, and are written
	free := make(chan *block, 4*workers)
	for range cap(free) {
		free <- &block{done: make(chan error, 1)} // most layers are small, and need few
	}
	for range workers {
		fault.Go(ctx, func() { deflate(todo) })
	}
	inside, outside := sha256.New(), sha256.New()
	var readErr error
	go func() {
		defer close(order)
		defer close(todo)
		defer fault.Catch(ctx)
		readErr = split(ctx, io.TeeReader(from, inside), free, todo, order)
	}()
	var s sums
	var err error
	out := io.MultiWriter(to, outside)
	for b := range order {
		if e := <-b.done; err == nil {
			err = e
		}
		if err == nil {
			s.size += int64(b.packed.Len())
			_, err = out.Write(b.packed.Bytes())
		}
		if err != nil {
			cancel() // and let the reader see it
		}
		free <- b
	}
	if err == nil {
		err = readErr
	}
	s.diffID, s.digest = hashOf(inside), hashOf(outside)
	return s, err
}

// blockSize is how much of a layer is compressed at a time.
const blockSize = 1 << 20

// block is a part of a layer.
type block struct {
	content []byte
	n       int
	packed  bytes.Buffer
	done    chan error
}

// split reads a layer block by block.
func split(ctx context.Context, from io.Reader, free <-chan *block, todo, order chan<- *block) error {
	for {
		var b *block
		select {
		case b = <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
		if b.content == nil {
			b.content = make([]byte, blockSize)
		}
		var err error
		b.n, err = io.ReadFull(from, b.content)
		if b.n > 0 {
			order <- b
			todo <- b
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF) && b.n > 0 && ended(from):
			return nil
		case err != nil:
			return err
		}
	}
}

// ended tells a short last block from a layer that broke off: io.ReadFull has the
// same error for both.
func ended(from io.Reader) bool {
	n, err := from.Read(make([]byte, 1))
	return n == 0 && errors.Is(err, io.EOF)
}

// deflate makes a gzip file of each block.
func deflate(todo <-chan *block) {
	var z *gzip.Writer
	var err error
	for b := range todo {
		if z == nil {
			z, err = gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
		}
		if err == nil {
			b.packed.Reset()
			z.Reset(&b.packed)
			_, err = z.Write(b.content[:b.n])
			err = errors.Join(err, z.Close())
		}
		b.done <- err
	}
}

// contentOf is the digest of what is in a layer, however that is compressed.
func contentOf(ctx context.Context, from io.Reader) (diffID string, err error) {
	buffered := bufio.NewReaderSize(from, 1<<20)
	start, err := buffered.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	from = buffered
	switch compression(start) {
	case gzipped:
		if from, err = gzip.NewReader(buffered); err != nil {
			return "", err
		}
	case zstandard:
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return "", err
		}
		defer z.Close()
		from = z
	}
	sum := sha256.New()
	// A megabyte may hold a gigabyte, so that it is between what comes out that a cancel is observed.
	if _, err := io.Copy(sum, &contextReader{ctx, from}); err != nil {
		return "", err
	}
	return hashOf(sum).String(), nil
}

// unpacked is what is in a layer.
type unpacked struct {
	diffID string
	err    error // of decompressing it
}

// vouched reports whether an image that is there, or was published before this one,
// has this very layer for what is to be in it.
func (up *uploader) vouched(l layer) bool {
	if l.diffID == "" {
		return true // nobody says what is to be in it
	}
	sent, ok := up.exists(l)
	e, before := up.elsewhere[l.diffID]
	return ok && (up.trusted[l.diffID] == sent.Digest || before && e.descriptor.Digest == sent.Digest)
}

// content is what is in a layer that was read.
func (up *uploader) content(l layer) (diffID string, err error) {
	up.mu.Lock()
	defer up.mu.Unlock()
	if a := up.packed[l.file]; a != nil {
		if a.diffID != "" {
			return a.diffID, nil
		}
		c := up.contents[a.descriptor.Digest]
		return c.diffID, c.err
	}
	if l.blob != nil {
		c := up.contents[l.blob.Digest]
		return c.diffID, c.err
	}
	return "", nil
}

func (up *uploader) contains(digest v1.Hash, diffID string) {
	up.mu.Lock()
	defer up.mu.Unlock()
	up.contents[digest] = unpacked{diffID: diffID}
}

// lookInto finds out what is in a layer that came compressed.
func (up *uploader) lookInto(ctx context.Context, b blob) error {
	diffID, err := contentOf(ctx, io.NewSectionReader(b.at, 0, b.size))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	up.mu.Lock()
	defer up.mu.Unlock()
	up.contents[b.digest] = unpacked{diffID, err}
	return nil
}

func hashOf(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// temporary is a file without a name: it is gone with the process, however that ends.
type temporary struct{ *os.File }

func (up *uploader) temporary() (*temporary, error) {
	f, err := os.CreateTemp(up.temp, "layer-*")
	if errors.Is(err, fs.ErrNotExist) && up.temp != "" {
		// Runners before 2.331, and with them GHES, name in RUNNER_TEMP a folder of
		// the machine that they do not mount into a container.
		f, err = os.CreateTemp("", "layer-*")
	}
	if err != nil {
		return nil, up.diskFull(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return &temporary{f}, nil
}

func (t *temporary) blob(digest v1.Hash, size int64) blob {
	var once sync.Once
	return blob{digest: digest, size: size, at: t, release: func() { once.Do(func() { t.Close() }) }}
}

func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
