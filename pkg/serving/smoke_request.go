package serving

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/redact"
)

// requestKeys are the keys of a request.
var requestKeys = []string{"name", "path", "method", "form", "json", "body", "headers", "expect", "repeat"}

// methods are those that a request may use, and whether they send something.
var methods = map[string]bool{"GET": false, "HEAD": false, "POST": true, "PUT": true, "PATCH": true, "DELETE": false}

// request reads one request; what is wrong with it is noted.
func (f *smokeFile) request(n *yaml.Node) Request {
	r := Request{Line: n.Line, Repeat: 1, Header: http.Header{}}
	fields := f.fields(n, "a request", requestKeys...)
	if fields == nil {
		return r
	}
	f.target(&r, n, fields)
	f.content(&r, fields)
	f.method(&r, fields["method"])
	if headers := fields["headers"]; headers != nil {
		f.headers(&r, headers)
	}
	if expect := fields["expect"]; expect != nil {
		f.expect(&r, expect)
	}
	if repeat := fields["repeat"]; repeat != nil {
		r.Repeat = f.number(repeat, "repeat", 1, maxRepeat)
	}
	if r.Name == "" && r.Path != nil {
		r.Name = redact.Line(r.Method+" "+r.Path.RequestURI(), maxName)
	}
	return r
}

// target reads name and path.
func (f *smokeFile) target(r *Request, n *yaml.Node, fields map[string]*yaml.Node) {
	if name := fields["name"]; name != nil {
		text, ok := f.text(name, "name")
		switch {
		case !ok:
		case utf8.RuneCountInString(text) > maxName || strings.ContainsFunc(text, unicode.IsControl) || strings.TrimSpace(text) == "":
			f.mistake(name.Line, "name %s is not one line of 1 to %d characters: write another one", short(text), maxName)
		default:
			r.Name = strings.TrimSpace(text)
		}
	}
	at := fields["path"]
	if at == nil {
		f.mistake(n.Line, "the request has no path: write where to ask, e.g. path: /predict")
		return
	}
	text, ok := f.text(at, "path")
	if !ok {
		return
	}
	var err error
	if r.Path, err = ParsePath(text); err != nil {
		f.mistake(at.Line, "path %s: %v", short(text), err)
	}
}

// ParsePath reads a path on a model's own host, with its query. Whatever could
// lead to another host, or out of the Service behind a proxy, is refused.
func ParsePath(text string) (*url.URL, error) {
	switch {
	case !strings.HasPrefix(text, "/"):
		return nil, fmt.Errorf("not a path; begin it with /, e.g. /readyz")
	case strings.HasPrefix(text, "//"):
		return nil, fmt.Errorf("names another host; begin the path with a single /")
	case len(text) > maxPath:
		return nil, fmt.Errorf("longer than %d bytes; write a shorter path", maxPath)
	case strings.ContainsFunc(text, func(r rune) bool {
		return r == '\\' || r == utf8.RuneError || unicode.IsControl(r) || unicode.IsSpace(r) || unicode.Is(unicode.Cf, r)
	}):
		return nil, fmt.Errorf("holds a space, a backslash or a control character; write it as in a URL, with %%20 for a space")
	case strings.Contains(text, "#"):
		return nil, fmt.Errorf("holds a #, which no server gets; leave out what is behind it")
	}
	u, err := url.Parse(text)
	if err != nil || u.Host != "" || u.Scheme != "" || u.User != nil {
		return nil, fmt.Errorf("not a path as URLs have it; write %%25 for %%, and escape what is not a letter or a digit")
	}
	for _, part := range strings.Split(u.Path, "/") {
		if part == ".." || part == "." {
			return nil, fmt.Errorf("leads upwards with %q; write the path out", part)
		}
	}
	if strings.ContainsFunc(u.Path, unicode.IsControl) {
		return nil, fmt.Errorf("holds an escaped control character; leave it out")
	}
	return u, nil
}

// method reads the method, which has to fit what is sent.
func (f *smokeFile) method(r *Request, n *yaml.Node) {
	r.Method = http.MethodGet
	if r.Body != nil {
		r.Method = http.MethodPost
	}
	if n == nil {
		return
	}
	text, ok := f.text(n, "method")
	if !ok {
		return
	}
	sends, known := methods[text]
	switch {
	case !known:
		f.mistake(n.Line, "method %s is not known: use GET, HEAD, POST, PUT, PATCH or DELETE", short(text))
	case r.Body != nil && !sends:
		f.mistake(n.Line, "method %s sends nothing: use POST, or leave form, json and body out", text)
	default:
		r.Method = text
	}
}

// forbidden are headers that a file may not set: they are HTTP's own, or say to
// whom a request goes and as whom. The API server, which passes requests on,
// would take some of them for its own.
var forbidden = []string{
	"Host", "Authorization", "Connection", "Content-Length", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Expect", "Keep-Alive", "Accept-Encoding",
	"Forwarded", "Cookie", "Audit-Id", "Kubectl-Command",
}

// forbiddenPrefixes are the beginnings of more of them.
var forbiddenPrefixes = []string{"Proxy-", "Impersonate-", "X-Remote-", "X-Forwarded-", "Sec-", "X-Kubernetes-"}

// headers reads the headers.
func (f *smokeFile) headers(r *Request, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		f.mistake(n.Line, "headers is %s, and not a map: write a value behind each name, e.g. headers: {X-Model-Version: 7}", kindOf(n))
		return
	}
	if len(n.Content)/2 > maxHeaders {
		f.mistake(n.Line, "headers holds %d, and %d are the most: leave some out", len(n.Content)/2, maxHeaders)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := http.CanonicalHeaderKey(key.Value)
		text, ok := f.text(value, "header "+short(key.Value))
		switch {
		case !ok:
		case !isToken(key.Value):
			f.mistake(key.Line, "header %s is not a name: use letters, digits and -", short(key.Value))
		case slices.Contains(forbidden, name) || slices.ContainsFunc(forbiddenPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }):
			f.mistake(key.Line, "header %q is not sent: it would say to whom the request goes, or as whom; leave it out", name)
		case seen[name]:
			f.mistake(key.Line, "header %s is there twice: remove one of them", short(name))
		case len(text) > maxHeader || strings.ContainsFunc(text, func(r rune) bool { return r != '\t' && unicode.IsControl(r) || r == utf8.RuneError }):
			f.mistake(value.Line, "header %q has a value with a line break or a control character, or of more than %d bytes: write it on one line", name, maxHeader)
		default:
			seen[name] = true
			r.Header.Set(name, text)
		}
	}
}

// isToken reports whether a text is a header's name, RFC 9110 §5.6.2.
func isToken(s string) bool {
	return s != "" && len(s) <= 100 && !strings.ContainsFunc(s, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// expect reads what a right answer is.
func (f *smokeFile) expect(r *Request, n *yaml.Node) {
	fields := f.fields(n, "expect", "status", "that", "within")
	if status := fields["status"]; status != nil {
		r.Expect.Status = f.number(status, "status", 200, 599)
	}
	if that := fields["that"]; that != nil {
		f.conditions(r, that)
	}
	within := fields["within"]
	if within == nil {
		return
	}
	text, ok := f.text(within, "within")
	if !ok {
		return
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > maxWithin {
		f.mistake(within.Line, "within %s is not a duration up to %s: use a number with a unit, e.g. 2s or 500ms", short(text), strings.TrimSuffix(maxWithin.String(), "0s"))
		return
	}
	r.Expect.Within = d
}

// conditions reads one condition, or a list of them.
func (f *smokeFile) conditions(r *Request, n *yaml.Node) {
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	if len(list) > maxConditions {
		f.mistake(n.Line, "that holds %d conditions, and %d are the most: leave some out", len(list), maxConditions)
		return
	}
	for _, item := range list {
		if item.Kind == yaml.MappingNode { // {.x} == y without quotes begins as a map
			f.mistake(item.Line, `a condition of that is a map, and not a text: put it in quotes, e.g. "{.prediction} == Earth"`)
			continue
		}
		text, ok := f.text(item, "a condition of that")
		if !ok {
			continue
		}
		e, err := object.ParseExpression(text)
		if err != nil {
			f.mistake(item.Line, "condition %s: %s", short(text), line(err.Error()))
			continue
		}
		r.Expect.That = append(r.Expect.That, e)
	}
}

// text is a value that is a text, or reads as one.
func (f *smokeFile) text(n *yaml.Node, what string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" || n.ShortTag() == "!!binary" {
		f.mistake(n.Line, "%s is %s, and not a text: write one, in quotes where YAML reads something else", what, kindOf(n))
		return "", false
	}
	return n.Value, true
}

// number is a whole number between two.
func (f *smokeFile) number(n *yaml.Node, what string, least, most int) int {
	number, err := strconv.Atoi(n.Value)
	switch {
	case n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null":
		f.mistake(n.Line, "%s is %s, and not a whole number from %d to %d: write one, e.g. %s: %d", what, kindOf(n), least, most, what, least)
	case err != nil || number < least || number > most:
		f.mistake(n.Line, "%s %s is not a whole number from %d to %d: write one, e.g. %s: %d", what, short(n.Value), least, most, what, least)
	default:
		return number
	}
	return least
}

// kindOf says what a value is that should be something else.
func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind != yaml.ScalarNode && len(n.Content) == 0:
		return "empty"
	case n.Kind == yaml.MappingNode:
		return "a map"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.ShortTag() == "!!null":
		return "empty"
	case n.ShortTag() == "!!binary":
		return "of the tag !!binary"
	}
	return "a single value"
}
