package credentials

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Bounds of a credentials file. A service account key has 2.4 KiB and eleven
// fields; a federation file is smaller, and three objects deep.
const (
	maxSize   = 64 << 10
	maxDepth  = 3
	maxFields = 64
)

// object is a JSON object whose field names were unambiguous.
type object map[string]any

// text returns a field that must be a string; ok is false if it is anything else.
func (o object) text(name string) (value string, ok bool) {
	v, there := o[name]
	if !there {
		return "", true
	}
	value, ok = v.(string)
	return value, ok
}

// object returns a field that must be an object; ok is false if it is anything else.
func (o object) object(name string) (value object, ok bool) {
	v, there := o[name]
	if !there {
		return nil, true
	}
	value, ok = v.(object)
	return value, ok
}

// parse reads a credential of either kind that is accepted.
func (f *finder) parse(input string, data []byte) (*identity, error) {
	doc, problem := decode(data)
	if problem != "" {
		return nil, invalid(input, problem)
	}
	var found *identity
	switch kind, _ := doc.text("type"); {
	case kind == "service_account":
		found, problem = f.key(doc)
	case kind == "external_account":
		found, problem = f.external(doc)
	case kind == "authorized_user" && f.People:
		found, problem = f.person(doc)
	default:
		problem = unknownType(doc, kind)
	}
	if problem != "" {
		return nil, invalid(input, problem)
	}
	return found, nil
}

// unknownType says what a file is that is neither of the two accepted kinds.
func unknownType(doc object, kind string) string {
	const want = "use a service account key, or workload_identity_provider"
	_, installed := doc["installed"]
	_, web := doc["web"]
	switch {
	case installed || web:
		return "holds the OAuth client of an application, which is no identity: " + want
	case kind == "authorized_user":
		return "holds the login of a person (type authorized_user), which does not belong in a workflow: " + want
	case kind == "impersonated_service_account":
		return "has the type impersonated_service_account, which is not accepted: give the key or the provider itself, and name the account in service_account"
	case kind == "external_account_authorized_user" || kind == "gdch_service_account":
		return "has the type " + kind + ", which is not accepted: " + want
	case doc["type"] == nil:
		return `has no field "type": it must be "service_account" or "external_account", as in the file that Google gave out; ` + want
	}
	return `has a "type" that is neither "service_account" nor "external_account": ` + want
}

// decode reads one JSON object, or says what the text is instead.
func decode(data []byte) (object, string) {
	if len(data) > maxSize {
		return nil, fmt.Sprintf("has more than %d KiB, and a credential has 3: give the credential alone", maxSize>>10)
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(data) {
		return nil, "is not UTF-8 text (PowerShell's `>` writes UTF-16, for one): save it as UTF-8"
	}
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return nil, "is empty: give it the credential, or leave it away"
	}
	if plain := unpacked(string(data)); plain != nil {
		data = plain
	}
	if data[0] != '{' {
		return nil, mistaken(string(data))
	}
	var doc any
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, malformed(data, err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if _, err := d.Token(); err != nil && !errors.Is(err, io.EOF) {
		return nil, malformed(data, err)
	}
	return fields(d, 1)
}

// fields reads the fields of an object that the decoder is inside of. A field
// that is there twice, also in another case, is refused: readers disagree on
// which one counts, and what is checked must be what is used.
func fields(d *json.Decoder, depth int) (object, string) {
	if depth > maxDepth {
		return nil, "has objects within objects, deeper than any credential: give the credential alone, as Google gave it out"
	}
	o := object{}
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return nil, "is not JSON: give the file as Google gave it out"
		}
		for other := range o {
			if strings.EqualFold(other, name) {
				return nil, "names one field twice, so that it is unclear which one counts: give the file as Google gave it out"
			}
		}
		if len(o) >= maxFields {
			return nil, fmt.Sprintf("has more than %d fields in one object: give the credential alone, as Google gave it out", maxFields)
		}
		value, problem := value(d, depth)
		if problem != "" {
			return nil, problem
		}
		o[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, "is not JSON: give the file as Google gave it out"
	}
	return o, ""
}

func value(d *json.Decoder, depth int) (any, string) {
	token, err := d.Token()
	if err != nil {
		return nil, "is not JSON: give the file as Google gave it out"
	}
	switch token {
	case json.Delim('{'):
		return fieldsOf(d, depth+1)
	case json.Delim('['):
		return nil, "holds a list, which no credential does: give the credential alone, as Google gave it out"
	}
	return token, ""
}

// fieldsOf keeps a nil object from becoming a value that is not nil.
func fieldsOf(d *json.Decoder, depth int) (any, string) {
	o, problem := fields(d, depth)
	if problem != "" {
		return nil, problem
	}
	return o, ""
}

// mistaken says what text is that does not begin as a JSON object.
func mistaken(text string) string {
	switch {
	case strings.Trim(text, "*") == "":
		return "is a row of asterisks, copied from where the secret was hidden: give the secret itself"
	case strings.HasPrefix(text, "$") || strings.HasPrefix(text, "%"):
		return "is the name of a variable, which nothing has replaced with its value: write ${{ secrets.NAME }}, without quotes"
	case strings.HasPrefix(text, "-----BEGIN"):
		return "is a private key without the JSON around it: give the whole file that Google gave out"
	case text[0] == '"' || text[0] == '\'':
		return "is in quotes: give the JSON without quotes around it and without backslashes"
	case text[0] == '[':
		return "is a list: give one credential, which begins with {"
	case !strings.ContainsAny(text, " \n") && (strings.HasSuffix(text, ".json") || strings.ContainsAny(text[:1], "/~.")):
		return "is the name of a file: give what the file holds, or set GOOGLE_APPLICATION_CREDENTIALS to its path"
	case strings.HasPrefix(text, "ya29."):
		return "is an access token, which ends within the hour: give a service account key, or set workload_identity_provider"
	}
	return "is not JSON: give the file as Google gave it out, beginning with {"
}

// unpacked is the object in a text of base64, in which Google's own actions and
// GitHub's starter workflow asked for keys: a secret cannot be read back and
// decoded. nil if the text is none.
func unpacked(text string) []byte {
	packed := strings.TrimRight(strings.Join(strings.Fields(text), ""), "=")
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if plain, err := e.DecodeString(packed); err == nil && bytes.HasPrefix(bytes.TrimSpace(plain), []byte("{")) && utf8.Valid(plain) {
			return bytes.TrimSpace(plain)
		}
	}
	return nil
}

// malformed says where JSON is broken. The decoder's own words hold characters
// of the text, so they are not passed on.
func malformed(data []byte, err error) string {
	rest := bytes.TrimLeft(data[1:], " \t\r\n")
	if bytes.HasPrefix(rest, []byte(`\n`)) || bytes.HasPrefix(rest, []byte(`\"`)) || bytes.HasPrefix(rest, []byte(`\r`)) {
		return `has a backslash before each quote or line break: it was escaped once too often; give the file as Google gave it out`
	}
	if bytes.HasPrefix(rest, []byte("'")) {
		return "is not JSON: names and values are in single quotes, and JSON has double ones; give the file as Google gave it out"
	}
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return "is not JSON: give the file as Google gave it out"
	}
	before := data[:min(int(syntax.Offset), len(data))]
	line := bytes.Count(before, []byte("\n")) + 1
	if strings.Contains(syntax.Error(), "in string literal") && bytes.HasSuffix(before, []byte("\n")) {
		return fmt.Sprintf(`is not JSON: line %d ends inside a value, where JSON writes a line break as \n; give the file as Google gave it out`, line-1)
	}
	if syntax.Error() == "unexpected end of JSON input" {
		return "is not JSON: it ends too early; give the whole file"
	}
	column := len(before) - bytes.LastIndexByte(before[:max(0, len(before)-1)], '\n') - 1
	return fmt.Sprintf("is not JSON: line %d, column %d is where it breaks; give the file as Google gave it out", line, column)
}
