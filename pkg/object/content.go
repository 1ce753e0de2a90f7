package object

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// IsConfig reports whether objects of a kind are read by pods: a ConfigMap or a Secret.
func IsConfig(id ID) bool { return id.Group == "" && (id.Kind == "ConfigMap" || id.Kind == "Secret") }

// Stamps say of each key of a ConfigMap or Secret which write of ours gave it its
// value, or removed it: a text that nobody can guess, made anew for each write that
// changes the content of an object. The key "" is for all those that are not named.
//
// They are kept on the object itself, so that content and stamp change in one write
// and no process that dies in between leaves one without the other; and so that of a
// Secret only who may read it knows them, as Version needs that.
type Stamps map[string]string

// maxStamps bounds how many keys have one of their own: keys that are removed have
// one, too, and there is no end to the names that people give to them.
const maxStamps = 256

// StampsOf reads the stamps of an object; none if nothing of it was written by us.
func StampsOf(u *unstructured.Unstructured) Stamps {
	if u == nil {
		return nil
	}
	s := Stamps{}
	for part := range strings.SplitSeq(u.GetAnnotations()[ContentAnnotation], ",") {
		if key, stamp, ok := strings.Cut(part, "="); ok && stamp != "" {
			s[key] = stamp
		}
	}
	return s
}

// String is what StampsOf reads.
func (s Stamps) String() string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(s)) {
		parts = append(parts, key+"="+s[key])
	}
	return strings.Join(parts, ",")
}

// Renewed are the stamps after a write that makes after of before, which is nil for
// an object that did not exist.
func (s Stamps) Renewed(before, after *unstructured.Unstructured, stamp string) Stamps {
	if before == nil {
		return Stamps{"": stamp}
	}
	was, is := contentOf(before), contentOf(after)
	next := maps.Clone(s)
	if next == nil {
		next = Stamps{}
	}
	for _, content := range []map[string]string{was, is} {
		for key := range content {
			a, there := was[key]
			if b, still := is[key]; there != still || a != b {
				next[key] = stamp
			}
		}
	}
	if len(next) > maxStamps {
		return Stamps{"": stamp}
	}
	return next
}

// version is how many characters tell two contents apart.
const version = 16

// Version names the content that a manifest gives to keys of a ConfigMap or Secret, all
// of them if there are none; "" if none of it was ever changed by us. It says nothing
// about the content to anybody who does not know the stamps, however few values are
// possible, and is another one when the same content was written anew in between.
func (s Stamps) Version(manifest *unstructured.Unstructured, keys []string) string {
	content := contentOf(manifest)
	if len(keys) == 0 {
		keys = slices.Concat(slices.Collect(maps.Keys(content)), slices.Collect(maps.Keys(s)))
	}
	slices.Sort(keys)
	sum, stamped := sha256.New(), false
	for _, key := range slices.Compact(keys) {
		stamp := s[key]
		if stamp == "" {
			stamp = s[""]
		}
		if stamp == "" {
			continue
		}
		stamped = true
		value, there := content[key]
		tag := hmac.New(sha256.New, []byte(stamp))
		_, _ = io.WriteString(tag, key+"\x00")
		if there {
			_, _ = io.WriteString(tag, "\x00"+value)
		}
		sum.Write(tag.Sum(nil))
	}
	if !stamped {
		return ""
	}
	return hex.EncodeToString(sum.Sum(nil))[:version]
}

// contentOf is what pods can read of a ConfigMap or a Secret. What is no base64 is
// refused by every server, so it is nothing.
func contentOf(u *unstructured.Unstructured) map[string]string {
	content := map[string]string{}
	take := func(field string, encoded bool) {
		for key, v := range Map(u.Object, field) {
			value, _ := v.(string)
			if encoded {
				raw, _ := base64.StdEncoding.DecodeString(value)
				value = string(raw)
			}
			content[key] = value
		}
	}
	take("data", u.GetKind() == "Secret")
	take("binaryData", true)
	take("stringData", false)
	return content
}
