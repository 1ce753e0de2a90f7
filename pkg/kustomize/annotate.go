package kustomize

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// annotated is YAML into which annotations are written, and which is otherwise left as
// it is: to kustomize it makes a difference how a value is quoted.
type annotated struct {
	content []byte
	inserts []insert
}

// insert is a piece of text for a place, counted from 1.
type insert struct {
	line, column int
	piece        string
}

func annotating(content []byte) *annotated { return &annotated{content: content} }

// annotate writes a mark into an object, before the first of its annotations or of
// its metadata. What it is not safe to write into stays as it is.
func (a *annotated) annotate(doc Document, n string) {
	metadata := plainMap(child(doc.Node, "metadata"))
	if metadata == nil {
		return
	}
	entry := mark + `: "` + n + `"`
	if child(metadata, "annotations") == nil {
		a.insert(doc.Base, metadata, `annotations: {"`+mark+`": "`+n+`"}`)
		return
	}
	if annotations := plainMap(child(metadata, "annotations")); annotations != nil {
		a.insert(doc.Base, annotations, entry)
	}
}

// plainMap is a mapping with keys of its own, that are nobody else's; nil if it is
// anything else.
func plainMap(n *yaml.Node) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode || len(n.Content) == 0 || n.Content[0].Column == 0 {
		return nil
	}
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == "<<" {
			return nil
		}
	}
	return n
}

// insert notes an entry for a mapping.
func (a *annotated) insert(base int, mapping *yaml.Node, entry string) {
	first := mapping.Content[0]
	if mapping.Style&yaml.FlowStyle != 0 {
		entry += ", "
	} else {
		entry += "\n" + strings.Repeat(" ", first.Column-1)
	}
	a.inserts = append(a.inserts, insert{base + first.Line, first.Column, entry})
}

// bytes is the text with all that was inserted.
func (a *annotated) bytes() []byte {
	slices.SortStableFunc(a.inserts, func(x, y insert) int {
		return cmp.Or(cmp.Compare(x.line, y.line), cmp.Compare(x.column, y.column))
	})
	var out bytes.Buffer
	line := 0
	for content := range bytes.Lines(a.content) {
		line++
		column := 1
		for len(a.inserts) > 0 && a.inserts[0].line == line {
			for column < a.inserts[0].column && len(content) > 0 {
				_, size := utf8.DecodeRune(content)
				out.Write(content[:size])
				content = content[size:]
				column++
			}
			out.WriteString(a.inserts[0].piece)
			a.inserts = a.inserts[1:]
		}
		out.Write(content)
	}
	return out.Bytes()
}
