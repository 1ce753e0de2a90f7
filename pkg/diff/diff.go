// Package diff shows what would change of an object: a unified diff of YAML, of the
// fields that would be other than they are and what leads to them, and nothing else.
//
// It is pure, and shows no value of a Secret, nor what looks like a credential
// elsewhere. What an object is going to be, others find out.
package diff

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Bounds of what is shown of one object: more is no diff that people read.
const (
	maxLines = 300
	maxLine  = 400 // bytes
)

// Lines are the lines of the diff from before to after, of which either may be nil:
// the object does not exist. There are none if nothing would change that is the
// object's own: its status, what the server keeps of it and marks of ours are not. What
// the server will choose, another address each time that it is asked, is left out where
// manifest, which may be nil, does not say it.
func Lines(before, after, manifest *unstructured.Unstructured) []string {
	was, is := fieldsOf(before), fieldsOf(after)
	forgetAllocated(was, is, manifest)
	a, b := changed(was, is)
	hide(kindOf(before, after), a, b)
	from, to := text(a), text(b)
	if from == to {
		return nil
	}
	edits := udiff.Lines(from, to)
	// All of the context: it is what leads to a field.
	unified, err := udiff.ToUnified("a", "b", from, edits, strings.Count(from, "\n")+1)
	if err != nil {
		return []string{"…"} // edits that do not fit the text: of a library that contradicts itself
	}
	lines := strings.Split(strings.TrimSuffix(unified, "\n"), "\n")
	return bounded(near(lines[min(3, len(lines)):])) // what comes before are names of files, and numbers of lines
}

func kindOf(before, after *unstructured.Unstructured) string {
	if after != nil {
		return after.GetKind()
	}
	if before != nil {
		return before.GetKind()
	}
	return ""
}

// text is a tree as YAML; "" for nothing.
func text(v any) string {
	if m, ok := v.(map[string]any); v == nil || ok && len(m) == 0 {
		return ""
	}
	out, err := yaml.Marshal(v)
	if err != nil {
		return "…\n" // of what came as JSON nothing is left that cannot be written
	}
	return string(out)
}

// around is how many lines are shown on either side of a change within a long text.
const around = 3

// near are the lines that are changed, those around them, and those that lead to them.
func near(lines []string) []string {
	keep := make([]bool, len(lines))
	for i, shown := 0, 0; i < len(lines) && shown < maxLines; i++ {
		if strings.HasPrefix(lines[i], " ") {
			continue
		}
		shown++
		for j := max(0, i-around); j <= min(i+around, len(lines)-1); j++ {
			keep[j] = true
		}
		if i > 0 && !strings.HasPrefix(lines[i-1], " ") {
			continue // what leads to it leads to the one before
		}
		for j, depth := i-1, indent(lines[i]); j >= 0 && depth > 0; j-- {
			if at := indent(lines[j]); at < depth {
				keep[j], depth = true, at
			}
		}
	}
	var out []string
	for i, l := range lines {
		switch {
		case keep[i] || !strings.HasPrefix(l, " "):
			out = append(out, l)
		case i == 0 || keep[i-1]:
			out = append(out, " …")
		}
	}
	return out
}

// indent is how deep a line of a diff is. An item of a list is below the list, though
// it may begin where that does.
func indent(line string) int {
	content := strings.TrimLeft(line[min(1, len(line)):], " ")
	depth := 2 * (len(line) - 1 - len(content))
	if strings.HasPrefix(content, "- ") {
		depth++
	}
	return depth
}

// bounded cuts what is too long, and says so.
func bounded(lines []string) []string {
	more := len(lines) - maxLines
	if more > 0 {
		lines = append(lines[:maxLines:maxLines], fmt.Sprintf(" … and %d more lines", more))
	}
	for i, l := range lines {
		if len(l) > maxLine {
			lines[i] = strings.ToValidUTF8(l[:maxLine], "") + "…"
		}
	}
	return lines
}

// changed are two trees without what is the same in both, but for what leads to the
// rest: nil where nothing is left.
func changed(a, b any) (any, any) {
	if reflect.DeepEqual(a, b) {
		return nil, nil
	}
	was, mapBefore := a.(map[string]any)
	is, mapAfter := b.(map[string]any)
	if mapBefore && mapAfter {
		return changedMaps(was, is)
	}
	first, listBefore := a.([]any)
	second, listAfter := b.([]any)
	if listBefore && listAfter {
		return changedLists(first, second)
	}
	return a, b
}

func changedMaps(was, is map[string]any) (a, b any) {
	from, to := map[string]any{}, map[string]any{}
	for key, v := range was {
		other, both := is[key]
		switch {
		case !both:
			from[key] = v
		default:
			x, y := changed(v, other)
			put(from, key, x)
			put(to, key, y)
		}
	}
	for key, v := range is {
		if _, both := was[key]; !both {
			to[key] = v
		}
	}
	return from, to
}

func put(m map[string]any, key string, v any) {
	if v != nil {
		m[key] = v
	}
}

// keys are what tells the items of a list apart, as Kubernetes merges them: the first
// that all items have, each with another value.
var keys = []string{"name", "mountPath", "devicePath", "containerPort", "port", "topologyKey", "key", "type", "ip", "uid", "path", "host"}

// changedLists compares items that are of one name, and keeps that beside what of
// them is other than it was. Lists without names, or in another order, are whole.
func changedLists(first, second []any) (a, b any) {
	key := keyOf(first, second)
	if key == "" {
		return first, second
	}
	was, is := itemsBy(key, first), itemsBy(key, second)
	common := func(list []any, other map[any]map[string]any) (names []any) {
		for _, v := range list {
			if name := asMap(v)[key]; other[name] != nil {
				names = append(names, name)
			}
		}
		return names
	}
	if !slices.Equal(common(first, is), common(second, was)) {
		return first, second
	}
	var from, to []any
	for _, v := range first {
		item := asMap(v)
		if is[item[key]] == nil {
			from = append(from, item)
		} else if x, _ := changed(item, is[item[key]]); x != nil {
			from = append(from, withKey(x, key, item[key]))
		}
	}
	for _, v := range second {
		item := asMap(v)
		if was[item[key]] == nil {
			to = append(to, item)
		} else if _, x := changed(was[item[key]], item); x != nil {
			to = append(to, withKey(x, key, item[key]))
		}
	}
	if rest := common(first, is); (len(from) == 0 || len(to) == 0) && len(rest) > 0 {
		// One that stays shows that the list does.
		from, to = append(from, map[string]any{key: rest[0]}), append(to, map[string]any{key: rest[0]})
	}
	return whole(from), whole(to)
}

// whole is a list, or nil for an empty one.
func whole(list []any) any {
	if len(list) == 0 {
		return nil
	}
	return list
}

func itemsBy(key string, list []any) map[any]map[string]any {
	all := map[any]map[string]any{}
	for _, v := range list {
		item := asMap(v)
		all[item[key]] = item
	}
	return all
}

func withKey(v any, key string, name any) any {
	if m, ok := v.(map[string]any); ok {
		m[key] = name
	}
	return v
}

// keyOf is the key by which all items of both lists can be told apart; "" for none.
func keyOf(lists ...[]any) string {
	for _, key := range keys {
		if named(key, lists) {
			return key
		}
	}
	return ""
}

func named(key string, lists [][]any) bool {
	for _, list := range lists {
		known := map[any]bool{}
		for _, v := range list {
			item, _ := v.(map[string]any)
			switch name := item[key].(type) {
			case string, int64, float64:
				if known[name] {
					return false
				}
				known[name] = true
			default:
				return false
			}
		}
	}
	return true
}
