package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// document is one document of a file.
type document struct {
	text []byte
	base int        // lines of the file before it
	node *yaml.Node // set if it is JSON: already parsed
}

// marks counts what begins a value, each but two at the most: a comma, a bracket, a
// dash, a line. It is what a parser would have to do for a text, known before it
// does; what stands in words and strings is counted too.
func marks(text []byte) int {
	n := 0
	for i, c := range text {
		switch c {
		case ',', '[', '{', '\n':
			n++
		case '-':
			if i+1 < len(text) && isSpace(text[i+1]) {
				n++
			}
		}
	}
	return n
}

// documents splits a file into its documents. JSON objects that follow one
// another without a separator are documents of their own, as for kubectl.
func documents(data []byte) []document {
	var all []document
	for _, d := range separate(data) {
		objects := jsonStream(d)
		if objects == nil {
			objects = []document{d}
		}
		all = append(all, objects...)
	}
	return all
}

// separate splits at the lines that begin with ---. Such a line is a separator
// wherever it stands: YAML forbids it inside every kind of scalar, and in a
// block scalar of a mapping it is indented.
func separate(data []byte) []document {
	var all []document
	d := document{}
	start, line := 0, 0
	for at := 0; at < len(data); line++ {
		end := len(data)
		if i := bytes.IndexByte(data[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		if after, ok := bytes.CutPrefix(data[at:end], []byte("---")); ok && (len(after) == 0 || isSpace(after[0])) {
			d.text = data[start:at]
			all = append(all, d)
			// What stands behind the dashes belongs to the document that they begin.
			d, start = document{base: line}, at
			if blank(after) {
				d.base, start = line+1, end
			}
		}
		at = end
	}
	d.text = data[start:]
	// kubectl reads lines, and ends the last one if the file does not: a block scalar
	// that ends there holds a line break.
	if n := len(d.text); n > 0 && d.text[n-1] != '\n' {
		d.text = append(slices.Clone(d.text), '\n')
	}
	return append(all, d)
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// blank tells whether the rest of a line is empty or a comment.
func blank(rest []byte) bool {
	rest = bytes.TrimSpace(rest)
	return len(rest) == 0 || rest[0] == '#'
}

// jsonStream returns the JSON objects that a document consists of, or nil if it
// is anything else: YAML's own {…} then gets its chance.
func jsonStream(d document) []document {
	rest := bytes.TrimLeftFunc(d.text, unicode.IsSpace)
	if len(rest) == 0 || rest[0] != '{' {
		return nil
	}
	var all []document
	stream := json.NewDecoder(bytes.NewReader(d.text))
	at, line := 0, d.base
	for {
		var raw json.RawMessage
		if err := stream.Decode(&raw); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			return nil
		}
		start := int(stream.InputOffset()) - len(raw)
		line += bytes.Count(d.text[at:start], []byte("\n"))
		at = start
		p := jsonParser{text: raw, decoder: json.NewDecoder(bytes.NewReader(raw))}
		all = append(all, document{text: raw, base: line, node: p.value()})
	}
}

// jsonParser builds the nodes of JSON that is known to be valid. The YAML parser
// cannot do it: JSON writes what is beyond 16 bits as two escapes, for one.
type jsonParser struct {
	text    []byte
	decoder *json.Decoder
	at      int // how far lines and columns are counted
	lines   int
	columns int // of the last line
}

// token returns the next token, with its line and column from 1.
func (p *jsonParser) token() (token json.Token, line, column int) {
	token, _ = p.decoder.Token()
	start, end := p.at, int(p.decoder.InputOffset())
	for start < end && strings.IndexByte(" \t\r\n,:", p.text[start]) >= 0 {
		start++
	}
	p.advance(start)
	line, column = p.lines+1, p.columns+1
	p.advance(end)
	return token, line, column
}

// advance counts lines, and columns in the last one, as far as an offset.
func (p *jsonParser) advance(to int) {
	passed := p.text[p.at:to]
	if last := bytes.LastIndexByte(passed, '\n'); last >= 0 {
		p.lines += bytes.Count(passed, []byte("\n"))
		p.columns, passed = 0, passed[last+1:]
	}
	p.columns += utf8.RuneCount(passed)
	p.at = to
}

func (p *jsonParser) value() *yaml.Node {
	token, line, column := p.token()
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: line, Column: column}
	switch t := token.(type) {
	case json.Delim:
		n.Kind, n.Style = yaml.SequenceNode, yaml.FlowStyle
		if t == '{' {
			n.Kind = yaml.MappingNode
		}
		for p.decoder.More() {
			n.Content = append(n.Content, p.value())
		}
		p.token()
	case string:
		n.Value, n.Tag = t, "!!str"
	case nil:
		n.Tag = "!!null"
	}
	return n
}

// syntaxError is text that is no YAML.
type syntaxError struct {
	line    int // within the document, from 1
	problem string
}

// parse returns the node of a document, or nil if it is empty.
func parse(d document) (*yaml.Node, *syntaxError) {
	if d.node != nil {
		return d.node, nil
	}
	if len(bytes.TrimSpace(d.text)) == 0 {
		return nil, nil
	}
	lines := &lineReader{text: d.text}
	decoder := yaml.NewDecoder(lines)
	var n, more yaml.Node
	if err := decoder.Decode(&n); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, explain(lines, err)
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		// kubectl drops what follows without a word.
		return nil, &syntaxError{line: behind(d.text), problem: "text follows the end of a document: begin every document with a line ---"}
	}
	root := n.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil, nil
	}
	return root, nil
}

// behind is the line of what follows the end of a document.
func behind(text []byte) int {
	before, _, ok := bytes.Cut(text, []byte("\n..."))
	if !ok {
		return 1
	}
	return bytes.Count(before, []byte("\n")) + 3
}

// explain says where and why text does not parse.
func explain(lines *lineReader, err error) *syntaxError {
	line, bad := brokenLine(lines, err)
	problem := strings.TrimPrefix(err.Error(), "yaml: ")
	if after, ok := strings.CutPrefix(problem, "line "); ok {
		_, problem, _ = strings.Cut(after, ": ")
	}
	indent := bad[:len(bad)-len(bytes.TrimLeft(bad, " \t"))]
	switch {
	case bytes.ContainsRune(indent, '\t'):
		problem = "the line is indented with a tab, which YAML does not allow: use spaces"
	case strings.HasPrefix(problem, "unknown anchor"): // goes on with what the file holds
		problem = "does not parse as YAML: an alias names an anchor that the document does not define above it"
	default:
		problem = "does not parse as YAML: " + problem
	}
	return &syntaxError{line: line, problem: problem}
}

// brokenLine finds the line at which text stops to parse. The parser's own line
// is often that of the mapping around the mistake, or one less; but it reads no
// further than the mistake, so that whatever ends behind it fails alike. It was given
// one line at a time, and where it stopped is within a few lines of the mistake.
func brokenLine(lines *lineReader, err error) (int, []byte) {
	text, n := lines.text, len(lines.starts)
	var node yaml.Node
	for range nearest {
		if n <= 1 {
			break
		}
		// Does the text fail alike without line n?
		shorter := yaml.Unmarshal(text[:lines.starts[n-1]], &node)
		if shorter == nil || shorter.Error() != err.Error() {
			break
		}
		n--
	}
	line := text[lines.starts[n-1]:]
	if end := bytes.IndexByte(line, '\n'); end >= 0 {
		line = line[:end+1]
	}
	return n, line
}

// nearest is how many lines the parser may read beyond a mistake.
const nearest = 4

// lineReader reads a text, of each line as much as fits.
type lineReader struct {
	text   []byte
	at     int
	starts []int // of the lines that were read, or begun
}

func (r *lineReader) Read(p []byte) (int, error) {
	if r.at == 0 || r.text[r.at-1] == '\n' {
		r.starts = append(r.starts, r.at)
	}
	if r.at == len(r.text) {
		return 0, io.EOF
	}
	rest := r.text[r.at:]
	if end := bytes.IndexByte(rest, '\n'); end >= 0 {
		rest = rest[:end+1]
	}
	n := copy(p, rest)
	r.at += n
	return n, nil
}

// templateHint is said behind a mistake that a template explains.
func templateHint(text []byte) string {
	if !bytes.Contains(text, []byte("{{")) {
		return ""
	}
	return "; the {{ looks like a Helm or Go template: render it in an earlier step (`helm template --no-hooks`), and name the result"
}

// utf8Text returns what a file holds as UTF-8 without a byte order mark.
func utf8Text(data []byte) ([]byte, *syntaxError) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if utf8.Valid(data) {
		return data, nil
	}
	line := 1
	for rest := data; ; {
		r, size := utf8.DecodeRune(rest)
		if r == utf8.RuneError && size <= 1 {
			return nil, &syntaxError{line: line, problem: "is not UTF-8: save the file as UTF-8"}
		}
		if r == '\n' {
			line++
		}
		rest = rest[size:]
	}
}
