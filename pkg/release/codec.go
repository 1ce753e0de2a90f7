package release

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
)

const (
	// format is the version of the record that is read and written here. What
	// older versions do not know of it they keep; it grows only when they would
	// do wrong.
	format = 1
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
