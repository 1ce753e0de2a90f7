package diff

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/redact"
)

const (
	// lastApplied is where kubectl keeps all that it has applied, values of Secrets too.
	lastApplied = "kubectl.kubernetes.io/last-applied-configuration"
	hidden      = "hidden"
	newValue    = "changed"
)

// hide takes out of two trees what must not be shown. What was changed of it is still
// seen to be.
func hide(kind string, before, after any) {
	was, is := asMap(before), asMap(after)
	if kind == "Secret" {
		for _, field := range []string{"data", "stringData"} {
			conceal(object.Map(was, field), object.Map(is, field))
		}
	}
	for _, u := range []map[string]any{was, is} {
		annotations := object.Map(u, "metadata", "annotations")
		if _, ok := annotations[lastApplied]; ok {
			annotations[lastApplied] = hidden
		}
	}
	if a, b := object.Map(was, "metadata", "annotations"), object.Map(is, "metadata", "annotations"); a[lastApplied] == hidden && b[lastApplied] == hidden {
		b[lastApplied] = newValue
	}
	cover(was, is)
}

func asMap(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

// conceal hides all values of two maps.
func conceal(was, is map[string]any) {
	for key := range is {
		if _, both := was[key]; both {
			is[key] = newValue
		} else {
			is[key] = hidden
		}
	}
	for key := range was {
		was[key] = hidden
	}
}

// cover hides what looks like a credential in all texts of two trees.
func cover(before, after map[string]any) {
	was, is := runtime.DeepCopyJSON(before), runtime.DeepCopyJSON(after)
	walk(before)
	walk(after)
	tell(was, is, before, after)
}

// walk hides in one tree.
func walk(v any) {
	switch v := v.(type) {
	case map[string]any:
		// A variable: its name says what its value is.
		if name, ok := v["name"].(string); ok {
			if value, ok := v["value"].(string); ok {
				v["value"] = covered(name, value)
			}
		}
		for key, child := range v {
			if s, ok := child.(string); ok {
				v[key] = covered(key, s)
			} else {
				walk(child)
			}
		}
	case []any:
		var before any
		for i, child := range v {
			if s, ok := child.(string); ok {
				v[i] = argument(before, s)
			} else {
				walk(child)
			}
			before = child
		}
	}
}

// covered is a value without what looks like a credential, given its name.
func covered(name, value string) string {
	const sign, probe = "=", "Pr0be-of-A-Value"
	if strings.Contains(value, "\n") {
		if redact.Secrets(name+sign+probe) != name+sign+probe {
			return "[redacted]" // of more than one line: what the name says is true of all of them
		}
		return redact.Secrets(value)
	}
	if rest, ok := strings.CutPrefix(redact.Secrets(name+sign+value), name+sign); ok {
		return rest
	}
	return redact.Secrets(value)
}

// argument is a word of a command without what looks like a credential, given the
// word before it.
func argument(before any, value string) string {
	flag, _ := before.(string)
	if !strings.HasPrefix(flag, "-") || strings.ContainsAny(flag, " =\n") {
		return redact.Secrets(value)
	}
	if rest, ok := strings.CutPrefix(redact.Secrets(flag+" "+value), flag+" "); ok {
		return rest
	}
	return redact.Secrets(value)
}

// tell lets two texts differ that were hidden and are alike since: else nothing would
// be seen to have changed. The first two trees are those from before.
func tell(was, is, before, after any) {
	switch is := is.(type) {
	case map[string]any:
		was, _ := was.(map[string]any)
		shown, is2 := asMap(before), asMap(after)
		for key, v := range is {
			other, both := was[key]
			if !both {
				continue
			}
			if note, ok := told(other, v, shown[key], is2[key]); ok {
				is2[key] = note
			} else {
				tell(other, v, shown[key], is2[key])
			}
		}
	case []any:
		was, _ := was.([]any)
		shown, _ := before.([]any)
		seen, _ := after.([]any)
		key := keyOf(was, is)
		for i, v := range is {
			at := i
			if name := asMap(v)[key]; key != "" {
				at = slices.IndexFunc(was, func(v any) bool { return asMap(v)[key] == name })
			} else if len(was) != len(is) {
				return
			}
			if at < 0 {
				continue
			}
			if note, ok := told(was[at], v, shown[at], seen[i]); ok {
				seen[i] = note
			} else {
				tell(was[at], v, shown[at], seen[i])
			}
		}
	}
}

// told is a text that says that it was changed, if nothing else shows it.
func told(was, is, before, after any) (string, bool) {
	a, text := was.(string)
	b, both := is.(string)
	shown, _ := after.(string)
	if !text || !both || a == b || before != after {
		return "", false
	}
	return shown + " (" + newValue + ")", true
}
