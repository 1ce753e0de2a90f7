package object

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"k8s.io/client-go/util/jsonpath"
)

// expressionLimit bounds an expression, in bytes; shownLimit what is repeated of
// a value that was found, in runes.
const (
	expressionLimit = 1024
	shownLimit      = 80
)

// Expression is a condition on a JSON value: a JSONPath as `kubectl wait` takes
// it, and what has to be there, such as "{.status.phase} == Running". Without a
// comparison something has to be there at all. The zero value is no condition.
type Expression struct {
	text string
	path string // as JSONPath, in braces
	op   string // "" for a path alone
	want string
}

// ParseExpression reads an expression. The value may be quoted; `>=`, `<=`, `>` and
// `<` compare numbers. An error says what is wrong and what to do, and leaves it to
// the caller to name the expression.
func ParseExpression(text string) (Expression, error) {
	text = strings.TrimSpace(text)
	if len(text) > expressionLimit {
		return Expression{}, fmt.Errorf("longer than %d bytes; write a shorter one", expressionLimit)
	}
	if err := likeKubectl(text); err != nil {
		return Expression{}, err
	}
	path, rest := splitPath(text)
	op, want, err := splitComparison(rest)
	if err != nil {
		return Expression{}, err
	}
	switch {
	case path == "" || strings.Trim(path, "{}. ") == "" && strings.HasSuffix(path, "}"):
		return Expression{}, errors.New("begins with no path; write {.PATH} == VALUE, such as {.status.phase} == Running")
	case op != "" && want == "":
		return Expression{}, fmt.Errorf(`compares with nothing; write the value behind %s, and "" for an empty one`, op)
	case strings.Contains("<= >=", op) && op != "":
		if _, err := strconv.ParseFloat(unquote(want), 64); err != nil {
			return Expression{}, fmt.Errorf("%s compares numbers, and %q is none; write a number, or compare by == or !=", op, want)
		}
	}
	if strings.HasPrefix(path, "{") && !strings.HasSuffix(path, "}") {
		return Expression{}, errors.New("a brace or a quote of its path is not closed; close it, such as {.status.phase} == Running")
	}
	if word := loose.FindString(brackets.ReplaceAllString(path, "")); word != "" {
		return Expression{}, fmt.Errorf("its path holds %q, which JSONPath has within [ ] only; write one path, such as {.status.conditions[0].status}", word)
	}
	if strings.Count(path, "..")+strings.Count(path, ",") > 1 {
		// Each multiplies what is walked through, whatever the object's size.
		return Expression{}, errors.New("its path holds more than one .. or comma; write one path to one value")
	}
	e := Expression{text: text, path: braced(path), op: op, want: unquote(want)}
	if _, _, err := e.evaluate(map[string]any{}); err != nil {
		return Expression{}, fmt.Errorf("its path is no JSONPath: %w; correct it, such as {.status.conditions[0].status}", err)
	}
	return e, nil
}

var (
	// brackets are filters and keys, within which a path may hold anything.
	brackets = regexp.MustCompile(`\[(?:"[^"]*"|'[^']*'|[^\]"'])*\]`)
	// loose is what has no meaning outside of them: kubectl's templates, and calls.
	loose = regexp.MustCompile(`\w+\(\)?|\w+\s+[^\s}]`)
)

// likeKubectl says how an argument of `kubectl wait --for` is written here.
func likeKubectl(text string) error {
	kind, rest, _ := strings.Cut(text, "=")
	switch path, value, compares := strings.Cut(rest, "="); kind {
	case "jsonpath":
		path = strings.Trim(path, `'"`)
		if value = strings.Trim(value, `'"`); compares && value != "" {
			path += " == " + value
		}
		return fmt.Errorf("begins with jsonpath=, which only kubectl wait takes; write %s", path)
	case "condition":
		if !compares {
			value = "True"
		}
		return fmt.Errorf(`begins with condition=, which only kubectl wait takes; write {.status.conditions[?(@.type=="%s")].status} == %s`, path, value)
	}
	return nil
}

// String is the expression as it was written.
func (e Expression) String() string { return e.text }

// IsZero reports whether it is no condition.
func (e Expression) IsZero() bool { return e.text == "" }

// Holds reports whether the condition is met by a JSON value as encoding/json or
// the API machinery decodes it, and what was found, for people: "" for nothing.
// Where a path finds several values, each has to meet it; where it finds none,
// none does, also not with !=.
func (e Expression) Holds(data any) (holds bool, found string) {
	path, results, err := e.evaluate(data)
	if err != nil {
		return false, ""
	}
	holds = true
	var all []string
	for _, list := range results {
		for _, value := range list {
			text, ok := valueText(path, value)
			if !ok {
				continue
			}
			all = append(all, text)
			holds = holds && e.meets(text)
		}
	}
	found = strings.Join(all, " ")
	if runes := []rune(found); len(runes) > shownLimit {
		found = string(runes[:shownLimit]) + "…"
	}
	return holds && len(all) > 0, found
}

// evaluate finds what the path leads to. A path that cannot be parsed is an error,
// and nothing is found by one that does not fit the data.
func (e Expression) evaluate(data any) (path *jsonpath.JSONPath, results [][]reflect.Value, err error) {
	path = jsonpath.New("").AllowMissingKeys(true) // it keeps state, so each evaluation has its own
	if err := path.Parse(e.path); err != nil {
		return nil, nil, err
	}
	results, err = path.FindResults(data)
	if err != nil {
		return path, nil, nil //nolint:nilerr // it says of which type the data is not
	}
	return path, results, nil
}

// meets compares one value.
func (e Expression) meets(got string) bool {
	switch e.op {
	case "":
		return true
	case "==":
		return got == e.want
	case "!=":
		return got != e.want
	}
	a, errA := strconv.ParseFloat(got, 64)
	b, errB := strconv.ParseFloat(e.want, 64)
	if errA != nil || errB != nil {
		return false
	}
	switch e.op {
	case ">=":
		return a >= b
	case "<=":
		return a <= b
	case ">":
		return a > b
	}
	return a < b
}

// valueText is what a path found as kubectl prints it; nothing for null.
func valueText(path *jsonpath.JSONPath, value reflect.Value) (string, bool) {
	if !value.IsValid() || value.Kind() == reflect.Interface && value.IsNil() {
		return "", false
	}
	if value.Kind() == reflect.Interface {
		value = value.Elem()
	}
	if value.Kind() == reflect.Float64 { // 1e+06 is no way to write what a model answers
		return strconv.FormatFloat(value.Float(), 'f', -1, 64), true
	}
	var out bytes.Buffer
	if path.PrintResults(&out, []reflect.Value{value}) != nil {
		return "", false
	}
	return out.String(), true
}

// splitPath takes the path off the beginning. A path in braces ends with its
// brace, another one with the comparison.
func splitPath(text string) (path, rest string) {
	depth, quote := 0, rune(0)
	for i, r := range text {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case depth > 0 && (r == '"' || r == '\''):
			quote = r
		case r == '{' || r == '[' || r == '(':
			depth++
		case r == '}' || r == ']' || r == ')':
			depth--
			if depth == 0 && r == '}' {
				return text[:i+1], text[i+1:]
			}
		case depth == 0 && strings.ContainsRune("=!<> ", r):
			return text[:i], text[i:]
		}
	}
	return text, ""
}

// comparison is an operator and what it compares with.
var comparison = regexp.MustCompile(`^(==|!=|>=|<=|>|<)\s*((?s).*)$`)

func splitComparison(rest string) (op, want string, err error) {
	rest = strings.TrimSpace(rest)
	if rest == "" {
		return "", "", nil
	}
	parts := comparison.FindStringSubmatch(rest)
	switch {
	case parts != nil && !strings.HasPrefix(parts[2], "="):
		return parts[1], parts[2], nil
	case strings.HasPrefix(rest, "=") && !strings.HasPrefix(rest, "=="):
		return "", "", errors.New("compares by =; write == for a comparison")
	}
	return "", "", fmt.Errorf("%q behind its path is no comparison; write one of ==, !=, >=, <=, > and <, and a value", rest)
}

// braced is a path as JSONPath wants it; like kubectl it takes .x and x as well.
func braced(path string) string {
	if strings.HasPrefix(path, "{") {
		inside := strings.TrimSpace(path[1 : len(path)-1])
		if inside != "" && !strings.ContainsAny(inside[:1], ".[$@") {
			inside = "." + inside
		}
		return "{" + inside + "}"
	}
	if !strings.ContainsAny(path[:1], ".[$") {
		path = "." + path
	}
	return "{" + path + "}"
}

// unquote takes one pair of quotes off a value.
func unquote(value string) string {
	if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		return value[1 : n-1]
	}
	return value
}
