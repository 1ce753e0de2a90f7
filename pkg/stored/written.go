package stored

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Difference is a field that a manifest writes and that is stored otherwise.
type Difference struct {
	Path   string // as the manifest writes it: spec.containers[0].image
	Want   any    // what the manifest says
	Got    any    // what is stored, if anything is
	Absent bool   // nothing is
}

// Written are the fields of a manifest that are stored otherwise, in their order.
// Other ways to write the same value count as that value (1000m of CPU is 1), and so
// does what is empty and left out. Nothing else that is stored counts, nor do status
// and those parts of metadata that are the server's.
func Written(manifest, object map[string]any) []Difference {
	var found []Difference
	for _, name := range sorted(manifest) {
		switch name {
		case "apiVersion", "kind", "status", "stringData":
		case "metadata":
			want, _ := manifest[name].(map[string]any)
			got, _ := object[name].(map[string]any)
			for _, part := range []string{"annotations", "finalizers", "labels"} {
				written(name+"."+part, want[part], got[part], &found)
			}
		case "data":
			written(name, plain(manifest), object[name], &found)
		default:
			written(name, manifest[name], object[name], &found)
		}
	}
	if _, both := manifest["data"].(map[string]any); !both && object["kind"] == "Secret" {
		written("stringData", plain(manifest), object["data"], &found)
	}
	return found
}

// plain is the data of a ConfigMap or Secret: what a Secret has as stringData has
// precedence.
func plain(manifest map[string]any) any {
	text, _ := manifest["stringData"].(map[string]any)
	data, _ := manifest["data"].(map[string]any)
	if manifest["kind"] != "Secret" || text == nil {
		return manifest["data"]
	}
	all := make(map[string]any, len(data)+len(text))
	for key, v := range data {
		all[key] = v
	}
	for key, v := range text {
		all[key] = base64.StdEncoding.EncodeToString(fmt.Append(nil, v))
	}
	return all
}

func sorted(m map[string]any) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// written adds what differs at one place and below it.
func written(path string, want, got any, found *[]Difference) {
	switch w := want.(type) {
	case nil:
		return
	case map[string]any:
		if g, ok := got.(map[string]any); ok {
			for _, name := range sorted(w) {
				written(path+"."+name, w[name], g[name], found)
			}
			return
		}
	case []any:
		if g, ok := got.([]any); ok {
			writtenItems(path, w, g, found)
			return
		}
	}
	switch {
	case got == nil && empty(want), equivalent(want, got):
	case got == nil:
		*found = append(*found, Difference{Path: path, Want: want, Absent: true})
	default:
		*found = append(*found, Difference{Path: path, Want: want, Got: got})
	}
}

// writtenItems compares lists, to which others may have added, and in another order.
func writtenItems(path string, want, got []any, found *[]Difference) {
	for i, item := range want {
		at := fmt.Sprintf("%s[%d]", path, i)
		var here, best []Difference
		if i < len(got) {
			if written(at, item, got[i], &here); len(here) == 0 {
				continue
			}
		}
		matched := false
		for _, other := range got {
			var there []Difference
			written(at, item, other, &there)
			if matched = matched || len(there) == 0; matched {
				break
			}
			if alike(item, other) {
				best = there
			}
		}
		switch {
		case matched:
		case best != nil:
			*found = append(*found, best...)
		default:
			*found = append(*found, Difference{Path: at, Want: item, Absent: true})
		}
	}
}

// keys are the fields by which Kubernetes' lists know their items.
var keys = []string{"name", "containerPort", "port", "mountPath", "devicePath", "key", "topologyKey", "type", "ip", "uid"}

// alike reports whether two items are the same one of a list, with other fields.
func alike(a, b any) bool {
	x, ok := a.(map[string]any)
	y, both := b.(map[string]any)
	if !ok || !both {
		return false
	}
	for _, key := range keys {
		if v, has := x[key]; has {
			return equivalent(v, y[key])
		}
	}
	return false
}

// empty reports whether a value says nothing, so that a server may leave it out.
func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		for _, below := range v {
			if !empty(below) {
				return false
			}
		}
		return true
	case []any:
		return len(v) == 0
	}
	return reflect.ValueOf(v).IsZero()
}

// equivalent reports whether two values are one, written in other ways.
func equivalent(a, b any) bool {
	if reflect.DeepEqual(a, b) {
		return true
	}
	x, ok := scalar(a)
	y, both := scalar(b)
	if !ok || !both {
		return false
	}
	if x == y {
		return true
	}
	if p, err := resource.ParseQuantity(x); err == nil {
		q, err := resource.ParseQuantity(y)
		return err == nil && p.Cmp(q) == 0
	}
	if p, err := time.ParseDuration(x); err == nil {
		q, err := time.ParseDuration(y)
		return err == nil && p == q
	}
	if p, err := time.Parse(time.RFC3339Nano, x); err == nil {
		q, err := time.Parse(time.RFC3339Nano, y)
		return err == nil && p.Equal(q)
	}
	if p, err := netip.ParseAddr(x); err == nil {
		q, err := netip.ParseAddr(y)
		return err == nil && p == q
	}
	p, err := base64.StdEncoding.DecodeString(x)
	q, err2 := base64.StdEncoding.DecodeString(y)
	return err == nil && err2 == nil && len(p) > 0 && string(p) == string(q)
}

// scalar is a value that is neither map nor list, as text.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case int64, int, int32, float64, bool, json.Number:
		return fmt.Sprint(v), true
	}
	return "", false
}

// IsValue reports whether a value is one by itself: neither a map nor a list, nor nothing.
func IsValue(v any) bool {
	_, ok := scalar(v)
	return ok
}
