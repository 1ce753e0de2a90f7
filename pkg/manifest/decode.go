package manifest

import (
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
	bytes   int                          // of the documents, with their aliases written out
	values  int                          // in the documents, likewise
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
func (d *decoder) full() bool { return len(d.errs) > maxMistakes }

func (d *decoder) decode(data []byte) {
	text, bad := utf8Text(data)
	if bad != nil {
		d.refuse(d.before+bad.line, "", "%s", bad.problem)
		return
	}
	for _, doc := range documents(text) {
		if d.full() {
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
	if !c.check(node) {
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
	d.bytes += max(len(doc.text), c.sizes[node])
	d.values += max(c.values, c.sizes[node]/3) // two bytes beside the value: see size
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
	sizes  map[*yaml.Node]int
	values int
	found  bool
}

func (c *checker) mistake(n *yaml.Node, format string, args ...any) {
	c.found = true
	c.refuse(c.base+n.Line, c.object, format, args...)
}

func (c *checker) check(root *yaml.Node) bool {
	c.sizes = map[*yaml.Node]int{}
	c.keys(root)
	if !c.found && c.aliases > 0 && c.size(root) > maxFile {
		c.mistake(root, "aliases make the document larger than 1 MiB: write it without them")
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

// size is how many bytes a node is when its aliases are written out; a little
// more than maxFile if it is larger.
func (c *checker) size(n *yaml.Node) int {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if size, ok := c.sizes[n]; ok {
		return size
	}
	c.sizes[n] = maxFile + 1 // for an anchor that holds itself
	size := len(n.Value) + 2
	for _, child := range n.Content {
		if size += c.size(child); size > maxFile {
			size = maxFile + 1
			break
		}
	}
	c.sizes[n] = size
	return size
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
