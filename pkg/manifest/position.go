package manifest

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Position returns where a field of an object is written, in the notations of
// the API server: "spec.template.spec.containers[0].image",
// ".spec.containers[name=\"app\"].image", "metadata.labels[example.com/x]". A
// field that is not in the file is found at the nearest one above it that is,
// and "" is the object itself. An index that is none gives the zero Position.
func (s *Set) Position(i int, field string) Position {
	if i < 0 || i >= len(s.sources) {
		return Position{}
	}
	if s.sources[i].built {
		field = byName(s.Objects[i].Object, field)
	}
	return s.sources[i].find(field)
}

// byName is a field with the names of items in the place of their numbers: a patch
// puts items before those that the file holds.
func byName(value any, field string) string {
	done := ""
	for field != "" {
		var rest, as string
		switch at := value.(type) {
		case map[string]any:
			plain := strings.TrimPrefix(field, ".")
			best := ""
			for key := range at {
				after, ok := strings.CutPrefix(plain, key)
				if ok && len(key) > len(best) && (after == "" || after[0] == '.' || after[0] == '[') {
					best, rest = key, after
				}
			}
			if best == "" {
				return done + field
			}
			value, as = at[best], strings.TrimSuffix(field, rest)
		case []any:
			var inside string
			inside, rest = bracket(field)
			i, err := strconv.Atoi(inside)
			if err != nil || i < 0 || i >= len(at) {
				return done + field
			}
			value, as = at[i], strings.TrimSuffix(field, rest)
			item, _ := value.(map[string]any)
			if name, _ := item["name"].(string); strconvSafe(name) != "" {
				as = "[name=" + strconv.Quote(name) + "]"
			}
		default:
			return done + field
		}
		done, field = done+as, rest
	}
	return done
}

func (s source) line(n *yaml.Node) int { return s.base + n.Line }

// find walks along a field as far as the file goes.
func (s source) find(field string) Position {
	n, line := resolve(s.node), s.line(s.node)
	for field != "" {
		var at *yaml.Node
		switch n.Kind {
		case yaml.MappingNode:
			at, n, field = step(n, field)
		case yaml.SequenceNode:
			n, field = item(n, field)
			at = n
		default:
			n = nil
		}
		if n == nil {
			break
		}
		line = s.line(at)
		n = resolve(n)
	}
	return Position{File: s.file, Line: line}
}

// step finds the key that a field begins with, and returns it, its value and
// what is left of the field. Keys may hold dots themselves: the longest counts.
func step(n *yaml.Node, field string) (key, value *yaml.Node, rest string) {
	var names []string // the field's beginnings, in both notations
	if strings.HasPrefix(field, "[") {
		inside, after := bracket(field)
		names, rest = []string{inside}, after
	}
	plain := strings.TrimPrefix(field, ".")
	best := -1
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := resolve(n.Content[i]).Value
		if len(names) > 0 {
			if k == names[0] {
				return n.Content[i], n.Content[i+1], rest
			}
			continue
		}
		after, ok := strings.CutPrefix(plain, k)
		if ok && len(k) > best && (after == "" || after[0] == '.' || after[0] == '[') {
			best, key, value, rest = len(k), n.Content[i], n.Content[i+1], after
		}
	}
	if key != nil {
		return key, value, rest
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if isMerge(n.Content[i]) {
			if key, value, rest := merged(n.Content[i+1], field); key != nil {
				return key, value, rest
			}
		}
	}
	return nil, nil, ""
}

// merged looks for a field in what << takes over: a mapping, or several.
func merged(n *yaml.Node, field string) (key, value *yaml.Node, rest string) {
	n = resolve(n)
	switch n.Kind {
	case yaml.MappingNode:
		return step(n, field)
	case yaml.SequenceNode:
		for _, m := range n.Content {
			if m = resolve(m); m.Kind == yaml.MappingNode {
				if key, value, rest := step(m, field); key != nil {
					return key, value, rest
				}
			}
		}
	}
	return nil, nil, ""
}

// item finds the item of a list that a field begins with: [0], [name="app"],
// [containerPort=80,protocol="TCP"] or [="value"].
func item(n *yaml.Node, field string) (*yaml.Node, string) {
	if !strings.HasPrefix(field, "[") {
		return nil, ""
	}
	inside, rest := bracket(field)
	if i, err := strconv.Atoi(inside); err == nil {
		if i < 0 || i >= len(n.Content) {
			return nil, ""
		}
		return n.Content[i], rest
	}
	for _, candidate := range n.Content {
		if selected(resolve(candidate), inside) {
			return candidate, rest
		}
	}
	return nil, ""
}

// selected tells whether an item has the keys that a selector names. Defaults
// that only the server knows, such as a port's protocol, do not count against it.
func selected(n *yaml.Node, selector string) bool {
	hits := 0
	for term := range strings.SplitSeq(selector, ",") {
		name, want, ok := strings.Cut(term, "=")
		want = strings.Trim(want, `"`)
		switch have := resolve(child(n, name)); {
		case !ok:
			return false
		case name == "" || name == "v":
			return n.Kind == yaml.ScalarNode && n.Value == want
		case have.Kind == 0:
		case have.Value != want:
			return false
		default:
			hits++
		}
	}
	return hits > 0
}

// bracket splits "[inside]rest"; quotes may hold a bracket, and are taken off a
// lone key.
func bracket(field string) (inside, rest string) {
	quoted := false
	for i := 1; i < len(field); i++ {
		switch {
		case field[i] == '"':
			quoted = !quoted
		case field[i] == ']' && !quoted:
			inside, rest = field[1:i], field[i+1:]
			if len(inside) > 1 && inside[0] == '"' {
				inside = strings.Trim(inside, `"`)
			}
			return inside, rest
		}
	}
	return field[1:], ""
}
