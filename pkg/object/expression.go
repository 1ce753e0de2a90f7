package object

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"k8s.io/client-go/util/jsonpath"
)

// expressionLimit bounds the text of an expression, in bytes.
const expressionLimit = 1000

// Expression is a condition on a value of a document, as `kubectl wait` has it:
// a JSONPath in braces, and what is to be there, e.g. `{.status.phase} == Running`
// or `{.scores[2]} >= 0.9`. A path alone wants that anything is there. It may be
// used concurrently. The zero value holds for nothing.
type Expression struct {
	text     string
	path     *jsonpath.JSONPath
	operator string // "": anything
	want     string
}

// String is the expression as it was written.
func (e Expression) String() string { return e.text }

// operators are those of an expression; of two that begin alike the longer one is first.
var operators = []string{"==", "!=", ">=", "<=", ">", "<"}

// ParseExpression reads an expression. The error says what is wrong with it, and
// ends with what to do.
//
// A path leads to one value: "..", unions and ranges are refused, which select
// many, and could select more than a machine has memory for.
func ParseExpression(text string) (Expression, error) {
	text = strings.TrimSpace(text)
	if len(text) > expressionLimit {
		return Expression{}, fmt.Errorf("longer than %d bytes: write a shorter path", expressionLimit)
	}
	path, rest, err := cutPath(text)
	if err != nil {
		return Expression{}, err
	}
	e := Expression{text: text, path: jsonpath.New("condition").AllowMissingKeys(true)}
	if err := checkPath(path); err != nil {
		return Expression{}, err
	}
	if err := e.path.Parse(path); err != nil {
		return Expression{}, fmt.Errorf("path %q: %w", path, err)
	}
	rest = strings.TrimSpace(rest)
	if rest == "" {
		return e, nil
	}
	for _, operator := range operators {
		if after, ok := strings.CutPrefix(rest, operator); ok {
			e.operator = operator
			e.want = strings.TrimSpace(after)
			return e, e.check()
		}
	}
	return Expression{}, fmt.Errorf("after the path stands %q: compare with one of ==, !=, >=, <=, > and <", rest)
}

// cutPath cuts the path in braces off.
func cutPath(text string) (path, rest string, err error) {
	if !strings.HasPrefix(text, "{") {
		return "", "", errors.New("no path in braces: write it as {.status.phase} == Running")
	}
	var quote byte
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case quote != 0:
			if c == '\\' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '}':
			if i == 1 || !strings.ContainsRune(".[$@", rune(text[1])) {
				return "", "", fmt.Errorf("%q is not a path: begin it with a dot, e.g. {.status.phase}", text[:i+1])
			}
			return text[:i+1], text[i+1:], nil
		}
	}
	return "", "", errors.New(`the path does not end: close it with "}"`)
}

// checkPath refuses what is no path, and what selects many values.
func checkPath(path string) error {
	parsed, err := jsonpath.Parse("condition", path)
	if err != nil {
		return fmt.Errorf("%q is not a JSONPath (%v): correct it, e.g. {.status.phase}", path, err) //nolint:errorlint // nobody asks for its type
	}
	if len(parsed.Root.Nodes) != 1 || parsed.Root.Nodes[0].Type() != jsonpath.NodeList {
		return fmt.Errorf("%q is more than one path: correct its quotes and braces", path)
	}
	return checkNodes(parsed.Root)
}

func checkNodes(list *jsonpath.ListNode) error {
	for _, n := range list.Nodes {
		var err error
		switch n := n.(type) {
		case *jsonpath.RecursiveNode, *jsonpath.UnionNode:
			return errors.New(`the path selects several values: write out the way to one, without ".." and ","`)
		case *jsonpath.IdentifierNode:
			return fmt.Errorf("the word %q in the path: write a field with a dot before it, and a text in quotes", n.Name)
		case *jsonpath.ListNode:
			err = checkNodes(n)
		case *jsonpath.FilterNode:
			err = errors.Join(checkNodes(n.Left), checkNodes(n.Right))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// check takes the quotes off what is wanted, and finds what cannot be compared.
func (e *Expression) check() error {
	if e.want == "" {
		return fmt.Errorf(`nothing stands after %q: write what to compare with, "" for an empty text`, e.operator)
	}
	if strings.HasPrefix(e.want, "=") {
		return fmt.Errorf("%q is no comparison: use one of ==, !=, >=, <=, > and <", e.operator+"=")
	}
	unquoted := e.want
	if n := len(e.want); n >= 2 && (e.want[0] == '"' || e.want[0] == '\'') && e.want[n-1] == e.want[0] {
		unquoted = e.want[1 : n-1]
	}
	if _, ok := number(e.want); !ok && e.operator != "==" && e.operator != "!=" {
		return fmt.Errorf("%q is not a number, which %s compares: write one, or compare with == or !=", e.want, e.operator)
	}
	e.want = unquoted
	return nil
}

// Evaluate reports whether the condition holds for a document, as JSON decodes
// it, and what stands at the path, in a few words. Where nothing stands no
// condition holds, also not !=. The error says that the path does not fit the
// document: it leads to several values, or to a map or list.
func (e Expression) Evaluate(document any) (holds bool, got string, err error) {
	if e.path == nil {
		return false, "", errors.New("no condition")
	}
	results, err := e.path.FindResults(document)
	if err != nil {
		return false, "", fmt.Errorf("%s: %w", e.text, err)
	}
	var found []reflect.Value
	for _, list := range results {
		found = append(found, list...)
	}
	if len(found) == 0 {
		return false, "nothing", nil
	}
	if e.operator == "" {
		return true, "something", nil
	}
	if len(found) > 1 {
		return false, "", fmt.Errorf("%s: the path leads to %d values: write the way to one", e.text, len(found))
	}
	var value any
	if found[0].IsValid() && found[0].CanInterface() {
		value = found[0].Interface()
	}
	switch value.(type) {
	case map[string]any:
		return false, "", fmt.Errorf("%s: the path leads to a map: write the way to one of its values", e.text)
	case []any:
		return false, "", fmt.Errorf("%s: the path leads to a list: write the way to one of its values, e.g. with [0]", e.text)
	}
	return e.compare(value), shown(value), nil
}

// compare compares as numbers what both are numbers, else as texts. Order is for numbers only.
func (e Expression) compare(value any) bool {
	got := shown(value)
	a, isNumber := number(got)
	b, wantsNumber := number(e.want)
	order := a - b
	if isNumber && wantsNumber && got == e.want {
		order = 0 // beyond what a float tells apart, the digits count
	}
	switch {
	case e.operator == "==" || e.operator == "!=":
		equal := got == e.want
		if _, isText := value.(string); isNumber && wantsNumber && !isText {
			equal = equal || order == 0 && !bothWhole(got, e.want)
		}
		if _, isFlag := value.(bool); isFlag {
			equal = strings.EqualFold(got, e.want) // Python writes True
		}
		return equal == (e.operator == "==")
	case !isNumber || !wantsNumber:
		return false
	case e.operator == ">=":
		return order >= 0
	case e.operator == "<=":
		return order <= 0
	case e.operator == ">":
		return order > 0
	}
	return order < 0
}

// bothWhole reports whether two numbers are written as whole ones, so that their
// digits say whether they are equal.
func bothWhole(a, b string) bool {
	_, errA := strconv.ParseInt(a, 10, 64)
	_, errB := strconv.ParseInt(b, 10, 64)
	return errA == nil && errB == nil
}

// number reads a number as JSON writes it, and none of "NaN", "0x1p-2" and "1_000".
func number(s string) (float64, bool) {
	if s == "" || s[0] != '-' && (s[0] < '0' || s[0] > '9') || !json.Valid([]byte(s)) {
		return 0, false
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}

// shown is a value as its text.
func shown(value any) string {
	if s, ok := value.(string); ok {
		return s
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}
