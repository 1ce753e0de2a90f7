package actions

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// InputError is an input whose value cannot be read.
type InputError struct {
	Name    string
	Value   string // "" for a secret
	Problem string
}

func (e *InputError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("input %s: %s", e.Name, e.Problem)
	}
	return fmt.Sprintf("input %s %q: %s", e.Name, e.Value, e.Problem)
}

// Bind reads the inputs into the fields of the struct that into points to, by
// their tags: `input:"name"`, or `input:"name,secret"` for a value that no error
// may show. An input that is empty leaves the field as it is, so that defaults
// can be set before; with `input:"name,none"` it empties the field in a workflow. All mistakes are returned together, each an *InputError.
//
// INPUT_<NAME>=<value>
func (w *Workflow) Bind(into any) error {
	var errs []error
	value := reflect.ValueOf(into).Elem()
	for i := range value.NumField() {
		name, option, _ := strings.Cut(value.Type().Field(i).Tag.Get("input"), ",")
		if name == "" {
			continue
		}
		text := strings.TrimSpace(w.getenv("INPUT_" + strings.ToUpper(name)))
		if text == "" {
			// The runner fills in defaults, so that what is empty there was given so.
			if option == "none" && w.getenv("GITHUB_ACTIONS") == "true" {
				value.Field(i).SetZero()
			}
			continue
		}
		if problem := set(value.Field(i), text); problem != "" {
			e := &InputError{Name: name, Value: text, Problem: problem}
			if option == "secret" {
				e.Value = ""
			}
			errs = append(errs, e)
		}
	}
	return errors.Join(errs...)
}

// set stores the text in the field and returns what is wrong with it, or "".
func set(field reflect.Value, text string) string {
	switch field.Interface().(type) {
	case string:
		field.SetString(text)
	case bool:
		if text != "true" && text != "false" {
			return "not a boolean; use true or false"
		}
		field.SetBool(text == "true")
	case time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return "not a duration; use a number with a unit, e.g. 90s or 10m"
		}
		field.SetInt(int64(d))
	case []string:
		var lines []string
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" {
				lines = append(lines, line)
			}
		}
		field.Set(reflect.ValueOf(lines))
	default:
		// A field of another type is a mistake of the program, not of its user.
		panic(fmt.Sprintf("actions: input of type %s", field.Type()))
	}
	return ""
}

func itoa(n int) string { return strconv.Itoa(n) }
