package manifest

import (
	"context"
	"fmt"

	"go.yaml.in/yaml/v3"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	sigsyaml "sigs.k8s.io/yaml"
)

// decoder turns one file into objects.
type decoder struct {
	file    string
	before  int // lines of the file before the text
	set     *Set
	take    func(value any, from source) // instead of the set, of a file that is no manifest by itself
	spent   *spent                       // by all files; required
	over    bool                         // a bound of all files is passed
	suffix  func(n int) string           // Options.Suffix
	aliases int
	hint    string // what to say of the document at hand when it looks like a template
	errs    []error
}

// maxMistakes is how many mistakes of one file are worth reading.
const maxMistakes = 20

// refuse notes a mistake at a line of the file.
func (d *decoder) refuse(line int, object, format string, args ...any) {
	switch {
	case d.full():
		return
	case len(d.errs) == maxMistakes:
		object, format, args = "", "there are more mistakes in the file: correct these first", nil
	}
	d.errs = append(d.errs, &Error{File: d.file, Line: line, Object: object, Problem: fmt.Sprintf(format, args...)})
}

// full tells whether enough mistakes are noted to stop looking.
func (d *decoder) full() bool { return d.over || len(d.errs) > maxMistakes }

func (d *decoder) decode(ctx context.Context, data []byte) {
	text, bad := utf8Text(data)
	if bad != nil {
		d.refuse(d.before+bad.line, "", "%s", bad.problem)
		return
	}
	for _, doc := range documents(text) {
		if d.full() || ctx.Err() != nil {
			return
		}
		doc.base += d.before
		d.document(doc)
	}
}

// document decodes one document. The node tells where things are and what is
// wrong with them; the values come from the library that kubectl uses, so that
// what YAML 1.1 calls a boolean or a number is what it is to kubectl.
func (d *decoder) document(doc document) {
	d.hint = templateHint(doc.text)
	node, bad := parse(doc)
	if bad != nil {
		d.refuse(doc.base+bad.line, "", "%s%s", bad.problem, d.hint)
		return
	}
	if node == nil {
		return
	}
	c := checker{decoder: d, base: doc.base, object: label(node)}
	if !c.check(doc, node) {
		return
	}
	text := doc.text
	if doc.node == nil {
		converted, err := sigsyaml.YAMLToJSON(text)
		if err != nil {
			// The library's text would quote what the file holds.
			d.refuse(doc.base+node.Line, c.object, "the document holds a key or a value that JSON has no form for, such as an empty key, .inf, .nan, or a !!tag that its value does not fit%s", d.hint)
			return
		}
		text = converted
	}
	var value any
	if err := utiljson.Unmarshal(text, &value); err != nil {
		d.refuse(doc.base+node.Line, c.object, "the document does not decode as JSON: check its numbers, and that it is not nested thousands of levels deep")
		return
	}
	take := d.add
	if d.take != nil {
		take = d.take
	}
	d.each(value, source{file: d.file, base: doc.base, node: node}, take)
}

// checker finds what a document must not hold, before it costs anything.
type checker struct {
	*decoder
	base   int
	object string
	sizes  map[*yaml.Node]size
	values int // keys, items and scalars, as they are written
	found  bool
}

// size is how much a node is when its aliases are written out.
type size struct{ bytes, values int }

func (c *checker) mistake(n *yaml.Node, format string, args ...any) {
	c.found = true
	c.refuse(c.base+n.Line, c.object, format, args...)
}

func (c *checker) check(doc document, root *yaml.Node) bool {
	c.keys(root)
	if c.found {
		return false
	}
	written := size{len(doc.text), c.values}
	if c.aliases > 0 {
		c.sizes = map[*yaml.Node]size{}
		expanded := c.size(root)
		if expanded.bytes > maxFile {
			c.mistake(root, "aliases make the document larger than 4 MiB: write it without them")
			return false
		}
		written = size{max(written.bytes, expanded.bytes), max(written.values, expanded.values)}
	}
	c.spent.bytes += written.bytes
	c.spent.values += written.values
	switch {
	case c.spent.bytes > maxExpanded:
		c.mistake(root, "aliases make the manifests larger than 64 MiB in all: write them without")
		c.over = true
	case c.spent.values > maxSetValues:
		c.mistake(root, "%s", tooMany)
		c.over = true
	}
	return !c.found
}

// keys checks every mapping, and counts the aliases.
func (c *checker) keys(n *yaml.Node) {
	if c.full() {
		return
	}
	c.values++
	switch n.Kind {
	case yaml.AliasNode:
		if c.aliases++; c.aliases == maxAliases+1 {
			c.mistake(n, "the file holds more than %d aliases: write the values out", maxAliases)
		}
		return // the anchor is checked where it stands
	case yaml.MappingNode:
		first := make(map[string]int, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if scalar := resolve(key); scalar.Kind != yaml.ScalarNode {
				c.mistake(key, "a key is a map or a list, not a word%s", c.hint)
				continue
			}
			name := resolve(key).Value
			if line, ok := first[name]; ok && !isMerge(key) {
				c.mistake(key, "key %s is there twice, first on line %d: remove one of them", quotedKey(name), c.base+line)
			}
			first[name] = key.Line
		}
	}
	for _, child := range n.Content {
		c.keys(child)
	}
}

// size is what a node is when its aliases are written out; a little more than
// maxFile bytes if it is larger.
func (c *checker) size(n *yaml.Node) size {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if s, ok := c.sizes[n]; ok {
		return s
	}
	c.sizes[n] = size{maxFile + 1, 1} // for an anchor that holds itself
	s := size{len(n.Value) + 2, 1}
	for _, child := range n.Content {
		more := c.size(child)
		s.bytes += more.bytes
		s.values += more.values
		if s.bytes > maxFile {
			s.bytes = maxFile + 1
			break
		}
	}
	c.sizes[n] = s
	return s
}

// resolve follows an alias to what it stands for.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}

// isMerge tells whether a key is YAML's <<, which takes keys over from an alias.
func isMerge(key *yaml.Node) bool {
	return key.Kind == yaml.ScalarNode && key.Value == "<<" && (key.Tag == "" || key.Tag == "!" || key.ShortTag() == "!!merge")
}
