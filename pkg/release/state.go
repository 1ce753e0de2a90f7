package release

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// format is the version of the record that is read and written here. What
	// older versions do not know of it they keep; it grows only when they would
	// do wrong.
	format = 1
	// maxEntries is how many releases are remembered.
	maxEntries = 50
	// maxBytes bounds the record: an API server stores 1 MiB of a ConfigMap.
	maxBytes = 900 << 10
)

// The keys of the ConfigMap. A list has one JSON object a line.
const (
	keyFormat    = "format"
	keyNewest    = "newest"    // the newest run that ever claimed
	keyHolder    = "holder"    // who claimed last
	keyUndo      = "undo"      // logs that the next run inherits, oldest first
	keyInventory = "inventory" // what was ever applied and not pruned since
	keyReleases  = "releases"  // newest first
)

// state is what a record says. It is a value: what changes it returns another.
type state struct {
	newest    newest
	holder    *holder // nil: nobody ever claimed
	undo      []undoRef
	inventory []Object
	releases  []Entry
	// unknown are the keys that a later version has added.
	unknown map[string]string
}

// newest is the newest run that ever claimed. It never falls.
type newest struct {
	Run
	// Hand is the deploy by hand that came after that run; nil if none did.
	Hand *Run `json:"hand,omitempty"`
}

// holder is the process that claimed last.
type holder struct {
	Run
	// Nonce tells this process from another job of the same run.
	Nonce string `json:"nonce"`
	// Finished says that its outcome was recorded.
	Finished bool `json:"finished,omitempty"`
}

// undoRef names a log that has to be inherited.
type undoRef struct {
	Log   int    `json:"log"`
	Nonce string `json:"nonce"` // of the process whose it is
	// Obsolete says that its run ended well and could not delete it.
	Obsolete bool `json:"obsolete,omitempty"`
}

// reserved returns the state with a log that the holder is about to write: the
// first that is free.
func (s state) reserved() state {
	u := undoRef{Log: 1, Nonce: s.holder.Nonce}
	for slices.ContainsFunc(s.undo, func(other undoRef) bool { return other.Log == u.Log }) {
		u.Log++
	}
	s.undo = append(slices.Clone(s.undo), u)
	return s
}

// logOf is the log that a process has reserved; the zero value if it has none.
func (s state) logOf(nonce string) undoRef {
	for _, u := range s.undo {
		if u.Nonce == nonce {
			return u
		}
	}
	return undoRef{}
}

// heldBy reports whether the process with that nonce claimed last.
func (s state) heldBy(nonce string) bool { return s.holder != nil && s.holder.Nonce == nonce }

// sameHolder reports whether nobody has claimed between the two states.
func (s state) sameHolder(other state) bool {
	if s.holder == nil || other.holder == nil {
		return s.holder == other.holder
	}
	return s.holder.Nonce == other.holder.Nonce
}

// check says by whom a run is superseded, if it claimed now; nil: by nobody.
func (s state) check(run Run) *SupersededError {
	if run.byHand() {
		return nil
	}
	// An attempt that is not the last one of its run gives way, whichever it is.
	for _, other := range s.known() {
		if run.comparable(other) && run.ID == other.ID && run.Attempt < other.Attempt {
			return &SupersededError{By: other}
		}
	}
	if run.again() || !run.comparable(s.newest.Run) {
		return nil
	}
	switch {
	case run.ID < s.newest.ID:
		return &SupersededError{By: s.newest.Run}
	case run.ID == s.newest.ID && s.newest.Hand != nil:
		return &SupersededError{By: *s.newest.Hand}
	}
	return nil
}

// known are the runs that the record is about now.
func (s state) known() []Run {
	all := []Run{s.newest.Run}
	if s.holder != nil {
		all = append(all, s.holder.Run)
	}
	return all
}

// inherits reports whether what is in the cluster may not be what a run verified.
func (s state) inherits() bool {
	return s.holder != nil && !s.holder.Finished || slices.ContainsFunc(s.undo, func(u undoRef) bool { return !u.Obsolete })
}

// claimed returns the state in which the options' run is the holder.
func (s state) claimed(nonce string, started time.Time, o ClaimOptions, takeover bool) (next state, forgotten []Object) {
	run := o.Run.bounded()
	next = s
	switch {
	case run.byHand():
		next.newest.Hand = &run
	case !run.comparable(s.newest.Run) || s.newest.olderThan(run):
		next.newest = newest{Run: run}
	}
	next.holder = &holder{Run: run, Nonce: nonce}
	if takeover || len(o.Undo) > 0 {
		next = next.reserved()
	}
	next.inventory, forgotten = union(s.inventory, o.Inventory)
	entry := Entry{Run: run, Nonce: nonce, Images: boundImages(o.Images), Started: started.UTC().Truncate(time.Second)}
	if last, ok := Serving(s.releases); ok {
		entry.From = last.Commit
	}
	next.releases = append([]Entry{entry}, s.releases...)
	next.releases = next.releases[:min(len(next.releases), maxEntries)]
	return next, forgotten
}

// finished returns the state after the holder's end; undo is what remains of the logs.
func (s state) finished(undo []undoRef, ended time.Time, o FinishOptions) state {
	next := s.ended(s.holder.Nonce, ended, o.Outcome, o.Images)
	h := *s.holder
	h.Finished = true
	next.holder = &h
	next.undo = undo
	next.inventory = refresh(s.inventory, o.Inventory, o.Removed)
	return next
}

// ended returns the state with the outcome of one release; images replace those
// that are known, unless there are none.
func (s state) ended(nonce string, ended time.Time, outcome string, images []Image) state {
	next := s
	next.releases = slices.Clone(s.releases)
	for i := range next.releases {
		e := &next.releases[i]
		if e.Nonce != nonce {
			continue
		}
		e.raw = nil
		e.Outcome, e.Finished = outcome, ended.UTC().Truncate(time.Second)
		if len(images) > 0 {
			e.Images = boundImages(images)
		}
	}
	return next
}

// data is the state as the ConfigMap holds it. When it is too large, the oldest
// releases go.
func (s state) data() (map[string]string, error) {
	data := map[string]string{}
	maps.Copy(data, s.unknown)
	data[keyFormat] = strconv.Itoa(format)
	var errs []error
	put := func(key string, value string, err error) {
		data[key] = value
		errs = append(errs, err)
	}
	value, err := line(s.newest)
	put(keyNewest, value, err)
	if s.holder != nil {
		value, err = line(s.holder)
		put(keyHolder, value, err)
	}
	value, err = lines(s.undo, nil)
	put(keyUndo, value, err)
	value, err = lines(s.inventory, nil)
	put(keyInventory, value, err)
	releases, err := lines(s.releases, func(e Entry) json.RawMessage { return e.raw })
	put(keyReleases, releases, err)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	excess := -maxBytes
	for key, value := range data {
		excess += len(key) + len(value)
	}
	for excess > 0 {
		last := strings.LastIndexByte(strings.TrimSuffix(releases, "\n"), '\n') + 1
		if last == 0 { // the newest stays: it is this one
			return nil, fmt.Errorf("too large to be stored (%d bytes, %d objects): divide the manifests into several releases", maxBytes+excess, len(s.inventory))
		}
		excess -= len(releases) - last
		releases = releases[:last]
	}
	data[keyReleases] = releases
	return data, nil
}

// parse reads the data of a record. An error names the key.
func parse(data map[string]string) (state, error) {
	var s state
	version, err := strconv.Atoi(strings.TrimSpace(data[keyFormat]))
	switch {
	case err != nil || version < 1:
		return s, &keyError{keyFormat, errors.New("is not the number of a format")}
	case version > format:
		return s, &keyError{keyFormat, fmt.Errorf("is %d, which a later version of this action wrote: use that version", version)}
	}
	s.unknown = maps.Clone(data)
	for _, key := range []string{keyFormat, keyNewest, keyHolder, keyUndo, keyInventory, keyReleases} {
		delete(s.unknown, key)
	}
	if err := parseLine(data[keyNewest], &s.newest); err != nil {
		return s, &keyError{keyNewest, err}
	}
	if text := strings.TrimSpace(data[keyHolder]); text != "" {
		s.holder = &holder{}
		if err := parseLine(text, s.holder); err != nil {
			return s, &keyError{keyHolder, err}
		}
	}
	if s.undo, err = parseLines[undoRef](data[keyUndo], nil); err != nil {
		return s, &keyError{keyUndo, err}
	}
	if s.inventory, err = parseLines[Object](data[keyInventory], nil); err != nil {
		return s, &keyError{keyInventory, err}
	}
	if s.releases, err = parseLines(data[keyReleases], func(e *Entry, raw json.RawMessage) { e.raw = raw }); err != nil {
		return s, &keyError{keyReleases, err}
	}
	return s, s.valid()
}

// valid finds what parses and cannot be.
func (s state) valid() error {
	for _, u := range s.undo {
		if u.Log <= 0 || u.Nonce == "" {
			return &keyError{keyUndo, errors.New("an entry has no log or nonce")}
		}
	}
	if s.holder != nil && s.holder.Nonce == "" {
		return &keyError{keyHolder, errors.New("has no nonce")}
	}
	for i, o := range s.inventory {
		if o.Kind == "" || o.Name == "" {
			return &keyError{keyInventory, fmt.Errorf("entry %d has no kind or name", i+1)}
		}
	}
	return nil
}

// keyError is a key of the record that cannot be read.
type keyError struct {
	key string
	err error
}

func (e *keyError) Error() string { return fmt.Sprintf("key %q: %v", e.key, e.err) }
func (e *keyError) Unwrap() error { return e.err }

func line(value any) (string, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // links have "&"
	err := encoder.Encode(value)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// lines is a list with one item a line; raw returns an item as it was read, nil
// if it has changed since, so that what a later version wrote of it is kept.
func lines[T any](list []T, raw func(T) json.RawMessage) (string, error) {
	var b strings.Builder
	for _, item := range list {
		var text string
		var err error
		if raw != nil {
			text = string(raw(item))
		}
		if text == "" {
			if text, err = line(item); err != nil {
				return "", err
			}
		}
		b.WriteString(text)
		b.WriteByte('\n')
	}
	return b.String(), nil
}

func parseLine(text string, into any) error {
	if text = strings.TrimSpace(text); text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return describe(err)
	}
	return nil
}

func parseLines[T any](text string, keep func(*T, json.RawMessage)) ([]T, error) {
	var list []T
	n := 0
	for text := range strings.SplitSeq(text, "\n") {
		n++
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		var item T
		if err := json.Unmarshal([]byte(text), &item); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, describe(err))
		}
		if keep != nil {
			keep(&item, json.RawMessage(text))
		}
		list = append(list, item)
	}
	return list, nil
}

// describe words what encoding/json says without the names of our types.
func describe(err error) error {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Errorf("%s: %s instead of %s", cmp.Or(kind.Field[strings.LastIndexByte(kind.Field, '.')+1:], "the value"), kind.Value, kind.Type.Kind())
	}
	return fmt.Errorf("is not JSON: %w", err)
}
