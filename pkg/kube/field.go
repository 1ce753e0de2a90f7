package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
)

// misfitMessage is structured-merge-diff's judgement of a patch:
// failed to create typed patch object (ns/name; apps/v1, Kind=X): .path: problem
var misfitMessage = regexp.MustCompile(`(?s)failed to create typed (?:patch|live) object \([^)]*\): (?:errors:\s*)?(\.\S*?(?:\[[^\]]*\]\S*?)*): (.*)`)

// misfit reads the field that does not fit the schema out of a server's message.
func misfit(message string) (path, problem string) {
	m := misfitMessage.FindStringSubmatch(message)
	if m == nil {
		return "", ""
	}
	problem, _, _ = strings.Cut(m[2], "\n")
	if duplicateKey.MatchString(problem) {
		return m[1], problem
	}
	if strings.HasPrefix(problem, "field not declared in schema") {
		return m[1], unknownField
	}
	// "expected map, got &{the value}": a value may be a secret.
	problem, _, _ = strings.Cut(problem, ", got ")
	problem, _, _ = strings.Cut(problem, ": {")
	if problem == "expected string" {
		return m[1], problem + ": put the value in quotes"
	}
	return m[1], line(problem) + ": correct its type"
}

var duplicateKey = regexp.MustCompile(`^duplicate entries for key \[(.*)\]`)

const unknownField = "is not a field of this kind: correct its name or its place (indentation), or remove it"

type strictField struct{ path, problem string }

var strictProblem = regexp.MustCompile(`(unknown|duplicate) field ("(?:[^"\\]|\\.)*")`)

// strictFields reads the fields out of a strict decoding error.
func strictFields(message string) []strictField {
	_, list, ok := strings.Cut(message, "strict decoding error: ")
	if !ok {
		return nil
	}
	var fields []strictField
	for _, m := range strictProblem.FindAllStringSubmatch(list, -1) {
		problem := unknownField
		if m[1] == "duplicate" {
			problem = "is there twice: remove one"
		}
		fields = append(fields, strictField{unquoted(m[2]), problem})
	}
	return fields
}

// unknownFields asks for all fields that the kind does not have: an apply names
// only the first. A dry run of a create decodes before it looks whether the
// object exists, so it answers for both cases. It is asked only when an object
// is known to be wrong.
func (c *Client) unknownFields(ctx context.Context, s subject) []error {
	_, err := call(ctx, c, Patience{}, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return c.Objects(s.Resource, s.Namespace).Create(ctx, s.body, metav1.CreateOptions{
			DryRun: []string{metav1.DryRunAll}, FieldManager: object.FieldManager, FieldValidation: metav1.FieldValidationStrict,
		})
	})
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return nil
	}
	var errs []error
	for _, field := range strictFields(status.Status().Message) {
		errs = append(errs, s.at(field.path, errors.New(field.problem)))
	}
	return errs
}

// fieldIn rewrites a server's path to one that a manifest can be searched for:
// without the leading dot, and with an index for the item of a list that is named
// by its key: .containers[name="c"].image → containers[0].image.
func fieldIn(body map[string]any, path string) string {
	field, _ := resolve(body, path)
	return field
}

// resolve is fieldIn with the value that is there; nil if there is none.
func resolve(body map[string]any, path string) (string, any) {
	var out strings.Builder
	var at any = body
	rest := strings.TrimPrefix(path, ".")
	for rest != "" {
		if strings.HasPrefix(rest, "[") {
			selector, after, ok := bracketed(rest)
			if !ok {
				return out.String() + rest, nil
			}
			list, _ := at.([]any)
			index, found := locate(list, selector)
			if !found {
				if m, isMap := at.(map[string]any); isMap { // labels[key]
					fmt.Fprintf(&out, "[%s]", selector)
					at, rest = m[selector], after
					continue
				}
				return out.String() + rest, nil
			}
			fmt.Fprintf(&out, "[%d]", index)
			at, rest = list[index], after
			continue
		}
		if strings.HasPrefix(rest, ".") {
			out.WriteByte('.')
			rest = rest[1:]
			continue
		}
		name := nextName(at, rest)
		out.WriteString(name)
		m, _ := at.(map[string]any)
		at, rest = m[name], rest[len(name):]
	}
	return out.String(), at
}

// twice finds the two items of a list that the server says have one key.
func (s subject) twice(path, key string) error {
	field, v := resolve(s.body.Object, path)
	list, _ := v.([]any)
	first := -1
	for i := range list {
		if _, ok := locate(list[i:i+1], key); !ok {
			continue
		}
		if first >= 0 {
			return s.at(fmt.Sprintf("%s[%d]", field, i), &DuplicateError{Key: line(key), First: fmt.Sprintf("%s[%d]", field, first)})
		}
		first = i
	}
	return s.at(field, &DuplicateError{Key: line(key)})
}

// nextName is the next field of a path. Keys of maps may hold dots
// (annotations), so the object decides where it ends, if it has the field.
func nextName(at any, rest string) string {
	best := ""
	if m, ok := at.(map[string]any); ok {
		for key := range m {
			if len(key) > len(best) && strings.HasPrefix(rest, key) {
				after := rest[len(key):]
				if after == "" || after[0] == '.' || after[0] == '[' {
					best = key
				}
			}
		}
	}
	if best != "" {
		return best
	}
	if end := strings.IndexAny(rest, ".["); end > 0 {
		return rest[:end]
	}
	return rest
}

// bracketed splits "[…]rest", minding brackets inside quotes.
func bracketed(path string) (inside, rest string, ok bool) {
	quoted := false
	for i := 1; i < len(path); i++ {
		switch {
		case quoted && path[i] == '\\':
			i++
		case path[i] == '"':
			quoted = !quoted
		case path[i] == ']' && !quoted:
			return path[1:i], path[i+1:], true
		}
	}
	return "", "", false
}

// locate finds the item of a list that a selector names: an index, `="v"` for a
// set's value, or `k1="v",k2=1` for the keys of an associative list.
func locate(list []any, selector string) (int, bool) {
	if index, err := strconv.Atoi(selector); err == nil {
		return index, index >= 0 && index < len(list)
	}
	want, set := map[string]string{}, ""
	for rest := selector; rest != ""; {
		name, after, ok := strings.Cut(rest, "=")
		if !ok {
			return 0, false
		}
		value, err := strconv.QuotedPrefix(after)
		if err != nil {
			value, _, _ = strings.Cut(after, ",")
		}
		rest = strings.TrimPrefix(after[len(value):], ",")
		if name == "" {
			set = value
		} else {
			want[name] = value
		}
	}
	for i, element := range list {
		if set != "" {
			if literal(element) == set {
				return i, true
			}
			continue
		}
		m, ok := element.(map[string]any)
		for key, value := range want {
			// Keys that the manifest leaves to their default (protocol) are not there.
			if got, has := m[key]; has && literal(got) != value {
				ok = false
			}
		}
		if ok {
			return i, true
		}
	}
	return 0, false
}

// literal is a value as the server writes it in a path.
func literal(value any) string {
	body, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(body)
}
