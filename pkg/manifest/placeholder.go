package manifest

import (
	"fmt"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
)

// The shapes of what people leave for another tool to fill in. Those of anywhere
// are nothing else wherever they stand; the others only as a whole value, since a
// path may hold __pycache__.
var (
	anywhere = regexp.MustCompile(`\$\{\{?[^{}]*\}?\}|\{\{[^{}]*\}\}|<%.*?%>|<[A-Za-z][A-Za-z0-9_ .-]*>|#\{[^{}]*\}#?|__[A-Z][A-Z0-9_]*__`)
	wholly   = regexp.MustCompile(`^(\$[A-Za-z_][A-Za-z0-9_]*|\$\([A-Za-z_][A-Za-z0-9_.]*\)|@@?[A-Za-z_][\w.-]*@@?|%%?[A-Za-z_]\w*%%?|\(\([^()]*\)\)|\[\[[^\[\]]*\]\])$`)
	// inCustom is what no controller of a custom resource fills in by itself, as
	// Argo does with {{}} and Tekton with $().
	inCustom = regexp.MustCompile(`\$\{[^{}]*\}|<%.*?%>|<[A-Za-z][A-Za-z0-9_ .-]*>|__[A-Z][A-Z0-9_]*__`)
	// variable is what envsubst would have filled in.
	variable = regexp.MustCompile(`\$\{[A-Z][A-Z0-9_]*\}`)
)

// free is where a text is a program's own, and may look like anything.
var free = map[string]bool{
	"command": true, "args": true, "value": true, "annotations": true, "data": true, "stringData": true, "binaryData": true,
	"parameters": true, "volumeAttributes": true, "options": true, "attributes": true, "mountOptions": true, "subPathExpr": true,
	"expression": true, "messageExpression": true, "message": true, "description": true, "fieldPath": true,
}

// Placeholders returns an *Error for each value that still waits for another tool
// to fill it in: it would be stored as it stands, or be refused in words that say
// nothing of it. filled reports whether an image that looks so will be replaced.
func (s *Set) Placeholders(filled func(image string) bool) []error {
	var errs []error
	for i, o := range s.Objects {
		images := map[string]bool{}
		visit(o, func(path, value string) string {
			images[path] = true
			if found := placeholderIn(o, path, value); found != "" && !filled(value) {
				errs = append(errs, s.mistake(i, path, "%s: %s is a placeholder that nothing has filled in: write the image there, as HOST/NAME, or name it in the input images, as %s=HOST/NAME", path, quotedKey(found), value))
			}
			return value
		})
		walk(o, free, func(path, value string) {
			if images[path] {
				return
			}
			if found := placeholderIn(o, path, value); found != "" {
				errs = append(errs, s.mistake(i, path, "%s: %s is a placeholder that nothing has filled in: write its value there, or render the file in an earlier step (envsubst, helm template, kustomize build) and name the result", path, quotedKey(found)))
			}
		})
	}
	return errs
}

// Unfilled returns what envsubst would have filled in where a text is a program's
// own, and which reaches the program as it stands.
func (s *Set) Unfilled() []Use {
	var uses []Use
	for i, o := range s.Objects {
		walk(o, nil, func(path, value string) {
			found := variable.FindString(value)
			// LD_LIBRARY_PATH: ${LD_LIBRARY_PATH}:… is what people mean as it stands.
			env := strings.Contains(path, ".env[") && strings.HasSuffix(path, "].value") && found == value
			if found != "" && !strings.Contains(value, "\n") && (env || strings.HasPrefix(path, "metadata.annotations")) {
				uses = append(uses, Use{Object: i, Path: path, Value: found})
			}
		})
	}
	return uses
}

// Mentions returns the texts of all objects in which Images finds no image.
func (s *Set) Mentions() []Use {
	var uses []Use
	for i, o := range s.Objects {
		images := map[string]bool{}
		visit(o, func(path, value string) string {
			images[path] = true
			return value
		})
		texts(o.Object, "", nil, func(path, value string) {
			if !images[path] {
				uses = append(uses, Use{Object: i, Path: path, Value: value})
			}
		})
	}
	return uses
}

// placeholderIn is the placeholder of a value; "" if there is none, or if it may
// be meant so.
func placeholderIn(o *unstructured.Unstructured, path, value string) string {
	if len(value) > 1000 || strings.Contains(value, "\n") {
		return ""
	}
	if object.Of(o).Custom() && !strings.HasPrefix(path, "metadata.") {
		return inCustom.FindString(value)
	}
	if found := anywhere.FindString(value); found != "" {
		return found
	}
	return wholly.FindString(value)
}

// Refuse is a mistake in a field of an object.
func (s *Set) Refuse(use Use, format string, args ...any) error {
	return s.mistake(use.Object, use.Path, format, args...)
}

func (s *Set) mistake(i int, path, format string, args ...any) *Error {
	at, o := s.Position(i, path), s.Objects[i]
	return &Error{File: at.File, Line: at.Line, Object: strings.TrimSpace(o.GetKind() + " " + o.GetName()), Problem: fmt.Sprintf(format, args...)}
}

// walk visits the texts of an object that Kubernetes itself reads, but for those
// below certain keys; of a custom resource only its metadata, as what is elsewhere
// may be a language of its controller.
func walk(o *unstructured.Unstructured, without map[string]bool, visit func(path, value string)) {
	switch {
	case o.GetKind() == "CustomResourceDefinition":
	case object.Of(o).Custom():
		texts(o.Object["metadata"], "metadata", without, visit)
	default:
		texts(o.Object, "", without, visit)
	}
}

func texts(value any, path string, without map[string]bool, visit func(path, value string)) {
	switch value := value.(type) {
	case string:
		visit(path, value)
	case map[string]any:
		for _, key := range sortedKeys(value) {
			if !without[key] {
				texts(value[key], join(path, key), without, visit)
			}
		}
	case []any:
		for i, item := range value {
			texts(item, index(path, i), without, visit)
		}
	}
}
