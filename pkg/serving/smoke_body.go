package serving

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"
)

const contentType = "Content-Type"

// content reads what is sent: form, json or body.
func (f *smokeFile) content(r *Request, fields map[string]*yaml.Node) {
	form, asJSON, body := fields["form"], fields["json"], fields["body"]
	given := 0
	for _, n := range []*yaml.Node{form, asJSON, body} {
		if n != nil {
			given++
		}
	}
	if given > 1 {
		f.mistake(r.Line, "the request has more than one of form, json and body: keep one")
		return
	}
	switch {
	case form != nil:
		f.form(r, form)
	case asJSON != nil:
		f.json(r, asJSON)
	case body != nil:
		text, ok := f.text(body, "body")
		if !ok {
			return
		}
		name, data, ok := f.value(body.Line, text)
		if !ok {
			return
		}
		r.Body = append([]byte{}, data...)
		r.Header.Set(contentType, mediaType(name, data))
	}
}

// value is a text itself, or what the file holds that "@file" names; "@@" begins
// a text with an @.
func (f *smokeFile) value(line int, text string) (name string, data []byte, ok bool) {
	after, isFile := strings.CutPrefix(text, "@")
	if !isFile || strings.HasPrefix(after, "@") {
		return "", []byte(strings.TrimPrefix(text, "@")), true
	}
	if after == "" {
		f.mistake(line, `"@" names no file: write "@samples/earth.jpg", or "@@" for a text that begins with @`)
		return "", nil, false
	}
	mistakes := len(f.errs)
	data = f.attached(line, after)
	return after, data, len(f.errs) == mistakes
}

// json writes a YAML value as JSON.
func (f *smokeFile) json(r *Request, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && strings.HasPrefix(n.Value, "@") {
		f.mistake(n.Line, `json is a text that begins with @: write body: %s for a file`, short(n.Value))
		return
	}
	value, problem := jsonValue(n)
	if problem != "" {
		f.mistake(n.Line, "json %s", problem)
		return
	}
	data, err := json.Marshal(value)
	if err != nil {
		f.mistake(n.Line, "json holds a value that JSON has no form for, such as .inf or .nan: leave it out")
		return
	}
	r.Body = data
	r.Header.Set(contentType, "application/json")
}

// jsonValue is a YAML value as JSON has it. A date is a text, as it is written.
func jsonValue(n *yaml.Node) (value any, problem string) {
	switch n.Kind {
	case yaml.MappingNode:
		all := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if _, twice := all[key.Value]; twice || key.Kind != yaml.ScalarNode {
				return nil, fmt.Sprintf("has the key %s on line %d twice, or a key that is no text: correct it", short(key.Value), key.Line)
			}
			if all[key.Value], problem = jsonValue(n.Content[i+1]); problem != "" {
				return nil, problem
			}
		}
		return all, ""
	case yaml.SequenceNode:
		all := make([]any, len(n.Content))
		for i, item := range n.Content {
			if all[i], problem = jsonValue(item); problem != "" {
				return nil, problem
			}
		}
		return all, ""
	}
	switch n.ShortTag() {
	case "!!int", "!!float", "!!bool", "!!null":
		if json.Valid([]byte(n.Value)) {
			return json.RawMessage(n.Value), "" // with all its digits
		}
		if n.Decode(&value) != nil {
			return nil, fmt.Sprintf("has a value on line %d that its tag does not fit: correct it", n.Line)
		}
		return value, ""
	case "!!binary":
		return nil, fmt.Sprintf("has a value on line %d of the tag !!binary: use form or body for bytes", n.Line)
	}
	return n.Value, ""
}

// form writes a form as browsers and Python's requests do, its fields in the
// file's order. A field may have several values.
func (f *smokeFile) form(r *Request, n *yaml.Node) {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		f.mistake(n.Line, `form is %s, and not a map with fields: write them, e.g. form: {image: "@samples/earth.jpg"}`, kindOf(n))
		return
	}
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	// As the same file gives the same request.
	_ = w.SetBoundary("deploy-model-action-7d8c1f2e5b6a4930")
	fields := 0
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, values := n.Content[i], []*yaml.Node{n.Content[i+1]}
		if values[0].Kind == yaml.SequenceNode {
			values = values[0].Content
		}
		if key.Kind != yaml.ScalarNode || strings.ContainsAny(key.Value, "\r\n\x00") {
			f.mistake(key.Line, "a field of the form has no text for a name: write one on one line")
			continue
		}
		for _, value := range values {
			if fields++; fields > maxFields {
				f.mistake(n.Line, "form holds more than %d values: leave some out", maxFields)
				return
			}
			f.field(w, key.Value, value)
		}
	}
	_ = w.Close() // into memory
	r.Body = body.Bytes()
	r.Header.Set(contentType, w.FormDataContentType())
}

// field writes one value of a form; a file with its name and what it is.
func (f *smokeFile) field(w *multipart.Writer, key string, n *yaml.Node) {
	text, ok := f.text(n, "field "+short(key)+" of the form")
	if !ok {
		return
	}
	name, data, ok := f.value(n.Line, text)
	if !ok {
		return
	}
	header := textproto.MIMEHeader{}
	disposition := fmt.Sprintf(`form-data; name="%s"`, escapeQuotes(key))
	if name != "" {
		disposition += fmt.Sprintf(`; filename="%s"`, escapeQuotes(path.Base(name)))
		header.Set(contentType, mediaType(name, data))
	}
	header.Set("Content-Disposition", disposition)
	part, err := w.CreatePart(header)
	if err == nil {
		_, _ = part.Write(data)
	}
}

// escapeQuotes is a name within quotes, as browsers write it.
func escapeQuotes(s string) string {
	return strings.NewReplacer(`"`, "%22", "\r", "%0D", "\n", "%0A").Replace(s)
}

// mediaType is what a file holds, by its name and else by its first bytes; the
// machine's own tables would differ from runner to runner.
func mediaType(name string, data []byte) string {
	switch strings.ToLower(path.Ext(name)) {
	case ".json":
		return "application/json"
	case ".csv":
		return "text/csv"
	case ".npy", ".npz", ".pt", ".parquet":
		return "application/octet-stream"
	}
	if name == "" && json.Valid(data) && bytes.ContainsAny(data[:1], "{[") {
		return "application/json"
	}
	return http.DetectContentType(data)
}
