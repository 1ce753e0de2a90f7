package publish

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// Bounds of an archive. Nothing of it is written anywhere under the names that it
// gives, so that it can name what it likes; but it is read to find its end.
const (
	maxDocument  = 8 << 20  // one manifest or configuration
	maxDocuments = 64 << 20 // all of them
	maxEntries   = 100_000
)

// files are the files of an image, from a tar stream: manifests and
// configurations are held, and layers go to a visitor as they pass.
type files struct {
	label     string            // for people
	fix       string            // what to do when it is damaged
	documents map[string][]byte // what begins as JSON, and is small
	links     map[string]string
	sizes     map[string]int64
	held      int64
	spent     int // bytes of manifests that were parsed

	// What is not held is read from here again; nil for a stream.
	again func(ctx context.Context, wanted map[string]bool, visit visitor) error
	// lookup reads a document that is not held; nil if there is no more.
	lookup func(ctx context.Context, name string) ([]byte, error)
	exists func(name string) bool // of a layer, with lookup
}

func newFiles(label, fix string) *files {
	return &files{label: label, fix: fix, documents: map[string][]byte{}, links: map[string]string{}, sizes: map[string]int64{}}
}

// entry is a file that is probably a layer.
type entry struct {
	name  string
	size  int64
	body  io.Reader
	at    io.ReaderAt // the same; nil if it passes only once
	close func()      // of at; nil if another closes it
}

type visitor func(context.Context, entry) error

// damaged is an error about the archive itself.
func (f *files) damaged(format string, args ...any) error {
	return fmt.Errorf("%s: %w; %s", f.label, fmt.Errorf(format, args...), f.fix)
}

// tar reads a tar stream to its end. Of the files that are not held, those that
// are wanted are visited; nil wants all.
func (f *files) tar(ctx context.Context, r io.Reader, wanted map[string]bool, visit visitor) error {
	seeker, _ := r.(io.ReadSeeker) // archive/tar skips by it, and reads no more than it needs
	at, _ := r.(io.ReaderAt)
	t := tar.NewReader(r)
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		header, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		switch {
		case err != nil:
			return f.unreadable(ctx, err)
		case n >= maxEntries:
			return f.damaged("more than %d files in it", maxEntries)
		}
		name := clean(header.Name)
		switch header.Typeflag {
		case tar.TypeSymlink:
			f.links[name] = clean(path.Join(path.Dir(name), header.Linkname))
			continue
		case tar.TypeLink:
			f.links[name] = clean(header.Linkname)
			continue
		case tar.TypeReg:
		default:
			continue
		}
		e := entry{name: name, size: header.Size, body: t}
		if seeker != nil && at != nil && !sparse(header) {
			offset, err := seeker.Seek(0, io.SeekCurrent)
			if err != nil {
				return f.unreadable(ctx, err)
			}
			e.at = io.NewSectionReader(at, offset, header.Size)
		}
		if err := f.take(ctx, e, wanted, visit); err != nil {
			return f.unreadable(ctx, err)
		}
	}
}

// take holds a document and visits the rest.
func (f *files) take(ctx context.Context, e entry, wanted map[string]bool, visit visitor) error {
	f.sizes[e.name] = e.size
	if e.size == 0 || path.Base(e.name) == "VERSION" { // of the old form of docker save
		return nil
	}
	if e.size <= maxDocument {
		start := make([]byte, min(e.size, 512))
		if _, err := io.ReadFull(e.body, start); err != nil {
			return err
		}
		e.body = io.MultiReader(bytes.NewReader(start), e.body)
		if begin := bytes.TrimSpace(start); len(begin) > 0 && (begin[0] == '{' || begin[0] == '[') {
			if f.held += e.size; f.held > maxDocuments {
				return f.damaged("more than 64 MiB of manifests in it")
			}
			content, err := io.ReadAll(e.body)
			if err != nil {
				return err
			}
			f.documents[e.name] = content
			return nil
		}
	}
	if visit == nil || wanted != nil && !wanted[e.name] {
		return nil
	}
	return visit(ctx, e)
}

// contextReader ends with its context.
type contextReader struct {
	ctx  context.Context //nolint:containedctx // of one reading
	from io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.from.Read(p)
}

// unreadable explains an error of reading.
func (f *files) unreadable(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return f.damaged("it ends in the middle")
	case errors.Is(err, tar.ErrHeader), errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return f.damaged("not a tar file, or damaged: %w", err)
	}
	return err
}

// sparse reports whether a file has holes, which are not in the archive.
func sparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// clean is a name as the manifests in an archive use it. It leads nowhere: ".."
// stays inside.
func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// follow resolves the links of an archive within it.
func (f *files) follow(name string) (string, error) {
	name = clean(name)
	for range 10 {
		to, ok := f.links[name]
		if !ok {
			return name, nil
		}
		name = to
	}
	return "", f.damaged("%q is a link to itself", quoted(name))
}

// document returns a file that is held; nil if there is none.
func (f *files) document(ctx context.Context, name string) ([]byte, error) {
	name, err := f.follow(name)
	if err != nil {
		return nil, err
	}
	if d, ok := f.documents[name]; ok {
		return d, nil
	}
	if f.lookup == nil {
		if f.sizes[name] > maxDocument {
			return nil, f.damaged("%q is larger than 8 MiB", quoted(name))
		}
		return nil, nil
	}
	d, err := f.lookup(ctx, name)
	if err != nil || d == nil {
		return nil, err
	}
	if f.held += int64(len(d)); f.held > maxDocuments {
		return nil, f.damaged("more than 64 MiB of manifests in it")
	}
	f.documents[name] = d
	return d, nil
}

// spend bounds how often what is held is gone through: an index of many indexes that
// name the same ones is small, and leads to more than anybody can wait for.
func (f *files) spend(ctx context.Context, n int) error {
	if f.spent += n + 1000; f.spent > maxDocuments {
		return f.damaged("its indexes are nested too deep, or hold too much")
	}
	return ctx.Err()
}

// has reports whether there is a file.
func (f *files) has(name string) bool {
	name, err := f.follow(name)
	if err != nil {
		return false
	}
	if f.exists != nil {
		return f.exists(name)
	}
	_, ok := f.sizes[name]
	return ok
}

// read brings the layers that the registry lacks to the uploader, and to be looked
// into those that it has but of which nobody has said yet what is in them.
func (f *files) read(ctx context.Context, up *uploader, layers []layer) error {
	wanted := map[string]bool{}
	for _, l := range layers {
		_, there := up.exists(l)
		if f.documents[l.file] != nil || there && up.vouched(l) {
			continue
		}
		wanted[l.file], up.doubted[l.file] = true, there
	}
	if len(wanted) == 0 || f.again == nil {
		return nil
	}
	return f.again(ctx, wanted, up.take)
}

// checkContent refuses a layer that is not what the configuration says: nodes refuse
// to unpack it, after its tags were moved.
func (f *files) checkContent(up *uploader, l layer) error {
	if l.diffID == "" || up.vouched(l) {
		return nil
	}
	switch is, err := up.content(l); {
	case err != nil:
		return f.damaged("the layer %q cannot be decompressed: %w", quoted(l.file), err)
	case is != l.diffID:
		return f.damaged("the layer %q is not the one that the configuration names", quoted(l.file))
	}
	return nil
}
