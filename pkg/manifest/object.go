package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
)

// each takes a value, or the items of it if it is a list.
func (d *decoder) each(value any, from source, take func(any, source)) {
	list, _ := value.(map[string]any)
	kind, _ := list["kind"].(string)
	if items, ok := list["items"]; ok && strings.HasSuffix(kind, "List") {
		d.list(list, items, from, take)
		return
	}
	take(value, from)
}

// add adds an object to the set.
func (d *decoder) add(value any, from source) {
	object, ok := value.(map[string]any)
	if !ok {
		d.refuse(from.line(from.node), "", "the document is not an object with apiVersion, kind and metadata: name files that hold manifests only%s", d.hint)
		return
	}
	if !d.complete(object, from) {
		return
	}
	if chartTest(object) {
		kind, _ := object["kind"].(string)
		name, _ := object["metadata"].(map[string]any)["name"].(string)
		d.set.Tests = append(d.set.Tests, Test{Kind: kind, Name: name, Position: Position{File: from.file, Line: from.line(from.node)}})
		return
	}
	d.set.Objects = append(d.set.Objects, &unstructured.Unstructured{Object: object})
	d.set.sources = append(d.set.sources, from)
}

// chartTest reports whether an object is one of the tests of a Helm chart, which
// `helm template` prints with all the rest: it fails until the release is ready,
// and `helm test` is what runs it.
func chartTest(object map[string]any) bool {
	metadata, _ := object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	hooks, _ := annotations["helm.sh/hook"].(string)
	for hook := range strings.SplitSeq(hooks, ",") {
		switch strings.TrimSpace(hook) {
		case "test", "test-success", "test-failure":
		default:
			return false // also if there is none
		}
	}
	return true
}

// list takes the items of a List, or of a list of one kind, whose items need not
// say which.
func (d *decoder) list(list map[string]any, items any, from source, take func(any, source)) {
	values, ok := items.([]any)
	if items != nil && !ok {
		d.refuse(from.line(from.node), label(from.node), "items is not a list: give it as one, or leave it out")
		return
	}
	kind, _ := list["kind"].(string)
	itemKind := strings.TrimSuffix(kind, "List")
	nodes := resolve(child(from.node, "items")).Content
	for i, value := range values {
		item := from
		if i < len(nodes) {
			item.node = resolve(nodes[i])
		}
		if m, ok := value.(map[string]any); ok && itemKind != "" && m["kind"] == nil && m["apiVersion"] == nil {
			m["kind"], m["apiVersion"] = itemKind, list["apiVersion"]
		}
		d.each(value, item, take)
	}
}

// complete tells whether an object says what it is, and whether its metadata are
// of the types that everything else relies on.
func (d *decoder) complete(object map[string]any, from source) bool {
	before := len(d.errs)
	refuse := func(field, format string, args ...any) {
		p := from.find(field)
		d.refuse(p.Line, label(from.node), format, args...)
	}
	if object["apiVersion"] == nil && object["kind"] == nil { // three mistakes of a file that is none would be noise
		d.refuse(from.line(from.node), "", "the document is no Kubernetes manifest, as it holds neither apiVersion nor kind: name files that hold manifests only, or write what is missing%s", d.hint)
		return false
	}
	for _, field := range []string{"apiVersion", "kind"} {
		if s, ok := object[field].(string); !ok || s == "" {
			refuse(field, "%s %s%s", field, absent(object, field), d.hint)
		}
	}
	metadata, ok := object["metadata"].(map[string]any)
	if !ok {
		refuse("metadata", "metadata %s%s", absent(object, "metadata"), d.hint)
		return false
	}
	name, ok := metadata["name"].(string)
	switch {
	case ok && name != "":
	case metadata["name"] == nil && metadata["generateName"] != nil:
		d.generate(metadata, refuse)
	default:
		refuse("metadata.name", "metadata.name %s%s", absent(metadata, "name"), d.hint)
	}
	if namespace, ok := metadata["namespace"]; ok && namespace != nil {
		if _, ok := namespace.(string); !ok {
			refuse("metadata.namespace", "metadata.namespace is not a string: quote it")
		}
	}
	for _, field := range []string{"labels", "annotations"} {
		d.words(metadata[field], field, refuse)
	}
	if len(d.errs) == before { // then they can be read
		d.directives(object, refuse)
	}
	return len(d.errs) == before
}

// generatedLimit is how long a name may be: that of a Job is also the value of a label.
const generatedLimit = 63

// generate gives a name to an object that is to be a new one with every deploy. The
// API server could choose it too, but not the same one for a request whose answer was
// lost and its repetition.
func (d *decoder) generate(metadata map[string]any, refuse func(field, format string, args ...any)) {
	prefix, ok := metadata["generateName"].(string)
	if !ok || prefix == "" {
		refuse("metadata.generateName", "metadata.generateName is not a string: write the beginning of a name")
		return
	}
	if d.suffix == nil {
		refuse("metadata.generateName", "metadata.generateName makes a new object with every deploy: give metadata.name instead")
		return
	}
	suffix := d.suffix(d.set.generated)
	d.set.generated++
	metadata["name"] = prefix[:min(len(prefix), generatedLimit-len(suffix))] + suffix
}

// words checks labels and annotations, whose values YAML takes for numbers and
// booleans when they are not quoted.
func (d *decoder) words(value any, field string, refuse func(field, format string, args ...any)) {
	if value == nil {
		return
	}
	values, ok := value.(map[string]any)
	if !ok {
		refuse("metadata."+field, "metadata.%s is not a map of words: write it as KEY: VALUE lines", field)
		return
	}
	for _, key := range sortedKeys(values) {
		// An absent value is an empty one to the API server.
		if _, ok := values[key].(string); !ok && values[key] != nil {
			refuse("metadata."+field+"."+key, "metadata.%s: the value of %s is not a string: quote it", field, quotedKey(key))
		}
	}
}

// directives checks the annotations by which an object asks something of a deploy.
func (d *decoder) directives(of map[string]any, refuse func(field, format string, args ...any)) {
	_, err := object.ReadDirectives(&unstructured.Unstructured{Object: of})
	joined, _ := err.(interface{ Unwrap() []error })
	if joined == nil {
		return
	}
	for _, err := range joined.Unwrap() {
		var wrong *object.DirectiveError
		if errors.As(err, &wrong) {
			refuse("metadata.annotations."+wrong.Annotation, "%s", wrong.Error())
		}
	}
}

// absent says what is wrong with a field that should be a word or a map.
func absent(in map[string]any, field string) string {
	switch value := in[field].(type) {
	case nil:
		return "is missing: every object needs apiVersion, kind and metadata.name"
	case string:
		if value == "" {
			return "is empty: every object needs apiVersion, kind and metadata.name"
		}
	}
	if field == "metadata" {
		return "is not a map: every object needs apiVersion, kind and metadata.name"
	}
	return "is not a string: quote it"
}

// twice finds objects that are there more than once. One that is the same to the
// last field counts once.
func (s *Set) twice(namespace string) []error {
	first := map[string]int{}
	same := map[int]bool{}
	var errs []error
	for i, o := range s.Objects {
		in := namespaceOf(o, namespace)
		gk := o.GroupVersionKind().GroupKind()
		key := strings.Join([]string{gk.Group, gk.Kind, in, o.GetName()}, "|")
		other, ok := first[key]
		if !ok {
			first[key] = i
			continue
		}
		here, there := s.Position(i, ""), s.Position(other, "")
		if equal(o, s.Objects[other], namespace) {
			same[i] = true
			s.Copies = append(s.Copies, Copy{Kind: o.GetKind(), Name: o.GetName(), Position: here, Of: there})
			continue
		}
		object := strings.TrimSpace(strconvSafe(o.GetKind()) + " " + strconvSafe(o.GetName()))
		errs = append(errs, &Error{
			File: here.File, Line: here.Line, Object: object,
			Problem: fmt.Sprintf("%s is there twice, first at %s:%d: remove one of them", object, there.File, there.Line),
		})
	}
	if len(same) > 0 {
		objects, sources := s.Objects, s.sources
		s.Objects, s.sources = nil, nil
		for i := range objects {
			if !same[i] {
				s.Objects, s.sources = append(s.Objects, objects[i]), append(s.sources, sources[i])
			}
		}
	}
	return errs
}

func namespaceOf(u *unstructured.Unstructured, otherwise string) string {
	return cmp.Or(u.GetNamespace(), otherwise)
}

// equal reports whether two objects are the same, if one that names no namespace
// is in this one.
func equal(a, b *unstructured.Unstructured, namespace string) bool {
	a, b = a.DeepCopy(), b.DeepCopy()
	a.SetNamespace(namespaceOf(a, namespace))
	b.SetNamespace(namespaceOf(b, namespace))
	return reflect.DeepEqual(a.Object, b.Object)
}

// label names an object in an error: "Deployment classifier".
func label(n *yaml.Node) string {
	kind, name := resolve(child(n, "kind")), resolve(child(child(n, "metadata"), "name"))
	if kind.Kind != yaml.ScalarNode || name.Kind != yaml.ScalarNode {
		return ""
	}
	return strings.Trim(strconvSafe(kind.Value)+" "+strconvSafe(name.Value), " ")
}

// strconvSafe is a name as it is if it is one, and nothing if it could be
// anything else that a file holds.
func strconvSafe(s string) string {
	const most = 253 // characters of a name
	if len(s) > most || strings.ContainsFunc(s, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-.:_", r)
	}) {
		return ""
	}
	return s
}

// child returns the value of a key, or an empty node.
func child(n *yaml.Node, key string) *yaml.Node {
	n = resolve(n)
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return n.Content[i+1]
			}
		}
	}
	return &yaml.Node{}
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
