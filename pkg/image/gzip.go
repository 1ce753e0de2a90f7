package image

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"runtime"
	"sync"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
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

// memberSize is how much of a layer is compressed at a time.
const memberSize = 1 << 20

// sums are the digests of a layer that was compressed.
type sums struct {
	diffID, digest v1.Hash
	size           int64
}

// pack compresses a layer, on all processors: as gzip files of 1 MiB each, one
// after the other, which is a gzip file too (RFC 1952, 2.2). Models have layers of
// gigabytes, and gzip on one processor is slower than the network of a runner.
func pack(ctx context.Context, to io.Writer, from io.Reader) (sums, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		data []byte
		err  error
	}
	// Members are written in the order in which they were read.
	order := make(chan chan result, runtime.GOMAXPROCS(0))
	inside, outside := sha256.New(), sha256.New()
	var readErr error
	go func() {
		defer close(order)
		for {
			block := make([]byte, memberSize)
			n, err := io.ReadFull(from, block)
			if n > 0 {
				inside.Write(block[:n])
				done := make(chan result, 1)
				select {
				case order <- done:
				case <-ctx.Done():
					readErr = ctx.Err()
					return
				}
				go func() {
					data, err := deflate(block[:n])
					done <- result{data, err}
				}()
			}
			if err != nil {
				if !errors.Is(err, io.EOF) && (!errors.Is(err, io.ErrUnexpectedEOF) || n == 0) {
					readErr = err
				}
				return
			}
		}
	}()
	var s sums
	var err error
	out := io.MultiWriter(to, outside)
	for done := range order {
		r := <-done
		if err == nil {
			err = r.err
		}
		if err == nil {
			_, err = out.Write(r.data)
			s.size += int64(len(r.data))
		}
		if err != nil {
			cancel() // and let the reader see it
		}
	}
	if err == nil {
		err = readErr
	}
	s.diffID, s.digest = hashOf(inside), hashOf(outside)
	return s, err
}

func hashOf(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// deflate makes a gzip file of a block. The fastest level is within some percent
// of the default one on layers, and takes a third of its time.
func deflate(block []byte) ([]byte, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(block); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// temporary is a file without a name: it is gone with the process, however that ends.
type temporary struct{ *os.File }

func (p *packer) temporary() (*temporary, error) {
	f, err := os.CreateTemp(p.Temp, "layer-*")
	if err != nil {
		return nil, p.diskFull(err)
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
